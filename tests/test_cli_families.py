"""A command is a file in sld/cli/commands, and nothing else need know of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
from boards import law_of, write_task
from cli_runs import one_line
from commands import Run
from many_cases import case

from sld.cli import app as cli_app
from sld.cli import commands
from sld.cli.base import Group
from sld.data.task import load_task

PACKAGE = Path(__file__).resolve().parents[1] / "sld"

DECISION = '''"""What a constant of a law is."""

from dataclasses import dataclass

from sld.laws.law import Law


@dataclass(frozen=True)
class Value:
    """A constant of a law: its value."""

    value: float


def value_of(law: Law, constant: str) -> Value:
    """Return a constant of the law's first target and group."""
    (of, *_) = law.constants[law.targets[0].column].values()
    return Value(of[constant])
'''

COMMAND = '''"""`sld value`: a constant of a law."""

from dataclasses import asdict
from typing import Annotated

import typer

from sld.cli import options, output
from sld.cli.base import Json, command


def register(app: typer.Typer) -> None:
    """Add the command to the others."""
    command(app, "value", "sld value law.json --constant E")(value)


def value(
    law: options.LawPath, constant: Annotated[str, typer.Option("--constant", metavar="NAME")], json: Json = False
) -> None:
    """Say what a constant is."""
    from sld import api
    from sld.analysis.decisions.value import value_of

    found = value_of(api.as_law(law), constant)
    output.say_json(asdict(found)) if json else output.say(output.shown(found.value))
'''


@pytest.mark.slow
def test_two_files_are_a_decision_and_its_command(tmp_path: Path) -> None:
    copy = tmp_path / "sld"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for file, text in (("analysis/decisions/value.py", DECISION), ("cli/commands/value.py", COMMAND)):
        (copy / file).parent.mkdir(exist_ok=True)
        (copy / file).write_text(text, encoding="utf-8")
    law_of(load_task(write_task(tmp_path / "task")), "E + A*N**-a", E=1.75).save(tmp_path / "law.json")

    def run(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "sld", *words],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert json.loads(run("value", "law.json", "--constant", "E", "--json")) == {"value": 1.75}
    assert "1.75" in run("value", "law.json", "--constant", "E")
    (help_line,) = (line for line in run("--help").splitlines() if line.split()[:1] == ["value"])
    assert "Say what a constant is." in help_line


def test_every_file_of_commands_registers_and_every_heading_of_the_help_names_commands_that_there_are() -> None:
    group = typer.main.get_command(cli_app.app)
    assert isinstance(group, Group)
    named = [name for names in group.headings.values() for name in names]
    assert len(named) == len({*named}) and {*named} <= {*group.commands}
    assert sorted(group.list_commands(None)) == sorted(group.commands)
    families = {f"{command.callback.__module__}" for command in group.commands.values() if command.callback}
    assert families == {f"{commands.__name__}.{p.stem}" for p in Path(commands.__path__[0]).glob("[!_]*.py")}


@pytest.mark.parametrize(
    ("text", "message"), [("D=many", "--at wants NAME=NUMBER"), ("D", "--at wants NAME=NUMBER"), ("D=nan", "got D=nan")]
)
def test_numbers_by_name_are_read_or_refused_in_a_line(text: str, message: str) -> None:
    from sld.cli.options import numbers
    from sld.core.errors import UsageError

    assert numbers(["N=1B,D=2e10", "lr=3e-4"], "--at") == {"N": 1e9, "D": 2e10, "lr": 3e-4}
    with pytest.raises(UsageError, match=f"--at wants NAME=NUMBER, .* got {text}"):
        numbers([text], "--at")


def test_an_option_of_an_earlier_version_names_the_new_one(sld: Run) -> None:
    for words, now in (
        (("compare", "a", "b", "--setting", "D=20*N"), "--setting is now --given, e.g. --given D/N=20"),
        (("compare", "a", "b", "--at", "lr=1"), "--at is now --given"),
        (("sensitivity", "x.csv", "--law", "a", "--point", "N=1"), "--point is now --at"),
        (("worth", "parscale", "--run", "N=1"), "--run is now --at"),
    ):
        with case(words):
            one_line(sld(*words), now)
