"""What strangers see first says the same as the project itself: citation, safety, workflows, groups of dependencies."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from many_cases import each

import sld
from sld.board.programs import sandbox

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
GITHUB = ROOT / ".github"


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_citation_is_of_this_version_and_licence() -> None:
    said = dict(re.findall(r"^(\w[\w-]*): (.+)$", text_of("CITATION.cff"), flags=re.MULTILINE))
    assert said["version"] == sld.__version__ and said["license"] == PROJECT["license"]
    assert [a["name"] for a in PROJECT["authors"]] == re.findall(r"- name: (.+)", text_of("CITATION.cff"))


def test_development_is_installed_alike_as_a_group_and_as_an_extra() -> None:
    groups = PYPROJECT["dependency-groups"]
    named = [item["include-group"] for item in groups["dev"]]
    assert sorted(p for name in named for p in groups[name]) == sorted(PROJECT["optional-dependencies"]["dev"])


def test_every_supported_python_and_system_is_tried() -> None:
    checks = text_of(".github/workflows/checks.yml")
    (versions,) = re.findall(r"^ +python: \[(.+)\]$", checks, flags=re.MULTILINE)
    tried = re.findall(r"\d+\.\d+", versions)
    known = [c.rpartition(" ")[2] for c in PROJECT["classifiers"] if re.search(r"Python :: 3\.", c)]
    assert tried == known and PROJECT["requires-python"] == f">={tried[0]}"
    assert "system: [ubuntu-latest, macos-latest, windows-latest]" in checks
    assert "- run: .ci/run" in checks


@each("path", sorted(GITHUB.rglob("*.yml")))
def test_workflows_write_nothing_and_keep_no_token(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if path.parent.name != "workflows":
        assert "secrets" not in text
        return
    assert re.search(r"^permissions:\n  contents: read$", text, flags=re.MULTILINE)
    assert "secrets." not in text and "password" not in text
    assert set(re.findall(r"^ +([\w-]+): write$", text, flags=re.MULTILINE)) <= {"id-token"}
    # a checkout that kept its credentials would leave them to every program that the tests start
    assert text.count("actions/checkout@") == text.count("persist-credentials: false")


def test_what_is_promised_of_programs_is_what_the_sandbox_says() -> None:
    said = " ".join(text_of("SECURITY.md").split())
    promised, _, excepted = (sandbox.__doc__ or "").partition("What is not protected:")
    for word in ("Landlock", "bubblewrap", "seccomp", "no task", "held-out rows", "home folder"):
        assert word in promised and word in said
    for word in ("kernel", "timing", "how large a file is", "cores busy", "held-out values included"):
        assert word in " ".join(excepted.split()) and word in said.partition("## What is not promised")[2]


@pytest.mark.parametrize("name", ["SECURITY.md", "CODE_OF_CONDUCT.md", ".github/PULL_REQUEST_TEMPLATE.md"])
def test_files_that_are_named_exist(name: str) -> None:
    named = re.findall(r"`((?:\.ci|sld|tests)/[\w./*-]+|[A-Z]+\.md)`", text_of(name))
    assert named and [path for path in named if not list(ROOT.glob(path))] == []
