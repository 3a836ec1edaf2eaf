"""Where a good guess about a format is wrong: each of these was seen with the real library (`make_recorded.py`)."""

from __future__ import annotations

import json
import math
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from event_files import event_file
from recorded_runs import rows_of, unpacked

import sld
from sld.data.collecting.recognise import recognised
from sld.data.importers.attempt import Attempt
from sld.data.importers.registry import BY_NAME


def attempts(place: Path, kind: str | None = None) -> list[Attempt]:
    """Return what is read of a place, by name and order of start."""
    units, _ = recognised([place], kind)
    return sorted((a for u in units for a in BY_NAME[u.reader].read(u)), key=lambda a: (a.name, a.order))


def points(attempt: Attempt, metric: str) -> list[tuple[float, float]]:
    steps, values = attempt.series[metric].pairs()
    return list(zip(steps.tolist(), values.tolist(), strict=True))


# -- W&B --------------------------------------------------------------------------------------------------------------


def test_wandb_settings_and_values_are_what_the_run_meant(tmp_path: Path) -> None:
    killed, odd = attempts(unpacked("wandb-odd", tmp_path))
    # a later update replaces the whole key: model.n_layer is gone; NaN in settings is null
    assert odd.config == {"model.d": 2, "big": 2**53 + 1, "nothing": None, "odd": None, "list": "[1, 2]"}
    assert [v for _, v in points(odd, "loss")][::2] == [3.0, 1.0] and math.isnan(points(odd, "loss")[1][1])
    assert points(odd, "huge") == [(1, 1e20)] and points(odd, "up") == [(2, math.inf)]
    # histograms, lists, words and truth are no curves
    assert not {"many", "few", "text", "yes", "none"} & set(odd.series)
    assert {points(odd, "a.b")[0][1], points(odd, "a.b (with a dot)")[0][1]} == {1.0, 2.0}
    assert any("a.b is two metrics" in note for note in odd.notes)
    assert math.isnan(float(str(odd.summary["best.min"])))  # the client's own best, which one NaN makes NaN for good
    assert (odd.state, killed.state) == ("finished", "unfinished")
    assert [v for _, v in points(killed, "loss")] == list(range(len(killed.series["loss"])))


def test_a_best_loss_is_computed_from_the_curve_and_not_taken_from_wandb(tmp_path: Path) -> None:
    frame = sld.collect(unpacked("wandb-odd", tmp_path), summary="min:best")
    assert rows_of(frame)["odd name"]["best"] == 1.0


def test_a_wandb_file_without_a_run_is_named(tmp_path: Path) -> None:
    """For the first seconds a file has its header only."""
    place = tmp_path / "offline-run-1-x"
    place.mkdir()
    (place / "run-x.wandb").write_bytes(b":W&B\xe1\xbe\x00")
    with pytest.raises(sld.DataError, match=r"run-x.wandb has no run in it: nothing had been written"):
        sld.collect(place)


def test_a_chart_of_wandb_has_no_values_of_ranges(tmp_path: Path) -> None:
    (tmp_path / "chart.csv").write_text(
        '"Step","a - loss","a - loss__MIN","a - loss__MAX","b - loss","b - loss__MIN","b - loss__MAX"\n'
        '"0","3","1","9","","",""\n"10","2.5","1","9","4","1","9"\n"20","NaN","1","9","3.5","1","9"\n',
        encoding="utf-8",
    )
    frame = sld.collect(tmp_path)
    rows = rows_of(frame)
    assert rows["b"]["loss"] == 3.5 and rows["a"]["status"] == "diverged"
    assert set(frame.columns) == {"run", "loss", "status"}
    assert any("1,500 points" in line for line in frame.attrs["account"])


# -- TensorBoard ------------------------------------------------------------------------------------------------------


def test_tensorboard_has_every_point(tmp_path: Path) -> None:
    """TensorBoard's own reader keeps a sample of 10,000 a tag, mostly without the first."""
    n = 25_000
    values = np.sin(np.arange(n)).astype(np.float32)
    folder = tmp_path / "long"
    folder.mkdir()
    (folder / "events.out.tfevents.1.host").write_bytes(event_file({"loss": (np.arange(n), values)}))
    (run,) = attempts(tmp_path)
    assert np.array_equal(run.series["loss"].steps, np.arange(n))
    assert np.array_equal(run.series["loss"].values, values)


def test_tensorboard_purges_and_keeps_doubles(tmp_path: Path) -> None:
    exact, *_ = attempts(unpacked("tensorboard-odd", tmp_path))
    assert points(exact, "loss") == [(0, 1 / 3), (1, 1 / 3), (2.0**40, 1 / 3)]
    assert set(exact.series) == {"loss", "old"}  # no histograms or texts
    # a purge at step 5: nothing of the first attempt from there on counts, in any tag
    frame = sld.collect(tmp_path / "tensorboard-odd" / "purged", per="step")
    assert frame["loss"].tolist() == [10.0, 9.0, 8.0, 7.0, 6.0, 105.0, 106.0, 107.0]


def test_keras_parts_of_a_tensorboard_folder_are_one_run(tmp_path: Path) -> None:
    for part, value in (("train", 3.0), ("validation", 4.0)):
        place = tmp_path / "base" / part
        place.mkdir(parents=True)
        (place / "events.out.tfevents.1.host").write_bytes(event_file({"epoch_loss": (np.arange(3), [9, 8, value])}))
    (row,) = rows_of(sld.collect(tmp_path)).values()
    assert (row["run"], row["loss"]) == ("base", 4.0)


def test_a_record_of_tensorboard_with_a_wrong_checksum_is_no_point(tmp_path: Path) -> None:
    data = bytearray(event_file({"loss": (np.arange(50), np.arange(50.0))}))
    at = data.rfind(np.float32(33.0).tobytes())
    data[at + 2] ^= 0x40  # the value 33 would read as another number
    (tmp_path / "events.out.tfevents.1.host").write_bytes(bytes(data))
    (run,) = attempts(tmp_path)
    assert [v for _, v in points(run, "loss")] == [v for v in range(50) if v != 33]
    assert "1 records have a wrong checksum" in run.notes[0]


# -- Trainer and lm-eval ----------------------------------------------------------------------------------------------


def trainer_state(folder: Path, entries: list[dict[str, Any]], **more: Any) -> Path:
    place = folder / "base" / "checkpoint-10"
    place.mkdir(parents=True)
    state = {"global_step": 13, "max_steps": 12, "log_history": entries, "total_flos": 1e15, **more}
    (place / "trainer_state.json").write_text(json.dumps(state), encoding="utf-8")
    return folder


def test_a_loss_of_zero_is_how_the_trainer_writes_nan(tmp_path: Path) -> None:
    entries = [{"step": 5, "loss": 3.0, "epoch": 1.0}, {"step": 10, "loss": 0.0}, {"step": 13, "loss": 0.0}]
    frame = sld.collect(trainer_state(tmp_path, [*entries, {"step": 13, "train_loss": 0.9}]))
    (row,) = rows_of(frame).values()
    assert row["status"] == "diverged" and any("2 entries" in line for line in frame.attrs["account"])


def test_a_trainer_that_went_one_step_too_far_is_finished_and_counts_no_tokens_unasked(tmp_path: Path) -> None:
    entries = [
        {"step": 5, "loss": 3.0, "num_input_tokens_seen": 0},
        {"step": 13, "loss": 2.0, "num_input_tokens_seen": 0},
    ]
    frame = sld.collect(trainer_state(tmp_path, entries))
    (row,) = rows_of(frame).values()
    assert (row["run"], row["status"], row["loss"]) == ("base", "finished", 2.0) and "D" not in row


def test_lm_eval_filters_and_absent_errors(tmp_path: Path) -> None:
    results = {
        "gsm8k": {"alias": "gsm8k", "exact_match,strict-match": 0.5, "exact_match_stderr,strict-match": "N/A"},
        "wikitext": {"alias": "wikitext", "word_perplexity,none": 12.5, "word_perplexity_stderr,none": "N/A"},
    }
    document = {
        "results": results,
        "model_name": "qwertyui",
        "config": {"model": "hf", "model_args": "pretrained=a/b/base"},
    }
    (tmp_path / "results_2026.json").write_text(json.dumps(document), encoding="utf-8")
    (run,) = attempts(tmp_path)
    assert run.name == "base"  # and not the eight random letters
    assert run.summary == {"gsm8k/exact_match,strict-match": 0.5, "wikitext/word_perplexity": 12.5}
    frame = sld.collect(tmp_path, summary="gsm8k/exact_match,strict-match, wikitext/word_perplexity")
    assert frame.columns.tolist() == ["run", "gsm8k/exact_match,strict-match", "wikitext/word_perplexity", "status"]


# -- databases --------------------------------------------------------------------------------------------------------


def test_a_trial_of_optuna_has_its_result_and_not_its_last_report(tmp_path: Path) -> None:
    trials = attempts(unpacked("optuna-odd", tmp_path))
    assert [t.state for t in trials] == ["finished", "unfinished", "finished", "unfinished"]
    assert trials[0].summary == {"value": 2.5} and trials[1].summary == {}  # the pruned one has a row, but no result
    assert points(trials[0], "intermediate_value") == [(1, 5.0), (2, 3.0)]  # of two reports of a step the first counts
    assert trials[0].config["kind"] in ("adam", "sgd")  # the database has its position
    assert isinstance(trials[0].config["layers"], int)
    frame = sld.collect(tmp_path)
    assert rows_of(frame)["odd-0"]["value"] == 2.5 and rows_of(frame)["odd-2"]["status"] == "diverged"


def test_trackio_tells_runs_of_one_name_apart_and_loses_settings_at_a_resume(tmp_path: Path) -> None:
    runs = attempts(unpacked("trackio-odd", tmp_path))
    assert [r.name for r in runs] == ["erased", "kept", "twin", "twin"]
    erased, kept = runs[0], runs[1]
    assert erased.config == {} and kept.config == {"n_params": 7, "nested.lr": 0.1}
    assert math.isnan(points(kept, "loss")[1][1]) and points(kept, "up") == [(2, math.inf)]
    assert points(kept, "a.b") == [(3, 1.5)]
    frame = sld.collect(tmp_path)
    assert rows_of(frame)["erased"]["status"] == "incomplete"
    assert "erased: has no config.n_params for N at step 2" in frame.attrs["account"]


def test_mlflow_parameters_are_texts_and_a_step_has_its_latest_value(tmp_path: Path) -> None:
    place = tmp_path / "mlruns" / "0" / ("a" * 32)
    for part in ("metrics", "params", "tags"):
        (place / part).mkdir(parents=True)
    (place / "meta.yaml").write_text("run_name: 'it''s'\nstatus: 3\nlifecycle_stage: active\nstart_time: 5\n")
    for name, text in (("n_params", "7000000000.0"), ("seed", "None"), ("lr", "nan"), ("note", "7b")):
        (place / "params" / name).write_text(text)
    # the latest by time, although MLflow's own "latest" would be the largest value of the last step
    (place / "metrics" / "loss").write_text("100 5.0 1\n300 3.0 2\n200 4.0 2\n400 1.7976931348623157e+308 3\n")
    (run,) = attempts(tmp_path)
    assert run.name == "it's" and run.config["n_params"] == 7e9 and run.config["seed"] is None
    assert run.config["note"] == "7b" and math.isnan(float(str(run.config["lr"])))
    assert [v for _, v in points(run, "loss")] == [5.0, 4.0, 3.0, math.inf]


def test_a_database_that_is_locked_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sld.data.importers.database._PATIENCE", 0.05)
    path = unpacked("optuna", tmp_path) / "optuna.db"
    writer = sqlite3.connect(path)
    writer.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(sld.DataError, match="locked by another program"):
            sld.collect(path, reader="optuna")
    finally:
        writer.rollback()
        writer.close()


# -- logs -------------------------------------------------------------------------------------------------------------


def log(folder: Path, *lines: str, name: str = "base.log") -> Path:
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_an_interval_of_megatron_without_a_good_step_has_diverged(tmp_path: Path) -> None:
    def line(step: int, loss: str, skipped: int, nan: int) -> str:
        return (
            f" [2026-01-01 12:00:00.123456] iteration {step:8d}/ 1000 | consumed samples: 9 |{loss} loss scale: 1.0 | "
            f"number of skipped iterations: {skipped:3d} | number of nan iterations: {nan:3d} |"
        )

    for k, end in enumerate((line(20, "", 0, 10), line(20, " lm loss: 0.000000E+00 |", 10, 0))):
        place = tmp_path / str(k)
        place.mkdir()
        (run,) = attempts(log(place, line(10, " lm loss: 3.5E+00 |", 0, 0), end))
        values = [v for _, v in points(run, "lm loss")]
        assert values[0] == 3.5 and math.isnan(values[1])


def test_litgpt_repeats_a_validation_until_the_next_one(tmp_path: Path) -> None:
    form = "Epoch 1 | iter {0} step {0} | loss train: {1}, val: {2} | iter time: 1.00 ms (step) remaining time: 0:00:01"
    rows = [(1, 5.0, "n/a"), (2, 4.5, "4.600"), (3, 4.0, "4.600"), (4, 3.5, "3.700")]
    (run,) = attempts(log(tmp_path, *(form.format(*row) for row in rows)))
    assert points(run, "val/loss") == [(2, 4.6), (4, 3.7)] and len(run.series["train/loss"]) == 4


def test_a_log_of_nanogpt_that_is_still_written_loses_its_last_line(tmp_path: Path) -> None:
    (tmp_path / "base.log").write_text(
        "iter 1: loss 3.5000, time 1ms, mfu 1%\niter 2: loss 3.4000, time 1", encoding="utf-8"
    )
    (run,) = attempts(tmp_path)
    assert points(run, "train/loss") == [(1, 3.5)] and any("ends inside a line" in n for n in run.notes)


def test_fastai_repeats_its_header_and_keras_writes_na(tmp_path: Path) -> None:
    header = "epoch,train_loss,valid_loss,time\n"
    text = f"{header}0,3,4,00:01\n1,2,3,00:01\n{header}0,1.9,2.9,00:01\n1,1.5,2.5,00:01\n"
    (tmp_path / "history.csv").write_text(text, encoding="utf-8")
    frame = sld.collect(tmp_path, per="step")
    assert frame["loss"].tolist() == [4, 3, 2.9, 2.5] and frame["step"].tolist() == [0, 1, 2, 3]
    keras = tmp_path / "other"
    keras.mkdir()
    (keras / "base.csv").write_text("epoch,loss,val_loss\n0,3.0,NA\n1,2.0,2.5\n2,1.0,inf\n")
    (run,) = attempts(keras)
    assert points(run, "val_loss") == [(1, 2.5), (2, math.inf)]


def test_whole_numbers_beyond_64_bits_and_53_bits_keep_their_digits(tmp_path: Path) -> None:
    rows = [{"step": k, "loss": 3.0 - k, "flops": 10**20} for k in (1, 2, 3)]
    text = [json.dumps({"n_params": 2**53 + 1}), *map(json.dumps, rows)]
    (tmp_path / "a.jsonl").write_text("\n".join(text) + "\n", encoding="utf-8")
    frame = sld.collect(tmp_path, keep="flops")
    (row,) = frame.to_dict("records")
    assert row["N"] == 2**53 + 1 and row["flops"] == 10**20


@pytest.mark.parametrize("torn", ["3,1.2", "3", "3,1.25"])
def test_the_last_line_of_a_growing_csv_is_left_out(tmp_path: Path, torn: str) -> None:
    """Of 1.2 nobody can tell that it is the beginning of 1.25."""
    (tmp_path / "base.csv").write_text(f"step,loss\n1,3.5\n2,3.25\n{torn}", encoding="utf-8")
    (run,) = attempts(tmp_path)
    assert points(run, "loss") == [(1, 3.5), (2, 3.25)] and "cut off" in run.notes[0]
