"""Tables: rows with the roles of their columns, checked; what a search is given and what a law predicts for.

A `Table` has no way back to its task, so nothing that is handed one can reach held-out rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sld.core.arrays import Array as Array
from sld.core.arrays import Rows as Rows
from sld.core.errors import DataError, UsageError, suggest
from sld.data.card import Log, Monotone, Role, Target, Variable, own_share, share_symbols, unique_symbols
from sld.data.logarithms import NO_LOG, question
from sld.data.reading import Columns, column_names, name_of, prepared, read_columns
from sld.data.unnamed import hidden_settings
from sld.formula.expression import Expression, parse

Missing = Literal["error", "drop"]

ALL_ROWS = "all"  # name of the one group of a table without groups
LEAST_RUNS = 3  # of a group, to tell how much runs differ
SHARES_TOLERANCE = 0.02  # proportions in published tables are rounded to two digits


@dataclass(frozen=True, eq=False)
class Table:
    """Rows that a law is fitted to or asked about.

    Attributes:
        X: (n_rows, n_variables), in the card's units.
        Y: (n_rows, n_targets); no columns when the targets are still to be predicted.
        groups: Names of the groups; `("all",)` when rows are not grouped. Every group has a row.
        group_index: (n_rows,) index into `groups`.
        notes: What was noticed while reading, in sentences.
        group_column: Where the groups' names come from.
        own_shares: For each target the symbol of the proportion that belongs to it, if any.
        weights: (n_rows,) how much each row counts in a fit, relative to the others, as declared; None for all alike.
        yerr: (n_rows, n_targets) standard errors of the targets, in their units, as declared; None where unknown.
        runs: Names of the runs that rows are checkpoints of; empty where every row is a run of its own.
        run_index: (n_rows,) index into `runs`; empty without runs.
        run_column: Where the runs' names come from.
        weights_column: Where the weights come from; the columns of standard errors are named by the targets.
    """

    variables: tuple[Variable, ...]
    targets: tuple[Target, ...]
    X: Array
    Y: Array
    groups: tuple[str, ...] = (ALL_ROWS,)
    group_index: Rows = field(default_factory=lambda: np.zeros(0, dtype=np.intp))
    notes: tuple[str, ...] = ()
    group_column: str | None = None
    own_shares: tuple[str | None, ...] = ()
    weights: Array | None = None
    yerr: Array | None = None
    runs: tuple[str, ...] = ()
    run_index: Rows = field(default_factory=lambda: np.zeros(0, dtype=np.intp))
    run_column: str | None = None
    weights_column: str | None = None

    def __post_init__(self) -> None:
        """Bring arrays to one layout and check their shapes."""
        X = np.ascontiguousarray(self.X, dtype=np.float64)
        Y = np.ascontiguousarray(self.Y, dtype=np.float64)
        index = np.ascontiguousarray(self.group_index, dtype=np.intp)
        if len(self.groups) == 1 and not len(index):
            index = np.zeros(len(X), dtype=np.intp)
        wanted = ((len(X), len(self.variables)), (len(X), len(self.targets)), (len(X),))
        got = (X.shape, Y.shape, index.shape)
        if got != wanted:
            raise ValueError(f"Table needs X, Y and group_index of shapes {wanted}, got {got}")
        n = len(self.targets)
        optional = (("weights", self.weights, (len(X),)), ("yerr", self.yerr, Y.shape))
        for name, values, shape in optional:
            if values is not None and values.shape != shape:
                raise ValueError(f"Table needs {name} of shape {shape}, got {values.shape}")
        if self.runs and self.run_index.shape != (len(X),):
            raise ValueError(f"Table needs run_index of shape {(len(X),)}, got {self.run_index.shape}")
        own = self.own_shares or tuple(own_share(self.variables, n, j) for j in range(n))
        for key, value in (("X", X), ("Y", Y), ("group_index", index), ("own_shares", own)):
            object.__setattr__(self, key, value)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.X)

    @property
    def symbols(self) -> tuple[str, ...]:
        """Names of the variables in formulas."""
        return tuple(v.symbol for v in self.variables)

    @property
    def shares(self) -> tuple[str, ...]:
        """Symbols of the proportions."""
        return share_symbols(self.variables)

    @property
    def inputs(self) -> dict[str, Array]:
        """The variables' columns by symbol."""
        return {v.symbol: self.X[:, i] for i, v in enumerate(self.variables)}

    def own_share(self, target: int) -> str | None:
        """Return the symbol of the proportion that belongs to a target (one proportion per target), or None."""
        return self.own_shares[target]

    def parse(self, text: str, target: int = 0) -> Expression:
        """Read a formula over this table's variables; raises GrammarError."""
        return parse(text, self.symbols, shares=self.shares, own=self.own_shares[target] if self.targets else None)

    def column(self, name: str) -> Array:
        """Return a variable's or target's column by symbol or column name."""
        for attribute in ("symbol", "column"):
            for i, variable in enumerate(self.variables):
                if getattr(variable, attribute) == name:
                    return self.X[:, i]
            for j, target in enumerate(self.targets):
                if getattr(target, attribute) == name:
                    return self.Y[:, j]
        known = (*(v.column for v in self.variables), *(t.column for t in self.targets))
        raise UsageError(suggest(name, known, kind="column"))

    def take(self, rows: ArrayLike) -> Table:
        """Return the rows of an index or boolean mask, in that order; groups left without rows are dropped."""
        chosen = np.asarray(rows)
        if chosen.dtype != np.bool_:
            chosen = chosen.astype(np.intp)
        kept, index = np.unique(self.group_index[chosen], return_inverse=True)
        runs, run_index = self.runs, self.run_index
        if runs:
            kept_runs, run_index = np.unique(run_index[chosen], return_inverse=True)
            runs = tuple(runs[k] for k in kept_runs) or runs[:1]
        return replace(
            self,
            X=self.X[chosen],
            Y=self.Y[chosen],
            groups=tuple(self.groups[k] for k in kept) or self.groups[:1],
            group_index=index,
            notes=(),
            weights=None if self.weights is None else self.weights[chosen],
            yerr=None if self.yerr is None else self.yerr[chosen],
            runs=runs,
            run_index=run_index,
        )

    def canonical_order(self) -> Rows:
        """Return the row numbers in an order of the rows' own: by group name, then variables, then targets."""
        keys = [_by_name(self.groups, self.group_index)[1], *self.X.T, *self.Y.T]
        keys += [] if self.yerr is None else [*self.yerr.T]
        keys += [] if self.weights is None else [self.weights]
        keys += [_by_name(self.runs, self.run_index)[1]] if self.runs else []
        return np.lexsort(keys[::-1])

    def canonical(self) -> Table:
        """Return the same rows in `canonical_order`, groups and runs numbered by name.

        What is computed from it does not depend on the order in which rows and groups stand in a file, to the last bit.
        """
        groups, group_index = _by_name(self.groups, self.group_index)
        runs, run_index = _by_name(self.runs, self.run_index)
        named = replace(self, groups=groups, group_index=group_index, runs=runs, run_index=run_index)
        return replace(named.take(self.canonical_order()), notes=self.notes)

    def of_group(self, name: str) -> Table:
        """Return the rows of one group."""
        if name not in self.groups:
            raise UsageError(suggest(name, self.groups, kind="group"))
        return self.take(self.group_index == self.groups.index(name))

    def for_target(self, target: int) -> Table:
        """Return the table with one of its targets."""
        return replace(
            self,
            targets=(self.targets[target],),
            Y=self.Y[:, [target]],
            own_shares=(self.own_shares[target],),
            yerr=None if self.yerr is None else self.yerr[:, [target]],
        )

    def with_targets(self, Y: ArrayLike) -> Table:
        """Return the table with other values of the same targets (e.g. a bootstrap's)."""
        return replace(self, Y=np.asarray(Y, dtype=np.float64).reshape(self.Y.shape))

    def points(self) -> Rows:
        """Return (n_rows,) numbers of the distinct points: rows of one group that agree in all variables."""
        return _numbered([self.group_index, *self.X.T])[0]

    def clusters(self) -> Rows:
        """Return (n_rows,) numbers of what is independent of one another: runs where they are named, else points.

        Where a group has fewer than three runs nothing can be told from their differences, and points stand in.
        """
        points = self.points()
        if not self.runs:
            return points
        pairs = np.unique(np.column_stack([self.group_index, self.run_index]), axis=0)
        few = np.bincount(pairs[:, 0], minlength=len(self.groups)) < LEAST_RUNS
        return _numbered([np.where(few[self.group_index], len(self.runs) + points, self.run_index)])[0]

    def digest(self) -> str:
        """Return the sha256 of columns, roles and rows."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        import hashlib

        head = repr(
            (
                [(v.column, v.role, v.monotone, v.extrapolate, v.log, v.lower, v.upper) for v in self.variables],
                [(t.column, t.better, t.lower, t.upper) for t in self.targets],
                self.groups,
                self.X.shape,
            )
        )
        digest = hashlib.sha256(head.encode())
        for block in (self.X, self.Y, self.group_index.astype(np.int64)):
            digest.update(np.ascontiguousarray(block).tobytes())
        # a table without these has the digest that it had before there were any
        for name, values in (("weights", self.weights), ("yerr", self.yerr), ("runs", self.run_index)):
            if values is not None and len(values):
                digest.update(name.encode() + np.ascontiguousarray(values).tobytes())
        return digest.hexdigest()


def table_from(
    data: object,
    *,
    target: str | Sequence[str],
    scale: str | Sequence[str] = (),
    hyper: str | Sequence[str] = (),
    proportion: str | Sequence[str] = (),
    covariate: str | Sequence[str] = (),
    group: str | None = None,
    log: str | Sequence[str] | Mapping[str, str] = (),
    lower: float | None = None,
    upper: float | None = None,
    higher_is_better: bool = False,
    monotone: Mapping[str, Monotone] | None = None,
    missing: Missing = "error",
    drop: str | Sequence[str] = (),
    melt: bool = False,
    run: str | None = None,
    yerr: str | Sequence[str] = (),
    weights: str | None = None,
) -> Table:
    """Read a bare table: a file, a folder or pattern of files, a DataFrame, a mapping of columns, a list of records.

    Args:
        data: Path, DataFrame (anything with `columns`) and so on, as `sld.data.reading.open_source` takes it.
        target: Column(s) to predict.
        scale: Columns that grow with money; positive, unless in `log`.
        hyper: Columns with an interior optimum.
        proportion: Shares of a mixture; together they sum to 1.
        covariate: Any other columns that a law may use.
        group: Column naming the group of rows that share one set of constants.
        log: Columns that already are logarithms: to base 10, unless a mapping says otherwise ("log2", "log" for the
            natural one; "none" for a column whose name only looks like one).
        lower: Bound that no target can fall below.
        upper: Bound that no target can exceed.
        higher_is_better: The targets are scores, not losses.
        monotone: Declared effect of a column on the target: "increasing" or "decreasing".
        missing: "error" refuses rows with empty or non-finite cells, "drop" leaves them out and says so.
        drop: Rows to leave out, e.g. "Step==0": column, comparison, value (see `sld.data.row_filter`). A row that
            meets any goes.
        melt: The table has one column per run: make it rows with columns `run` and the target (see `sld.data.wide`).
        run: Column naming the run that a row is a checkpoint of; rows of one run are not independent.
        yerr: Columns with the standard errors of the targets, in their order and units.
        weights: Column with the relative weight of each row in a fit.

    Raises:
        DataError: A file, column or cell is not as it must be; the message names file, line and column.
    """
    roles: dict[str, Role] = {}
    for columns, role in ((scale, "scale"), (hyper, "hyperparameter"), (proportion, "proportion")):
        _add_role(roles, columns, role)
    _add_role(roles, covariate, "covariate")
    targets = _listed(target)
    keep = [*roles, *_listed(yerr), *(c for c in (group, run, weights) if c)]
    data = prepared(data, drop=_listed(drop), melt=melt, keep=keep, targets=targets)
    if not targets or not roles:
        needed = "a variable (scale, hyper, proportion or covariate)" if targets else "the column to predict (target)"
        raise UsageError(f"name {needed}; {name_of(data)} has {', '.join(column_names(data)[:20])}")
    used = [*roles, *targets, *(() if group is None else (group,))]
    for column in used:
        if used.count(column) > 1:
            raise UsageError(f"column {column!r} is named twice (variable, target and group must differ)")
    errors = _errors_of(targets, _listed(yerr), used)
    for kind, other in (("weights", weights), ("run", run)):
        # a group may be a run, and a run or a weight is no number that a law uses
        if (other is not None and other in (*targets, *errors)) or (kind == "weights" and other == run is not None):
            raise UsageError(f"column {other!r} is named twice ({kind} must be a column of its own)")
    logs: Mapping[str, Any] = log if isinstance(log, Mapping) else dict.fromkeys(_listed(log), "log10")
    effects: Mapping[str, Any] = monotone or {}
    for kind, chosen, options in (("log", logs, get_args(Log)), ("monotone", effects, get_args(Monotone))):
        for column, value in chosen.items():
            if column not in roles:
                raise UsageError(f"{kind}: {suggest(column, roles, kind='variable')}")
            if value not in options and (kind, value) != ("log", NO_LOG):
                raise UsageError(f"{kind} of {column!r} must be one of {', '.join(options)}, got {value!r}")
    if missing not in get_args(Missing):
        raise UsageError(f"missing must be 'error' or 'drop', got {missing!r}")
    if lower is not None and upper is not None and lower >= upper:
        raise UsageError(f"lower = {lower:g} must be below upper = {upper:g}")
    variables, outputs = unique_symbols(
        [Variable(c, role=r, monotone=effects.get(c), log=_log_of(c, logs)) for c, r in roles.items()],
        [
            Target(c, better="higher" if higher_is_better else "lower", lower=lower, upper=upper, yerr=e)
            for c, e in zip(targets, errors or (None,) * len(targets), strict=True)
        ],
    )
    table = read_table(
        data, variables, outputs, group, missing=missing, bare=True, fitted=True, run=run, weights=weights
    )
    problems = (*unnamed_logarithms(table, logs), *constant_columns(table), *outside_bounds(table))
    if problems:
        raise DataError(f"{name_of(data)}: {problems[0]}")
    return table


def _errors_of(targets: Sequence[str], errors: list[str], used: Sequence[str]) -> list[str]:
    """Check the columns of standard errors: none, or one per target."""
    if errors and len(errors) != len(targets):
        raise UsageError(f"yerr needs one column per target, in their order: {len(targets)} wanted, got {len(errors)}")
    for column in errors:
        if column in used or errors.count(column) > 1:
            raise UsageError(f"column {column!r} is named twice (standard errors must be columns of their own)")
    return errors


def _listed(columns: str | Iterable[str]) -> list[str]:
    return [columns] if isinstance(columns, str) else list(columns)


def _add_role(roles: dict[str, Role], columns: str | Iterable[str], role: Any) -> None:
    for column in _listed(columns):
        if column in roles:
            raise UsageError(f"column {column!r} is named twice ({roles[column]} and {role})")
        roles[column] = role


def read_points(
    data: object, variables: Sequence[Variable], group_column: str | None = None, *, where: str | None = None
) -> Table:
    """Read the points at which a law is asked for predictions: a table without targets.

    Args:
        data: Path, DataFrame, mapping of columns, or a Table.
        variables: The law's variables.
        group_column: Column with the groups' names, when the law is grouped.
        where: The data in messages, instead of the file's name.

    Raises:
        DataError: A column is missing, or a cell is not as it must be.
    """
    if isinstance(data, Table):
        grouped = group_column is not None
        if grouped and data.group_column is None and data.groups == (ALL_ROWS,):
            raise DataError(f"the points have no groups; wanted column {group_column!r}")
        at = {v.column: i for i, v in enumerate(data.variables)}
        for variable in variables:
            if variable.column not in at:
                raise DataError(f"the points: {suggest(variable.column, at, kind='column')}")
        return Table(
            variables=tuple(variables),
            targets=(),
            X=data.X[:, [at[v.column] for v in variables]],
            Y=np.empty((data.n_rows, 0)),
            groups=data.groups if grouped else (ALL_ROWS,),
            group_index=data.group_index if grouped else np.zeros(data.n_rows, dtype=np.intp),
            group_column=group_column,
        )
    return read_table(data, tuple(variables), (), group_column, where=where)


def read_table(
    data: object,
    variables: tuple[Variable, ...],
    targets: tuple[Target, ...],
    group: str | None,
    *,
    missing: Missing = "error",
    where: str | None = None,
    lenient: bool = False,
    bare: bool = False,
    fitted: bool = False,
    run: str | None = None,
    weights: str | None = None,
) -> Table:
    """Read and check the rows behind the declared columns.

    Args:
        data: Path, DataFrame or mapping of columns.
        variables: Input columns.
        targets: Output columns.
        group: Column naming the groups, if any.
        missing: "error" or "drop".
        where: The data in messages, instead of the file's name.
        lenient: Note, instead of refuse, values that a role does not allow (rows that are only scored).
        bare: Nobody has written a card: look for columns without a role that tell repeats apart.
        fitted: Read the targets' standard errors as well (rows that laws are fitted to).
        run: Column naming the runs that rows are checkpoints of, if any.
        weights: Column of relative weights, if any.

    Raises:
        DataError: A file, column or cell is not as it must be; the message names file, line and column.
    """
    errors = [t.yerr for t in targets if t.yerr is not None] if fitted else []
    named = [*(v.column for v in variables), *(t.column for t in targets), *errors]
    named += [] if weights is None or weights in named else [weights]
    columns = read_columns(data, named, group, where=where)
    n = columns.n_rows
    X = np.column_stack([columns.values[v.column] for v in variables]) if variables else np.empty((n, 0))
    Y = np.column_stack([columns.values[t.column] for t in targets]) if targets else np.empty((n, 0))
    notes: list[str] = list(columns.notes)
    rows = _finite_rows(columns, missing, notes)
    if len(rows) < n:
        X, Y = X[rows], Y[rows]
    wrong = _first_wrong_value(columns, rows, variables, X)
    if wrong and not lenient:
        raise DataError(wrong)
    notes.extend([wrong] if wrong else [])
    labels, label_index = (columns.labels, columns.label_index) if group is not None else ((ALL_ROWS,), np.zeros(n))
    kept, index = np.unique(label_index[rows], return_inverse=True)
    groups = tuple(labels[int(k)] for k in kept)
    notes.extend(_repeats(columns, rows, index, X, Y))
    if bare and targets:
        named = [*(v.column for v in variables), *(t.column for t in targets), *errors]
        named += [column for column in (group, run, weights) if column is not None]
        hidden = hidden_settings(data, named, rows, _numbered([index, *X.T])[0], Y[:, 0])
        notes.extend([hidden] if hidden else [])
    table = Table(variables, targets, X, Y, groups, index, tuple(notes), group)
    if errors:
        yerr = [np.full(len(rows), np.nan) if t.yerr is None else columns.values[t.yerr][rows] for t in targets]
        for column in errors:
            _check_sign(columns, rows, column, "a standard error must be above 0", zero=False)
        table = replace(table, yerr=np.column_stack(yerr))
    if weights is not None:
        _check_sign(columns, rows, weights, "a weight cannot be negative", zero=True)
        table = replace(table, weights=columns.values[weights][rows], weights_column=weights)
        sums = np.bincount(index, weights=table.weights, minlength=len(groups))
        if not sums.all():
            empty = groups[int(np.argmin(sums))]
            raise DataError(f"{columns.where}: column {weights!r} is 0 in every row of group {empty!r}; leave it out")
    return table if run is None else _with_runs(table, data, run, rows, where)


def _check_sign(columns: Columns, rows: Rows, column: str, rule: str, *, zero: bool) -> None:
    """Refuse negative values of a column, and zeros: any, or only nothing but zeros."""
    values = columns.values[column][rows]
    bad = values < 0 if zero else values <= 0
    if bad.any():
        place = f"{columns.where} {columns.row_name(int(rows[np.argmax(bad)]))}"
        ways = "" if zero else "; leave the row out where it is unknown"
        raise DataError(f"{place}: column {column!r} is {values[np.argmax(bad)]:g}, but {rule}{ways}")
    if zero and not values.any():
        raise DataError(f"{columns.where}: column {column!r} is 0 in every row; some weight must be above 0")


def _with_runs(table: Table, data: object, run: str, rows: Rows, where: str | None) -> Table:
    """Return the table with the runs that a column names."""
    try:
        columns = read_columns(data, (), run, where=where)
    except DataError as error:  # the reader knows one kind of label
        raise DataError(str(error).replace("group column", "run column")) from None
    kept, index = np.unique(columns.label_index[rows], return_inverse=True)
    return replace(table, runs=tuple(columns.labels[int(k)] for k in kept), run_index=index, run_column=run)


def _finite_rows(columns: Columns, missing: Missing, notes: list[str]) -> Rows:
    """Return the indices of rows without empty or infinite cells; refuse or note the others."""
    bad = np.zeros(columns.n_rows, dtype=np.bool_)
    for values in columns.values.values():
        bad |= ~np.isfinite(values)
    if not bad.any():
        return np.arange(columns.n_rows)
    first = int(np.argmax(bad))
    culprit = next(c for c, values in columns.values.items() if not np.isfinite(values[first]))
    value = columns.values[culprit][first]
    what = "empty or not a number" if np.isnan(value) else "infinite"
    place = f"{columns.where} {columns.row_name(first)}"
    if missing == "error":
        others = f" ({bad.sum()} such rows)" if bad.sum() > 1 else ""
        way_out = "fill it in, or leave such rows out with missing = drop"
        raise DataError(f"{place}: column {culprit!r} is {what}{others}; {way_out}{columns.melt_offer}")
    if bad.all():
        raise DataError(f"{columns.where}: every row has an empty or infinite cell ({culprit!r} in the first)")
    dropped = "1 row was" if bad.sum() == 1 else f"{bad.sum()} rows were"
    notes.append(f"{dropped} left out: empty or not finite (first: {columns.row_name(first)}, column {culprit!r})")
    return np.flatnonzero(~bad)


def _first_wrong_value(columns: Columns, rows: Rows, variables: Sequence[Variable], X: Array) -> str | None:
    """Return the first value that its variable's role does not allow, in a sentence."""

    def place(bad: NDArray[np.bool_]) -> str:
        return f"{columns.where} {columns.row_name(int(rows[np.argmax(bad)]))}"

    shares = []
    for i, variable in enumerate(variables):
        values = X[:, i]
        if variable.role == "scale" and variable.log is None and (bad := values <= 0).any():
            value = values[np.argmax(bad)]
            negative = bool((values < 0).any())
            if negative and (asked := question(variable.column, float(values.min()), float(values.max()))):
                return f"{place(bad)}: {asked}"
            is_log = "if the column is a logarithm, say so (log), or " if negative else ""
            leave = f'leave such rows out with --drop "{variable.column}{"<=" if negative else "=="}0"'
            wanted = f"scale variable {variable.column!r} must be positive, got {value:g}"
            return f"{place(bad)}: {wanted}; {is_log}{leave}{columns.melt_offer}"
        if variable.role == "proportion":
            shares.append(i)
            if (bad := (values < 0) | (values > 1 + SHARES_TOLERANCE)).any():
                value = values[np.argmax(bad)]
                return f"{place(bad)}: proportion {variable.column!r} must be between 0 and 1, got {value:g}"
    if len(shares) > 1:
        total = X[:, shares].sum(axis=1)
        if (bad := np.abs(total - 1) > SHARES_TOLERANCE).any():
            return f"{place(bad)}: proportions must sum to 1, got {total[np.argmax(bad)]:.4g}"
    return None


def _by_name(names: tuple[str, ...], index: Rows) -> tuple[tuple[str, ...], Rows]:
    """Return names in alphabetical order, and the index that goes with them."""
    order = sorted(range(len(names)), key=lambda k: names[k])
    rank = np.empty(len(names), dtype=np.intp)
    rank[order] = np.arange(len(names))
    return tuple(names[k] for k in order), rank[index]


def _numbered(keys: Sequence[NDArray[Any]]) -> tuple[Rows, Rows]:
    """Return (n_rows,) numbers, equal for rows equal in all keys, and the first row of each number."""
    order = np.lexsort(keys[::-1])  # stable, so the first of equal rows comes first
    new = np.ones(len(order), dtype=np.bool_)
    if len(order):
        new[1:] = False
    for key in keys:
        new[1:] |= key[order[1:]] != key[order[:-1]]
    numbers = np.empty(len(order), dtype=np.intp)
    numbers[order] = np.cumsum(new) - 1
    return numbers, order[new]


def _repeats(columns: Columns, rows: Rows, group_index: Rows, X: Array, Y: Array) -> list[str]:
    """Return notes on rows that occur twice, and on points measured more than once."""
    numbers, first = _numbered([group_index, *X.T])
    if len(first) == len(rows) or not Y.shape[1]:
        return []
    notes = []
    several = np.flatnonzero(np.bincount(numbers)[numbers] > 1)
    outcomes, outcome_first = _numbered([numbers[several], *Y[several].T])
    copies = len(several) - len(outcome_first)
    if copies:
        # rows ascend within `several`, so the first row that is not the first of its kind is the first copy
        is_copy = np.ones(len(several), dtype=np.bool_)
        is_copy[outcome_first] = False
        k = int(np.argmax(is_copy))
        copy, original = rows[several[k]], rows[several[outcome_first[outcomes[k]]]]
        many = "1 row is an exact copy" if copies == 1 else f"{copies} rows are exact copies"
        place = f"first: {columns.row_name(int(copy))} copies {columns.row_name(int(original))}"
        notes.append(f"{many} of an earlier row ({place}); kept")
    outcomes_per_point = np.bincount(numbers[several[outcome_first]])
    repeated = int((outcomes_per_point > 1).sum())
    if repeated:
        n = int(outcomes_per_point[outcomes_per_point > 1].sum())
        many = "1 point was" if repeated == 1 else f"{repeated} points were"
        notes.append(f"{many} measured more than once ({n} rows), so the noise floor is known")
    return notes


def unnamed_logarithms(table: Table, logs: Mapping[str, str]) -> tuple[str, ...]:
    """Return a question for each scale variable or hyperparameter that seems to be a logarithm and is not declared."""
    columns = ((v, table.X[:, i]) for i, v in enumerate(table.variables))
    asked = [(v.column, x) for v, x in columns if v.column not in logs and v.role in ("scale", "hyperparameter")]
    questions = (question(name, float(x.min()), float(x.max())) for name, x in asked)
    return tuple(text for text in questions if text)


def _log_of(column: str, logs: Mapping[str, Any]) -> Any:
    return None if logs.get(column) == NO_LOG else logs.get(column)


def constant_columns(table: Table) -> tuple[str, ...]:
    """Return a sentence for each column that has one value only."""
    sentences = []
    columns = [(v.column, table.X[:, i]) for i, v in enumerate(table.variables)]
    columns += [(t.column, table.Y[:, j]) for j, t in enumerate(table.targets)]
    for name, values in columns:
        if len(values) and (values == values[0]).all():
            ways = "nothing can be learnt from it; leave it out or add rows where it differs"
            sentences.append(f"column {name!r} is constant ({values[0]:g} in all rows): {ways}")
    return tuple(sentences)


def outside_bounds(table: Table) -> tuple[str, ...]:
    """Return a sentence for each column with values outside its declared bounds."""
    sentences = []
    columns: list[tuple[Variable | Target, Array]] = [(v, table.X[:, i]) for i, v in enumerate(table.variables)]
    columns += [(t, table.Y[:, j]) for j, t in enumerate(table.targets)]
    for column, values in columns:
        low = -np.inf if column.lower is None else column.lower
        high = np.inf if column.upper is None else column.upper
        bad = (values < low) | (values > high)
        if bad.any():
            value = values[np.argmax(bad)]
            span = f"the declared bounds {low:g} to {high:g}"
            rows = "1 row" if bad.sum() == 1 else f"{bad.sum()} rows"
            sentences.append(f"column {column.column!r} leaves {span} in {rows} (e.g. {value:g})")
    return tuple(sentences)
