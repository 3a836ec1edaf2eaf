"""The leaderboard: a law or a program becomes an entry, and entries become tables."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from sld.api.forms import find_form
from sld.api.laws import as_law
from sld.api.options import EntryOptions
from sld.api.tasks import as_task, known_tasks
from sld.core.arguments import checked
from sld.core.errors import UsageError

if TYPE_CHECKING:
    from sld.board.entries.entry import Entry
    from sld.board.entries.intake import HandedIn
    from sld.board.entries.scored_task import ScoredTask
    from sld.board.entries.standings import Standings
    from sld.board.entries.store import Board
    from sld.board.entries.submission import Signature
    from sld.data.task import Task


@dataclass(frozen=True)
class Submitted:
    """What became of a submission.

    Attributes:
        entry: The entry; that of the same law which was there before, when it is not new.
        path: Its file.
        new: Whether it was written now.
        remarks: What the submitter should know, in sentences.
    """

    entry: Entry
    path: Path
    new: bool
    remarks: tuple[str, ...] = ()


@checked()
def submit(
    law: object,
    data: object,
    *,
    name: str,
    constants: str = "refit",
    board: str | Path | Board | None = None,
    unsafe: bool = False,
    **about: Unpack[EntryOptions],
) -> Submitted:
    r"""Fit a law's form to a task's training rows, score it on the held-out rows, and write the entry.

    A formula is worth what its form predicts: unless its constants are to be scored as they are, all of them are fitted
    here to the training rows, from 64 starting points per group. The score is $R^2 = 1 - \mathrm{NMSE}$ over the
    held-out rows (see `sld.score`), with a 90 % interval from resampling these rows within groups.

    Args:
        law: A Law, a discovery, a `law.json` or run folder, a law of the card, a law of the catalogue, a formula, or
            the path of a program (`.py`).
        data: The task, its name or folder.
        name: What stands in the table.
        constants: "refit" fits every constant to the training rows; "given" scores those of the law (or those that
            the card prints for its own law) as they are, which the table says.
        board: Folder of the leaderboard, or a `sld.board.entries.store.Board`; that of the checkout if not given.
        unsafe: Run a program even where nothing can hold it.
        **about: What stands beside the name: `author`, `url` (where more is told) and `note` (one line).

    Returns:
        The entry with its scores, its file, and whether it is new: a law is one entry, however it is written.

    Raises:
        UsageError: The task has no held-out rows, a limit of the task is not kept, the law or a text cannot be used.
        SldError: The fit or the program failed.

    Examples:
        >>> import tempfile
        >>> import sld
        >>> board = tempfile.mkdtemp()
        >>> done = sld.submit("E + A*N**-a", "nanolm_chinchilla", name="size alone", board=board)
        >>> done.new, done.entry.label, sorted(done.entry.constants["loss"]["all"])
        (True, 'refitted', ['A', 'E', 'a'])
        >>> sld.submit("K/N**b + L", "nanolm_chinchilla", name="the same law", board=board).new
        False
    """
    from sld.board.entries import submission
    from sld.board.entries.scored_task import ScoredTask
    from sld.board.entries.store import Board

    if constants not in ("refit", "given"):
        raise UsageError(f"constants must be 'refit' or 'given', got {constants!r}")
    signature = submission.Signature(name, **about)
    scored = ScoredTask(as_task(data))
    where = board if isinstance(board, Board) else Board.at(board)
    tail = _signed(scored.task, signature, constants)
    if isinstance(law, str | Path) and Path(law).suffix.lower() == ".py":
        if constants == "given":
            raise UsageError("a program fits its own constants; 'given' is for formulas")
        provenance = {"origin": "program", "command": f"sld submit {shlex.quote(Path(law).name)} {tail}"}
        entry = submission.program_entry(scored, Path(law), signature, provenance=provenance, unsafe=unsafe)
        remarks: tuple[str, ...] = ()
    else:
        given = _handed_in(law, scored, constants, tail)
        entry, remarks = _entry(scored, given, signature), given.remarks
    added = where.add(entry)
    return Submitted(added.entry, added.path, added.new, remarks)


def _entry(scored: ScoredTask, given: HandedIn, signature: Signature) -> Entry:
    from sld.board.entries.submission import given_entry, refitted_entry

    if given.law is None:
        return refitted_entry(scored, given.forms, signature, plan=given.plan, provenance=given.provenance)
    return given_entry(scored, given.law, signature, constants_from=given.constants_from, provenance=given.provenance)


def _handed_in(law: object, scored: ScoredTask, constants: str, tail: str) -> HandedIn:
    from sld.board.entries import intake
    from sld.board.entries.refit import FitPlan
    from sld.laws.form import Form

    text = law.strip() if isinstance(law, str) else ""
    # os.path: a formula may be longer than a file's name can be, which pathlib raises
    if not text or text.lower().endswith(".json") or os.path.exists(text):
        path = Path(law) if isinstance(law, str | Path) else None
        return intake.from_law(scored, as_law(law), path, constants=constants, tail=tail)
    chosen = find_form(scored.task, text, way_out="If it is a constant, give it another name, e.g. K")
    return intake.from_forms(
        scored,
        {column: Form(expression, "user") for column, expression in chosen.expressions.items()},
        FitPlan(chosen.settings),
        name=chosen.name,
        constants=constants,
        command=f"sld submit {shlex.quote(text)} {tail}",
    )


def _signed(task: Task, signature: Signature, constants: str) -> str:
    """Return the options of the command that makes an entry."""
    words = ["--task", task.name, "--name", signature.name]
    for key in ("author", "url", "note"):
        if value := getattr(signature, key):
            words += [f"--{key}", value]
    if constants == "given":
        words += ["--constants", "given"]
    return shlex.join(words)


@checked()
def leaderboard(board: str | Path | Board | None = None, *, tasks: Sequence[str | Path] = ()) -> Standings:
    r"""Return the tables of the leaderboard: per task, and over all tasks.

    A row's R² is as recorded in its entry, without a limit below. Over a suite of tasks a name has the mean of its R²,
    each clipped at -1, so that one task that fails cannot outweigh all others.

    Args:
        board: Folder of the leaderboard, or a `sld.board.entries.store.Board`; that of the checkout if not given.
        tasks: Task folders of your own, beside the tasks that go by a name.

    Returns:
        The tables: `.tasks` with ranked rows first, `.overall`, and `.problems` with a sentence per file left out.

    Raises:
        UsageError: There is no such folder.
        DataError: A task of `tasks` cannot be read.

    Examples:
        >>> import sld
        >>> table = next(t for t in sld.leaderboard().tasks if t.name == "nanolm_chinchilla")
        >>> [row.rank for row in table.rows][:2]
        [1, 2]
        >>> table.rows[0].r2 >= table.rows[1].r2
        True
    """
    from sld.board.entries.standings import standings
    from sld.board.entries.store import Board

    where = board if isinstance(board, Board) else Board.at(board, reading=True)
    return standings(where, known_tasks(tasks))
