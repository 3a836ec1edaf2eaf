#!/usr/bin/env bash
# Torch's counter of FLOPs takes the backward pass of a depthwise convolution for that of a full one.
#
# Seen with torch 2.13.0 (Python 3.11, CPU); the formula stands unchanged in 2.14.1. A backward pass costs twice the
# forward pass: one product for the gradient of the input, one for that of the weights. FlopCounterMode says so of a plain
# convolution. With `groups` the forward count is right (the weights are smaller), but the gradient of the weights is
# counted as if every input channel met every output channel: for 64 channels in 64 groups it says 65 times the forward
# pass. `conv_backward_flop` in torch/utils/flop_counter.py is given the groups and does not use them. Mamba's short
# convolution thereby makes a training step of a small model look half as dear again, and the utilisation better than it is.
# Way out: count the forward pass and multiply by three, or register a formula for aten.convolution_backward.
#
# Prints what was seen, and fails if that changes.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6
"$place/venv/bin/python" - <<'PYTHON'
import torch
from torch.utils.flop_counter import FlopCounterMode

CHANNELS, KERNEL, LENGTH = 64, 4, 128
found = {}
for groups in (1, CHANNELS):
    convolution = torch.nn.Conv1d(CHANNELS, CHANNELS, KERNEL, groups=groups, padding=KERNEL - 1)
    x = torch.randn(1, CHANNELS, LENGTH, requires_grad=True)
    with FlopCounterMode(display=False) as forward:
        y = convolution(x)
    with FlopCounterMode(display=False) as backward:
        y.sum().backward()
    found[groups] = backward.get_total_flops() / forward.get_total_flops()
    products = y.numel() * CHANNELS // groups * KERNEL
    print(f"{groups} groups: {2 * products} operations forward, the counter says {forward.get_total_flops()};")
    print(f"  backward it says {backward.get_total_flops()}, {found[groups]:g} times as many")
    assert forward.get_total_flops() == 2 * products
assert found[1] == 2, "a plain convolution is no longer counted twice backward"
assert found[CHANNELS] == 1 + CHANNELS, "a depthwise convolution is counted otherwise now"
PYTHON
echo "as described: 64 channels in 64 groups count 65 times the forward pass, not 2"
