"""Runs of several sizes laid over one another, by tokens, by compute or by whatever rises along them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sld.core.arguments import checked
from sld.core.errors import DataError, UsageError, suggest
from sld.core.numbers import exact

if TYPE_CHECKING:
    from sld.analysis.curves.overlay import CurveAlignment


@checked()
def curve_alignment(
    data: object,
    *,
    target: str,
    step: str,
    align: str | Sequence[str],
    run: str | Sequence[str] = (),
    drop: str | Sequence[str] = (),
    melt: bool = False,
    seed: int = 0,
) -> CurveAlignment:
    r"""Lay the curves of several runs over one another, and tell by which column they lie closest.

    For each column and each two runs $f_a$, $f_b$, interpolated without overshoot in $u = \log x$ over the part
    $[l, h]$ that both cover (never beyond),

    $$ D^2 = \frac{1}{h - l} \int_l^h (f_b - f_a)^2 \, du , $$

    with the part of it that is an offset (the squared mean of $f_b - f_a$), and the $D$ that noise alone would give,
    from the third differences of neighbouring checkpoints. Columns have different common parts; which one is closest
    goes by the mean of $D$ over pairs at the same checkpoints, those in the common part of every column. 200 redraws,
    of the runs and of the noise of their checkpoints, say how surely: told apart is what is closer by at least a tenth
    in 95 % of them. The comparison is that of "The Fine Line" (Yang et al. 2024,
    arXiv:2404.01204), whose curves of models of several sizes are laid over tokens and over compute.

    Args:
        data: A table with a row for each checkpoint (path, DataFrame, mapping of columns, list of records).
        target: Column of the values: a loss, a score.
        step: Column that orders the checkpoints of a run: steps or tokens.
        align: Column(s) to lay the runs over one another by, such as `["tokens", "flops"]`: above 0, rising along
            each run. `step` may be one of them.
        run: Column(s) that tell the runs apart.
        drop: Rows to leave out, e.g. "step<1000".
        melt: The table has one column per run.
        seed: Of the redraws.

    Returns:
        `alignments`, one for each column, with a distance for each pair of runs (`to_frame()` has them all); `closest`,
        `told_apart`, and `sentence`, which says both; `plot()` draws the curves over each column.

    Raises:
        UsageError: There are fewer than two runs, or no two have a part of a column in common.
        DataError: A column is missing, a cell is no number, or a column does not rise along a run or is not above 0.

    Examples:
        >>> import numpy as np
        >>> import sld
        >>> size, tokens = (v.ravel() for v in np.meshgrid([1e8, 4e8, 1.6e9], np.geomspace(1e9, 1e11, 15)))
        >>> noise = 0.002 * np.random.default_rng(0).standard_normal(45)
        >>> runs = {"size": size, "tokens": tokens, "flops": 6 * size * tokens}
        >>> runs["acc"] = 0.1 * np.log10(runs["flops"]) - 1.6 + noise
        >>> found = sld.curve_alignment(runs, target="acc", step="tokens", run="size", align=["tokens", "flops"])
        >>> found.closest, found.told_apart, found["flops"].distance < 0.004 < 0.05 < found["tokens"].distance
        ('flops', True, True)
    """
    from sld.analysis.curves.alignment import align_curves, check_runs, over_column
    from sld.analysis.curves.runs import read_curves
    from sld.data.reading import column_names, prepared, read_columns
    from sld.data.roles import listed

    columns = listed(align)
    if not columns:
        raise UsageError("align names the columns to lay the runs over one another by, such as tokens, flops")
    if twice := [c for c in columns if columns.count(c) > 1]:
        raise UsageError(f"align names column {twice[0]!r} twice")
    if seed < 0:
        raise UsageError(f"a seed is a whole number from 0 on, got {seed}")
    runs = listed(run or ("run" if melt else ()))
    for c in columns:
        if c == target or c in runs:
            raise UsageError(f"align names what rises along a run, such as tokens; {c!r} is named for something else")
    keep = list(dict.fromkeys([step, *columns]))
    source = prepared(data, drop=listed(drop), melt=melt, keep=keep, targets=[target])
    known = column_names(source)
    for c in keep:
        if c not in known:
            raise DataError(f"{source.where}: {suggest(c, known, kind='column')}")
    values, notes = read_curves(source, target=target, step=step, run=runs)
    steps = read_columns(source, [step]).values[step]
    if (steps < 0).any():
        raise DataError(f"column {step!r} has {exact(float(steps[steps < 0][0]))}: the steps of a run are not below 0")
    check_runs(len(values))
    along = {step: [replace(c, y=c.x) for c in values]}
    by_column = {step: values}
    for c in columns:
        if c != step:
            own = {way.name: way for way in read_curves(source, target=c, step=step, run=runs)[0]}
            by_column[c], along[c] = over_column(c, own, values)
    by_column = {c: by_column[c] for c in columns}
    return align_curves(by_column, along, target=target, step=step, notes=notes, seed=seed)
