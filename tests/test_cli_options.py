"""Options that several commands share are written once, as the fields of a record."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
import typer.main

from sld.cli import app as cli_app
from sld.cli import options
from sld.cli.base import PLAIN, Group, command


@dataclass(frozen=True)
class Point:
    size: Annotated[float, typer.Option("--size")]
    tokens: Annotated[float, typer.Option("--tokens")] = 2.0


def called(*words: str) -> tuple[str, Point, int]:
    seen: list[tuple[str, Point, int]] = []

    def ask(law: str, *, point: Point, seed: Annotated[int, typer.Option("--seed")] = 0) -> None:
        """Ask."""
        seen.append((law, point, seed))

    app = typer.Typer(cls=Group, **PLAIN)
    app.callback()(lambda: None)
    command(app, "ask", "sld ask law.json --size 1")(ask)
    typer.main.get_command(app).main(["ask", *words], standalone_mode=False)
    return seen[0]


def test_fields_of_a_record_are_options_and_arrive_as_the_record() -> None:
    assert called("law", "--size", "3", "--seed", "7") == ("law", Point(3.0, 2.0), 7)
    assert called("law", "--tokens", "5", "--size", "3") == ("law", Point(3.0, 5.0), 0)


def test_a_field_without_a_default_is_needed() -> None:
    with pytest.raises(typer.BadParameter.__bases__, match="size"):
        called("law")


def test_discover_and_fit_have_every_option_about_a_table() -> None:
    group = typer.main.get_command(cli_app.app)
    fields = [f.name for record in (options.TableOptions, options.Weighing) for f in dataclasses.fields(record)]
    for name in ("discover", "fit"):
        there = [p.name for p in group.commands[name].params]  # type: ignore[attr-defined]
        assert len(fields) == 17 and set(fields) <= set(there)


def test_a_bound_of_zero_is_a_bound() -> None:
    """0 equals False, and was once taken for an option that nobody gave."""
    assert options.TableOptions(lower=0.0, upper=1.0).keywords() == {"lower": 0.0, "upper": 1.0}
    assert options.Loss(delta=0.0).keywords() == {"loss": "squared", "delta": 0.0}
    assert options.TableOptions().keywords() == {}
