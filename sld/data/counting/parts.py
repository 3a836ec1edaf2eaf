"""What a model is made of, as numbers: parts with their parameters, and who attends to how much."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

# where a part stands: only "layers" counts as non-embedding
Place = Literal["embedding", "layers", "head"]
# table: rows looked up by a number; vector: a weight of the model that is neither looked up nor multiplied as a matrix
Kind = Literal["table", "vector", "matrix", "bias", "norm"]

_PLACES: tuple[Place, ...] = ("embedding", "layers", "head")


@dataclass(frozen=True)
class Part:
    """A part of a model, all layers together.

    Attributes:
        name: What it is, e.g. "attention" or "experts".
        place: Embedding, layers or head.
        kind: Table, vector, matrix, bias or norm.
        parameters: How many the model holds.
        active: How many of them one token uses: all, but for experts.
        products: Multiplications of a weight with an activation that one token causes in a forward pass.
        per_sequence: The same of what works once a sequence, not once a token: a classifier, a pooler.
        borrowed: Parameters of another part that this one uses as its own: those of a tied head.
    """

    name: str
    place: Place
    kind: Kind
    parameters: int
    active: int
    products: int
    per_sequence: int = 0
    borrowed: int = 0


@dataclass(frozen=True)
class Attention:
    """Layers in which a token is compared with others.

    Attributes:
        layers: How many.
        width: Numbers of a token that meet those of each other token: heads x (size of a key + size of a value).
        window: Tokens that a token sees at most, its own included; None for all of the sequence.
        place: Which sequence is looked at, where a model has two.
    """

    layers: int
    width: int
    window: int | None = None
    place: str = "self-attention"


@dataclass(frozen=True)
class Model:
    """What a family says of a configuration.

    Attributes:
        parts: Its parts.
        attention: Its layers with attention.
        context: Longest sequence that the configuration declares, if any.
        fixed_length: Length of every sequence, where the configuration settles it (patches of an image).
        unit: What one token is, in words.
        notes: What a reader should know, in sentences.
    """

    parts: tuple[Part, ...]
    attention: tuple[Attention, ...] = ()
    context: int | None = None
    fixed_length: int | None = None
    unit: str = "token"
    notes: tuple[str, ...] = ()


@dataclass
class Tally:
    """Adds up the parts of a model while a family goes through its layers."""

    _parts: dict[tuple[str, Place, Kind], list[int]] = field(default_factory=dict)
    _attention: list[Attention] = field(default_factory=list)

    def add(self, name: str, place: Place, kind: Kind, parameters: int, *, active: int | None = None) -> None:
        """Add parameters that a token uses all of, unless `active` says fewer, and matrices' products with them."""
        used = parameters if active is None else active
        self._add(Part(name, place, kind, parameters, used, used if kind == "matrix" else 0))

    def _add(self, part: Part) -> None:
        sums = self._parts.setdefault((part.name, part.place, part.kind), [0] * 5)
        numbers = (part.parameters, part.active, part.products, part.per_sequence, part.borrowed)
        for k, number in enumerate(numbers):
            sums[k] += number

    def matrix(self, name: str, n_in: int, n_out: int, *, times: int = 1, bias: bool = False) -> None:
        """Add a linear map of the layers, `times` over."""
        self.add(name, "layers", "matrix", n_in * n_out * times)
        if bias:
            self.add(name, "layers", "bias", n_out * times)

    def norm(self, name: str, width: int, *, times: int = 1, bias: bool = False) -> None:
        """Add a normalisation with a gain, and with a bias if it has one, `times` over."""
        self.add(name, "layers", "norm", width * times)
        if bias:
            self.add(name, "layers", "bias", width * times)

    def table(self, name: str, rows: int, width: int, *, lookup: bool = True) -> None:
        """Add a table of embeddings; without `lookup` all of it is added to every input."""
        self.add(name, "embedding", "table" if lookup else "vector", rows * width)

    def experts(self, n_in: int, n_hidden: int, *, held: int, used: int, times: int, matrices: int = 3) -> None:
        """Add `held` experts a layer of which a token uses `used`: gated ones have three matrices, plain ones two."""
        one = matrices * n_in * n_hidden * times
        self.add("experts", "layers", "matrix", held * one, active=used * one)

    def head(self, vocabulary: int, width: int, *, tied: bool, bias: bool = False) -> None:
        """Add the map from the last layer to the vocabulary; a tied one uses the table of tokens."""
        size = vocabulary * width
        own = 0 if tied else size
        self._add(Part("output head", "head", "matrix", own, own, size, borrowed=size - own))
        if bias:
            self.add("output head", "head", "bias", vocabulary)

    def once(self, name: str, place: Place, n_in: int, n_out: int, *, times: int = 1) -> None:
        """Add a map with a bias that works `times` a sequence, whatever the number of tokens."""
        size = n_in * n_out
        self._add(Part(name, place, "matrix", size, size, 0, per_sequence=size * times))
        self.add(name, place, "bias", n_out)

    def state(self, name: str, parameters: int, products: int) -> None:
        """Add weights that act on a state one by one, and the products of the state that a token causes."""
        self._add(Part(name, "layers", "vector", parameters, parameters, products))

    def attend(
        self, layers: int, heads: int, key: int, value: int | None = None, *, window: int | None = None, place: str = ""
    ) -> None:
        """Add layers with attention: `key` and `value` are the sizes of one head's."""
        if layers:
            width = heads * (key + (key if value is None else value))
            self._attention.append(Attention(layers, width, window, place or "self-attention"))

    def model(
        self,
        context: int | None = None,
        *,
        fixed_length: int | None = None,
        unit: str = "token",
        notes: tuple[str, ...] = (),
    ) -> Model:
        """Return what was added up."""
        parts = [Part(*key, *numbers) for key, numbers in self._parts.items() if any(numbers)]
        parts.sort(key=lambda part: _PLACES.index(part.place))  # in the order in which a token meets them
        return Model(tuple(parts), tuple(self._attention), context, fixed_length, unit, notes)
