"""What Python users and the commands call: discover, fit, predict and score, from tasks, files or DataFrames.

Heavy modules are imported by the function that needs them, so that `sld tasks` does not wait for the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sld.core.card import CARD_FILE, Card, PublishedLaw
from sld.core.errors import DataError, GrammarError, SldError, UsageError, suggest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sld.core.expression import Expression
    from sld.core.fitting import FitResult
    from sld.core.law import Law
    from sld.core.scoring import Scores
    from sld.core.splits import Fold
    from sld.core.table import Table
    from sld.core.task import Task
    from sld.search.candidate import Discovery
    from sld.search.discovery import Progress
    from sld.search.llm.settings import LLM

    Array = NDArray[np.float64]

PLOT_FILE = "plot.png"
REPORT_FILE = "report.md"
TABLE_SUFFIXES = (".csv", ".tsv", ".tab", ".parquet", ".pq")


def as_task(data: object, **columns: Any) -> Task:
    """Return the task that `data` stands for.

    Args:
        data: A Task or Table, the name of a bundled task, a task folder; or, with `target`, a bare table: a path to
            CSV, TSV or Parquet, a DataFrame, a mapping of columns.
        **columns: Roles of a bare table's columns, as `sld.table_from` takes them.

    Raises:
        UsageError: There is no such task, or roles are given for a task that has a card, or missing for one without.
        DataError: The data are not as they must be.
    """
    from sld.core.table import Table
    from sld.core.task import Task, load_task, task_from

    given = [name for name, value in columns.items() if value not in (None, (), [], "", {}, False)]
    bare = not isinstance(data, Task | Table | str | Path) or _is_table_file(data)
    if bare and "target" in given:
        return task_from(data, **columns)
    if given and not bare:
        what = f"task {str(data)!r}" if isinstance(data, str | Path) else "this task"
        raise UsageError(f"{given[0]!r} is for bare tables; the columns of {what} have their roles from its card")
    if isinstance(data, Task):
        return data
    if isinstance(data, Table):
        return Task(_card_of(data), data)
    if isinstance(data, str | Path) and not bare:
        return load_task(data)
    from sld.core.reading import column_names

    what = f"{Path(data).name} is a table, not a task" if isinstance(data, str | Path) else "this is a table"
    there = ", ".join(column_names(data)[:20])
    raise UsageError(f"{what}: name the column to predict (target) and the variables (scale, ...); it has {there}")


def _is_table_file(data: object) -> bool:
    return isinstance(data, str | Path) and Path(data).suffix.lower() in TABLE_SUFFIXES and not Path(data).is_dir()


def _card_of(table: Table) -> Card:
    return Card(name="table", group=table.group_column, variables=table.variables, targets=table.targets)


def discover(
    data: object,
    *,
    seed: int = 0,
    budget: str | None = None,
    workers: int = 2,
    out: str | Path | None = None,
    proposers: Sequence[str] | None = None,
    formulas: Sequence[str | Mapping[str, str]] = (),
    progress: Callable[[Progress], None] | None = None,
    llm: LLM | str | None = None,
    **columns: Any,
) -> Discovery:
    """Search the formula that extrapolates best, and fit its constants.

    Args:
        data: A task, its name or folder, or a bare table (see `as_task`) with `target`, `scale`, ... as keywords.
        seed: Seed; the same seed and a budget in fits give the same law.
        budget: Time (`"60s"`, `"5min"`) or number of fits (`"20000fits"`); 30 seconds if not given.
        workers: Processes that judge candidates.
        out: Run folder to write, and to take up again; None writes nothing.
        proposers: Who proposes forms ("catalogue", "enumeration"); all by default.
        formulas: Formulas of your own to try first.
        progress: Called with the state of the search a few times a second.
        llm: A language model that proposes formulas beside the engine: its name, or `sld.LLM` with more settings.
        **columns: Roles of a bare table's columns, as `sld.table_from` takes them.

    Returns:
        The law with prediction intervals (`.law`), the runners-up, and what was tried.

    Raises:
        UsageError: The data, an option or a formula cannot be used, or the run folder is in use.
        SldError: No formula could be fitted at all.
    """
    from sld.analysis.intervals import add_intervals
    from sld.search import discovery

    task = as_task(data, **columns)
    model = None
    if llm is not None:
        from sld.search.llm.settings import LLM

        model = LLM(llm) if isinstance(llm, str) else llm
        model.check()
    targets = [t.column for t in task.card.targets]
    found = discovery.discover(
        task.train,
        seed=seed,
        budget=budget or discovery.DEFAULT_BUDGET,
        workers=workers,
        out=out,
        proposers=proposers,
        formulas=[_by_target(f, targets) if isinstance(f, str) else f for f in formulas],
        max_constants=task.card.max_constants,
        task={"name": task.card.name, "version": task.card.version},
        progress=progress,
        guest=model,
    )
    found = replace(found, law=add_intervals(found))
    if out is not None:
        _write_run(found, task, Path(out))
    return found


def dry_run(data: object, llm: LLM, **columns: Any) -> dict[str, Any]:
    """Return the first prompt that a language model would get and what it may cost; nothing is sent.

    Raises:
        UsageError: The data cannot be searched.
    """
    task = as_task(data, **columns)
    return llm.dry_run(task.train, {"name": task.card.name}, task.card.max_constants)


def _folds(table: Table) -> tuple[Fold, ...]:
    from sld.core.splits import rung_folds

    try:
        return rung_folds(table)
    except UsageError:  # one rung only: a given form can still be fitted
        return ()


def _write_run(found: Discovery, task: Task, folder: Path) -> None:
    from sld.analysis.plot import plot_law
    from sld.analysis.report import write_report
    from sld.core.law import LAW_FILE

    held_out = task.held_out()
    found.law.save(folder / LAW_FILE)
    plot_law(found.law, found.table, folder / PLOT_FILE, folds=found.folds, held_out=held_out)
    write_report(found, folder / REPORT_FILE, task=task, held_out=held_out)


@dataclass(frozen=True)
class ChosenForm:
    """A form to fit: its name (None for a bare formula), a formula per target, and the signs its source demands."""

    name: str | None
    expressions: Mapping[str, Expression]
    positive: Mapping[str, tuple[str, ...]]
    bounds: Mapping[str, Mapping[str, tuple[float, float]]]


def find_form(task: Task, law: str | Mapping[str, str]) -> ChosenForm:
    """Return the form that a name or a formula stands for.

    Args:
        task: The task to fit.
        law: Name of one of the card's laws, id of a catalogue law, or a formula: one for all targets, or
            `"target: formula; target: formula"`.

    Raises:
        UsageError: No such law, or a catalogue law that does not suit the task's variables.
        GrammarError: The formula cannot be read.
    """
    card = task.card
    if isinstance(law, Mapping):
        return _plain_form(card, None, PublishedLaw("formula", dict(law)))
    for published in card.laws:
        if published.name.casefold() == law.strip().casefold():
            return _plain_form(card, published.name, published)
    from sld.search.catalogue import load_catalogue

    known = {entry.id: entry for entry in load_catalogue()}
    if law.strip() in known:
        return _catalogue_form(task, law.strip())
    split = _by_target(law, [t.column for t in card.targets])
    listing = "a law of the card, a law of `sld laws`, or a formula"
    names = [*(p.name for p in card.laws), *known]
    try:
        form = _plain_form(card, None, PublishedLaw("formula", split))
    except GrammarError as error:
        if not law.strip() or any(symbol in law for symbol in "+*/()"):
            raise
        raise UsageError(suggest(law, names, kind="law", listing=listing)) from error
    if not any(e.used_variables for e in form.expressions.values()) and not any(c in law for c in "+*/("):
        # a mistyped name reads as a formula with one constant
        raise UsageError(suggest(law, names, kind="law", listing=listing))
    return form


def _by_target(text: str, targets: Sequence[str]) -> str | dict[str, str]:
    """Split `"a: formula; b: formula"`; neither sign is in the grammar."""
    if ":" not in text:
        return text
    parts = [part.partition(":") for part in text.split(";") if part.strip()]
    split = {name.strip(): formula.strip() for name, _, formula in parts}
    for name in split:
        if name not in targets:
            raise UsageError(suggest(name, targets, kind="target"))
    return split


def _plain_form(card: Card, name: str | None, law: PublishedLaw) -> ChosenForm:
    return ChosenForm(name, card.expressions(law), {}, {})


def _catalogue_form(task: Task, law_id: str) -> ChosenForm:
    from sld.search.catalogue import get_law, match

    law = get_law(law_id)
    expressions, positive, bounds = {}, {}, {}
    for j, target in enumerate(task.card.targets):
        form = next(match(law, task.train.variables, own=task.train.own_share(j)), None)
        if form is None:
            if not law.expressible:
                raise UsageError(f"law {law_id!r} cannot be fitted: {law.reason}")
            needs = ", ".join(f"{v.symbol} ({v.role})" for v in law.variables)
            has = ", ".join(f"{v.symbol} ({v.role})" for v in task.train.variables)
            raise UsageError(f"law {law_id!r} needs variables {needs}; {task.name} has {has}")
        expressions[target.column] = form.expression
        positive[target.column] = form.positive
        bounds[target.column] = form.bounds
    return ChosenForm(law_id, expressions, positive, bounds)


def fit(
    data: object,
    law: str | Mapping[str, str],
    *,
    loss: str = "squared",
    shared: Collection[str] = (),
    positive: Collection[str] = (),
    bounds: Mapping[str, tuple[float, float]] | None = None,
    starts: int = 32,
    seed: int = 0,
    out: str | Path | None = None,
    **columns: Any,
) -> Law:
    """Fit the constants of one given form to the training rows.

    Args:
        data: A task, its name or folder, or a bare table (see `as_task`).
        law: Name of one of the card's laws, id of a catalogue law, or a formula (see `find_form`).
        loss: What is minimised: "squared", "huber", "log" or "log_huber".
        shared: Constants that all groups have in common.
        positive: Constants that must be positive.
        bounds: Constant to (lower, upper).
        starts: Initial points per group.
        seed: Seed of the initial points.
        out: Folder for `law.json` and `plot.png`, or a `.json` file for the law alone.
        **columns: Roles of a bare table's columns, as `sld.table_from` takes them.

    Returns:
        The law with prediction intervals; `law.provenance["fit"]` holds the diagnostics of each target.

    Raises:
        UsageError: The data, the law or an option cannot be used.
        SldError: The fit failed; the message says why.
    """
    from sld.analysis import intervals
    from sld.core import fitting
    from sld.core.law import Law

    task = as_task(data, **columns)
    form = find_form(task, law)
    if starts < 1:
        raise UsageError(f"starts must be 1 or more, got {starts}")
    named = {*shared, *positive, *(bounds or {})}
    constants = dict.fromkeys(c for e in form.expressions.values() for c in e.constants)
    for name in named:
        if name not in constants:
            raise UsageError(suggest(name, constants, kind="constant"))
    results: dict[str, FitResult] = {}
    signs: set[str] = set()
    for j, target in enumerate(task.card.targets):
        column = target.column
        expression = form.expressions[column]
        own = set(expression.constants)
        signed = [c for c in expression.constants if c in positive or c in form.positive.get(column, ())]
        signs.update(signed)
        result = fitting.fit(
            expression,
            task.train,
            target=j,
            loss=loss,  # type: ignore[arg-type]  # checked there, with suggestions
            starts=starts,
            seed=seed,
            shared=[c for c in shared if c in own],
            positive=signed,
            bounds={**form.bounds.get(column, {}), **{c: b for c, b in (bounds or {}).items() if c in own}},
        )
        if not result.ok:
            raise SldError(f"could not fit {expression.text} to {column!r}: {result.status}")
        results[column] = result
    tied = {t: [c for c in e.constants if c in shared] for t, e in form.expressions.items()} if shared else {}
    fitted = Law(
        expressions=form.expressions,
        constants={column: result.constants for column, result in results.items()},
        variables=task.train.variables,
        targets=task.train.targets,
        group_column=task.train.group_column,
        task={"name": task.card.name, "version": task.card.version},
        provenance={
            "origin": "fit" if form.name is None else f"fit:{form.name}",
            "loss": loss,
            "seed": seed,
            "n_rows": task.train.n_rows,
            "table": task.train.digest(),
            "fit": {column: _diagnostics(result) for column, result in results.items()},
            **({"shared": tied} if tied else {}),
        },
    )
    measured = intervals.compute(fitted, task.train, _folds(task.train), seed=seed, positive=signs)
    fitted = replace(fitted, intervals=measured)
    if out is not None:
        _write_fit(fitted, task, Path(out))
    return fitted


def _diagnostics(result: FitResult) -> dict[str, Any]:
    names = ("nmse", "residual_sd", "condition", "n_starts", "n_at_best", "at_bounds")
    return {name: getattr(result, name) for name in names}


def _write_fit(law: Law, task: Task, path: Path) -> None:
    from sld.analysis.plot import plot_law
    from sld.core.law import LAW_FILE

    if path.suffix == ".json":
        law.save(path)
        return
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"could not make folder {path}: {error.strerror or error}") from error
    law.save(path / LAW_FILE)
    plot_law(law, task.train, path / PLOT_FILE, folds=_folds(task.train), held_out=task.held_out())


def as_law(law: object) -> Law:
    """Return a law from itself, a discovery, a `law.json` or a run directory; raises UsageError."""
    from sld.core.law import Law

    if isinstance(law, Law):
        return law
    if isinstance(law, str | Path):
        return Law.load(law)
    found = getattr(law, "law", None)
    if isinstance(found, Law):
        return found
    raise UsageError(f"wanted a law, a law.json or a run directory, got {type(law).__name__}")


def score(law: object, data: object) -> Scores:
    """Score a law on held-out rows.

    Args:
        law: A Law, a discovery, or the path of a law.json or run directory.
        data: A task (its held-out rows count), its name or folder, or a table with measured targets.

    Raises:
        UsageError: The task has no held-out rows, or a group or target of the rows is unknown to the law.
        DataError: The rows lack a column of the law.
    """
    from sld.core.scoring import scores
    from sld.core.table import Table

    law = as_law(law)
    rows = _rows_to_score(law, data)
    columns = [t.column for t in rows.targets]
    for target in law.targets:
        if target.column not in columns:
            raise DataError(f"the rows to score: {suggest(target.column, columns, kind='target')}")
    assert isinstance(rows, Table)
    Y = rows.Y[:, [columns.index(t.column) for t in law.targets]]
    return scores(Y, law.predict(rows), rows.group_index)


def _rows_to_score(law: Law, data: object) -> Table:
    from sld.core.table import Table, read_table
    from sld.core.task import Task, load_task

    if isinstance(data, Table):
        return data
    if _is_table_file(data) or not isinstance(data, Task | str | Path):
        return read_table(data, law.variables, law.targets, law.group_column)
    task = data if isinstance(data, Task) else load_task(data)
    held_out = task.held_out()
    if held_out is None:
        way_out = "score the law on a table of further runs instead"
        raise UsageError(f"task {task.name!r} has no held-out rows (files.held_out in its {CARD_FILE}); {way_out}")
    return held_out


def held_out_scores(law: Law, task: Task) -> Scores | None:
    """Return the scores on the task's held-out rows, or None when it has none."""
    return None if task.held_out() is None else score(law, task)


def predict(law: object, points: object) -> dict[str, Array]:
    """Return predicted columns: each target, and `<target>_low`, `<target>_high` where the law has intervals.

    Args:
        law: A Law, a discovery, or the path of a law.json or run directory.
        points: Path of a table, DataFrame or mapping with the law's variables (and group column).

    Raises:
        UsageError: A group has no constants in the law.
        DataError: A column is missing or a cell is not a number.
    """
    from sld.core.table import Table, read_points

    law = as_law(law)
    table = points if isinstance(points, Table) else read_points(points, law.variables, law.group_column)
    values = law.predict(table)
    predicted = {t.column: values[:, j] for j, t in enumerate(law.targets)}
    if law.intervals is not None:
        from sld.analysis import intervals

        lower, upper = intervals.predict_intervals(law, table)
        for j, target in enumerate(law.targets):
            predicted[f"{target.column}_low"] = lower[:, j]
            predicted[f"{target.column}_high"] = upper[:, j]
    return predicted


def caution(law: object, points: object) -> str:
    """Return what the search's verdict says against predicting these points, in one line; empty when nothing.

    Args:
        law: A Law, a discovery, or the path of a law.json or run directory. A law that was only fitted has no verdict.
        points: Path of a table, DataFrame or mapping with the law's variables (and group column).
    """
    from sld.core.table import Table, read_points

    law = as_law(law)
    verdict = law.provenance.get("verdict", {})
    if verdict.get("kind") == "no law":
        return str(verdict["sentence"])
    reach: Mapping[str, float] = verdict.get("reach", {})
    if not reach:
        return ""
    table = points if isinstance(points, Table) else read_points(points, law.variables, law.group_column)
    columns = {v.symbol: table.column(v.column) for v in law.variables}
    # the record has six digits
    beyond = {s: columns[s] > end + 1e-5 * abs(end) for s, end in reach.items() if s in columns}
    n = sum(any(rows) for rows in zip(*beyond.values(), strict=True))
    if not n:
        return ""
    where = ", ".join(f"{s} = {reach[s]:.3g}" for s, rows in beyond.items() if rows.any())
    weak = f": {'; '.join(verdict.get('reasons', ()))}" if verdict.get("kind") == "weak" else ""
    return f"beyond {where} the law is not supported, and {n} of {table.n_rows} points lie there{weak}"


def task_list() -> list[dict[str, Any]]:
    """Return a summary of every bundled task, from the cards alone; the rows are counted, not read."""
    from sld.core.bundled import bundled_tasks, tasks_root

    return [_summary(Card.read(tasks_root() / name), tasks_root() / name) for name in bundled_tasks()]


def _summary(card: Card, folder: Path | None) -> dict[str, Any]:
    def count(file: str | None) -> int | None:
        if folder is None or file is None:
            return None
        try:
            lines = (folder / file).read_bytes().splitlines()
        except OSError:
            return None
        return sum(1 for line in lines if line.strip()) - 1

    return {
        "name": card.name,
        "title": card.title,
        "targets": [t.column for t in card.targets],
        "variables": [v.column for v in card.variables],
        "group": card.group,
        "n_rows": count(card.train_file),
        "n_held_out_rows": count(card.held_out_file),
    }


def task_details(data: object) -> dict[str, Any]:
    """Return what there is to know of a task: its card, and counts and ranges of its training rows."""
    import numpy as np

    task = as_task(data)
    table, held_out = task.train, task.held_out()
    names = [*(v.column for v in table.variables), *(t.column for t in table.targets)]
    ranges = {
        name: {"min": float(values.min()), "max": float(values.max()), "n_values": len(np.unique(values))}
        for name, values in ((name, table.column(name)) for name in names)
    }
    sizes = np.bincount(table.group_index, minlength=len(table.groups)).tolist()
    return {
        "card": task.card.to_dict(),
        "n_rows": table.n_rows,
        "n_held_out_rows": None if held_out is None else held_out.n_rows,
        "groups": dict(zip(table.groups, sizes, strict=True)) if table.group_column is not None else None,
        "ranges": ranges,
        "notes": list(table.notes),
        "path": None if task.path is None else str(task.path),
    }
