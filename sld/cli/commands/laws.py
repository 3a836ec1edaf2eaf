"""`sld laws`: the catalogue of published laws."""

from __future__ import annotations

from typing import Annotated

import typer

from sld.cli.base import PLAIN, Group, Json, command, examples, json_wanted

laws_app = typer.Typer(cls=Group, **PLAIN)


def register(app: typer.Typer) -> None:
    """Add the commands to the others."""
    app.add_typer(laws_app, name="laws")


@laws_app.callback(
    invoke_without_command=True, epilog=examples("sld laws", "sld laws show chinchilla", "sld laws --json")
)
def laws(ctx: typer.Context, json: Json = False) -> None:
    """Which scaling laws are published, and with which constants?

    Lists the catalogue; `show` tells all of one.
    """
    ctx.obj = json
    if ctx.invoked_subcommand is None:
        from sld.cli.show import laws as show
        from sld.laws.catalogue import load_catalogue

        show.laws(load_catalogue(), json)


@command(laws_app, "show", "sld laws show chinchilla", "sld laws show chinchilla --json")
def laws_show(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Id of the law, as `sld laws` lists it.")],
    json: Json = False,
) -> None:
    """What is known of a published law: formula, variables, constants, values, source?"""
    from sld.cli.show import laws as show
    from sld.laws.catalogue import get_law

    show.law(get_law(name), json_wanted(ctx, json))
