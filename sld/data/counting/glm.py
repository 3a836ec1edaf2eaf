"""GLM 4.5: grouped queries, and experts beside one that every token uses (arXiv:2508.06471, section 2.1)."""

from __future__ import annotations

from sld.core.errors import DataError
from sld.data.counting import decoder
from sld.data.counting.config import Config
from sld.data.counting.parts import Model, Tally


def glm4_moe(config: Config) -> Model:
    """Count GLM 4.5, without the layer that predicts several tokens, which the model class does not load."""
    s, tally = decoder.Sizes.of(config), Tally()
    held, used = config.whole("n_routed_experts", default=128), config.whole("num_experts_per_tok", default=8)
    if used > held:
        raise DataError(f"{config.where}: a token cannot use {used} of {held} experts")
    dense = min(config.whole("first_k_dense_replace", default=1, least=0), s.layers)
    hidden, sparse = config.whole("moe_intermediate_size"), s.layers - dense
    tally.table("token embedding", s.vocabulary, s.width)
    decoder.attention(tally, s, times=s.layers, bias_in=config.flag("attention_bias", False))
    if dense:
        decoder.gated_mlp(tally, s.width, config.whole("intermediate_size"), times=dense)
    tally.matrix("router", s.width, held, times=sparse)
    tally.experts(s.width, hidden, held=held, used=used, times=sparse)
    shared = config.whole("n_shared_experts", default=1, least=0)
    decoder.gated_mlp(tally, s.width, hidden * shared, times=sparse, name="shared expert")
    tally.norm("norms", s.width, times=2 * s.layers + 1)
    if config.flag("use_qk_norm", False):
        tally.norm("norms", s.head, times=2 * s.layers)
    tally.attend(s.layers, s.heads, s.head)
    decoder.head(tally, config, tied=False)
    notes: tuple[str, ...] = ()
    if config.has("num_nextn_predict_layers") or config.has("num_mtp_layers"):
        notes = ("layers that predict several tokens (num_nextn_predict_layers) are not counted",)
    return tally.model(decoder.context_of(config), notes=notes)
