"""How far an answer depends on how the law was fitted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Unpack

from sld.api.fitting import fit
from sld.api.options import FormOptions, columns_of
from sld.api.tasks import as_task, is_table_file
from sld.core.arguments import checked
from sld.core.errors import UsageError, suggest
from sld.core.numbers import exact

if TYPE_CHECKING:
    from sld.analysis.decisions.cost import Cost
    from sld.analysis.decisions.sensitivity import Question, Sensitivity
    from sld.analysis.decisions.variations import Asked
    from sld.core.arrays import Array
    from sld.data.table import Table
    from sld.data.task import Task
    from sld.laws.law import Law


class SensitivityOptions(FormOptions, total=False):
    """What is varied beside what every table has, and what is asked.

    Attributes:
        hold: Constant to the values at which it is held in turn; the irreducible loss at the ends of its interval if
            nothing is said.
        alternatives: Scale column to the column that is taken in its place, such as parameters with embeddings.
        where: Conditions such as "step>=1000": the law is fitted to the rows that meet one, for each in turn.
        seed_column: Column of seeds, of which each is left out in turn.
        cost: What a run costs; 6*N*D if not given.
        given: Variables that are held when the best split is looked for: column to value.
        of: The group whose answer is looked at; the one with the most rows if not given.
    """

    hold: Mapping[str, Sequence[float]]
    alternatives: Mapping[str, str]
    where: Sequence[str]
    seed_column: str
    cost: str | None
    given: Mapping[str, float]
    of: str | None


_OWN = ("hold", "alternatives", "where", "seed_column", "cost", "given", "of")


@checked(renamed={"point": "at"}, explained=("law",))
def sensitivity(
    data: object,
    law: str | Mapping[str, str],
    *,
    budget: float | None = None,
    at: Mapping[str, float] | None = None,
    answer: str | None = None,
    loss: str = "squared",
    seed: int = 0,
    **options: Unpack[SensitivityOptions],
) -> Sensitivity:
    r"""Ask the same of a form that is fitted in many other ways: which choice moves the answer, and how far.

    One thing is changed at a time: the loss that is minimised (squares, logarithms, Huber's of several $\delta$),
    constants held at values, rungs, budgets, groups, seeds and runs left out, single starting points, another column
    for a size, other rows. Each fit gives its constants, the best split of a budget with the exponents of
    $N^* \propto C^a$ and $D^* \propto C^b$ there, and the prediction at a point.

    Args:
        data: A task, its name or folder, or a bare table.
        law: The form, as `sld.fit` takes it.
        budget: Whose best split is asked, for a form of a size and its data; ten times the largest run's cost if not
            given.
        at: Where the target is predicted: column to value. For a form of one variable ten times its largest value
            if not given.
        answer: The main answer, by its name in the output, e.g. "best N", "exponent of best N" or a constant.
        loss: What the fit itself minimises, as in `sld.fit`.
        seed: Of starting points and draws.
        **options: `hold`, `alternatives`, `where`, `seed_column`, `cost`, `given` and `of`
            (`sld.api.sensitivities.SensitivityOptions`), and how the form is fitted: `sld.api.options.FormOptions`.

    Returns:
        The answers `base` with their intervals, all `variants`, and `effects(answer)` by what was changed, the largest
        first.

    Raises:
        UsageError: There is no such answer, column, constant or group.
        DataError: A table is not as it must be.
        SldError: The fit itself failed.

    Examples:
        >>> import numpy as np
        >>> import sld
        >>> N, D = (x.ravel() for x in np.meshgrid(np.geomspace(1e6, 1e9, 5), np.geomspace(1e9, 1e11, 4)))
        >>> runs = {"N": N, "D": D, "loss": 1.7 + 400 * N**-0.34 + 900 * D**-0.3}
        >>> form = "E + A*N**-a + B*D**-b"
        >>> found = sld.sensitivity(runs, form, target="loss", scale=["N", "D"], budget=1e22, hold={"E": [1.6, 1.8]})
        >>> found.answer, [effect.factor for effect in found.effects()][:1]
        ('best N', ['pinned'])
        >>> [round(found.base[name].value, 3) for name in ("E", "exponent of best N")]
        [1.7, 0.469]
    """
    from sld.analysis.decisions.sensitivity import sensitivity as varied

    columns, task = columns_of(options), as_task(data, **columns_of(options))
    if len(task.train.targets) > 1:
        raise UsageError(f"one target at a time, got {', '.join(t.column for t in task.train.targets)}")
    how: dict[str, Any] = {k: v for k, v in options.items() if k not in columns and k not in _OWN}
    fitted = fit(task, law, loss=loss, seed=seed, **how)
    group = _group(fitted, task.train, options.get("of"))
    question = _question(fitted, task.train, group, budget, at, options)
    compute = None if question.cost is None else question.cost(task.train.inputs)
    asked = _asked(data, task, fitted, group, columns, options, compute)
    return varied(fitted, task.train, question, asked, group=group, answer=answer, seed=seed)


def _group(law: Law, table: Table, of: str | None) -> str:
    import numpy as np

    if of is None:
        return table.groups[int(np.argmax(np.bincount(table.group_index)))]
    if of not in law.groups:
        raise UsageError(suggest(of, law.groups, kind="group"))
    return of


def _question(
    law: Law, table: Table, group: str, budget: float | None, at: Mapping[str, float] | None, options: Any
) -> Question:
    """Return what every fit is asked."""
    import math

    from sld.analysis.decisions.cost import cost_of
    from sld.analysis.decisions.curves import curve_of
    from sld.analysis.decisions.sensitivity import Question
    from sld.analysis.decisions.tracks import ordered

    curve = curve_of(law, target=law.targets[0].column, group=group, fixed=options.get("given"))
    free = curve.free
    cost: Cost | None = None
    names: tuple[str, ...] = tuple(v.symbol for v in free)
    scales = [v for v in free if v.role == "scale"]
    if len(free) == 2 and len(scales) == 2 and not any(v.log for v in free):
        names = tuple(v.symbol for v in ordered(free))
        ends = {s: high for s, (_, high) in curve.ranges.items()}
        cost = cost_of(options.get("cost"), free, ends=ends)
    elif budget is not None:
        has = ", ".join(v.column for v in free)
        raise UsageError(
            f"a budget is split between a size and its data; the form has {has} (hold others with given; no logarithms)"
        )
    if budget is not None and not (math.isfinite(budget) and budget > 0):
        raise UsageError(f"a budget must be a number above 0, got {exact(budget)}")
    if cost is not None and budget is None:
        budget = 10.0 * float(cost(table.inputs).max())
    where = _point(law, at)
    if not where and len(free) == 1 and len(scales) == 1 and not free[0].log:
        where = {**curve.fixed, names[0]: 10.0 * float(table.column(names[0]).max())}
    return Question(cost, names, math.nan if budget is None else float(budget), where, curve.fixed)


def _point(law: Law, at: Mapping[str, float] | None) -> dict[str, float]:
    """Return a point by symbol; it names every variable of the formula."""
    if not at:
        return {}
    by_name = {name: v.symbol for v in law.variables for name in (v.symbol, v.column)}
    for name in at:
        if name not in by_name:
            raise UsageError("at: " + suggest(name, [v.column for v in law.variables], kind="variable"))
    found = {by_name[name]: float(value) for name, value in at.items()}
    if missing := sorted(law.used_variables - set(found)):
        raise UsageError(
            f"at: a point has every variable (what is held goes to given); a value is missing of {', '.join(missing)}"
        )
    return found


def _asked(
    data: object, task: Task, law: Law, group: str, columns: dict[str, Any], options: Any, compute: Array | None
) -> Asked:
    """Return what is varied beside what every table has."""
    from sld.analysis.decisions.variations import Asked

    table = task.train
    bare = bool(columns.get("target")) and (not isinstance(data, str) or is_table_file(data))
    extra = [k for k in ("alternatives", "where", "seed_column") if options.get(k)]
    if extra and not bare:
        raise UsageError(f"{extra[0]} reads columns of a bare table; give the table itself with its columns")
    tables = {f"only rows with {text}": _where(data, columns, text) for text in options.get("where", ())}
    if table.runs:
        tables["last checkpoint of each run"] = _last_of_runs(table)
    labels: dict[str, Sequence[str]] = {}
    if seeds := options.get("seed_column"):
        read = as_task(data, **{**columns, "run": seeds}).train
        labels[seeds] = [read.runs[k] for k in read.run_index]
    alternatives = {}
    for column, other in (options.get("alternatives") or {}).items():
        symbol = next((v.symbol for v in table.variables if column in (v.column, v.symbol)), None)
        if symbol is None:
            raise UsageError("alternatives: " + suggest(column, [v.column for v in table.variables], kind="variable"))
        read = as_task(data, **_exchanged(columns, column, other)).train
        if read.n_rows != table.n_rows:
            raise UsageError(
                f"{other!r} is empty in some rows where {column!r} is not: fill it, or leave the rows out (drop)"
            )
        alternatives[other] = (symbol, read.column(other))
    return Asked(_held(law, group, options.get("hold")), alternatives, tables, labels, compute)


def _exchanged(columns: dict[str, Any], column: str, other: str) -> dict[str, Any]:
    """Return the roles with one column in place of another."""
    from sld.data.roles import listed

    roles = ("scale", "hyper", "proportion", "covariate")
    return {k: [other if c == column else c for c in listed(v)] if k in roles else v for k, v in columns.items()}


def _where(data: object, columns: dict[str, Any], text: str) -> Table:
    """Return the rows that meet a condition: those that do not are left out."""
    from sld.data.reading import column_names, name_of
    from sld.data.roles import listed
    from sld.data.row_filter import parse_filter

    turned = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
    wanted = parse_filter(text, column_names(data), name_of(data))
    value = wanted.text.rpartition(wanted.operator)[2]
    drop = [*listed(columns.get("drop", ())), f"{wanted.column}{turned[wanted.operator]}{value}"]
    return as_task(data, **{**columns, "drop": drop}).train


def _last_of_runs(table: Table) -> Table:
    import numpy as np

    scale = [i for i, v in enumerate(table.variables) if v.role == "scale"]
    spent = np.log(np.maximum(table.X[:, scale], 1e-300)).sum(axis=1)
    rows = [np.flatnonzero(table.run_index == r) for r in range(len(table.runs))]
    last = np.sort(np.array([own[int(np.argmax(spent[own]))] for own in rows]))
    return replace(table.take(last), runs=(), run_index=np.zeros(0, dtype=np.intp), run_column=None)


def _held(law: Law, group: str, hold: Mapping[str, Sequence[float]] | None) -> dict[str, list[float]]:
    """Return the constants that are held in turn, and at what."""
    from sld.analysis.intervals import constant_intervals
    from sld.laws.limits import floor_of

    column = law.targets[0].column
    own = law.expressions[column].constants
    if hold:
        for name in hold:
            if name not in own:
                raise UsageError("hold: " + suggest(name, own, kind="constant"))
        if bad := [name for name, values in hold.items() if not all(math.isfinite(v) for v in values)]:
            raise UsageError(f"hold: {bad[0]} is held at numbers, got {', '.join(f'{exact(v)}' for v in hold[bad[0]])}")
        return {name: [float(v) for v in values] for name, values in hold.items()}
    floor = floor_of(law.expressions[column])
    if floor is None or floor in law.settings[column].pinned or law.intervals is None:
        return {}
    ends = constant_intervals(law)[column][group].get(floor)
    return {} if ends is None else {floor: [*ends]}
