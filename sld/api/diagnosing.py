"""`sld.diagnose`: what the runs behind a law say against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sld.api.laws import as_law, rows_to_score
from sld.api.tasks import is_table_file
from sld.core.arguments import checked

if TYPE_CHECKING:
    from sld.analysis.diagnostics import Diagnostics


@checked()
def diagnose(
    law: object,
    data: object,
    *,
    target: str | None = None,
    at: Mapping[str, float] | None = None,
    group: str | None = None,
    drop: str | Sequence[str] = (),
    melt: bool = False,
) -> Diagnostics:
    r"""Return what the runs behind a law say against it.

    Every rung of a scale variable is left out and predicted by a refit to the others; every run is left out and the law
    asked again at a point, where the change counts in spreads of the law; and at each level of a variable the mean of
    $n$ residuals is held against $\pm 2 \sigma / \sqrt{n}$. After Cook (1977), Detection of influential observation in
    linear regression, with refits in place of derivatives.

    Args:
        law: A Law, a discovery, or the path of a law.json or run directory; with intervals.
        data: The runs that it was fitted to: a task (its training rows count), a table, or the path of one.
        target: Column of the target; needed only where the law has several.
        at: Symbol or column to value of the point in question; without it, the largest run, moved a step outwards.
        group: Group of the point; the one with the most runs if not given.
        drop: Conditions for rows to leave out, as in `sld.discover`.
        melt: Whether a wide table is made long first.

    Returns:
        The rungs, runs and levels, with `.summary()` in sentences, `.to_frame()` (a row a rung) and `.to_json()`.

    Raises:
        UsageError: There is no such target, group or variable, or the law carries no intervals.
        DataError: A column is missing or a cell is not a number.

    Examples:
        >>> import numpy as np
        >>> import sld
        >>> N = np.geomspace(1e6, 1e9, 10)
        >>> runs = {"N": N, "loss": 1.7 + 400 * N**-0.34 + 0.002 * np.cos(5 * np.arange(10))}
        >>> law = sld.fit(runs, "E + A*N**-a", target="loss", scale="N", starts=8)
        >>> found = sld.diagnose(law, runs)
        >>> len(found.rungs), found.rungs[-1].outermost
        (10, True)
        >>> found.runs[0].run
        'row 10'
    """
    from sld.analysis.diagnostics import diagnostics
    from sld.data.task import Task, load_task

    law = as_law(law)
    if isinstance(data, Task) or (isinstance(data, str) and not is_table_file(data)):
        data = (data if isinstance(data, Task) else load_task(data)).train
    table = rows_to_score(law, data, drop=drop, melt=melt)
    return diagnostics(law, table, target, at=at, group=group)
