"""Qwen 2 and 3, dense and with experts (arXiv:2407.10671, table 1; arXiv:2505.09388, section 2).

Qwen 2 is Llama with a bias at queries, keys and values; Qwen 3 drops it and normalises queries and keys in each head.
"""

from __future__ import annotations

from sld.core.errors import DataError
from sld.data.counting import decoder
from sld.data.counting.config import Config
from sld.data.counting.decoder import Sizes
from sld.data.counting.parts import Model, Tally

_QWEN3_HEAD = 128  # size of a head where a configuration of Qwen 3 gives none; the MoE class shares out the width


def qwen2(config: Config) -> Model:
    """Count Qwen 2 and 2.5."""
    s, tally = Sizes.of(config), Tally()
    decoder.attention(tally, s, times=s.layers, bias_in=True)
    decoder.gated_mlp(tally, s.width, config.whole("intermediate_size"), times=s.layers)
    return _finished(tally, config, s)


def qwen3(config: Config) -> Model:
    """Count Qwen 3."""
    s, tally = Sizes.of(config, head=_QWEN3_HEAD), Tally()
    _attention3(tally, config, s)
    decoder.gated_mlp(tally, s.width, config.whole("intermediate_size"), times=s.layers)
    return _finished(tally, config, s)


def qwen2_moe(config: Config) -> Model:
    """Count Qwen 1.5 and 2 with experts, and one expert that every token uses, behind a gate of its own."""
    s, tally = Sizes.of(config), Tally()
    decoder.attention(tally, s, times=s.layers, bias_in=config.flag("qkv_bias", True))
    sparse = _experts(tally, config, s, held=("num_experts", 60), used=("num_experts_per_tok", 4))
    shared = config.whole("shared_expert_intermediate_size")
    decoder.gated_mlp(tally, s.width, shared, times=sparse, name="shared expert")
    tally.matrix("shared expert", s.width, 1, times=sparse)
    return _finished(tally, config, s)


def qwen3_moe(config: Config) -> Model:
    """Count Qwen 3 with experts."""
    s, tally = Sizes.of(config), Tally()
    _attention3(tally, config, s)
    _experts(tally, config, s, held=("num_experts", 128), used=("num_experts_per_tok", 8))
    return _finished(tally, config, s)


def _attention3(tally: Tally, config: Config, s: Sizes) -> None:
    bias = config.flag("attention_bias", False)
    decoder.attention(tally, s, times=s.layers, bias_in=bias, bias_out=bias)
    tally.norm("norms", s.head, times=2 * s.layers)  # of queries and of keys, the same for all heads


def _experts(tally: Tally, config: Config, s: Sizes, *, held: tuple[str, int], used: tuple[str, int]) -> int:
    """Add routers and experts, and an MLP in the layers that have none; return the number of layers with experts."""
    n_held, n_used = config.whole(held[0], default=held[1], least=0), config.whole(used[0], default=used[1])
    step, dense_only = config.whole("decoder_sparse_step", default=1), set(config.wholes("mlp_only_layers"))
    sparse = sum(1 for i in range(s.layers) if n_held and i not in dense_only and (i + 1) % step == 0)
    if sparse and n_used > n_held:
        raise DataError(f"{config.where}: a token cannot use {n_used} of {n_held} experts")
    tally.matrix("router", s.width, n_held, times=sparse)
    if sparse:
        hidden = config.whole("moe_intermediate_size")
        tally.experts(s.width, hidden, held=n_held, used=n_used, times=sparse)
    if sparse < s.layers:
        decoder.gated_mlp(tally, s.width, config.whole("intermediate_size"), times=s.layers - sparse)
    return sparse


def _finished(tally: Tally, config: Config, s: Sizes) -> Model:
    """Add what all of them have: the table of tokens, gains, windows, the head."""
    tally.table("token embedding", s.vocabulary, s.width)
    tally.norm("norms", s.width, times=2 * s.layers + 1)
    window = config.optional("sliding_window") if config.flag("use_sliding_window", False) else None
    # the first layers see everything, the others a window
    first = config.whole("max_window_layers", default=s.layers, least=0)
    marked = decoder.marked_layers(config, s.layers, [window is not None and i >= first for i in range(s.layers)])
    decoder.windows(tally, s, marked, window)
    decoder.head(tally, config, tied=False)
    return tally.model(decoder.context_of(config))
