"""report.md: one discovery for a reader who was not there, plain words first, then everything a check needs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sld.analysis.plot import PLOT_FILE
from sld.analysis.report import law, origin, trust
from sld.analysis.report.facts import Facts
from sld.analysis.report.text import listed
from sld.core.files import write_text_atomic
from sld.data.table import Table

if TYPE_CHECKING:
    from sld.data.task import Task
    from sld.search.outcome import Discovery

REPORT_FILE = "report.md"


def write_report(
    discovery: Discovery, path: str | Path, *, task: Task | None = None, held_out: Table | None = None
) -> None:
    """Write what a discovery found, as Markdown; the same discovery gives the same text but for the line on seconds.

    Args:
        discovery: The outcome of a search; its law should carry intervals.
        path: The file to write; a `plot.png` beside it is shown.
        task: Where the rows came from: its card fills the checklist.
        held_out: Rows that the search never saw, to score the law on.

    Raises:
        UsageError: The file cannot be written.
    """
    plot = Path(path).with_name(PLOT_FILE)
    write_text_atomic(path, report(discovery, task=task, held_out=held_out, plot=plot.name if plot.exists() else None))


def report(
    discovery: Discovery, *, task: Task | None = None, held_out: Table | None = None, plot: str | None = None
) -> str:
    """Return the text of the report."""
    facts = Facts(discovery, task, held_out)
    title = f"# Scaling law of {listed(f'`{t.column}`' for t in facts.law.targets)}"
    if facts.task is not None:
        title += f" in `{facts.task.name}`"
    parts = [
        [title],
        law.summary(facts),
        [f"![measured against predicted values, and the law's curves past the data]({plot})"] if plot else [],
        law.formulas(facts),
        law.constants(facts),
        law.consensus(facts),
        trust.believed(facts),
        trust.extrapolation(facts),
        trust.beyond(facts),
        trust.checks(facts),
        trust.firmness(facts),
        origin.search(facts),
        origin.model(facts),
        origin.data(facts),
        origin.reproduce(facts),
        origin.checklist(facts),
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"
