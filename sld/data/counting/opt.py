"""OPT: GPT-3's shape, with learned positions, a tied head and, in one size, a narrower table (arXiv:2205.01068)."""

from __future__ import annotations

from sld.data.counting import decoder
from sld.data.counting.config import Config
from sld.data.counting.parts import Model, Tally

_OFFSET = 2  # positions that the table has beyond the longest sequence: an accident of its first implementation


def opt(config: Config) -> Model:
    """Count OPT."""
    width, layers = config.whole("hidden_size"), config.layers("num_hidden_layers")
    heads, tally = config.whole("num_attention_heads"), Tally()
    narrow = config.whole("word_embed_proj_dim", default=width)
    bias, affine = config.flag("enable_bias", True), config.flag("layer_norm_elementwise_affine", True)
    context = config.whole("max_position_embeddings", default=2048)
    tally.table("token embedding", config.whole("vocab_size"), narrow)
    tally.table("position embedding", context + _OFFSET, width)
    if narrow != width:
        tally.matrix("maps to and from the table", narrow, width, times=2)
    tally.matrix("attention", width, width, times=4 * layers, bias=bias)
    decoder.plain_mlp(tally, width, config.whole("ffn_dim"), times=layers, bias=bias)
    if affine:
        last = config.flag("do_layer_norm_before", True) and not config.flag("_remove_final_layer_norm", False)
        tally.norm("norms", width, times=2 * layers + last, bias=True)
    tally.attend(layers, heads, config.shared_out(width, heads))
    decoder.head(tally, config, tied=True, width=narrow)
    return tally.model(context)
