"""Every source gives the same tidy table from the same runs, to the last digit that its format keeps."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from recorded_runs import rows_of, source
from scenario import TOKENS_PER_STEP, truth

import sld
from sld.core.errors import UsageError


@dataclass(frozen=True)
class Kept:
    """What a format keeps of the scenario.

    Attributes:
        digits: Relative error of a loss: 0 where every digit is kept.
        tokens: Per step; None where the source has no count of them.
        loss: The column of the loss.
        renamed: Settings that a source calls otherwise.
        without: Settings that a source does not have.
        resumed: A resume can be seen in it.
        unfinished: It has what tells an unfinished run.
    """

    digits: float = 0.0
    tokens: int | None = TOKENS_PER_STEP
    loss: str = "loss"
    renamed: tuple[tuple[str, str], ...] = ()
    without: tuple[str, ...] = ()
    resumed: bool = True


FLOAT32, FOUR_DECIMALS = 1e-7, 1e-5
SOURCES = {
    "wandb": Kept(),
    "wandb-csv": Kept(resumed=False),
    "tensorboard": Kept(FLOAT32),
    "tensorboardx": Kept(FLOAT32),
    "mlflow-files": Kept(),
    "mlflow-sqlite": Kept(),
    "trackio": Kept(),
    "optuna": Kept(tokens=None, loss="value", resumed=False),  # a trial is not resumed
    "lightning": Kept(),
    "keras": Kept(),
    "trainer": Kept(FLOAT32, tokens=128, resumed=False),  # the state of a checkpoint has no trace of a resume
    "jsonl": Kept(),
    "json": Kept(),
    "csv": Kept(renamed=(("lr", "model.lr"), ("seed", "model.seed"))),
    "parquet": Kept(),
    "nanogpt": Kept(FOUR_DECIMALS, renamed=(("lr", "learning_rate"),)),
    "nanochat": Kept(FOUR_DECIMALS, loss="val/bpb", without=("lr", "seed")),
    "litgpt": Kept(1e-4, tokens=None, without=("lr", "seed")),
    "megatron": Kept(FLOAT32, tokens=None),
    "olmo": Kept(1e-3, without=("lr", "seed")),
}
UNPLANNED = {"litgpt"}  # it does not print how many steps are planned, so an unfinished run looks like any other


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_gives_the_true_table(name: str, tmp_path: Path) -> None:
    kept, place = SOURCES[name], source(name, tmp_path)
    options: dict[str, Any] = {}
    if name == "nanogpt":
        options["summary"] = "loss=val/loss"
    elif name == "nanochat":
        options["summary"] = "val/bpb"
    frame = sld.collect(place, **options)
    found = sorted(rows_of(frame).values(), key=_known)
    wanted = sorted(truth(kept.tokens or 1).values(), key=_known)
    if name in UNPLANNED:
        found = [row for row in found if row["run"] != "large-cut"]
    assert len(found) == len(wanted)
    for row, true in zip(found, wanted, strict=True):
        assert row["N"] == true["N"]
        assert kept.tokens is None or row["D"] == true["D"]
        assert row["status"] == true["status"]
        for key in {"lr", "seed"} - set(kept.without):
            assert row[dict(kept.renamed).get(key, key)] == true[key]
        if true["loss"] is None:
            assert math.isnan(row[kept.loss])
        else:
            assert row[kept.loss] == pytest.approx(true["loss"], rel=kept.digits, abs=0)
    counts = frame.attrs["counts"]
    assert (counts["renamed"], counts["diverged"]) == (1, 1)
    assert counts.get("unfinished", 0) == (name not in UNPLANNED)
    assert counts.get("resumed", 0) == kept.resumed
    assert set(rows_of(frame)) - {"large-cut"} == {"small", "small-2", "medium", "medium-hot", "large"}


def _known(row: dict[str, Any]) -> tuple[Any, ...]:
    """Sorts rows by what every source has of them."""
    return row["N"], row["status"], row.get("seed", 0) or 0, str(row.get("run", ""))


def test_every_curve_is_that_of_the_run(tmp_path: Path) -> None:
    """A row a checkpoint: the stretch that a resume made void is nowhere in it."""
    from scenario import RUNS

    medium = RUNS[2]
    for name in ("wandb", "mlflow-sqlite", "trackio", "lightning", "jsonl", "csv"):
        frame = sld.collect(source(name, tmp_path), per="step")
        rows = frame[frame["run"] == "medium"]
        assert rows["D"].tolist() == [s * TOKENS_PER_STEP for s in range(10, 121, 10)], name
        assert rows["loss"].tolist() == [medium.eval_loss(s) for s in range(10, 121, 10)], name


def test_lm_eval_has_what_the_harness_measured(tmp_path: Path) -> None:
    """`acc,none` is `sums/acc`; a limited evaluation is named; standard errors come as metrics of their own."""
    place = source("lm-eval", tmp_path)
    frame = sld.collect(place, summary=["sums/acc", "sums/acc_stderr", "sums/acc_norm"])
    rows = rows_of(frame)
    assert set(rows) >= {"small", "medium", "large"}
    assert all(0 <= row["sums/acc"] <= 1 for row in rows.values())
    assert any("12 of 20 samples" in line for line in frame.attrs["account"])


def test_trainer_and_lm_eval_are_joined_by_run(tmp_path: Path) -> None:
    places = [source(name, tmp_path) for name in ("trainer", "lm-eval")]
    frame = sld.collect(places, join="run", summary=["loss=eval_loss", "acc=sums/acc"])
    rows = rows_of(frame)
    assert rows["large"]["N"] == 16_000_000 and rows["large"]["loss"] == pytest.approx(5.2848, rel=1e-4)
    assert 0 <= rows["large"]["acc"] <= 1


def test_a_sheet_of_settings_is_joined_to_metrics(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    for name, loss in (("a", 3.0), ("b", 2.5)):
        (folder / f"{name}.csv").write_text(f"step,loss\n1,9\n2,{loss}\n", encoding="utf-8")
    sheet = tmp_path / "sheet.csv"
    sheet.write_text("run,n_params,tokens\na,1e6,5e8\nb,2e6,5e8\nc,4e6,5e8\n", encoding="utf-8")
    frame = sld.collect([folder, sheet], join="run")
    rows = rows_of(frame)
    assert [rows[k]["loss"] for k in "ab"] == [3.0, 2.5] and [rows[k]["N"] for k in "ab"] == [1e6, 2e6]
    assert any(line.startswith("c: ") for line in frame.attrs["account"])
    with pytest.raises(UsageError, match="no setting to join on 'n_param'; did you mean 'n_params'"):
        sld.collect([folder, sheet], join="n_param")


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in SOURCES if n not in ("optuna", "litgpt", "megatron", "wandb-csv")])
def test_from_tracker_to_law(name: str, tmp_path: Path) -> None:
    """Two commands, and the law is the one that made the losses: exponents 0.34 and 0.28."""
    out = tmp_path / "checkpoints.csv"
    place = source(name, tmp_path)
    options: dict[str, Any] = {"summary": "loss=val/loss"} if name == "nanogpt" else {}
    if name == "nanochat":
        options = {"summary": "val/bpb"}
    if name == "trainer":  # its tokens are few; what the law is in is the scenario's
        options = {"scale": "N=config.n_params,D=step*1000000"}
    sld.collect(place, per="step", out=out, **options)
    found = sld.discover(out, budget="300fits", workers=1)
    (constants,) = next(iter(found.law.constants.values())).values()
    near = sorted(v for k, v in constants.items() if 0.2 < v < 0.5)
    rough = name in ("olmo", "nanogpt", "nanochat")
    assert found.verdict.kind in ("law", "weak")
    assert rough or near == pytest.approx([0.28, 0.34], abs=0.03)


def test_sizes_are_counted_from_settings_and_what_cannot_be_is_said(tmp_path: Path) -> None:
    """A GPT-2 of 85,056,000 parameters without embeddings; a loss above ln V was never learnt."""
    sizes = {"model_type": "gpt2", "vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_head": 12}
    for layers, loss in ((12, 3.0), (6, 3.4), (3, 12.5)):
        lines = [{"model": {**sizes, "n_layer": layers}}, {"step": 1, "tokens": 1e9, "val_loss": 5.0}]
        lines.append({"step": 2, "tokens": 2e9, "val_loss": loss})
        (tmp_path / f"layers-{layers}.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8")
    frame = sld.collect(tmp_path, keep="model.vocab_size")
    assert rows_of(frame)["layers-12"]["N"] == 85_056_000
    card = frame.attrs["card"]
    assert 'convention = "non-embedding"' in card and "count.total" not in frame.columns
    assert any(line.startswith("doubtful: ") and "layers-3" in line for line in frame.attrs["account"])
