"""BERT, RoBERTa and DistilBERT: encoders that guess masked tokens (arXiv:1810.04805, section 3; arXiv:1910.01108)."""

from __future__ import annotations

from sld.core.errors import DataError
from sld.data.counting import decoder
from sld.data.counting.config import Config
from sld.data.counting.parts import Model, Tally

_CLASSES = ("Model", "ForMaskedLM", "ForPreTraining", "ForSequenceClassification")  # ends of names that are counted


def bert(config: Config) -> Model:
    """Count BERT: the bare model has a pooler, the masked language model has none."""
    kind = _kind(config)
    tally, width = _encoder(config), config.whole("hidden_size")
    if kind != "ForMaskedLM":
        tally.once("pooler", "layers", width, width)
    if kind in ("ForMaskedLM", "ForPreTraining"):
        _masked_head(tally, config, width)
    if kind == "ForPreTraining":
        tally.once("next-sentence head", "head", width, 2)
    if kind == "ForSequenceClassification":
        tally.once("classifier", "head", width, config.labels())
    return tally.model(decoder.context_of(config))


def roberta(config: Config) -> Model:
    """Count RoBERTa, whose classifier has a layer of its own and which has no second objective."""
    kind = _kind(config)
    tally, width = _encoder(config), config.whole("hidden_size")
    if kind == "Model":
        tally.once("pooler", "layers", width, width)
    elif kind == "ForMaskedLM":
        _masked_head(tally, config, width)
    elif kind == "ForSequenceClassification":
        tally.once("classifier", "head", width, width)
        tally.once("classifier", "head", width, config.labels())
    else:
        raise DataError(f"{config.where}: {config.architecture!r} is not counted")
    return tally.model(decoder.context_of(config))


def distilbert(config: Config) -> Model:
    """Count DistilBERT: half the layers, no kinds of tokens, and no pooler."""
    kind, tally = _kind(config), Tally()
    width, layers, heads = config.whole("dim"), config.layers("n_layers"), config.whole("n_heads")
    _layers(tally, config, width, layers, heads, config.whole("hidden_dim", default=4 * width))
    if kind == "ForMaskedLM":
        _masked_head(tally, config, width)
    elif kind == "ForSequenceClassification":
        tally.once("classifier", "head", width, width)
        tally.once("classifier", "head", width, config.labels())
    elif kind != "Model":
        raise DataError(f"{config.where}: {config.architecture!r} is not counted")
    return tally.model(decoder.context_of(config))


def _kind(config: Config) -> str:
    name = config.architecture or "ForMaskedLM"
    kind = next((end for end in _CLASSES if name.endswith(end)), None)
    if kind is None or (kind == "Model" and not decoder.is_bare(name)):
        known = ", ".join(_CLASSES)
        raise DataError(f"{config.where}: {name!r} has a head that is not counted; known are classes of {known}")
    config.refuse("add_cross_attention", "attention to another sequence")
    return kind


def _encoder(config: Config) -> Tally:
    width, layers = config.whole("hidden_size"), config.layers("num_hidden_layers")
    heads, tally = config.whole("num_attention_heads"), Tally()
    _layers(tally, config, width, layers, heads, config.whole("intermediate_size"))
    tally.table("kind of token", config.whole("type_vocab_size", default=2), width)
    return tally


def _layers(tally: Tally, config: Config, width: int, layers: int, heads: int, hidden: int) -> None:
    tally.table("token embedding", config.whole("vocab_size"), width)
    tally.table("position embedding", config.whole("max_position_embeddings", default=512), width)
    tally.norm("norms", width, times=2 * layers + 1, bias=True)  # one after the tables
    tally.matrix("attention", width, width, times=4 * layers, bias=True)
    decoder.plain_mlp(tally, width, hidden, times=layers)
    tally.attend(layers, heads, config.shared_out(width, heads))


def _masked_head(tally: Tally, config: Config, width: int) -> None:
    tally.matrix("before the head", width, width, bias=True)
    tally.norm("norms", width, bias=True)
    tally.head(config.whole("vocab_size"), width, tied=config.flag("tie_word_embeddings", True), bias=True)
