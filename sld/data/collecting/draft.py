"""The draft of a card: what each column seems to be, and why, so that `sld discover runs.csv` needs no options."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sld.core.errors import GrammarError
from sld.data.card import Card, Target, Variable, unique_symbols
from sld.data.collecting.asked import CONFIG, STEP
from sld.data.collecting.counters import HIGHER, HYPER, folded
from sld.data.collecting.tidy import DIVERGED, INCOMPLETE, RUN, STATUS, Per, Tidy
from sld.data.counting.settings import convention_of_setting
from sld.data.importers.attempt import Cell

_LEAST_SETTINGS = 3  # values of a hyperparameter from which on an optimum may lie inside


@dataclass(frozen=True)
class Draft:
    """A card, or why there is none.

    Attributes:
        card: The draft.
        reasons: Why each column has its role, in sentences; where there is no card, what is lacking.
    """

    card: Card | None
    reasons: tuple[str, ...]


def draft(table: Tidy, name: str, file: str, sources: Sequence[str]) -> Draft:
    """Return the card of a table, drafted from where its columns are from."""
    reasons: list[str] = []
    sound = [k for k, s in enumerate(table.columns[STATUS]) if s not in (DIVERGED, INCOMPLETE)]

    def values(column: str) -> list[Cell]:
        return [table.columns[column][k] for k in sound]

    variables = []
    for column, text in table.scales.items():
        numbers = [v for v in values(column) if isinstance(v, int | float)]
        if len(set(numbers)) < 2:
            reasons.append(f"{column} ({text}) has one value in all runs, so nothing is learnt from it: no variable")
        elif min(numbers) <= 0:
            reasons.append(f"{column} ({text}) is not positive everywhere, as a scale has to be: no variable")
        else:
            meaning, unit = _meaning(column, text)
            convention = convention_of_setting(text.removeprefix(CONFIG))
            variables.append(Variable(column, meaning=meaning, unit=unit, role="scale", convention=convention))
            reasons.append(
                f"{column} is a scale: it is {text}" if column != STEP else "step is a scale: it counts work done"
            )
    for column in table.kept:
        if column != table.group and (reason := _hyperparameter(column, values(column), table, sound)):
            variables.append(Variable(column, meaning=f"setting {column}", role="hyperparameter"))
            reasons.append(reason)
    targets = [
        _target(c, text, table.per)
        for c, text in table.targets.items()
        if len({v for v in values(c) if v is not None}) > 1
    ]
    if not any(v.role == "scale" for v in variables) or not targets:
        lacking = "a column that grows with money (--scale N=config.NAME)" if targets else "a target that varies"
        return Draft(None, (*reasons, f"no card was drafted: the table lacks {lacking}"))
    variables_, targets_ = unique_symbols(variables, targets)
    scales = {v.column for v in variables_}
    card = Card(
        name=name,
        row="one run" if table.per == "run" else "one checkpoint of a run",
        provenance=f"sld collect {' '.join(sources)}",
        cost="6*N*D" if {"N", "D"} <= scales else None,
        group=table.group,
        variables=variables_,
        targets=targets_,
        notes=tuple(reasons),
        train_file=file,
        run=RUN if table.per == "step" else None,
        drop=tuple(f"{STATUS}=={s}" for s in (DIVERGED, INCOMPLETE) if s in table.columns[STATUS]),
    )
    try:
        Card.from_dict(card.to_dict(), file)
    except GrammarError as error:  # a column whose name no formula can hold
        return Draft(None, (*reasons, f"no card was drafted: {error}"))
    return Draft(card, tuple(reasons))


def _meaning(column: str, text: str) -> tuple[str, str]:
    if column == "N":
        return f"parameters ({text})", "parameters"
    if column == "D":
        return f"tokens seen ({text})", "tokens"
    return (text, "steps") if column == STEP else (text, "")


def _target(column: str, text: str, per: Per) -> Target:
    better: Literal["lower", "higher"] = "higher" if _is_score(text) else "lower"
    # of a checkpoint it is the metric itself
    return Target(column, meaning=text if per == "run" else text.removeprefix("last:"), better=better)


def _is_score(text: str) -> bool:
    words = re.split(r"[\s:,]+", folded(text))
    return any(HIGHER.fullmatch(word) for word in words) and not any("loss" in w or "perplexity" in w for w in words)


def _hyperparameter(column: str, values: Sequence[Cell], table: Tidy, sound: Sequence[int]) -> str:
    """Return why a setting is a hyperparameter; empty if it is none.

    It has to be one by its name, and to vary while the size stays the same: a learning rate that follows from the size
    tells nothing of its own.
    """
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if not HYPER.fullmatch(column) or len(numbers) < len(values) or len(set(numbers)) < _LEAST_SETTINGS:
        return ""
    sizes = table.columns.get("N")
    if sizes is not None:
        per_size: dict[Cell, set[float]] = {}
        for k, value in zip(sound, numbers, strict=True):
            per_size.setdefault(sizes[k], set()).add(value)
        if not any(len(found) >= _LEAST_SETTINGS for found in per_size.values()):
            return ""
    return f"{column} is a hyperparameter: it is one by its name, and has {len(set(numbers))} values"
