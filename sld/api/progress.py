"""Progress of a search in a notebook or a script: a bar that goes away when the search is done."""

from __future__ import annotations

import html
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from sld.core.errors import UsageError

if TYPE_CHECKING:
    from sld.search.loop import Progress

_LONGEST = 70  # characters of the best formula beside the bar

Callback = Callable[["Progress"], None]


@contextmanager
def shown_progress(wanted: Callback | bool | None, stream: TextIO | None = None) -> Iterator[Callback | None]:
    """Give what a search calls with its state, and take the bar away at the end.

    Args:
        wanted: A function of the caller's; True for a bar, in a notebook as its output and elsewhere on stderr; None or
            False for nothing.
        stream: Where a bar is drawn outside a notebook, if not on stderr.

    Raises:
        UsageError: It is none of these.
    """
    if wanted is None or wanted is False:
        yield None
    elif callable(wanted):
        yield wanted
    elif wanted is not True:
        raise UsageError(f"progress is True, False or a function that is called with the state, got {wanted!r}")
    elif _in_notebook():
        with _notebook_bar() as bar:
            yield bar
    else:
        with _terminal_bar(stream) as bar:
            yield bar


def _in_notebook() -> bool:
    """Tell whether output goes to a notebook: whoever runs one has imported IPython."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and hasattr(shell, "kernel")


@contextmanager
def _notebook_bar() -> Iterator[Callback]:
    # no widgets: an output that is replaced needs nothing but IPython
    from IPython.display import HTML, display

    handle: Any = display(HTML(""), display_id=True)

    def show(state: Progress) -> None:
        text = html.escape(_words(state))
        percent = round(100 * state.fraction)
        handle.update(HTML(f'<progress value="{percent}" max="100" aria-label="search"></progress> {percent} % {text}'))

    try:
        yield show
    finally:
        handle.update(HTML(""))


@contextmanager
def _terminal_bar(stream: TextIO | None) -> Iterator[Callback]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    console = Console(file=stream or sys.stderr)
    words = TextColumn("{task.percentage:3.0f} % {task.fields[words]}", markup=False)
    with Bar(BarColumn(20), words, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=1.0, words="")

        def show(state: Progress) -> None:
            bar.update(task, completed=state.fraction, words=_words(state))

        yield show


def _words(state: Progress) -> str:
    best = "" if state.best is None else f", best: {state.best.text}"
    text = f"{state.seconds:.0f} s, {state.tried} formulas{best}"
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
