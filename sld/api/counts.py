"""Counts of right samples: what more samples bring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict, Unpack

from sld.core.arguments import checked
from sld.core.errors import UsageError

if TYPE_CHECKING:
    from sld.analysis.curves.samples import PassAtK


class SampleOptions(TypedDict, total=False):
    """What sampling costs and how good the verifier is.

    Attributes:
        sample_cost: Cost of one sample, in units of a right answer; asks for the best number of samples.
        wrong_cost: Cost of a wrong answer that the verifier accepts.
        false_positive: How often the verifier accepts a wrong answer.
        stop: Whether sampling of a problem ends at the first accepted sample; all are drawn otherwise.
        level: Level of the intervals, 0.9 if not given.
        drop: Rows to leave out.
    """

    sample_cost: float | None
    wrong_cost: float
    false_positive: float
    stop: bool
    level: float
    drop: str | Sequence[str]


@checked()
def passk(
    data: object,
    *,
    solved: str,
    tried: str,
    group: str | None = None,
    k: int | Sequence[int] = (1, 10, 100),
    seed: int = 0,
    **options: Unpack[SampleOptions],
) -> PassAtK:
    r"""Say what share of problems has a right one among k samples, from counts of each problem.

    Up to the number of samples drawn it is the unbiased estimate (Chen et al. 2021, arXiv:2107.03374),

    $$ \text{pass@}k = \operatorname{mean}_i \left[1 - \binom{n_i - c_i}{k} \Big/ \binom{n_i}{k}\right] , $$

    and beyond it what a Beta distribution of the rates over problems says, with a share of problems that are never
    solved. Intervals are over problems drawn anew.

    Args:
        data: A table with a row for each problem (path, DataFrame, mapping of columns, list of records).
        solved: Column of right samples.
        tried: Column of samples.
        group: Column of the model, or of the set of problems.
        k: Number or numbers of samples.
        seed: Of the problems that are drawn anew.
        **options: `sample_cost`, `wrong_cost`, `false_positive`, `stop`, `level`, `drop`: see
            `sld.api.counts.SampleOptions`.

    Returns:
        pass@k by group, with the best number of samples where a cost is given, and the ceiling of an imperfect
        verifier.

    Raises:
        UsageError: A count is not possible, a group has one problem, or k is no number of samples.
        DataError: A column is missing or a cell is no number.

    Examples:
        >>> import sld
        >>> problems = {"right": [0, 1, 5, 9], "samples": [10, 10, 10, 10]}
        >>> found = sld.passk(problems, solved="right", tried="samples", k=[1, 2])
        >>> [round(c.value, 4) for c in found.coverage]
        [0.375, 0.4944]
    """
    import numpy as np

    from sld.analysis.curves.samples import Costs, PassAtK, sampled
    from sld.data.reading import prepared, read_columns
    from sld.data.roles import listed

    ks = [k] if isinstance(k, int) else list(k)
    if not ks or any(n < 1 for n in ks):
        raise UsageError(f"k must be whole numbers of samples, at least 1, got {k}")
    if solved == tried:
        raise UsageError(f"column {solved!r} is named twice (solved and tried must differ)")
    level = options.get("level", 0.9)
    if not 0 < level < 1:
        raise UsageError(f"level must lie between 0 and 1, got {level:g}")
    read = read_columns(prepared(data, drop=listed(options.get("drop", ()))), [solved, tried], group)
    costs = Costs(
        options.get("sample_cost"), options.get("wrong_cost", 0.0), options.get("false_positive", 0.0),
        options.get("stop", False),
    )  # fmt: skip
    rows, groups = [], []
    for g, name in enumerate(read.labels or ("all",)):
        of = np.flatnonzero(read.label_index == g)
        each, known = sampled(
            name, read.values[solved][of], read.values[tried][of], ks, costs=costs, level=level, seed=seed
        )
        rows += each
        groups.append(known)
    return PassAtK(tuple(rows), tuple(groups), level)
