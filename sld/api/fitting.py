"""The constants of one given form."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sld.api.forms import find_form
from sld.api.tasks import Source, as_task
from sld.core.errors import SldError, UsageError, suggest

if TYPE_CHECKING:
    from sld.data.splits import Fold
    from sld.data.table import Table
    from sld.data.task import Task
    from sld.fit.fitting import FitResult
    from sld.formula.expression import Expression
    from sld.laws.law import Law


def fit(
    data: object,
    law: str | Mapping[str, str],
    *,
    loss: str = "squared",
    shared: Collection[str] = (),
    positive: Collection[str] = (),
    bounds: Mapping[str, tuple[float, float]] | None = None,
    constants: Collection[str] = (),
    starts: int = 32,
    seed: int = 0,
    out: str | Path | None = None,
    outliers: str = "keep",
    **columns: Any,
) -> Law:
    """Fit the constants of one given form to the training rows.

    Args:
        data: A task, its name or folder, or a bare table (see `as_task`).
        law: Name of one of the card's laws, id of a catalogue law, or a formula (see `find_form`).
        loss: What is minimised: "squared", "huber", "log", "log_huber" or "envelope" (the best runs).
        shared: Constants that all groups have in common.
        positive: Constants that must be positive.
        bounds: Constant to (lower, upper).
        constants: Names in the formula that are constants although they look like columns, such as N or lr.
        starts: Initial points per group.
        seed: Seed of the initial points.
        out: Folder for `law.json` and `plot.png`, or a `.json` file for the law alone.
        outliers: "keep" fits to every row and says which runs look diverged, "drop" leaves these out.
        **columns: Roles of a bare table's columns, as `sld.table_from` takes them.

    Returns:
        The law with prediction intervals; `law.provenance["fit"]` holds the diagnostics of each target.

    Raises:
        UsageError: The data, the law or an option cannot be used.
        SldError: The fit failed; the message says why.
    """
    from sld.analysis import intervals
    from sld.analysis.one_sided import one_sided_notes
    from sld.fit.noise import active_kinds
    from sld.laws.fit_settings import FitSettings
    from sld.laws.law import Law
    from sld.laws.ranges import ranges_of
    from sld.laws.remarks import with_remarks

    task, remarks, aside = _prepared(as_task(data, **columns), outliers, loss)
    train = task.train.canonical()
    form = find_form(task, law, constants=constants, source=Source.of(task, data))
    if starts < 1:
        raise UsageError(f"starts must be 1 or more, got {starts}")
    known = dict.fromkeys(c for e in form.expressions.values() for c in e.constants)
    for name in (*shared, *positive, *(bounds or {})):
        if name not in known:
            raise UsageError(suggest(name, known, kind="constant"))
    signs = {
        t: [c for c in e.constants if c in positive or c in form.positive.get(t, ())]
        for t, e in form.expressions.items()
    }
    limits = {
        t: {c: b for c, b in {**form.bounds.get(t, {}), **(bounds or {})}.items() if c in e.constants}
        for t, e in form.expressions.items()
    }
    settings = {
        column: FitSettings(
            loss=loss,  # type: ignore[arg-type]  # checked by the fit, with suggestions
            shared=tuple(c for c in expression.constants if c in shared),
            positive=tuple(signs[column]),
            bounds=limits[column],
            weights=active_kinds(train, j, _kinds(train, loss)),
            set_aside=len(aside),
        )
        for j, (column, expression) in enumerate(form.expressions.items())
    }
    results: dict[str, FitResult] = {}
    for j, target in enumerate(task.card.targets):
        expression = form.expressions[target.column]
        result = settings[target.column].fit(expression, train, target=j, starts=starts, seed=seed)
        if not result.ok:
            raise SldError(f"could not fit {expression.text} to {target.column!r}: {result.status}")
        results[target.column] = result
    fitted = Law(
        expressions=form.expressions,
        constants={column: result.constants for column, result in results.items()},
        variables=train.variables,
        targets=train.targets,
        group_column=train.group_column,
        task={"name": task.card.name, "version": task.card.version},
        provenance={
            "origin": "fit" if form.name is None else f"fit:{form.name}",
            "seed": seed,
            "n_rows": train.n_rows,
            "table": task.train.digest(),
            "fit": {column: _diagnostics(result) for column, result in results.items()},
            **ranges_of(task.train),
            **_weights_record(task.train, loss),
            **({"notes": notes} if (notes := [*remarks, *_notes(form.expressions, task.train)]) else {}),
            **({"set_aside": aside} if aside else {}),
        },
        settings=settings,
    )
    measured = intervals.compute(fitted, train, _folds(train), seed=seed)
    fitted = with_remarks(replace(fitted, intervals=measured), train)
    gaps = _gaps(fitted, train)
    if gaps:
        fitted = replace(fitted, provenance={**fitted.provenance, "gaps": gaps})
    if hints := one_sided_notes(fitted, train):
        notes = [*fitted.provenance.get("notes", ()), *hints]
        fitted = replace(fitted, provenance={**fitted.provenance, "notes": notes})
    if out is not None:
        _write_fit(fitted, task, Path(out))
    return fitted


def _notes(expressions: Mapping[str, Expression], table: Table) -> list[str]:
    """Return what is to be said of a formula on these rows, whatever its constants are."""
    from sld.data.levels import level_notes
    from sld.laws.names import unused_columns
    from sld.search.screening.design import notes_for

    unused = unused_columns(expressions, table)
    used = [s for e in expressions.values() for s in e.used_variables]
    notes = [f"the formula does not use {', '.join(unused)}"] if unused else []
    return [*table.notes, *notes, *notes_for(expressions, table), *level_notes(table, used)]


def _prepared(task: Task, outliers: str, loss: str) -> tuple[Task, list[str], list[dict[str, Any]]]:
    """Return the task without the runs that are set aside, what to say of them and of weights, and the runs."""
    from sld.fit.noise import about_noise
    from sld.search.screening.diverged import diverged_rows, sentence, set_aside, warning, without_diverged

    kept, found = without_diverged(task.train, outliers)
    remarks = [sentence(task.train, found)] if found else []
    if not found and outliers == "keep" and (suspects := diverged_rows(task.train)):
        remarks = [warning(task.train, suspects)]
    return replace(task, train=kept), [*remarks, *about_noise(kept, _kinds(kept, loss))], set_aside(task.train, found)


def _kinds(table: Table, loss: str) -> tuple[str, ...]:
    """What rows weigh by: declared errors and weights; noise that changes in a squared loss, others see to it."""
    from sld.fit.noise import COLUMN, NOISE, YERR

    if table.yerr is not None:
        return YERR, COLUMN
    return (NOISE, COLUMN) if loss == "squared" else (COLUMN,)


def _weights_record(table: Table, loss: str) -> dict[str, Any]:
    from sld.fit.noise import weights_record

    record = weights_record(table, _kinds(table, loss))
    return {"weights": record} if record else {}


def _folds(table: Table) -> tuple[Fold, ...]:
    from sld.data.splits import rung_folds

    try:
        return rung_folds(table)
    except UsageError:  # one rung only: a given form can still be fitted
        return ()


def _gaps(law: Law, table: Table) -> dict[str, str]:
    """Return where the law has no value for some positive sizes, by target: the form was given, so it is only said."""
    from sld.search.judging.domain import Domain

    domain = Domain(table)
    found = {t: domain.gap(e, [law.constants[t][g] for g in table.groups]) for t, e in law.expressions.items()}
    return {t: where for t, where in found.items() if where}


def _diagnostics(result: FitResult) -> dict[str, Any]:
    names = ("nmse", "residual_sd", "condition", "n_starts", "n_at_best", "at_bounds")
    return {name: getattr(result, name) for name in names}


def _write_fit(law: Law, task: Task, path: Path) -> None:
    from sld.analysis.plot import PLOT_FILE, plot_law
    from sld.laws.law import LAW_FILE

    if path.suffix == ".json":
        law.save(path)
        return
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"could not make folder {path}: {error.strerror or error}") from error
    law.save(path / LAW_FILE)
    table = task.train.canonical()
    plot_law(law, table, path / PLOT_FILE, folds=_folds(table), held_out=task.held_out())
