"""`sld report`: a search told to others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sld.cli import options, output
from sld.cli.base import Json, command


def register(app: typer.Typer) -> None:
    """Add the command to the others."""
    command(
        app,
        "report",
        "sld report sld-runs/nanolm_chinchilla-0 --html",
        "sld report sld-runs/nanolm_chinchilla-0 --html --out law.html",
        "sld report sld-runs/nanolm_chinchilla-0 --html --decision answer.json",
        "sld report sld-runs/nanolm_chinchilla-0",
    )(report)


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="Run folder of sld discover.")],
    html: Annotated[
        bool, typer.Option("--html", help="One page that opens without a network; else Markdown on stdout.")
    ] = False,
    out: Annotated[Path | None, options.out_file("Write here; RUN_DIR/report.html if not given.")] = None,
    task: Annotated[
        str | None, typer.Option("--task", metavar="TASK", help="A task whose held-out rows are to be shown.")
    ] = None,
    decisions: Annotated[
        list[Path] | None,
        typer.Option(
            "--decision", metavar="FILE", help="What a command printed with --json, to be told as well; repeatable."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """What did a search find, in a page for others?

    Tells law, verdict, chart, errors on unseen runs, residuals, rivals, and how to repeat it. The page is one file:
    send it to anybody. Nothing is searched again.
    """
    from sld import api
    from sld.core.errors import UsageError

    if not html:
        if decisions or json:
            raise UsageError(f"{'--decision' if decisions else '--json'} is for pages; add --html")
        text = api.markdown_report(run, data=task)
        if out is None:
            print(text, end="")
        else:
            _write(out, text, json)
        return
    file = run / "report.html" if out is None else out
    told = [api.read_decision(path) for path in decisions or ()]
    page = api.report(run, file, data=task, decisions=told)
    _told(file, len(page.encode("utf-8")), json)


def _write(file: Path, text: str, json: bool) -> None:
    from sld.core.files import write_text_atomic

    write_text_atomic(file, text)
    _told(file, len(text.encode("utf-8")), json)


def _told(file: Path, size: int, json: bool) -> None:
    if json:
        output.say_json({"file": str(file), "bytes": size})
    else:
        output.say(f"written to {file} ({max(1, round(size / 1000))} kB)")
