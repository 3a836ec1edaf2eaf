"""How much of the beginning of a run is left out: what a bounded curve is not meant to describe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sld.analysis.reinforcement.sigmoid import Limits, Points, misfit
from sld.core.arrays import Array
from sld.core.errors import UsageError
from sld.core.numbers import exact

SHARES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2)  # of a run's compute, from which the rule chooses
AS_GOOD = 1.1  # a cut serves if what is left misses by at most so many times the least of all cuts ...
BY_CHANCE = 1.64  # ... and so many standard errors of a misfit more: one that is larger by chance is no reason to cut
LEAST_LEFT = 8  # points of a run: four constants, and as many that could contradict them
MOST_LOST = 0.35  # of the change along a run: a cut that takes more takes the curve, not its beginning


@dataclass(frozen=True)
class Discard:
    """What is left out at the beginning.

    Attributes:
        share: Of each run's last compute; None where `compute` says it.
        compute: The same amount of compute for all; None where `share` says it.
        rule: In words, how it was chosen.
        others: Larger shares that would serve as well: what they say of the curve is part of what is not known.
    """

    share: float | None
    compute: float | None
    rule: str
    others: tuple[float, ...] = ()

    def of(self, last: float) -> list[float]:
        """Return from which compute on a run is used that ends at `last`: first as chosen, then what others would."""
        if self.compute is not None:
            return [self.compute]
        return [share * last for share in (self.share or 0.0, *self.others)]


def read_discard(given: str | float, runs: Sequence[tuple[Array, Array]], limits: Limits) -> Discard:
    """Return what is left out, as asked for: auto, none, a share such as 5%, or an amount of compute.

    Under `auto` it is the least of `SHARES` at which what is left of the runs is fitted as well as at any other: the
    misfit, a geometric mean over runs, is at most `AS_GOOD` times the least, give or take chance. A share at which a
    third of a run's change would be lost is not looked at.

    Args:
        given: The words.
        runs: Compute (n,) and value (n,) of each.
        limits: What values can be.

    Raises:
        UsageError: It cannot be read, or nothing would be left.
    """
    text = str(given).strip().lower()
    if text == "auto":
        return _chosen(runs, limits)
    if text in ("none", "0"):
        return Discard(None, 0.0, "nothing is left out")
    try:
        number = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        number = np.nan
    if not 0 <= number < np.inf or (text.endswith("%") and number >= 1):
        raise UsageError(f"discard wants auto, none, a share such as 5%, or an amount of compute, got {given}")
    if text.endswith("%"):
        return Discard(number, None, f"the first {exact(100 * number)} % of each run's compute are left out, as asked")
    return Discard(None, number, f"what lies before a compute of {exact(number)} is left out, as asked")


def _chosen(runs: Sequence[tuple[Array, Array]], limits: Limits) -> Discard:
    known = [(x, y) for x, y in runs if (x > 0).sum() >= LEAST_LEFT]
    found = []
    for share in SHARES:
        left = [(x, y, share * float(x[-1])) for x, y in known]
        if not known or any((x[x > 0] >= after).sum() < LEAST_LEFT for x, _, after in left):
            break
        if np.median([_lost(x, y, after) for x, y, after in left]) > MOST_LOST:
            break
        found.append([misfit(Points.of(x, y, after), limits) for x, y, after in left])
    if len(found) < 2:
        return Discard(0.0, None, "nothing is left out: of so few points none can be spared")
    logs = np.log(np.maximum(found, 1e-300)).mean(1)  # (n_shares,)
    free = sum(len(x) - LEAST_LEFT // 2 for x, _ in known)
    most = float(logs.min()) + np.log(AS_GOOD) + BY_CHANCE / np.sqrt(2 * free)
    k = int(np.flatnonzero(logs <= most)[0])
    listed = ", ".join(f"{100 * s:g}" for s in SHARES[: len(found)])
    what = f"the first {100 * SHARES[k]:g} % of each run's compute are left out" if k else "nothing is left out"
    others = tuple(share for share, log in zip(SHARES[k + 1 : len(found)], logs[k + 1 :], strict=True) if log <= most)
    also = "; the intervals hold what larger cuts would give" if others else ""
    rule = f"{what}, the least of {listed} % from which on the curve fits as well as from any other{also}"
    return Discard(SHARES[k], None, rule, others)


def _lost(x: Array, y: Array, after: float) -> float:
    """Return the share of a run's change that lies before a cut: of the way from its first to its last values."""
    few = max(len(x) // 20, 1)  # a twentieth of the points: one alone is mostly noise
    first, last = float(y[:few].mean()), float(y[-few:].mean())
    k = int(np.searchsorted(x, after))
    there = float(y[k : k + few].mean())
    return abs(there - first) / max(abs(last - first), 1e-300)
