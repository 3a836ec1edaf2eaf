"""The steps that CONTRIBUTING gives for an entry, followed to the letter in a copy of the repository."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def steps(heading: str) -> str:
    """Return the bash block of a section."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    (block,) = re.findall(r"^```bash\n(.*?)^```", section, flags=re.DOTALL | re.MULTILINE)
    return str(block)


@pytest.mark.slow  # the copy compiles the fitting machine
@pytest.mark.skipif(shutil.which("git") is None or sys.platform == "win32", reason="needs git and a shell")
def test_an_entry_is_added_by_following_the_steps(tmp_path: Path) -> None:
    fork = tmp_path / "fork"
    for folder in ("sld", "leaderboard", "tasks"):
        shutil.copytree(ROOT / folder, fork / folder, ignore=shutil.ignore_patterns("nanolm"))
    binaries = tmp_path / "bin"
    binaries.mkdir()
    sld = binaries / "sld"
    sld.write_text(f'#!/bin/sh\nPYTHONPATH="{fork}" exec "{sys.executable}" -m sld "$@"\n', encoding="utf-8")
    sld.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
        **{f"GIT_{who}_{what}": "test@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }

    def run(script: str) -> str:
        words = ["sh", "-e", "-c", script]
        done = subprocess.run(words, cwd=fork, env=environment, capture_output=True, encoding="utf-8", timeout=200)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    run("git init -q . && git add -A && git commit -q -m before")
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
