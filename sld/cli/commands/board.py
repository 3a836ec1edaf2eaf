"""`sld submit`, `sld leaderboard` and `sld leaderboard verify`."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sld.cli import options, output
from sld.cli.base import PLAIN, Group, Json, command, data_folder, examples, json_wanted
from sld.core.errors import UsageError, suggest

if TYPE_CHECKING:
    from sld.board.entries.standings import Standings
    from sld.board.entries.store import Board

BoardFolder = Annotated[
    Path | None,
    typer.Option(
        "--board", metavar="DIR", help="The leaderboard's folder; that of the checkout, or one among your own data."
    ),
]
Unsafe = Annotated[
    bool, typer.Option("--unsafe", help="Run programs even where nothing can keep them from harming this machine.")
]


class _TaskOrCommand(Group):
    """A group whose first word may also be a task: `sld leaderboard TASK`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Turn a first word that is no command into the option --task."""
        with_value = {o for p in self.params if not getattr(p, "is_flag", False) for o in p.opts if o.startswith("-")}
        value_next = False
        for k, word in enumerate(args):
            if value_next or word.startswith("-"):
                value_next = not value_next and word in with_value
                continue
            if word not in self.commands:
                args = [*args[:k], "--task", *args[k:]]
            break
        return super().parse_args(ctx, args)


board_app = typer.Typer(cls=_TaskOrCommand, **PLAIN)


def register(app: typer.Typer) -> None:
    """Add the commands to the others."""
    command(
        app,
        "submit",
        'sld submit sld-runs/nanolm_chinchilla-0 --task nanolm_chinchilla --name "my law"',
        'sld submit "E + A*N**-a + B*D**-b" --task nanolm_chinchilla --name "two powers" --author "A. Person"',
        'sld submit law.json --task nanolm_chinchilla --name "my constants" --constants given',
        'sld submit program.py --task nanolm_chinchilla --name "my program" --board my_board/',
    )(submit)
    app.add_typer(board_app, name="leaderboard")


def _board(folder: Path | None, *, reading: bool = False) -> Board:
    from sld.board.entries.store import Board

    return Board.at(folder, data=data_folder(), reading=reading)


def submit(
    law: Annotated[
        str,
        typer.Argument(
            metavar="LAW",
            help="Run folder, law.json, formula, law of the card or of `sld laws`, or a program (.py).",
        ),
    ],
    task: Annotated[str, typer.Option("--task", metavar="TASK", help="Task of `sld tasks`, or a task folder.")],
    name: Annotated[str, typer.Option("--name", metavar="TEXT", help="What stands in the table; 80 characters.")],
    author: Annotated[str, typer.Option("--author", metavar="TEXT", help="Who submits it.")] = "",
    url: Annotated[str, typer.Option("--url", metavar="URL", help="Where more is told (https://...).")] = "",
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="One line about it; 500 characters.")] = "",
    constants: Annotated[
        str,
        typer.Option(
            "--constants", metavar="refit|given", help="Fit them to the training rows, or score them as they are."
        ),
    ] = "refit",
    board: BoardFolder = None,
    unsafe: Unsafe = False,
    json: Json = False,
) -> None:
    """How does my law do on the leaderboard?

    It is fitted by us, scored on held-out rows, and written as one file. A law that is there already changes nothing,
    and no file is ever overwritten.
    """
    from sld import api
    from sld.cli.show import board as show

    if constants not in ("refit", "given"):
        raise UsageError(f"--constants must be refit or given, got {constants!r}")
    where = _board(board)
    done = api.submit(
        law,
        task,
        name=name,
        author=author,
        url=url,
        note=note,
        constants=constants,
        board=where,
        unsafe=unsafe,
    )
    show.submitted(done, task, json)


@board_app.callback(
    invoke_without_command=True,
    subcommand_metavar="[TASK | COMMAND [ARGS]...]",
    epilog=examples(
        "sld leaderboard",
        "sld leaderboard nanolm_chinchilla",
        "sld leaderboard nanolm_chinchilla --csv",
        "sld leaderboard --html site/",
        "sld leaderboard verify",
    ),
)
def leaderboard(
    ctx: typer.Context,
    task: Annotated[
        list[str] | None,
        typer.Option("--task", metavar="TASK", help="Show this task only (a name, or a task folder of your own)."),
    ] = None,
    board: BoardFolder = None,
    html: Annotated[
        Path | None,
        options.out_folder("--html", metavar="DIR", text="Write a site that opens without a network."),
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print LEADERBOARD.md.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print one line per row, comma-separated.")] = False,
    json: Json = False,
) -> None:
    """Which laws predict held-out rows best, over all tasks or in one?"""
    ctx.obj = json
    if ctx.invoked_subcommand is not None:
        return
    if sum((markdown, as_csv, json)) > 1:
        raise UsageError("choose one of --json, --csv and --markdown")
    if html is not None and (markdown or as_csv):
        raise UsageError(f"--html writes pages; leave {'--markdown' if markdown else '--csv'} out")
    from sld import api
    from sld.cli.show import board as show

    folders = [one for one in task or () if os.path.isdir(one)]
    found = api.leaderboard(_board(board, reading=True), tasks=folders)
    names = [_task_name(one, found) for one in task or ()]
    if html is not None:
        _write_site(found, html, json)
    elif markdown:
        from sld.board.entries.markdown import markdown as text

        print(text(_only(found, names)), end="")
    elif as_csv:
        print(show.csv_text(_only(found, names)), end="")
    elif json:
        output.say_json(show.json_of(_only(found, names)))
    else:
        show.standings(_only(found, names), one=len(names) == 1)
    for problem in found.problems:
        output.remark(f"left out: {problem}")


def _task_name(given: str, found: Standings) -> str:
    names = [table.name for table in found.tasks]
    if given in names:
        return given
    if os.path.isdir(given):
        from sld.data.card import Card

        return Card.read(given).name
    raise UsageError(suggest(given, names, kind="task on the leaderboard"))


def _only(found: Standings, names: Sequence[str]) -> Standings:
    from sld.board.entries.standings import Standings

    if not names:
        return found
    return Standings(tuple(t for t in found.tasks if t.name in names), (), found.problems)


def _write_site(found: Standings, folder: Path, json: bool) -> None:
    from sld.board.site import write_site

    pages = write_site(found, folder)
    if json:
        output.say_json({"folder": str(folder), "files": [str(page) for page in pages]})
    else:
        output.say(f"{len(pages)} files written to {folder}/; open {folder / 'index.html'}")


@command(
    board_app,
    "verify",
    "sld leaderboard verify",
    "sld leaderboard verify --refit --json",
    "sld leaderboard verify --board my_board/ --task my_task/",
)
def verify(
    ctx: typer.Context,
    refit: Annotated[bool, typer.Option("--refit", help="Repeat every fit from its starting points.")] = False,
    programs: Annotated[bool, typer.Option("--programs", help="Run programs again, in the sandbox.")] = False,
    task: Annotated[
        list[str] | None,
        typer.Option("--task", metavar="DIR", help="Task folder of your own that entries are for; repeatable."),
    ] = None,
    board: BoardFolder = None,
    unsafe: Unsafe = False,
    json: Json = False,
) -> None:
    """Does every entry of the leaderboard hold?

    Computes each again from the task's rows: exit code 1 and a line per file where anything differs.
    """
    from sld import api
    from sld.board.entries.verify import verify as check
    from sld.cli.show import board as show

    started = time.monotonic()
    # the group's own --board came before the word verify
    given = board or (ctx.parent.params.get("board") if ctx.parent else None)
    tasks = api.known_tasks(task or ())
    findings = list(check(_board(given, reading=True), tasks, refit=refit, programs=programs, unsafe=unsafe))
    show.findings(findings, time.monotonic() - started, json_wanted(ctx, json))
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)
