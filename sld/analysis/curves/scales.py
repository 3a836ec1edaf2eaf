r"""A loss from scale: sums of falling powers, with draws of the whole law.

$$ L = E + A N^{-a} + B D^{-b} \qquad\text{or}\qquad L = E + A C^{-a} . $$

Errors are relative. The exponents are a grid whose weights are the posterior; $E$, $A$ and $B$ are linear and follow
exactly at each of its points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sld.analysis.curves.grids import Posterior, posterior
from sld.core.arrays import Array
from sld.core.errors import UsageError

_EXPONENTS = (0.02, 1.5)  # of losses in N, D and C: below, a power is a logarithm; above, none was ever published
_NOISE = 1e-4  # relative: what is known of the noise before any row is seen, as one row


@dataclass(frozen=True, eq=False)
class ScaleLaw:
    """A loss as a sum of powers.

    Attributes:
        grid: Posterior of the exponents.
        constants: Linear constants at each point of the grid (n_points, 1 + n_scales): E, A, B.
        root: Square root of their covariance, without the variance of the noise (n_points, n, n).
        noise: Relative standard deviation of a run about the law, at each point of the grid (n_points,).
        unit: What each scale is divided by (n_scales,): its geometric mean.
    """

    grid: Posterior
    constants: Array
    root: Array
    noise: Array
    unit: Array

    def at(self, X: Array) -> Array:
        """Return the mean of the loss over all laws, at scales (n_points, n_scales)."""
        kept = np.argsort(self.grid.weight)[::-1][:300]
        share = self.grid.weight[kept] / self.grid.weight[kept].sum()
        powers = _powers(self.grid.points[kept], X / self.unit)
        return np.asarray(share @ np.einsum("gnp,gp->gn", powers, self.constants[kept]))

    def draws(self, X: Array, n: int, rng: np.random.Generator) -> Array:
        """Return losses (n, n_points) at scales (n_points, n_scales): each row is one law."""
        k = self.grid.indices(n, rng)
        moved = np.einsum("nij,nj->ni", self.root[k], rng.standard_normal((n, self.constants.shape[1])))
        constants = np.maximum(self.constants[k] + moved * self.noise[k, None], 0.0)
        return np.asarray(np.einsum("gnp,gp->gn", _powers(self.grid.points[k], X / self.unit), constants))

    @property
    def scatter(self) -> float:
        """Relative standard deviation of a run about the law."""
        return float(self.grid.weight @ self.noise)


def _powers(exponents: Array, X: Array) -> Array:
    """Return (n_laws, n_points, 1 + n_scales)."""
    ones = np.ones((len(exponents), len(X), 1))
    return np.concatenate([ones, np.exp(-exponents[:, None, :] * np.log(X)[None])], axis=2)


def fit_scales(X: Array, loss: Array) -> ScaleLaw:
    """Fit a loss as a sum of powers of scales.

    Args:
        X: Scales (n_rows, n_scales), one or two, above 0.
        loss: (n_rows,), above 0.

    Raises:
        UsageError: There are too few rows, or the loss does not fall with scale.
    """
    n, p = X.shape[0], X.shape[1] + 1
    if X.shape[1] not in (1, 2):
        raise UsageError(f"the loss is taken from one or two scales, e.g. C or N,D; got {X.shape[1]}")
    if n < p + 2:
        raise UsageError(f"{n} rows are too few for a loss over {X.shape[1]} scales; {p + 2} at least")
    unit = np.exp(np.log(X).mean(0))
    y = np.ones(n)

    def solved(exponents: Array) -> tuple[Array, Array, Array, Array]:
        D = _powers(exponents, X / unit) / loss[:, None]  # errors are relative
        gram = np.einsum("gni,gnj->gij", D, D)
        gram += 1e-10 * np.einsum("gii->gi", gram).max(1)[:, None, None] * np.eye(p)
        right = np.einsum("gni,n->gi", D, y)
        c = np.linalg.solve(gram, right[..., None])[..., 0]
        # a floor below 0 is none: without it, the other terms are solved again
        below = c[:, 0] < 0
        if below.any():
            c[below, 1:] = np.linalg.solve(gram[below][:, 1:, 1:], right[below, 1:, None])[..., 0]
            c[below, 0] = 0.0
        rest = ((y - np.einsum("gni,gi->gn", D, c)) ** 2).sum(1) + _NOISE**2
        log = -0.5 * np.linalg.slogdet(gram)[1] - 0.5 * (n + 1 - p) * np.log(rest)
        log = np.where((c[:, 1:] >= 0).all(1), log, -np.inf)
        return log, c, gram, np.sqrt(rest / max(n + 1 - p, 1))

    low, high = np.log(_EXPONENTS[0]), np.log(_EXPONENTS[1])
    try:
        grid = posterior(lambda t: solved(np.exp(t))[0], [(low, high)] * X.shape[1])
    except FloatingPointError:
        raise UsageError("the loss does not fall with scale in these rows: nothing can be carried through it") from None
    exponents = np.exp(grid.points)
    _, c, gram, noise = solved(exponents)
    root: Array = np.asarray(np.linalg.cholesky(np.linalg.inv(gram) + 1e-14 * np.eye(p)), dtype=np.float64)
    return ScaleLaw(Posterior(exponents, grid.weight, grid.best), c, root, noise, unit)
