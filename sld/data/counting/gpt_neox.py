"""GPT-NeoX and Pythia: rotary positions, bias everywhere, a head of its own (arXiv:2204.06745, section 2.1)."""

from __future__ import annotations

from sld.data.counting import decoder
from sld.data.counting.config import Config
from sld.data.counting.parts import Model, Tally


def gpt_neox(config: Config) -> Model:
    """Count GPT-NeoX."""
    s, tally = decoder.Sizes.of(config), Tally()
    bias = config.flag("attention_bias", True)
    tally.table("token embedding", s.vocabulary, s.width)
    for n_out in (3 * s.width, s.width):  # queries, keys and values in one matrix
        tally.matrix("attention", s.width, n_out, times=s.layers, bias=bias)
    decoder.plain_mlp(tally, s.width, config.whole("intermediate_size"), times=s.layers)
    tally.norm("norms", s.width, times=2 * s.layers + 1, bias=True)
    tally.attend(s.layers, s.heads, s.head)
    decoder.head(tally, config, tied=False)
    return tally.model(decoder.context_of(config))
