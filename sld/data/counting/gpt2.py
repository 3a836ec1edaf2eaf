"""GPT-2: learned positions, bias everywhere, a tied head (Radford et al. 2019, section 2.3)."""

from __future__ import annotations

from sld.data.counting import decoder
from sld.data.counting.config import Config
from sld.data.counting.parts import Model, Tally


def gpt2(config: Config) -> Model:
    """Count GPT-2."""
    config.refuse("add_cross_attention", "attention to another sequence")
    width, layers = config.whole("n_embd", "hidden_size"), config.layers("n_layer", "num_hidden_layers")
    heads, tally = config.whole("n_head", "num_attention_heads"), Tally()
    context = config.whole("n_positions", "max_position_embeddings", default=1024)
    vocabulary = config.whole("vocab_size")
    tally.table("token embedding", vocabulary, width)
    tally.table("position embedding", context, width)
    for n_out in (3 * width, width):  # queries, keys and values in one matrix
        tally.matrix("attention", width, n_out, times=layers, bias=True)
    decoder.plain_mlp(tally, width, config.whole("n_inner", default=4 * width), times=layers)
    tally.norm("norms", width, times=2 * layers + 1, bias=True)
    tally.attend(layers, heads, config.shared_out(width, heads))
    decoder.head(tally, config, tied=True, width=width)
    return tally.model(context)
