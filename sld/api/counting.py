"""Parameters and FLOPs of a model from its configuration; and what is not plausible in a table of runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sld.core.arguments import checked

if TYPE_CHECKING:
    from sld.data.counting.counted import ModelCount
    from sld.data.plausibility import Finding


@checked()
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


@checked()
def plausibility(
    data: object, roles: Mapping[str, str | None] | None = None, *, counts: Mapping[str, ModelCount] | None = None
) -> tuple[Finding, ...]:
    r"""Look for what cannot be, or hardly can, in a table of runs, before anything is fitted to it.

    Where columns hold the same thing twice they are compared, each in its own way:

    - compute $C$ with $6 N D$: a utilisation $6 N D / C$ above 100 % or below 0.1 %;
    - tokens with steps x batch x sequence;
    - a loss with $\ln V$, what guessing among $V$ tokens costs; losses of exactly 0, and infinity as a number;
    - counters of a run (steps, tokens, compute, time) that fall;
    - parameters and tokens in thousands, millions or billions, and columns of two units;
    - parameters with the counts of the run's configuration: a column counted in two ways;
    - runs that agree in every number under two names; a fixed ratio of tokens to parameters; rows that differ in seed.

    Args:
        data: A path, DataFrame, mapping of columns, list of records, or a Table.
        roles: Column to what it holds: a quantity (`sld.data.quantities.QUANTITIES`: N, D, C, loss, steps, batch,
            batch_tokens, sequence, vocabulary, convention, run, seed, time), or a role, of which "target" is read. What
            is not said is told by the column's name, where that leaves no doubt.
        counts: Name of a run to what `sld.count` says of its configuration.

    Returns:
        Findings, each with its line in `text`, a `grade` (impossible, doubtful or note) and the rows that it is about;
        what is impossible comes first. Empty where all is plausible.

    Raises:
        DataError: The data cannot be read as a table.

    Examples:
        >>> import sld
        >>> runs = {"run": ["a", "b"], "N": [1e8, 2e8], "tokens": [2e9, 4e9], "flops": [1.2e18, 1.2e18]}
        >>> (found,) = sld.plausibility(runs)
        >>> found.grade, found.rows
        ('impossible', (1,))
        >>> found.text.partition(",")[0]
        'run b: 6*N*tokens = 4.8e18 is 400 % of flops = 1.2e18'
    """
    from sld.data.plausibility import plausibility as findings

    said = None if roles is None else {column: role for column, role in roles.items() if role is not None}
    return findings(data, said, counts=counts)
