"""What was handed in, over the columns of the task: a formula to fit, or a law whose constants are scored as given."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sld.board.entries.refit import FitPlan
from sld.core.errors import DataError, UsageError
from sld.laws.form import Form

if TYPE_CHECKING:
    from sld.board.entries.limits import Constants
    from sld.board.entries.scored_task import ScoredTask
    from sld.data.task import Task
    from sld.formula.expression import Expression
    from sld.laws.law import Law


@dataclass(frozen=True)
class HandedIn:
    """A law over the task's columns, and what is known of it.

    Attributes:
        forms: Target to form; constants that it came with are where the fit may start from.
        law: With the constants to score; None where they are fitted to the training rows.
        constants_from: "refitted", "as published" or "as given".
        plan: What a fit minimises.
        provenance: Where it comes from.
        remarks: What the submitter should know, in sentences.
    """

    forms: Mapping[str, Form]
    law: Law | None
    constants_from: str
    plan: FitPlan
    provenance: Mapping[str, Any]
    remarks: tuple[str, ...] = ()


def from_forms(
    scored: ScoredTask, forms: Mapping[str, Form], plan: FitPlan, *, name: str | None, constants: str, command: str
) -> HandedIn:
    """Return what a formula, or the name of a law, stands for.

    Args:
        scored: The task.
        forms: Target to form.
        plan: What a fit minimises: the signs and bounds that the source of a law demands.
        name: Of a law of the card or of the catalogue; None for a formula.
        constants: "refit", or "given": then the card has to print them.
        command: What submits it.

    Raises:
        UsageError: There are no values for its constants.
    """
    published = next((p for p in scored.task.card.laws if p.name == name), None)
    origin = "card" if published is not None else "formula" if name is None else "catalogue"
    provenance: dict[str, Any] = {"origin": origin, "command": command}
    if name is not None:
        provenance["law"] = name
    if published is not None and published.source:
        provenance["source"] = published.source
    if constants != "given":
        return HandedIn(forms, None, "refitted", plan, provenance)
    expressions = {column: form.expression for column, form in forms.items()}
    if published is not None:
        values, label = published_constants(scored, published.name, expressions), "as published"
    elif any(e.constants for e in expressions.values()):
        what = f"{name!r} comes" if name else "a formula comes"
        way_out = "submit a law.json, or leave 'given' out and they are fitted"
        raise UsageError(f"{what} without values for its constants; {way_out}")
    else:
        values, label = {column: {group: {} for group in scored.train.groups} for column in expressions}, "as given"
    return HandedIn(forms, _law(scored, expressions, values), label, plan, provenance)


def _law(scored: ScoredTask, expressions: Mapping[str, Expression], constants: Constants) -> Law:
    from sld.laws.law import Law

    train = scored.train
    return Law(expressions, constants, train.variables, train.targets, train.group_column)


def from_law(scored: ScoredTask, found: Law, path: Path | None, *, constants: str, tail: str) -> HandedIn:
    """Return a law that has constants: one in memory, a law.json, or that of a run folder.

    Args:
        scored: The task.
        found: The law.
        path: Where it was read; None for one in memory.
        constants: "refit" or "given".
        tail: The options of the command that submits it.

    Raises:
        UsageError: It does not suit the task.
    """
    said = found.provenance
    origin = str(said.get("origin", "law"))
    searched = "fold_errors" in said
    provenance: dict[str, Any] = {"origin": "discover" if searched else origin.partition(":")[0]}
    if origin.startswith("fit:"):
        provenance["law"] = origin.removeprefix("fit:")
    if searched:
        provenance["proposer"] = origin
    for key in ("seed", "budget", "tool", "n_fits"):
        if key in said:
            provenance[f"{key} of the law" if key == "tool" else key] = said[key]
    formulas = {t: e.text for t, e in found.expressions.items()}
    one = len(set(formulas.values())) == 1
    text = next(iter(formulas.values())) if one else "; ".join(f"{t}: {f}" for t, f in formulas.items())
    what = shlex.quote(text) if constants == "refit" else path.name if path is not None else "law.json"
    command = f"sld submit {what} {tail}"
    if searched:
        run, more = _run_record(path, scored.task, said)
        provenance |= more
        file = "" if path is None or path.is_dir() else f"/{path.name}"
        command = f"{run} --out run && sld submit run{shlex.quote(file) if file else ''} {tail}"
    provenance["command"] = command
    remarks = []
    agreed = said.get("consensus")
    if agreed and constants == "refit":
        n = max((len(members) for members in agreed.values()), default=0)
        provenance["consensus"] = n
        way_out = "--constants given scores them as they are"
        remarks.append(f"the law's own constants follow {n} laws beyond the data; here they follow the rows; {way_out}")
    law = on_task(scored, found)
    return HandedIn(
        forms={column: Form(e, "user", start=law.constants[column]) for column, e in law.expressions.items()},
        law=None if constants == "refit" else law,
        constants_from="refitted" if constants == "refit" else "as given",
        plan=FitPlan.of_law(found),
        provenance=provenance,
        remarks=tuple(remarks),
    )


def _run_record(path: Path | None, task: Task, said: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the command of a search, and what its run folder says of it: seconds and formulas tried."""
    from sld.search.run_folder import summary_of

    folder = None if path is None else path if path.is_dir() else path.parent
    record = {} if folder is None else summary_of(folder)
    words = ["sld", "discover", task.name, "--seed", str(said.get("seed", 0)), "--budget", str(said.get("budget"))]
    known = record.pop("config", {})
    for formula in known.get("formulas", ()):
        words += ["--try", _as_option(formula)]
    return shlex.join(words), record


def _as_option(formula: object) -> str:
    if isinstance(formula, Mapping):
        return "; ".join(f"{target}: {text}" for target, text in formula.items())
    return str(formula)


def published_constants(scored: ScoredTask, name: str, expressions: Mapping[str, Expression]) -> Constants:
    """Return the constants that the card prints for one of its laws: target to group to constant to value.

    The card's table is flat, or by group, or by target (and then flat or by group).

    Raises:
        UsageError: The card has no values for the law, or they do not suit the task's groups.
    """
    card = scored.task.card
    law = next((one for one in card.laws if one.name == name), None)
    if law is None or not law.values:
        with_values = [one.name for one in card.laws if one.values]
        there = f"; laws with values: {', '.join(with_values)}" if with_values else "; none of the card's laws has any"
        raise UsageError(f"the card gives no values for {name!r}, so there is nothing to score as published{there}")
    per_target = set(law.values) == set(scored.targets)
    constants: dict[str, dict[str, dict[str, float]]] = {}
    for column in scored.targets:
        of = law.values[column] if per_target else law.values
        if all(isinstance(value, int | float) for value in of.values()):
            of = dict.fromkeys(scored.train.groups, of)
        if missing := [g for g in scored.train.groups if not isinstance(of.get(g), Mapping)]:
            labels = ", ".join(map(repr, list(of)[:5]))
            raise UsageError(f"the card's values of {name!r} are for {labels} and not for group {missing[0]!r}")
        wanted = expressions[column].constants
        constants[column] = {}
        for group in scored.train.groups:
            if lacking := [c for c in wanted if not isinstance(of[group].get(c), int | float)]:
                raise UsageError(f"the card's values of {name!r} lack {lacking[0]!r} for group {group!r}")
            constants[column][group] = {c: float(of[group][c]) for c in wanted}
    return constants


def on_task(scored: ScoredTask, law: Law) -> Law:
    """Return a law read from a file over the task's own columns.

    Raises:
        UsageError: A target or variable of the law is not in the task, or one of the task's targets has no formula.
    """
    from sld.core.errors import GrammarError, suggest
    from sld.data.card import parse_for

    train = scored.train
    ours = {v.column: v.symbol for v in train.variables}
    for variable in law.variables:
        if variable.symbol in law.used_variables and ours.get(variable.column) != variable.symbol:
            raise UsageError(f"the law and task {scored.task.name!r}: {suggest(variable.column, ours, kind='column')}")
    for column in law.expressions:
        if column not in scored.targets:
            raise UsageError(f"task {scored.task.name!r}: {suggest(column, scored.targets, kind='target')}")
    expressions = {}
    for j, column in enumerate(scored.targets):
        if column not in law.expressions:
            raise UsageError(f"the law has no formula for target {column!r} of task {scored.task.name!r}")
        try:
            expressions[column] = parse_for(law.expressions[column].text, train.variables, len(scored.targets), j)
        except GrammarError as error:
            raise UsageError(f"the formula of {column!r} on task {scored.task.name!r}: {error}") from error
    try:
        return replace(
            law,
            expressions=expressions,
            variables=train.variables,
            targets=train.targets,
            group_column=train.group_column,
            intervals=None,
        )
    except DataError as error:
        raise UsageError(f"the law does not suit task {scored.task.name!r}: {error}") from error
