"""`LEADERBOARD.md`: the tables as Markdown, made from the entries and nothing else."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sld.board.entries.standings import REPORTED, OverallRow, Row, Standings, TaskStandings
from sld.core.numbers import short

_SUITES = {"bundled": "the bundled tasks", "sldbench": "SLDBench", "": "other tasks"}
_HEAD = """# Leaderboard

<!-- made by `sld leaderboard --markdown`; a test compares it with the entries -->

R² on held-out rows (90 %: interval from a bootstrap over these rows), pooled over groups; "within" is the mean of R²
within groups. Refitted: the form is the submitter's, the constants were fitted by us to the training rows. As
published, as given: constants scored as they came. `sld leaderboard verify` computes every number again. Figures
"reported, not verified here" are what others published: they have no rank. In means over tasks, R² counts as at
least −1.
"""


def markdown(standings: Standings) -> str:
    """Return the whole document."""
    parts = [_HEAD]
    for suite in dict.fromkeys(row.suite for row in standings.overall):
        rows = [row for row in standings.overall if row.suite == suite]
        parts += [f"## Over {suite_title(suite)}", _overall(rows)]
    parts += [_task(table) for table in standings.tasks if table.rows]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def suite_title(suite: str) -> str:
    """Return the name of a suite for people."""
    return _SUITES.get(suite, suite)


def short_name(task: str, names: Sequence[str]) -> str:
    """Return a task's name without what all names have in common at their start."""
    heads = {name.partition("_")[0] for name in names}
    return task.partition("_")[2] if len(heads) == 1 and all("_" in name for name in names) else task


def number(value: float | None, digits: int = 3) -> str:
    """Return a score with so many decimals, or a dash."""
    if value is None:
        return "-"
    return f"{value:.{digits}f}".replace("-", "−") if abs(value) < 1e4 else short(value, 2).replace("-", "−")


def interval(row: Row) -> str:
    """Return the interval of R², empty where there is none."""
    return "" if row.r2_low is None else f"{number(row.r2_low)} to {number(row.r2_high)}"


def _overall(rows: Sequence[OverallRow]) -> str:
    names = list(rows[0].per_task)
    header = ["name", "kind", "mean R²", "tasks", *(short_name(name, names) for name in names)]
    body = [
        [escaped(row.name), row.label, number(row.mean_r2), str(row.n_tasks), *map(number, row.per_task.values())]
        for row in rows
    ]
    return _table(header, body)


def _task(table: TaskStandings) -> str:
    ranked = [row for row in table.rows if row.rank is not None]
    # the same text whether or not the rows of a task with reported figures alone are here
    parts = [f"## {escaped(table.name)}" + (f" (version {table.version})" if ranked else "")]
    if table.title:
        parts.append(f"{escaped(table.title)}.")
    reported = [row for row in table.rows if row.rank is None]
    if ranked:
        header = ["", "law", "kind", "R²", "90 %", "within", "NMSE", "NMAE", "ARE", "nodes", "constants", "formula"]
        parts.append(_table(header, [_ranked(row) for row in ranked]))
    if reported:
        parts.append(f"{REPORTED.capitalize()}:")
        body = [[escaped(row.name), number(row.r2), escaped(row.note), escaped(row.source)] for row in reported]
        parts.append(_table(["system", "R²", "", "source"], body))
    return "\n\n".join(parts)


def _ranked(row: Row) -> list[str]:
    scores = [number(value) for value in (row.r2_within, row.nmse, row.nmae, row.are)]
    sizes = ["-" if value is None else str(value) for value in (row.complexity, row.n_constants)]
    texts = dict.fromkeys(row.entry.expressions.values()) if row.entry is not None else {}
    formula = "; ".join(texts)
    shown = f"`{formula if len(formula) <= 120 else formula[:119] + '…'}`" if formula else ""
    name = escaped(row.name) + (f" ({escaped(row.author)})" if row.author else "")
    return [str(row.rank), name, row.label, number(row.r2), interval(row), *scores, *sizes, shown]


def escaped(text: str) -> str:
    """Return a free text that Markdown shows as it is."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]#!|~@:])", r"\\\1", text)


def _table(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *body]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
