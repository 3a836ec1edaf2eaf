r"""One model behind all laws of families: a few skills of each model, and a curve of each benchmark over them.

Model $i$ of family $f$ with features $\phi_i$ of its scale has the skills and, on benchmark $j$, the score

$$ \theta_i = B \phi_i + A_f u_i + \delta_i , \qquad
   y_{ij} = c_j + (t_j - c_j)\, \sigma(b_j + \Lambda_j \cdot \theta_i)^{g} + \varepsilon_{ij} , $$

with $A_f$, $\delta_i$, $\varepsilon_{ij}$ normal: families, models within a family, and measurements scatter. With $u_i
= 1$ and $\phi = (\log N, \log D, \log N \log D)$ this is the law of Maia Polo et al. (2024, arXiv:2412.06540); with
$u_i = (1, \log C)$ and $\phi = \log C$ the skills are components that follow the logarithm of compute in each family
(Ruan et al. 2024, arXiv:2405.10938). Floor $c_j$, ceiling $t_j$ and the bend $g$ of the curve are learned where they
are not given.

Constants are found by damped Gauss-Newton steps; the $\delta_i$ are integrated out, so that the scores of one model
count as what they are, several looks at the same skills. Variances are set to what they are expected to be after each
step (the EM algorithm).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from sld.analysis.families.components import components
from sld.analysis.families.scores import ScoreTable
from sld.core.arrays import Array, Mask, Rows

_STEPS = 30  # Gauss-Newton steps at most; stopped sooner
_STILL = 1e-4  # of a constant, in prior standard deviations: what counts as still
_PRIOR_LOADING, _PRIOR_SLOPE, _PRIOR_MIDDLE = 2.0, 1.0, 5.0  # of standardised features, in units of the logistic curve
_PRIOR_BEND = 0.4  # of log g: curves between half and twice as bent as the logistic
_PRIOR_FLOOR, _PRIOR_CEILING = (0.0, 1.5), (-2.0, 1.5)  # on the logistic scale: mostly near the best possible score
_GUESS_WEIGHT = 2.0  # what is known of a variance before rows are seen, in rows
_GUESS_FAMILY, _GUESS_MODEL, _GUESS_NOISE = (0.4, 0.1), 0.15, 0.02  # standard deviations then; a family's level, slope
_START_ROUNDS = 20  # of alternating least squares, whose components are only where the steps begin
_START_CLIP = 0.03  # of a share to its floor and ceiling, where starts are taken on the logistic scale


@dataclass(frozen=True)
class Form:
    """Which law.

    Attributes:
        kind: `one curve`, `curve by family`, `components` or `skills`.
        rank: Number of skills; 0 where each benchmark stands alone.
    """

    kind: str
    rank: int = 0

    @property
    def levels(self) -> bool:
        """Whether families differ in level."""
        return self.kind != ONE

    @property
    def slopes(self) -> bool:
        """Whether families differ in slope over compute."""
        return self.kind == COMPONENTS

    def features(self, z: Array, v: Array) -> Array:
        """Return the features (n, n_features) of standardised logarithms (n, n_scales) and compute (n,)."""
        if self.kind == COMPONENTS:
            return v[:, None]
        if self.kind == SKILLS and z.shape[1] == 2:
            return np.concatenate([z, z[:, :1] * z[:, 1:]], axis=1)
        return z

    def own(self, v: Array) -> Array:
        """Return what a family has constants for (n, n_own): a level, and a slope over compute (n,)."""
        if not self.levels:
            return np.zeros((len(v), 0))
        ones = np.ones((len(v), 1))
        return np.concatenate([ones, v[:, None]], axis=1) if self.slopes else ones


ONE, BY_FAMILY, COMPONENTS, SKILLS = "one curve", "curve by family", "components", "skills"


@dataclass(frozen=True, eq=False)
class Constants:
    r"""The constants of a law.

    Attributes:
        middle: $b$ (n_benchmarks,).
        loading: $\Lambda$ (n_benchmarks, n_skills).
        slope: $B$ (n_skills, n_features).
        family: $A$ (n_skills, n_families, n_own).
        low: Logistic scale of the floors that are found (n_benchmarks,).
        high: Logistic scale of the room above the highest score (n_benchmarks,).
        bend: $\log g$.
    """

    middle: Array
    loading: Array
    slope: Array
    family: Array
    low: Array
    high: Array
    bend: float

    def packed(self) -> Array:
        """Return all of them in a row."""
        parts = (self.middle, self.loading, self.slope, self.family, self.low, self.high)
        return np.concatenate([*(p.ravel() for p in parts), [self.bend]])

    def unpacked(self, row: Array) -> Constants:
        """Return constants of these shapes from a row."""
        own = (self.middle, self.loading, self.slope, self.family, self.low, self.high)
        cuts = np.split(row[:-1], np.cumsum([p.size for p in own])[:-1])
        middle, loading, slope, family, low, high = (c.reshape(p.shape) for c, p in zip(cuts, own, strict=True))
        return Constants(middle, loading, slope, family, low, high, float(row[-1]))


@dataclass(frozen=True, eq=False)
class Variances:
    """What scatters: families (n_skills, n_own), models of a family (n_skills,), measurements (n_benchmarks,)."""

    family: Array
    model: Array
    noise: Array


@dataclass(frozen=True, eq=False)
class Ends:
    """Between what each curve runs.

    Attributes:
        floor: Known floors (n_benchmarks,); NaN where they are found.
        least: Lowest score seen, which no floor exceeds (n_benchmarks,).
        most: Highest score seen, which no ceiling undercuts (n_benchmarks,).
    """

    floor: Array
    least: Array
    most: Array

    def of(self, low: Array, high: Array) -> tuple[Array, Array, Array, Array]:
        """Return floors, ceilings, and their derivatives (n_benchmarks,)."""
        p, q = _logistic(low), _logistic(high)
        found = np.isnan(self.floor)
        floor = np.where(found, self.least * p, self.floor)
        room = 1 - self.most
        return floor, 1 - room * q, np.where(found, self.least * p * (1 - p), 0.0), -room * q * (1 - q)


@dataclass(frozen=True, eq=False)
class Rated:
    """Rows as a law sees them: features (n, n_features), own (n, n_own), families (n,)."""

    features: Array
    own: Array
    family: Rows


@dataclass(frozen=True, eq=False)
class Latent:
    """A fitted law.

    Attributes:
        form: Which.
        constants: At their best.
        variances: What scatters.
        ends: Between what curves run.
        centre: What is taken from logarithms of scales and of compute (n_scales + 1,).
        spread: What they are divided by then.
        covariance: Of the packed constants.
    """

    form: Form
    constants: Constants
    variances: Variances
    ends: Ends
    centre: Array
    spread: Array
    covariance: Array = field(repr=False)

    def rated(self, logs: Array, family: Rows) -> Rated:
        """Return rows as this law sees them, from logarithms of scales (n, n_scales)."""
        return _rated(self.form, logs, family, self.centre, self.spread)

    def skills(self, rows: Rated, constants: Constants | None = None) -> Array:
        """Return the skills of models about which no more is known than their family (n, n_skills)."""
        return _skills(self.constants if constants is None else constants, rows)

    def shares(self, skills: Array, constants: Constants | None = None) -> Array:
        """Return the scores of models with these skills (n, n_benchmarks)."""
        return _curve(self.constants if constants is None else constants, self.ends, skills)[0]

    def spread_at(self, rows: Rated) -> tuple[Array, Array]:
        """Return scores and the standard deviation of a measured one (n, n_benchmarks)."""
        J, M, y = _jacobian(self.constants, self.ends, rows)
        law = ((J @ self.covariance) * J).sum(2)
        model = (M**2) @ self.variances.model
        return y, np.sqrt(law + model + self.variances.noise)


def _logistic(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -40, 40))))


def _rated(form: Form, logs: Array, family: Rows, centre: Array, spread: Array) -> Rated:
    z = (np.concatenate([logs, logs.sum(1)[:, None]], axis=1) - centre) / spread
    return Rated(form.features(z[:, :-1], z[:, -1]), form.own(z[:, -1]), family)


def _skills(c: Constants, rows: Rated) -> Array:
    own = np.einsum("knu,nu->nk", c.family[:, rows.family], rows.own)
    return np.asarray(rows.features @ c.slope.T + own)


def _curve(c: Constants, ends: Ends, skills: Array) -> tuple[Array, Array, Array, Array]:
    """Return scores, their derivative by the logistic scale, the curve from 0 to 1, and its derivative by the bend."""
    s = _logistic(c.middle + skills @ c.loading.T)
    g = np.exp(c.bend)
    G = s**g
    floor, top, _, _ = ends.of(c.low, c.high)
    return floor + (top - floor) * G, (top - floor) * g * G * (1 - s), G, (top - floor) * g * G * np.log(s)


def _jacobian(c: Constants, ends: Ends, rows: Rated) -> tuple[Array, Array, Array]:
    """Return derivatives by the constants (n, n_benchmarks, n_constants), by skills (n, n_b, n_skills), and scores."""
    n, (m, K), U = len(rows.family), c.loading.shape, rows.own.shape[1]
    theta = _skills(c, rows)
    y, d, G, by_bend = _curve(c, ends, theta)
    M = d[:, :, None] * c.loading
    each = np.arange(m)
    J = np.zeros((n, m, c.packed().size))
    J[:, each, each] = d
    at = m
    for k in range(K):
        J[:, each, at + each * K + k] = d * theta[:, k : k + 1]
    at += m * K
    P = rows.features.shape[1]
    J[:, :, at : at + K * P] = np.einsum("njk,np->njkp", M, rows.features).reshape(n, m, -1)
    at += K * P
    F = c.family.shape[1]
    if U:
        step = np.arange(n)
        for k in range(K):
            for u in range(U):
                J[step, :, at + (k * F + rows.family) * U + u] = M[:, :, k] * rows.own[:, u : u + 1]
    at += K * F * U
    _, _, by_low, by_high = ends.of(c.low, c.high)
    J[:, each, at + each] = (1 - G) * by_low
    J[:, each, at + m + each] = G * by_high
    J[:, :, -1] = by_bend
    return J, M, y


def _priors(c: Constants, v: Variances) -> tuple[Array, Array]:
    """Return means and variances of the packed constants before rows are seen."""
    F = c.family.shape[1]
    family = np.broadcast_to(v.family[:, None, :], (len(v.family), F, v.family.shape[1]))
    sd2 = np.concatenate([
        np.full(c.middle.size, _PRIOR_MIDDLE**2), np.full(c.loading.size, _PRIOR_LOADING**2),
        np.full(c.slope.size, _PRIOR_SLOPE**2), family.ravel(), np.full(c.low.size, _PRIOR_FLOOR[1] ** 2),
        np.full(c.high.size, _PRIOR_CEILING[1] ** 2), [_PRIOR_BEND**2],
    ])  # fmt: skip
    mean = np.zeros(sd2.size)
    high = sd2.size - 1 - c.high.size
    mean[high - c.low.size : high] = _PRIOR_FLOOR[0]
    mean[high:-1] = _PRIOR_CEILING[0]
    return mean, sd2


@dataclass(frozen=True, eq=False)
class _System:
    """The linear system of one step: rows whitened by the scatter of models and measurements."""

    residual: Array  # (n, m), 0 where not measured
    jacobian: Array  # (n, m, p), 0 where not measured
    by_skill: Array  # (n, m, K)
    inverse: Array  # (n, m, m): of the covariance of a model's scores
    root: Array  # (n, m, m): its inverse Cholesky factor


def _system(c: Constants, v: Variances, ends: Ends, rows: Rated, share: Array) -> _System:
    J, M, y = _jacobian(c, ends, rows)
    known = np.isfinite(share)
    r = np.where(known, share - y, 0.0)
    J, M = J * known[:, :, None], M * known[:, :, None]
    m = share.shape[1]
    V = np.einsum("njk,k,nlk->njl", M, v.model, M)
    V[:, np.arange(m), np.arange(m)] += np.where(known, v.noise, 1.0)
    root = np.linalg.inv(np.linalg.cholesky(V))
    return _System(r, J, M, np.swapaxes(root, 1, 2) @ root, root)


def _misfit(c: Constants, ends: Ends, rows: Rated, share: Array, root: Array, weight: Array) -> float:
    y = _curve(c, ends, _skills(c, rows))[0]
    r = np.where(np.isfinite(share), share - y, 0.0)
    white = np.einsum("njl,nl->nj", root, r)
    return float((white**2).sum(1) @ weight)


def _step(
    c: Constants, v: Variances, ends: Ends, rows: Rated, share: Array, weight: Array, shift: Array | None = None
) -> tuple[Constants, float, Array, _System]:
    """Return better constants, how far they moved (in prior standard deviations), the normal matrix, the system."""
    s = _system(c, v, ends, rows, share)
    mean, sd2 = _priors(c, v)
    mean = mean if shift is None else mean + shift
    p = sd2.size
    white = ((s.root @ s.jacobian) * np.sqrt(weight)[:, None, None]).reshape(-1, p)
    r = (np.einsum("njl,nl->nj", s.root, s.residual) * np.sqrt(weight)[:, None]).ravel()
    now = c.packed()
    H = white.T @ white
    H[np.arange(p), np.arange(p)] += 1 / sd2
    gradient = white.T @ r - (now - mean) / sd2
    move = np.linalg.solve(H, gradient)
    before = float(r @ r) + float(((now - mean) ** 2 / sd2).sum())
    for k in range(8):
        there = now + move * 0.5**k
        new = c.unpacked(there)
        after = _misfit(new, ends, rows, share, s.root, weight) + float(((there - mean) ** 2 / sd2).sum())
        if after <= before:
            return new, float(np.max(np.abs(move * 0.5**k) / np.sqrt(sd2))), H, s
    return c, 0.0, H, s


def _updated(c: Constants, v: Variances, s: _System, C: Array, known: Mask) -> Variances:
    """Return the variances as they are expected to be, given the constants with covariance `C`."""
    n, m = known.shape
    moved = s.jacobian @ C @ np.swapaxes(s.jacobian, 1, 2) + s.residual[:, :, None] * s.residual[:, None, :]
    inside = s.inverse @ moved @ s.inverse - s.inverse  # (n, m, m)
    diagonal = inside[:, np.arange(m), np.arange(m)]
    noise = v.noise + v.noise**2 * np.where(known, diagonal, 0.0).sum(0) / np.maximum(known.sum(0), 1)
    by = np.einsum("njk,njl,nlk->nk", s.by_skill, inside, s.by_skill)
    model = v.model + v.model**2 * by.mean(0)
    counts = known.sum(0)
    noise = (counts * noise + _GUESS_WEIGHT * _GUESS_NOISE**2) / (counts + _GUESS_WEIGHT)
    if m > 1:
        model = (n * model + _GUESS_WEIGHT * _GUESS_MODEL**2) / (n + _GUESS_WEIGHT)
    else:
        model = np.zeros_like(model)  # of one benchmark, the scatter of models and of measurements are the same
    family = v.family
    if family.size:
        K, F, U = c.family.shape
        at = c.middle.size + c.loading.size + c.slope.size
        own = np.diag(C)[at : at + K * F * U].reshape(K, F, U)
        family = ((c.family**2 + own).sum(1) + _GUESS_WEIGHT * np.square(_GUESS_FAMILY[:U])) / (F + _GUESS_WEIGHT)
    return Variances(family, np.maximum(model, 0.0), np.maximum(noise, 1e-8))


def _start(form: Form, table: ScoreTable, rows: Rated, ends: Ends) -> Constants:
    known = table.known
    floor = np.where(np.isnan(ends.floor), 0.5 * ends.least, ends.floor)
    u = np.clip((table.share - floor) / (1 - floor), _START_CLIP, 1 - _START_CLIP)
    L = np.where(known, np.log(u / (1 - u)), np.nan)
    rank = max(form.rank, 1)
    found = components(L, rank, rounds=_START_ROUNDS)
    size = np.sqrt((found.scores**2).mean(0)) + 1e-9
    S = found.scores / size
    X = rows.features
    slope = np.linalg.solve(X.T @ X + 0.1 * np.eye(X.shape[1]), X.T @ S).T
    F = len(table.family)
    family = np.zeros((rank, F, rows.own.shape[1]))
    if rows.own.shape[1]:
        rest = S - X @ slope.T
        count = np.bincount(rows.family, minlength=F)
        for k in range(rank):
            family[k, :, 0] = np.bincount(rows.family, weights=rest[:, k], minlength=F) / (count + 1.0)
    m = len(table.benchmarks)
    return Constants(
        found.mean,
        found.loadings * size,
        slope,
        family,
        np.full(m, _PRIOR_FLOOR[0]),
        np.full(m, _PRIOR_CEILING[0]),
        0.0,
    )


def fit_latent(table: ScoreTable, form: Form, *, steps: int = _STEPS) -> Latent:
    """Fit a law of families.

    Args:
        table: What was measured.
        form: Which law; with rank 0 the table has to have one benchmark.
        steps: How many steps are taken at most.
    """
    both = np.concatenate([table.logs, table.compute[:, None]], axis=1)
    centre, spread = both.mean(0), np.maximum(both.std(0), 1e-9)
    rows = _rated(form, table.logs, table.index, centre, spread)
    ends = Ends(table.floor, np.nanmin(table.share, axis=0), np.minimum(np.nanmax(table.share, axis=0), 1.0))
    c = _start(form, table, rows, ends)
    m, K, U = len(table.benchmarks), c.loading.shape[1], rows.own.shape[1]
    v = Variances(
        np.tile(np.square(_GUESS_FAMILY[:U]), (K, 1)), np.full(K, _GUESS_MODEL**2 if m > 1 else 0.0),
        np.maximum(0.1 * np.nanvar(table.share, axis=0), _GUESS_NOISE**2),
    )  # fmt: skip
    weight, known = np.ones(len(table.index)), table.known
    for k in range(steps):
        c, moved, H, s = _step(c, v, ends, rows, table.share, weight)
        if k % 2:
            new = _updated(c, v, s, np.asarray(np.linalg.inv(H)), known)
            change = float(np.max(np.abs(np.log((new.noise) / v.noise))))
            v = new
            if moved < _STILL * 100 and change < 0.01:
                break
    _, _, H, _ = _step(c, v, ends, rows, table.share, weight)
    return Latent(form, c, v, ends, centre, spread, np.asarray(np.linalg.inv(H)))


def resampled(law: Latent, table: ScoreTable, weight: Array, rng: np.random.Generator, *, steps: int = 4) -> Latent:
    """Return the law with its models weighed anew (n_models,): what other models might have said.

    Slopes are drawn to random points instead of 0, as far as they are drawn at all: where models cannot tell two scales
    apart, since tokens grew with size in all of them, other weights alone would not show that.
    """
    rows, c = law.rated(table.logs, table.index), law.constants
    shift = np.zeros(c.packed().size)
    at = c.middle.size + c.loading.size
    shift[at : at + c.slope.size] = _PRIOR_SLOPE * rng.standard_normal(c.slope.size)
    for _ in range(steps):
        c, _, _, _ = _step(c, law.variances, law.ends, rows, table.share, weight, shift)
    return replace(law, constants=c)


def family_posterior(law: Latent, rows: Rated, share: Array, *, steps: int = 3) -> tuple[Array, Array]:
    """Return mean and covariance of what one family has for itself, all other constants as they are.

    Args:
        law: The law.
        rows: The models of the family.
        share: Their scores (n, n_benchmarks).
        steps: Gauss-Newton steps.

    Returns:
        The mean (n_skills * n_own,) and the covariance; that of any family where there are no models.
    """
    (K, U), n = law.variances.family.shape, len(rows.family)
    precision = np.diag(1 / law.variances.family.ravel())
    if not K * U or not n:
        return np.zeros(K * U), np.diag(law.variances.family.ravel())
    f, c = int(rows.family[0]), law.constants
    a = c.family[:, f].ravel()
    H = precision
    for _ in range(steps):
        family = c.family.copy()
        family[:, f] = a.reshape(K, U)
        s = _system(replace(c, family=family), law.variances, law.ends, rows, share)
        X = np.einsum("njk,nu->njku", s.by_skill, rows.own).reshape(n, -1, K * U)
        VX = s.inverse @ X
        H = precision + np.einsum("njp,njq->pq", X, VX)
        a = a + np.linalg.solve(H, np.einsum("njp,nj->p", VX, s.residual) - precision @ a)
    return a, np.asarray(np.linalg.inv(H))


def model_posterior(law: Latent, skills: Array, share: Array, *, steps: int = 4) -> tuple[Array, Array]:
    """Return how much a model's skills differ from those of its family (n_skills,), with covariance, from its scores.

    Args:
        law: The law.
        skills: What its family and scale say (n_skills,).
        share: Its scores (n_benchmarks,); NaN where it was not measured.
        steps: Gauss-Newton steps.
    """
    known = np.isfinite(share)
    precision = np.diag(1 / np.maximum(law.variances.model, 1e-10))
    delta, H = np.zeros(len(skills)), precision
    for _ in range(steps):
        y, d, _, _ = _curve(law.constants, law.ends, (skills + delta)[None])
        M = (d[0][:, None] * law.constants.loading)[known]
        r = (share - y[0])[known] / law.variances.noise[known]
        H = precision + (M / law.variances.noise[known, None]).T @ M
        delta = delta + np.linalg.solve(H, M.T @ r - precision @ delta)
    return delta, np.asarray(np.linalg.inv(H))
