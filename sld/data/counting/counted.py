r"""The counts of one model: parameters by convention, and FLOPs of a token.

*Parameters.* Papers count differently, and the exponents of a law move with it: Kaplan et al. (2020, arXiv:2001.08361,
section 2.1) leave embeddings out, Hoffmann et al. (2022, arXiv:2203.15556) do not; for small models the two differ by
more than a factor of two, which explains most of the distance between their laws (Pearce and Song 2024,
arXiv:2406.12907; Porian et al. 2024, arXiv:2406.19146, who also count the output head).

*FLOPs.* A matrix of m weights costs a token 2 m operations forward, and twice that backward: 6 m. Attention compares
a token with T others: in each layer 2 T h (d_key + d_value) operations forward, for h heads. All T are counted, also
those that a causal mask hides, as in the appendix B of Chowdhery et al. (2022, arXiv:2204.02311). What works number by
number (gains, activations, softmax, a recurrence) is not counted, nor is what is computed again to save memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sld.core.errors import UsageError, suggest
from sld.core.numbers import short
from sld.data.counting.config import read_config
from sld.data.counting.parts import Model, Part
from sld.data.counting.registry import described

if TYPE_CHECKING:
    import pandas as pd

CONVENTIONS: Mapping[str, str] = {
    "total": "every parameter; a head tied to the embedding counts once",
    "total-untied": "the same, with a tied head counted as a matrix of its own",
    "non-embedding": "without the tables of tokens and positions and without the output head (Kaplan et al. 2020)",
    "non-embedding-with-head": "the same with the output head, tied or not (Porian et al. 2024)",
    "matrices": "of the non-embedding ones only weight matrices: no norms, no biases",
    "active": "of the total, those that one token uses: not the experts it is not sent to",
    "active-non-embedding": "of the non-embedding ones, those that one token uses",
    "active-non-embedding-with-head": "the same with the output head: what one token is multiplied with",
    "trainer": "total without lookup tables: what the Trainer of transformers takes for total_flos",
}
DEFAULT_SEQUENCE = 4096  # tokens, where neither the caller nor the configuration says; common in training since 2023
_TRAINING = 3  # a step costs the forward pass and about twice that backward (Kaplan et al. 2020, section 2.1)


@dataclass(frozen=True)
class Flops:
    """Operations of matrix products that one token costs in a forward pass; an addition and a product are two.

    Attributes:
        layers: Of the weights of the layers.
        attention: Of comparing it with the other tokens of the sequence.
        vocabulary: Of the output head.
        sequence: Tokens in the sequence.
    """

    layers: float
    attention: float
    vocabulary: float
    sequence: int

    @property
    def forward(self) -> float:
        """Of a forward pass, all together."""
        return self.layers + self.attention + self.vocabulary

    @property
    def training(self) -> float:
        """Of a step of training: three times the forward pass."""
        return _TRAINING * self.forward


@dataclass(frozen=True, repr=False)
class ModelCount:
    """Parameters of a model, and FLOPs per token; made by `count`.

    Attributes:
        architecture: The model class, or the family where the configuration names no class.
        model_type: The family.
        sequence: Tokens of a sequence, where nothing else is asked.
        model: Parts and attention.
        vocabulary: Tokens in the vocabulary; None where there is none.
        notes: What a reader should know, in sentences.
    """

    architecture: str
    model_type: str
    sequence: int
    model: Model
    vocabulary: int | None = None
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Return the class and the two counts that are asked for most."""
        return f"ModelCount({self.architecture}: {self.total:,} parameters, {self.non_embedding:,} non-embedding)"

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts of the model, all layers together."""
        return self.model.parts

    @property
    def total(self) -> int:
        """Every parameter; a tied head counts once."""
        return self.parameters("total")

    @property
    def non_embedding(self) -> int:
        """Parameters without tables of tokens and positions and without the output head."""
        return self.parameters("non-embedding")

    @property
    def active(self) -> int:
        """Parameters that one token uses."""
        return self.parameters("active")

    @property
    def tied(self) -> bool:
        """Whether the output head uses the table of tokens."""
        return any(part.borrowed for part in self.parts)

    def parameters(self, convention: str = "total") -> int:
        """Return the number of parameters by one of `CONVENTIONS`.

        Raises:
            UsageError: There is no such convention.
        """
        if convention not in CONVENTIONS:
            raise UsageError(suggest(convention, CONVENTIONS, kind="convention"))
        return sum(_counted(part, convention) for part in self.parts)

    def flops(self, sequence: int | None = None) -> Flops:
        """Return what one token costs in a forward pass.

        Args:
            sequence: Tokens of the sequence; `self.sequence` if not given.

        Raises:
            UsageError: It is below 1, or the model has sequences of another length only.
        """
        n = self.sequence if sequence is None else sequence
        fixed = self.model.fixed_length
        if n < 1 or (fixed is not None and n != fixed):
            wanted = "at least 1 token" if fixed is None else f"{fixed} patches, as the configuration settles"
            raise UsageError(f"a sequence has {wanted}, got {n}")
        layers = sum(2 * p.products + 2 * p.per_sequence / n for p in self.parts if p.place == "layers")
        head = sum(2 * p.products + 2 * p.per_sequence / n for p in self.parts if p.place == "head")
        met = sum(2.0 * a.layers * a.width * min(n, a.window or n) for a in self.model.attention)
        return Flops(layers, met, head, n)

    def flops_per_token(self, sequence: int | None = None) -> float:
        """Return the operations of a step of training per token, attention and output head included."""
        return self.flops(sequence).training

    def six_n(self, convention: str = "non-embedding") -> int:
        """Return 6 N, the usual estimate of the operations of a step per token; N by one of `CONVENTIONS`."""
        return 6 * self.parameters(convention)

    def to_frame(self) -> pd.DataFrame:
        """Return a DataFrame of the parts, a row each."""
        import pandas as pd

        return pd.DataFrame([asdict(part) for part in self.parts])

    def to_json(self) -> dict[str, Any]:
        """Return everything as one table of numbers and texts."""
        flops = self.flops()
        return {
            "architecture": self.architecture,
            "model_type": self.model_type,
            "parameters": {name: self.parameters(name) for name in CONVENTIONS},
            "tied_head": self.tied,
            "parts": [asdict(part) for part in self.parts],
            "sequence": self.sequence,
            "unit": self.model.unit,
            "flops_per_token": {
                "6N": {name: self.six_n(name) for name in CONVENTIONS},
                "forward": {
                    "layers": flops.layers,
                    "attention": flops.attention,
                    "vocabulary": flops.vocabulary,
                    "sum": flops.forward,
                },
                "training": flops.training,
            },
            "notes": list(self.notes),
        }

    def summary(self) -> str:
        """Return the counts as a text for people."""
        flops = self.flops()
        lines = [f"{self.architecture}: {self.total:,} parameters"]
        lines += [f"  {name}: {self.parameters(name):,} ({meaning})" for name, meaning in CONVENTIONS.items()]
        lines += [
            f"FLOPs of training per {self.model.unit}, sequences of {flops.sequence:,}: {short(flops.training, 4)}"
        ]
        lines += [f"note: {note}" for note in self.notes]
        return "\n".join(lines)


def count(config: object, *, sequence: int | None = None, approximate: bool = False) -> ModelCount:
    """Count the parameters of a model from its configuration; see `sld.api.counting.count`."""
    read = read_config(config)
    model, notes = described(read, approximate=approximate)
    chosen = model.fixed_length or (min(DEFAULT_SEQUENCE, model.context) if model.context else DEFAULT_SEQUENCE)
    counted = ModelCount(
        architecture=read.architecture or read.model_type or "a model without a name",
        model_type=read.model_type,
        sequence=chosen if sequence is None else sequence,
        model=model,
        vocabulary=read.optional("vocab_size"),
        notes=(*notes, *model.notes),
    )
    counted.flops()  # refuses a length that the model cannot have
    return counted


def _counted(part: Part, convention: str) -> int:
    """Return how many parameters of a part a convention counts."""
    number = part.active if convention.startswith("active") else part.parameters
    if convention == "trainer":
        return 0 if part.kind == "table" else number
    if convention == "total-untied":
        return number + part.borrowed
    if convention in ("total", "active"):
        return number
    if part.place == "head" and convention.endswith("-with-head"):
        return number + part.borrowed
    if part.place != "layers" or (convention == "matrices" and part.kind != "matrix"):
        return 0
    return number
