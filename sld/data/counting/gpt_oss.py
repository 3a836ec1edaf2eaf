"""gpt-oss: experts with bias in every layer, and a weight per head that takes attention away (arXiv:2508.10925)."""

from __future__ import annotations

from sld.core.errors import DataError
from sld.data.counting import decoder
from sld.data.counting.config import Config
from sld.data.counting.parts import Model, Tally

_HEAD = 64  # size of a head where the configuration gives none


def gpt_oss(config: Config) -> Model:
    """Count gpt-oss: every other layer looks at a window, the first one does."""
    s, tally = decoder.Sizes.of(config, head=_HEAD), Tally()
    held, used = config.whole("num_local_experts", default=128), config.whole("num_experts_per_tok", default=4)
    if used > held:
        raise DataError(f"{config.where}: a token cannot use {used} of {held} experts")
    hidden, bias = config.whole("intermediate_size"), config.flag("attention_bias", True)
    tally.table("token embedding", s.vocabulary, s.width)
    decoder.attention(tally, s, times=s.layers, bias_in=bias, bias_out=bias)
    tally.add("attention", "layers", "vector", s.heads * s.layers)
    tally.matrix("router", s.width, held, times=s.layers, bias=True)
    tally.experts(s.width, hidden, held=held, used=used, times=s.layers)
    one = (2 * hidden + s.width) * s.layers
    tally.add("experts", "layers", "bias", held * one, active=used * one)
    tally.norm("norms", s.width, times=2 * s.layers + 1)
    marked = decoder.marked_layers(config, s.layers, [i % 2 == 0 for i in range(s.layers)])
    decoder.windows(tally, s, marked, config.optional("sliding_window", 128))
    decoder.head(tally, config, tied=False)
    return tally.model(decoder.context_of(config))
