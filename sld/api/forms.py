"""The form that a name or a formula stands for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from sld.api.tasks import Source
from sld.core.errors import GrammarError, UsageError, suggest
from sld.data.card import Card, PublishedLaw

if TYPE_CHECKING:
    from sld.data.task import Task
    from sld.formula.expression import Expression
    from sld.laws.fit_settings import FitSettings


@dataclass(frozen=True)
class ChosenForm:
    """A form to fit: its name (None for a bare formula), a formula per target, and how its source has it fitted."""

    name: str | None
    expressions: Mapping[str, Expression]
    settings: Mapping[str, FitSettings]  # signs and bounds of constants; of every target


def find_form(
    task: Task,
    law: str | Mapping[str, str],
    *,
    constants: Collection[str] = (),
    source: Source | None = None,
    way_out: str | None = None,
) -> ChosenForm:
    """Return the form that a name or a formula stands for.

    Args:
        task: The task to fit.
        law: Name of one of the card's laws, id of a catalogue law, or a formula: one for all targets, or
            `"target: formula; target: formula"`.
        constants: Names in a formula that are constants although they look like columns.
        source: What the table is called and which of its columns have no role, for messages.
        way_out: What to do with a name that looks like a column and is none, see `check_names`.

    Raises:
        UsageError: No such law, a catalogue law that does not suit the task's variables or target, or a name that looks
            like a misspelt column.
        GrammarError: The formula cannot be read.
    """
    card = task.card
    check = partial(_checked, task=task, constants=constants, source=source or Source.of(task), way_out=way_out)
    for text in law.values() if isinstance(law, Mapping) else (law,):
        if not isinstance(text, str):
            wanted = "wanted a formula as text, the name of a law, or target to formula"
            raise UsageError(f"{wanted}, got {type(text).__name__}; a law's formula is law.expressions[target].text")
    if isinstance(law, Mapping):
        return check(_plain_form(card, None, PublishedLaw("formula", dict(law))))
    for published in card.laws:
        if published.name.casefold() == law.strip().casefold():
            return _plain_form(card, published.name, published)
    from sld.laws.catalogue import load_catalogue

    known = {entry.id: entry for entry in load_catalogue()}
    if law.strip() in known:
        return _catalogue_form(task, law.strip())
    split = by_target(law, [t.column for t in card.targets])
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
    return check(form)


def _checked(
    form: ChosenForm, *, task: Task, constants: Collection[str], source: Source, way_out: str | None
) -> ChosenForm:
    """Return a form that a person wrote, if its names are in order."""
    from sld.laws.names import CONSTANTS_OPTION, check_names

    check_names(
        form.expressions.values(),
        task.train,
        where=source.name,
        allowed=constants,
        unnamed=source.unnamed,
        way_out=way_out or CONSTANTS_OPTION,
    )
    return form


def by_target(text: str, targets: Sequence[str]) -> str | dict[str, str]:
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
    from sld.laws.fit_settings import FitSettings

    expressions = card.expressions(law)
    return ChosenForm(name, expressions, dict.fromkeys(expressions, FitSettings()))


def _catalogue_form(task: Task, law_id: str) -> ChosenForm:
    from sld.laws.catalogue import get_law, match
    from sld.laws.fit_settings import FitSettings
    from sld.laws.responses import unsuited

    law = get_law(law_id)
    expressions, settings = {}, {}
    for j, target in enumerate(task.card.targets):
        if reason := unsuited(law, target):
            raise UsageError(reason)
        form = next(match(law, task.train.variables, own=task.train.own_share(j)), None)
        if form is None:
            if not law.expressible:
                raise UsageError(f"law {law_id!r} cannot be fitted: {law.reason}")
            needs = ", ".join(f"{v.symbol} ({v.role})" for v in law.variables)
            has = ", ".join(f"{v.symbol} ({v.role})" for v in task.train.variables)
            raise UsageError(f"law {law_id!r} needs variables {needs}; {task.name} has {has}")
        expressions[target.column] = form.expression
        settings[target.column] = FitSettings(positive=tuple(form.positive), bounds=form.bounds)
    return ChosenForm(law_id, expressions, settings)
