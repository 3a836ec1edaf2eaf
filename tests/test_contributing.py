"""What CONTRIBUTING says of adding a task, a law and an entry, followed to the letter in a copy of the repository."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sld.data.card import CARD_FILE

ROOT = Path(__file__).resolve().parents[1]


def steps(heading: str) -> str:
    """Return the bash block of a section."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    (block,) = re.findall(r"^```bash\n(.*?)^```", section, flags=re.DOTALL | re.MULTILINE)
    return str(block)


pytestmark = [
    pytest.mark.slow,  # the copy compiles the fitting machine
    pytest.mark.skipif(shutil.which("git") is None or sys.platform == "win32", reason="needs git and a shell"),
]


@pytest.fixture(scope="module")
def fork(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the repository, with the command `sld` beside it."""
    folder = tmp_path_factory.mktemp("contributing")
    fork = folder / "fork"
    for part in ("sld", "leaderboard", "tasks"):
        shutil.copytree(ROOT / part, fork / part, ignore=shutil.ignore_patterns("nanolm"))
    shutil.copy(ROOT / ".gitignore", fork)
    (folder / "bin").mkdir()
    sld = folder / "bin" / "sld"
    sld.write_text(f'#!/bin/sh\nPYTHONPATH="{fork}" exec "{sys.executable}" -m sld "$@"\n', encoding="utf-8")
    sld.chmod(0o755)
    return fork


@pytest.fixture(scope="module")
def run(fork: Path) -> Callable[[str], str]:
    """Return what runs a line in the fork's shell and gives its output."""
    environment = {
        **os.environ,
        "PATH": f"{fork.parent / 'bin'}{os.pathsep}{os.environ['PATH']}",
        **{f"GIT_{who}_{what}": "test@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }

    def run(script: str) -> str:
        words = ["sh", "-e", "-c", script]
        done = subprocess.run(words, cwd=fork, env=environment, capture_output=True, encoding="utf-8", timeout=200)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    run("git init -q . && git add -A && git commit -q -m before")
    return run


def section(heading: str) -> str:
    return (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition(f"## {heading}\n")[2].partition("\n## ")[0]


def test_a_task_is_added_by_following_the_steps(fork: Path, run: Callable[[str], str]) -> None:
    one, two, three, four = re.findall(r"^\d\. (.+(?:\n   .+)*)", section("Add a task"), flags=re.MULTILINE)
    folder = fork / re.findall(r"`(tasks/NAME)`", one)[0].replace("NAME", "made_up")
    folder.mkdir()
    model = fork / re.findall(r"`(tasks/\w+/task.toml)` is one to copy", two)[0]
    assert model.name == CARD_FILE and "README.md" in three
    for file in re.findall(r"`(\w+\.csv)`", one):
        shutil.copy(model.with_name(file), folder / file)
    card = model.read_text(encoding="utf-8").replace('name = "nanolm_chinchilla"', 'name = "made_up"', 1)
    (folder / CARD_FILE).write_text(card, encoding="utf-8")
    (folder / "README.md").write_text("# made_up\n\nRows of another task.\n", encoding="utf-8")
    check, discover = re.findall(r"`(sld [^`]+)`", four)
    assert "problem" not in run(check.replace("NAME", "made_up"))
    assert "tried" in run(discover.replace("NAME", "made_up") + " --budget 300fits --workers 1 --json")
    run("git clean -fdq")


def test_a_law_is_added_by_following_the_steps(fork: Path, run: Callable[[str], str]) -> None:
    text = section("Add a published law")
    (file,) = re.findall(r"one `\[\[law\]\]` in `([^`]+)`", text, flags=re.IGNORECASE)
    (show,) = re.findall(r"`(sld laws show ID)`", text)
    laws = (fork / file).read_text(encoding="utf-8")
    first = laws.partition("[[law]]")[2].partition("[[law]]")[0]
    with (fork / file).open("a", encoding="utf-8") as out:
        out.write("\n[[law]]" + re.sub(r'^id = ".+"', 'id = "made_up"', first, flags=re.MULTILINE))
    said = run(show.replace("ID", "made_up"))
    assert "(N_c/N)**alpha_N" in said and "2001.08361" in said
    assert "made_up" in run("sld laws")
    run(f"git checkout -q {file}")


def test_an_entry_is_added_by_following_the_steps(fork: Path, run: Callable[[str], str]) -> None:
    said = run(steps("Add an entry to the leaderboard"))
    assert "written to" in said and "nothing wrong" in said
    changed = run("git show --name-status --format= HEAD").split()
    assert changed[0::2] == ["M", "A"]
    assert changed[1] == "leaderboard/LEADERBOARD.md" and changed[3].startswith(
        "leaderboard/submissions/nanolm_chinchilla/"
    )
    assert run("git status --porcelain") == ""
    assert "three powers" in (fork / "leaderboard" / "LEADERBOARD.md").read_text(encoding="utf-8")
    assert "three powers" in run("sld leaderboard nanolm_chinchilla")
