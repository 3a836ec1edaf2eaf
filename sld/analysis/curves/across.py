r"""The end of a run that has not begun, of a larger model, from the ends foretold of runs of smaller ones.

Runs of several sizes that are under way say two things: where each of them will end, and how ends fall with size. The
ends with their uncertainty are the rows of a law

$$ \log y_i \sim N\big(\log (E + A N_i^{-a}),\; \sigma^2 + s_i^2\big) , $$

$s_i$ being that of the forecast of run $i$, with learned priors on its constants (`sld/fit/priors.py`): several small
models say more than one large, and few models need borrowed exponents (arXiv:2410.11840).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sld.analysis.curves.mixture import Mixture
from sld.core.arrays import Array
from sld.core.errors import DataError, UsageError
from sld.fit.posterior import TAILS, Problem
from sld.fit.priors import horizon, library
from sld.fit.roles import kind_of, roles_of
from sld.formula.expression import parse

LEAST_SIZES = 2
_DRAWS = 400
_FORM = "E + A*N**-a"


@dataclass(frozen=True)
class Larger:
    """The end of a run of another size.

    Attributes:
        size: Of its model.
        value: What is foretold.
        low: Lower end of the interval of a measurement.
        high: Upper end.
        horizon: Beyond which size nothing is promised.
    """

    size: float
    value: float
    low: float
    high: float
    horizon: float


def across_sizes(
    sizes: Mapping[str, float],
    forecasts: Mapping[str, Mixture],
    asked: Sequence[float],
    *,
    column: str = "N",
    level: float = 0.9,
    rising: bool = False,
    seed: int = 0,
) -> list[Larger]:
    """Foretell the ends of runs of other sizes.

    Args:
        sizes: Run to the size of its model, above 0.
        forecasts: Run to the forecast of its end.
        asked: Sizes asked for.
        column: What the sizes are called: priors go by what that is a count of.
        level: Level of the intervals.
        rising: Whether values rise with size.
        seed: Of the draws.

    Raises:
        UsageError: A size is not above 0, or there are fewer than two.
        DataError: An end may be 0 or below, so that it has no logarithm.
    """
    from scipy.special import stdtrit

    names = list(forecasts)
    N = np.array([sizes[name] for name in names])
    if not ((N > 0).all() and all(x > 0 for x in asked)):
        raise UsageError(f"{column} must be above 0, to be carried to other sizes")
    if len(set(N.tolist())) < LEAST_SIZES:
        raise UsageError(f"runs of at least {LEAST_SIZES} sizes ({column}) are needed to foretell another")
    ends = np.array([forecasts[name].quantiles([0.16, 0.5, 0.84], run=False) for name in names])  # (n_runs, 3)
    if not (ends > 0).all():
        raise DataError("ends that may be 0 or below cannot be carried to other sizes")
    expression = parse(_FORM, ["N"])
    roles = roles_of(expression, {"N": kind_of(column)})
    assert not isinstance(roles, str)
    errors: Array = 0.5 * np.log(ends[:, 2] / ends[:, 0])
    priors = library().of(roles, rising)
    problem = Problem(expression, roles, priors, {"N": N}, ends[:, 1], rising=rising, errors=errors)
    found = problem.posterior(_DRAWS, np.random.default_rng(seed))
    at = {"N": np.array(asked, dtype=float)}
    middle = problem.values({c: np.array([v]) for c, v in found.estimate.items()}, at)[0]
    off = np.abs(np.log(np.maximum(problem.values(found.draws, at), 1e-300) / middle))
    half = stdtrit(TAILS, 0.5 + level / 2) * np.hypot(
        priors.stretch * np.quantile(off, 0.6827, axis=0), np.median(found.noise)
    )
    end = horizon(float(N.min()), float(N.max()))
    return [
        Larger(float(n), float(m), float(m * np.exp(-h)), float(m * np.exp(h)), end)
        for n, m, h in zip(asked, middle, half, strict=True)
    ]
