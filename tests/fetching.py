"""The official benchmark on a hub on loopback, with made-up rows, for the tests that fetch it."""

import io
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hub_server import Hub, serving

from sld.board.suites.fetch import Fetched, Origin, Suite, SuiteTask, fetch, load_suite
from sld.core.errors import SldError

pa = pytest.importorskip("pyarrow")
pytest.importorskip("huggingface_hub")
import pyarrow.parquet as pq  # noqa: E402

SUITE = load_suite("sldbench")
SPLITS = ("train", "test")
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


CONFIGS = {task.config: task for task in SUITE.tasks}


@cache
def rows_of(config: str, split: str) -> Mapping[str, Any]:
    """Return the columns of one file; made when first asked for, like the file itself."""
    return made_up(CONFIGS[config], split)


@cache
def file_of(config: str, split: str) -> bytes:
    return parquet(rows_of(config, split))


def dataset(layout: str = "{config}/{split}-00000-of-00001.parquet") -> dict[str, bytes]:
    files = {"README.md": b"---\nlicense: unknown\n---\n", ".gitattributes": b"*.parquet filter=lfs\n"}
    for config in CONFIGS:
        files |= {layout.format(config=config, split=split): file_of(config, split) for split in SPLITS}
    return files


Get = Callable[..., list[Fetched]]


def suite_at_hand(name: str) -> Suite:
    """Return the benchmark without reading its cards again, and any other as ever."""
    return SUITE if name == SUITE.name else load_suite(name)


@contextmanager
def benchmark_hub() -> Iterator[Hub]:
    """Serve the benchmark; the client's own waits between tries are cut short meanwhile, and its cards are at hand."""
    from huggingface_hub.utils import close_session

    sleep = time.sleep
    with pytest.MonkeyPatch.context() as patch, serving(Hub({"main": dataset()})) as served:
        patch.setattr("time.sleep", lambda seconds: sleep(min(seconds, 0.01)))
        patch.setattr("sld.board.suites.fetch.load_suite", suite_at_hand)
        yield served
        close_session()


def getter(hub: Hub, folder: Path) -> Get:
    """Return what fetches from a hub into `folder / "tasks"`, with a cache of its own."""

    def get(**options: Any) -> list[Fetched]:
        place: dict[str, Any] = {"endpoint": hub.url, "cache": folder / "cache", "token": False}
        place |= {key: options.pop(key) for key in tuple(options) if key in Origin.__dataclass_fields__}
        return fetch("sldbench", **{"to": folder / "tasks", "origin": Origin(**place), **options})

    return get


def refused(get: Get, **options: Any) -> SldError:
    with pytest.raises(SldError) as caught:
        get(**options)
    assert "\n" not in str(caught.value)
    return caught.value


def folders(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir()) if root.exists() else []


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def html(status: int = 200) -> tuple[int, dict[str, str], bytes]:
    return status, {"Content-Type": "text/html"}, b"<html><body>Please log in to the hotel</body></html>"
