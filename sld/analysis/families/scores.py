"""What was measured: models of families, their scales, and scores of which some are missing."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sld.core.arrays import Array, Mask, Rows
from sld.core.errors import UsageError

LEAST_MODELS = 8  # a slope, a level and the scatter of each benchmark, and some of them left out for the folds
LEAST_FAMILIES = 3  # of two, nothing says how much families differ
LEAST_BENCHMARKS = 2  # of one there is nothing in common
LEAST_SCORES = 4  # of a benchmark: level, slope, and what scatters about them


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """Scores of models, as shares of what is possible: 0 is the worst score, 1 the best.

    Attributes:
        family: Names of the families.
        index: Family of each model (n_models,).
        logs: Natural logarithms of the scales (n_models, n_scales).
        share: (n_models, n_benchmarks); NaN where a model was not measured.
        benchmarks: Names.
        floor: Score of a model that knows nothing, as a share (n_benchmarks,); NaN where it is to be found.
    """

    family: tuple[str, ...]
    index: Rows
    logs: Array
    share: Array
    benchmarks: tuple[str, ...]
    floor: Array

    @property
    def compute(self) -> Array:
        """Logarithm of the product of the scales (n_models,)."""
        return np.asarray(self.logs.sum(1))

    @property
    def known(self) -> Mask:
        """Which scores were measured (n_models, n_benchmarks)."""
        return np.isfinite(self.share)

    def take(self, rows: Mask) -> ScoreTable:
        """Return some of the models; the families keep their numbers."""
        return replace(self, index=self.index[rows], logs=self.logs[rows], share=self.share[rows])

    def only(self, benchmark: int) -> ScoreTable:
        """Return one benchmark, with all models."""
        k = slice(benchmark, benchmark + 1)
        return replace(
            self, share=self.share[:, k], benchmarks=(self.benchmarks[benchmark],), floor=self.floor[k]
        )  # fmt: skip

    def sizes(self) -> dict[int, int]:
        """Return how many amounts of compute the models of each family have."""
        return {
            f: len(np.unique(np.round(self.compute[self.index == f], 6))) for f in range(len(self.family))
        }  # fmt: skip


def check_enough(table: ScoreTable) -> None:
    """Refuse a table from which nothing about families can be learned; raises UsageError."""
    n, sizes = len(table.index), table.sizes()
    families = sum(1 for count in sizes.values() if count)
    several = sum(1 for count in sizes.values() if count > 1)
    if len(table.benchmarks) < LEAST_BENCHMARKS:
        raise UsageError(
            f"what benchmarks have in common needs {LEAST_BENCHMARKS} of them at least, each with {LEAST_SCORES} "
            f"scores, got {len(table.benchmarks)}; for one benchmark use sld downstream"
        )
    if families < LEAST_FAMILIES:
        raise UsageError(
            f"{families} {'family is' if families == 1 else 'families are'} too few to say how families differ; "
            f"{LEAST_FAMILIES} at least, or sld downstream for the models of one family"
        )
    if n < LEAST_MODELS:
        raise UsageError(f"{n} models are too few for laws of families; {LEAST_MODELS} at least")
    if several < 2:
        raise UsageError(
            f"{several} of {families} families have models of more than one size; 2 at least, or nothing says how a "
            "family grows"
        )
