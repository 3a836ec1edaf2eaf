"""Mamba: a state that every token changes, in place of attention (arXiv:2312.00752, section 3.4 and figure 3)."""

from __future__ import annotations

from sld.data.counting import decoder
from sld.data.counting.config import Config
from sld.data.counting.parts import Model, Tally


def mamba(config: Config) -> Model:
    """Count Mamba 1.

    Of the state space only the product that reads the state is a matrix product; the recurrence itself works number by
    number and is in no count of matrix products.
    """
    width, layers = config.whole("hidden_size"), config.layers("num_hidden_layers")
    inner, state = int(config.number("expand", 2) * width), config.whole("state_size", default=16)
    bias, kernel, tally = config.flag("use_bias", False), config.whole("conv_kernel", default=4), Tally()
    auto = config.data.get("time_step_rank", "auto") == "auto"
    rank = -(-width // 16) if auto else config.whole("time_step_rank")
    tally.table("token embedding", config.whole("vocab_size"), width)
    tally.matrix("projections", width, 2 * inner, times=layers, bias=bias)
    tally.matrix("convolution", kernel, inner, times=layers, bias=config.flag("use_conv_bias", True))
    tally.matrix("projections", inner, rank + 2 * state, times=layers)
    tally.matrix("projections", rank, inner, times=layers, bias=True)
    tally.matrix("projections", inner, width, times=layers, bias=bias)
    tally.state("state space", layers * inner * (state + 1), layers * inner * state)
    tally.norm("norms", width, times=layers + 1)
    decoder.head(tally, config, tied=True)
    return tally.model()
