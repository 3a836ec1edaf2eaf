"""Imports go down only, no two files import each other, and the search cannot name what it must not see."""

import functools
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from many_cases import each
from statements import read

PACKAGE = Path(__file__).resolve().parents[1] / "sld"
# each imports downwards; `sld/__init__.py` gives the names of what lies below it to who writes `import sld`
FLOORS = ("core", "chat", "formula", "data", "fit", "laws", "search", "analysis", "board", "api", "mcp", "sld", "cli")
ROOMS = {
    "search": ("candidates", "screening", "judging", "proposing", "choosing", "llm", "search")
}  # its own files last
HEAVY = ("scipy", "sympy", "matplotlib", "pandas", "llvmlite", "pyarrow", "openai", "huggingface_hub")
FILES = sorted(PACKAGE.rglob("*.py"))

Sources = Mapping[str, str]  # the text of each module, by its name; a package has the name of its folder
Imports = Mapping[str, frozenset[str]]  # what each module imports, of the same package


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources() -> Sources:
    return {module_of(path): path.read_text(encoding="utf-8") for path in FILES}


@functools.cache
def imports() -> Imports:
    return imports_of(sources())


def imports_of(sources: Sources) -> Imports:
    """Return every import wherever it stands: at the top, inside a function, under TYPE_CHECKING."""
    found = {}
    for name, text in sources.items():
        pairs = read(text)[1]
        named = (f"{module}.{what}" if f"{module}.{what}" in sources else module for module, what, _ in pairs)
        found[name] = frozenset(module for module in named if module.split(".")[0] == "sld") - {name}
        assert found[name] <= set(sources), f"{name} imports a module that is not there"
    return found


def place_of(module: str) -> tuple[int, int]:
    """Return the floor of a module and its room on it, counted from below."""
    top, *parts = module.split(".")
    if not parts:
        return FLOORS.index(top), 0
    if parts == ["__main__"]:
        return FLOORS.index("cli"), 0
    floor, *inner = parts
    assert floor in FLOORS, f"{module} is on no known floor"
    if floor not in ROOMS:
        return FLOORS.index(floor), 0
    rooms = ROOMS[floor]
    return FLOORS.index(floor), rooms.index(inner[0]) if inner and inner[0] in rooms else len(rooms) - 1


def upward(imports: Imports) -> list[str]:
    """Return the imports that go up, to another floor or to another room of the same floor."""
    pairs = [(name, other) for name, others in sorted(imports.items()) for other in sorted(others)]
    return [f"{name} imports {other}" for name, other in pairs if place_of(other) > place_of(name)]


def circles(imports: Imports) -> list[list[str]]:
    """Return the modules that reach each other, by the circle that they are in."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        left = [start]
        while left:
            new = imports[left.pop()] - seen
            seen |= new
            left += new
        return seen

    reach = {name: reached(name) for name in imports}
    found = {frozenset(m for m in reach[name] if name in reach[m]) for name in imports if name in reach[name]}
    return sorted(sorted(circle) for circle in found)


def test_imports_go_down_only() -> None:
    assert upward(imports()) == []


def test_no_files_import_each_other() -> None:
    assert circles(imports()) == []


@each("room", [p for p in PACKAGE.glob("*/*/") if p.name != "__pycache__"])
def test_every_room_of_a_floor_that_has_an_order_is_in_it(room: Path) -> None:
    if room.parent.name in ROOMS:
        assert room.name in ROOMS[room.parent.name]


TYPES = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    {}"
INSIDE = "def f():\n    {}"
UP = {
    "sld.core.files": "from sld.formula import tree",
    "sld.formula.tree": "import sld.board.site.html",
    "sld.data.table": "from sld import api",
    "sld.laws.law": "from sld import __version__",
    "sld.search.judging.judge": "from sld.search.proposing.evolution import breed",
    "sld.search.choosing.finishing": "from sld.search.llm import proposer",
    "sld.search.llm.proposer": "from sld.search.loop import Search",
    "sld.board.site.html": "from sld.cli.show import table",
}
MADE_UP = {
    module: ""
    for named in (*UP, "sld", "sld.api", "sld.cli", "sld.search.proposing.evolution", "sld.search.loop", "sld.cli.show")
    for module in (named, *(named.rsplit(".", n)[0] for n in range(1, named.count(".") + 1)))
}


@each("frame", ["{}", TYPES, INSIDE])
@each("module", UP)
def test_an_upward_import_is_found_wherever_it_stands(module: str, frame: str) -> None:
    made_up = MADE_UP | {module: frame.format(UP[module])}
    assert [said.split()[0] for said in upward(imports_of(made_up))] == [module]
    assert upward(imports_of(MADE_UP)) == []


@pytest.mark.parametrize("frame", ["{}", TYPES, INSIDE], ids=["at the top", "for types", "inside a function"])
def test_a_circle_is_found_wherever_its_imports_stand(frame: str) -> None:
    made_up = {
        "sld.fit.a": "from sld.fit import b",
        "sld.fit.b": "import sld.fit.c",
        "sld.fit.c": frame.format("from sld.fit.a import name"),
        "sld.fit.d": "from sld.fit import a, b, c",
        "sld.fit": "",
    }
    assert circles(imports_of(made_up)) == [["sld.fit.a", "sld.fit.b", "sld.fit.c"]]
    assert circles(imports_of(made_up | {"sld.fit.c": ""})) == []


def test_heavy_modules_are_imported_where_they_are_needed() -> None:
    # what compiles the machine is imported with it, at the first fit
    allowed = {("sld.fit.native", "llvmlite")}
    at_the_top = {
        (name, module.split(".")[0])
        for name, text in sources().items()
        for module, _, at_the_top in read(text)[1]
        if at_the_top
    }
    assert {(name, module) for name, module in at_the_top if module in HEAVY} == allowed


def test_the_search_cannot_name_held_out_rows() -> None:
    """Nothing from the search down does, at any level of folders, but a task and its card."""
    below = {n: text for n, text in sources().items() if place_of(n)[0] <= FLOORS.index("search")}
    named = {name for name, text in below.items() if re.search(r"\bheld_out\b", text)}
    assert named == {"sld.data.task", "sld.data.card"}


def test_a_table_has_no_way_back_to_its_task() -> None:
    from sld.data.table import Table

    assert not {"task", "path", "card", "held_out"} & set(Table.__dataclass_fields__)


@each(
    ("statement", "absent"),
    [
        ("import sld", ("numpy", "typer", "sld.api")),
        ("import sld.cli.app", ("numpy", "rich", *HEAVY)),
        ("import sld; sld.load_task", HEAVY),
        ("from sld import api; api.task_list()", ("numpy", *HEAVY)),
        ("from sld.board.suites.fetch import load_suite; load_suite('sldbench')", ("numpy", *HEAVY)),
    ],
)
def test_an_import_does_not_bring_what_it_does_not_need(statement: str, absent: tuple[str, ...]) -> None:
    code = f"{statement}\nimport sys\nprint(*(m for m in {absent!r} if m in sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert run.stdout.strip() == ""
