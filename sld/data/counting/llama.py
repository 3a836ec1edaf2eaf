"""Llama and models of the same shape: Mistral, Granite, SmolLM3, Phi-3.

A layer is attention without bias, an MLP with a gate and two gains (Touvron et al. 2023, arXiv:2302.13971, section 2.2;
grouped queries: arXiv:2307.09288, section 2.2).
"""

from __future__ import annotations

from sld.data.counting import decoder
from sld.data.counting.config import Config
from sld.data.counting.parts import Model, Tally

_MISTRAL_WINDOW = 4096  # tokens that Mistral looks at where the configuration has no key; null means all


def llama(config: Config) -> Model:
    """Count Llama 1 to 3, and Granite."""
    return _counted(config, tied=False)


def granite(config: Config) -> Model:
    """Count Granite, which differs from Llama by fixed factors only."""
    return _counted(config, tied=False)


def smollm3(config: Config) -> Model:
    """Count SmolLM3, where some layers have no positions, and the head is tied."""
    return _counted(config, tied=True)


def mistral(config: Config) -> Model:
    """Count Mistral: no bias anywhere, attention in a window where one is set."""
    return _counted(config, tied=False, window=config.optional("sliding_window", _MISTRAL_WINDOW))


def phi3(config: Config) -> Model:
    """Count Phi-3: Llama with queries, keys and values in one matrix."""
    return _counted(config, tied=False, window=config.optional("sliding_window"))


def _counted(config: Config, *, tied: bool, window: int | None = None) -> Model:
    s, tally = decoder.Sizes.of(config), Tally()
    tally.table("token embedding", s.vocabulary, s.width)
    bias = config.flag("attention_bias", False)
    decoder.attention(tally, s, times=s.layers, bias_in=bias, bias_out=bias)
    decoder.gated_mlp(
        tally, s.width, config.whole("intermediate_size"), times=s.layers, bias=config.flag("mlp_bias", False)
    )
    tally.norm("norms", s.width, times=2 * s.layers + 1)
    decoder.windows(tally, s, [window is not None] * s.layers, window)
    decoder.head(tally, config, tied=tied)
    return tally.model(decoder.context_of(config))
