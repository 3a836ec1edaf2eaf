"""OLMo 1 to 3, and OLMoE (arXiv:2402.00838, section 2.1; arXiv:2501.00656, section 2; arXiv:2409.02060, section 2).

OLMo normalises without a gain; OLMo 2 and OLMoE normalise queries and keys across all heads; in OLMo 3 three layers of
four look at a window.
"""

from __future__ import annotations

from sld.core.errors import DataError
from sld.data.counting import decoder
from sld.data.counting.config import Config
from sld.data.counting.decoder import Sizes
from sld.data.counting.parts import Model, Tally


def olmo(config: Config) -> Model:
    """Count OLMo 1."""
    s, tally = Sizes.of(config), Tally()
    decoder.gated_mlp(tally, s.width, config.whole("intermediate_size"), times=s.layers)
    return _finished(tally, config, s)


def olmo2(config: Config) -> Model:
    """Count OLMo 2."""
    s, tally = Sizes.of(config), Tally()
    decoder.gated_mlp(tally, s.width, config.whole("intermediate_size"), times=s.layers)
    _gains(tally, s)
    return _finished(tally, config, s)


def olmo3(config: Config) -> Model:
    """Count OLMo 3."""
    s, tally = Sizes.of(config), Tally()
    decoder.gated_mlp(tally, s.width, config.whole("intermediate_size"), times=s.layers)
    _gains(tally, s)
    marked = decoder.marked_layers(config, s.layers, [bool((i + 1) % 4) for i in range(s.layers)])
    return _finished(tally, config, s, marked, config.optional("sliding_window", 4096))


def olmoe(config: Config) -> Model:
    """Count OLMoE: 64 experts in every layer, of which a token uses 8."""
    s, tally = Sizes.of(config), Tally()
    held, used = config.whole("num_experts", default=64), config.whole("num_experts_per_tok", default=8)
    if used > held:
        raise DataError(f"{config.where}: a token cannot use {used} of {held} experts")
    tally.matrix("router", s.width, held, times=s.layers)
    tally.experts(s.width, config.whole("intermediate_size"), held=held, used=used, times=s.layers)
    _gains(tally, s)
    return _finished(tally, config, s)


def _gains(tally: Tally, s: Sizes) -> None:
    tally.norm("norms", s.width, times=2 * s.layers + 1)
    tally.norm("norms", s.queries + s.keys, times=s.layers)


def _finished(
    tally: Tally, config: Config, s: Sizes, marked: list[bool] | None = None, window: int | None = None
) -> Model:
    tally.table("token embedding", s.vocabulary, s.width)
    bias = config.flag("attention_bias", False)
    decoder.attention(tally, s, times=s.layers, bias_in=bias, bias_out=bias)
    decoder.windows(tally, s, marked or [False] * s.layers, window)
    decoder.head(tally, config, tied=False)
    return tally.model(decoder.context_of(config))
