"""`sld count`: parameters and FLOPs of a model from its configuration."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from sld.cli.base import Json, command


def register(app: typer.Typer) -> None:
    """Add the command to the others."""
    command(
        app,
        "count",
        "sld count config.json",
        "sld count my_model/ --seq 8192",
        "sld count config.json --convention non-embedding",
        "cat config.json | sld count - --json",
    )(count)


def count(
    config: Annotated[
        str,
        typer.Argument(metavar="CONFIG", help="A model's config.json (Hugging Face), its folder, or - for a pipe."),
    ],
    convention: Annotated[
        str | None,
        typer.Option("--convention", metavar="NAME", help="Print only the parameters counted so, e.g. non-embedding."),
    ] = None,
    seq: Annotated[
        int | None,
        typer.Option("--seq", metavar="T", help="Tokens of a sequence; 4096, or the longest that the model takes."),
    ] = None,
    approximate: Annotated[
        bool, typer.Option("--approximate", help="Count a family that is not known as a Llama of the same sizes.")
    ] = False,
    json: Json = False,
) -> None:
    """How many parameters has a model, and how many FLOPs does a token take?

    Nothing is loaded or fetched: the sizes in the configuration settle both. Papers mean different counts by N, so all
    are shown; in a law, use one of them for every run.
    """
    from sld import api
    from sld.cli.show import counts as show

    counted = api.count(_given(config), sequence=seq, approximate=approximate)
    show.count(counted, convention, json)


def _given(config: str) -> Any:
    """Return the configuration on standard input for -, else what was named."""
    if config != "-":
        return config
    import sys

    from sld.core.errors import UsageError

    if sys.stdin is None:
        raise UsageError("- stands for standard input, which is closed; pipe a config.json in, or name a file")
    return sys.stdin.buffer.read()
