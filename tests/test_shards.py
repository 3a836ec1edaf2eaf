"""The files of a split, wherever they lie, and everything that can be wrong with them and the rows in them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fetching import (
    CONFIGS,
    NAMES,
    SPLITS,
    SUITE,
    Get,
    dataset,
    file_of,
    folders,
    html,
    pa,
    parquet,
    refused,
    rows_of,
)
from hub_server import Hub
from many_cases import each

from sld.board.suites.shards import SourceError, find_shards, read_rows
from sld.data.task import check_task, load_task

# layouts


@pytest.mark.slow
@pytest.mark.parametrize(
    "layout",
    [
        "{config}/{split}.parquet",
        "{config}/{split}-00000-of-00001.parquet",
        "{config}/{split}-00000-of-00001-0123456789abcdef.parquet",
        "data/{config}/{split}-00000-of-00001.parquet",
        "{config}/{split}/0000.parquet",
    ],
)
def test_files_are_found_wherever_they_usually_are(get: Get, hub: Hub, layout: str) -> None:
    hub.branches["main"] = dataset(layout)
    assert [t.state for t in get()] == ["fetched"] * 8


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["{config}/{split}-{k:05d}-of-00003.parquet", "{config}/{split}/{k:04d}.parquet"])
def test_parts_are_put_together_in_order(get: Get, hub: Hub, layout: str) -> None:
    files = {}
    for config in CONFIGS:
        for split in SPLITS:
            rows = rows_of(config, split)
            for k, part in enumerate((slice(0, 5), slice(5, 9), slice(9, None))):
                files[layout.format(config=config, split=split, k=k)] = parquet(rows, part)
    hub.branches["main"] = dict(reversed(files.items()))
    for task, fetched in zip(SUITE.tasks, get(), strict=True):
        target = task.card.targets[0].column
        np.testing.assert_array_equal(
            load_task(fetched.path).train.column(target), rows_of(task.config, "train")[target]
        )


@pytest.mark.slow
def test_a_part_that_is_missing_is_named(get: Get, hub: Hub) -> None:
    files = hub.branches["main"]
    files["moe_scaling_law/train-00000-of-00002.parquet"] = files.pop("moe_scaling_law/train-00000-of-00001.parquet")
    assert "moe_scaling_law/train is incomplete: part 1 of 2" in str(refused(get))


def test_two_files_for_one_part_are_refused() -> None:
    with pytest.raises(SourceError, match="claim to be part 0"):
        find_shards(["c/train-00000-of-00001.parquet", "c/train.parquet"], ["c"], "train")


@each(
    "path",
    [
        "c/partial-train/0000.parquet",
        "c/train_old.parquet",
        "cc/train.parquet",
        "other/c/train.parquet",
        "c/train.json",
        "../c/train.parquet",
        "c/train/../train.parquet",
    ],
)
def test_other_files_are_not_taken_for_a_split(path: str) -> None:
    assert find_shards([path], ["c"], "train") == ()


# faults of the files


def broken(hub: Hub, data: bytes, *, listed: bool) -> str:
    """Put `data` in the place of a file; listed as it is, or only served."""
    path = "sft_scaling_law/train-00000-of-00001.parquet"
    (hub.branches["main"] if listed else hub.tampered)[path] = data
    return path


GOOD = file_of("sft_scaling_law", "train")
HTML = html()[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "listed", "part"),
    [
        (GOOD[:-9] + b"123456789", False, "its size or checksum differs"),
        (GOOD[:100] + bytes(50) + GOOD[150:], True, "damaged Parquet file"),
        (HTML, True, "is not a Parquet file"),
        (b"", True, "is not a Parquet file"),
        (GOOD[: len(GOOD) // 2], True, "is not a Parquet file"),
        (parquet(rows_of("sft_scaling_law", "train"), slice(3)), True, "wanted 504 rows, got 3"),
        (parquet({"x": [1.0]}), True, "wanted group, sft_data_size, sft_loss, got x"),
    ],
)
def test_a_wrong_file_costs_one_task(get: Get, hub: Hub, tmp_path: Path, data: bytes, listed: bool, part: str) -> None:
    path = broken(hub, data, listed=listed)
    error = refused(get)
    assert error.exit_code == 1 and "1 of 8 tasks were not fetched" in str(error) and part in str(error)
    assert path in str(error)
    assert folders(tmp_path / "tasks") == sorted(set(NAMES) - {"sldbench_sft"})


@pytest.mark.parametrize("data", [HTML, GOOD + b"more", GOOD[:-1]])
def test_a_body_of_another_size_is_not_taken(get: Get, hub: Hub, tmp_path: Path, data: bytes) -> None:
    broken(hub, data, listed=False)
    error = refused(get)
    assert error.exit_code == 1 and ("came incomplete" in str(error) or "differs" in str(error))
    assert "sldbench_sft" not in folders(tmp_path / "tasks")


@pytest.mark.slow
def test_a_damaged_cache_is_downloaded_anew(get: Get, tmp_path: Path) -> None:
    get()
    for blob in (tmp_path / "cache").rglob("blobs/*"):
        blob.write_bytes(b"damaged")
    assert {t.state for t in get(force=True)} == {"fetched"}
    assert check_task(tmp_path / "tasks" / "sldbench_sft") == []


def test_a_file_far_too_large_is_not_downloaded(get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sld.board.suites.fetch._MAX_MEGABYTES", 0.03)
    assert "MB, which no table of sldbench has" in str(refused(get))


@pytest.mark.slow
def test_labels_may_be_stored_in_any_way(get: Get, hub: Hub) -> None:
    rows = dict(rows_of("sft_scaling_law", "train"))
    for labels in (pa.array(rows["group"]).dictionary_encode(), [[f"m{i % 2}", "d"] for i in range(504)], [1, 2] * 252):
        broken(hub, parquet({**rows, "group": labels}), listed=True)
        path = next(t.path for t in get(check_counts=False) if t.name == "sldbench_sft")
        assert len(load_task(path).train.groups) == 2


def test_a_split_that_is_missing_is_named(get: Get, hub: Hub) -> None:
    del hub.branches["main"]["moe_scaling_law/test-00000-of-00001.parquet"]
    error = refused(get)
    assert "has no test split of moe_scaling_law" in str(error) and "moe_scaling_law/test-*.parquet" in str(error)


def test_an_empty_data_set_is_said(get: Get, hub: Hub) -> None:
    hub.branches["main"] = {}
    error = refused(get)
    assert "8 of 8 tasks were not fetched" in str(error) and "it is empty" in str(error) and "and 6 more" in str(error)


def changed(**columns: Any) -> bytes:
    return parquet({**rows_of("sft_scaling_law", "train"), **columns})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "part"),
    [
        (changed(sft_loss=[2.0] * 503 + [float("nan")]), "row 504: column 'sft_loss' holds no finite number"),
        (changed(sft_loss=[2.0] * 503 + [float("inf")]), "row 504: column 'sft_loss' holds no finite number"),
        (changed(sft_loss=[None] + [2.0] * 503), "row 1: column 'sft_loss' holds no finite number"),
        (changed(sft_loss=["two"] * 504), "row 1: column 'sft_loss' must be a number, got 'two'"),
        (changed(sft_loss=[[1.0]] * 504), "column 'sft_loss' must be a number"),
        (changed(sft_loss=[True] * 504), "column 'sft_loss' must be numbers"),
        (changed(group=[None] * 504), "group column 'group' is empty"),
        (changed(sft_data_size=[-1.0] * 504), "sft_data_size"),
    ],
)
def test_rows_that_are_no_numbers_are_refused(get: Get, hub: Hub, data: bytes, part: str) -> None:
    broken(hub, data, listed=True)
    error = refused(get)
    assert part in str(error) and error.exit_code == 1


def test_columns_may_be_spelt_differently(get: Get, hub: Hub) -> None:
    rows = dict(rows_of("sft_scaling_law", "train"))
    rows["Group"] = rows.pop("group")
    rows["SFT-data size"] = rows.pop("sft_data_size")
    broken(hub, parquet(rows), listed=True)
    get()


def test_aliases_are_of_columns_that_the_card_has_and_name_one_column_each() -> None:
    for task in SUITE.tasks:
        names = [*task.card.columns, *(name for names in task.aliases.values() for name in names)]
        assert set(task.aliases) <= set(task.card.columns) and len(names) == len(set(names))


@pytest.mark.slow
def test_every_alias_of_a_card_is_understood(get: Get, hub: Hub) -> None:
    for task in SUITE.tasks:
        for split in SPLITS:
            rows = rows_of(task.config, split)
            renamed = {task.aliases.get(name, [name])[-1]: values for name, values in rows.items()}
            hub.branches["main"][f"{task.config}/{split}-00000-of-00001.parquet"] = parquet(renamed)
    assert {t.state for t in get()} == {"fetched"}


def test_columns_may_come_under_an_alias(tmp_path: Path) -> None:
    task = SUITE.tasks[0]
    rows = dict(rows_of(task.config, "train"))
    rows["corpus"] = rows.pop("group")
    (tmp_path / "a.parquet").write_bytes(parquet(rows))
    files = [(tmp_path / "a.parquet", "a")]
    with pytest.raises(SourceError, match="no column for group; wanted group, num_params"):
        read_rows(files, task.card, aliases={})
    assert read_rows(files, task.card, aliases={"group": ["place", "corpus"]}).labels == tuple(rows["corpus"])
    # the column's own name comes before its aliases
    rows["group"] = ["own"] * 36
    (tmp_path / "a.parquet").write_bytes(parquet(rows))
    assert set(read_rows(files, task.card, aliases={"group": ["corpus"]}).labels or ()) == {"own"}
