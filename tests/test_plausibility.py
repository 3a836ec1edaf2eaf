"""What cannot be in a table of runs is said in one line with run and number; what can be is not."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_runs import REPOSITORY, write_runs, write_task
from commands import Run, runner
from many_cases import case

import sld
from sld.data.card import Variable
from sld.data.counting.counted import ModelCount
from sld.data.plausibility import Finding, plausibility, plausibility_lines
from sld.data.quantities import QUANTITIES, quantities, quantity_of
from sld.data.table import table_from
from sld.data.task import check_task, load_task

N = np.array([1e8, 1e8, 1e8, 4e8, 4e8, 4e8, 1e9, 1e9])
D = np.array([2e9, 4e9, 8e9, 4e9, 8e9, 2e10, 8e9, 4e10])
LOSS = 1.7 + 400 / N**0.34 + 900 / D**0.3


def sound(**changed: Any) -> dict[str, Any]:
    """Return a table in which everything agrees, with some columns changed."""
    steps = D / (512 * 2048)
    columns = {
        "run": [f"r{k}" for k in range(8)],
        "N": N,
        "tokens": D,
        "flops": 6 * N * D,
        "steps": steps,
        "batch": np.full(8, 512.0),
        "seq_len": np.full(8, 2048.0),
        "vocab_size": np.full(8, 32000.0),
        "loss": LOSS,
    }
    return {name: list(values) for name, values in {**columns, **changed}.items() if values is not None}


def put(values: Any, at: int, value: float) -> list[float]:
    changed = [float(v) for v in values]
    changed[at] = value
    return changed


def the_one(data: Any, check: str, **options: Any) -> Finding:
    found = plausibility(data, **options)
    assert [f.check for f in found] == [check], [str(f) for f in found]
    assert "\n" not in found[0].text
    return found[0]


def test_a_sound_table_is_silent() -> None:
    assert plausibility(sound()) == ()
    assert plausibility(sound(flops=8 * N * D / 0.4)) == ()  # what the hardware could have done, at 30 % of it


def test_compute_beyond_what_the_hardware_did_is_impossible() -> None:
    found = the_one(sound(flops=put(6 * N * D, 5, 2.4e19)), "compute")
    assert (found.grade, found.rows) == ("impossible", (5,))
    assert found.text.startswith("run r5: 6*N*tokens = 4.8e19 is 200 % of flops = 2.4e19, a utilisation above 100 %")


def test_compute_that_was_hardly_used_is_doubtful() -> None:
    found = the_one(sound(flops=put(6 * N * D, 0, 6e8 * 2e9 * 2000)), "compute")
    assert (found.grade, found.rows) == ("doubtful", (0,))
    assert "run r0: 6*N*tokens = 1.2e18 is 0.05 % of flops = 2.4e21, a utilisation below 0.1 %" in found.text


def test_compute_of_another_rule_is_named_with_its_factor() -> None:
    assert (
        "flops is 2*N*tokens here and in all 8 rows, not 6*N*tokens" in the_one(sound(flops=2 * N * D), "compute").text
    )


@pytest.mark.parametrize(
    ("factor", "unit"), [(1e9, "GFLOPs"), (1e15, "PFLOPs"), (1e18, "EFLOPs"), (8.64e19, "PF-days"), (1e21, "ZFLOPs")]
)
@pytest.mark.parametrize("utilisation", [0.3, 1.0])
def test_compute_in_another_unit_is_named(factor: float, unit: str, utilisation: float) -> None:
    found = the_one(sound(flops=6 * N * D / factor / utilisation), "units")
    assert f"flops seems to be in {unit};" in found.text and found.text.startswith("run r0: ")


def test_compute_counted_in_two_ways_is_found_where_most_rows_agree() -> None:
    flops = 6 * N * D
    flops[6:] *= 1.4
    found = the_one(sound(flops=flops), "convention")
    assert found.rows == (6, 7) and "while it is flops in 6 rows (and 1 more of 8 rows)" in found.text


def test_tokens_are_steps_times_batch_times_sequence() -> None:
    """A last batch that is shorter is no fault; a resumed run, and eight devices, are told apart."""
    assert plausibility(sound(tokens=D * 0.99, flops=None)) == ()
    found = the_one(sound(tokens=put(D, 2, 4e9), flops=None), "tokens")
    assert found.rows == (2,)
    assert found.text.startswith("run r2: tokens = 4e9 is 0.5 times steps x batch x seq_len = 8e9")
    devices = the_one(sound(batch=np.full(8, 64.0)), "tokens")
    assert (
        "is 8 times" in devices.text and "in all 8 rows: are devices or accumulated batches left out?" in devices.text
    )
    in_tokens = {"run": ["a", "b"], "steps": [10.0, 20.0], "batch_tokens": [512.0, 512.0], "tokens": [5120.0, 5120.0]}
    assert the_one(in_tokens, "tokens").rows == (1,)


def test_a_loss_above_guessing_is_doubtful() -> None:
    found = the_one(sound(loss=put(LOSS, 3, 11.5)), "loss")
    assert found.rows == (3,)
    assert f"run r3: loss = 11.5 is above ln(32000) = {math.log(32000):.4g}" in found.text
    assert plausibility(sound(loss=put(LOSS, 3, 10.3))) == ()


def test_numbers_that_stand_for_none_are_no_losses() -> None:
    """The Trainer of transformers writes 0.0 for a loss that is not a number, MLflow 1.797e308 for infinity."""
    zero, infinite = plausibility(sound(loss=put(put(LOSS, 1, 0.0), 4, 1.7976931348623157e308)))
    assert (zero.rows, zero.grade) == ((1,), "impossible") and "run r1: loss = 0 is exactly 0" in zero.text
    assert (infinite.rows, infinite.grade) == ((4,), "impossible") and "run r4: loss = 1.798e308" in infinite.text


def test_counters_of_a_run_rise() -> None:
    steps = [1.0, 2.0, 3.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]
    curve = {"run": ["a"] * 12 + ["b"] * 12, "step": steps + [float(k) for k in range(12)]}
    found = the_one({**curve, "loss": [3 - 0.01234567 * k for k in range(24)]}, "counters")
    assert found.rows == (3,) and "run a: step falls from 3 to 2" in found.text
    downwards = {"run": ["a"] * 3, "step": [3.0, 2.0, 1.0], "loss": [2.0, 3.0, 4.0]}
    assert plausibility(downwards) == ()
    several = {"run": ["sweep"] * 6, "step": [1.0, 9.0, 1.0, 9.0, 1.0, 9.0], "loss": [3.0, 2.0, 3.1, 2.2, 3.3, 2.3]}
    assert plausibility(several) == ()  # the name of a sweep, not of a run


def test_units_of_parameters_and_tokens() -> None:
    billions = the_one(sound(N=N / 1e9, flops=None), "units")
    assert "run r0: N = 0.1 (to 1) is no number of parameters: is it in B, M or thousands?" in billions.text
    mixed = the_one(sound(N=put(N, 6, 1000.0), flops=None), "units")
    assert "run r6: N = 1000, and the next larger one is 1e8: are parameters given in two units" in mixed.text
    columns = table_from(sound(N=N / 1e9), target="loss", scale="N,tokens".split(","))
    assert [f.check for f in plausibility(columns)] == ["units"]
    said = [Variable("N", unit="billion parameters"), Variable("tokens")]
    assert plausibility(replace(columns, variables=tuple(said))) == ()


def gpt2(width: int) -> ModelCount:
    sizes = {"vocab_size": 50257, "n_positions": 1024, "n_layer": 12, "n_head": 12}
    return sld.count({"model_type": "gpt2", "n_embd": width, **sizes})


def test_parameters_are_counted_by_one_convention() -> None:
    counts = {"a": gpt2(192), "b": gpt2(384), "c": gpt2(768)}
    rows = {"run": list(counts), "loss": [3.9, 3.4, 3.1]}
    right = [float(c.non_embedding) for c in counts.values()]
    assert plausibility({**rows, "N": right}, counts=counts) == ()
    mixed = the_one({**rows, "N": [right[0], right[1], 124439808.0]}, "convention", counts=counts)
    assert mixed.grade == "impossible"
    assert "N is the non-embedding count in run a" in mixed.text and "the total count in run c" in mixed.text
    odd = the_one({**rows, "N": [right[0], right[1], 9e7]}, "convention", counts=counts)
    assert odd.rows == (2,) and "run c: N = 9e7 is no count of its configuration (total 124,439,808" in odd.text
    words = {**rows, "N": right, "convention": ["total", "total", "non-embedding"]}
    assert "run c and run a say two things in convention" in the_one(words, "convention").text


def test_compute_of_a_mixture_that_counts_every_expert() -> None:
    """Trainer's total_flos is 6 x tokens x parameters outside nn.Embedding, all experts included."""
    sizes = {"vocab_size": 50304, "hidden_size": 512, "num_hidden_layers": 4, "num_attention_heads": 8}
    experts = {"intermediate_size": 512, "num_experts": 64, "num_experts_per_tok": 8}
    counted = sld.count({"model_type": "olmoe", **sizes, **experts})
    tokens = [1e9, 3e9]
    rows = {"run": ["a", "b"], "N": [float(counted.total)] * 2, "tokens": tokens, "loss": [3.4, 3.1]}
    counts = {"a": counted, "b": counted}
    every = [6.0 * counted.parameters("trainer") * d for d in tokens]
    found = the_one({**rows, "flops": every}, "compute", counts=counts)
    assert found.rows == (0, 1) and f"of {counted.parameters('trainer'):,} parameters (and 1 more" in found.text
    used = [counted.flops_per_token(2048) * d for d in tokens]
    assert plausibility({**rows, "flops": used}, counts=counts) == ()


def test_guessing_is_known_from_a_configuration() -> None:
    counts = {f"r{k}": gpt2(768) for k in range(8)}
    table = sound(vocab_size=None, loss=put(LOSS, 3, 12.0), N=None, flops=None)
    assert "above ln(50257) = 10.82" in the_one(table, "loss", counts=counts).text


def test_one_run_under_two_names() -> None:
    twice = sound(N=put(N, 1, 1e8), tokens=put(D, 1, 2e9), steps=None, flops=None, loss=put(LOSS, 1, LOSS[0]))
    found = the_one(twice, "twins")
    assert found.rows == (0, 1)
    assert f"runs r0 and r1 agree in every number (last result {LOSS[0]:.6g})" in found.text
    seeds = plausibility({**twice, "seed": [float(k) for k in range(8)]})
    assert "although their seeds are 0 and 1" in seeds[0].text
    rounded = {**twice, "loss": [round(float(x), 3) for x in twice["loss"]]}
    assert plausibility(rounded) == ()  # two seeds agree in four digits now and then


def test_a_fixed_ratio_of_tokens_to_parameters_tells_nothing_apart() -> None:
    table = {"run": ["a", "b", "c"], "N": [1e8, 2e8, 4e8], "tokens": [2e9, 4e9, 8e9], "loss": [3.5, 3.2, 3.0]}
    assert "tokens/N is 20 in all 3 rows (run a and on)" in the_one(table, "design").text
    assert plausibility({**table, "tokens": [2e9, 4e9, 8.5e9]}) == ()


def test_rows_that_differ_only_in_seed_are_a_note() -> None:
    table = {"seed": [0, 1, 0, 1, 0], "N": [1e8, 1e8, 2e8, 2e8, 4e8], "loss": [3.51, 3.52, 3.2, 3.21, 3.0]}
    found = the_one(table, "seeds")
    assert (found.grade, found.rows) == ("note", (0, 1, 2, 3))
    assert found.text.startswith("4 rows at 2 points differ only in seed (first: row 1)")
    assert plausibility_lines(table) == ()


def test_roles_say_what_names_do_not() -> None:
    """Small letters stand for anything; said, they are compared; and a loss that is a setting is none."""
    table = {"n": [1e8, 2e8], "d": [2e9, 9e9], "work": [1e15, 1e15]}
    assert plausibility(table) == ()
    found = plausibility(table, {"n": "N", "d": "D", "work": "C"})
    assert [f.check for f in found] == ["compute"]
    assert plausibility({"teacher_loss": [0.0, 1.0], "N": [1e8, 2e8]}, {"teacher_loss": "setting"}) == ()


def test_names_of_columns_tell_quantities_only_where_they_leave_no_doubt() -> None:
    told = {
        "N": (
            "N",
            "params",
            "n_params",
            "numParams",
            "model.n_parameters",
            "config/num_params",
            "non_embedding_params",
        ),
        "D": ("D", "tokens", "train_tokens", "tokens_seen", "num_input_tokens_seen"),
        "C": ("C", "flops", "total_flos", "compute"),
        "loss": ("loss", "eval/loss", "val_loss", "validation-loss", "train.loss"),
        "steps": ("steps", "global_step", "max_steps", "iters"),
        "batch": ("batch_size", "bsz", "global_batch_size"),
        "sequence": ("seq_len", "max_seq_length", "block_size", "context"),
        "vocabulary": ("vocab_size", "n_vocab"),
        "seed": ("seed", "config.seed", "random_state"),
    }
    for quantity, names in told.items():
        assert quantity in QUANTITIES
        for name in names:
            assert quantity_of(name) == quantity, name
    for name in (
        "n",
        "d",
        "c",
        "log10_N",
        "tokens_per_param",
        "loss_scale",
        "lr",
        "flops_per_token",
        "params_b",
        "batch_norm",
    ):
        assert quantity_of(name) is None, name
    assert quantities(["N", "params", "tokens"]) == {"D": "tokens"}  # which of two is N is not known


def test_any_table_gives_findings_and_no_traceback() -> None:
    odd: list[Any] = [0.0, -1.0, math.nan, math.inf, -math.inf, 1e308, 5e-324, 1e300, 1.0]
    random = np.random.default_rng(0)
    for k in range(200):
        with case(k):
            table = sound(seed=[float(i % 2) for i in range(8)])
            for name in random.choice([c for c in table if c != "run"], size=3, replace=False):
                for row in random.integers(0, 8, size=3):
                    table[str(name)][int(row)] = odd[int(random.integers(len(odd)))]
            for finding in plausibility(table):
                assert "\n" not in finding.text and "nan" not in finding.text
                json.dumps(finding.to_json(), allow_nan=False)


def test_bundled_tasks_and_examples_are_plausible() -> None:
    for name in sld.bundled_tasks():
        assert plausibility(load_task(name).train) == ()
    assert plausibility(REPOSITORY / "examples" / "runs.csv") == ()


def test_a_card_keeps_the_convention() -> None:
    variable = Variable("N", convention="non-embedding")
    assert variable.to_dict()["convention"] == "non-embedding"
    assert Variable.from_dict(variable.to_dict()) == variable
    assert "convention" not in Variable("N").to_dict()  # a card without one is written as before


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    return runner(capsys, monkeypatch, tmp_path)


def test_a_task_is_checked_for_what_cannot_be(tmp_path: Path) -> None:
    folder = write_task(tmp_path / "mine", '[[variable]]\ncolumn = "D"\n')
    text = (folder / "train.csv").read_text(encoding="utf-8").splitlines()
    (folder / "train.csv").write_text("\n".join([*text, "1000000,100000000,0.0"]) + "\n", encoding="utf-8")
    assert any("train.csv: row 26: loss = 0 is exactly 0" in problem for problem in check_task(folder))


def test_a_table_is_checked_by_the_command(run: Run, tmp_path: Path) -> None:
    write_runs(tmp_path / "runs.csv")
    assert run("tasks", "check", "runs.csv").out == "runs.csv: nothing wrong\n"
    lines = ["run,N,tokens,flops,loss", "a,1e8,2e9,1e17,3.1", "b,2e8,2e9,2.4e18,3.0"]
    (tmp_path / "odd.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    checked = run("tasks", "check", "odd.csv")
    assert checked.code == 1 and checked.out.startswith("run a: 6*N*tokens = 1.2e18 is 12 times flops = 1e17")
    document = run("tasks", "check", "odd.csv", "--json").document
    assert document["ok"] is False and len(document["problems"]) == 1


def test_what_is_impossible_is_noted_before_a_search() -> None:
    columns = {name: values for name, values in sound(flops=put(6 * N * D, 5, 1e19)).items() if name != "run"}
    task = sld.task_from(columns, target="loss", scale=["N", "tokens", "flops"])
    assert [note for note in task.train.notes if "a utilisation above 100 %" in note and note.startswith("row 6: ")]
    assert not [
        note for note in sld.task_from(sound(), target="loss", scale=["N", "tokens"]).train.notes if "row" in note
    ]
