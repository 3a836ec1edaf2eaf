"""From forms, a law or a program to an entry: limits checked, constants fitted by us to the training rows, rows scored.

A formula is worth what its form predicts: unless the constants are to be scored as they are, every one of them is
fitted here, from many starts and from those that were submitted, with the loss that the law says it minimises. The
same functions compute an entry and verify it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sld.board.entries.entry import MAX_NAME, MAX_NOTE, Entry, check_url, check_words
from sld.board.entries.limits import check_limits, n_constants_of
from sld.board.entries.refit import FitPlan, refitted
from sld.board.entries.scored_task import ScoredTask
from sld.core.errors import SldError, UsageError
from sld.core.version import __version__

if TYPE_CHECKING:
    from sld.board.programs.program import Program, ProgramResult
    from sld.data.table import Array, Table
    from sld.formula.expression import Expression
    from sld.laws.form import Form
    from sld.laws.law import Law

TOOL = f"sld {__version__}"  # recorded in every entry


@dataclass(frozen=True)
class Signature:
    """What a submitter says of an entry; raises UsageError for what cannot be shown safely."""

    name: str
    author: str = ""
    url: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        """Bring the texts to one form and refuse what is too long or not to be seen."""
        for key, most in (("name", MAX_NAME), ("author", MAX_NAME), ("note", MAX_NOTE)):
            object.__setattr__(self, key, check_words(getattr(self, key), key, most))
        object.__setattr__(self, "url", check_url(self.url))
        if not any(character.isalnum() for character in self.name):
            raise UsageError("the name needs at least one letter or digit")


def key_of(expressions: Mapping[str, Expression]) -> str:
    """Return one text for all ways of writing the forms of all targets."""
    from sld.formula.canonical import canonical_key

    keys = {target: canonical_key(e) for target, e in expressions.items()}
    if len(set(keys.values())) == 1:
        return next(iter(keys.values()))
    return "; ".join(f"{target}: {key}" for target, key in sorted(keys.items()))


def refitted_entry(
    scored: ScoredTask,
    forms: Mapping[str, Form],
    signature: Signature,
    *,
    plan: FitPlan | None = None,
    provenance: Mapping[str, Any],
) -> Entry:
    """Return the entry of a formula whose constants are fitted here.

    Args:
        scored: The task.
        forms: Target to form, over the task's own columns; the constants that one starts from are one more start.
        signature: Who submits it under what name.
        plan: What to minimise.
        provenance: Where the formula comes from.

    Raises:
        UsageError: A limit of the task is not kept.
        SldError: The fit failed.
    """
    plan = plan or FitPlan()
    starts = {column: form.start for column, form in forms.items()}
    check_limits(scored, {column: form.expression for column, form in forms.items()}, starts)
    law, objectives = refitted(scored, forms, plan)
    fit = {**plan.to_json(scored.targets), "objective": objectives}
    return _formula_entry(scored, law, signature, "refitted", fit, provenance)


def given_entry(
    scored: ScoredTask, law: Law, signature: Signature, *, constants_from: str, provenance: Mapping[str, Any]
) -> Entry:
    """Return the entry of a law whose constants are scored as they are.

    Args:
        scored: The task.
        law: Over the task's own columns.
        signature: Who submits it under what name.
        constants_from: "as published" or "as given".
        provenance: Where the law comes from.

    Raises:
        UsageError: A limit of the task is not kept, or the law does not suit the task.
    """
    return _formula_entry(scored, law, signature, constants_from, {}, provenance)


def _formula_entry(
    scored: ScoredTask,
    law: Law,
    signature: Signature,
    constants_from: str,
    fit: Mapping[str, Any],
    provenance: Mapping[str, Any],
) -> Entry:
    check_limits(scored, law.expressions, law.constants)
    if missing := [g for g in scored.held_out.groups if g not in law.groups]:
        raise UsageError(f"the law has no constants for group {missing[0]!r} of the held-out rows")
    return Entry(
        task=scored.identity,
        **asdict(signature),
        kind="formula",
        constants_from=constants_from,
        expressions={t: e.text for t, e in law.expressions.items()},
        key=key_of(law.expressions),
        constants=law.constants,
        fit=fit,
        scores=scored.scores_of(law),
        complexity=sum(e.complexity for e in law.expressions.values()),
        n_constants=n_constants_of(law.expressions),
        tool=TOOL,
        provenance=provenance,
    )


def program_entry(
    scored: ScoredTask,
    source: Path,
    signature: Signature,
    *,
    provenance: Mapping[str, Any],
    unsafe: bool = False,
) -> Entry:
    """Run a program in the sandbox and return its entry.

    Raises:
        UsageError: There is no such file, or it is too long or no text.
        SldError: The program failed, or nothing here can hold it and `unsafe` is not set.
    """
    from sld.board.programs.program import read_program

    program = read_program(source)
    result, predictions = run_program(scored, program, unsafe=unsafe)
    return Entry(
        task=scored.identity,
        **asdict(signature),
        kind="program",
        constants_from="refitted",
        expressions={},
        key=program.sha256,
        constants={},
        fit={},
        scores={**scored.score(predictions), "train_nmse": None},
        complexity=None,
        n_constants=result.n_constants,
        tool=TOOL,
        provenance={
            **provenance,
            "program": {
                "sha256": program.sha256,
                "source": program.source,
                "parameters": result.parameters,
                "note": result.note,
                "predictions": predictions.tolist(),  # of the held-out points, so that scores can be computed again
            },
            "seconds": round(result.seconds, 3),
            "protection": result.protection,
        },
    )


def run_program(scored: ScoredTask, program: Program, *, unsafe: bool = False) -> tuple[ProgramResult, Array]:
    """Run a program in the sandbox; return what came of it and predictions (n_rows, n_targets) of the held-out points.

    Raises:
        SldError: It failed; the message says how.
    """
    from sld.board.programs import program as programs

    result = programs.run_program(
        program,
        scored.train,
        points_of(scored.held_out),
        limits=programs.Limits(max_constants=scored.task.card.max_constants),
        hidden=() if scored.task.path is None else (scored.task.path,),
        unsafe=unsafe,
    )
    if result.status or result.predictions is None:
        raise SldError(f"{program.name}: {result.status or 'no predictions came back'}")
    return result, result.predictions


def points_of(table: Table) -> Table:
    """Return the inputs of a table, without its targets."""
    return replace(table, targets=(), Y=np.empty((table.n_rows, 0)), own_shares=())
