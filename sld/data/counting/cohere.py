"""Command R: attention and MLP side by side under one norm without bias, a tied head (Cohere 2024, model card)."""

from __future__ import annotations

from sld.data.counting import decoder
from sld.data.counting.config import Config
from sld.data.counting.parts import Model, Tally


def cohere(config: Config) -> Model:
    """Count Command R."""
    s, tally = decoder.Sizes.of(config), Tally()
    bias = config.flag("attention_bias", False)
    tally.table("token embedding", s.vocabulary, s.width)
    decoder.attention(tally, s, times=s.layers, bias_in=bias, bias_out=bias)
    decoder.gated_mlp(tally, s.width, config.whole("intermediate_size"), times=s.layers)
    tally.norm("norms", s.width, times=s.layers + 1)
    if config.flag("use_qk_norm", False):
        tally.norm("norms", s.queries + s.keys, times=s.layers)  # one for each head
    tally.attend(s.layers, s.heads, s.head)
    decoder.head(tally, config, tied=True)
    return tally.model(decoder.context_of(config))
