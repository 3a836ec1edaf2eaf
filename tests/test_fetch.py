"""Fetching the benchmark: what is written, what is left alone, copies on disk, full disks.

The hub, the files of a split and the command have test files of their own: test_hub, test_shards, test_fetch_command.
"""

import errno
import hashlib
import io
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fetching import (
    CONFIGS,
    COUNTS,
    NAMES,
    SPLITS,
    SUITE,
    Get,
    content,
    dataset,
    file_of,
    folders,
    pa,
    parquet,
    refused,
    rows_of,
)
from hub_server import DATASET, Hub

from sld.board.suites.fetch import Origin, fetch, suites
from sld.core.errors import SldError, UsageError
from sld.data.bundled import add_tasks_root, remove_tasks_root
from sld.data.card import Card
from sld.data.task import check_task, load_task

REAL_ROWS = Path(__file__).resolve().parents[2] / "shared" / "data" / "sldbench-train"

# what is written


def test_the_cards_are_those_of_the_benchmark() -> None:
    assert suites() == ("sldbench",)
    assert {t.card.name: (t.train_rows, t.test_rows, t.card.max_constants) for t in SUITE.tasks} == COUNTS
    for task in SUITE.tasks:
        card = task.card
        assert task.config == f"{card.name.removeprefix('sldbench_')}_scaling_law"
        assert card.licence and card.provenance and card.extrapolation and card.notes and card.laws
        assert "parquet" not in card.to_toml() and Card.from_dict(card.to_dict()) == card


@pytest.mark.slow
def test_every_task_is_written_whole(get: Get, tmp_path: Path) -> None:
    done = get()
    assert [(t.name, t.n_rows, t.n_held_out_rows) for t in done] == [(n, *COUNTS[n][:2]) for n in NAMES]
    assert {t.state for t in done} == {"fetched"}
    assert folders(tmp_path / "tasks") == sorted(NAMES)
    for task, fetched in zip(SUITE.tasks, done, strict=True):
        loaded = load_task(fetched.path)
        held_out = loaded.held_out()
        assert loaded.card == task.card and held_out is not None
        assert (loaded.train.n_rows, held_out.n_rows) == COUNTS[fetched.name][:2]
        assert check_task(fetched.path) == []


@pytest.mark.slow
def test_numbers_keep_every_digit(get: Get) -> None:
    for task, fetched in zip(SUITE.tasks, get(), strict=True):
        table = load_task(fetched.path).train
        for column in [*(v.column for v in task.card.variables), *(t.column for t in task.card.targets)]:
            np.testing.assert_array_equal(table.column(column), rows_of(task.config, "train")[column])


def test_the_origin_is_written_beside_the_rows(get: Get, hub: Hub) -> None:
    commit = hub.commit("main")
    for task, fetched in zip(SUITE.tasks, get(), strict=True):
        text = (fetched.path / "README.md").read_text()
        assert fetched.revision == commit and commit in text and DATASET in text
        for split in SPLITS:
            digest = hashlib.sha256(file_of(task.config, split)).hexdigest()
            assert f"{task.config}/{split}-00000-of-00001.parquet" in text and digest in text
        for note in (*task.card.notes, task.card.licence, task.card.extrapolation):
            assert note in text


# what is fetched already


@pytest.mark.slow
def test_what_is_there_is_left_alone(get: Get, hub: Hub, tmp_path: Path) -> None:
    get()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "tasks").rglob("*")}
    hub.requests.clear()
    assert {t.state for t in get()} == {"unchanged"}
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "tasks").rglob("*")} == before
    assert hub.asked("GET", "/resolve/") == hub.asked("HEAD", "/resolve/") == []


@pytest.mark.slow
def test_a_new_commit_with_the_same_files_changes_nothing(get: Get, hub: Hub) -> None:
    get()
    hub.branches["main"]["README.md"] = b"a better one"
    assert {t.state for t in get()} == {"unchanged"}


@pytest.mark.slow
def test_a_new_commit_with_other_rows_is_written(get: Get, hub: Hub) -> None:
    get()
    rows = {name: values[::-1] for name, values in rows_of("sft_scaling_law", "test").items()}
    hub.branches["main"]["sft_scaling_law/test-00000-of-00001.parquet"] = parquet(rows)
    assert [t.name for t in get() if t.state == "fetched"] == ["sldbench_sft"]


@pytest.mark.slow
@pytest.mark.parametrize("file", ["task.toml", "train.csv", "held_out.csv", "README.md", "origin.json"])
def test_a_file_that_was_changed_or_lost_is_repaired(get: Get, tmp_path: Path, file: str) -> None:
    get()
    folder = tmp_path / "tasks" / "sldbench_moe"
    whole = content(folder)
    (folder / file).write_text("{}")
    assert [t.name for t in get() if t.state == "fetched"] == ["sldbench_moe"]
    assert content(folder) == whole
    if file != "origin.json":  # without it nobody knows whose folder it is
        (folder / file).unlink()
        get()
        assert content(folder) == whole


@pytest.mark.slow
def test_a_pinned_commit_that_is_there_needs_no_network(get: Get, hub: Hub) -> None:
    get()
    hub.requests.clear()
    assert {t.state for t in get(revision=hub.commit("main"))} == {"unchanged"}
    assert hub.requests == []


@pytest.mark.slow
def test_force_writes_everything_anew(get: Get, tmp_path: Path) -> None:
    get()
    (tmp_path / "tasks" / "sldbench_sft" / "mine.txt").write_text("a note")
    assert {t.state for t in get(force=True)} == {"fetched"}
    assert "mine.txt" not in folders(tmp_path / "tasks" / "sldbench_sft")


@pytest.mark.parametrize("with_origin", [True, False])
def test_somebody_elses_files_are_not_overwritten(get: Get, tmp_path: Path, with_origin: bool) -> None:
    folder = tmp_path / "tasks" / "sldbench_sft"
    if with_origin:
        get()
    else:
        folder.mkdir(parents=True)
    (folder / "mine.txt").write_text("a note")
    error = refused(get)
    assert isinstance(error, UsageError) and "--force" in str(error) and str(folder) in str(error)
    assert (folder / "mine.txt").read_text() == "a note"


@pytest.mark.slow
def test_a_download_that_broke_off_resumes(get: Get, hub: Hub, tmp_path: Path) -> None:
    path = "domain_mixture_scaling_law/test-00000-of-00001.parquet"
    hub.cut.add(path)
    error = refused(get)
    assert error.exit_code == 1 and "3 of 8 tasks are in" in str(error) and "goes on from there" in str(error)
    assert folders(tmp_path / "tasks") == sorted(NAMES[:3])
    hub.cut.clear()
    hub.requests.clear()
    assert [t.state for t in get()] == ["unchanged"] * 3 + ["fetched"] * 5
    assert not [p for p in hub.asked("HEAD", "/resolve/") if any(t.config in p for t in SUITE.tasks[:3])]
    assert len(hub.asked("GET", "/storage/")) == 9  # the training rows of the fourth were in the cache


@pytest.mark.slow
def test_what_a_killed_process_left_is_swept_up(get: Get, tmp_path: Path) -> None:
    root = tmp_path / "tasks"
    for name, age in ((".sldbench_sft.123.tmp", 7200), (".sldbench_sft.124.tmp", 0), (".sldbench_moe.123.old", 7200)):
        (root / name).mkdir(parents=True)
        os.utime(root / name, (time.time() - age,) * 2)
    get()
    assert folders(root) == [".sldbench_sft.124.tmp", *sorted(NAMES)]  # a young one may be of a process at work


# the disk


def test_a_full_disk_is_said_and_leaves_nothing(get: Get, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    error = refused(get)
    assert error.exit_code == 1 and "is full" in str(error)
    assert folders(tmp_path / "tasks") == []


@pytest.mark.parametrize("option", ["to", "cache"])
def test_a_folder_that_cannot_be_made_is_misuse(get: Get, tmp_path: Path, option: str) -> None:
    (tmp_path / "file").write_text("")
    error = refused(get, **{option: tmp_path / "file" / "below"})
    assert error.exit_code == 2 and ("--to" in str(error) or "HF_HOME" in str(error))


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_without_permission_is_misuse(get: Get, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    assert refused(get, to=tmp_path / "closed" / "tasks").exit_code == 2


@pytest.mark.slow
def test_an_old_task_survives_a_move_that_fails(get: Get, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    get()
    before = content(tmp_path / "tasks" / "sldbench_parallel")
    rename = os.rename

    def fails(old: Path, new: Path) -> None:
        if str(old).endswith(".tmp"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        rename(old, new)

    monkeypatch.setattr("os.rename", fails)
    (tmp_path / "tasks" / "sldbench_parallel" / "train.csv").write_text("")
    assert "could not write" in str(refused(get))
    assert set(content(tmp_path / "tasks" / "sldbench_parallel")) == set(before)
    assert folders(tmp_path / "tasks") == sorted(NAMES)


# folders


def copy_of(root: Path, files: Mapping[str, bytes]) -> Path:
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    return root


def csv_text(rows: Mapping[str, Any]) -> bytes:
    import pandas as pd

    return pd.DataFrame(rows).to_csv(index=False).encode()


def arrow(rows: Mapping[str, Any], new: Callable[..., Any] = pa.ipc.new_stream) -> bytes:
    buffer = io.BytesIO()
    table = pa.table(dict(rows))
    with new(buffer, table.schema) as writer:
        writer.write_table(table)
    return buffer.getvalue()


def arrow_file(rows: Mapping[str, Any]) -> bytes:
    return arrow(rows, pa.ipc.new_file)


@pytest.mark.parametrize(
    ("layout", "form"),
    [
        ("{config}/{split}-00000-of-00001.parquet", parquet),
        ("{short}/{split}.csv", csv_text),
        pytest.param("sldbench_{short}/{split}.csv", csv_text, marks=pytest.mark.slow),
        ("{config}/{split}/data-00000-of-00001.arrow", arrow),
        pytest.param("data/{config}/{split}/data-00000-of-00001.arrow", arrow_file, marks=pytest.mark.slow),
    ],
)
def test_a_copy_on_disk_gives_the_same_tasks(
    tmp_path: Path, layout: str, form: Callable[[Mapping[str, Any]], bytes]
) -> None:
    files = {}
    for config in CONFIGS:
        for split in SPLITS:
            rows = rows_of(config, split)
            files[layout.format(config=config, short=config.removesuffix("_scaling_law"), split=split)] = form(rows)
    copy = copy_of(tmp_path / "copy", files)
    done = fetch("sldbench", to=tmp_path / "tasks", origin=Origin(folder=copy))
    assert [(t.name, t.n_rows, t.n_held_out_rows) for t in done] == [(n, *COUNTS[n][:2]) for n in NAMES]
    for task, fetched in zip(SUITE.tasks, done, strict=True):
        target = task.card.targets[0].column
        np.testing.assert_array_equal(
            load_task(fetched.path).train.column(target), rows_of(task.config, "train")[target]
        )
    assert {t.state for t in fetch("sldbench", to=tmp_path / "tasks", origin=Origin(folder=copy))} == {"unchanged"}
    assert str(tmp_path) not in (done[0].path / "README.md").read_text()


@pytest.mark.slow
def test_the_clients_cache_is_a_copy_too(get: Get, tmp_path: Path) -> None:
    get()
    snapshot = next((tmp_path / "cache").glob("datasets--*/snapshots/*"))
    assert len(fetch("sldbench", to=tmp_path / "again", origin=Origin(folder=snapshot))) == 8


@pytest.mark.parametrize("place", ["nowhere", "file"])
def test_a_copy_that_is_not_there_is_misuse(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="--from wants a folder"):
        fetch("sldbench", to=tmp_path / "tasks", origin=Origin(folder=tmp_path / place))


def test_a_folder_has_no_revisions(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--revision or --from, not both"):
        fetch("sldbench", to=tmp_path / "tasks", origin=Origin(folder=tmp_path, revision="main"))


def test_a_damaged_arrow_file_is_said(tmp_path: Path) -> None:
    copy = copy_of(tmp_path, {f"sft/{s}/data-00000-of-00001.arrow": b"ARROW?" for s in ("train", "test")})
    with pytest.raises(SldError, match=r"8 of 8 tasks were not fetched"):
        fetch("sldbench", to=tmp_path / "tasks", origin=Origin(folder=copy))


def test_the_columns_are_those_of_real_rows(tmp_path: Path) -> None:
    if not REAL_ROWS.is_dir():
        pytest.skip("the benchmark's training rows are not part of the project")
    for task in SUITE.tasks:
        short = task.card.name.removeprefix("sldbench_")
        for file, split in (("train.csv", "train"), ("held_out.csv", "test")):
            target = tmp_path / "copy" / task.config / f"{split}.csv"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(REAL_ROWS / short / file, target)
    with pytest.raises(SldError, match="8 of 8 tasks were not fetched"):  # training rows split anew: too few
        fetch("sldbench", to=tmp_path / "tasks", origin=Origin(folder=tmp_path / "copy"))
    done = fetch("sldbench", to=tmp_path / "tasks", origin=Origin(folder=tmp_path / "copy"), check_counts=False)
    for task, fetched in zip(SUITE.tasks, done, strict=True):
        # the two together are all training rows of the benchmark
        assert fetched.n_rows + fetched.n_held_out_rows == task.train_rows
        assert check_task(fetched.path) == []
    with pytest.raises(SldError, match="8 of 8 tasks were not fetched"):  # being there already is no excuse
        fetch("sldbench", to=tmp_path / "tasks", origin=Origin(folder=tmp_path / "copy"))


def test_python_users_add_the_folder_themselves(tmp_path: Path) -> None:
    copy = copy_of(tmp_path / "copy", dataset())
    fetch("sldbench", to=tmp_path / "tasks", origin=Origin(folder=copy))
    add_tasks_root(tmp_path / "tasks")
    try:
        assert load_task("sldbench_moe").train.n_rows == 193
    finally:
        remove_tasks_root(tmp_path / "tasks")
