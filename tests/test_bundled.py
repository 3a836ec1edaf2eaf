"""Tasks by name: bundled ones first, then those of folders that were added."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import sld
from sld import api
from sld.core.errors import UsageError
from sld.data import bundled
from sld.data.bundled import add_tasks_root, bundled_tasks, named_tasks, remove_tasks_root, task_roots, tasks_root
from sld.data.task import load_task

CARD = """
name = "{name}"
[[variable]]
column = "N"
[[target]]
column = "loss"
"""


def write_task(root: Path, name: str) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "task.toml").write_text(CARD.format(name=name))
    (folder / "train.csv").write_text("N,loss\n1,3\n2,2\n4,1.5\n")
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    add_tasks_root(tmp_path)
    yield tmp_path
    remove_tasks_root(tmp_path)


def test_a_task_in_an_added_folder_goes_by_its_name(root: Path) -> None:
    folder = write_task(root, "mine")
    assert load_task("mine").path == folder
    assert named_tasks()["mine"] == folder and "mine" not in bundled_tasks()
    listed = {t["name"]: t for t in api.task_list()}
    assert (listed["mine"]["origin"], listed["mine"]["n_rows"]) == ("added", 3)
    (folder / bundled.ORIGIN_FILE).write_text("{}")
    assert {t["name"]: t["origin"] for t in api.task_list()}["mine"] == "fetched"


def test_a_bundled_task_keeps_its_name(root: Path) -> None:
    name = bundled_tasks()[0]
    write_task(root, name)
    assert load_task(name).path == tasks_root() / name
    assert list(named_tasks()) == list(bundled_tasks())


def test_earlier_folders_come_first(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    later = tmp_path_factory.mktemp("later")
    add_tasks_root(later)
    try:
        first = write_task(root, "mine")
        write_task(later, "mine")
        assert named_tasks()["mine"] == first
        assert task_roots() == (tasks_root(), root, later)
    finally:
        remove_tasks_root(later)


def test_adding_twice_is_adding_once_and_removing_forgets(tmp_path: Path) -> None:
    before = task_roots()
    sld.add_tasks_root(tmp_path)
    sld.add_tasks_root(str(tmp_path))
    assert task_roots() == (*before, tmp_path)
    remove_tasks_root(tmp_path)
    remove_tasks_root(tmp_path)
    assert task_roots() == before


def test_a_folder_that_is_not_there_or_not_readable_has_no_tasks(root: Path) -> None:
    write_task(root / "closed", "mine")
    absent = root / "nowhere"
    for folder in (absent, root / "closed"):
        add_tasks_root(folder)
    os.chmod(root / "closed", 0)
    try:
        assert set(named_tasks()) >= set(bundled_tasks())
    finally:
        os.chmod(root / "closed", 0o700)
        for folder in (absent, root / "closed"):
            remove_tasks_root(folder)


def test_a_folder_that_is_being_written_is_no_task(root: Path) -> None:
    write_task(root, ".mine.123.tmp")
    assert list(named_tasks()) == list(bundled_tasks())


def test_a_broken_card_does_not_hide_the_others(root: Path) -> None:
    folder = write_task(root, "broken")
    (folder / "task.toml").write_text("name = ")
    write_task(root, "mine")
    listed = {t["name"]: t for t in api.task_list()}
    assert "not valid TOML" in listed["broken"]["problem"] and "problem" not in listed["mine"]
    assert set(listed) == {*bundled_tasks(), "broken", "mine"}


def test_a_task_of_a_suite_not_fetched_says_how_to_get_it(root: Path) -> None:
    with pytest.raises(UsageError, match="no task 'sldbench_sft'; `sld tasks fetch sldbench` downloads"):
        load_task("sldbench_sft")
    write_task(root, "sldbench_parallel")
    for name in ("parallel", "sldbench/parallel", "Parallel", "sldbench_paralel"):
        with pytest.raises(UsageError, match=f"no task '{name}'; did you mean 'sldbench_parallel'"):
            load_task(name)
    with pytest.raises(UsageError, match="no file or task folder 'other/parallel'"):
        load_task("other/parallel")
