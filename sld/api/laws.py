"""A law that there is: its scores, its predictions, and where not to believe them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from warnings import warn

from sld.api.tasks import is_table_file
from sld.core.arguments import checked
from sld.core.errors import DataError, SldWarning, UsageError, suggest
from sld.core.files import is_there
from sld.core.numbers import exact, short
from sld.data.card import CARD_FILE

if TYPE_CHECKING:
    from sld.data.scoring import Scores
    from sld.data.table import Array, Table
    from sld.data.task import Task
    from sld.laws.law import Law

_ROUNDED = 0.02  # a column that is printed to two digits still fits


def as_law(law: object) -> Law:
    """Return a law from itself, a discovery, a `law.json`, a run directory, a name of the catalogue or a formula.

    A name (`"chinchilla"`, see `sld laws`) stands for the law with its published constants, `"chinchilla@tex"` for
    those of another label; in a formula (`"1.69 + 406.4*N**-0.34"`) every name is a variable. Raises UsageError.
    """
    from sld.laws.law import Law

    if isinstance(law, Law):
        return law
    if isinstance(law, str | Path):
        if not is_there(law):
            from sld.laws.published import close_names, named_law

            if (named := named_law(str(law))) is not None:
                return named
            if (close := close_names(str(law))) and not str(law).endswith(".json"):
                wanted = f"no file {str(law)!r} and no law of that name"
                raise UsageError(f"{wanted}; did you mean {' or '.join(map(repr, close))}? (sld laws lists all)")
        elif is_table_file(law) and Path(law).is_file() and Path(law).suffix != ".json":
            raise UsageError(f"{law} is a table, not a law: make one with sld fit or sld discover (--target, --scale)")
        return Law.load(law)
    found = getattr(law, "law", None)
    if isinstance(found, Law):
        return found
    raise UsageError(f"wanted a law, a law.json or a run directory, got {type(law).__name__}")


@checked()
def score(law: object, data: object, *, drop: str | Sequence[str] = (), melt: bool = False) -> Scores:
    r"""Score a law on held-out rows.

    With $y$ the measured values of a target and $\hat y$ the law's predictions, over all rows, the mean over targets,

    $$ \mathrm{NMSE} = \frac{\operatorname{mean} (y - \hat y)^2}{\operatorname{Var} y}, \qquad
       R^2 = 1 - \mathrm{NMSE}, \qquad
       \mathrm{NMAE} = \frac{\operatorname{mean} |y - \hat y|}{\operatorname{mean} |y - \operatorname{median} y|},
       \qquad \mathrm{ARE} = \operatorname{mean} \frac{|y - \hat y|}{|y|} . $$

    `r2_within` is the mean of the $R^2$ of each group by itself, which a difference in level cannot flatter.

    Args:
        law: A Law, a discovery, or the path of a law.json or run directory.
        data: A task (its held-out rows count), its name or folder, or a table with measured targets.
        drop: Rows of a table to leave out, e.g. "Step==0".
        melt: The table has one column per run.

    Returns:
        The scores. A law without a finite prediction for some row has `failed` set, and an R² of -1.

    Raises:
        UsageError: The task has no held-out rows, or a group or target of the rows is unknown to the law.
        DataError: The rows lack a column of the law.

    Examples:
        >>> import numpy as np
        >>> import sld
        >>> N = np.geomspace(1e6, 1e9, 8)
        >>> law = sld.fit({"N": N, "loss": 1.7 + 400 * N**-0.34}, "E + A*N**-a", target="loss", scale="N", starts=8)
        >>> larger = np.geomspace(2e9, 1e11, 5)
        >>> scores = sld.score(law, {"N": larger, "loss": 1.7 + 400 * larger**-0.34})
        >>> round(scores.r2, 6), scores.n_rows, scores.failed
        (1.0, 5, False)
    """
    from sld.data.scoring import scores
    from sld.data.table import Table

    law = as_law(law)
    rows = rows_to_score(law, data, drop=drop, melt=melt)
    columns = [t.column for t in rows.targets]
    for target in law.targets:
        if target.column not in columns:
            raise DataError(f"the rows to score: {suggest(target.column, columns, kind='target')}")
    assert isinstance(rows, Table)
    Y = rows.Y[:, [columns.index(t.column) for t in law.targets]]
    return scores(Y, law.predict(rows), rows.group_index)


def rows_to_score(law: Law, data: object, *, drop: str | Sequence[str] = (), melt: bool = False) -> Table:
    """Return the rows that `score` compares with the law's predictions; raises as it does."""
    from sld.data.reading import prepared
    from sld.data.table import Declared, Table, read_table
    from sld.data.task import Task, load_task

    if isinstance(data, Table):
        return data
    if is_table_file(data) or not isinstance(data, Task | str | Path):
        keep = [*(v.column for v in law.variables), *([law.group_column] if law.group_column else [])]
        filters = [drop] if isinstance(drop, str) else list(drop)
        data = prepared(data, drop=filters, melt=melt, keep=keep, targets=[t.column for t in law.targets])
        return read_table(data, Declared(law.variables, law.targets, law.group_column))
    if drop or melt:
        raise UsageError(
            f"{'drop' if drop else 'melt'} is for bare tables; the rows of a task are described by its card"
        )
    task = data if isinstance(data, Task) else load_task(data)
    held_out = task.held_out()
    if held_out is None:
        way_out = "score the law on a table of further runs instead"
        raise UsageError(f"task {task.name!r} has no held-out rows (files.held_out in its {CARD_FILE}); {way_out}")
    return held_out


def points_to_predict(law: Law, data: object, *, drop: str | Sequence[str] = ()) -> object:
    """Return the rows that `predict` is asked about: a table as it is, of a task the inputs of its held-out rows.

    Raises:
        UsageError: There is no such task, or it has no held-out rows.
    """
    from sld.data.reading import prepared
    from sld.data.task import Task, load_task

    filters = [drop] if isinstance(drop, str) else list(drop)
    if is_table_file(data) or not isinstance(data, Task | str | Path):
        return prepared(data, drop=filters) if filters else data
    task = data if isinstance(data, Task) else load_task(data)
    points = task.held_out_points()
    if points is None:
        wanted = ", ".join(v.column for v in law.variables)
        raise UsageError(f"task {task.name!r} has no held-out rows to predict; give a table of points with {wanted}")
    return prepared(points, drop=filters)


def held_out_scores(law: Law, task: Task) -> Scores | None:
    """Return the scores on the task's held-out rows, or None when it has none."""
    return None if task.held_out() is None else score(law, task)


@checked()
def predict(
    law: object,
    points: object,
    *,
    level: float | None = None,
    interval: Literal["law", "run"] = "run",
    by_formula: bool = False,
) -> dict[str, Array]:
    r"""Return what a law says of runs: a column per target, and its interval where the law has one.

    The ends of an interval hold a new run with the law's level (90 %), or the one asked for: they add up the spread
    $S(x)$ of refits to reweighted rows and of rival formulas, and the noise $\sigma$ of single runs,

    $$ \hat y(x) \pm q \sqrt{\sigma^2(x) + S^2(x)} , $$

    on the scale (logarithmic or not) on which residuals are even, with $q$ the quantile of Student's t. The interval of
    the law itself is without $\sigma$: where the mean of many runs would be.

    A law that a search chose predicts with the weighted mean of several formulas, corrected by what it misses at rows
    near the point (`sld.laws.ensemble`); the formula that is shown is the summary of these, and is asked alone with
    `by_formula`.

    Args:
        law: A Law, a discovery, or the path of a law.json or run directory.
        points: Path of a table, DataFrame or mapping with the law's variables (and group column), n_points rows; or a
            task, whose held-out rows are predicted from their inputs.
        level: Share of runs that an interval shall hold, from 0.5 to below 1; the law's own if not given, 0.9.
        interval: "run" for where a new run will be; "law" for where the curve is, without the noise of runs.
        by_formula: Predict by the law's formula alone.

    Returns:
        Target to predictions (n_points,), and `<target>_low`, `<target>_high` where the law has intervals. A point
        outside the domain of the formula gives NaN or infinity.

    Warns:
        SldWarning: The law itself speaks against an answer: it found no law, a point lies beyond what it supports or
            (from few rows) promises, or outside the rows of a variable that is no scale, or it has no finite value
            there.

    Raises:
        UsageError: A group has no constants in the law, or a level or kind is asked of a law without intervals.
        DataError: A column is missing or a cell is not a number.

    Examples:
        >>> import numpy as np
        >>> import sld
        >>> N = np.geomspace(1e6, 1e9, 8)
        >>> law = sld.fit({"N": N, "loss": 1.7 + 400 * N**-0.34}, "E + A*N**-a", target="loss", scale="N", starts=8)
        >>> predicted = sld.predict(law, {"N": [1e10, 1e11]})
        >>> list(predicted)
        ['loss', 'loss_low', 'loss_high']
        >>> predicted["loss"].round(4)
        array([1.8592, 1.7728])
    """
    law = as_law(law).bare if by_formula else as_law(law)
    points = points_to_predict(law, points)
    predicted = predicted_columns(law, points, level=level, interval=interval)
    for sentence in (caution(law, points), *warnings(law, points), *_gaps(law, predicted)):
        if sentence:
            warn(sentence, SldWarning, stacklevel=3)
    return predicted


def predicted_columns(
    law: object, points: object, *, level: float | None = None, interval: Literal["law", "run"] = "run"
) -> dict[str, Array]:
    """Return what `predict` does, and warn of nothing: for who says himself what speaks against it."""
    from sld.data.table import Table, read_points

    law = as_law(law)
    table = points if isinstance(points, Table) else read_points(points, law.variables, law.group_column)
    values = law.predict(table)
    predicted = {t.column: values[:, j] for j, t in enumerate(law.targets)}
    if law.intervals is not None or level is not None or interval != "run":
        from sld.analysis import intervals

        lower, upper = intervals.predict_intervals(law, table, level=level, of=interval)
        for j, target in enumerate(law.targets):
            predicted[f"{target.column}_low"] = lower[:, j]
            predicted[f"{target.column}_high"] = upper[:, j]
    return predicted


def _gaps(law: Law, predicted: Mapping[str, Array]) -> list[str]:
    """Return a sentence for each target without a finite prediction at some points."""
    import numpy as np

    lost = {t.column: int((~np.isfinite(predicted[t.column])).sum()) for t in law.targets}
    return [
        f"{column}: no finite prediction for {n} of {len(predicted[column])} points (outside the formula's domain)"
        for column, n in lost.items()
        if n
    ]


def caution(law: object, points: object) -> str:
    """Return what speaks against predicting these points, the search's verdict or the file, in one line, or nothing.

    Args:
        law: A Law, a discovery, or the path of a law.json or run directory. A law that was only fitted has no verdict.
        points: Path of a table, DataFrame or mapping with the law's variables (and group column).
    """
    law = as_law(law)
    return "; ".join(text for text in (*law.notes, _verdict_against(law, points)) if text)


def _verdict_against(law: Law, points: object) -> str:
    import numpy as np

    from sld.analysis.support import lost_between
    from sld.data.table import Table, read_points

    verdict = law.provenance.get("verdict", {})
    if verdict.get("kind") == "no law":
        return str(verdict["sentence"])
    reach: Mapping[str, float] = verdict.get("reach", {})
    if not reach:
        return ""
    table = points if isinstance(points, Table) else read_points(points, law.variables, law.group_column)
    columns = {v.symbol: table.column(v.column) for v in law.variables}
    by_group: Mapping[str, Mapping[str, float]] = verdict.get("reach_by_group", {})
    ends = {
        s: np.array([by_group.get(g, reach).get(s, reach[s]) for g in table.groups])[table.group_index] for s in reach
    }
    down: Mapping[str, float] = verdict.get("down", {})
    own: Mapping[str, Mapping[str, float]] = verdict.get("down_by_group", {})
    starts = {s: np.array([own.get(g, down).get(s, down[s]) for g in table.groups])[table.group_index] for s in down}
    # the record has six digits
    beyond = {s: columns[s] > end + 1e-5 * np.abs(end) for s, end in ends.items() if s in columns}
    below = {s: columns[s] < end - 1e-5 * np.abs(end) for s, end in starts.items() if s in columns}
    weak = f": {'; '.join(verdict.get('reasons', ()))}" if verdict.get("kind") == "weak" else ""
    said = []
    for word, ends_, outside in (("beyond", ends, beyond), ("below", starts, below)):
        n = sum(any(rows) for rows in zip(*outside.values(), strict=True))
        if n:
            where = ", ".join(_between(s, ends_[s][rows]) for s, rows in outside.items() if rows.any())
            said.append(f"{word} {where} the law is not supported, and {n} of {table.n_rows} points lie there{weak}")
    between = int(lost_between(law, table).sum())
    if between:
        said.append(
            f"at {between} of {table.n_rows} points, beyond the runs in one variable and below them in another, "
            "its interval spans more than the runs do"
        )
    return "; ".join(said)


def warnings(law: object, points: object) -> list[str]:
    """Return what is to be said of the points that a law is asked about, whatever the law is, in sentences.

    A hyperparameter, covariate or share outside the rows that the law was fitted to; a scale beyond which a law from
    few rows promises nothing; a column that the search left out because others determined it, and that they do not
    determine here.

    Args:
        law: A Law, a discovery, or the path of a law.json or run directory.
        points: Path of a table, DataFrame or mapping with the law's variables (and group column).
    """
    from sld.analysis.few_points import beyond
    from sld.data.table import Table, read_points
    from sld.laws.ranges import outside

    law = as_law(law)
    table = points if isinstance(points, Table) else read_points(points, law.variables, law.group_column)
    return [*outside(law, table), *beyond(law, table, law.provenance), *_off_the_line(law, table, points)]


def _off_the_line(law: Law, table: Table, points: object) -> list[str]:
    """Return a sentence for each column left out that the points have, and that is not what the law takes it for."""
    import numpy as np

    from sld.data.reading import column_names, read_columns
    from sld.data.table import Table

    sentences = []
    symbols = {v.symbol: v.column for v in law.variables if v.log is None}
    for record in law.provenance.get("left_out", ()) if not isinstance(points, Table) else ():
        column, exponents = record["column"], record["exponents"]
        if record.get("log") or not set(exponents) <= set(symbols) or column not in column_names(points):
            continue
        product = float(record["factor"]) * np.ones(table.n_rows)
        for symbol, p in exponents.items():
            product = product * table.column(symbols[symbol]) ** float(p)
        there = read_columns(points, [column]).values[column]
        off = np.abs(there / product - 1) > _ROUNDED
        if off.any():
            k = int(np.argmax(off))
            many = f" ({off.sum()} of {table.n_rows} points)" if table.n_rows > 1 else ""
            sentences.append(
                f"{column} = {exact(there[k])} where the law takes {record['text']} = "
                f"{exact(product[k])}, as in every row "
                f"that it was fitted to; {column} is not used{many}"
            )
    return sentences


def _between(symbol: str, ends: Array) -> str:
    low, high = float(ends.min()), float(ends.max())
    return f"{symbol} = {short(low)}" + (f" to {short(high)} (by group)" if high > low else "")
