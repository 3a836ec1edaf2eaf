"""From a law to an entry: limits checked, constants fitted by us to the training rows, held-out rows predicted, scored.

A formula is worth what its form predicts: unless the constants are to be scored as they are, every one of them is
fitted here, from many starts and from those that were submitted, with the loss that the law says it minimises. The
same functions compute an entry and verify it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sld.board.entries.entry import (
    MAX_NAME,
    MAX_NOTE,
    Entry,
    check_url,
    check_words,
    task_digest,
)
from sld.core.errors import DataError, SldError, UsageError
from sld.core.version import __version__
from sld.data.scoring import Scores, scores
from sld.fit.noise import FRONTIER

if TYPE_CHECKING:
    from sld.board.programs.program import Program, ProgramResult
    from sld.data.table import Array, Table
    from sld.data.task import Task
    from sld.fit.fitting import FitResult
    from sld.formula.expression import Expression
    from sld.laws.law import Law

STARTS = 64
SETTLED = 1e-7  # of the target's deviation: a refit that moves no prediction by more has arrived
CREEPING = 1e-4  # the most that the last of many refits may move; some forms have their optimum at infinity
CREEPING_LOSS = 1e-7  # and the most by which it may lower the loss; both a tenth of what verifying allows
MAX_NUMBERS = 40  # written into one formula

_ROUNDS = 300  # of refits until the predictions rest
_REPLICATES = 1000
_MAX_DRAWS = 2_000_000  # rows drawn for an interval, unless that leaves fewer than a few hundred replicates
_LEAST_REPLICATES = 200
_LEVEL = 0.9
_FREE_UP_TO = 12  # whole numbers up to here belong to a form: 6*N*D, N**2, 1 + ...


@dataclass(frozen=True)
class Signature:
    """What a submitter says of an entry; raises UsageError for what cannot be shown safely."""

    name: str
    author: str = ""
    url: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        """Bring the texts to one form and refuse what is too long or not to be seen."""
        for key, most in (("name", MAX_NAME), ("author", MAX_NAME), ("note", MAX_NOTE)):
            object.__setattr__(self, key, check_words(getattr(self, key), key, most))
        object.__setattr__(self, "url", check_url(self.url))
        if not any(character.isalnum() for character in self.name):
            raise UsageError("the name needs at least one letter or digit")


@dataclass(frozen=True)
class Settings:
    """What is minimised for each target, and from where.

    Attributes:
        loss: Target to "squared", "huber", "log", "log_huber" or "envelope".
        weights: "equal", or "frontier" (rows next to the extrapolation count more, as in `sld discover`); squared
            losses only.
        pooling: Target to "none" or "partial".
        shared: Target to the constants that all groups have in common.
        positive: Target to the constants that must be positive.
        bounds: Target to constant to (lower, upper).
    """

    loss: Mapping[str, str] = field(default_factory=dict)
    weights: str = "equal"
    pooling: Mapping[str, str] = field(default_factory=dict)
    shared: Mapping[str, Sequence[str]] = field(default_factory=dict)
    positive: Mapping[str, Sequence[str]] = field(default_factory=dict)
    bounds: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=dict)
    starts: int = STARTS
    seed: int = 0

    @staticmethod
    def of_law(law: Law) -> Settings:
        """Return what a law says that it minimises; points beside the rows are not part of a submission."""
        said = law.settings
        return Settings(
            loss={c: own.loss for c, own in said.items()},
            weights="frontier" if any(FRONTIER in own.weights for own in said.values()) else "equal",
            pooling={c: own.pooling for c, own in said.items()},
            shared={c: list(own.shared) for c, own in said.items()},
            positive={c: list(own.positive) for c, own in said.items()},
            bounds={c: dict(own.bounds) for c, own in said.items() if own.bounds},
        )

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Settings:
        """Read what `to_json` gave."""
        keys = ("loss", "weights", "pooling", "shared", "positive", "starts", "seed")
        bounds = {target: _open_ended(pairs) for target, pairs in data["bounds"].items()}
        return Settings(**{key: data[key] for key in keys}, bounds=bounds)

    def to_json(self, targets: Sequence[str]) -> dict[str, Any]:
        """Return what an entry records, every target named."""

        def end(value: float) -> float | None:
            return value if math.isfinite(value) else None

        return {
            "loss": {t: self.loss.get(t, "squared") for t in targets},
            "weights": self.weights,
            "pooling": {t: self.pooling.get(t, "none") for t in targets},
            "shared": {t: sorted(self.shared.get(t, ())) for t in targets},
            "positive": {t: sorted(self.positive.get(t, ())) for t in targets},
            "bounds": {
                t: {c: [end(low), end(high)] for c, (low, high) in sorted(self.bounds.get(t, {}).items())}
                for t in targets
            },
            "starts": self.starts,
            "seed": self.seed,
        }


def _open_ended(bounds: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    return {
        name: (-math.inf if low is None else float(low), math.inf if high is None else float(high))
        for name, (low, high) in bounds.items()
    }


class Rows:
    """A task with its held-out rows, and what all entries scored on them share."""

    def __init__(self, task: Task) -> None:
        """Read the held-out rows; raises UsageError where the task has none."""
        held_out = task.held_out()
        if held_out is None:
            way_out = "a leaderboard needs rows that no fit has seen"
            raise UsageError(f"task {task.name!r} has no held-out rows (files.held_out in its card); {way_out}")
        self.task, self.train, self.held_out = task, task.train, held_out
        self.targets = [t.column for t in self.train.targets]

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What an entry says of its task."""
        return {"name": self.task.name, "version": self.task.card.version, "digest": task_digest(self.task)}

    @cached_property
    def deviation(self) -> Array:
        """Standard deviation of each target over the training rows (n_targets,)."""
        spread = self.train.Y.std(axis=0)
        return np.asarray(np.where(spread > 0, spread, 1.0))

    @cached_property
    def frontier(self) -> Array | None:
        """Weights of the training rows where those next to the extrapolation count more."""
        from sld.data.splits import frontier_weights

        return frontier_weights(self.train)

    @cached_property
    def draws(self) -> Array:
        """How often each held-out row occurs in each replicate (n_replicates, n_rows), drawn within groups."""
        index, n = self.held_out.group_index, self.held_out.n_rows
        replicates = min(_REPLICATES, max(_LEAST_REPLICATES, _MAX_DRAWS // n))
        counts = np.zeros((replicates, n))
        # the raw stream of the bit generator never changes, unlike what is made of it from version to version
        stream = np.random.PCG64(0)
        shift = np.uint64(32)
        for g in range(len(self.held_out.groups)):
            rows = np.flatnonzero(index == g)
            raw = np.asarray(stream.random_raw(replicates * len(rows))) >> shift
            picked = rows[((raw * np.uint64(len(rows))) >> shift).astype(np.intp)]
            flat = np.repeat(np.arange(replicates), len(rows)) * n + picked
            counts += np.bincount(flat, minlength=replicates * n).reshape(replicates, n)
        return counts

    @cached_property
    def variances(self) -> Array:
        """Variance of each target in each replicate (n_replicates, n_targets)."""
        Y = self.held_out.Y - self.held_out.Y.mean(axis=0)
        n = len(Y)
        spread = self.draws @ (Y * Y) / n - (self.draws @ Y / n) ** 2
        return np.asarray(np.where(spread > 1e-12 * (Y * Y).mean(axis=0), spread, np.nan))

    def score(self, predictions: Array) -> dict[str, Any]:
        """Return the held-out scores of predictions (n_rows, n_targets), with the interval of R²."""
        found = scores(self.held_out.Y, predictions, self.held_out.group_index)
        return {**found.to_json(), "r2_interval": self._interval(predictions, found)}

    def _interval(self, predictions: Array, found: Scores) -> list[float] | None:
        if found.failed or not math.isfinite(found.r2):
            return None
        with np.errstate(all="ignore"):
            ratio = self.draws @ ((self.held_out.Y - predictions) ** 2) / len(predictions) / self.variances
            defined = np.isfinite(ratio)
            r2 = 1.0 - np.where(defined, ratio, 0.0).sum(axis=1) / defined.sum(axis=1)
        r2 = r2[np.isfinite(r2)]
        if len(r2) < _LEAST_REPLICATES // 2:
            return None
        low, high = np.quantile(r2, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
        return [float(low), float(high)]

    def scores_of(self, law: Law) -> dict[str, Any]:
        """Return the scores of a law, and its error on the training rows."""
        found = self.score(law.predict(self.held_out))
        trained = scores(self.train.Y, law.predict(self.train), self.train.group_index).nmse
        return {**found, "train_nmse": trained if math.isfinite(trained) else None}


def numbers_that_count(expression: Expression) -> int:
    """Return how many different numbers of a formula count as constants.

    Whole numbers up to 12, one half and powers of ten (units) are part of a form; any other number is a constant that
    somebody has chosen.
    """
    found = {abs(node.value) for node in expression.tree.walk() if node.op == "number"}
    return sum(not _is_structural(value) for value in found)


def _is_structural(value: float) -> bool:
    if value == 0.5 or (value == round(value) and value <= _FREE_UP_TO):
        return True
    power = round(math.log10(value)) if value > 0 else 0
    return abs(power) <= 30 and float(f"1e{power}") == value


def n_constants_of(expressions: Mapping[str, Expression]) -> int:
    """Return constants per group of the target that has most, numbers that count included."""
    return max(len(e.constants) + numbers_that_count(e) for e in expressions.values())


def check_limits(rows: Rows, law: Law) -> None:
    """Refuse a law that has more constants than the task allows, or so many that it could hold the rows themselves.

    A formula cannot name a statistic of the data (there is no such function in the grammar, and names are variables or
    constants), so constants are the only way by which rows enter a law.

    Raises:
        UsageError: There are too many; the message says of what.
    """
    most = rows.task.card.max_constants
    for column, expression in law.expressions.items():
        where = f" for target {column!r}" if len(law.targets) > 1 else ""
        written = numbers_that_count(expression)
        n = len(expression.constants) + written
        if n > most:
            how = f"{len(expression.constants)} and {written} numbers that count as such" if written else f"{n}"
            raise UsageError(f"the task allows {most} constants per group and target, the formula has {how}{where}")
        if (count := sum(node.op == "number" for node in expression.tree.walk())) > MAX_NUMBERS:
            raise UsageError(f"a formula may hold {MAX_NUMBERS} numbers, this one holds {count}{where}")
        different = sum(len({of[c] for of in law.constants[column].values()}) for c in expression.constants) + written
        if different > rows.train.n_rows:
            have = f"there are {rows.train.n_rows} training rows"
            raise UsageError(f"the law has {different} constants in all groups{where}, and {have}; share some")
    if extra := [g for g in law.groups if g not in rows.train.groups]:
        raise UsageError(f"the law has constants for group {extra[0]!r}, which the task lacks")


def fit_target(
    rows: Rows, expression: Expression, target: int, settings: Settings, starts: int, inherit: Any = None
) -> FitResult:
    """Fit one target with the settings; no starts means from `inherit` alone."""
    from sld.fit import fitting

    column = rows.targets[target]
    loss, pooling = settings.loss.get(column, "squared"), settings.pooling.get(column, "none")
    return fitting.fit(
        expression,
        rows.train,
        target=target,
        loss=loss,  # type: ignore[arg-type]  # checked there, with suggestions
        pooling=pooling,  # type: ignore[arg-type]
        starts=starts,
        seed=settings.seed,
        shared=tuple(settings.shared.get(column, ())),
        positive=tuple(settings.positive.get(column, ())),
        bounds=settings.bounds.get(column),
        weights=rows.frontier if settings.weights == "frontier" and loss == "squared" else None,
        inherit=inherit,
    )


def refitted(rows: Rows, law: Law, settings: Settings, start: Law | None) -> tuple[Law, dict[str, float]]:
    """Return the law with constants fitted to the training rows, and the objective of each target.

    Args:
        rows: The task.
        law: The forms; its constants do not matter.
        settings: What to minimise.
        start: A law whose constants are one more start, if it has any for the groups of the task.

    Raises:
        UsageError: A setting does not suit the form, or there are fewer rows than constants.
        SldError: The fit failed, or never comes to rest.
    """
    constants, objectives = {}, {}
    for j, column in enumerate(rows.targets):
        expression = law.expressions[column]
        inherit = None
        if start is not None and set(rows.train.groups) <= set(start.groups):
            inherit = start.constants[column]
        found = fit_target(rows, expression, j, settings, settings.starts, inherit)
        if not found.ok:
            raise SldError(f"could not fit {expression.text} to {column!r}: {found.status}")
        constants[column], objectives[column] = found.constants, found.loss
    fitted = replace(law, constants=constants)
    moved = gain = math.inf
    for _ in range(_ROUNDS):
        again = improved(rows, fitted, settings)
        if again is None:
            break
        moved = distance(rows, fitted, again[0])
        gain = max(1.0 - again[1][c] / objectives[c] if objectives[c] > 0 else 0.0 for c in rows.targets)
        fitted, objectives = again
        if moved < SETTLED:
            break
    if moved < CREEPING and gain < CREEPING_LOSS:
        return fitted, objectives
    # what creeps along a valley would fail its verification, and could stop wherever it scores best
    way_out = "use a form with fewer constants, or bounds (sld fit --bounds, then submit its law.json)"
    raise SldError(f"the fit does not come to rest, since the training rows leave the constants open; {way_out}")


def improved(rows: Rows, law: Law, settings: Settings) -> tuple[Law, dict[str, float]] | None:
    """Return the law after one more fit from its own constants, with the objectives; None where that fails."""
    constants, objectives = {}, {}
    for j, column in enumerate(rows.targets):
        found = fit_target(rows, law.expressions[column], j, settings, 0, law.constants[column])
        if not found.ok:
            return None
        constants[column], objectives[column] = found.constants, found.loss
    return replace(law, constants=constants), objectives


def distance(rows: Rows, one: Law, other: Law) -> float:
    """Return the largest difference of two laws' predictions on any row, in the targets' standard deviations."""
    worst = 0.0
    for table in (rows.train, rows.held_out):
        with np.errstate(all="ignore"):
            a, b = one.predict(table), other.predict(table)
            apart = np.abs(a - b) / rows.deviation
        # where both leave the domain they agree
        both = ~np.isfinite(a) & ~np.isfinite(b)
        apart = np.where(both, 0.0, np.where(np.isfinite(apart), apart, math.inf))
        worst = max(worst, float(apart.max(initial=0.0)))
    return worst


def key_of(expressions: Mapping[str, Expression]) -> str:
    """Return one text for all ways of writing the forms of all targets."""
    from sld.formula.canonical import canonical_key

    keys = {target: canonical_key(e) for target, e in expressions.items()}
    if len(set(keys.values())) == 1:
        return next(iter(keys.values()))
    return "; ".join(f"{target}: {key}" for target, key in sorted(keys.items()))


def formula_entry(
    rows: Rows,
    law: Law,
    signature: Signature,
    *,
    constants_from: str,
    settings: Settings | None = None,
    start: Law | None = None,
    provenance: Mapping[str, Any],
) -> Entry:
    """Return the entry of a formula.

    Args:
        rows: The task.
        law: The forms, over the task's own columns; with the constants to score unless they are refitted.
        signature: Who submits it under what name.
        constants_from: "refitted", "as published" or "as given".
        settings: What to minimise, where constants are refitted.
        start: A law whose constants are one more start.
        provenance: Where the law comes from.

    Raises:
        UsageError: A limit of the task is not kept, or the law does not suit the task.
        SldError: The fit failed.
    """
    fit: dict[str, Any] = {}
    if constants_from == "refitted":
        settings = settings or Settings()
        check_limits(rows, law)
        law, objectives = refitted(rows, law, settings, start)
        fit = {**settings.to_json(rows.targets), "objective": objectives}
    check_limits(rows, law)
    if missing := [g for g in rows.held_out.groups if g not in law.groups]:
        raise UsageError(f"the law has no constants for group {missing[0]!r} of the held-out rows")
    return _entry(
        rows,
        signature,
        law,
        constants_from=constants_from,
        key=key_of(law.expressions),
        fit=fit,
        scores=rows.scores_of(law),
        n_constants=n_constants_of(law.expressions),
        provenance=provenance,
    )


def program_entry(
    rows: Rows,
    source: Path,
    signature: Signature,
    *,
    provenance: Mapping[str, Any],
    unsafe: bool = False,
) -> Entry:
    """Run a program in the sandbox and return its entry.

    Raises:
        UsageError: There is no such file, or it is too long or no text.
        SldError: The program failed, or nothing here can hold it and `unsafe` is not set.
    """
    from sld.board.programs.program import read_program

    program = read_program(source)
    result, predictions = run_program(rows, program, unsafe=unsafe)
    return _entry(
        rows,
        signature,
        None,
        constants_from="refitted",
        key=program.sha256,
        fit={},
        scores={**rows.score(predictions), "train_nmse": None},
        n_constants=result.n_constants,
        provenance={
            **provenance,
            "program": {
                "sha256": program.sha256,
                "source": program.source,
                "parameters": result.parameters,
                "note": result.note,
                "predictions": predictions.tolist(),  # of the held-out points, so that scores can be computed again
            },
            "seconds": round(result.seconds, 3),
            "protection": result.protection,
        },
    )


def _entry(
    rows: Rows,
    signature: Signature,
    law: Law | None,
    *,
    constants_from: str,
    key: str,
    fit: Mapping[str, Any],
    scores: Mapping[str, Any],
    n_constants: int | None,
    provenance: Mapping[str, Any],
) -> Entry:
    """Return an entry; that of a program has no law."""
    return Entry(
        task=rows.identity,
        name=signature.name,
        author=signature.author,
        url=signature.url,
        note=signature.note,
        kind="program" if law is None else "formula",
        constants_from=constants_from,
        expressions={} if law is None else {t: e.text for t, e in law.expressions.items()},
        key=key,
        constants={} if law is None else law.constants,
        fit=fit,
        scores=scores,
        complexity=None if law is None else sum(e.complexity for e in law.expressions.values()),
        n_constants=n_constants,
        tool=f"sld {__version__}",
        provenance=provenance,
    )


def run_program(rows: Rows, program: Program, *, unsafe: bool = False) -> tuple[ProgramResult, Array]:
    """Run a program in the sandbox; return what came of it and predictions (n_rows, n_targets) of the held-out points.

    Raises:
        SldError: It failed; the message says how.
    """
    from sld.board.programs import program as programs

    result = programs.run_program(
        program,
        rows.train,
        points_of(rows.held_out),
        max_constants=rows.task.card.max_constants,
        hidden=() if rows.task.path is None else (rows.task.path,),
        unsafe=unsafe,
    )
    if result.status or result.predictions is None:
        raise SldError(f"{program.name}: {result.status or 'no predictions came back'}")
    return result, result.predictions


def points_of(table: Table) -> Table:
    """Return the inputs of a table, without its targets."""
    return replace(table, targets=(), Y=np.empty((table.n_rows, 0)), own_shares=())


def published_constants(rows: Rows, name: str, expressions: Mapping[str, Expression]) -> Any:
    """Return the constants that the card prints for one of its laws: target to group to constant to value.

    The card's table is flat, or by group, or by target (and then flat or by group).

    Raises:
        UsageError: The card has no values for the law, or they do not suit the task's groups.
    """
    card = rows.task.card
    law = next((one for one in card.laws if one.name == name), None)
    if law is None or not law.values:
        with_values = [one.name for one in card.laws if one.values]
        there = f"; laws with values: {', '.join(with_values)}" if with_values else "; none of the card's laws has any"
        raise UsageError(f"the card gives no values for {name!r}, so there is nothing to score as published{there}")
    per_target = set(law.values) == set(rows.targets)
    constants: dict[str, dict[str, dict[str, float]]] = {}
    for column in rows.targets:
        of = law.values[column] if per_target else law.values
        if all(isinstance(value, int | float) for value in of.values()):
            of = dict.fromkeys(rows.train.groups, of)
        if missing := [g for g in rows.train.groups if not isinstance(of.get(g), Mapping)]:
            labels = ", ".join(map(repr, list(of)[:5]))
            raise UsageError(f"the card's values of {name!r} are for {labels} and not for group {missing[0]!r}")
        wanted = expressions[column].constants
        constants[column] = {}
        for group in rows.train.groups:
            if lacking := [c for c in wanted if not isinstance(of[group].get(c), int | float)]:
                raise UsageError(f"the card's values of {name!r} lack {lacking[0]!r} for group {group!r}")
            constants[column][group] = {c: float(of[group][c]) for c in wanted}
    return constants


def on_task(rows: Rows, law: Law) -> Law:
    """Return a law read from a file over the task's own columns.

    Raises:
        UsageError: A target or variable of the law is not in the task, or one of the task's targets has no formula.
    """
    from sld.core.errors import GrammarError, suggest
    from sld.data.card import parse_for

    train = rows.train
    ours = {v.column: v.symbol for v in train.variables}
    for variable in law.variables:
        if variable.symbol in law.used_variables and ours.get(variable.column) != variable.symbol:
            raise UsageError(f"the law and task {rows.task.name!r}: {suggest(variable.column, ours, kind='column')}")
    for column in law.expressions:
        if column not in rows.targets:
            raise UsageError(f"task {rows.task.name!r}: {suggest(column, rows.targets, kind='target')}")
    expressions = {}
    for j, column in enumerate(rows.targets):
        if column not in law.expressions:
            raise UsageError(f"the law has no formula for target {column!r} of task {rows.task.name!r}")
        try:
            expressions[column] = parse_for(law.expressions[column].text, train.variables, len(rows.targets), j)
        except GrammarError as error:
            raise UsageError(f"the formula of {column!r} on task {rows.task.name!r}: {error}") from error
    try:
        return replace(
            law,
            expressions=expressions,
            variables=train.variables,
            targets=train.targets,
            group_column=train.group_column,
            intervals=None,
        )
    except DataError as error:
        raise UsageError(f"the law does not suit task {rows.task.name!r}: {error}") from error
