"""T5, its version 1.1 and mT5: an encoder and a decoder, positions as a table of distances (arXiv:1910.10683)."""

from __future__ import annotations

from sld.core.errors import DataError
from sld.data.counting import decoder
from sld.data.counting.config import Config
from sld.data.counting.parts import Model, Tally

_CLASSES = ("ForConditionalGeneration", "EncoderModel", "Model")  # ends of the names of classes that are counted


def t5(config: Config) -> Model:
    """Count T5; a token is one of the encoder and one of the decoder, whose sequences are taken to be as long."""
    return _counted(config, activation="relu")


def mt5(config: Config) -> Model:
    """Count mT5, whose MLPs have a gate; configurations of trained ones say that the head is a matrix of its own."""
    return _counted(config, activation="gated-gelu")


def _counted(config: Config, *, activation: str) -> Model:
    name = config.architecture or _CLASSES[0]
    kind = next((end for end in _CLASSES if name.endswith(end)), None)
    if kind is None or (kind == "Model" and not decoder.is_bare(name)):
        known = ", ".join(_CLASSES)
        raise DataError(f"{config.where}: {name!r} is not counted; known are classes of {known}")
    width, layers, tally = config.whole("d_model"), config.layers("num_layers"), Tally()
    tally.table("token embedding", config.whole("vocab_size"), width)
    gated = config.text("feed_forward_proj", activation).startswith("gated-")
    _stack(tally, config, layers, place="encoder", gated=gated)
    if kind != "EncoderModel":
        _stack(tally, config, config.layers("num_decoder_layers", default=layers), place="decoder", gated=gated)
    if kind == "ForConditionalGeneration":
        tally.head(config.whole("vocab_size"), width, tied=config.flag("tie_word_embeddings", True))
    unit = "token" if kind == "EncoderModel" else "token of the encoder with one of the decoder"
    return tally.model(config.optional("n_positions"), unit=unit)


def _stack(tally: Tally, config: Config, layers: int, *, place: str, gated: bool) -> None:
    width, hidden = config.whole("d_model"), config.whole("d_ff")
    heads, size = config.whole("num_heads"), config.whole("d_kv")
    buckets = config.whole("relative_attention_num_buckets", default=32)
    attentions = 2 if place == "decoder" else 1  # the decoder looks at itself and at the encoder
    tally.table("position embedding", buckets, heads)  # in the first layer, for all
    tally.matrix(f"attention, {place}", width, heads * size, times=4 * attentions * layers)
    tally.matrix(f"MLP, {place}", width, hidden, times=(3 if gated else 2) * layers)
    tally.norm("norms", width, times=(attentions + 1) * layers + 1)
    tally.attend(layers, heads, size, place=f"{place}, itself")
    if place == "decoder":
        tally.attend(layers, heads, size, place="decoder, encoder")
