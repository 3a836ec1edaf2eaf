"""Run the commands whose output README and docs show, and write what they print: `python docs/outputs.py [FILE ...]`.

A block of output stands between `<!-- output: COMMAND -->` and `<!-- end of output -->`. With `<!-- output (PATTERN):
COMMAND -->` only the lines show in which the regular expression is found. The commands of one page run in a folder of
their own, in order, beside `examples/` and `tasks/`. Budgets are in fits, so that the same law comes out again.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(
    r"^<!-- output(?: \((?P<lines>.+?)\))?: (?P<command>.+?) -->\n```text\n(?P<shown>.*?)```\n<!-- end of output -->$",
    flags=re.DOTALL | re.MULTILINE,
)
SECONDS = re.compile(r"(?<=tried in )\d+ s")  # the machine's business
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")


def pages() -> list[Path]:
    """Return the documents that show output."""
    documents = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [path for path in documents if BLOCK.search(path.read_text(encoding="utf-8"))]


def printed(command: str, folder: Path) -> str:
    """Return what a command writes to stdout, without spaces at the ends of lines."""
    words = shlex.split(command)
    assert words[0] == "sld", command
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, env=environment, capture_output=True, encoding="utf-8", check=False
    )
    if done.returncode:
        raise SystemExit(f"{command}: exit code {done.returncode}\n{done.stderr}")
    return "\n".join(line.rstrip() for line in done.stdout.strip("\n").splitlines()) + "\n"


def renewed(path: Path) -> str:
    """Return a page with the output of its commands as they print it today."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("examples", "tasks"):
            (folder / part).symlink_to(ROOT / part)
        outputs: dict[str, str] = {}

        def replaced(found: re.Match[str]) -> str:
            command, lines = found["command"], found["lines"]
            if command not in outputs:
                outputs[command] = printed(command, folder)
            shown = outputs[command]
            if lines:
                shown = "".join(f"{line}\n" for line in shown.splitlines() if re.search(lines, line))
            return found[0][: found.start("shown") - found.start()] + shown + "```\n<!-- end of output -->"

        return BLOCK.sub(replaced, path.read_text(encoding="utf-8"))


def differences(old: str, new: str) -> list[str]:
    """Return the lines that differ by more than the last digits of a number, which depend on the machine."""
    pairs = zip(old.splitlines(), new.splitlines(), strict=False)
    found = [f"- {a}\n+ {b}" for a, b in pairs if not _same(SECONDS.sub("# s", a), SECONDS.sub("# s", b))]
    return found if old.count("\n") == new.count("\n") else [*found, "another number of lines"]


def _same(one: str, other: str) -> bool:
    if NUMBER.sub("#", one).split() != NUMBER.sub("#", other).split():
        return False
    pairs = zip(map(float, NUMBER.findall(one)), map(float, NUMBER.findall(other)), strict=True)
    return all(abs(a - b) <= 0.02 * max(abs(a), abs(b)) for a, b in pairs)


def main() -> int:
    """Write the pages, or with --check say what would change in them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="*", type=Path)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if a page would change")
    arguments = parser.parse_args()
    status = 0
    for path in map(Path.resolve, arguments.file or pages()):
        old, new = path.read_text(encoding="utf-8"), renewed(path)
        if not arguments.check:
            path.write_text(new, encoding="utf-8")
        elif changed := differences(old, new):
            print(f"{path.relative_to(ROOT)} is out of date (python docs/outputs.py):", *changed, sep="\n")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
