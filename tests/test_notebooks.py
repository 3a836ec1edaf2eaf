"""The notebooks of examples/: text in the percent format, whole, and each runs as it stands."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import sld

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = [path for path in sorted((ROOT / "examples").glob("*.py")) if "# %%" in path.read_text(encoding="utf-8")]
NAMES = [path.stem for path in NOTEBOOKS]
# from a widget to a bar of text, nothing may be left on stderr but a warning of the law's
ALLOWED = re.compile(r"SldWarning|sld\.predict|^\s+\w+ = sld\.|^$")


def test_there_are_notebooks() -> None:
    assert {"first_law", "learning_rate_at_scale"} <= set(NAMES)
    guide = (ROOT / "docs" / "guides" / "notebooks.md").read_text(encoding="utf-8")
    assert [name for name in NAMES if f"`examples/{name}.py`" not in guide] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_a_notebook_is_cells_of_code_between_cells_of_text(path: Path) -> None:
    head, *cells = re.split(r"^# %%", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert "format_name: percent" in head and cells[0].startswith(" [markdown]\n# # ")
    for cell in cells:
        kind, _, body = cell.partition("\n")
        if kind.strip() == "[markdown]":
            assert all(line.startswith("#") for line in body.splitlines() if line), body
        else:
            ast.parse(body)
            assert len(body.splitlines()) < 30, "a cell that is read at a glance"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_a_notebook_uses_public_names(path: Path) -> None:
    used = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Attribute)]
    names = {node.attr for node in used if isinstance(node.value, ast.Name) and node.value.id == "sld"}
    assert names and names <= set(sld.__all__)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_a_notebook_runs_and_draws(path: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"}
    done = subprocess.run(
        [sys.executable, path], cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8", timeout=200
    )
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if not ALLOWED.search(line)] == []
    pictures = list(tmp_path.glob("*.png"))
    assert pictures and all(picture.stat().st_size > 8000 for picture in pictures)
    assert done.stdout.strip()
