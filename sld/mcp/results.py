"""What the tools return: small typed records, so that a client knows their fields before it calls.

A number that is not finite is the text "inf", "-inf" or "nan": JSON has no such numbers, and null means that there is
none. Lists are cut to what an agent can read (`cut`), with a note of how many there are and where the rest is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, is_dataclass
from typing import Any, Literal, TypeVar

from sld.core.plain import plain as core_plain

NotFinite = Literal["inf", "-inf", "nan"]
Number = float | NotFinite
Cell = float | str | None

MOST_ROWS = 40  # of a list in a result
MOST_TEXT = 6000  # letters of the text beside it, about 1,500 tokens

_T = TypeVar("_T")


@dataclass(frozen=True)
class Interval:
    """A number and the ends of its interval, null where nothing is known of them."""

    value: Number
    low: Number | None = None
    high: Number | None = None


@dataclass(frozen=True)
class Column:
    """A column: its span where it holds numbers, some values otherwise; `quantity` is what its name tells (N, D, C)."""

    name: str
    n_values: int
    least: Number | None = None
    greatest: Number | None = None
    examples: list[str] = field(default_factory=list)
    role: str = ""
    quantity: str = ""


@dataclass(frozen=True)
class Described:
    """A table or task: its columns, groups, and what is doubtful in it before anything is fitted."""

    name: str
    n_rows: int
    columns: list[Column]
    groups: dict[str, int]
    findings: list[str]
    notes: list[str]
    n_held_out_rows: int | None = None
    laws: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Constant:
    """A fitted constant of one group; `low` and `high` are the ends of its interval."""

    target: str
    group: str
    name: str
    value: Number
    low: Number | None = None
    high: Number | None = None


@dataclass(frozen=True)
class Fitted:
    """A law: `law` is what later calls take for it, a file or a name that lasts as long as the server."""

    law: str
    formulas: dict[str, str]
    constants: list[Constant]
    level: float
    training_error: dict[str, Number]
    r2_held_out: Number | None
    notes: list[str]


@dataclass(frozen=True)
class Discovered:
    """A law that was searched: `verdict` says whether to believe it, and `supported` how far it may be extrapolated."""

    law: str
    formulas: dict[str, str]
    constants: list[Constant]
    level: float
    verdict: Literal["law", "weak", "no law"]
    sentence: str
    supported: dict[str, Number]
    fold_errors: dict[str, Number]
    simpler: list[str]
    n_formulas: int
    n_fits: int
    r2_held_out: Number | None
    notes: list[str]
    run_folder: str | None


@dataclass(frozen=True)
class Predicted:
    """Predictions, a row per point: the columns of the points, each target, and the ends of its interval."""

    columns: list[str]
    rows: list[list[Cell]]
    n_rows: int
    written_to: str | None
    warnings: list[str]


@dataclass(frozen=True)
class PairOfLaws:
    """Two laws at `at`: probability that the first is better, and how many times the compute the other needs there."""

    one: str
    other: str
    at: Number
    probability_one_better: Number
    multiplier: Interval
    slope: Interval
    crossings: list[Interval]


@dataclass(frozen=True)
class Compared:
    """Laws along a scale: the best where it begins, where another one becomes the best, and every two of them."""

    target: str
    along: str
    shown: list[Number]
    best_at_first: str
    switches: dict[str, Interval]
    pairs: list[PairOfLaws]
    warnings: list[str]
    notes: list[str]


@dataclass(frozen=True)
class BestRun:
    """The run of least loss for a budget; `beyond` names variables in which the law is not supported so far out."""

    group: str
    budget: Interval
    run: dict[str, Interval]
    target: Interval
    tokens_per_parameter: Interval | None
    beyond: list[str]


@dataclass(frozen=True)
class Allocated:
    """What to train: a run per budget and group, and with what power of the budget each variable grows."""

    law: str
    target: str
    cost: str
    unit: str
    level: float
    runs: list[BestRun]
    exponents: dict[str, dict[str, Interval]]
    supported_budget: dict[str, Number]
    notes: list[str]


@dataclass(frozen=True)
class Counted:
    """Parameters of a model by convention, and the FLOPs of a step of training per token."""

    architecture: str
    parameters: dict[str, int]
    six_n: dict[str, int]
    flops_per_token: Number
    sequence: int
    unit: str
    notes: list[str]


@dataclass(frozen=True)
class Rung:
    """A rung that was left out and predicted by a refit; `missed` counts in residual standard deviations."""

    variable: str
    low: Number
    high: Number
    missed: Number
    outermost: bool


@dataclass(frozen=True)
class Run:
    """A run, and by how many spreads of the law the answer moves without it."""

    run: str
    moved: Number


@dataclass(frozen=True)
class Diagnosed:
    """What the runs behind a law say against it."""

    target: str
    residual_sd: Number
    scale: Literal["log", "linear"]
    rungs: list[Rung]
    runs: list[Run]
    levels_not_followed: list[str]
    design: list[str]
    notes: list[str]


@dataclass(frozen=True)
class NextRun:
    """A run to pay for; `widths` are those of the intervals asked for, after it and those before it."""

    batch: int
    group: str
    run: dict[str, Number]
    cost: Number
    spent: Number
    repeat: int
    fills_a_gap: bool
    widths: list[Number]


@dataclass(frozen=True)
class AskedFor:
    """A number that was asked for: its interval and width now, and the width expected after the plan."""

    name: str
    now: Interval
    width: Number
    expected: Number
    kind: Literal["value", "ratio"]


@dataclass(frozen=True)
class Planned:
    """Which runs to pay for next, in order; none and `done` where the intervals are narrow enough already."""

    goal: str
    asked: list[AskedFor]
    runs: list[NextRun]
    spent: Number
    budget: Number
    unit: str
    done: bool
    notes: list[str]


@dataclass(frozen=True)
class PublishedLaw:
    """A law of the catalogue; `status` says how far it was checked against its source."""

    id: str
    name: str
    category: str
    formula: str
    variables: dict[str, str]
    constants: dict[str, str]
    published: dict[str, dict[str, Number]]
    source: str
    status: str
    notes: list[str]


@dataclass(frozen=True)
class Catalogue:
    """Published laws, or one of them with everything that is known of it."""

    laws: list[PublishedLaw]
    notes: list[str]


@dataclass(frozen=True)
class TaskLine:
    """A task that goes by a name."""

    name: str
    title: str
    targets: list[str]
    variables: list[str]
    n_rows: int | None
    n_held_out_rows: int | None


@dataclass(frozen=True)
class Tasks:
    """The tasks that come with `sld` or were fetched."""

    tasks: list[TaskLine]
    notes: list[str]


@dataclass(frozen=True)
class Entered:
    """An entry of a leaderboard: R² on the held-out rows with its 90 % interval; not `new` where the law was there."""

    name: str
    task: str
    r2: Number
    r2_low: Number | None
    r2_high: Number | None
    new: bool
    file: str
    remarks: list[str]


def cut(items: Sequence[_T], notes: list[str], what: str, rest: str) -> list[_T]:
    """Return the first of many, and note how many there are and where the rest is."""
    if len(items) > MOST_ROWS:
        notes.append(f"{MOST_ROWS} of {len(items):,} {what} are shown; {rest}")
    return list(items[:MOST_ROWS])


def shortened(text: str) -> str:
    """Return a text of bearable length."""
    return text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]} ... ({len(text) - MOST_TEXT:,} letters more)"


def plain(value: Any) -> Any:
    """Return a record in JSON's own types, what is not finite as text."""
    return core_plain(value, not_finite=number, other=_fields)


def _fields(value: Any) -> Any:
    return plain(vars(value)) if is_dataclass(value) and not isinstance(value, type) else str(value)


def number(value: float) -> Number:
    """Return a number that JSON can hold: what is not finite as text.

    >>> number(0.5), number(float("-inf")), number(float("nan"))
    (0.5, '-inf', 'nan')
    """
    value = float(value)
    if math.isfinite(value):
        return value
    return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
