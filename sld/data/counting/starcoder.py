"""StarCoder 2: grouped queries, bias everywhere, a plain MLP (arXiv:2402.19173, section 6)."""

from __future__ import annotations

from sld.data.counting import decoder
from sld.data.counting.config import Config
from sld.data.counting.parts import Model, Tally


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
