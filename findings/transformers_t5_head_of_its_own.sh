#!/usr/bin/env bash
# T5 1.1, Flan-T5 and mT5 built from their own configuration lack their output head; loaded with weights they have it.
#
# Seen with transformers 5.24.0 and torch 2.13.0 (Python 3.11, CPU). The configurations of these models say
# `"tie_word_embeddings": false`, and their weights hold an `lm_head` of its own. T5Config reads the key as "do not scale
# the output" and then sets it to true: the value that was given is gone, also from a configuration that is saved again.
# A model made from the configuration (to train from scratch, or without weights to count parameters) shares the head with
# the table of tokens; `from_pretrained` compares the two, finds that they differ, says so and unties them. So one and the
# same configuration has two numbers of parameters: Flan-T5 base 222,903,552 or 247,577,856, mT5 small 172 or 300 million.
# Way out: count the head from the configuration file, or give it a parameter of its own after the model is built.
#
# Prints what was seen, and fails if that changes.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q transformers==5.24.0 torch==2.13.0 numpy==2.4.6
HF_HUB_OFFLINE=1 "$place/venv/bin/python" - "$place/model" <<'PYTHON'
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import T5Config, T5ForConditionalGeneration

folder = Path(sys.argv[1])
sizes = {"vocab_size": 100, "d_model": 16, "d_kv": 4, "d_ff": 32, "num_layers": 1, "num_heads": 4}
config = T5Config(**sizes, feed_forward_proj="gated-gelu", tie_word_embeddings=False)
built = T5ForConditionalGeneration(config)
n_built = sum(p.numel() for p in built.parameters())
print("given tie_word_embeddings=False, the configuration says", config.tie_word_embeddings)
print("built from it:", n_built, "parameters, head shared:", built.lm_head.weight is built.shared.weight)

# weights as the published ones are: with a head of their own, and a configuration that says so
built.save_pretrained(folder)
weights = {name: tensor.clone() for name, tensor in load_file(folder / "model.safetensors").items()}
weights["lm_head.weight"] = torch.randn(sizes["vocab_size"], sizes["d_model"])
save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
saved = json.loads((folder / "config.json").read_text())
print("saved again it says", saved["tie_word_embeddings"])
(folder / "config.json").write_text(json.dumps({**saved, "tie_word_embeddings": False}))
loaded = T5ForConditionalGeneration.from_pretrained(folder)
n_loaded = sum(p.numel() for p in loaded.parameters())
print("loaded:       ", n_loaded, "parameters, head shared:", loaded.lm_head.weight is loaded.shared.weight)

assert config.tie_word_embeddings is True and saved["tie_word_embeddings"] is True
assert built.lm_head.weight is built.shared.weight
assert torch.equal(loaded.lm_head.weight, weights["lm_head.weight"])
assert n_loaded - n_built == sizes["vocab_size"] * sizes["d_model"]
PYTHON
echo "as described: one configuration, two numbers of parameters"
