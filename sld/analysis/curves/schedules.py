r"""Learning rates along a run: named schedules, and the areas under them that laws of a curve are made of.

With $\eta_i$ the rate of step $i$, the *forward area* of step $s$ is $S_1(s) = \sum_{i \le s} \eta_i$, and the
*annealing
area* (Tissue, Wang, Wang 2024, arXiv:2408.11029, equation 1) collects the falls of the rate, each of which goes on
working for about $1/(1-\lambda)$ steps:

$$ S_2(s) = \sum_{i \le s} m_i , \qquad m_i = \lambda\, m_{i-1} + (\eta_{i-1} - \eta_i) . $$
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import isfinite, pi

import numpy as np

from sld.core.arrays import Array
from sld.core.errors import UsageError, suggest
from sld.core.numbers import exact

KINDS = ("constant", "cosine", "linear", "multistep", "wsd")
_SHAPES = ("linear", "sqrt", "cosine")
MOST_CELLS = 4000  # a longer run is summed in cells of several steps: 4,000 leave the areas right to 1e-3
_EXAMPLE = "e.g. cosine:peak=3e-4,warmup=500,total=20000"


@dataclass(frozen=True)
class Schedule:
    """A learning rate along a run, by name.

    Attributes:
        kind: `constant`; `cosine`, half a cosine from the peak to `end`; `linear`; `wsd`, constant and then a decay
            over
            the last part (warm-up, stable, decay); `multistep`, which multiplies by `factor` at each of `drops`.
        total: Length of the run, in the unit of the table's step column.
        peak: Highest rate.
        warmup: Length of the linear rise from 0; below 1 a share of `total`.
        end: Last rate, as a share of `peak`.
        decay: Of `wsd`, length of the last part; at most 1: a share of `total`.
        shape: Of `wsd`, how it falls: `linear`, `sqrt` (1 - square root, Hägele et al. 2024, arXiv:2405.18392),
            `cosine`.
        drops: Of `multistep`, where the rate falls, as shares of `total`.
        factor: Of `multistep`, what the rate is multiplied by.

    Examples:
        >>> Schedule("wsd", total=1000, decay=0.2).rate([100, 800, 900, 1000]).round(3)
        array([1. , 1. , 0.5, 0. ])
    """

    kind: str
    total: float
    peak: float = 1.0
    warmup: float = 0.0
    end: float = 0.0
    decay: float = 0.2
    shape: str = "linear"
    drops: tuple[float, ...] = (0.6, 0.8)
    factor: float = 0.316

    def __post_init__(self) -> None:
        """Raise UsageError for what is no schedule."""
        if self.kind not in KINDS:
            raise UsageError(f"schedule: {suggest(self.kind, KINDS, kind='schedule')}")
        if self.shape not in _SHAPES:
            raise UsageError(f"schedule: {suggest(self.shape, _SHAPES, kind='shape of a decay')}")
        if not (isfinite(self.total) and self.total > 0):
            raise UsageError(f"schedule: total must be the length of the run, above 0, got {exact(self.total)}")
        if not self.peak > 0:
            raise UsageError(f"schedule: peak must be above 0, got {exact(self.peak)}")
        if not (self.warmup >= 0 and self.warmup_end < self.total):
            raise UsageError(
                f"schedule: the warm-up must end before the run ({exact(self.total)}), got {exact(self.warmup)}"
            )
        if not 0 <= self.end <= 1:
            raise UsageError(f"schedule: end is a share of the peak, between 0 and 1, got {exact(self.end)}")
        if not 0 < self.decay_length <= self.total - self.warmup_end:
            raise UsageError(f"schedule: the decay must fit between warm-up and end, got {exact(self.decay)}")
        if list(self.drops) != sorted(self.drops) or not all(0 < d < 1 for d in self.drops):
            raise UsageError("schedule: drops are rising shares of the run, each between 0 and 1")
        if not 0 < self.factor < 1:
            raise UsageError(f"schedule: factor must lie between 0 and 1, got {exact(self.factor)}")

    @property
    def warmup_end(self) -> float:
        """Where the warm-up ends, in steps."""
        return self.warmup * self.total if self.warmup < 1 else self.warmup

    @property
    def decay_length(self) -> float:
        """How long the last part of `wsd` is, in steps."""
        return self.decay * self.total if self.decay <= 1 else self.decay

    def rate(self, step: object) -> Array:
        """Return the rate at steps (n_steps,); beyond `total` the last rate goes on."""
        x = np.minimum(np.asarray(step, dtype=float), self.total)
        rising = x / self.warmup_end if self.warmup_end else np.ones_like(x)
        share = np.clip((x - self.warmup_end) / (self.total - self.warmup_end), 0, 1)
        return np.asarray(self.peak * np.where(x < self.warmup_end, rising, self._after(x, share)), dtype=float)

    def _after(self, x: Array, share: Array) -> Array:
        if self.kind == "cosine":
            return self.end + (1 - self.end) * 0.5 * (1 + np.cos(pi * share))
        if self.kind == "linear":
            return 1 - (1 - self.end) * share
        if self.kind == "multistep":
            return np.asarray(self.factor ** np.sum(x[..., None] >= np.array(self.drops) * self.total, axis=-1))
        if self.kind == "wsd":
            late = np.clip((x - (self.total - self.decay_length)) / self.decay_length, 0, 1)
            fall = {"linear": late, "sqrt": np.sqrt(late), "cosine": 0.5 * (1 - np.cos(pi * late))}[self.shape]
            return 1 - (1 - self.end) * fall
        return np.ones_like(x)

    def cells(self) -> Array:
        """Return the ends of the cells that the run is summed in (n_cells + 1,), from 0 to `total`."""
        n = int(min(MOST_CELLS, max(round(self.total), 1))) if self.total >= 100 else MOST_CELLS // 4
        return np.linspace(0.0, self.total, n + 1)

    def text(self) -> str:
        """Return the words that `read_schedule` reads back."""
        own = [("peak", self.peak), ("warmup", self.warmup), ("total", self.total)]
        if self.kind in ("cosine", "linear", "wsd"):
            own.append(("end", self.end))
        if self.kind == "wsd":
            own.append(("decay", self.decay))
        words = [f"{name}={exact(value)}" for name, value in own] + (
            [f"shape={self.shape}"] if self.kind == "wsd" else []
        )
        if self.kind == "multistep":
            words += ["drops=" + "/".join(exact(d) for d in self.drops), f"factor={exact(self.factor)}"]
        return f"{self.kind}:{','.join(words)}"


def read_schedule(text: str, total: float | None = None) -> Schedule:
    """Return the schedule that words stand for: `KIND:NAME=NUMBER,...`.

    Args:
        text: For example `wsd:peak=3e-4,warmup=0.02,decay=0.2,shape=sqrt` or `multistep:drops=0.6/0.8,factor=0.1`.
        total: Length of the run where the words do not give it.

    Raises:
        UsageError: The words are no schedule.

    Examples:
        >>> read_schedule("cosine:warmup=100", total=1000).rate([100, 550, 1000]).round(3)
        array([1. , 0.5, 0. ])
    """
    kind, _, rest = text.strip().partition(":")
    kind = {"multi-step": "multistep", "step": "multistep", "const": "constant"}.get(kind.strip().lower(), kind.strip())
    known = [f.name for f in fields(Schedule) if f.name != "kind"]
    given: dict[str, object] = {}
    for part in filter(None, (p.strip() for p in rest.split(","))):
        name, equals, value = (word.strip() for word in part.partition("="))
        if not equals:
            raise UsageError(f"schedule: wanted NAME=NUMBER after the colon, got {part!r}; {_EXAMPLE}")
        if name not in known:
            raise UsageError(f"schedule: {suggest(name, known, kind='word')}")
        given[name] = value if name == "shape" else _numbers(name, value)
    if "total" not in given and total is not None:
        given["total"] = float(total)
    if kind in KINDS and "total" not in given:
        raise UsageError(f"schedule: say how long the run is, total=STEPS; {_EXAMPLE}")
    return Schedule(kind, **{"total": 1.0, **given})  # type: ignore[arg-type]


def _numbers(name: str, text: str) -> float | tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split("/")) if name == "drops" else float(text)
    except ValueError:
        raise UsageError(f"schedule: {name} wants a number, got {text!r}; {_EXAMPLE}") from None


@dataclass(frozen=True, eq=False)
class Rates:
    """A learning rate along a run, summed in cells.

    Attributes:
        edges: Ends of the cells in steps (n_cells + 1,), from 0 on.
        rate: Rate within each cell (n_cells,).
    """

    edges: Array
    rate: Array

    @staticmethod
    def of(schedule: Schedule) -> Rates:
        """Return the rates of a named schedule."""
        edges = schedule.cells()
        # a step has the rate of its end: after the last step of a decay to 0 nothing is left
        return Rates(edges, schedule.rate((edges[:-1] + edges[1:]) / 2))

    @staticmethod
    def from_column(step: Array, rate: Array) -> Rates:
        """Return the rates of logged points; between two points the rate is taken to change evenly.

        Args:
            step: Rising steps (n_points,).
            rate: Learning rate of these (n_points,), at least 0 and not all 0.

        Raises:
            UsageError: A rate is negative or missing, or all are 0.
        """
        if not np.isfinite(rate).all() or (rate < 0).any() or not (rate > 0).any():
            raise UsageError("the learning rate must be known at every point, at least 0 and not always 0")
        n = min(MOST_CELLS, max(200, int(step[-1]))) if step[-1] >= 200 else MOST_CELLS // 4
        edges = np.linspace(0.0, float(step[-1]), n + 1)
        return Rates(edges, np.interp((edges[:-1] + edges[1:]) / 2, step, rate))

    @property
    def peak(self) -> float:
        """Highest rate."""
        return float(self.rate.max())

    @property
    def risen(self) -> int:
        """Number of the first cell at the highest rate: the end of the warm-up."""
        return int(np.argmax(self.rate >= self.peak * (1 - 1e-9)))

    def forward(self, step: Array) -> Array:
        """Return the forward area S1 at steps (n_steps,)."""
        sums = np.concatenate([[0.0], np.cumsum(self.rate * np.diff(self.edges))])
        beyond = np.maximum(step - self.edges[-1], 0) * self.rate[-1]
        return np.asarray(np.interp(step, self.edges, sums) + beyond)

    def fallen(self, step: Array) -> Array:
        """Return by how much of the peak the rate has fallen at steps (n_steps,): 0 until then, 1 at a rate of 0."""
        middle = (self.edges[:-1] + self.edges[1:]) / 2
        share = (
            1 - np.minimum.accumulate(np.where(np.arange(len(middle)) < self.risen, self.peak, self.rate)) / self.peak
        )
        return np.asarray(np.interp(step, middle, share))

    def annealing(self, step: Array, memory: float) -> Array:
        r"""Return the annealing area S2 at steps (n_steps,), with $\lambda$ = `memory` for each step.

        The rise of a warm-up is left out: only falls are summed.
        """
        from scipy.signal import lfilter

        length = float(self.edges[1] - self.edges[0])
        falls = -np.diff(self.rate, prepend=self.rate[0])
        falls[: self.risen + 1] = 0.0
        kept = memory**length
        # within a cell of several steps the momentum decays as well: the sum of memory**i over its steps
        within = length if memory == 1 else (1 - kept) / (1 - memory)
        sums = np.cumsum(lfilter([1.0], [1.0, -kept], falls)) * within
        return np.asarray(np.interp(step, self.edges[1:], sums, left=0.0))

    def falls(self, most: int = 150) -> tuple[Array, Array, Array]:
        """Return the falls of the rate after the warm-up, gathered to at most `most`: how far, to which rate, when.

        Returns:
            Size of each fall, the rate after it, and the forward area at which it happens; each (n_falls,). A rise is
            a negative fall.
        """
        size = -np.diff(self.rate)[self.risen :]
        after, where = self.rate[1:][self.risen :], self.edges[1:-1][self.risen :]
        there = np.flatnonzero(size)
        if not len(there):
            return np.zeros(0), np.zeros(0), np.zeros(0)
        parts = np.array_split(there, min(most, len(there)))
        sizes = np.array([size[p].sum() for p in parts])
        area = self.forward(where)
        return sizes, np.array([after[p].mean() for p in parts]), np.array([area[p].mean() for p in parts])


def schedules_of(text: str, totals: Mapping[str, float]) -> dict[str, Schedule]:
    """Return the schedule of each run, from the same words and the run's own length."""
    return {name: read_schedule(text, total) for name, total in totals.items()}
