"""What the tools take: records with a description of each field, so that an unknown or misspelt one is refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

_MOST_CELLS = 50_000  # of a table in the call itself: more belongs into a file
_LONGEST_NAME = 4096  # letters of a path: what systems take


def _listed(value: Any) -> Any:
    """Take one name for a list of one, as models write it; the schema, which they read, says list alone."""
    return [value] if isinstance(value, str) else value


Names = Annotated[list[str], BeforeValidator(_listed)]
Value = float | str | None
Data = Annotated[
    str | dict[str, list[Value]],
    Field(
        description="A table of runs: a file (CSV, TSV, JSON, JSONL, Parquet, xlsx), a folder of these or a pattern "
        "runs/*.csv inside the open folders; the name of a task (list_tasks); or the columns themselves, "
        '{"N": [1e6, 1e7], "loss": [3.9, 3.1]}.'
    ),
]
Law = Annotated[
    str,
    Field(
        description="What an earlier call returned as `law`, a law.json or run folder, a published law by its id "
        "(chinchilla), or a formula without free constants (1.7 + 400*N**-0.34)."
    ),
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")

    def said(self) -> dict[str, Any]:
        """Return what was said, and nothing of what was not."""
        return self.model_dump(exclude_unset=True, exclude_none=True)


class Columns(_Strict):
    """What the columns of a bare table are; a task knows that itself."""

    target: Names | None = Field(None, description="Column(s) to predict, e.g. loss.")
    scale: Names | None = Field(None, description="Columns that grow with money, e.g. parameters, tokens, compute.")
    hyper: Names | None = Field(None, description="Columns with a best value inside, e.g. learning rate, batch.")
    proportion: Names | None = Field(None, description="Shares of a mixture; together they sum to 1.")
    covariate: Names | None = Field(None, description="Other columns that a law may use.")
    group: str | None = Field(None, description="Column whose values have constants of their own, e.g. a family.")
    log: dict[str, str] | Names | None = Field(None, description="Columns that already are logarithms (base 10).")
    run: str | None = Field(None, description="Column that names the run of which a row is a checkpoint.")
    weights: str | None = Field(None, description="Column with relative weights of the rows in a fit.")
    yerr: Names | None = Field(None, description="Columns with standard errors of the targets.")
    lower: float | None = Field(None, description="The target never falls below this.")
    upper: float | None = Field(None, description="The target never exceeds this.")
    higher_is_better: bool | None = Field(None, description="The target is a score, not a loss.")
    missing: Literal["error", "drop"] | None = Field(None, description="What to do with rows that lack a value.")
    drop: Names | None = Field(None, description="Rows to leave out, e.g. Step==0.")
    melt: bool | None = Field(None, description="The table has one column per run.")


class HowToFit(_Strict):
    """How constants are fitted."""

    loss: Literal["squared", "huber", "log", "log_huber", "envelope"] = "squared"
    delta: float | None = Field(None, description="Where Huber's loss turns linear.")
    starts: int = Field(32, ge=1, le=2000, description="Starting points per group.")
    seed: int = Field(0, ge=0)
    shared: list[str] | None = Field(None, description="Constants that all groups have in common.")
    positive: list[str] | None = Field(None, description="Constants that must be positive.")
    bounds: dict[str, tuple[float | None, float | None]] | None = Field(
        None, description='Constant to its limits, null for none, e.g. {"a": [0, 1]}.'
    )
    pins: dict[str, float | str] | None = Field(
        None, description='Constants held at a value or equal to another, e.g. {"E": 1.69, "b": "a"}.'
    )
    constants: list[str] | None = Field(None, description="Names in the formula that are constants, e.g. N.")
    outliers: Literal["keep", "drop"] | None = None

    def keywords(self) -> dict[str, Any]:
        """Return the keywords of `sld.fit`."""
        found = self.said()
        if bounds := found.pop("bounds", None):
            ends = {c: (low, high) for c, (low, high) in bounds.items()}
            infinite = float("inf")
            found["bounds"] = {
                c: (-infinite if low is None else low, infinite if high is None else high)
                for c, (low, high) in ends.items()
            }
        return found


class Search(_Strict):
    """How a law is searched."""

    budget: str = Field("30s", description="Time (60s, 5min) or number of fits (20000fits: the same law every time).")
    seed: int = Field(0, ge=0)
    workers: int = Field(2, ge=1, le=64, description="Processes that judge formulas.")
    formulas: list[str] | None = Field(None, description="Formulas of yours to try first, e.g. E + A*N**-a.")
    constants: list[str] | None = Field(None, description="Names in these formulas that are constants, e.g. N.")
    outliers: Literal["keep", "drop"] | None = Field(None, description="What to do with runs that look diverged.")


class WhatToTrain(_Strict):
    """What is asked of the best run for a budget."""

    target_loss: float | None = Field(None, description="Instead of a budget: what the target shall reach.")
    gpu_hours: float | None = Field(None, description="The budget in hours of one GPU.")
    dollars: float | None = Field(None, description="The budget in money.")
    days: float | None = Field(None, description="The budget as days of training on the hardware's GPUs.")
    hardware: dict[str, float | str] | None = Field(None, description="gpu (h100), mfu (0.4), gpus (1), price (2).")
    cost: str | None = Field(None, description="6ND (the default), attention, moe, ... or a formula.")
    settings: dict[str, float] | None = Field(None, description="Values of names in the cost, e.g. context.")
    demand: float | None = Field(None, description="Tokens that will be served.")
    given: dict[str, float] | None = Field(None, description='Values that are settled, e.g. {"D/N": 20}.')
    maximum: dict[str, float] | None = Field(None, description="Largest values, e.g. of D.")
    choices: dict[str, list[float]] | None = Field(None, description="Values among which one is chosen.")
    target: str | None = Field(None, description="Column of the target; needed where a law has several.")
    group: str | None = Field(None, description="One group; all of them if not given.")
    draws: int | None = Field(None, ge=0, le=5000)
    seed: int | None = Field(None, ge=0)


class WhatToLearn(_Strict):
    """What the next runs are for, and which could be made."""

    goal: Literal["points", "allocation", "comparison", "exponents"] | None = Field(
        None, description="What shall be known better; a run ten times the largest if not given."
    )
    points: list[dict[str, float]] | None = Field(None, description="Points to predict, variable to value.")
    at: list[float] | None = Field(None, description="Budgets whose best run is wanted, or where laws are compared.")
    against: Law | None = Field(None, description="For goal comparison: the other law.")
    between: tuple[str, str] | None = Field(None, description="For goal comparison: two groups of the law.")
    grid: str | None = Field(None, description="Runs that could be made, e.g. N=1e7:1e9:8,D=20N:200N:5.")
    cost: str | None = Field(None, description="What a run costs: 6ND (the default), another name or a formula.")
    settings: dict[str, float] | None = Field(None, description="Values of names in the cost.")
    of: str | None = Field(None, description="Column of the target, of several.")
    only: str | None = Field(None, description="One group.")
    fixed: dict[str, float] | None = Field(None, description="Variables that every run has alike.")
    minimum: dict[str, float] | None = Field(None, description="Least values of a run's variables, or its cost.")
    maximum: dict[str, float] | None = Field(None, description="Largest values of a run's variables, or its cost.")
    runs: int | None = Field(None, ge=1, le=200, description="At most so many runs.")
    slots: int | None = Field(None, ge=1, le=1000, description="Runs at one time.")
    until: float | None = Field(None, description="Width of the intervals at which nothing more is paid for.")
    noise: float | None = Field(None, description="Relative spread of single runs, where there are none yet.")
    seed: int | None = Field(None, ge=0)


class HowToCompare(_Strict):
    """How laws or recipes are compared."""

    by: str | None = Field(None, description="With one table: the column that tells its recipes apart.")
    law: str | None = Field(None, description="With `by`: the form that is fitted to each recipe.")
    given: dict[str, float] | None = Field(
        None, description='What is settled: {"lr": 3e-4}, or a ratio at which all are compared, {"D/N": 20}.'
    )
    between: tuple[float, float] | None = Field(None, description="From which to which compute.")
    cost: str | None = Field(None, description="What a run costs; 6*N*D if not given.")
    level: float = Field(0.9, ge=0.5, lt=1)
    seed: int = Field(0, ge=0)


def check_size(data: str | dict[str, list[Value]]) -> None:
    """Refuse a table in the call itself that is too large for one, or of columns of different length.

    Raises:
        DataError: It is.
    """
    from sld.core.errors import DataError

    if isinstance(data, str):
        if len(data) > _LONGEST_NAME:
            raise DataError(f"no file or task has a name of {len(data):,} letters; {data[:20]!r}... is none")
        return
    n_cells = sum(len(values) for values in data.values())
    if n_cells > _MOST_CELLS:
        raise DataError(f"{n_cells:,} cells are too many for a call (at most {_MOST_CELLS:,}): name a file instead")
    if len({len(values) for values in data.values()}) > 1:
        raise DataError("the columns have different lengths: " + ", ".join(f"{n} {len(v)}" for n, v in data.items()))
