"""Imports go down only, and the search cannot name what it must not see."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "sld"
LAYERS = (
    "core",
    "chat",
    "formula",
    "data",
    "fit",
    "laws",
    "search",
    "analysis",
    "board",
    "api",
    "cli",
)  # each imports downwards
HEAVY = ("scipy", "sympy", "matplotlib", "pandas", "numba", "pyarrow", "openai", "huggingface_hub")
FILES = sorted(PACKAGE.rglob("*.py"))


def layer_of(module: str) -> str | None:
    """Return the layer of `sld.laws.law` or `sld.cli.output`; None for the package itself, which re-exports lazily."""
    parts = module.split(".")
    if len(parts) == 1:
        return None
    if parts[1] in ("__main__", "__init__") or parts[1].startswith("cli"):
        return "cli"
    return parts[1]


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 2 else parts)


def is_module(name: str) -> bool:
    return (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").exists()


def imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute here"
        assert node.module is not None
        if node.module == "sld":
            yield from (f"sld.{alias.name}" for alias in node.names if is_module(alias.name))
        else:
            yield node.module


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_imports_go_down_only(path: Path) -> None:
    own = layer_of(module_of(path))
    if own is None:
        return
    assert own in LAYERS, f"{path.name} is in no known layer"
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for module in imported(node):
            if module.split(".")[0] == "sld":
                other = layer_of(module)
                assert other is None or LAYERS.index(other) <= LAYERS.index(own), f"{own} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_heavy_modules_are_imported_where_they_are_needed(path: Path) -> None:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        for module in imported(node):
            # numba compiles its functions at import, so the modules that are numba's may name it
            allowed = ("numba",) if path.name in ("machine.py", "machine_cache.py") else ()
            assert module.split(".")[0] not in HEAVY or module.split(".")[0] in allowed, f"{path.name}: {module}"


@pytest.mark.parametrize("path", [p for p in FILES if p.parent.name in ("core", "search")], ids=module_of)
def test_the_search_cannot_name_held_out_rows(path: Path) -> None:
    if path.name not in ("task.py", "card.py"):
        assert not re.search(r"\bheld_out\b", path.read_text(encoding="utf-8"))


def test_a_table_has_no_way_back_to_its_task() -> None:
    from sld.data.table import Table

    assert not {"task", "path", "card", "held_out"} & set(Table.__dataclass_fields__)


@pytest.mark.parametrize(
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


@pytest.mark.parametrize("before", ["import sld.fit.fitter", "from sld.fit import fitter", "import sld; sld.fit"])
def test_sld_fit_is_the_verb_whatever_was_imported_before(before: str) -> None:
    code = f"{before}\nimport sld, sld.fit.tape\nfrom sld import fit\nassert sld.fit is fit is sld.api.fit, sld.fit"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PACKAGE.parent)
