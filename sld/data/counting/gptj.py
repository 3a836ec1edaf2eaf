"""GPT-J and GPT-Neo: the first open models after GPT-3 (Wang and Komatsuzaki 2021; Black et al. 2021)."""

from __future__ import annotations

from sld.core.errors import DataError
from sld.data.counting import decoder
from sld.data.counting.config import Config
from sld.data.counting.parts import Model, Tally


def gptj(config: Config) -> Model:
    """Count GPT-J: attention without bias beside an MLP with one, under one norm; the head has a bias."""
    width, layers = config.whole("n_embd", "hidden_size"), config.layers("n_layer", "num_hidden_layers")
    heads, tally = config.whole("n_head", "num_attention_heads"), Tally()
    tally.table("token embedding", config.whole("vocab_size"), width)
    tally.matrix("attention", width, width, times=4 * layers)
    decoder.plain_mlp(tally, width, config.whole("n_inner", default=4 * width), times=layers)
    tally.norm("norms", width, times=layers + 1, bias=True)
    tally.attend(layers, heads, config.shared_out(width, heads))
    decoder.head(tally, config, tied=False, bias=True, width=width)
    return tally.model(config.whole("n_positions", "max_position_embeddings", default=2048))


def gpt_neo(config: Config) -> Model:
    """Count GPT-Neo: GPT-2 without bias at queries, keys and values, where some layers look at a window."""
    width, layers = config.whole("hidden_size"), config.layers("num_layers", "num_hidden_layers")
    heads, tally = config.whole("num_heads", "num_attention_heads"), Tally()
    context = config.whole("max_position_embeddings", default=2048)
    tally.table("token embedding", config.whole("vocab_size"), width)
    tally.table("position embedding", context, width)
    tally.matrix("attention", width, width, times=3 * layers)
    tally.matrix("attention", width, width, times=layers, bias=True)
    decoder.plain_mlp(tally, width, config.whole("intermediate_size", default=4 * width), times=layers)
    tally.norm("norms", width, times=2 * layers + 1, bias=True)
    kinds, size = _kinds(config, layers), config.shared_out(width, heads)
    window = config.whole("window_size", default=256)
    tally.attend(kinds.count("global"), heads, size)
    tally.attend(kinds.count("local"), heads, size, window=window, place="attention in a window")
    decoder.head(tally, config, tied=True, width=width)
    return tally.model(context)


def _kinds(config: Config, layers: int) -> list[str]:
    """Return for each layer "global" or "local": the configuration has lists of kinds, and how often each comes."""
    wanted = f"pairs of kinds and how often they come, for {layers} layers in all"
    given = config.data.get("attention_types", [[["global", "local"], layers // 2]])
    try:
        kinds = [str(kind) for some, times in given for kind in list(some) * min(int(times), layers)]
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"{config.where}: 'attention_types' must be {wanted}") from None
    if len(kinds) != layers or not set(kinds) <= {"global", "local"}:
        raise DataError(f"{config.where}: 'attention_types' must be {wanted}, got {len(kinds)}")
    return kinds
