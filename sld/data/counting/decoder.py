"""What most language models of today share: a decoder of attention and MLPs, with a table of tokens and a head."""

from __future__ import annotations

from dataclasses import dataclass

from sld.core.errors import DataError
from sld.data.counting.config import Config
from sld.data.counting.parts import Tally


@dataclass(frozen=True)
class Sizes:
    """Sizes under the names that Llama's configuration gave them, which most others took over."""

    vocabulary: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    head: int  # numbers of one head

    @staticmethod
    def of(config: Config, *, head: int | None = None) -> Sizes:
        """Read the sizes; `head` is what a family takes for the size of a head that is not given."""
        width, heads = config.whole("hidden_size"), config.whole("num_attention_heads")
        given = config.optional("head_dim") or head
        sizes = Sizes(
            vocabulary=config.whole("vocab_size"),
            width=width,
            layers=config.layers("num_hidden_layers"),
            heads=heads,
            kv_heads=config.whole("num_key_value_heads", default=heads),
            head=given or config.shared_out(width, heads),
        )
        if heads % sizes.kv_heads:
            raise DataError(
                f"{config.where}: {heads} attention heads cannot share {sizes.kv_heads} heads of keys and values"
            )
        return sizes

    @property
    def queries(self) -> int:
        """Numbers that a token asks with, all heads together."""
        return self.heads * self.head

    @property
    def keys(self) -> int:
        """Numbers that a token answers with, all heads together."""
        return self.kv_heads * self.head


def attention(tally: Tally, s: Sizes, *, times: int, bias_in: bool = False, bias_out: bool = False) -> None:
    """Add queries, keys, values and the output of attention, `times` over."""
    for n_out in (s.queries, s.keys, s.keys):
        tally.matrix("attention", s.width, n_out, times=times, bias=bias_in)
    tally.matrix("attention", s.queries, s.width, times=times, bias=bias_out)


def gated_mlp(tally: Tally, width: int, hidden: int, *, times: int, bias: bool = False, name: str = "MLP") -> None:
    """Add an MLP with a gate: two matrices in, one out, `times` over."""
    for n_in, n_out in ((width, hidden), (width, hidden), (hidden, width)):
        tally.matrix(name, n_in, n_out, times=times, bias=bias)


def plain_mlp(tally: Tally, width: int, hidden: int, *, times: int, bias: bool = True) -> None:
    """Add an MLP of two matrices, `times` over."""
    tally.matrix("MLP", width, hidden, times=times, bias=bias)
    tally.matrix("MLP", hidden, width, times=times, bias=bias)


def windows(tally: Tally, s: Sizes, layers: list[bool], window: int | None) -> None:
    """Add layers with attention: those marked look at `window` tokens, the others at all."""
    local = sum(layers) if window is not None else 0
    tally.attend(s.layers - local, s.heads, s.head)
    tally.attend(local, s.heads, s.head, window=window, place="attention in a window")


def marked_layers(config: Config, n_layers: int, otherwise: list[bool]) -> list[bool]:
    """Return for each layer whether it looks at a window: as `layer_types` says, else as the family does."""
    types = config.texts("layer_types", n_layers)
    if types is None:
        return otherwise
    known = ("full_attention", "sliding_attention")
    if strange := [t for t in types if t not in known]:
        raise DataError(f"{config.where}: 'layer_types' has {strange[0]!r}, which is not counted; known are {known}")
    return [t == "sliding_attention" for t in types]


def context_of(config: Config) -> int | None:
    """Return the longest sequence that a configuration declares."""
    return config.optional("max_position_embeddings")


def head(tally: Tally, config: Config, *, tied: bool, bias: bool = False, width: int | None = None) -> None:
    """Add the output head, unless the model class has none.

    Args:
        tally: Where to.
        config: Says which class it is; without one it is a model with a head.
        tied: What the family does where `tie_word_embeddings` is not given.
        bias: Whether the head has one.
        width: Of the last layer, where it is not `hidden_size`.
    """
    if without_head(config):
        return
    width = config.whole("hidden_size") if width is None else width
    tally.head(config.whole("vocab_size"), width, tied=config.flag("tie_word_embeddings", tied), bias=bias)


_HEADS = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")  # ends of the names of classes with a head


def is_bare(name: str) -> bool:
    """Tell whether a class is a model without any head, by its name: LlamaModel, not GPT2DoubleHeadsModel."""
    return name.endswith("Model") and "For" not in name and "Head" not in name


def without_head(config: Config) -> bool:
    """Tell whether the class is the bare model; raises DataError for a class with a head of another kind."""
    name = config.architecture
    if not name or name.endswith(_HEADS):
        return False
    if is_bare(name):
        return True
    wanted = f"a class that ends in {', '.join(_HEADS)} or Model"
    raise DataError(f"{config.where}: {name!r} has a head that is not counted; wanted {wanted} (key 'architectures')")
