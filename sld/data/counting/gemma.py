"""Gemma 1 to 3, text (arXiv:2403.08295, table 1; arXiv:2408.00118, table 1; arXiv:2503.19786, table 1).

An MLP with a gate and a tied head; heads of a size of their own. Gemma 2 and 3 have two more gains a layer and look at
a window in most layers; Gemma 3 normalises queries and keys.
"""

from __future__ import annotations

from sld.data.counting import decoder
from sld.data.counting.config import Config
from sld.data.counting.decoder import Sizes
from sld.data.counting.parts import Model, Tally

_HEAD = 256  # size of a head where the configuration gives none


def gemma(config: Config) -> Model:
    """Count Gemma 1."""
    s, tally = Sizes.of(config, head=_HEAD), Tally()
    return _counted(tally, config, s, gains=2, marked=[False] * s.layers)


def gemma2(config: Config) -> Model:
    """Count Gemma 2: every other layer looks at a window, the first one does."""
    s, tally = Sizes.of(config, head=_HEAD), Tally()
    return _counted(tally, config, s, gains=4, marked=[i % 2 == 0 for i in range(s.layers)])


def gemma3(config: Config) -> Model:
    """Count the text model of Gemma 3: five layers of six look at a window."""
    s, tally = Sizes.of(config, head=_HEAD), Tally()
    tally.norm("norms", s.head, times=2 * s.layers)  # of queries and of keys
    every = config.whole("sliding_window_pattern", default=6)
    return _counted(tally, config, s, gains=4, marked=[bool((i + 1) % every) for i in range(s.layers)])


def _counted(tally: Tally, config: Config, s: Sizes, *, gains: int, marked: list[bool]) -> Model:
    tally.table("token embedding", s.vocabulary, s.width)
    bias = config.flag("attention_bias", False)
    decoder.attention(tally, s, times=s.layers, bias_in=bias, bias_out=bias)
    decoder.gated_mlp(tally, s.width, config.whole("intermediate_size"), times=s.layers)
    tally.norm("norms", s.width, times=gains * s.layers + 1)
    window = config.whole("sliding_window", default=4096)
    decoder.windows(tally, s, decoder.marked_layers(config, s.layers, marked), window)
    decoder.head(tally, config, tied=True)
    return tally.model(decoder.context_of(config))
