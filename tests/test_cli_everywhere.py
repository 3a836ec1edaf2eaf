"""What holds for every command: all that are registered are tried, so that a new one is covered."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from cli_runs import COLUMNS, one_line, write_runs
from commands import Run
from many_cases import case

from sld.cli.app import app

# what a required option is given, so that what is tried comes to be looked at
NEEDED = {
    "--law": "E + A*N**-a", "--target": "loss", "--scale": "N", "--name": "mine", "--task": "nanolm_chinchilla",
    "--metric": "loss", "--at": "N=1e9", "--solved": "N", "--tried": "D", "--step": "N", "--into": "N",
}  # fmt: skip
# no file is named, or nothing is refused: a server, lists, the check of what there is
WITHOUT_FILE = {("tasks",), ("laws",), ("leaderboard",), ("leaderboard", "verify"), ("mcp",)}
WORDS = {("tasks", "fetch"), ("laws", "show")}  # take a name, never a file
PLACES = {"--out", "--plot", "--html", "--save", "--to"}


def commands(group: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every command with its words."""
    group = group or typer.main.get_command(app)
    for name, command in group.commands.items():
        yield (*path, name), command
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))


COMMANDS = dict(commands())


def called(path: tuple[str, ...], value: str) -> list[str]:
    """Return the words of a call in which every argument is `value`, with what else is required."""
    words = [*path]
    for parameter in COMMANDS[path].params:
        if parameter.param_type_name == "argument":
            words.append(value)
        elif parameter.required:
            words += [parameter.opts[0], NEEDED.get(parameter.opts[0], "x")]
    return words


@pytest.fixture
def files(sld: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make files that are not what is wanted, beside a law and a table that are."""
    monkeypatch.setenv("SLD_DATA", str(tmp_path / "data"))
    write_runs(tmp_path / "runs.csv")
    assert sld("fit", "runs.csv", *COLUMNS, "--law", "E + A*N**-a + B*D**-b", "--out", "law.json").code == 0
    text = (tmp_path / "law.json").read_text(encoding="utf-8")
    (tmp_path / "cut.json").write_text(text[:-100], encoding="utf-8")
    (tmp_path / "other.json").write_text(json.dumps({"a": [1, 2]}), encoding="utf-8")
    (tmp_path / "empty.csv").write_text("", encoding="utf-8")
    (tmp_path / "empty.json").write_text("", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    return tmp_path


def test_a_file_that_is_none_is_refused_in_a_line_by_every_command(sld: Run, files: Path) -> None:
    before = sorted(files.rglob("*"))
    for path in sorted(COMMANDS.keys() - WITHOUT_FILE):
        for name in ("missing.csv", "missing.json", "missing", "empty.csv", "empty.json", "folder", "cut.json", ""):
            with case((*path, name)):
                outcome = sld(*called(path, name))
                one_line(outcome)
                assert not re.search(r"Traceback|\[Errno|NoneType|object at 0x", outcome.err)
        if path not in WORDS:
            with case((*path, "other.json")):
                assert "Traceback" not in sld(*called(path, "other.json")).err
    assert sorted(files.rglob("*")) == before


def test_a_command_without_its_words_says_which(sld: Run) -> None:
    for path, command in COMMANDS.items():
        if any(p.required for p in command.params):
            with case(path):
                outcome = sld(*path)
                assert outcome.code == 2 and outcome.out == "" and outcome.err.count("\n") == 1
                assert "Missing" in outcome.err and f"(see sld {' '.join(path)} --help)" in outcome.err


def test_a_number_that_is_none_is_refused_by_every_option_that_wants_one(sld: Run, files: Path) -> None:
    tried = 0
    for path in sorted(COMMANDS.keys() - WITHOUT_FILE):
        for option in COMMANDS[path].params:
            if option.param_type_name != "option" or option.is_flag or option.required:
                continue
            flag = option.opts[0]
            if not re.search("valid (number|float|integer)", sld(*called(path, "missing"), flag, "many").err):
                continue
            tried += 1
            with case((*path, flag)):
                one_line(sld(*called(path, "missing"), flag, "nan"), flag)
    assert tried > 40


def test_a_place_that_cannot_be_written_to_is_refused_before_anything_is_done(sld: Run, files: Path) -> None:
    before = sorted(files.rglob("*"))
    tried = set()
    for path, command in COMMANDS.items():
        for option in command.params:
            flag = option.opts[0]
            if flag not in PLACES or option.is_flag:
                continue
            tried.add(path)
            picture = [("picture.gif", "a picture is a .png")] if flag == "--plot" else []
            for place, said in (("runs.csv/x.png", "runs.csv"), *picture, ("", "")):
                with case((*path, flag, place)):
                    # with a file that is missing: the place is looked at first
                    one_line(sld(*called(path, "missing"), flag, place), said)
    assert len(tried) >= 14
    assert sorted(files.rglob("*")) == before


def test_what_would_be_left_out_silently_is_refused(sld: Run, files: Path) -> None:
    for name in ("allocate", "next", "curve", "downstream", "predict"):
        with case(name):
            one_line(sld(*called((name,), "missing"), "--out", "x.parquet"), "written as CSV", "x.parquet")
    curve = ("curve", "runs.csv", "--target", "loss", "--step", "D", "--until", "1e11", "--watch")
    for words, said in (
        (("allocate", "chinchilla", "--budget", "1e22", "--runs", "runs.csv"), "name it with --plot"),
        (("leaderboard", "--html", "site", "--csv"), "--html writes pages"),
        ((*curve, "--plot", "x.png"), "--plot is written once"),
    ):
        with case(words):
            one_line(sld(*words), said)


@pytest.mark.parametrize("columns", [80, 60, 40])
def test_help_fits_the_terminal_and_begins_with_a_question(
    sld: Run, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    for path, command in COMMANDS.items():
        with case(path):
            text, _, examples = sld(*path, "--help").out.partition("Examples:")
            assert max(map(len, text.splitlines())) <= columns
            first = " ".join((command.help or "").split("\n\n")[0].split())
            assert first.endswith("?") and first.count("?") == 1 and "." not in first.replace("@k", "")
            assert first.replace(" ", "") in "".join(text.split())  # a line may end at a hyphen
            assert examples.count("\n  sld") + examples.count("\n    sld") >= 2


def test_help_lists_every_command_with_its_whole_question(sld: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = sld("--help").out
    assert max(map(len, text.splitlines())) <= 80
    for path, command in COMMANDS.items():
        if len(path) == 1:
            with case(path):
                question = " ".join((command.help or "").split("\n\n")[0].split())
                assert f"{path[0]}{question}".replace(" ", "") in "".join(text.split())
