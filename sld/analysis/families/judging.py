"""Which law of families is used: each foretells the larger models of families that it knows small ones of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sld.analysis.families.latent import BY_FAMILY, COMPONENTS, ONE, SKILLS, Form, Latent, fit_latent
from sld.analysis.families.scores import LEAST_MODELS, LEAST_SCORES, ScoreTable
from sld.core.arrays import Array, Mask
from sld.core.errors import UsageError

KINDS = (ONE, BY_FAMILY, SKILLS, COMPONENTS)
MOST_SKILLS = 3  # Ruan et al. 2024 and Maia Polo et al. 2024 find three enough for eight and twelve benchmarks
_FOLDS = 5  # of families: each loses its larger models once
_TOP = 0.8  # of the models, by compute: one more fold, of what is larger than all that is known
_ALIKE = 1.02  # of the least error: laws with fewer constants that miss hardly more are taken
_DOUBT = 3.0  # scores that the width before folds counts as
_MOST_WIDER = 4.0  # standard deviations: a fold that missed by more had a break in it


@dataclass(frozen=True, eq=False)
class Together:
    """A law of all benchmarks: one for all of them, or one for each.

    Attributes:
        form: Which.
        laws: One, or one for each benchmark.
    """

    form: Form
    laws: tuple[Latent, ...]

    def columns(self, n_benchmarks: int) -> list[slice]:
        """Return which benchmarks each law is of."""
        if self.form.rank:
            return [slice(0, n_benchmarks)]
        return [slice(j, j + 1) for j in range(n_benchmarks)]

    def spread_at(self, table: ScoreTable) -> tuple[Array, Array]:
        """Return scores and standard deviations of measured ones, at the scales and families of a table (n, m)."""
        found = [law.spread_at(law.rated(table.logs, table.index)) for law in self.laws]
        return np.concatenate([y for y, _ in found], axis=1), np.concatenate([sd for _, sd in found], axis=1)


def fit_together(table: ScoreTable, form: Form) -> Together:
    """Fit a law of all benchmarks."""
    if form.rank:
        return Together(form, (fit_latent(table, form),))
    laws = []
    for j in range(len(table.benchmarks)):
        own = table.only(j)
        laws.append(fit_latent(own.take(own.known[:, 0]), form))
    return Together(form, tuple(laws))


def n_constants(form: Form, n_benchmarks: int, n_families: int, n_scales: int) -> int:
    """Return how many constants a law has: of benchmarks, of skills, and of families."""
    z, v = np.zeros((1, n_scales)), np.zeros(1)
    features, own = int(form.features(z, v).shape[1]), int(form.own(v).shape[1])
    if not form.rank:
        return n_benchmarks * (1 + features + n_families * own)
    return n_benchmarks * (1 + form.rank) + form.rank * (features + n_families * own)


def forms(table: ScoreTable, kinds: Sequence[str] = KINDS, rank: int | None = None) -> list[Form]:
    """Return the laws that are tried, those with fewer constants first."""
    m = len(table.benchmarks)
    ranks = range(1, max(1, min(MOST_SKILLS, m - 1)) + 1) if rank is None else [rank]
    alone = [Form(kind) for kind in kinds if kind in (ONE, BY_FAMILY)]
    found = alone + [Form(kind, k) for k in ranks for kind in kinds if kind in (SKILLS, COMPONENTS)]
    many = len(set(table.index.tolist())), table.logs.shape[1]
    return sorted(found, key=lambda form: n_constants(form, m, *many))


@dataclass(frozen=True)
class JudgedForms:
    """How laws of smaller models foretold larger ones.

    Attributes:
        errors: Mean absolute error of each law, as a share; in the order of `forms`.
        wider: What the standard deviation of each has to be multiplied by.
        n_foretold: Scores that were foretold.
        n_families: Families whose larger models were left out.
    """

    errors: Mapping[Form, float]
    wider: Mapping[Form, float]
    n_foretold: int
    n_families: int

    @property
    def chosen(self) -> Form:
        """The law with the fewest constants that misses hardly more than the best."""
        best = min(self.errors.values())
        return next(form for form, error in self.errors.items() if error <= _ALIKE * best)

    def best_of(self) -> dict[str, float]:
        """Return the least error of each kind."""
        found: dict[str, float] = {}
        for form, error in self.errors.items():
            found[form.kind] = min(error, found.get(form.kind, np.inf))
        return {kind: found[kind] for kind in KINDS if kind in found}


def folds(table: ScoreTable) -> Iterator[tuple[Mask, Mask]]:
    """Yield models that are known, and larger ones of their families that are foretold."""
    v, F = table.compute, len(table.family)
    several = [f for f, count in table.sizes().items() if count > 1]
    large = np.zeros(len(v), dtype=bool)
    for f in several:
        levels = np.unique(np.round(v[table.index == f], 6))
        large |= (table.index == f) & (v > levels[max(1, len(levels) // 2) - 1] + 1e-5)
    of = np.full(F, -1)
    of[several] = np.arange(len(several)) % min(_FOLDS, len(several))
    for k in range(min(_FOLDS, len(several))):
        out = large & (of[table.index] == k)
        yield ~out, out
    out = v > np.quantile(v, _TOP) + 1e-9
    seen = np.bincount(table.index[~out], minlength=F) > 0
    if (out & seen[table.index]).any():
        yield ~out, out & seen[table.index]


def judge_forms(
    table: ScoreTable, tried: Sequence[Form], *, progress: Callable[[str], None] = lambda _: None
) -> JudgedForms:
    """Let each law foretell larger models of families; raises UsageError where no fold is possible."""
    missed: dict[Form, list[float]] = {form: [] for form in tried}
    unit: dict[Form, list[float]] = {form: [] for form in tried}
    families: set[int] = set()
    for n_done, (inside, outside) in enumerate(folds(table)):
        some, rest = table.take(inside), table.take(outside)
        told = some.known.sum(0) >= LEAST_SCORES
        if inside.sum() < LEAST_MODELS // 2 or not told.all() or not rest.known.any():
            continue
        families |= set(rest.index.tolist())
        for form in tried:
            progress(f"fold {n_done + 1}: {form.kind}" + (f" with {form.rank}" if form.rank else ""))
            y, sd = fit_together(some, form).spread_at(rest)
            gap = np.abs(rest.share - y)[rest.known]
            missed[form] += gap.tolist()
            unit[form] += (gap / sd[rest.known]).tolist()
    n = len(missed[tried[0]])
    if not n:
        raise UsageError(
            "no benchmark is left with enough scores where the larger models of a family are left out, so no law can "
            "be tested; give more models, or fewer benchmarks"
        )
    wider = {
        form: max(1.0, float(np.sqrt((_DOUBT + np.sum(np.minimum(z, _MOST_WIDER) ** 2)) / (_DOUBT + n))))
        for form, z in unit.items()
    }
    return JudgedForms({f: float(np.mean(m)) for f, m in missed.items()}, wider, n, len(families))
