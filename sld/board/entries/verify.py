"""Whether entries are what they say: every number computed again from the task's rows.

For each file: it is whole and its hash right, the task and its version are known and the rows the same, the canonical
key, complexity and number of constants are those of its formulas, the task's limits are kept, and the scores come out
again. Constants that "we fitted" have to be an optimum of the training loss: one more fit that starts from them may
neither lower the loss nor move a prediction. `refit` repeats the whole fit and so finds a better optimum elsewhere,
too. A program's scores are computed from the predictions in its entry; it is run again only on request, since that
takes its time and a sandbox.

Tolerances, relative: scores 1e-6 (other machines round differently, nothing else may differ), training loss 1e-6,
predictions 1e-3 of the target's standard deviation; a program's R² 1e-3.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sld.board.entries.entry import Entry
from sld.board.entries.intake import published_constants
from sld.board.entries.limits import check_limits, n_constants_of
from sld.board.entries.refit import FitPlan, distance, improved, refitted
from sld.board.entries.reported import reported
from sld.board.entries.scored_task import ScoredTask
from sld.board.entries.store import Board
from sld.board.entries.submission import key_of, run_program
from sld.core.errors import DataError, SldError
from sld.core.numbers import short
from sld.laws.form import Form

if TYPE_CHECKING:
    from sld.data.table import Array
    from sld.data.task import Task
    from sld.laws.law import Law

SCORE_TOLERANCE = 1e-6
LOSS_TOLERANCE = 1e-6
MOVED_TOLERANCE = 1e-3
PROGRAM_TOLERANCE = 1e-3

_ROUNDING = 1e-12  # below this, scores are rounding errors of exact laws
_LOSS_ROUNDING = 1e-18  # so are training losses, below this share of the target's sum of squares


@dataclass(frozen=True)
class Finding:
    """What was found about one file: nothing wrong (`problem` is empty), or what."""

    path: str
    problem: str
    remark: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problem


def verify(
    board: Board,
    tasks: Sequence[Task],
    *,
    refit: bool = False,
    programs: bool = False,
    unsafe: bool = False,
) -> Iterator[Finding]:
    """Yield a finding for every file of a board, in order.

    Args:
        board: The entries.
        tasks: The tasks that are known.
        refit: Repeat every fit from its starting points.
        programs: Run programs again.
        unsafe: Run them even where nothing can hold them.
    """
    known = {task.name: task for task in tasks}
    scored: dict[str, ScoredTask] = {}
    seen: dict[str, str] = {}
    for figure in reported(board):
        if isinstance(figure, DataError):
            where, _, problem = str(figure).partition(" ")
            yield Finding(where.rstrip(":,"), problem)
    for path, entry in board.entries():
        shown = str(path)
        if not isinstance(entry, Entry):
            yield Finding(shown, str(entry))
            continue
        twin = seen.setdefault(entry.identity, shown)
        if twin != shown:
            yield Finding(shown, f"the same law as {twin}: a law is one entry")
            continue
        name = entry.task["name"]
        try:
            if name not in known:
                raise DataError(f"task {name!r} is not known here (sld tasks; --task for a folder of your own)")
            if name not in scored:
                scored[name] = ScoredTask(known[name])
            if entry.kind == "formula":
                remark = _check_formula(entry, scored[name], refit)
            else:
                remark = _check_program(entry, scored[name], programs, unsafe)
            yield Finding(shown, "", remark)
        except SldError as error:
            yield Finding(shown, str(error))


def _check_task(entry: Entry, scored: ScoredTask) -> None:
    ours = scored.identity
    if entry.task["version"] != ours["version"]:
        raise DataError(f"version {entry.task['version']} of the task; here it has version {ours['version']}")
    if entry.task["digest"] != ours["digest"]:
        raise DataError(f"the rows of task {scored.task.name!r} are not those that the entry was scored on")


def _check_formula(entry: Entry, scored: ScoredTask, refit: bool) -> str:
    _check_task(entry, scored)
    law = entry.law(scored.task)
    for column, expression in law.expressions.items():
        if expression.text != entry.expressions[column]:
            raise DataError(f"the formula of {column!r} is not written as the grammar writes it: {expression.text}")
    complexity = sum(e.complexity for e in law.expressions.values())
    for what, said, is_ in (
        ("canonical key", entry.key, key_of(law.expressions)),
        ("complexity", entry.complexity, complexity),
        ("number of constants", entry.n_constants, n_constants_of(law.expressions)),
    ):
        if said != is_:
            raise DataError(f"the {what} is {is_}, the entry says {said}")
    check_limits(scored, law.expressions, law.constants)
    _compare_scores(entry.scores, scored.scores_of(law), SCORE_TOLERANCE)
    if entry.constants_from == "refitted":
        return _check_fit(entry, scored, law, refit)
    if entry.fit:
        raise DataError(f"constants {entry.constants_from} were not fitted, but the entry has settings of a fit")
    if entry.constants_from == "as published":
        name = entry.provenance.get("law")
        if published_constants(scored, str(name), law.expressions) != law.constants:
            raise DataError(f"the constants are not those that the card gives for {name!r}")
    return ""


def _check_fit(entry: Entry, scored: ScoredTask, law: Law, refit: bool) -> str:
    if not entry.fit:
        raise DataError("refitted constants need the settings of their fit")
    plan = FitPlan.from_json(entry.fit)
    said: Mapping[str, float] = entry.fit["objective"]
    again = improved(scored, law, plan)
    if again is None:
        raise DataError("a fit from the recorded constants fails")
    for column, objective in again[1].items():
        if _apart(said[column], objective, _floor(scored, column)) > LOSS_TOLERANCE:
            got = f"a fit from there reaches {short(objective, 9)}, the entry says {short(said[column], 9)}"
            raise DataError(f"the constants of {column!r} are not the optimum of the training loss: {got}")
    if (moved := distance(scored, law, again[0])) > MOVED_TOLERANCE:
        how = f"a fit from there moves a prediction by {short(moved)} standard deviations"
        raise DataError(f"the constants are not the optimum of the training loss: {how}")
    if not refit:
        return ""
    try:
        forms = {column: Form(expression, "entry") for column, expression in law.expressions.items()}
        whole, objectives = refitted(scored, forms, plan)
    except SldError as error:  # it has found no better optimum, and the recorded one has just been shown to be one
        return f"the whole fit says nothing: {error}"
    for column, objective in objectives.items():
        if said[column] - objective > LOSS_TOLERANCE * (abs(objective) + _floor(scored, column)):
            better = (
                f"the whole fit reaches {short(objective, 9)} for {column!r}, the entry says {short(said[column], 9)}"
            )
            raise DataError(f"there is a better optimum: {better}")
    r2 = scored.scores_of(whole)["r2"]
    return f"the whole fit gives R² {r2:.6f}" if _apart(r2, entry.scores["r2"], _ROUNDING) > 1e-3 else ""


def _floor(scored: ScoredTask, column: str) -> float:
    y = scored.train.Y[:, scored.targets.index(column)]
    return _LOSS_ROUNDING * float((y * y).sum())


def _apart(a: float, b: float, floor: float) -> float:
    return abs(a - b) / max(abs(a), abs(b), floor) if abs(a - b) > floor else 0.0


def _compare_scores(said: Mapping[str, Any], found: Mapping[str, Any], tolerance: float) -> None:
    for key, value in found.items():
        recorded = said[key]
        pairs = list(zip(recorded, value, strict=True)) if isinstance(value, list) and recorded else [(recorded, value)]
        for a, b in pairs:
            if type(a) in (int, float) and type(b) in (int, float):
                if abs(a - b) > tolerance * max(abs(a), abs(b)) + _ROUNDING:
                    raise DataError(f"{key} comes out as {b!r}, the entry says {a!r}")
            elif a != b:
                raise DataError(f"{key} comes out as {b!r}, the entry says {a!r}")


def _recorded(program: Mapping[str, Any], scored: ScoredTask) -> Array:
    """Return the predictions that a program's entry holds, one per held-out row and target."""
    shape = (scored.held_out.n_rows, len(scored.targets))
    given = program.get("predictions")
    cells = [row if isinstance(row, list) else [] for row in given] if isinstance(given, list) else []
    numbers = all(type(value) in (int, float) for row in cells for value in row)
    if not numbers or [len(row) for row in cells] != [shape[1]] * shape[0]:
        raise DataError(f"a program's entry holds {shape[0]} predictions of {shape[1]} numbers each")
    return np.array(cells, dtype=np.float64)


def _check_program(entry: Entry, scored: ScoredTask, run: bool, unsafe: bool) -> str:
    from sld.board.programs.program import program_from

    _check_task(entry, scored)
    program = entry.provenance.get("program")
    source = program.get("source") if isinstance(program, Mapping) else None
    if not isinstance(source, str) or not isinstance(program, Mapping):
        raise DataError("a program's entry holds its source")
    read = program_from(source)
    if read.sha256 != program.get("sha256") or read.sha256 != entry.key:
        raise DataError("the source is not the one that the entry was made from")
    _compare_scores(entry.scores, {**scored.score(_recorded(program, scored)), "train_nmse": None}, SCORE_TOLERANCE)
    if not run:
        return "program: scores computed from the predictions it made, not run again (--programs runs it)"
    result, predictions = run_program(scored, read, unsafe=unsafe)
    if result.n_constants != entry.n_constants:
        raise DataError(
            f"run again, the program has {result.n_constants} constants, the entry says {entry.n_constants}"
        )
    found = scored.score(predictions)
    if _apart(found["r2"], entry.scores["r2"], _ROUNDING) > PROGRAM_TOLERANCE or not math.isfinite(found["r2"]):
        raise DataError(f"run again, the program's R² is {found['r2']:.6f}, the entry says {entry.scores['r2']:.6f}")
    return f"program: run again in {result.seconds:.1f} s ({result.protection})"
