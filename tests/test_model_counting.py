"""Parameters and FLOPs from a configuration: equal to the real model classes, to closed forms, and never a guess.

bench/results/counting.json has what the classes of transformers hold and what torch's counter of matrix products
measured; bench/counting.py made it.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from random import Random
from typing import Any

import pytest
from cli_runs import one_line
from commands import Run, runner
from many_cases import case

import sld
from sld.core.errors import DataError, SldError, UsageError
from sld.data.counting.counted import CONVENTIONS, ModelCount
from sld.data.counting.registry import FAMILIES

TRUTH = json.loads((Path(__file__).parents[1] / "bench" / "results" / "counting.json").read_text(encoding="utf-8"))
MODELS: dict[str, dict[str, Any]] = TRUTH["models"]
MEASURED: dict[str, dict[str, Any]] = TRUTH["flops"]
GPT2 = MODELS["gpt2"]["config"]
LLAMA = MODELS["llama-3-8b"]["config"]
# totals that the makers print, or that the files of the published weights add up to
PUBLISHED = {
    "gpt2": 124_439_808,
    "llama-2-7b": 6_738_415_616,
    "llama-3-8b": 8_030_261_248,
    "mistral-7b-v0.1": 7_241_732_096,
    "mixtral-8x7b": 46_702_792_704,
    "pythia-70m": 70_426_624,
    "gemma-2b": 2_506_172_416,
    "phi-2": 2_779_683_840,
    "t5-small": 60_506_624,
    "t5-v1_1-base": 247_577_856,
    "bert-base-uncased, bare": 109_482_240,
    "vit-base-patch16-224": 86_567_656,
}


def parts(counted: ModelCount, **wanted: str) -> list[Any]:
    return [p for p in counted.parts if all(getattr(p, key) == value for key, value in wanted.items())]


def held(counted: ModelCount, **wanted: str) -> int:
    return sum(part.parameters for part in parts(counted, **wanted))


def test_parameters_are_those_of_the_real_classes_to_the_last_one() -> None:
    assert len(MODELS) >= 20
    for name, truth in MODELS.items():
        with case(name):
            counted = sld.count(truth["config"])
            assert {
                "total": counted.total,
                "without_lookup_tables": counted.parameters("trainer"),
                "tables": held(counted, kind="table"),
                "head": sum(part.products for part in parts(counted, name="output head")),
                "head_tied": counted.tied,
                "biases": held(counted, kind="bias"),
                "experts": held(counted, name="experts"),
            } == {key: value for key, value in truth.items() if key != "config"}


def test_totals_are_the_published_ones() -> None:
    assert {name: sld.count(MODELS[name]["config"]).total for name in PUBLISHED} == PUBLISHED


def test_every_family_is_compared_with_its_class() -> None:
    compared = {model["config"]["model_type"] for model in MODELS.values()}
    assert compared == set(FAMILIES)


def test_the_guide_lists_every_family_and_what_was_compared() -> None:
    guide = (Path(__file__).parents[1] / "docs" / "guides" / "count-parameters.md").read_text(encoding="utf-8")
    listed = guide.partition("\n## Which models\n")[2].partition("\n## ")[0]
    assert [name for name in FAMILIES if f"`{name}`" not in listed] == []
    assert (
        f"on {len(MODELS)} public configurations" in listed and f"The FLOPs of {len(MEASURED)} small models" in listed
    )
    assert [name for name in CONVENTIONS if f"`{name}`" not in guide] == []


def test_flops_are_those_of_a_counter_of_matrix_products() -> None:
    assert len(MEASURED) >= 20
    for name, truth in MEASURED.items():
        with case(name):
            counted = sld.count(truth["config"], sequence=truth["sequence"])
            assert counted.flops().forward == pytest.approx(truth["forward"], rel=1e-3)
            if name == "mamba":  # torch 2.13 counts the gradient of a depthwise convolution as of a full one
                continue
            # nobody asks for the gradient of an image, so the first layer's backward pass is half
            unasked = sum(2 * p.per_sequence / truth["sequence"] for p in parts(counted, name="patch embedding"))
            measured = truth["forward"] + truth["backward"]
            assert counted.flops_per_token() - unasked == pytest.approx(measured, rel=1e-3)


def test_attention_costs_what_the_papers_say() -> None:
    """12 x layers x width x T a token in training: Chowdhery et al. (2022), appendix B."""
    flops = sld.count(GPT2).flops(512)
    assert 3 * flops.attention == 12 * 12 * 768 * 512
    assert sld.count(GPT2).flops(1024).layers == flops.layers


def test_a_window_bounds_what_attention_costs() -> None:
    wide = sld.count(MODELS["gemma-3-1b"]["config"])
    local, full = 22, 4  # five layers of six look at 512 tokens, of 26
    width = 4 * (256 + 256)
    assert wide.flops(4096).attention == 2 * width * (local * 512 + full * 4096)
    assert wide.flops(256).attention == 2 * width * 26 * 256


def test_conventions_are_what_they_say() -> None:
    """Of Llama 3 8B: 32 layers, width 4096, heads of 128 (32 and 8), MLP of 14336, 128256 tokens."""
    counted = sld.count(LLAMA)
    layers = 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336)
    table, gains = 128256 * 4096, (2 * 32 + 1) * 4096
    assert {name: counted.parameters(name) for name in CONVENTIONS} == {
        "total": layers + gains + 2 * table,
        "total-untied": layers + gains + 2 * table,
        "non-embedding": layers + gains,
        "non-embedding-with-head": layers + gains + table,
        "matrices": layers,
        "active": layers + gains + 2 * table,
        "active-non-embedding": layers + gains,
        "active-non-embedding-with-head": layers + gains + table,
        "trainer": layers + gains + table,
    }


def test_a_tied_head_is_counted_once_and_multiplied_with() -> None:
    tied, own = sld.count(GPT2), sld.count({**GPT2, "tie_word_embeddings": False})
    assert own.total - tied.total == 50257 * 768
    assert own.parameters("total") == tied.parameters("total-untied")
    assert own.flops() == tied.flops()
    assert (tied.parameters("non-embedding"), tied.parameters("non-embedding-with-head")) == (
        own.parameters("non-embedding"),
        own.parameters("non-embedding-with-head"),
    )


def test_a_token_uses_the_experts_that_it_is_sent_to() -> None:
    """Mixtral: 12.9e9 of 46.7e9 (arXiv:2401.04088, table 1); Qwen1.5-MoE: 2.7e9 of 14.3e9, as its name says."""
    mixtral = sld.count(MODELS["mixtral-8x7b"]["config"])
    assert mixtral.active == pytest.approx(12.9e9, rel=0.005)
    assert mixtral.total - mixtral.active == 6 * 32 * 3 * 4096 * 14336
    assert sld.count(MODELS["qwen1.5-moe-a2.7b"]["config"]).active == pytest.approx(2.69e9, rel=0.005)
    assert mixtral.flops(4096).layers == pytest.approx(2 * mixtral.parameters("active-non-embedding"), rel=1e-4)


def test_a_configuration_is_read_from_wherever_it_is(tmp_path: Path) -> None:
    class Saved:
        def to_dict(self) -> dict[str, Any]:
            return dict(GPT2)

    (tmp_path / "config.json").write_text(json.dumps(GPT2), encoding="utf-8")
    given = (GPT2, tmp_path, str(tmp_path), tmp_path / "config.json", json.dumps(GPT2).encode(), Saved())
    assert {sld.count(config).total for config in given} == {124_439_808}


def test_what_is_not_known_is_refused_or_approximated_only_when_asked() -> None:
    unknown = {**LLAMA, "model_type": "lama", "architectures": ["LamaForCausalLM"]}
    with pytest.raises(DataError, match=r"no rule to count model_type 'lama'; did you mean 'llama' .*--approximate"):
        sld.count(unknown)
    guessed = sld.count(unknown, approximate=True)
    assert guessed.total == sld.count(LLAMA).total
    assert "a guess" in guessed.notes[0]
    several = {"model_type": "gemma3", "text_config": MODELS["gemma-3-1b"]["config"], "vision_config": {}}
    with pytest.raises(DataError, match="more than a text model"):
        sld.count(several)
    assert sld.count(several, approximate=True).total == MODELS["gemma-3-1b"]["total"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hidden_size": -1}, "'hidden_size' must be a whole number of at least 1, got -1"),
        ({"hidden_size": "4096"}, "'hidden_size' must be a whole number"),
        ({"hidden_size": None}, "needs 'hidden_size'"),
        ({"num_attention_heads": 4}, "cannot share 8 heads"),
        ({"num_attention_heads": 24, "num_key_value_heads": 24}, "cannot be shared by 24"),
        ({"num_hidden_layers": 10**9}, "more layers than"),
        ({"vocab_size": 10**30}, "'vocab_size' must be"),
        ({"tie_word_embeddings": "no"}, "'tie_word_embeddings' must be true or false"),
        ({"architectures": ["LlamaForTokenClassification"]}, "has a head that is not counted"),
        ({"architectures": ["LlamaForRewardModel"]}, "has a head that is not counted"),
        ({**GPT2, "architectures": ["GPT2DoubleHeadsModel"]}, "has a head that is not counted"),
        ({**MODELS["bert-base-uncased"]["config"], "architectures": ["BertLMHeadModel"]}, "has a head that is not"),
    ],
)
def test_odd_sizes_are_refused_with_their_key(change: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        sld.count({**LLAMA, **change})


def test_any_configuration_gives_a_count_or_one_line() -> None:
    """Keys dropped, and values of every kind in their place: 600 of them."""
    random = Random(0)
    numbers: tuple[Any, ...] = (0, -1, 1, 7, 2**70, 1.5, math.nan, math.inf)
    odd = (*numbers, None, "", "x", [], [0], ["x"], {}, {"a": 1}, True, False)
    refused = 0
    for _ in range(600):
        config = dict(random.choice(list(MODELS.values()))["config"])
        for key in random.sample(sorted(config), min(len(config), random.choice((1, 2, 5)))):
            config[key] = random.choice(odd)
        try:
            counted = sld.count(config, approximate=random.random() < 0.2)
        except SldError as error:
            refused += 1
            assert "\n" not in str(error) and len(str(error)) < 500
            continue
        assert 0 < counted.non_embedding <= counted.total and counted.flops_per_token() > 0
        json.dumps(counted.to_json(), allow_nan=False)
    assert 0 < refused < 600


def test_a_sequence_has_a_length_that_the_model_can_have() -> None:
    with pytest.raises(UsageError, match="at least 1 token, got 0"):
        sld.count(GPT2, sequence=0)
    image = MODELS["vit-base-patch16-224"]["config"]
    assert sld.count(image).sequence == 14 * 14 + 1
    with pytest.raises(UsageError, match="197 patches"):
        sld.count(image, sequence=196)


def test_the_result_is_a_table_a_text_and_a_short_repr() -> None:
    counted = sld.count(GPT2)
    frame = counted.to_frame()
    assert frame["parameters"].sum() == counted.total
    assert repr(counted) == "ModelCount(GPT2LMHeadModel: 124,439,808 parameters, 85,056,000 non-embedding)"
    assert all(f"{counted.parameters(name):,}" in counted.summary() for name in CONVENTIONS)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    (tmp_path / "config.json").write_text(json.dumps(GPT2), encoding="utf-8")
    (tmp_path / "broken.json").write_text('{"model_type": "gpt2", ', encoding="utf-8")
    moe = MODELS["mixtral-8x7b"]["config"]
    (tmp_path / "moe.json").write_text(json.dumps(moe), encoding="utf-8")
    return runner(capsys, monkeypatch, tmp_path)


def test_the_command_shows_every_convention_and_says_one_for_scripts(run: Run) -> None:
    shown = run("count", "config.json")
    assert shown.code == 0 and shown.err == ""
    assert "124,439,808" in shown.out and "85,056,000" in shown.out and "1,024 of its sequence" in shown.out
    assert "active" not in shown.out  # there are no experts to tell apart
    assert "12,879,925,248" in run("count", "moe.json").out
    assert run("count", ".", "--convention", "non-embedding").out == "85056000\n"


def test_the_command_gives_the_counts_as_json(run: Run) -> None:
    document = run("count", "config.json", "--seq", "512", "--convention", "matrices", "--json").document
    assert document["N"] == document["parameters"]["matrices"] == 84_934_656
    assert document["flops_per_token"]["training"] == sld.count(GPT2).flops_per_token(512)


def test_the_command_refuses_in_one_line(run: Run) -> None:
    one_line(run("count", "nothing.json"), "no file 'nothing.json'")
    one_line(run("count", "broken.json"), "broken.json is not valid JSON")
    one_line(run("count", "config.json", "--convention", "nonembedding"), "did you mean 'non-embedding'")
    one_line(run("count", "config.json", "--seq", "-4"), "at least 1 token")
