"""README, docs/, CONTRIBUTING and CHANGELOG stay true: what they name exists, and what exists is named."""

import ast
import io
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import typer.main
from hatchling.metadata.core import ProjectMetadata
from hatchling.plugin.manager import PluginManager
from many_cases import case, each
from prose import mean_length

import sld
from sld.__main__ import main
from sld.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
PAGES = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in (ROOT / "docs").rglob("*.md")}
DOCUMENTS = {"README.md": README, "CONTRIBUTING.md": CONTRIBUTING, **PAGES}
WRITTEN = {name: text for name, text in DOCUMENTS.items() if name not in ("CONTRIBUTING.md", "docs/changelog.md")}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
HEADINGS = [
    *("Install", "Two commands", "One table, one law", "What to do with a law", "In Python", "How good it is"),
    *("Where to go", "Citation", "Licence"),
]
MOST_LINES = 130  # of README, which a reader should read to the end
MOST_WORDS = 16  # of a sentence, on average


def blocks(text: str, language: str) -> list[str]:
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", text, flags=re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, block in found]


def runnable(text: str) -> list[str]:
    """Return the blocks of Python, but for those that want a cluster, or are an agent's own program."""
    return [block for block in blocks(text, "python") if not re.search("SLURMCluster|StdioServerParameters", block)]


def lines_of(text: str) -> list[str]:
    return [line for block in blocks(text, "bash") for line in block.splitlines() if line]


def commands(group: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every command with its words after `sld`, groups included."""
    group = group or typer.main.get_command(app)
    yield path, group
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*path, name))


COMMANDS = dict(commands())


def mentioned(text: str) -> list[str]:
    """Return the arguments of every `sld ...` in bash blocks, and in backquotes where the line is meant to be typed."""
    found = [part for line in lines_of(text) for part in line.split(" && ")]
    found += re.findall(r"`(sld [^`]+)`", re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE))
    written = (re.sub(r" > [\w./-]+$", "", part) for part in found)  # what goes into a file
    matches = (re.match(r"(?:\.venv/bin/)?sld (.+)", part) for part in written)
    return [match[1] for match in matches if match]


def check_arguments(words: list[str]) -> None:
    """Parse as the command line would, running nothing; raises what the command line would."""
    path = max((path for path in COMMANDS if tuple(words[: len(path)]) == path), key=len)
    assert path, f"there is no command 'sld {shlex.join(words)}'"
    COMMANDS[path].make_context(path[-1], words[len(path) :])


def test_commands_in_the_documents_parse() -> None:
    for arguments in dict.fromkeys(a for text in DOCUMENTS.values() for a in mentioned(text)):
        with case(arguments):
            words = shlex.split(arguments)
            if len(words) > 1:
                check_arguments(words)
            else:  # a sentence that only names the command
                assert tuple(words) in COMMANDS or words[0].startswith("--")


def test_every_command_is_in_readme_and_in_docs() -> None:
    for where, text in (("README", README), ("docs", "\n".join(PAGES.values()))):
        named = " ".join(mentioned(text)).split() + re.findall(r"`(\w+)`", text)
        assert [name for path in COMMANDS for name in path[:1] if name not in named] == [], where


@each("path", COMMANDS)
def test_help_shows_examples_that_parse(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*path, "--help"]) == 0
    text = capsys.readouterr().out
    assert "Examples:" in text
    examples = re.findall(r"^ +sld( .*)$", text.partition("Examples:")[2], flags=re.MULTILINE)
    assert examples
    for example in examples:
        words = shlex.split(example)
        assert tuple(words[: len(path)]) == path
        check_arguments(words)


def test_every_command_has_json() -> None:
    for path in filter(None, COMMANDS):
        with case(path):
            assert any("--json" in parameter.opts for parameter in COMMANDS[path].params)


def test_the_two_commands_set_up_everything_themselves() -> None:
    block = README.partition("## Two commands")[2].partition("\n## ")[0]
    first, second = lines_of(block)
    for line in (first, second):
        assert line.startswith("python3 -m venv .venv && .venv/bin/pip install ")
    assert first.endswith(".venv/bin/sld discover nanolm_chinchilla")
    assert second.endswith(".venv/bin/pytest")
    assert second in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


def test_readme_has_its_parts_in_order() -> None:
    assert re.findall(r"^## (.+)$", README, flags=re.MULTILINE) == HEADINGS


def test_readme_is_short() -> None:
    assert len(README.splitlines()) <= MOST_LINES


def test_sentences_are_short_on_average() -> None:
    for name in WRITTEN:
        with case(name):
            assert mean_length(WRITTEN[name]) <= MOST_WORDS


def test_long_sentences_would_be_seen() -> None:
    text = "One `a b` [two](x.md).\n\n```bash\nno word of this\n```\n\n- three four, five: six\n\n| not | this |\n"
    assert mean_length(text) == fmean([3, 4])
    assert mean_length("word " * 17 + ".") > MOST_WORDS


def test_readme_has_scores_and_real_output() -> None:
    for begin, end in (("scores", "scores"), ("output", "output")):
        assert re.search(rf"<!-- {begin}\b.*? -->\n(.+?)<!-- end of {end} -->", README, flags=re.DOTALL)


def test_every_output_is_there() -> None:
    for name, text in DOCUMENTS.items():
        shown = re.findall(r"<!-- output.*? -->\n```text\n(.*?)```\n<!-- end of output -->", text, flags=re.DOTALL)
        assert len(shown) == text.count("<!-- output") and all(shown), name


@pytest.mark.outputs  # another processor may round a search onto another law of the same worth
@pytest.mark.parametrize("script", ["outputs.py", "gallery.py"])
def test_output_and_gallery_are_what_the_commands_print_today(script: str) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / script, "--check"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_means_in_readme_are_those_of_the_bench() -> None:
    quality = (ROOT / "bench" / "quality.md").read_text(encoding="utf-8")
    heading = re.findall(r"^\| suite \| (.+) \|$", quality, flags=re.MULTILINE)[0].split(" | ")
    means = re.findall(r"^\| all \| (.+) \|$", quality, flags=re.MULTILINE)[0].split(" | ")
    mean = dict(zip(heading, means, strict=True))
    table = README.partition("<!-- scores")[2].partition("<!-- end of scores")[0]
    shown = re.findall(r"^\| .+ \| ([\d.]+) \|$", table, flags=re.MULTILINE)
    assert shown == [f"{float(mean[method]):.2f}" for method in ("sld", "published, refitted", "log-linear")]
    assert f"of {mean['tasks']} tables" in table


def test_scores_in_docs_are_those_of_the_leaderboard() -> None:
    from sld import api

    named = {t.name: t.rows for t in api.leaderboard().tasks}
    rows = re.findall(r"^\| `(\w+)` \| (\S+) \| (\S+) \| (\S+) \|$", PAGES["docs/leaderboard.md"], flags=re.MULTILINE)
    assert len(rows) == 7
    for name, *shown in rows:
        own = {r.name: r.r2 for r in named[name] if r.label == "as given"}
        published = max(r.r2 for r in named[name] if r.r2 is not None and not r.name.startswith("sld, "))
        short, longer = own["sld, 60 s"], own.get("sld, 10 min")
        wanted = [f"{x:.3f}".replace("-", "−") for x in (published, short, longer) if x is not None]
        # a longer search that ends at the same law adds no entry, and one that was not made has none
        assert wanted == shown or (longer is None and shown in ([*wanted, wanted[-1]], [*wanted, "-"]))


def test_the_catalogue_is_counted_in_one_place() -> None:
    laws = tomllib.loads((ROOT / "sld" / "laws" / "laws.toml").read_text(encoding="utf-8"))["law"]
    derived = sum(law["status"] == "derived" for law in laws)
    counts = (
        f"It has {len(laws)} forms: {len(laws) - derived} are printed in papers, and {derived} combine some of these"
    )
    assert counts in PAGES["docs/how-it-judges.md"]
    elsewhere = [
        name for name, text in DOCUMENTS.items() if re.search(r"\b\d{3} (?:published )?(?:laws|forms)\b", text)
    ]
    assert elsewhere == ["docs/how-it-judges.md"]


def test_tables_of_the_examples_are_what_their_script_makes() -> None:
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("make_tables", ROOT / "examples" / "make_tables.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    made = {name: module.written(rows) for name, rows in module.tables().items()}
    assert made == {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "examples").glob("*.csv")}


def test_every_room_of_the_house_is_named() -> None:
    table = CONTRIBUTING.partition("## Layout")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `sld/(\w+)/` \| (.+) \|$", table, flags=re.MULTILINE))
    folders = {path.parent.relative_to(ROOT / "sld") for path in (ROOT / "sld").glob("*/**/__init__.py")}
    assert set(rows) == {folder.parts[0] for folder in folders}
    inner = {folder.parts for folder in folders if len(folder.parts) == 2}
    assert [room for room in inner if f"`{room[1]}/`" not in rows[room[0]]] == []


def test_files_named_in_the_documents_exist() -> None:
    for name in (*DOCUMENTS, "CHANGELOG.md"):
        with case(name):
            text = {**DOCUMENTS, "CHANGELOG.md": CHANGELOG}[name]
            named = re.findall(r"`((?:sld|tests|bench|tasks|examples|docs|leaderboard|\.ci)/[\w./]+)`", text)
            named += re.findall(r"python ((?:bench|docs|examples)/[\w./]+\.py)", text)
            new = re.findall(r"^ *```python title=\"(\S+)\"$", text, flags=re.MULTILINE)  # what the reader is to write
            made_up = {"tasks/NAME", *new, *(f"{Path(path).parent.as_posix()}/" for path in new)}
            assert [path for path in named if path not in made_up and not (ROOT / path).exists()] == []
            links = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if ":" not in link]
            assert [link for link in links if not ((ROOT / name).parent / link).exists()] == []


def test_links_lead_to_headings_that_exist() -> None:
    for name in DOCUMENTS:
        with case(name):
            for page, heading in re.findall(r"\]\(([\w./-]*\.md)?#([\w-]+)\)", DOCUMENTS[name]):
                target = ((ROOT / name).parent / page).resolve() if page else ROOT / name
                headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), flags=re.MULTILINE)
                assert heading in [re.sub(r"[^\w -]", "", h).strip().lower().replace(" ", "-") for h in headings]


def test_every_page_of_docs_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    assert sorted(re.findall(r": (\S+\.md)$", navigation, flags=re.MULTILINE)) == sorted(n[5:] for n in PAGES)


def test_every_public_name_is_in_the_reference() -> None:
    described = re.findall(r"^::: sld\.(?:api\.)?(\w+)$", PAGES["docs/reference.md"], flags=re.MULTILINE)
    assert sorted(described) == sorted(sld.__all__)


@each("name", [name for name in DOCUMENTS if blocks(DOCUMENTS[name], "python")])
def test_python_in_the_documents_uses_public_names(name: str) -> None:
    for block in blocks(DOCUMENTS[name], "python"):
        used = [node for node in ast.walk(ast.parse(block)) if isinstance(node, ast.Attribute)]
        names = [node.attr for node in used if isinstance(node.value, ast.Name) and node.value.id == "sld"]
        assert names and set(names) <= set(sld.__all__)
    assert set(re.findall(r"`sld\.(\w+)", README + CHANGELOG)) <= {*sld.__all__}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sld.SldWarning")  # pages ask about runs beyond what a law supports
@pytest.mark.parametrize("name", [name for name in DOCUMENTS if runnable(DOCUMENTS[name])])
def test_python_in_the_documents_runs(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for part in ("examples", "tasks"):
        (tmp_path / part).symlink_to(ROOT / part)
    monkeypatch.chdir(tmp_path)  # what is written stays out of the checkout
    monkeypatch.setattr("sys.stderr", io.StringIO())
    names: dict[str, Any] = {}
    for block in runnable(DOCUMENTS[name]):
        if "ScalingLawRegressor" in block and find_spec("sklearn") is None:
            continue  # the rest of the page needs no extra
        exec(compile(block, name, "exec"), names)
    assert capsys.readouterr().out


def test_version_is_the_same_everywhere() -> None:
    version = ProjectMetadata(str(ROOT), PluginManager()).version  # what a build would be called
    assert sld.__version__ == version
    assert re.findall(r"^## (.+)$", CHANGELOG, flags=re.MULTILINE)[0].split()[0] == version
    assert f"version {version}" in README


@pytest.mark.parametrize("extra", ["parquet", "dev"])
def test_extras_named_in_the_documents_exist(extra: str) -> None:
    assert extra in PROJECT["optional-dependencies"]
    named = re.findall(r"install[^\n]*'\.\[(\w+)\]'", "".join(DOCUMENTS.values()))
    assert extra in named and set(named) <= set(PROJECT["optional-dependencies"])


def test_checks_of_the_documents_are_those_of_ci() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    for tool in ("ruff check", "ruff format", "typos", "mypy"):
        assert tool in script and f"entry: {tool}" in hooks and f"`{tool}" in CONTRIBUTING
