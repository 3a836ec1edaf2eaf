"""What the tables of system measurements share: their registry, their clock, and the sizes of jobs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from measuring import Experiment, Row, card_of, target
from numpy.typing import NDArray

Array = NDArray[Any]
Rows = Iterator[Row]

SECONDS = target("seconds", "CPU time", "s")


class Registry(list[Experiment]):
    """The experiments of a module, in order."""

    def table(
        self, held: Callable[[Any], bool], needs: Iterable[str] = (), *, timed: bool = True, **card: Any
    ) -> Callable[[Callable[[], Rows]], Callable[[], Rows]]:
        """Enter a measurement under the name of its function."""

        def enter(measure: Callable[[], Rows]) -> Callable[[], Rows]:
            notes = [*card.pop("notes", []), *(["seconds are CPU time of one process on one thread"] if timed else [])]
            entered = card_of(measure.__name__, notes=notes, **card)
            self.append(Experiment(entered, measure, held, tuple(needs)))
            return measure

        return enter


def seconds(call: Callable[[], object], repeats: int = 1) -> float:
    """Return the median CPU seconds of `repeats` calls: other jobs of the machine wait in wall-clock time alone."""

    def once() -> float:
        begun = time.process_time()
        call()
        return time.process_time() - begun

    return statistics.median(once() for _ in range(repeats))


def drawn(rng: np.random.Generator, low: float, high: float) -> int:
    """Return a whole number, even in its logarithm between `low` and `high`, rounded to two digits as people do."""
    value = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    return int(float(f"{value:.1e}"))


def doubling(low: int, high: int, factor: int = 2) -> list[int]:
    """Return the ladder low, low * factor, ... up to high."""
    steps = [low]
    while steps[-1] * factor <= high:
        steps.append(steps[-1] * factor)
    return steps


def torch_on_one_thread() -> Any:
    """Return torch, with its own threads off."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    return torch
