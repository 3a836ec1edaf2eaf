"""Joins the commands: every file of `sld/cli/commands` is a family of them, found by listing the folder."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import Annotated

import typer

from sld.cli import commands
from sld.cli.base import PLAIN, Group, examples, tasks_folder

# in the help: from runs to a law, what is done with it, what it says of scores; what is not named comes then
_ORDER = (
    *("collect", "count", "tasks", "laws", "discover", "fit", "predict", "diagnose", "report"),
    *("allocate", "settings", "isoflop", "compare", "sensitivity", "curve", "downstream", "passk", "rl", "utd"),
)
_LAST = ("board",)  # not a question about one's own runs

app = typer.Typer(cls=Group, **PLAIN)


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


def _families() -> list[str]:
    """Return the modules of the commands: those of `_ORDER`, then the others by name, then those of `_LAST`."""
    there = sorted(module.name for module in iter_modules(commands.__path__))
    rank = {name: k for k, name in enumerate(_ORDER)} | {name: len(_ORDER) + 1 for name in _LAST}
    return sorted(there, key=lambda name: rank.get(name, len(_ORDER)))


for _name in _families():
    import_module(f"{commands.__name__}.{_name}").register(app)
