"""Which split of a budget is best, as an isoFLOP sweep says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from sld.api.fitting import fit
from sld.api.laws import as_law
from sld.api.options import FormOptions, columns_of
from sld.api.tasks import as_task
from sld.core.arguments import checked
from sld.core.errors import DataError, UsageError

if TYPE_CHECKING:
    from sld.analysis.decisions.sweeps import Isoflops
    from sld.data.table import Array, Table
    from sld.data.task import Task
    from sld.laws.law import Law

DEFAULT_LAW = "chinchilla"  # E + A*N**-alpha + B*D**-beta: approach 3 of Hoffmann et al. 2022


@checked()
def isoflop(
    data: object,
    law: object = DEFAULT_LAW,
    *,
    budget: float | Sequence[float] = (),
    budget_column: str | None = None,
    cost: str | None = None,
    loss: str = "squared",
    level: float = 0.9,
    seed: int = 0,
    **options: Unpack[FormOptions],
) -> Isoflops:
    r"""Read an isoFLOP sweep in three ways: which size and how much data are best for each budget, and beyond.

    With $C$ the compute of a run, each way gives $N^* \propto C^a$ and $D^* \propto C^b$ (Hoffmann et al. 2022,
    sections 3.1 to 3.3):

    1. the run with the lowest loss of each budget (or, with `run`, of each moment along training curves);
    2. the minimum $-c_1 / 2 c_2$ of a parabola $c_0 + c_1 \log N + c_2 \log^2 N$ through the runs of each budget, with
       the interval of Fieller (1954);
    3. the optimum of a law that is fitted to all runs.

    Parabolas are biased even without noise (arXiv 2603.22339). The bias on these very sizes is found by asking the
    fitted law for the losses of the same runs, and stands beside the result.

    Args:
        data: A task, its name or folder, or a bare table, with two scale columns: the size of the model and its data.
        law: What approach 3 fits, as `sld.fit` takes it; or a law that was fitted already (a Law, a law.json, a run
            folder).
        budget: Compute to carry the answer to; ten times the largest of the sweep if not given.
        budget_column: Column with each run's compute. Without it a scale column named as compute is taken, else `cost`.
        cost: What a run costs, over the two scale columns; 6*N*D if not given. Runs whose costs differ by no more than
            a few per cent share a budget.
        loss: What the fit of the law minimises, as in `sld.fit`.
        level: Of all intervals.
        seed: Of starting points and draws.
        **options: How the law is fitted, and the roles of a bare table's columns: `sld.api.options.FormOptions`. Rows
            of a group share a sweep; of the checkpoints of a run only the last one counts, but for approach 1.

    Returns:
        The sweeps: `only` where there are no groups, else by the group's name. Each has `approaches` with exponents and
        optima, the `parabolas` with their status ("too few sizes", "no interior minimum", "off-centre"), the `bias`,
        and which approach to `believe`.

    Raises:
        UsageError: There are not two scale columns, or an option cannot be used.
        DataError: No three sizes share a budget.
        SldError: The law could not be fitted.

    Examples:
        >>> import numpy as np
        >>> import sld
        >>> C, share = (x.ravel() for x in np.meshgrid(np.geomspace(1e18, 1e20, 3), np.geomspace(0.25, 4, 7)))
        >>> N = share * 0.2 * C**0.5
        >>> D = C / (6 * N)
        >>> runs = {"N": N, "D": D, "loss": 1.7 + 400 * N**-0.34 + 400 * D**-0.28}
        >>> sweep = sld.isoflop(runs, target="loss", scale=["N", "D"], budget=1e22).only
        >>> [p.status for p in sweep.parabolas]
        ['ok', 'ok', 'ok']
        >>> round(sweep.law.a.value, 4), sweep.believe
        (0.4516, 'law')
    """
    import numpy as np

    from sld.analysis.decisions.budgets import size_and_data, sweep_of
    from sld.analysis.decisions.cost import cost_of
    from sld.analysis.decisions.curves import curve_of
    from sld.analysis.decisions.isoflop import isoflop as read
    from sld.analysis.decisions.sweeps import Isoflops

    if not 0.5 <= level < 1:
        raise UsageError(f"the level of intervals must be at least 0.5 and below 1, got {level:g}")
    task, compute = _task(data, budget_column, columns_of(options))
    final, of_final = _last(task.train, compute)
    size, tokens = size_and_data(final)
    ends = {v.symbol: float(final.column(v.symbol).max()) for v in (size, tokens)}
    cost_model = cost_of(cost, (size, tokens), ends=ends if compute is None else None)
    fitted = _law(replace(task, train=final), law, loss, seed, options)
    budgets = [float(budget)] if isinstance(budget, int | float) else [float(b) for b in budget]
    parts, notes = [], []
    for group in final.groups:
        rows = np.flatnonzero(final.group_index == final.groups.index(group))
        curve = curve_of(fitted, target=final.targets[0].column, group=group if fitted.grouped else None)
        curve = replace(curve, name=str(law) if isinstance(law, str | Path) else "the law")
        own = final.take(rows)
        try:
            sweep = sweep_of(own, cost_model, compute=None if of_final is None else of_final[rows])
        except DataError as error:
            if len(final.groups) == 1:
                raise
            notes.append(f"{final.group_column} {group} is left out: {error}")
            continue
        curves = task.train.of_group(group) if task.train.runs and own.n_rows < _n_rows(task.train, group) else None
        parts.append(read(sweep, curve, cost_model, at=budgets, level=level, seed=seed, curves=curves))
    if not parts:
        raise DataError(f"no group has a sweep: {notes[-1]}")
    return Isoflops(tuple(parts), fitted, tuple(notes))


def _task(data: object, budget_column: str | None, columns: dict[str, Any]) -> tuple[Task, Array | None]:
    """Return the task without its column of compute, and the compute (n_rows,) of each row if a column says it."""
    from sld.analysis.decisions.budgets import compute_column, without
    from sld.data.roles import listed
    from sld.data.task import Task

    roles = ("scale", "hyper", "proportion", "covariate")
    named = [c for role in roles for c in listed(columns.get(role, ()))]
    if budget_column is not None and columns.get("target") and budget_column not in named:
        columns = {**columns, "covariate": [*listed(columns.get("covariate", ())), budget_column]}
    task = as_task(data, **columns)
    if len(task.train.targets) > 1:
        raise UsageError(f"a sweep has one target, got {', '.join(t.column for t in task.train.targets)}")
    (target,) = task.train.targets
    if target.better == "higher":
        raise UsageError(
            f"a sweep looks for the lowest {target.column!r}, of which higher is better: give 1 - it, or a loss"
        )
    column = compute_column(task.train, budget_column)
    if column is None:
        return task, None
    compute = task.train.column(column)
    table = with_data(without(task.train, [column]), compute)
    card = replace(task.card, variables=table.variables, laws=())
    return Task(card, table, options=task.options), compute


def with_data(table: Table, compute: Array) -> Table:
    """Return a table of sizes and compute with the data that the compute left to each size, C / 6N, as a column D.

    A table that has its data already is returned as it is.
    """
    import numpy as np

    from sld.data.card import Variable
    from sld.laws.catalogue import kind_of

    scales = [i for i, v in enumerate(table.variables) if v.role == "scale"]
    if len(scales) != 1 or "D" in table.symbols or kind_of(table.variables[scales[0]]) == "data":
        return table
    D = compute / (6 * table.X[:, scales[0]])
    variable = Variable("D", meaning="tokens, from the compute: C / 6N")
    return replace(table, variables=(*table.variables, variable), X=np.column_stack([table.X, D]), own_shares=())


def _last(table: Table, compute: Array | None) -> tuple[Table, Array | None]:
    """Return the last checkpoint of each run, and its compute: rows before it are no finished runs."""
    import numpy as np

    if not table.runs:
        return table, compute
    spent = compute if compute is not None else table.X[:, _scale(table)].prod(axis=1)
    rows = [np.flatnonzero(table.run_index == r) for r in range(len(table.runs))]
    last = np.sort(np.array([own[int(np.argmax(spent[own]))] for own in rows]))
    final = replace(table.take(last), runs=(), run_index=np.zeros(0, dtype=np.intp), run_column=None)
    return final, None if compute is None else compute[last]


def _scale(table: Table) -> list[int]:
    return [i for i, v in enumerate(table.variables) if v.role == "scale"]


def _n_rows(table: Table, group: str) -> int:
    return int((table.group_index == table.groups.index(group)).sum())


def _law(task: Task, law: object, loss: str, seed: int, options: FormOptions) -> Law:
    """Return the law: fitted to the task, or one that is fitted already."""
    if _is_fitted(law):
        found = as_law(law)
    else:
        how: dict[str, Any] = {k: v for k, v in options.items() if k not in columns_of(options)}
        return fit(task, law, loss=loss, seed=seed, **how)  # type: ignore[arg-type]  # a text or a mapping here
    known = set(task.train.symbols)
    if missing := [s for s in sorted(found.used_variables) if s not in known]:
        raise UsageError(f"the law uses {missing[0]}, which the sweep does not have; it has {', '.join(sorted(known))}")
    return found


def _is_fitted(law: object) -> bool:
    """Tell whether this stands for a law with constants: a Law or a discovery, a run folder, a law.json."""
    from sld.laws.law import LAW_FILE

    if not isinstance(law, str | Path):
        return not isinstance(law, Mapping)
    try:
        return (Path(law) / LAW_FILE).is_file() or Path(law).suffix == ".json"
    except (OSError, ValueError):  # too long for a file's name, as a formula may be
        return False
