"""A search that was made before, read from its run folder, and the page that tells it to others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sld.core.arguments import checked
from sld.core.errors import DataError, UsageError

if TYPE_CHECKING:
    from sld.data.task import Task
    from sld.search.outcome import Discovery


@checked()
def load_run(folder: str | Path) -> Discovery:
    """Return a discovery from its run folder, as `sld.discover(..., out=folder)` had returned it.

    The law, the rows that it was fitted to, folds, runners-up and the verdict come back; nothing is searched again.

    Args:
        folder: Run folder of `sld discover` or `sld.discover`.

    Returns:
        The discovery, to be plotted, reported or decided with.

    Raises:
        UsageError: There is no such folder, the search in it did not end, or an earlier version wrote it.
        DataError: A file in it was changed or cut.

    Examples:
        >>> import tempfile
        >>> import numpy as np
        >>> import sld
        >>> N = np.geomspace(1e6, 1e9, 10)
        >>> runs = {"N": N, "loss": 1.7 + 400 * N**-0.34}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     found = sld.discover(runs, target="loss", scale="N", budget="100fits", workers=1, out=folder)
        ...     again = sld.load_run(folder)
        >>> again.law.text() == found.law.text(), again.table.n_rows, again.verdict == found.verdict
        (True, 10, True)
    """
    return run_and_task(folder)[0]


@checked()
def report(run: object, out: str | Path | None = None, *, data: object = None, decisions: Sequence[object] = ()) -> str:
    """Return what a discovery found as one HTML page that opens from disk, needs no network and runs no foreign code.

    The page has the verdict in a sentence, the law with its constants and intervals, a chart of law, runs and intervals
    to explore, errors on every fold, residuals, the runners-up, what was decided with the law, and how to repeat it.

    Args:
        run: A discovery, or the path of its run folder.
        out: File to write; None writes nothing.
        data: A task with held-out rows, or its name or folder, to show how the law does there; for a run folder the
            task that it was made from if not given.
        decisions: Results of decisions made with the law, to be told on the page: anything with a method `summary`, and
            `to_frame` for its table; or the JSON document that a command printed.

    Returns:
        The page.

    Raises:
        UsageError: There is no such run, a decision is none, or the file cannot be written.
        DataError: A file of the run folder was changed or cut.

    Examples:
        >>> import numpy as np
        >>> import sld
        >>> N = np.geomspace(1e6, 1e9, 10)
        >>> runs = {"N": N, "loss": 1.7 + 400 * N**-0.34}
        >>> found = sld.discover(runs, target="loss", scale="N", budget="100fits", workers=1)
        >>> page = sld.report(found)
        >>> page.startswith("<!DOCTYPE html>"), "http-equiv" in page, len(page) < 1_500_000
        (True, True, True)
    """
    from sld.analysis.report.page import report_page
    from sld.core.files import write_text_atomic
    from sld.search.outcome import Discovery

    if isinstance(run, Discovery):
        found, task = run, None
    elif isinstance(run, str | Path):
        found, task = run_and_task(run)
    else:
        raise UsageError(f"wanted a discovery or the path of a run folder, got {type(run).__name__}")
    if data is not None:
        from sld.api.tasks import as_task

        task = as_task(data)
    page = report_page(found, task=task, held_out=None if task is None else task.held_out(), decisions=decisions)
    if out is not None:
        write_text_atomic(out, page)
    return page


def markdown_report(run: str | Path, *, data: object = None) -> str:
    """Return what a run folder's search found as Markdown; see `report` for the arguments and errors."""
    from sld.analysis.plot import PLOT_FILE
    from sld.analysis.report.report import report as markdown

    found, task = run_and_task(run)
    if data is not None:
        from sld.api.tasks import as_task

        task = as_task(data)
    plot = PLOT_FILE if (Path(run) / PLOT_FILE).exists() else None
    return markdown(found, task=task, held_out=None if task is None else task.held_out(), plot=plot)


def read_decision(path: str | Path) -> dict[str, Any]:
    """Return the JSON document that a command printed into a file; its heading is the file's name.

    Raises:
        UsageError: There is no such file.
        DataError: It is no document of a command.
    """
    import json

    path = Path(path)
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UsageError(f"could not read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON ({error}); wanted what a command printed with --json") from error
    if not isinstance(document, dict):
        raise DataError(
            f"{path}: wanted the document that a command printed with --json, got a {type(document).__name__}"
        )
    words = path.stem.replace("_", " ").replace("-", " ")
    return {"title": words[:1].upper() + words[1:], **document}


def about_task(task: Task) -> dict[str, Any]:
    """Return what a run folder keeps of the task that it was made from."""
    return {
        "card": task.card.to_dict(),
        "path": None if task.path is None else str(task.path.resolve()),
        "options": list(task.options),
    }


def run_and_task(folder: str | Path) -> tuple[Discovery, Task | None]:
    """Return a discovery from its run folder, and the task that it was made from as far as it is still there.

    A task that has another version now is not the one that was searched: only its card is then known.
    """
    from sld.data.bundled import named_tasks
    from sld.data.card import Card
    from sld.data.task import Task, load_task
    from sld.search.saved import load_outcome

    found, about = load_outcome(folder)
    try:
        card = Card.from_dict(about["card"])
    except (KeyError, DataError):  # a name or a word that this version does not know
        return found, None
    wanted = [place for place in (named_tasks().get(card.name), about.get("path")) if place is not None]
    for place in wanted:
        try:
            task = load_task(Path(place))
        except UsageError:  # moved, or not a task any more
            continue
        if (task.card.name, task.card.version) == (card.name, card.version):
            return found, task
    return found, Task(replace(card, held_out_file=None), found.table, options=tuple(about.get("options", ())))
