"""Names that training programs give to counters, sizes and losses, in the order in which they are looked for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

# what a run's length is planned to be, in steps of its counter
PLANNED_STEPS = (
    *("max_steps", "total_steps", "max_iters", "train_iters", "total_iters", "num_steps", "n_steps", "train_steps"),
    *("num_train_steps", "max_train_steps", "num_iterations", "max_epochs", "epochs", "num_train_epochs", "n_epochs"),
)
# settings that name the run which this one goes on with
FOLLOWS = (
    *("resume_from", "resumed_from", "resume_from_checkpoint", "resume_run_id", "resume_id", "continues", "init_from"),
    *("continued_from", "resume", "parent_run_id"),
)
# series that tell where a stretch begins when the tracker's own counter began at zero again
PROGRESS = (
    *("global_step", "trainer/global_step", "train/global_step", "iteration", "iter", "tokens", "tokens_seen"),
    *("train/tokens", "total_tokens", "train/num_input_tokens_seen", "num_input_tokens_seen", "consumed samples"),
    *("samples", "throughput/total_tokens"),
)
SIZES = (
    *("n_params", "num_params", "n_parameters", "num_parameters", "params", "parameters", "model_num_parameters"),
    *("n_params_non_embedding", "non_embedding_params", "model_size", "param_count", "total_params", "N"),
    *("count.non_embedding", "count.total"),  # counted from the settings of the model
)
TOKENS = (
    *("tokens", "n_tokens", "tokens_seen", "train_tokens", "total_tokens", "num_tokens", "training_tokens"),
    *("num_input_tokens_seen", "max_tokens", "token_budget", "D"),
)
TOKENS_PER_STEP = ("tokens_per_step", "tokens_per_iter", "tokens_per_batch", "total_batch_size_tokens")
LOSSES = (
    *("eval/loss", "val/loss", "validation/loss", "valid/loss", "test/loss", "eval/cross_entropy", "val/bpb"),
    *("validation lm loss", "validation/epoch_loss", "train/loss", "training/loss"),
    *("lm loss", "train/crossentropyloss", "train/ce loss", "train/lm_loss", "loss", "final_loss", "eval/perplexity"),
    *("val/ppl", "value"),
)
REPORTS = ("intermediate_value",)  # curves whose end is not the result of a run
HIGHER = re.compile(r"acc(uracy)?|score|f1|bleu|rouge|exact_match|reward|auc|r2|map|precision|recall", re.IGNORECASE)
HYPER = re.compile(
    r"(.*[._/])?(lr|learning_rate|max_lr|peak_lr|batch_size|global_batch_size|weight_decay|wd|dropout|warmup.*)"
)
SEEDS = re.compile(r"(.*[._/])?(seed|random_seed|rng_seed|data_seed)")


@lru_cache(maxsize=65536)  # thousands of runs have the same settings
def folded(name: str) -> str:
    """Return a name without what differs from tool to tool: case, and `/`, `_`, `.`, `-` or a space between words."""
    spaced = re.sub(r"[\s/_.\-]+", " ", name).casefold().strip()
    return re.sub(r"\b(?:valid|val|validation)\b", "val", spaced)


class Known:
    """Names that are there, to be found by their whole name or by its last part."""

    def __init__(self, there: Iterable[str]) -> None:
        """Fold the names once."""
        self._names = set[str]()
        self._whole: dict[str, str] = {}
        self._last: dict[str, str] = {}
        for name in there:
            self._names.add(name)
            whole, last = _parts(name)
            self._whole.setdefault(whole, name)
            self._last.setdefault(last, name)

    def first(self, wanted: Sequence[str]) -> str | None:
        """Return the first of the wanted names that is there."""
        for want in wanted:
            if len(want) == 1:  # N and D: a letter is a name only as it stands
                if want in self._names:
                    return want
                continue
            key = folded(want)
            if key in self._whole:
                return self._whole[key]
            if key in self._last:
                return self._last[key]
        return None


@lru_cache(maxsize=65536)
def _parts(name: str) -> tuple[str, str]:
    return folded(name), folded(re.split(r"[./]", name)[-1])


def first_known(wanted: Sequence[str], there: Iterable[str]) -> str | None:
    """Return the first of the wanted names that is there, by its whole name or by its last part.

    >>> first_known(("n_params", "N"), ["lr", "model.n_params"])
    'model.n_params'
    """
    return Known(there).first(wanted)
