"""Damaged, cut, empty and foreign files: what comes out was logged, and nothing ends in a traceback."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from recorded_runs import WRITERS, source
from scenario import EVERY, RUNS

import sld
from sld.data.collecting.cache import Cache
from sld.data.collecting.gather import Where, gather
from sld.data.collecting.tidy import Wanted

# formats with checksums, or read whole by a library that has them: no damage can make a number another
CHECKED = ("wandb", "tensorboard")
SOURCES = (*CHECKED, "mlflow-files", "mlflow-sqlite", "trackio", "optuna", "lightning", "keras", "trainer", "lm-eval")
WRITTEN = ("jsonl", "json", "csv", "parquet", "wandb-csv", "nanogpt", "litgpt", "nanochat", "megatron", "olmo")
SEED = 17


def damages(data: bytes, rng: np.random.Generator, n: int) -> Iterator[bytes]:
    """Yield n damaged versions of a file: cut, bytes changed, a piece lost or doubled, zeros, another file's bytes."""
    for k in range(n):
        size = len(data)
        at, other = sorted(int(x) for x in rng.integers(0, size + 1, 2))
        kind = k % 7
        if kind == 0:
            yield data[:at]
        elif kind == 1:
            changed = bytearray(data)
            for place in rng.integers(0, max(size, 1), min(size, 1 + int(rng.integers(0, 8)))).tolist():
                changed[place] = int(rng.integers(0, 256))
            yield bytes(changed)
        elif kind == 2:
            yield data[:at] + data[other:]
        elif kind == 3:
            yield data[:other] + data[at:]
        elif kind == 4:
            yield data[:at] + bytes(other - at) + data[other:]
        elif kind == 5:
            yield rng.integers(0, 256, int(rng.integers(0, 2000)), dtype=np.uint8).tobytes()
        else:
            yield (b"", b"\n", b"{}", b"[]", b"null", b"\x00", b"SQLite format 3\x00", b":W&B\xe1\xbe\x00", b"a,b\n")[
                int(rng.integers(0, 9))
            ]


def collected(place: Path) -> sld.DataError | None:
    """Collect, and return the refusal if there is one; any other exception is a failure of the test."""
    try:
        gather(Where((place,)), Wanted(), Cache())
    except sld.UsageError as error:
        assert "\n" not in str(error) and str(error)
        return error if isinstance(error, sld.DataError) else None
    return None


def _files(place: Path) -> list[Path]:
    return sorted(p for p in place.rglob("*") if p.is_file())


def _fuzz(name: str, folder: Path, n: int) -> None:
    place = source(name, folder)
    files = _files(place)
    rng = np.random.default_rng([SEED, len(name), n])
    for file in [files[int(k)] for k in rng.integers(0, len(files), max(1, n // 7))]:
        whole = file.read_bytes()
        for damaged in damages(whole, rng, min(n, 7)):
            file.write_bytes(damaged)
            collected(place)
        file.write_bytes(whole)


@pytest.mark.parametrize("name", [*SOURCES, *WRITTEN])
def test_a_damaged_file_never_ends_in_a_traceback(name: str, tmp_path: Path) -> None:
    _fuzz(name, tmp_path, 7)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SOURCES, *WRITTEN])
def test_many_damaged_files_never_end_in_a_traceback(name: str, tmp_path: Path) -> None:
    """50 of each of twenty sources: with those above more than 1,000."""
    _fuzz(name, tmp_path, 50)


@pytest.mark.parametrize(("files", "n"), [(1, 12), pytest.param(4, 40, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", CHECKED)
def test_no_damage_makes_another_number(name: str, files: int, n: int, tmp_path: Path) -> None:
    """Every loss that is read of a damaged file is one that was logged, at its step."""
    place = source(name, tmp_path)
    true = {
        (step, np.float32(run.eval_loss(step) + wrong))
        for run in RUNS
        for step in range(EVERY, run.max_steps + 1, EVERY)
        for wrong in (0.0, 0.5)
    }
    rng = np.random.default_rng(SEED)
    for file in _files(place)[:files]:
        whole = file.read_bytes()
        for damaged in damages(whole, rng, n):
            file.write_bytes(damaged)
            try:
                runs = gather(Where((place,)), Wanted(keep_unfinished=True), Cache()).runs
            except sld.UsageError:
                continue
            for run in runs:
                if "eval/loss" in run.series:
                    for step, value in zip(*run.series["eval/loss"].pairs(), strict=True):
                        assert math.isnan(value) or math.isinf(value) or (step, np.float32(value)) in true
        file.write_bytes(whole)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    WRITERS["jsonl"](tmp_path)
    (tmp_path / "0" / "small.jsonl").chmod(0)
    frame = sld.collect(tmp_path)
    assert any("could not read" in line for line in frame.attrs["account"])


def test_links_that_go_round_and_odd_names_are_no_trouble(tmp_path: Path) -> None:
    WRITERS["jsonl"](tmp_path)
    (tmp_path / "0" / "again").symlink_to(tmp_path)
    (tmp_path / "neu größe \n x.jsonl").write_text('{"step": 1, "eval/loss": 2.0}\n{"step": 2, "eval/loss": 1.0}\n')
    (tmp_path / "gone.jsonl").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.jsonl") if hasattr(os, "mkfifo") else None
    frame = sld.collect(tmp_path)
    assert len(frame) == 6
