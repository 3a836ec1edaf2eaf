"""The leaderboard: a law or a program becomes an entry, and entries become tables."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sld.api.forms import find_form
from sld.api.laws import as_law
from sld.api.tasks import as_task, known_tasks
from sld.core.errors import UsageError

if TYPE_CHECKING:
    from sld.board.entries.entry import Entry
    from sld.board.entries.standings import Standings
    from sld.board.entries.submission import Rows, Settings, Signature
    from sld.data.task import Task
    from sld.laws.law import Law


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


def submit(
    law: object,
    data: object,
    *,
    name: str,
    author: str = "",
    url: str = "",
    note: str = "",
    constants: str = "refit",
    board: object = None,
    unsafe: bool = False,
) -> Submitted:
    """Fit a law's form to a task's training rows, score it on the held-out rows, and write the entry.

    Args:
        law: A Law, a discovery, a `law.json` or run folder, a law of the card, a law of the catalogue, a formula, or
            the path of a program (`.py`).
        data: The task, its name or folder.
        name: What stands in the table; `author`, `url` and `note` beside it.
        author: Who submits it.
        url: Where more is told.
        note: One line.
        constants: "refit" fits every constant to the training rows; "given" scores those of the law (or those that
            the card prints for its own law) as they are, which the table says.
        board: Folder of the leaderboard, or a `sld.board.entries.store.Board`; that of the checkout if not given.
        unsafe: Run a program even where nothing can hold it.

    Raises:
        UsageError: The task has no held-out rows, a limit of the task is not kept, the law or a text cannot be used.
        SldError: The fit or the program failed.
    """
    from sld.board.entries import submission
    from sld.board.entries.store import Board

    if constants not in ("refit", "given"):
        raise UsageError(f"constants must be 'refit' or 'given', got {constants!r}")
    signature = submission.Signature(name, author, url, note)
    rows = submission.Rows(as_task(data))
    where = board if isinstance(board, Board) else Board.at(board)  # type: ignore[arg-type]
    tail = _signed(rows.task, signature, constants)
    remarks: tuple[str, ...] = ()
    if isinstance(law, str | Path) and Path(law).suffix.lower() == ".py":
        if constants == "given":
            raise UsageError("a program fits its own constants; 'given' is for formulas")
        command = f"sld submit {shlex.quote(Path(law).name)} {tail}"
        provenance = {"origin": "program", "command": command}
        entry = submission.program_entry(rows, Path(law), signature, provenance=provenance, unsafe=unsafe)
    else:
        given = _given_law(law, rows, constants, tail)
        remarks = given.remarks
        entry = submission.formula_entry(
            rows,
            given.law,
            signature,
            constants_from=given.constants_from,
            settings=given.settings,
            start=given.law if given.has_constants else None,
            provenance=given.provenance,
        )
    added = where.add(entry)
    return Submitted(added.entry, added.path, added.new, remarks)


@dataclass(frozen=True)
class _Given:
    """What was handed in: a law over the task's columns, and what is known of it."""

    law: Law
    has_constants: bool
    constants_from: str
    settings: Settings
    provenance: Mapping[str, Any]
    remarks: tuple[str, ...] = ()


def _given_law(law: object, rows: Rows, constants: str, tail: str) -> _Given:
    text = law.strip() if isinstance(law, str) else ""
    # os.path: a formula may be longer than a file's name can be, which pathlib raises
    if text and not text.lower().endswith(".json") and not os.path.exists(text):
        return _given_text(text, rows, constants, tail)
    return _given_fitted(law, rows, constants, tail)


def _given_text(text: str, rows: Rows, constants: str, tail: str) -> _Given:
    """Return the forms of a name or formula; there are constants only where the card prints them."""
    from sld.board.entries.submission import Settings, published_constants
    from sld.laws.law import Law

    task, train = rows.task, rows.train
    form = find_form(task, text, way_out="If it is a constant, give it another name, e.g. K")
    published = next((p for p in task.card.laws if p.name == form.name), None)
    origin = "card" if published is not None else "formula" if form.name is None else "catalogue"
    provenance: dict[str, Any] = {"origin": origin, "command": f"sld submit {shlex.quote(text)} {tail}"}
    if form.name is not None:
        provenance["law"] = form.name
    if published is not None and published.source:
        provenance["source"] = published.source
    values = {c: {g: dict.fromkeys(e.constants, 1.0) for g in train.groups} for c, e in form.expressions.items()}
    label = "refitted"
    if constants == "given":
        if published is not None:
            values, label = published_constants(rows, published.name, form.expressions), "as published"
        elif any(e.constants for e in form.expressions.values()):
            what = f"{form.name!r} comes" if form.name else "a formula comes"
            way_out = "submit a law.json, or leave 'given' out and they are fitted"
            raise UsageError(f"{what} without values for its constants; {way_out}")
        else:
            label = "as given"
    return _Given(
        law=Law(form.expressions, values, train.variables, train.targets, train.group_column),
        has_constants=label == "as published",
        constants_from=label,
        settings=Settings(positive=form.positive, bounds=form.bounds),
        provenance=provenance,
    )


def _given_fitted(law: object, rows: Rows, constants: str, tail: str) -> _Given:
    """Return a law that has constants: one in memory, a law.json, or that of a run folder."""
    from sld.board.entries.submission import Settings, on_task

    found = as_law(law)
    said = found.provenance
    path = Path(law) if isinstance(law, str | Path) else None
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
        run, more = _run_record(path, rows.task, said)
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
    return _Given(
        law=on_task(rows, found),
        has_constants=True,
        constants_from="refitted" if constants == "refit" else "as given",
        settings=Settings.of_law(found),
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


def _signed(task: Task, signature: Signature, constants: str) -> str:
    """Return the options of the command that makes an entry."""
    words = ["--task", task.name, "--name", signature.name]
    for key in ("author", "url", "note"):
        if value := getattr(signature, key):
            words += [f"--{key}", value]
    if constants == "given":
        words += ["--constants", "given"]
    return shlex.join(words)


def leaderboard(board: object = None, *, tasks: Sequence[str | Path] = ()) -> Standings:
    """Return the tables of the leaderboard: per task, and over all tasks.

    Args:
        board: Folder of the leaderboard, or a `sld.board.entries.store.Board`; that of the checkout if not given.
        tasks: Task folders of your own, beside the tasks that go by a name.
    """
    from sld.board.entries.standings import standings
    from sld.board.entries.store import Board

    where = board if isinstance(board, Board) else Board.at(board)  # type: ignore[arg-type]
    return standings(where, known_tasks(tasks))
