"""Fetching a benchmark from a hub on loopback and from folders, with made-up rows, and everything that can fail."""

import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hub_server import DATASET, Hub, serving

import sld
from sld.__main__ import main
from sld.board.fetch import Fetched, SuiteTask, fetch, load_suite, suites
from sld.board.hub import checked_endpoint
from sld.board.shards import SourceError, find_shards
from sld.core.bundled import add_tasks_root, remove_tasks_root
from sld.core.card import Card
from sld.core.errors import SldError, UsageError
from sld.core.task import check_task, load_task

pa = pytest.importorskip("pyarrow")
pytest.importorskip("huggingface_hub")
import pyarrow.parquet as pq  # noqa: E402

SUITE = load_suite("sldbench")
NAMES = [task.card.name for task in SUITE.tasks]
# train and test rows, and constants allowed per group and target, as the benchmark's paper lists them
COUNTS = {
    "sldbench_parallel": (36, 12, 4),
    "sldbench_vocab": (1080, 120, 7),
    "sldbench_sft": (504, 42, 4),
    "sldbench_domain_mixture": (80, 24, 7),
    "sldbench_moe": (193, 28, 6),
    "sldbench_data_constrained": (161, 21, 7),
    "sldbench_lr_bsz": (2702, 117, 26),
    "sldbench_easy_question": (389, 127, 6),
}
REAL_ROWS = Path(__file__).resolve().parents[2] / "shared" / "data" / "sldbench-train"
REPOSITORY = Path(__file__).resolve().parents[1]


def made_up(task: SuiteTask, split: str) -> dict[str, Any]:
    """Return columns with the names, counts and kinds of the benchmark's, and numbers of nobody."""
    card = task.card
    n = task.train_rows if split == "train" else task.test_rows
    random = np.random.default_rng([len(card.name), n])
    beyond = 0.0 if split == "train" else 1.5
    columns: dict[str, Any] = {}
    if card.group is not None:
        columns[card.group] = [f"('model {i % 2}', 'data, set')" for i in range(n)]
    shares = random.dirichlet(np.ones(5), n)
    proportions = iter(shares.T)
    for variable in card.variables:
        if variable.role == "proportion":
            columns[variable.column] = next(proportions)
        else:
            level = random.uniform(0, 1, n) + (beyond if variable.extrapolate else 0.0)
            columns[variable.column] = level if variable.log else 10 ** (3 + level)
    for target in card.targets:
        low, high = (2.0, 4.0) if target.upper is None else (-0.9, -0.1)
        columns[target.column] = random.uniform(low, high, n)
    columns["model_name"] = [f"model {i}" for i in range(n)]  # the files have more than the inputs
    return columns


def parquet(columns: Mapping[str, Any], rows: slice = slice(None)) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({name: values[rows] for name, values in columns.items()}), buffer)
    return buffer.getvalue()


ROWS = {task.config: {split: made_up(task, split) for split in ("train", "test")} for task in SUITE.tasks}
PARQUET = {config: {split: parquet(rows) for split, rows in splits.items()} for config, splits in ROWS.items()}


def dataset(layout: str = "{config}/{split}-00000-of-00001.parquet") -> dict[str, bytes]:
    files = {"README.md": b"---\nlicense: unknown\n---\n", ".gitattributes": b"*.parquet filter=lfs\n"}
    for config, splits in PARQUET.items():
        files |= {layout.format(config=config, split=split): data for split, data in splits.items()}
    return files


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    from huggingface_hub.utils import close_session

    sleep = time.sleep
    monkeypatch.setattr("time.sleep", lambda seconds: sleep(min(seconds, 0.01)))  # the client waits between tries
    with serving(Hub({"main": dataset()})) as served:
        yield served
        close_session()


Get = Callable[..., list[Fetched]]


@pytest.fixture
def get(hub: Hub, tmp_path: Path) -> Get:
    """Fetches from the loopback hub into `tmp_path / "tasks"`, with a cache of its own."""

    def run(**options: Any) -> list[Fetched]:
        given = {"to": tmp_path / "tasks", "endpoint": hub.url, "cache": tmp_path / "cache", "token": False, **options}
        return fetch("sldbench", **given)

    return run


def refused(get: Get, **options: Any) -> SldError:
    with pytest.raises(SldError) as caught:
        get(**options)
    assert "\n" not in str(caught.value)
    return caught.value


def folders(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir()) if root.exists() else []


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# what is written


def test_the_cards_are_those_of_the_benchmark() -> None:
    assert suites() == ("sldbench",)
    assert {t.card.name: (t.train_rows, t.test_rows, t.card.max_constants) for t in SUITE.tasks} == COUNTS
    for task in SUITE.tasks:
        card = task.card
        assert task.config == f"{card.name.removeprefix('sldbench_')}_scaling_law"
        assert card.licence and card.provenance and card.extrapolation and card.notes and card.laws
        assert "parquet" not in card.to_toml() and Card.from_dict(card.to_dict()) == card


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


def test_numbers_keep_every_digit(get: Get) -> None:
    for task, fetched in zip(SUITE.tasks, get(), strict=True):
        table = load_task(fetched.path).train
        for column in [*(v.column for v in task.card.variables), *(t.column for t in task.card.targets)]:
            np.testing.assert_array_equal(table.column(column), ROWS[task.config]["train"][column])


def test_the_origin_is_written_beside_the_rows(get: Get, hub: Hub) -> None:
    import hashlib

    commit = hub.commit("main")
    for task, fetched in zip(SUITE.tasks, get(), strict=True):
        text = (fetched.path / "README.md").read_text()
        assert fetched.revision == commit and commit in text and DATASET in text
        for split, data in PARQUET[task.config].items():
            assert f"{task.config}/{split}-00000-of-00001.parquet" in text and hashlib.sha256(data).hexdigest() in text
        for note in (*task.card.notes, task.card.licence, task.card.extrapolation):
            assert note in text


def test_a_token_goes_to_the_hub_and_nowhere_else(get: Get, hub: Hub, tmp_path: Path) -> None:
    token = "hf_a_secret_that_nobody_should_see"
    get(token=token)
    sent = {(path.split("/")[1], headers.get("authorization")) for _, path, headers in hub.requests}
    assert sent == {("api", f"Bearer {token}"), ("datasets", f"Bearer {token}"), ("storage", None)}
    hub.answers["/api/"] = (500, {}, token.encode())
    assert token not in str(refused(get, token=token, force=True))
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or token.encode() not in path.read_bytes()


def test_nobody_but_the_endpoint_and_its_storage_is_asked(get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    look_up, asked = socket.getaddrinfo, set()

    def recorded(host: Any, *rest: Any, **options: Any) -> Any:
        asked.add(host)
        return look_up(host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", recorded)
    get()
    assert asked == {"127.0.0.1", "localhost"}


@pytest.mark.parametrize("token", ["two words", "line\nbreak", "schlüssel"])
def test_a_token_that_cannot_be_sent_is_not_shown(get: Get, hub: Hub, token: str) -> None:
    error = refused(get, token=token)
    assert error.exit_code == 2 and "HF_TOKEN" in str(error) and token.split()[0] not in str(error)
    assert hub.requests == []
    get(token=" hf_good\n")
    assert {h.get("authorization") for _, path, h in hub.requests if "/api/" in path} == {"Bearer hf_good"}


def test_no_token_is_sent_without_one(get: Get, hub: Hub) -> None:
    get()
    assert not [headers for _, _, headers in hub.requests if "authorization" in headers]


# what is fetched already


def test_what_is_there_is_left_alone(get: Get, hub: Hub, tmp_path: Path) -> None:
    get()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "tasks").rglob("*")}
    hub.requests.clear()
    assert {t.state for t in get()} == {"unchanged"}
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "tasks").rglob("*")} == before
    assert hub.asked("GET", "/resolve/") == hub.asked("HEAD", "/resolve/") == []


def test_a_new_commit_with_the_same_files_changes_nothing(get: Get, hub: Hub) -> None:
    get()
    hub.branches["main"]["README.md"] = b"a better one"
    assert {t.state for t in get()} == {"unchanged"}


def test_a_new_commit_with_other_rows_is_written(get: Get, hub: Hub) -> None:
    get()
    rows = {name: values[::-1] for name, values in ROWS["sft_scaling_law"]["test"].items()}
    hub.branches["main"]["sft_scaling_law/test-00000-of-00001.parquet"] = parquet(rows)
    assert [t.name for t in get() if t.state == "fetched"] == ["sldbench_sft"]


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


def test_a_pinned_commit_that_is_there_needs_no_network(get: Get, hub: Hub) -> None:
    get()
    hub.requests.clear()
    assert {t.state for t in get(revision=hub.commit("main"))} == {"unchanged"}
    assert hub.requests == []


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


def test_what_a_killed_process_left_is_swept_up(get: Get, tmp_path: Path) -> None:
    root = tmp_path / "tasks"
    for name, age in ((".sldbench_sft.123.tmp", 7200), (".sldbench_sft.124.tmp", 0), (".sldbench_moe.123.old", 7200)):
        (root / name).mkdir(parents=True)
        os.utime(root / name, (time.time() - age,) * 2)
    get()
    assert folders(root) == [".sldbench_sft.124.tmp", *sorted(NAMES)]  # a young one may be of a process at work


# layouts


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


@pytest.mark.parametrize("layout", ["{config}/{split}-{k:05d}-of-00003.parquet", "{config}/{split}/{k:04d}.parquet"])
def test_parts_are_put_together_in_order(get: Get, hub: Hub, layout: str) -> None:
    files = {}
    for config, splits in ROWS.items():
        for split, rows in splits.items():
            for k, part in enumerate((slice(0, 5), slice(5, 9), slice(9, None))):
                files[layout.format(config=config, split=split, k=k)] = parquet(rows, part)
    hub.branches["main"] = dict(reversed(files.items()))
    for task, fetched in zip(SUITE.tasks, get(), strict=True):
        target = task.card.targets[0].column
        np.testing.assert_array_equal(load_task(fetched.path).train.column(target), ROWS[task.config]["train"][target])


def test_a_part_that_is_missing_is_named(get: Get, hub: Hub) -> None:
    files = hub.branches["main"]
    files["moe_scaling_law/train-00000-of-00002.parquet"] = files.pop("moe_scaling_law/train-00000-of-00001.parquet")
    assert "moe_scaling_law/train is incomplete: part 1 of 2" in str(refused(get))


def test_two_files_for_one_part_are_refused() -> None:
    with pytest.raises(SourceError, match="claim to be part 0"):
        find_shards(["c/train-00000-of-00001.parquet", "c/train.parquet"], ["c"], "train")


@pytest.mark.parametrize(
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


def test_what_the_hub_converted_is_the_second_choice(get: Get, hub: Hub) -> None:
    hub.branches = {"main": {"data.jsonl": b"{}\n"}, "refs/convert/parquet": dataset("{config}/{split}/0000.parquet")}
    done = get()
    assert {t.revision for t in done} == {hub.commit("refs/convert/parquet")}


def test_a_pinned_revision_is_the_only_choice(get: Get, hub: Hub) -> None:
    hub.branches = {"main": {"data.jsonl": b"{}\n"}, "refs/convert/parquet": dataset("{config}/{split}/0000.parquet")}
    assert "has no train split of parallel_scaling_law" in str(refused(get, revision="main"))
    assert len(get(revision="refs/convert/parquet")) == 8


def test_files_outside_git_lfs_are_checked_too(get: Get, hub: Hub, tmp_path: Path) -> None:
    hub.lfs = False
    assert len(get()) == 8
    hub.tampered["sft_scaling_law/test-00000-of-00001.parquet"] = PARQUET["sft_scaling_law"]["test"][:-1] + b"x"
    assert "its size or checksum differs" in str(refused(get, force=True, cache=tmp_path / "empty"))


# faults of the network and the server


def html(status: int = 200) -> tuple[int, dict[str, str], bytes]:
    return status, {"Content-Type": "text/html"}, b"<html><body>Please log in to the hotel</body></html>"


@pytest.mark.parametrize(
    ("answer", "parts"),
    [
        ((401, {}, b"{}"), ["wants a login", "401", "HF_TOKEN"]),
        ((403, {}, b"{}"), ["refuses", "403", "HF_TOKEN"]),
        ((403, {"X-Error-Code": "GatedRepo"}, b"{}"), ["behind a gate", "HF_TOKEN"]),
        ((404, {"X-Error-Code": "RepoNotFound"}, b"{}"), ["404", "HF_ENDPOINT"]),
        (html(404), ["404", "HF_ENDPOINT"]),
        ((429, {}, b"{}"), ["429", "slow down"]),
        ((500, {}, b"oh"), ["500", "later"]),
        (html(), ["does not answer as the Hugging Face hub does", "HF_ENDPOINT"]),
        ((200, {}, b"[]"), ["does not answer as the Hugging Face hub does"]),
        ((200, {}, b'{"id": 3}'), ["does not answer as the Hugging Face hub does"]),
        ((200, {}, b"3"), ["does not answer as the Hugging Face hub does"]),
    ],
)
def test_a_refusal_is_one_line_with_a_way_out(
    get: Get, hub: Hub, tmp_path: Path, answer: tuple[int, dict[str, str], bytes], parts: list[str]
) -> None:
    hub.answers["/"] = answer
    error = refused(get)
    assert error.exit_code == 1 and all(part in str(error) for part in parts), str(error)
    assert not (tmp_path / "tasks").exists()


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        ((401, {}, b"{}"), "401"),
        ((403, {"X-Error-Code": "GatedRepo"}, b"{}"), "behind a gate"),
        ((404, {"X-Error-Code": "EntryNotFound"}, b"{}"), "404"),
        ((503, {}, b"{}"), "503"),
        (html(), "does not answer as the Hugging Face hub does"),
    ],
)
def test_a_refusal_halfway_keeps_what_is_done(
    get: Get, hub: Hub, tmp_path: Path, answer: tuple[int, dict[str, str], bytes], part: str
) -> None:
    hub.answers[f"/datasets/{DATASET}/resolve/{hub.commit('main')}/vocab_scaling_law/"] = answer
    error = refused(get)
    assert part in str(error) and "1 of 8 tasks are in" in str(error) and error.exit_code == 1
    assert folders(tmp_path / "tasks") == ["sldbench_parallel"]


def test_no_network(get: Get) -> None:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    error = refused(get, endpoint=f"http://127.0.0.1:{port}")
    assert error.exit_code == 1 and f"could not reach 127.0.0.1:{port}" in str(error) and "--from DIR" in str(error)


def test_a_server_that_goes_away(get: Get, hub: Hub) -> None:
    def close(self: Any) -> None:
        self.close_connection = True
        self.connection.close()

    from hub_server import Handler

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Handler, "resolve", lambda self, revision, path: close(self))
        error = refused(get)
    assert "could not reach" in str(error) or "lost" in str(error)


@pytest.mark.parametrize("endpoint", ["huggingface.co", "ftp://x", "http://", "http://a:b", "http://[x", "http://a b/"])
def test_an_endpoint_that_is_no_url(get: Get, endpoint: str) -> None:
    error = refused(get, endpoint=endpoint)
    assert error.exit_code == 2 and "HF_ENDPOINT must be a URL" in str(error)


def test_the_password_of_an_endpoint_is_not_shown(get: Get, hub: Hub) -> None:
    hub.answers["/"] = (500, {}, b"")
    error = refused(get, endpoint=hub.url.replace("http://", "http://user:secret@"))
    assert "secret" not in str(error) and "127.0.0.1" in str(error)
    assert "secret" not in str(refused(get, endpoint="user:secret@host"))
    assert checked_endpoint("https://mirror.example/hf/") == "https://mirror.example/hf"


def test_an_unknown_revision_is_misuse(get: Get) -> None:
    error = refused(get, revision="v9")
    assert error.exit_code == 2 and "no revision 'v9'" in str(error)
    assert refused(get, revision=" ").exit_code == 2


def test_offline_mode_is_said(get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants
    from huggingface_hub.utils import close_session

    close_session()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in str(refused(get))
    close_session()


# faults of the files


def broken(hub: Hub, data: bytes, *, listed: bool) -> str:
    """Put `data` in the place of a file; listed as it is, or only served."""
    path = "sft_scaling_law/train-00000-of-00001.parquet"
    (hub.branches["main"] if listed else hub.tampered)[path] = data
    return path


GOOD = PARQUET["sft_scaling_law"]["train"]
HTML = html()[2]


@pytest.mark.parametrize(
    ("data", "listed", "part"),
    [
        (GOOD[:-9] + b"123456789", False, "its size or checksum differs"),
        (GOOD[:100] + bytes(50) + GOOD[150:], True, "damaged Parquet file"),
        (HTML, True, "is not a Parquet file"),
        (b"", True, "is not a Parquet file"),
        (GOOD[: len(GOOD) // 2], True, "is not a Parquet file"),
        (parquet(ROWS["sft_scaling_law"]["train"], slice(3)), True, "wanted 504 rows, got 3"),
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


def test_a_damaged_cache_is_downloaded_anew(get: Get, tmp_path: Path) -> None:
    get()
    for blob in (tmp_path / "cache").rglob("blobs/*"):
        blob.write_bytes(b"damaged")
    assert {t.state for t in get(force=True)} == {"fetched"}
    assert check_task(tmp_path / "tasks" / "sldbench_sft") == []


def test_a_file_far_too_large_is_not_downloaded(get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sld.board.fetch._MAX_MEGABYTES", 0.03)
    assert "MB, which no table of sldbench has" in str(refused(get))


def test_labels_may_be_stored_in_any_way(get: Get, hub: Hub) -> None:
    rows = dict(ROWS["sft_scaling_law"]["train"])
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
    return parquet({**ROWS["sft_scaling_law"]["train"], **columns})


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
    rows = dict(ROWS["sft_scaling_law"]["train"])
    rows["Group"] = rows.pop("group")
    rows["SFT-data size"] = rows.pop("sft_data_size")
    broken(hub, parquet(rows), listed=True)
    get()


def test_aliases_are_of_columns_that_the_card_has_and_name_one_column_each() -> None:
    for task in SUITE.tasks:
        names = [*task.card.columns, *(name for names in task.aliases.values() for name in names)]
        assert set(task.aliases) <= set(task.card.columns) and len(names) == len(set(names))


def test_every_alias_of_a_card_is_understood(get: Get, hub: Hub) -> None:
    for task in SUITE.tasks:
        for split, rows in ROWS[task.config].items():
            renamed = {task.aliases.get(name, [name])[-1]: values for name, values in rows.items()}
            hub.branches["main"][f"{task.config}/{split}-00000-of-00001.parquet"] = parquet(renamed)
    assert {t.state for t in get()} == {"fetched"}


def test_columns_may_come_under_an_alias(tmp_path: Path) -> None:
    from sld.board.shards import read_rows

    task = SUITE.tasks[0]
    rows = dict(ROWS[task.config]["train"])
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
        ("sldbench_{short}/{split}.csv", csv_text),
        ("{config}/{split}/data-00000-of-00001.arrow", arrow),
        ("data/{config}/{split}/data-00000-of-00001.arrow", arrow_file),
    ],
)
def test_a_copy_on_disk_gives_the_same_tasks(
    tmp_path: Path, layout: str, form: Callable[[Mapping[str, Any]], bytes]
) -> None:
    files = {}
    for config, splits in ROWS.items():
        for split, rows in splits.items():
            files[layout.format(config=config, short=config.removesuffix("_scaling_law"), split=split)] = form(rows)
    copy = copy_of(tmp_path / "copy", files)
    done = fetch("sldbench", to=tmp_path / "tasks", source=copy)
    assert [(t.name, t.n_rows, t.n_held_out_rows) for t in done] == [(n, *COUNTS[n][:2]) for n in NAMES]
    for task, fetched in zip(SUITE.tasks, done, strict=True):
        target = task.card.targets[0].column
        np.testing.assert_array_equal(load_task(fetched.path).train.column(target), ROWS[task.config]["train"][target])
    assert {t.state for t in fetch("sldbench", to=tmp_path / "tasks", source=copy)} == {"unchanged"}
    assert str(tmp_path) not in (done[0].path / "README.md").read_text()


def test_the_clients_cache_is_a_copy_too(get: Get, hub: Hub, tmp_path: Path) -> None:
    get()
    snapshot = next((tmp_path / "cache").glob("datasets--*/snapshots/*"))
    assert len(fetch("sldbench", to=tmp_path / "again", source=snapshot)) == 8


@pytest.mark.parametrize("place", ["nowhere", "file"])
def test_a_copy_that_is_not_there_is_misuse(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="--from wants a folder"):
        fetch("sldbench", to=tmp_path / "tasks", source=tmp_path / place)


def test_a_folder_has_no_revisions(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--revision or --from, not both"):
        fetch("sldbench", to=tmp_path / "tasks", source=tmp_path, revision="main")


def test_a_damaged_arrow_file_is_said(tmp_path: Path) -> None:
    copy = copy_of(tmp_path, {f"sft/{s}/data-00000-of-00001.arrow": b"ARROW?" for s in ("train", "test")})
    with pytest.raises(SldError, match=r"8 of 8 tasks were not fetched"):
        fetch("sldbench", to=tmp_path / "tasks", source=copy)


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
        fetch("sldbench", to=tmp_path / "tasks", source=tmp_path / "copy")
    done = fetch("sldbench", to=tmp_path / "tasks", source=tmp_path / "copy", check_counts=False)
    for task, fetched in zip(SUITE.tasks, done, strict=True):
        # the two together are all training rows of the benchmark
        assert fetched.n_rows + fetched.n_held_out_rows == task.train_rows
        assert check_task(fetched.path) == []
    with pytest.raises(SldError, match="8 of 8 tasks were not fetched"):  # being there already is no excuse
        fetch("sldbench", to=tmp_path / "tasks", source=tmp_path / "copy")


# several processes, interruptions


def surroundings(hub: Hub, tmp_path: Path) -> dict[str, str]:
    paths = [str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
    own = {"PYTHONPATH": os.pathsep.join(paths), "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")}
    return {**os.environ, **own, "SLD_DATA": str(tmp_path / "data")}


def start(hub: Hub, tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "sld", "tasks", "fetch", "sldbench", *arguments]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env=surroundings(hub, tmp_path), cwd=tmp_path, text=True, **streams)  # type: ignore[call-overload,no-any-return]


def test_ctrl_c_leaves_finished_tasks_and_nothing_half(hub: Hub, tmp_path: Path) -> None:
    from hub_server import Handler

    resolve = Handler.resolve
    waiting = False

    def slow(self: Handler, revision: str, path: str) -> None:
        nonlocal waiting
        if path.startswith("sft"):
            waiting = True
            for _ in range(1000):
                time.sleep(0.01)
                if not waiting:
                    return
        resolve(self, revision, path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Handler, "resolve", slow)
        child = start(hub, tmp_path)
        end = time.monotonic() + 60
        while not waiting and time.monotonic() < end and child.poll() is None:
            time.sleep(0.01)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)
        waiting = False
    assert (child.returncode, out) == (130, "") and err.strip().splitlines()[-1] == "sld: interrupted"
    assert "Traceback" not in err
    assert folders(tmp_path / "data" / "tasks") == ["sldbench_parallel", "sldbench_vocab"]
    child = start(hub, tmp_path, "--json")
    out, err = child.communicate(timeout=60)
    assert [t["state"] for t in json.loads(out)["tasks"]] == ["unchanged"] * 2 + ["fetched"] * 6, err


def test_two_at_once_do_not_disturb_each_other(hub: Hub, tmp_path: Path) -> None:
    children = [start(hub, tmp_path) for _ in range(2)]
    ends = [child.communicate(timeout=120) for child in children]
    assert [child.returncode for child in children] == [0, 0], ends
    assert folders(tmp_path / "data" / "tasks") == sorted(NAMES)
    assert all(check_task(tmp_path / "data" / "tasks" / name) == [] for name in NAMES)


@pytest.mark.slow
def test_killed_at_any_moment_every_task_is_whole(hub: Hub, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    root = tmp_path / "data" / "tasks"
    killed = 0
    for k in range(15):
        hub.requests.clear()
        child = start(hub, tmp_path, *(["--force"] if k % 2 else []))
        wanted, end = random.integers(5, 20), time.monotonic() + 60
        while len(hub.requests) < wanted and child.poll() is None and time.monotonic() < end:
            time.sleep(0.001)
        time.sleep(float(random.uniform(0, 0.02)))
        child.kill()
        child.communicate()
        killed += child.returncode == -signal.SIGKILL
        for name in folders(root):
            if not name.startswith("."):
                assert check_task(root / name) == [], name
    assert killed > 5
    child = start(hub, tmp_path)
    err = child.communicate(timeout=60)[1]
    assert child.returncode == 0, err
    assert [name for name in folders(root) if not name.startswith(".")] == sorted(NAMES)


# the command


@pytest.fixture
def run(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SLD_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.chdir(tmp_path)

    def command(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(a) for a in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command


Command = Callable[..., tuple[int, str, str]]


def test_fetched_tasks_go_by_their_names(run: Command, tmp_path: Path) -> None:
    code, out, err = run("tasks", "fetch", "sldbench")
    assert code == 0 and "sldbench_parallel" in out and "36 + 12" in out and "fetched" in out
    assert "sld discover sldbench_parallel" in err and str(tmp_path / "data") in err
    assert (tmp_path / "home" / "hub").is_dir()
    code, out, _ = run("tasks", "--json")
    assert [t["name"] for t in json.loads(out)["tasks"] if t["origin"] == "fetched"] == sorted(NAMES)
    assert "sldbench_parallel (fetched)" in run("tasks")[1]
    assert "parallel_size" in run("tasks", "show", "sldbench_parallel")[1]
    assert run("tasks", "check", "sldbench_parallel")[:2] == (0, "sldbench_parallel: nothing wrong\n")
    assert run("fit", "sldbench_parallel", "--law", "ParScale", "--out", "law.json")[0] == 0
    assert json.loads(run("score", "law.json", "sldbench_parallel", "--json")[1])["n_rows"] == 12
    quick = ("--budget", "300fits", "--workers", "1")
    assert run("discover", "sldbench_parallel", *quick)[0] == 0
    assert "sld discover sldbench_parallel" in (tmp_path / "sld-runs/sldbench_parallel-0/report.md").read_text()
    assert "sldbench_parallel" not in sld.bundled_tasks()


def test_fetch_in_json(run: Command, tmp_path: Path, hub: Hub) -> None:
    code, out, err = run("tasks", "fetch", "sldbench", "--to", "here", "--json")
    document = json.loads(out)
    assert (code, err, document["suite"], document["folder"]) == (0, "", "sldbench", "here")
    assert document["tasks"][0] == {
        "name": "sldbench_parallel",
        "path": "here/sldbench_parallel",
        "state": "fetched",
        "n_rows": 36,
        "n_held_out_rows": 12,
        "revision": hub.commit("main"),
    }
    assert run("tasks", "show", "here/sldbench_parallel")[0] == 0


def test_tasks_elsewhere_are_named_by_their_path(run: Command) -> None:
    assert "sld discover here/sldbench_parallel" in run("tasks", "fetch", "sldbench", "--to", "here")[2]


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (["sldbnch"], 2, "no suite 'sldbnch'; did you mean 'sldbench'?"),
        (["x"], 2, "no suite 'x'; there are sldbench"),
        (["sldbench", "--from", "nowhere"], 2, "nowhere is not there"),
        (["sldbench", "--from", "."], 1, "8 of 8 tasks were not fetched"),
        (["sldbench", "--revision", "v9"], 2, "no revision 'v9'"),
        (["sldbench", "--to", "file/tasks"], 2, "--to"),
        ([], 2, "SUITE"),
    ],
)
def test_misuse_is_one_line(run: Command, tmp_path: Path, arguments: list[str], code: int, part: str) -> None:
    (tmp_path / "file").write_text("")
    got, out, err = run("tasks", "fetch", *arguments)
    assert (got, out, err.count("\n")) == (code, "", 1) and err.startswith("sld: ") and part in err, err


def test_a_failure_in_the_command_is_one_line(run: Command, hub: Hub) -> None:
    hub.cut.add("vocab_scaling_law/train-00000-of-00001.parquet")
    code, out, err = run("tasks", "fetch", "sldbench")
    assert (code, out, err.count("\n")) == (1, "", 1) and "1 of 8 tasks are in" in err


@pytest.mark.parametrize("package", ["huggingface_hub", "pyarrow"])
def test_a_missing_package_is_named(run: Command, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    from importlib import util

    find = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name, *rest: None if name == package else find(name, *rest))
    monkeypatch.setitem(sys.modules, package, None)
    code, out, err = run("tasks", "fetch", "sldbench")
    assert (code, out) == (2, "") and "pip install 'sld[sldbench]'" in err


def test_where_the_data_folder_is(run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sld.cli import _tasks_folder

    assert _tasks_folder() == tmp_path / "data" / "tasks"
    monkeypatch.delenv("SLD_DATA")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    assert _tasks_folder() == tmp_path / "xdg" / "sld" / "tasks"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    assert _tasks_folder() == tmp_path / "me" / ".local" / "share" / "sld" / "tasks"


def test_python_users_add_the_folder_themselves(tmp_path: Path) -> None:
    copy = copy_of(tmp_path / "copy", dataset())
    fetch("sldbench", to=tmp_path / "tasks", source=copy)
    add_tasks_root(tmp_path / "tasks")
    try:
        assert load_task("sldbench_moe").train.n_rows == 193
    finally:
        remove_tasks_root(tmp_path / "tasks")
