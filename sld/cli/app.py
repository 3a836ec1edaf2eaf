"""Joins the commands: every file of `sld/cli/commands` is a family of them, found by listing the folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pkgutil import iter_modules
from typing import Annotated, ClassVar

import typer

from sld.cli import commands
from sld.cli.base import PLAIN, Group, examples, tasks_folder


class _Commands(Group):
    """All commands, by what they are for: a name in a line here puts a command below a heading of the help."""

    headings: ClassVar[Mapping[str, Sequence[str]]] = {
        "Get runs into a table": ("collect", "count", "tasks"),
        "Find a law": ("discover", "fit", "diagnose", "report", "laws"),
        "Use a law": ("predict", "score", "sensitivity"),
        "Plan runs": ("allocate", "optimum", "isoflop", "compare", "worth", "next"),
        "Foretell ends of runs, and scores": ("curve", "downstream", "families", "passk", "rl", "utd"),
        "More": (),  # what is named nowhere else
        "Leaderboard": ("submit", "leaderboard"),
        "Agents": ("mcp",),
    }


app = typer.Typer(cls=_Commands, **PLAIN)


def _version(wanted: bool) -> None:
    if wanted:
        from sld.core.version import __version__

        print(f"sld {__version__}")
        raise typer.Exit


@app.callback(
    invoke_without_command=True,
    epilog=examples(
        "sld discover nanolm_chinchilla",
        "sld discover runs.csv --target loss --scale N,D",
        "sld predict sld-runs/nanolm_chinchilla-0 points.csv",
    ),
)
def _sld(
    ctx: typer.Context,
    _printed: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """Discover scaling laws: one short formula that extrapolates, from a table of training runs."""
    from sld.data import bundled

    if (folder := tasks_folder()) is not None:
        bundled.add_tasks_root(folder)
        # commands may be run one after another in one process: the next may have another environment
        ctx.call_on_close(lambda: bundled.remove_tasks_root(folder))
    if ctx.invoked_subcommand is None:
        print(ctx.get_help())


for _module in sorted(module.name for module in iter_modules(commands.__path__)):
    import_module(f"{commands.__name__}.{_module}").register(app)
