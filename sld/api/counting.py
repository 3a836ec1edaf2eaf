"""Parameters and FLOPs of a model from its configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sld.data.counting.counted import ModelCount


def count(config: object, *, sequence: int | None = None, approximate: bool = False) -> ModelCount:
    r"""Count the parameters of a model and the FLOPs of a token, from its `config.json`; no weights are needed.

    Every weight of the model class is counted, by part: with $V$ tokens in the vocabulary and width $d$, a table of
    $V d$; in each layer attention with $4 d^2$ and an MLP with $2 d \, d_\mathrm{ff}$ or, with a gate,
    $3 d \, d_\mathrm{ff}$; norms and biases; and an output head of $V d$, unless it is tied to the table. What of it is
    called $N$ is a convention (`sld.data.counting.counted.CONVENTIONS`): Kaplan et al. (2020, section 2.1) leave tables
    and head out, Hoffmann et al. (2022) do not. A token of a mixture of experts uses a part of them only.

    A step of training costs a token three times the forward pass, which is two operations per weight that it is
    multiplied with, and $2 T h (d_k + d_v)$ a layer for comparing it with the $T$ tokens of its sequence:

    $$ C_\mathrm{token} = 6 N_\mathrm{used} + 6 T \sum_\mathrm{layers} h (d_k + d_v) + 6 V d . $$

    The comparison is counted for all $T$ tokens, also those that a causal mask hides (Chowdhery et al. 2022,
    arXiv:2204.02311, appendix B), or for those in a sliding window.

    Args:
        config: A `config.json` of Hugging Face, the folder that holds it, its content (a mapping, or bytes), or an
            object with `to_dict()`.
        sequence: Tokens of a sequence; if not given, 4,096 or the longest that the configuration declares.
        approximate: Count an unknown family as a Llama of the same sizes, and of a model of several senses the text
            model alone; the notes say so.

    Returns:
        The counts, by part and by convention; `parameters(convention)`, `flops(sequence)`, `to_frame()`, `summary()`.

    Raises:
        UsageError: There is no such file, or the model cannot have sequences of that length.
        DataError: The file is no configuration, the family is not known, or a size is missing or odd.

    Examples:
        >>> import sld
        >>> gpt2 = sld.count({"model_type": "gpt2", "vocab_size": 50257, "n_positions": 1024,
        ...                   "n_embd": 768, "n_layer": 12, "n_head": 12})
        >>> gpt2.total, gpt2.non_embedding, gpt2.tied
        (124439808, 85056000, True)
        >>> gpt2.six_n("non-embedding"), round(gpt2.flops_per_token(1024))
        (510336000, 854438400)
    """
    from sld.data.counting.counted import count as counted

    return counted(config, sequence=sequence, approximate=approximate)
