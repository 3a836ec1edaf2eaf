"""StarCoder 1 and 2: bias everywhere, a plain MLP (arXiv:2305.06161, section 5; arXiv:2402.19173, section 6)."""

from __future__ import annotations

from sld.data.counting import decoder
from sld.data.counting.config import Config
from sld.data.counting.parts import Model, Tally


def gpt_bigcode(config: Config) -> Model:
    """Count StarCoder 1: GPT-2 whose heads share one head of keys and values."""
    config.refuse("add_cross_attention", "attention to another sequence")
    width, layers = config.whole("n_embd", "hidden_size"), config.layers("n_layer", "num_hidden_layers")
    heads, tally = config.whole("n_head", "num_attention_heads"), Tally()
    context = config.whole("n_positions", "max_position_embeddings", default=1024)
    size = config.shared_out(width, heads)
    keys = size if config.flag("multi_query", True) else width
    tally.table("token embedding", config.whole("vocab_size"), width)
    tally.table("position embedding", context, width)
    tally.matrix("attention", width, width + 2 * keys, times=layers, bias=True)
    tally.matrix("attention", width, width, times=layers, bias=True)
    decoder.plain_mlp(tally, width, config.whole("n_inner", default=4 * width), times=layers)
    tally.norm("norms", width, times=2 * layers + 1, bias=True)
    tally.attend(layers, heads, size)
    decoder.head(tally, config, tied=True, width=width)
    return tally.model(context)


def starcoder2(config: Config) -> Model:
    """Count StarCoder 2."""
    s, tally = decoder.Sizes.of(config), Tally()
    bias = config.flag("use_bias", True)
    tally.table("token embedding", s.vocabulary, s.width)
    decoder.attention(tally, s, times=s.layers, bias_in=bias, bias_out=bias)
    decoder.plain_mlp(tally, s.width, config.whole("intermediate_size"), times=s.layers, bias=bias)
    tally.norm("norms", s.width, times=2 * s.layers + 1, bias=True)
    window = config.optional("sliding_window")
    decoder.windows(tally, s, [window is not None] * s.layers, window)
    decoder.head(tally, config, tied=True)
    return tally.model(decoder.context_of(config))
