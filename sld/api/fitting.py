"""The constants of one given form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from sld.api.forms import ChosenForm, find_form
from sld.api.options import FormOptions, columns_of
from sld.api.tasks import Source, as_task
from sld.core.arguments import checked
from sld.core.errors import SldError, UsageError, suggest

if TYPE_CHECKING:
    from sld.data.splits import Fold
    from sld.data.table import Table
    from sld.data.task import Task
    from sld.fit.few_points import FewFit
    from sld.fit.fitting import FitResult
    from sld.formula.expression import Expression
    from sld.laws.fit_settings import FitSettings
    from sld.laws.law import Law


PRIORS = ("auto", "learned", "none")
_ROUNDING = 1e-6  # of what a target spans: a fit that misses no row by more is exact


@checked(explained=("law",))
def fit(
    data: object,
    law: str | Mapping[str, str],
    *,
    loss: str = "squared",
    starts: int = 32,
    seed: int = 0,
    out: str | Path | None = None,
    **options: Unpack[FormOptions],
) -> Law:
    r"""Fit the constants of one given form to the training rows.

    Minimises, for each target and over all groups $g$,

    $$ \sum_g \sum_{i \in g} w_i \, \rho\big(r_i\big), \qquad r_i = y_i - f(x_i; \theta_g)
       \quad\text{or}\quad \log y_i - \log f(x_i; \theta_g), $$

    where $\rho$ is the square (`"squared"`, `"log"`) or Huber's function $\rho(r) = r^2/2$ for $|r| \le \delta$, else
    $\delta (|r| - \delta/2)$: `"huber"` with $\delta$ = 1.345 robust standard deviations, `"log_huber"` with $10^{-3}$
    (Hoffmann et al. 2022, section 3.3) if `delta` does not say otherwise. `"envelope"` counts rows
    on the worse side of the law with a weight of 0.02: a law of the best runs. Constants that enter linearly are solved
    for, the others searched from many starting points (variable projection, Golub and Pereyra 1973).

    Args:
        data: A task, its name or folder, or a bare table (file, DataFrame, mapping of columns, list of records).
        law: Name of one of the card's laws, id of a catalogue law (`sld laws`), or a formula: one for all targets,
            `"target: formula; target: formula"`, or a mapping.
        loss: What is minimised: "squared", "huber", "log", "log_huber" or "envelope"; where the robust ones turn linear
            is the option `delta`.
        starts: Initial points per group.
        seed: Seed of the initial points; the same seed gives the same constants.
        out: Folder for `law.json` and `plot.png`, or a `.json` file for the law alone.
        **options: `delta`, `pins`, `bounds`, `shared`, `positive`, `constants`, `outliers` and `priors`, and the roles
            of a bare table's columns (`target`, `scale`, ...): see `sld.api.options.FormOptions`.

    Returns:
        The law with prediction intervals; `law.constants` is target to group to constant to value, in the units of the
        columns, and `law.provenance["fit"]` holds the diagnostics of each target.

    Raises:
        UsageError: The data, the law or an option cannot be used.
        SldError: The fit failed; the message says why.

    Examples:
        >>> import numpy as np
        >>> import sld
        >>> N, D = (x.ravel() for x in np.meshgrid(np.geomspace(1e6, 1e9, 5), np.geomspace(1e9, 1e11, 4)))
        >>> runs = {"N": N, "D": D, "loss": 1.7 + 400 * N**-0.34 + 900 * D**-0.3}
        >>> law = sld.fit(runs, "E + A*N**-a + B*D**-b", target="loss", scale=["N", "D"], starts=8)
        >>> {name: round(value, 3) for name, value in law.constants["loss"]["all"].items()}
        {'E': 1.7, 'A': 400.0, 'a': 0.34, 'B': 900.0, 'b': 0.3}

        One constant held at a value, both exponents equal and between 0 and 1:

        >>> asked = {"pins": {"E": 1.69, "b": "a"}, "bounds": {"exponents": (0, 1)}}
        >>> law = sld.fit(runs, "E + A*N**-a + B*D**-b", loss="log_huber", target="loss", scale=["N", "D"], **asked)
        >>> law.constants["loss"]["all"]["E"]
        1.69
    """
    from sld.analysis import few_points
    from sld.laws.law import Law
    from sld.laws.ranges import ranges_of

    task = as_task(data, **columns_of(options))
    kept, remarks, aside = _prepared(task, options.get("outliers", "keep"), loss)
    train = kept.train.canonical()
    form = find_form(kept, law, constants=options.get("constants", ()), source=Source.of(kept, data))
    if starts < 1:
        raise UsageError(f"starts must be 1 or more, got {starts}")
    settings = _settings(form, train, loss, options, set_aside=len(aside))
    asked = options.get("priors", "auto")
    learned, why = _priors(form, train, loss, options)
    results = _exact(form, train, settings, starts=starts, seed=seed) if learned and asked != "learned" else {}
    fits, settings = _few(form, train, settings, seed) if learned and not results else ({}, settings)
    results = {column: few.result for column, few in fits.items()} or results
    results = results or _results(form, train, settings, starts=starts, seed=seed)
    notes = [*remarks, *why, *_notes(form.expressions, kept.train)]
    provenance = {
        "origin": "fit" if form.name is None else f"fit:{form.name}",
        "seed": seed,
        "n_rows": train.n_rows,
        "table": kept.train.digest(),
        "fit": {column: _diagnostics(result) for column, result in results.items()},
        **ranges_of(kept.train),
        **({"priors": few_points.promise(form.expressions, train)} if fits else {}),
        **_weights_record(kept.train, loss),
        **({"notes": notes} if notes else {}),
        **({"set_aside": aside} if aside else {}),
    }
    fitted = Law(
        expressions=form.expressions,
        constants={column: result.constants for column, result in results.items()},
        variables=train.variables, targets=train.targets, group_column=train.group_column,
        task={"name": kept.card.name, "version": kept.card.version}, provenance=provenance, settings=settings,
    )  # fmt: skip
    fitted = _with_intervals(fitted, train, fits, seed)
    if out is not None:
        _write_fit(fitted, kept, Path(out))
    return fitted


def _with_intervals(law: Law, table: Table, fits: Mapping[str, FewFit], seed: int) -> Law:
    """Return a law with its intervals, from draws where rows are few, else from refits; and with what to beware of."""
    from sld.analysis import few_points, intervals
    from sld.laws.remarks import with_remarks

    if fits:
        measured = few_points.record(law, table, fits, seed=seed)
    else:
        measured = intervals.compute(law, table, _folds(table), seed=seed)
    return _with_warnings(with_remarks(replace(law, intervals=measured), table), table)


def _priors(form: ChosenForm, table: Table, loss: str, options: FormOptions) -> tuple[bool, list[str]]:
    """Return whether constants are drawn towards what they are in other tables, and what is to be said if not.

    Raises:
        UsageError: They are to be, and cannot.
    """
    from sld.fit.few_points import is_few, why_not

    asked = options.get("priors", "auto")
    if asked not in PRIORS:
        raise UsageError(suggest(asked, PRIORS, kind="priors"))
    if asked == "none" or (asked == "auto" and not is_few(table)):
        return False, []
    said = [name for name in ("pins", "bounds", "shared", "positive", "delta") if options.get(name)]
    said += ["loss"] if loss != "squared" else []
    said += ["weights or standard errors of rows"] if table.yerr is not None or table.weights is not None else []
    against = [f"they do not go with {said[0]}"] if said else []
    for j, (column, expression) in enumerate(form.expressions.items()):
        if why := why_not(expression, table, j):
            against.append(f"{column}: {why}" if len(form.expressions) > 1 else why)
    if against and asked == "learned":
        raise UsageError(f"no priors were learned for this fit: {against[0]}")
    if said or not against:
        return not against, []
    return False, [f"few rows, and nothing from other tables to help: {against[0]}"]


def _exact(
    form: ChosenForm, table: Table, settings: Mapping[str, FitSettings], *, starts: int, seed: int
) -> dict[str, FitResult]:
    """Return plain fits that miss no row by more than rounding, with rows left over to show it; else nothing."""
    try:
        results = _results(form, table, settings, starts=starts, seed=seed)
    except SldError:  # fewer rows than constants
        return {}
    left = min(table.n_rows - sum(map(len, r.constants.values())) for r in results.values())
    spans = table.Y.max(axis=0) - table.Y.min(axis=0)
    exact = all(r.residual_sd <= _ROUNDING * span for r, span in zip(results.values(), spans, strict=True))
    return results if left > 0 and exact else {}


def _few(
    form: ChosenForm, table: Table, settings: Mapping[str, FitSettings], seed: int
) -> tuple[dict[str, FewFit], dict[str, FitSettings]]:
    """Return the fit of each target under the learned priors, and how it was made.

    Raises:
        SldError: A fit failed.
    """
    from sld.fit.few_points import fit_few
    from sld.fit.priors import library
    from sld.laws.fit_settings import FitSettings

    fits, made = {}, {}
    for j, (column, expression) in enumerate(form.expressions.items()):
        fits[column] = few = fit_few(expression, table, j, seed=seed)
        if not few.result.ok:
            raise SldError(f"could not fit {expression.text} to {column!r}: {few.result.status}")
        made[column] = FitSettings(
            loss="log", prior=few.prior, learned=library().version, set_aside=settings[column].set_aside
        )
    return fits, made


def _settings(
    form: ChosenForm, table: Table, loss: str, options: FormOptions, *, set_aside: int
) -> dict[str, FitSettings]:
    """Return how each target is fitted: what its source demands of the constants, and what the caller does.

    Raises:
        UsageError: A name is no constant of the form.
    """
    from sld.fit.noise import active_kinds
    from sld.laws.conditions import EXPONENTS, check_loss, check_room, exponents_of, read_bounds, read_pins

    check_loss(loss, options.get("delta"))
    shared, positive = options.get("shared", ()), options.get("positive", ())
    bounds, pins = options.get("bounds") or {}, options.get("pins") or {}
    known = dict.fromkeys(c for e in form.expressions.values() for c in e.constants)
    tied_to = [of for of in pins.values() if isinstance(of, str)]
    for name in (*shared, *positive, *pins, *tied_to, *(c for c in bounds if c != EXPONENTS or c in known)):
        if name not in known:
            raise UsageError(suggest(name, known, kind="constant"))
    if EXPONENTS in bounds and EXPONENTS not in known and not any(map(exponents_of, form.expressions.values())):
        texts = "; ".join(dict.fromkeys(e.text for e in form.expressions.values()))
        raise UsageError(f"no constant of {texts} is an exponent by itself; say the bounds of constants by name")
    found = {}
    for j, (column, expression) in enumerate(form.expressions.items()):
        source = form.settings[column]
        signs = {*positive, *source.positive}
        limits = {**source.bounds, **read_bounds(bounds, expression)}
        pinned, tied = read_pins(pins, expression)
        check_room(pinned, tied, limits, frozenset(signs))
        found[column] = replace(
            source,
            loss=loss,  # type: ignore[arg-type]  # checked above
            delta=options.get("delta"),
            shared=tuple(c for c in expression.constants if c in shared),
            positive=tuple(c for c in expression.constants if c in signs),
            bounds={c: b for c, b in limits.items() if c in expression.constants},
            pinned=pinned,
            tied=tied,
            weights=active_kinds(table, j, _kinds(table, loss)),
            set_aside=set_aside,
        )
    return found


def _results(
    form: ChosenForm, table: Table, settings: Mapping[str, FitSettings], *, starts: int, seed: int
) -> dict[str, FitResult]:
    """Return the fit of each target; raises SldError for one that failed."""
    results = {}
    for j, target in enumerate(table.targets):
        expression = form.expressions[target.column]
        result = settings[target.column].fit(expression, table, target=j, starts=starts, seed=seed)
        if not result.ok:
            raise SldError(f"could not fit {expression.text} to {target.column!r}: {result.status}")
        results[target.column] = result
    return results


def _with_warnings(law: Law, table: Table) -> Law:
    """Return the law with what speaks against it: where it has no value, and a limit that it nears from one side."""
    from sld.analysis.one_sided import one_sided_notes

    if gaps := _gaps(law, table):
        law = replace(law, provenance={**law.provenance, "gaps": gaps})
    if hints := one_sided_notes(law, table):
        law = replace(law, provenance={**law.provenance, "notes": [*law.provenance.get("notes", ()), *hints]})
    return law


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
    if not result.n_starts:  # draws under priors, which start nowhere
        return {"nmse": result.nmse, "residual_sd": result.residual_sd, "at_bounds": []}
    names = ("nmse", "residual_sd", "condition", "n_starts", "n_at_best", "at_bounds")
    return {name: getattr(result, name) for name in names} | ({} if result.delta is None else {"delta": result.delta})


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
