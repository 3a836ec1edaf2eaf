"""What an installation carries: the wheel and the source archive, as the build back end makes them."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

import pytest
from packaging.metadata import Metadata

ROOT = Path(__file__).resolve().parents[1]
TASKS = sorted(card.parent.name for card in ROOT.glob("tasks/*/task.toml"))

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Build without a network: the back end is one of the development packages."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-t", "sdist", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("*.whl")), next(folder.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def in_wheel(archives: tuple[Path, Path]) -> set[str]:
    return set(zipfile.ZipFile(archives[0]).namelist())


@pytest.mark.parametrize("task", TASKS)
def test_wheel_carries_every_file_of_a_bundled_task(task: str, in_wheel: set[str]) -> None:
    files = {path.name for path in (ROOT / "tasks" / task).iterdir()}
    assert {"task.toml", "train.csv", "README.md"} <= files
    assert {PurePosixPath(n).name for n in in_wheel if n.startswith(f"sld/_tasks/{task}/")} == files


def test_wheel_carries_every_module_the_catalogue_and_the_licence(in_wheel: set[str]) -> None:
    sources = (path for path in (ROOT / "sld").rglob("*") if path.suffix in (".py", ".toml", ".typed", ".css", ".js"))
    assert {path.relative_to(ROOT).as_posix() for path in sources} <= in_wheel
    assert any(n.endswith(".dist-info/licenses/LICENSE") for n in in_wheel)


def test_wheel_carries_nothing_else(in_wheel: set[str]) -> None:
    tops = {n.split("/")[0] for n in in_wheel}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"sld"}
    assert {n.split("/")[2] for n in in_wheel if n.startswith("sld/_tasks/")} == set(TASKS)
    assert not [n for n in in_wheel if "__pycache__" in n]


def test_metadata_is_what_an_index_takes(archives: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(archives[0]) as wheel:
        (name,) = [n for n in wheel.namelist() if n.endswith(".dist-info/METADATA")]
        of_wheel = wheel.read(name)
        entries = wheel.read(name.replace("METADATA", "entry_points.txt")).decode()
    with tarfile.open(archives[1]) as archive:
        (name,) = [n for n in archive.getnames() if n.count("/") == 1 and n.endswith("/PKG-INFO")]
        file = archive.extractfile(name)
        assert file is not None
        of_source = file.read()
    # a field that is not as the specification wants it raises, as `twine check` would
    found, other = (Metadata.from_email(text, validate=True) for text in (of_wheel, of_source))
    assert (found.name, found.version) == (other.name, other.version)
    assert found.description_content_type == "text/markdown" and "# " in (found.description or "")
    assert found.license_files == ["LICENSE"] and found.requires_python is not None
    extras = set(found.provides_extra or ())
    assert {"all", "dask", "llm", "mcp", "parquet", "sklearn", "xlsx"} <= extras
    marked = {str(r.marker) for r in found.requires_dist or () if r.marker is not None}
    assert [extra for extra in sorted(extras) if not any(f'extra == "{extra}"' in m for m in marked)] == []
    assert "sld = sld.__main__:main" in entries  # what pipx and uvx run


def test_wheel_works_outside_the_checkout(archives: tuple[Path, Path], tmp_path: Path) -> None:
    with zipfile.ZipFile(archives[0]) as wheel:
        wheel.extractall(tmp_path / "site")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}

    def run(*arguments: str) -> str:
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, encoding="utf-8")
        return done.stdout

    assert Path(run("-c", "import sld; print(sld.__file__)").strip()).parents[1] == tmp_path / "site"
    listed = run("-m", "sld", "tasks")
    assert [task for task in TASKS if task not in listed] == []
    assert "chinchilla" in run("-m", "sld", "laws")
    assert "Farseer" in run("-m", "sld", "leaderboard", "nanolm_chinchilla", "--json")
    # a page is made with files that are no modules
    rows = tmp_path / "runs.csv"
    rows.write_text("N,loss\n" + "".join(f"{n},{1 + n**-0.3}\n" for n in range(1, 12)))
    run("-m", "sld", "discover", "runs.csv", "--target", "loss", "--scale", "N", "--budget", "30fits", "--out", "run")
    assert "written to run/report.html" in run("-m", "sld", "report", "run", "--html")


def test_source_archive_builds_and_tests_without_the_repository(archives: tuple[Path, Path]) -> None:
    with tarfile.open(archives[1]) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", ".ci/run"} <= names
    assert {"tasks/nanolm/build_tasks.py", "tasks/nanolm/measured/chinchilla.csv", "tests/test_packaging.py"} <= names
    assert not [n for n in names if n.startswith((".venv/", "sld-runs/", ".hypothesis/", ".git/"))]
