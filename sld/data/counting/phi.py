"""Phi 1, 1.5 and 2: attention and MLP side by side, bias also in the head (arXiv:2309.05463, section 2)."""

from __future__ import annotations

from sld.data.counting import decoder
from sld.data.counting.config import Config
from sld.data.counting.parts import Model, Tally


def phi(config: Config) -> Model:
    """Count Phi 1, 1.5 and 2."""
    s, tally = decoder.Sizes.of(config), Tally()
    tally.table("token embedding", s.vocabulary, s.width)
    decoder.attention(tally, s, times=s.layers, bias_in=True, bias_out=True)
    decoder.plain_mlp(tally, s.width, config.whole("intermediate_size"), times=s.layers)
    tally.norm("norms", s.width, times=s.layers + 1, bias=True)
    if config.flag("qk_layernorm", False):
        tally.norm("norms", s.head, times=2 * s.layers, bias=True)
    tally.attend(s.layers, s.heads, s.head)
    decoder.head(tally, config, tied=False, bias=True)
    return tally.model(decoder.context_of(config))
