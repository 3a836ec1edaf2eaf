"""Six runs at three sizes that every source writes: a resumed, a diverged, an unfinished one, two seeds, a name twice.

The loss of a run with N parameters after D tokens is that of Hoffmann et al. (2022), a thousandth higher for each seed:
1.69 + 406.4 N^-0.34 + 410.7 D^-0.28. Whoever writes the runs asks `recordings()` what is logged when, and the tests
ask `truth()` what has to come out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import inf, nan

EVERY = 10  # steps between two logged points
TOKENS_PER_STEP = 1_000_000


@dataclass(frozen=True)
class Planned:
    """A run of the scenario."""

    name: str
    n_params: int
    max_steps: int
    seed: int = 0
    lr: float = 0.001
    diverges_at: int | None = None
    stops_at: int | None = None
    resumed: tuple[int, int] | None = None  # where the first stretch stops, and where the second begins
    settings: dict[str, float] = field(default_factory=dict)

    def config(self) -> dict[str, int | float]:
        return {"n_params": self.n_params, "seed": self.seed, "lr": self.lr, "max_steps": self.max_steps}

    def eval_loss(self, step: int, tokens_per_step: int = TOKENS_PER_STEP) -> float:
        if self.diverges_at is not None and step >= self.diverges_at:
            return inf if step >= self.diverges_at + 2 * EVERY else nan
        law = 1.69 + 406.4 * self.n_params**-0.34 + 410.7 * (step * tokens_per_step) ** -0.28
        return float(law * (1 + 0.001 * self.seed))

    def train_loss(self, step: int) -> float:
        return self.eval_loss(step) + 0.0625


RUNS = (
    Planned("small", 1_000_000, 100),
    Planned("small", 1_000_000, 100, seed=1),
    Planned("medium", 4_000_000, 120, resumed=(70, 50)),
    Planned("medium-hot", 4_000_000, 120, lr=0.1, diverges_at=60),
    Planned("large", 16_000_000, 140),
    Planned("large-cut", 16_000_000, 140, seed=1, stops_at=60),
)


@dataclass(frozen=True)
class Recording:
    """One stretch of a run: what a process logs between its start and its end."""

    run: Planned
    number: int  # of the run in the scenario
    stretch: int
    steps: tuple[int, ...]
    ends: bool  # it goes to its end, and says so
    wrong: float = 0.0  # added to what is logged, so that a stretch that does not count would be seen

    def metrics(self, step: int, value: Callable[[float], float] = lambda x: x) -> dict[str, float]:
        return {
            "train/loss": value(self.run.train_loss(step) + self.wrong),
            "eval/loss": value(self.run.eval_loss(step) + self.wrong),
            "tokens": step * TOKENS_PER_STEP,
        }


def recordings() -> Iterator[Recording]:
    """Yield the stretches in the order in which they were made."""
    for k, run in enumerate(RUNS):
        if run.resumed is not None:
            end, begin = run.resumed
            first = tuple(range(EVERY, end + 1, EVERY))
            # what was logged before the resume, from there on, was lost and is made again with other values
            yield Recording(run, k, 0, tuple(s for s in first if s <= begin), False)
            yield Recording(run, k, 0, tuple(s for s in first if s > begin), False, wrong=0.5)
            yield Recording(run, k, 1, tuple(range(begin + EVERY, run.max_steps + 1, EVERY)), True)
        else:
            last = run.stops_at or run.max_steps
            yield Recording(run, k, 0, tuple(range(EVERY, last + 1, EVERY)), run.stops_at is None)


def stretches() -> Iterator[tuple[Planned, int, int, list[Recording], bool]]:
    """Yield run, its number, the stretch's number, what is logged in it, and whether it goes to its end."""
    found: dict[tuple[int, int], list[Recording]] = {}
    for recording in recordings():
        found.setdefault((recording.number, recording.stretch), []).append(recording)
    for (number, stretch), parts in found.items():
        yield parts[0].run, number, stretch, parts, parts[-1].ends


NAMES = ("small", "small-2", "medium", "medium-hot", "large", "large-cut")


def truth(tokens_per_step: int = TOKENS_PER_STEP) -> dict[str, dict[str, object]]:
    """Return the rows that have to come out, by run; unfinished runs have none."""
    rows: dict[str, dict[str, object]] = {}
    for name, run in zip(NAMES, RUNS, strict=True):
        if run.stops_at is not None:
            continue
        diverged = run.diverges_at is not None
        rows[name] = {
            "N": run.n_params,
            "D": run.max_steps * tokens_per_step,
            "loss": None if diverged else run.eval_loss(run.max_steps),
            "seed": run.seed,
            "lr": run.lr,
            "status": "diverged" if diverged else "finished",
        }
    return rows
