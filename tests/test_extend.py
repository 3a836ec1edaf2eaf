"""What docs/extend.md says of adding a part, followed to the letter in a copy of the package."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from many_cases import each

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "extend.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", PAGE, flags=re.DOTALL | re.MULTILINE))
BLOCK = re.compile(r'^( *)```(python|diff) title="(\S+)"\n(.*?)^ *```$', flags=re.DOTALL | re.MULTILINE)


def steps(section: str) -> list[tuple[str, str, str]]:
    """Return the blocks of a section: kind, file, text."""
    return [
        (kind, file, re.sub(rf"^{indent}", "", text, flags=re.MULTILINE))
        for indent, kind, file, text in BLOCK.findall(section)
    ]


def changed(text: str, diff: str) -> str:
    """Return a file's text after a block of changes: lines without + stand there once, those with - go."""
    lines = diff.splitlines(keepends=True)
    assert {line[0] for line in lines} <= set(" +-")
    before, after = ("".join(line[1:] for line in lines if line[0] != mark) for mark in "+-")
    made, n = re.subn(rf"^{re.escape(before)}", lambda _: after, text, flags=re.MULTILINE)
    assert n == 1, f"these lines stand in the file {n} times, not once:\n{before}"
    return made


@each("heading", SECTIONS)
def test_a_part_takes_two_files_and_a_test_at_most(heading: str) -> None:
    files = {file for _, file, _ in steps(SECTIONS[heading])}
    assert len([file for file in files if file.startswith("sld/")]) in (1, 2)
    assert len([file for file in files if file.startswith("tests/")]) == 1
    assert all(file.startswith(("sld/", "tests/")) for file in files)


@pytest.mark.slow  # some copies compile the fitting machine
@pytest.mark.parametrize("heading", SECTIONS)
def test_a_part_is_added_by_following_the_page(heading: str, tmp_path: Path) -> None:
    for folder in ("sld", "tasks"):  # with the compiled machine, which is good until its file is changed
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("nanolm"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "tests", tmp_path / "tests", ignore=shutil.ignore_patterns("test_*.py", "__pycache__"))
    for kind, file, text in steps(SECTIONS[heading]):
        path = tmp_path / file
        if kind == "diff":
            text = changed(path.read_text(encoding="utf-8"), text)
        else:
            assert not path.exists(), f"{file} is there already"
            path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "tests", "-o", "addopts="],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    ruff = shutil.which("ruff", path=Path(sys.executable).parent)
    if ruff is not None:
        new = [file for kind, file, _ in steps(SECTIONS[heading]) if kind == "python"]
        done = subprocess.run([ruff, "check", *new], cwd=tmp_path, capture_output=True, encoding="utf-8", check=False)
        assert done.returncode == 0, done.stdout


def test_lines_that_are_not_there_are_noticed() -> None:
    assert changed("a\nb\n", " a\n+c\n") == "a\nc\nb\n"
    assert changed("a\nb\n", "-b\n+c\n") == "a\nc\n"
    for diff in (" b\n+c\n", " a\n+c\n"):
        with pytest.raises(AssertionError, match="not once"):
            changed("a\na\n", diff)
