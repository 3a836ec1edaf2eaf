"""How the leaderboard looks: what became of a submission, tables, and what a verification found."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from sld.cli import output
from sld.core.numbers import short

if TYPE_CHECKING:
    from sld.api import Submitted
    from sld.board.entries.standings import OverallRow, Row, Standings, TaskStandings
    from sld.board.entries.verify import Finding

_NO_TERMINAL = 10_000  # columns
_LEAST_NAME = 16  # columns for names, before others are left out
_MOST_OVERALL = 20


def submitted(done: Submitted, task: str, json: bool) -> None:
    """Show what became of a submission."""
    entry = done.entry
    if json:
        output.say_json({"path": str(done.path), "new": done.new, "remarks": done.remarks, "entry": entry.to_json()})
        return
    for text in done.remarks:
        output.remark(text)
    if not done.new:
        output.say(f"the same law is on the leaderboard already, as {entry.name!r}; nothing was changed")
    scores = entry.scores
    output.say(f"{entry.name} on {entry.task['name']} ({entry.label})")
    for target, formula in entry.expressions.items():
        output.say(f"  {target} = {formula}")
        for group, values in list(entry.constants[target].items())[:3]:
            where = "" if len(entry.constants[target]) == 1 else f"[{group}] "
            output.say("  " + where + ", ".join(f"{c} = {output.shown(v, 6)}" for c, v in values.items()))
    if scores["failed"]:
        output.say("held-out rows: a prediction is not a finite number, so R² is -1")
    else:
        low_high = scores["r2_interval"]
        span = f" (90 %: {low_high[0]:.4f} to {low_high[1]:.4f})" if low_high else ""
        output.say(f"held-out rows: R² {scores['r2']:.4f}{span} ({scores['n_rows']} rows)")
        rest = [("R² within groups", "r2_within"), ("NMSE", "nmse"), ("NMAE", "nmae"), ("ARE", "are")]
        output.say("  " + ", ".join(f"{label} {output.shown(scores[key])}" for label, key in rest))
    output.say(f"{'written to' if done.new else 'its file is'} {done.path}")
    output.remark(f"next:\n  sld leaderboard {task}\n  sld leaderboard verify")


def standings(found: Standings, *, one: bool) -> None:
    """Show tables: of all tasks with the overall ones first, or of one task with every row."""
    if not any(table.rows for table in found.tasks):
        print("no entries yet; sld submit adds one")
        return
    for suite in dict.fromkeys(row.suite for row in found.overall):
        _show_overall([row for row in found.overall if row.suite == suite], suite)
    for table in found.tasks:
        if table.rows and (one or any(row.rank is not None for row in table.rows)):
            _show_task(table)
    unranked = [t.name for t in found.tasks if t.rows and not any(row.rank is not None for row in t.rows)]
    if unranked and not one:
        output.say(f"reported figures only: {', '.join(unranked)} (sld leaderboard TASK shows them)")


def _show_overall(rows: Sequence[OverallRow], suite: str) -> None:
    from sld.board.entries.markdown import short_name, suite_title

    names = list(rows[0].per_task)
    output.say(f"Over {suite_title(suite)}: mean R², each at least -1")
    header = ["name", "kind", "mean R²", "tasks", *(short_name(name, names) for name in names)]
    body = [
        [row.name, _short(row.label), _score(row.mean_r2), str(row.n_tasks), *map(_score, row.per_task.values())]
        for row in rows[:_MOST_OVERALL]
    ]
    _table(header, body, [list(range(len(header))), [0, 1, 2, 3], [0, 2, 3]])
    if len(rows) > _MOST_OVERALL:
        output.say(f"and {len(rows) - _MOST_OVERALL} more (--json has all)")
    print()


def _show_task(table: TaskStandings) -> None:
    title = f": {table.title}" if table.title else ""
    output.say(f"{table.name}{title}")
    header = ["", "name", "R²", "90 %", "within", "NMSE", "NMAE", "ARE", "nodes", "consts", "kind"]
    body = []
    for row in table.rows:
        sizes = ["-" if value is None else str(value) for value in (row.complexity, row.n_constants)]
        scores = [_score(value) for value in (row.r2_within, row.nmse, row.nmae, row.are)]
        name = f"{row.name} ({row.author})" if row.author else row.name
        place = "" if row.rank is None else str(row.rank)
        body.append([place, name, _score(row.r2), _span(row), *scores, *sizes, _short(row.label)])
    _table(header, body, [list(range(len(header))), [0, 1, 2, 3, 4, 9, 10], [0, 1, 2, 3, 10], [0, 1, 2, 10], [0, 1, 2]])
    print()


def _short(label: str) -> str:
    return label.partition(",")[0]


def _score(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if abs(value) < 1000 else short(value, 2)


def _span(row: Row) -> str:
    return "" if row.r2_low is None else f"{_score(row.r2_low)} to {_score(row.r2_high)}"


def _table(header: Sequence[str], body: Sequence[Sequence[str]], choices: Sequence[Sequence[int]]) -> None:
    """Print a table: by rich where there is a terminal, as plain columns elsewhere.

    Args:
        header: Titles; the column "name" is the one that may be broken.
        body: Rows of cells.
        choices: Columns to show, the fullest choice first; the last is taken where nothing fits.
    """
    if output.columns() > _NO_TERMINAL:
        output.say_table(body, header, indent="")
        return
    import sys

    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    widths = [max(len(row[k]) for row in (header, *body)) for k in range(len(header))]
    name = header.index("name")
    least = [min(width, _LEAST_NAME) if k == name else width for k, width in enumerate(widths)]
    room = output.columns()
    keep = next((c for c in choices if sum(least[k] + 2 for k in c) <= room), choices[-1])
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1), collapse_padding=True)
    for k in keep:
        left = header[k] in ("name", "kind")
        table.add_column(
            header[k], justify="left" if left else "right", no_wrap=k != name, overflow="fold", min_width=least[k]
        )
    for cells in body:
        # Text, so that nothing in a name is taken for markup
        table.add_row(*(Text(cells[k]) for k in keep))
    Console(file=sys.stdout, width=room, no_color=True, highlight=False, force_terminal=False).print(table)


def json_of(found: Standings) -> dict[str, Any]:
    """Return the tables as JSON."""
    return {
        "tasks": [
            {
                "name": table.name,
                "title": table.title,
                "version": table.version,
                "suite": table.suite,
                "rows": [_row_json(row) for row in table.rows],
            }
            for table in found.tasks
        ],
        "overall": [{f.name: getattr(row, f.name) for f in fields(row)} for row in found.overall],
        "left_out": found.problems,
    }


def _row_json(row: Row) -> dict[str, Any]:
    data = {f.name: getattr(row, f.name) for f in fields(row) if f.name != "entry"}
    if row.entry is not None:
        entry = row.entry
        data |= {"expressions": entry.expressions, "constants": entry.constants, "hash": entry.hash}
    return data


def csv_text(found: Standings) -> str:
    """Return every row of every table, comma-separated."""
    from sld.board.entries.standings import Row

    names = [f.name for f in fields(Row) if f.name != "entry"]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["task", *names, "formula"])
    for table in found.tasks:
        for row in table.rows:
            texts = dict.fromkeys(row.entry.expressions.values()) if row.entry is not None else {}
            cells = [getattr(row, name) for name in names]
            writer.writerow([table.name, *map(_cell, cells), _cell("; ".join(texts))])
    return buffer.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@"):
        return f"'{value}"  # a spreadsheet would take it for a formula of its own
    return "" if value is None else value


def findings(found: Sequence[Finding], seconds: float, json: bool) -> None:
    """Show what a verification found."""
    bad = [finding for finding in found if not finding.ok]
    if json:
        listed = [{"path": f.path, "ok": f.ok, "problem": f.problem, "remark": f.remark} for f in found]
        output.say_json({"ok": not bad, "checked": len(found), "failed": len(bad), "entries": listed})
        return
    for finding in bad:
        output.say(f"{finding.path}: {finding.problem}")
    for text in dict.fromkeys(f.remark for f in found if f.ok and f.remark):
        n = sum(f.remark == text for f in found)
        output.remark(f"{n} x {text}" if n > 1 else text)
    verdict = f"{len(bad)} of {len(found)} wrong" if bad else "nothing wrong"
    output.say(f"{len(found)} entries checked in {seconds:.1f} s: {verdict}")
