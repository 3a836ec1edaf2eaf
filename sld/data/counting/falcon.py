"""Falcon: one head of keys and values, or a few, and in most sizes no bias (arXiv:2311.16867, section 3)."""

from __future__ import annotations

from sld.data.counting import decoder
from sld.data.counting.config import Config
from sld.data.counting.parts import Model, Tally


def falcon(config: Config) -> Model:
    """Count Falcon, the first and the new architecture."""
    width, layers = config.whole("hidden_size", "n_embed"), config.layers("num_hidden_layers", "n_layer")
    heads, tally = config.whole("num_attention_heads", "n_head"), Tally()
    size, bias = config.shared_out(width, heads), config.flag("bias", False)
    new, parallel = config.flag("new_decoder_architecture", False), config.flag("parallel_attn", True)
    if new:
        keys = config.whole("num_kv_heads", "n_head_kv", default=heads) * size
    else:
        keys = size if config.flag("multi_query", True) else width
    tally.table("token embedding", config.whole("vocab_size"), width)
    tally.matrix("attention", width, width + 2 * keys, times=layers, bias=bias)
    tally.matrix("attention", width, width, times=layers, bias=bias)
    hidden = config.whole("ffn_hidden_size", default=4 * width)
    decoder.plain_mlp(tally, width, hidden, times=layers, bias=bias)
    # side by side, attention and MLP share one normalisation, unless the new architecture gives each its own
    two = not parallel or config.whole("num_ln_in_parallel_attn", default=2 if new else 1) == 2
    tally.norm("norms", width, times=(2 if two else 1) * layers + 1, bias=True)
    tally.attend(layers, heads, size)
    decoder.head(tally, config, tied=True, width=width)
    return tally.model(decoder.context_of(config))
