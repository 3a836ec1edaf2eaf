"""BLOOM: positions as a slope in attention, bias everywhere, a norm after the table (arXiv:2211.05100, section 3.2)."""

from __future__ import annotations

from sld.data.counting import decoder
from sld.data.counting.config import Config
from sld.data.counting.parts import Model, Tally


def bloom(config: Config) -> Model:
    """Count BLOOM."""
    width, layers = config.whole("hidden_size", "n_embed"), config.layers("n_layer", "num_hidden_layers")
    heads, tally = config.whole("n_head", "num_attention_heads"), Tally()
    tally.table("token embedding", config.whole("vocab_size"), width)
    for n_out in (3 * width, width):  # queries, keys and values in one matrix
        tally.matrix("attention", width, n_out, times=layers, bias=True)
    decoder.plain_mlp(tally, width, 4 * width, times=layers)
    tally.norm("norms", width, times=2 * layers + 2, bias=True)
    tally.attend(layers, heads, config.shared_out(width, heads))
    decoder.head(tally, config, tied=True, width=width)
    return tally.model()
