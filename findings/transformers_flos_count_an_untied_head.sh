#!/usr/bin/env bash
# "Without embeddings" in transformers keeps an output head of its own, and drops one that is shared: N and FLOPs jump.
#
# Seen with transformers 5.24.0, torch 2.13.0 and accelerate 1.15.0 (Python 3.11, CPU). `num_parameters(exclude_embeddings=True)` leaves out
# modules of the class Embedding. A head that shares the table of tokens goes with it; a head of its own is a Linear and
# stays, though scaling laws speak of neither (Kaplan et al. 2020: N without vocabulary). The Trainer computes
# `total_flos` in trainer_state.json from that number, 6 N tokens. So two runs that differ in nothing but
# `tie_word_embeddings` differ in N and in compute by the whole head: with the sizes of Pythia 70M, whose card says
# 18,915,328 parameters without embeddings, 18,915,328 and 44,670,976, a factor of 2.36; with those of 6.9B 1.03. A law
# in N or C over such a family bends at its small end. Way out: subtract the head, vocabulary times width, where it is
# not shared.
#
# Prints what was seen, and fails if that changes.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q transformers==5.24.0 torch==2.13.0 numpy==2.4.6 accelerate==1.15.0
cd "$place"
HF_HUB_OFFLINE=1 "$place/venv/bin/python" - <<'PYTHON'
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, Trainer, TrainingArguments

PYTHIA = {
    "70m": {"hidden_size": 512, "num_hidden_layers": 6, "num_attention_heads": 8, "vocab_size": 50304},
    "6.9b": {"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "vocab_size": 50432},
}
found = {}
for name, sizes in PYTHIA.items():
    for tied in (True, False):
        config = GPTNeoXConfig(**sizes, intermediate_size=4 * sizes["hidden_size"], tie_word_embeddings=tied)
        with torch.device("meta"):
            model = GPTNeoXForCausalLM(config)
            model.tie_weights()
        found[name, tied] = model.num_parameters(exclude_embeddings=True)
        print(f"{name}, head {'shared' if tied else 'of its own'}: {found[name, tied]:,} parameters without embeddings")
    head = sizes["vocab_size"] * sizes["hidden_size"]
    assert found[name, False] - found[name, True] == head, "the difference is not the head"
assert found["70m", True] == 18_915_328 and found["70m", False] == 44_670_976

# the Trainer: one step of each on four sequences of eight tokens
flos = {}
for tied in (True, False):
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 4, "vocab_size": 1000}
    model = GPTNeoXForCausalLM(GPTNeoXConfig(**small, intermediate_size=64, tie_word_embeddings=tied))
    eight = torch.tensor(range(8))
    rows = [{"input_ids": eight, "labels": eight} for _ in range(4)]
    told = TrainingArguments(
        "out", max_steps=1, per_device_train_batch_size=4, report_to="none", use_cpu=True, save_strategy="no"
    )
    trainer = Trainer(model, told, train_dataset=rows)
    trainer.train()
    flos[tied] = trainer.state.total_flos
    print("total_flos, head", "shared:" if tied else "of its own:", f"{flos[tied]:,.0f}")
assert flos[False] - flos[True] == 6 * 4 * 8 * 1000 * 16
PYTHON
echo "as described: the same architecture, two numbers of parameters without embeddings"
