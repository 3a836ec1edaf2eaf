"""StableLM 2 and 3B: Llama's MLP with the normalisation of GPT-NeoX (arXiv:2402.17834, section 2)."""

from __future__ import annotations

from sld.data.counting import decoder
from sld.data.counting.config import Config
from sld.data.counting.parts import Model, Tally


def stablelm(config: Config) -> Model:
    """Count StableLM."""
    s, tally = decoder.Sizes.of(config), Tally()
    tally.table("token embedding", s.vocabulary, s.width)
    decoder.attention(tally, s, times=s.layers, bias_in=config.flag("use_qkv_bias", False))
    decoder.gated_mlp(tally, s.width, config.whole("intermediate_size"), times=s.layers)
    each = 1 if config.flag("use_parallel_residual", False) else 2
    tally.norm("norms", s.width, times=each * s.layers + 1, bias=True)
    if config.flag("qk_layernorm", False):
        tally.norm("norms", s.queries + s.keys, times=s.layers)  # one for each head
    tally.attend(s.layers, s.heads, s.head)
    decoder.head(tally, config, tied=False)
    return tally.model(decoder.context_of(config))
