"""DeepSeek 2 and 3: latent attention, and experts beside ones that every token uses (arXiv:2405.04434, section 2).

Queries (in the larger models), keys and values pass through a narrow layer; a part of each key carries the position and
is the same for all heads.
"""

from __future__ import annotations

from sld.core.errors import DataError
from sld.data.counting import decoder
from sld.data.counting.config import Config
from sld.data.counting.parts import Model, Tally

_QUERIES = 1536  # width of the narrow layer of the queries where the configuration has no key; null means none


def deepseek_v2(config: Config) -> Model:
    """Count DeepSeek 2."""
    return _counted(config, dense=0)


def deepseek_v3(config: Config) -> Model:
    """Count DeepSeek 3, without the modules that predict several tokens, which the model class does not load."""
    return _counted(config, dense=3)


def _counted(config: Config, *, dense: int) -> Model:
    """Count what both have; `dense` is how many first layers have no experts where the configuration does not say."""
    width, layers = config.whole("hidden_size"), config.layers("num_hidden_layers")
    heads, tally = config.whole("num_attention_heads"), Tally()
    tally.table("token embedding", config.whole("vocab_size"), width)
    _attention(tally, config, width, heads, layers)
    _mlps(tally, config, width, layers, config.whole("first_k_dense_replace", default=dense, least=0))
    tally.norm("norms", width, times=2 * layers + 1)
    decoder.head(tally, config, tied=False)
    notes: tuple[str, ...] = ()
    if config.has("num_nextn_predict_layers"):
        notes = ("layers that predict several tokens (num_nextn_predict_layers) are not counted",)
    return tally.model(decoder.context_of(config), notes=notes)


def _attention(tally: Tally, config: Config, width: int, heads: int, layers: int) -> None:
    plain, rotated = config.whole("qk_nope_head_dim"), config.whole("qk_rope_head_dim")
    value, latent = config.whole("v_head_dim"), config.whole("kv_lora_rank")
    bias = config.flag("attention_bias", False)
    if (narrow := config.optional("q_lora_rank", _QUERIES)) is None:
        tally.matrix("attention", width, heads * (plain + rotated), times=layers)
    else:
        tally.matrix("attention", width, narrow, times=layers, bias=bias)
        tally.norm("norms", narrow, times=layers)
        tally.matrix("attention", narrow, heads * (plain + rotated), times=layers)
    tally.matrix("attention", width, latent + rotated, times=layers, bias=bias)
    tally.norm("norms", latent, times=layers)
    tally.matrix("attention", latent, heads * (plain + value), times=layers)
    tally.matrix("attention", heads * value, width, times=layers, bias=bias)
    tally.attend(layers, heads, plain + rotated, value)


def _mlps(tally: Tally, config: Config, width: int, layers: int, first: int) -> None:
    """Add an MLP to the first layers, and experts to the others."""
    held = config.whole("n_routed_experts", default=0, least=0)
    dense = min(first, layers) if held else layers
    if dense:
        decoder.gated_mlp(tally, width, config.whole("intermediate_size"), times=dense)
    if dense == layers:
        return
    used, hidden = config.whole("num_experts_per_tok"), config.whole("moe_intermediate_size")
    if used > held:
        raise DataError(f"{config.where}: a token cannot use {used} of {held} experts")
    if config.whole("moe_layer_freq", default=1) != 1:
        raise DataError(f"{config.where}: 'moe_layer_freq' other than 1 is not counted")
    tally.matrix("router", width, held, times=layers - dense)
    tally.experts(width, hidden, held=held, used=used, times=layers - dense)
    shared = config.whole("n_shared_experts", default=0, least=0)
    decoder.gated_mlp(tally, width, hidden * shared, times=layers - dense, name="shared expert")
