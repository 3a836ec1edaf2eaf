"""Mixtral: Mistral with experts in place of every MLP, of which a token uses two (arXiv:2401.04088, section 2)."""

from __future__ import annotations

from sld.core.errors import DataError
from sld.data.counting import decoder
from sld.data.counting.config import Config
from sld.data.counting.parts import Model, Tally


def mixtral(config: Config) -> Model:
    """Count Mixtral."""
    s, tally = decoder.Sizes.of(config), Tally()
    held, used = config.whole("num_local_experts", default=8), config.whole("num_experts_per_tok", default=2)
    if used > held:
        raise DataError(f"{config.where}: a token cannot use {used} of {held} experts")
    tally.table("token embedding", s.vocabulary, s.width)
    decoder.attention(tally, s, times=s.layers)
    tally.matrix("router", s.width, held, times=s.layers)
    tally.experts(s.width, config.whole("intermediate_size"), held=held, used=used, times=s.layers)
    tally.norm("norms", s.width, times=2 * s.layers + 1)
    window = config.optional("sliding_window")
    decoder.windows(tally, s, [window is not None] * s.layers, window)
    decoder.head(tally, config, tied=False)
    return tally.model(decoder.context_of(config))
