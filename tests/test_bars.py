"""How large a function and a file may be: what one person reads at a time."""

from __future__ import annotations

from pathlib import Path

from statements import Size, read

ROOT = Path(__file__).resolve().parents[1]
FILES = [path for folder in ("sld", "tests", "bench") for path in sorted((ROOT / folder).rglob("*.py"))]
FUNCTION_LINES, FILE_LINES, PARAMETERS = 100, 600, 8

# the machine is one loop over problems, starts and steps, with its scratch arrays made once at the
# top: cut in parts, each part would be handed all of them
MACHINE = {ROOT / "sld" / "fit" / f"machine{room}.py" for room in ("", "_linear", "_tape")}
LONG = {(ROOT / "sld" / "fit" / "machine.py", "solve")}


def functions(path: Path) -> tuple[Size, ...]:
    return read(path.read_text(encoding="utf-8"))[0]


def test_no_function_is_longer_than_a_hundred_lines() -> None:
    found = [(path, f.name, f.lines) for path in FILES for f in functions(path)]
    assert [(path.name, name, n) for path, name, n in found if n > FUNCTION_LINES and (path, name) not in LONG] == []


def test_no_function_outside_the_commands_has_more_than_eight_parameters() -> None:
    """A command has a parameter for each of its options, and the machine one for each array (see `solve`)."""
    files = [path for path in FILES if ROOT / "sld" / "cli" not in path.parents and path not in MACHINE]
    found = [(path.name, f.name, f.parameters) for path in files for f in functions(path)]
    assert [said for said in found if said[2] > PARAMETERS] == []


def test_no_file_has_more_than_six_hundred_lines() -> None:
    lines = {path: path.read_text(encoding="utf-8").count("\n") for path in FILES}
    assert {path.name: n for path, n in lines.items() if n > FILE_LINES} == {}


def test_the_exceptions_are_still_there() -> None:
    assert all(any(f.parameters > PARAMETERS for f in functions(path)) for path in MACHINE)
    assert all(f.lines > FUNCTION_LINES for path, name in LONG for f in functions(path) if f.name == name)
