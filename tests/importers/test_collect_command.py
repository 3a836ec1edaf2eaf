"""`sld collect` as users call it: what it writes, what it keeps, what it refuses, and that nothing is half written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import Run
from recorded_runs import jsonl, source

import sld
from sld.data.importers import tables
from sld.data.importers.attempt import Attempt, Unit

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """The scenario as JSON lines, in files that were written long ago."""
    folder = tmp_path / "logs"
    folder.mkdir()
    jsonl(folder)
    for path in folder.rglob("*"):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    return folder


def one_line(code: int, err: str, *parts: str) -> None:
    assert code == 2, err
    lines = [line for line in err.splitlines() if line != "reading runs"]
    assert len(lines) == 1 and lines[0].startswith("sld: "), err
    assert all(part in lines[0] for part in parts), lines


def test_the_table_has_every_digit_and_its_card_suffices(sld: Run, logs: Path) -> None:
    done = sld("collect", logs, "--out", "runs.csv")
    assert done.code == 0 and "6 runs read" in done.out and "1 resumed (joined)" in done.out
    text = Path("runs.csv").read_text(encoding="utf-8")
    assert text.splitlines()[0] == "run,N,D,seed,lr,loss,status"
    from scenario import RUNS

    assert f"large,16000000,140000000,0,0.001,{RUNS[4].eval_loss(140)!r},finished" in text
    fitted = sld("fit", "runs.csv", "--law", "E + A*N**-a", "--json")
    assert fitted.code == 0, fitted.err
    assert "left out by drop 'status==diverged'" in fitted.err
    # what is said on the command line counts, not the card
    assert "no column 'los'" in sld("fit", "runs.csv", "--target", "los", "--scale", "N", "--law", "E + A*N**-a").err


def test_without_a_file_the_table_goes_to_stdout_and_the_account_to_stderr(sld: Run, logs: Path) -> None:
    done = sld("collect", logs)
    assert done.out.startswith("run,N,D,") and len(done.out.splitlines()) == 6
    assert "1 diverged (marked)" in done.err and not list(Path().glob("*.toml"))


def test_json_has_account_columns_and_rows(sld: Run, logs: Path) -> None:
    document = sld("collect", logs, "--out", "runs.csv", "--json").document
    assert document["account"]["counts"] == {"resumed": 1, "renamed": 1, "diverged": 1, "unfinished": 1, "note": 3}
    assert document["columns"]["N"] == "scale" and document["columns"]["loss"] == "target"
    assert len(document["rows"]) == 5 and document["card"] == "runs.toml"


def test_a_second_collection_reads_only_what_changed(sld: Run, logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    before = tables.read

    def counted(unit: Unit) -> list[Attempt]:
        read.append(unit.base.name)
        return before(unit)

    from dataclasses import replace

    from sld.data.collecting import gather
    from sld.data.importers.registry import BY_NAME

    monkeypatch.setattr(gather, "BY_NAME", {**BY_NAME, "jsonl": replace(BY_NAME["jsonl"], read=counted)})
    first = sld("collect", logs, "--out", "runs.csv")
    table = Path("runs.csv").read_bytes()
    assert len(read) == 6 and "not changed" not in first.out
    read.clear()
    again = sld("collect", logs, "--out", "runs.csv")
    assert read == [] and "6 sources had not changed" in again.out and Path("runs.csv").read_bytes() == table
    path = logs / "4" / "large.jsonl"
    path.write_text(
        path.read_text(encoding="utf-8") + '{"step": 150, "eval/loss": 1.5, "tokens": 150000000}\n', encoding="utf-8"
    )
    changed = sld("collect", logs, "--out", "runs.csv")
    assert read == ["large.jsonl"] and "5 sources had not changed" in changed.out
    assert "large,16000000,150000000,0,0.001,1.5,finished" in Path("runs.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize("damage", ["cut", "flip", "other", "empty"])
def test_a_damaged_cache_is_none(sld: Run, logs: Path, damage: str) -> None:
    sld("collect", logs, "--out", "runs.csv")
    table, cache = Path("runs.csv").read_bytes(), Path(".runs.collected")
    data = bytearray(cache.read_bytes())
    data[-20] ^= 0xFF
    half = len(data) // 2
    damaged = {"cut": bytes(data[:half]), "flip": bytes(data), "other": b"no cache", "empty": b""}[damage]
    cache.write_bytes(damaged)
    assert sld("collect", logs, "--out", "runs.csv").code == 0
    assert Path("runs.csv").read_bytes() == table


def test_a_card_that_was_changed_by_hand_stays(sld: Run, logs: Path) -> None:
    sld("collect", logs, "--out", "runs.csv")
    card = Path("runs.toml")
    own = card.read_text(encoding="utf-8").replace('unit = "tokens"', 'unit = "my tokens"')
    card.write_text(own, encoding="utf-8")
    done = sld("collect", logs, "--out", "runs.csv", "--keep-unfinished")
    assert "changed by hand" in done.out and card.read_text(encoding="utf-8") == own
    card.unlink()
    sld("collect", logs, "--out", "runs.csv")
    assert 'unit = "tokens"' in card.read_text(encoding="utf-8")


def test_its_own_files_are_no_source(sld: Run, logs: Path) -> None:
    (logs / "more.csv").write_text("step,loss\n1,2\n", encoding="utf-8")
    first = sld("collect", logs, "--out", logs / "runs.csv")
    again = sld("collect", logs, "--out", logs / "runs.csv")
    assert first.out.splitlines()[0] == again.out.splitlines()[0]


def test_a_toml_of_that_name_that_is_no_card_of_the_table_is_not_read(sld: Run, runs: Path) -> None:
    runs.with_suffix(".toml").write_text("[tool]\nx = 1\n", encoding="utf-8")
    done = sld("fit", runs, "--law", "E + A*N**-a")
    assert done.code == 2 and "is a table, not a task" in done.err


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["nowhere"], ["no file or folder 'nowhere'"]),
        (["logs", "--as", "wandbb"], ["no source 'wandbb'", "did you mean 'wandb'"]),
        (["logs", "--as", "wandb"], ["nothing of W&B"]),
        (["empty"], ["it is empty", "tensorboard"]),
        (["logs", "--summary", "las:eval/loss"], ["no summary 'las'", "'last'"]),
        (["logs", "--summary", "eval/los"], ["no metric 'eval/los'", "'eval/loss'", "(there are "]),
        (["logs", "--scale", "N"], ["wants COLUMN=NAME"]),
        (["logs", "--scale", "N=config.n_param"], ["no setting 'n_param'", "'n_params'"]),
        (["logs", "--scale", "N=loss"], ["'loss' may be"]),
        (["logs", "--scale", "N=n_params,N=seed"], ["two things of 'N'"]),
        (["logs", "--keep", "sead"], ["'sead'", "'seed'"]),
        (["logs", "--group", "famly"], ["famly"]),
        (["logs", "--join", "run"], ["wants on=KEY"]),
        (["logs", "--per", "epoch"], ["run or step"]),
        (["logs", "--per", "step", "--summary", "min:eval/loss"], ["makes a run one number"]),
        (["logs", "--out", "runs.xlsx"], [".csv or .tsv"]),
        (["logs", "--out", "no/runs.csv"], ["no folder no"]),
    ],
    ids=" ".join,
)
def test_what_cannot_be_is_refused_in_one_line(sld: Run, logs: Path, words: list[str], parts: list[str]) -> None:
    Path("empty").mkdir()
    done = sld("collect", *words)
    one_line(done.code, done.err, *parts)
    assert done.out == "" and not Path("runs.csv").exists()


def test_an_unreadable_file_among_others_is_named_and_the_rest_is_read(sld: Run, logs: Path) -> None:
    (logs / "bad.jsonl").write_text('{"step": 1, "loss": 2}\nno json\n{"step": 2}\n', encoding="utf-8")
    (logs / "void.jsonl").write_text("", encoding="utf-8")
    done = sld("collect", logs, "--out", "runs.csv")
    assert done.code == 0 and "2 unreadable (left out)" in done.out
    assert "bad.jsonl line 2 is not JSON" in done.out and "void.jsonl has no rows" in done.out


def test_a_collected_frame_needs_no_roles_either(logs: Path) -> None:
    frame = sld.collect(logs)
    assert 'train = "runs.csv"' in frame.attrs["card"]
    assert frame.attrs["roles"]["N"] == "scale" and frame.attrs["roles"]["status"] == "status"
    law = sld.fit(frame, "E + A*N**-a", starts=4)
    assert law.provenance["n_rows"] == 4 and [v.column for v in law.variables] == ["N", "D"][: len(law.variables)]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal as Ctrl-C does")
def test_ctrl_c_leaves_what_was_there(tmp_path: Path) -> None:
    place = source("mlflow-files", tmp_path)
    out = tmp_path / "runs.csv"
    out.write_text("what was there\n", encoding="utf-8")
    script = (
        "import sys, time\nfrom sld.data.importers import mlflow\nbefore = mlflow._run_of_files\n"
        "def slow(unit):\n    print('reading', flush=True)\n    time.sleep(20)\n    return before(unit)\n"
        "mlflow._run_of_files = slow\nfrom sld.__main__ import main\nsys.exit(main(sys.argv[1:]))\n"
    )
    words = [sys.executable, "-c", script, "collect", str(place), "--out", str(out)]
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert process.stdout is not None and process.stdout.readline() == "reading\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130 and err.splitlines()[-1] == "sld: interrupted" and "Traceback" not in err
    assert out.read_text(encoding="utf-8") == "what was there\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mlflow-files", "runs.csv"]


def test_the_account_in_json_is_valid_json(sld: Run, logs: Path) -> None:
    document = json.loads(sld("collect", logs, "--json").out)
    assert document["rows"][3]["loss"] is None  # of the diverged run
