r"""Benchmark scores of larger models: through a loss, in two stages, or straight from compute; the folds decide.

Two stages (Gadre et al. 2024, arXiv:2403.08540; Bhagia et al. 2024, arXiv:2412.04403): the loss from scale, the score
from the loss. Draws of the first stage go through draws of the second, so that the interval of a score holds what is
unknown of both. Beside them stands the direct law, a score from the logarithm of compute. Which of the two is given
out, and whether the task scales at all, is decided by folds: laws of the smaller models foretell the larger ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from sld.analysis.curves.links import Bounds, Link, fit_link
from sld.analysis.curves.scales import ScaleLaw, fit_scales
from sld.core.arrays import Array, Mask
from sld.core.errors import UsageError

TWO_STAGES, DIRECT, NONE = "two stages", "direct", "does not scale"
_CUTS = (0.5, 0.65, 0.8)  # of the rungs of compute: what lies below foretells what lies above
_CLEARLY = 0.75  # of the error through the loss: the loss reaches farther than the folds can show
_LEAST_FOLD = 6  # rows below a cut: both stages of fewer are a matter of luck
_MOST_WIDER = 4.0  # times the standard deviation: a fold that missed by more had a break in it
_DOUBT = 3.0  # folds' rows that the prior width counts as
_ALARM = 0.05  # probability of so little relation by chance
_CHANCE = 0.02  # probability that a score rises so far by chance: of fifty tasks at chance, one passes
_LEAST_HALF = 6  # models: of fewer, a score without any relation is no surprise
_NEAR_TOP = 0.1  # of the range to the ceiling: a score that is nearly there cannot rise


@dataclass(frozen=True, eq=False)
class TaskRows:
    """What was measured of one task: a row for each model.

    Attributes:
        name: Of the task.
        X: Scales (n_rows, n_scales).
        loss: (n_rows,); None without a loss.
        score: Higher is better (n_rows,); with trials, the number of right answers.
        trials: Trials of each row (n_rows,), if the score is a count.
        bounds: Floor (chance) and ceiling of the score, where they are known.
        others: Scales and losses of models that have no score: they count for the first stage.
    """

    name: str
    X: Array
    loss: Array | None
    score: Array
    trials: Array | None = None
    bounds: Bounds = field(default_factory=Bounds)
    others: tuple[Array, Array] | None = None

    def take(self, rows: Mask) -> TaskRows:
        """Return some of the rows, and models without a score that are no larger than these."""
        others = self.others
        if others is not None and rows.any():
            small = np.log(others[0]).sum(1) <= self.compute[rows].max() + 1e-9
            others = others[0][small], others[1][small]
        return TaskRows(
            self.name, self.X[rows], None if self.loss is None else self.loss[rows], self.score[rows],
            None if self.trials is None else self.trials[rows], self.bounds, others,
        )  # fmt: skip

    @property
    def losses(self) -> tuple[Array, Array]:
        """Scales and losses of all models with a loss, with or without a score."""
        assert self.loss is not None
        if self.others is None:
            return self.X, self.loss
        return np.concatenate([self.X, self.others[0]]), np.concatenate([self.loss, self.others[1]])

    @property
    def share(self) -> Array:
        """The score of each row, as a share where it is a count (n_rows,)."""
        return self.score if self.trials is None else self.score / self.trials

    @property
    def compute(self) -> Array:
        """Logarithm of the product of the scales (n_rows,)."""
        return np.asarray(np.log(self.X).sum(1))


@dataclass(frozen=True, eq=False)
class Chain:
    """How a score is foretold: through the loss, or straight from compute.

    Attributes:
        kind: `two stages` or `direct`.
        link: The score from the loss, or from the logarithm of compute.
        scales: The loss from scale, in two stages.
    """

    kind: str
    link: Link
    scales: ScaleLaw | None = None

    def draws(self, X: Array, n: int, rng: np.random.Generator, *, run: bool = False) -> Array:
        """Return scores (n, n_points) at scales (n_points, n_scales): of the law, or of a new run's loss (`run`)."""
        if self.scales is None:
            v = np.broadcast_to(np.log(X).sum(1), (n, len(X)))
            return self.link.draws(np.array(v), rng)
        loss = self.scales.draws(X, n, rng)
        if run:
            loss = loss * np.exp(self.scales.scatter * rng.standard_normal(loss.shape))
        return self.link.draws(-loss, rng)

    def at(self, X: Array) -> Array:
        """Return the middle score (n_points,)."""
        if self.scales is None:
            return self.link.at(np.asarray(np.log(X).sum(1)))
        return self.link.at(-self.scales.at(X))


def fit_chain(rows: TaskRows, kind: str) -> Chain:
    """Fit a task's score through the loss or straight from compute; raises UsageError."""
    if kind == DIRECT:
        return Chain(kind, fit_link(rows.compute, rows.score, rows.bounds, trials=rows.trials))
    if rows.loss is None:
        raise UsageError("two stages need a loss")
    return Chain(kind, fit_link(-rows.loss, rows.score, rows.bounds, trials=rows.trials), fit_scales(*rows.losses))


@dataclass(frozen=True)
class Judged:
    """How laws of smaller models foretold larger ones.

    Attributes:
        errors: Mean absolute error of each kind, and of a constant (`does not scale`); empty without folds.
        n_rows: Rows that were foretold.
        scales: Whether the score rises with compute by more than chance.
        wider: What the standard deviation of the chosen kind has to be multiplied by, from what folds missed by.
    """

    errors: Mapping[str, float]
    n_rows: int
    wider: Mapping[str, float]
    scales: bool = True

    @property
    def chosen(self) -> str:
        """The loss in between, unless compute alone misses clearly less; none for a task that does not scale."""
        if not self.scales:
            return NONE
        kinds = [k for k in (TWO_STAGES, DIRECT) if k in self.errors] or list(self.wider)
        if len(kinds) == 1 or not self.errors:
            return kinds[0]
        return DIRECT if self.errors[DIRECT] < _CLEARLY * self.errors[TWO_STAGES] else TWO_STAGES


def judge(rows: TaskRows, *, seed: int = 0) -> Judged:
    """Let laws of the smaller models foretell the larger ones, at three cuts of compute."""
    z = rows.compute
    rungs = np.unique(np.round(z, 9))
    kinds = [*((TWO_STAGES,) if rows.loss is not None else ()), DIRECT]
    missed: dict[str, list[float]] = {k: [] for k in (*kinds, NONE)}
    unit: dict[str, list[float]] = {k: [] for k in kinds}
    cuts = sorted({round(float(rungs[int(c * (len(rungs) - 1))]), 9) for c in _CUTS}) if len(rungs) > 2 else []
    ends = [*cuts, np.inf]
    for cut, end in pairwise(ends):
        below, above = z <= cut + 1e-9, (z > cut + 1e-9) & (z <= end + 1e-9)
        if below.sum() < _LEAST_FOLD or not above.any():
            continue
        some, next_ = rows.take(below), rows.take(above)
        try:
            chains = {k: fit_chain(some, k) for k in kinds}
        except UsageError:
            continue
        y = next_.share
        late = np.argsort(some.compute)[-max(3, len(some.score) // 3) :]
        missed[NONE] += np.abs(y - some.share[late].mean()).tolist()
        rng = np.random.default_rng(seed)
        for k, chain in chains.items():
            drawn = chain.draws(next_.X, 200, rng, run=True)
            missed[k] += np.abs(y - chain.at(next_.X)).tolist()
            sd = np.sqrt(drawn.var(0) + noise_of(chain, drawn.mean(0), next_.trials) ** 2)
            unit[k] += (np.abs(y - drawn.mean(0)) / np.maximum(sd, 1e-12)).tolist()
    n = len(missed[NONE])
    if not n:
        return Judged({}, 0, {k: 1.0 for k in kinds}, rises(rows))
    wider = {
        k: float(np.sqrt((_DOUBT + np.sum(np.minimum(unit[k], _MOST_WIDER) ** 2)) / (_DOUBT + len(unit[k]))))
        for k in kinds
    }
    return Judged(
        {k: float(np.mean(v)) for k, v in missed.items()}, n, {k: max(w, 1.0) for k, w in wider.items()}, rises(rows)
    )


def rises(rows: TaskRows) -> bool:
    """Whether a score rises with compute: its rank correlation (Kendall), over all rows, is no work of chance."""
    from scipy.stats import kendalltau

    if np.ptp(rows.share) == 0:
        return False
    tau, p = kendalltau(rows.compute, rows.share)
    return bool(tau > 0 and p / 2 < _CHANCE)


def noise_of(chain: Chain, share: Array, trials: Array | None) -> Array:
    """Return the standard deviation of one more measurement of a score (n_points,)."""
    if chain.link.rates is None:
        return np.full(len(share), chain.link.noise)
    many = np.median(trials) if trials is not None else np.inf
    return np.asarray(np.sqrt(chain.link.rates.dispersion * share * (1 - share) / many))


def alarm(rows: TaskRows) -> str:
    """Return a sentence where the loss improves and the score does not; empty otherwise.

    Among the better half of the models (by loss), the loss has to have improved, and the score has to be unrelated to
    it or to fall (Isik et al. 2024, arXiv:2402.04177: scores that fluctuate although cross-entropy falls).
    """
    from scipy.stats import kendalltau

    if rows.loss is None or len(rows.loss) < 2 * _LEAST_HALF:
        return ""
    order = np.argsort(-rows.loss)
    half = order[len(order) // 2 :]
    loss, share = rows.loss[half], rows.share[half]
    top = rows.bounds.ceiling
    low = float(rows.share.min()) if rows.bounds.floor is None else rows.bounds.floor
    if top is not None and share.mean() > top - _NEAR_TOP * (top - low):
        return ""
    if np.ptp(loss) == 0 or np.ptp(share) == 0:
        return "the score is the same for all of the better half of the models, while their loss improves"
    tau, p = kendalltau(-loss, share)
    _, p_all = kendalltau(-rows.loss, rows.share)
    if tau < 0 and p < 2 * _ALARM:
        return "among the better half of the models the score falls while the loss improves"
    worse = order[: len(order) // 2]
    _, p_worse = kendalltau(-rows.loss[worse], rows.share[worse])
    if p > 2 * _ALARM and (tau <= 0 or p_all > 2 * _ALARM or p_worse < _ALARM):
        return "among the better half of the models the score does not follow the loss"
    return ""


def follows(rows: Sequence[Array], compute: Array) -> list[float]:
    """Return the rank correlation (Spearman) of each step of a chain, e.g. log-likelihood to accuracy, with compute."""
    from scipy.stats import spearmanr

    return [float(spearmanr(compute, values).statistic) if np.ptp(values) > 0 else 0.0 for values in rows]
