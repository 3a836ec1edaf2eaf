"""Tables: rows with the roles of their columns, checked; what a search is given and what a law predicts for.

A `Table` has no way back to its task, so nothing that is handed one can reach held-out rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Unpack, get_args

import numpy as np
from numpy.typing import ArrayLike

from sld.core.arguments import checked
from sld.core.arrays import Array as Array
from sld.core.arrays import Rows as Rows
from sld.core.errors import DataError, UsageError, suggest
from sld.core.numbers import exact
from sld.data.card import Target, Variable, own_share, share_symbols
from sld.data.logarithms import question
from sld.data.reading import column_names, name_of, prepared, read_columns
from sld.data.roles import RoleOptions, Roles, listed
from sld.data.rows import Missing, check_sign, finite_rows, first_wrong_value, numbered, repeats
from sld.data.unnamed import hidden_settings
from sld.formula.expression import Expression, parse

ALL_ROWS = "all"  # name of the one group of a table without groups
LEAST_RUNS = 3  # of a group, to tell how much runs differ


@dataclass(frozen=True, eq=False)
class Table:
    """Rows that a law is fitted to or asked about.

    >>> table = table_from({"N": [1e6, 1e7], "loss": [3.9, 3.1], "data": ["web", "code"]},
    ...                    target="loss", scale="N", group="data")
    >>> table.n_rows, table.groups, table.column("loss").tolist()
    (2, ('web', 'code'), [3.9, 3.1])
    >>> table.of_group("code").X.tolist()
    [[10000000.0]]

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
        aim: Planned runs that the law is asked about, a table without targets in the same columns (`sld.data.aim`);
            None where nobody said. Folds, weights and checks then imitate them. The digest is that of the rows alone.
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
    aim: Table | None = None

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
        order = self.canonical_order()
        alike = (groups, runs) == (self.groups, self.runs) and (order[1:] > order[:-1]).all()
        if alike and np.bincount(group_index, minlength=len(groups)).all():
            return self  # what was computed from it need not be computed again
        named = replace(self, groups=groups, group_index=group_index, runs=runs, run_index=run_index)
        return replace(named.take(order), notes=self.notes)

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
        return self._points

    def variance_of_repeats(self, target: int) -> float | None:
        """Return the variance of a target between rows that are equal in all else; None where no point is repeated."""
        index = self.points()
        counts = np.bincount(index)
        repeated = counts[index] > 1
        if not repeated.any():
            return None
        y = self.Y[:, target]
        means = np.bincount(index, weights=y) / np.maximum(counts, 1)
        deviation = (y - means[index])[repeated]
        return float(np.sum(deviation**2) / (repeated.sum() - (counts > 1).sum()))

    @cached_property
    def _points(self) -> Rows:
        found = numbered([self.group_index, *self.X.T])[0]
        found.flags.writeable = False
        return found

    def clusters(self) -> Rows:
        """Return (n_rows,) numbers of what is independent of one another: runs where they are named, else points.

        Where a group has fewer than three runs nothing can be told from their differences, and points stand in.
        """
        points = self.points()
        if not self.runs:
            return points
        pairs = np.unique(np.column_stack([self.group_index, self.run_index]), axis=0)
        few = np.bincount(pairs[:, 0], minlength=len(self.groups)) < LEAST_RUNS
        return numbered([np.where(few[self.group_index], len(self.runs) + points, self.run_index)])[0]

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


@dataclass(frozen=True)
class Declared:
    """The columns of a table with what each is for.

    Attributes:
        variables: Input columns.
        targets: Output columns.
        group: Column naming the groups, if any.
        run: Column naming the runs that rows are checkpoints of, if any.
        weights: Column of relative weights, if any.
    """

    variables: tuple[Variable, ...]
    targets: tuple[Target, ...] = ()
    group: str | None = None
    run: str | None = None
    weights: str | None = None


@checked()
def table_from(
    data: object,
    *,
    target: str | Sequence[str],
    missing: Missing = "error",
    drop: str | Sequence[str] = (),
    melt: bool = False,
    **roles: Unpack[RoleOptions],
) -> Table:
    """Read a bare table: a file, a folder or pattern of files, a DataFrame, a mapping of columns, a list of records.

    >>> table = table_from({"N": [1e6, 1e7, 1e8], "loss": [3.9, 3.1, 2.7]}, target="loss", scale="N")
    >>> table.n_rows, table.symbols, table.variables[0].role
    (3, ('N',), 'scale')

    Args:
        data: Path, DataFrame (anything with `columns`) and so on, as `sld.data.reading.open_source` takes it.
        target: Column(s) to predict.
        missing: "error" refuses rows with empty or non-finite cells, "drop" leaves them out and says so.
        drop: Rows to leave out, e.g. "Step==0": column, comparison, value (see `sld.data.row_filter`). A row that
            meets any goes.
        melt: The table has one column per run: make it rows with columns `run` and the target (see `sld.data.wide`).
        **roles: What the other columns are, each by name: `scale`, `hyper`, `proportion` and `covariate` (variables),
            `group`, `run`, `yerr` and `weights`; and what is known of them: `log`, `monotone`, and of the targets
            `lower`, `upper` and `higher_is_better`. They are described with `sld.data.roles.Roles`.

    Raises:
        UsageError: No variable is named, or a column twice, or an option has another value than it may.
        DataError: A file, column or cell is not as it must be; the message names file, line and column.
    """
    said = Roles(target, **roles)
    data = prepared(data, drop=listed(drop), melt=melt, keep=said.named(), targets=said.targets)
    if not said.targets or not said.of_column:
        needed = "the column to predict (--target)"
        if said.targets:
            needed = "a variable (--scale, --hyper, --proportion or --covariate)"
        raise UsageError(f"name {needed}; {name_of(data)} has {', '.join(column_names(data)[:20])}")
    said.check()
    if missing not in get_args(Missing):
        raise UsageError(f"missing must be 'error' or 'drop', got {missing!r}")
    declared = Declared(*said.columns(), said.group, said.run, said.weights)
    table = read_table(data, declared, missing=missing, bare=True, fitted=True)
    problems = (*unnamed_logarithms(table, said.logs), *constant_columns(table), *outside_bounds(table))
    if problems:
        raise DataError(f"{name_of(data)}: {problems[0]}")
    return table


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
    return read_table(data, Declared(tuple(variables), (), group_column), where=where)


def read_table(
    data: object,
    declared: Declared,
    *,
    missing: Missing = "error",
    where: str | None = None,
    lenient: bool = False,
    bare: bool = False,
    fitted: bool = False,
) -> Table:
    """Read and check the rows behind the declared columns.

    Args:
        data: Path, DataFrame or mapping of columns.
        declared: Its columns.
        missing: "error" or "drop".
        where: The data in messages, instead of the file's name.
        lenient: Note, instead of refuse, values that a role does not allow (rows that are only scored).
        bare: Nobody has written a card: look for columns without a role that tell repeats apart.
        fitted: Read the targets' standard errors as well (rows that laws are fitted to).

    Raises:
        DataError: A file, column or cell is not as it must be; the message names file, line and column.
    """
    variables, targets, group, weights = declared.variables, declared.targets, declared.group, declared.weights
    errors = [t.yerr for t in targets if t.yerr is not None] if fitted else []
    named = [*(v.column for v in variables), *(t.column for t in targets), *errors]
    named += [] if weights is None or weights in named else [weights]
    columns = read_columns(data, named, group, where=where)
    n = columns.n_rows
    X = np.column_stack([columns.values[v.column] for v in variables]) if variables else np.empty((n, 0))
    Y = np.column_stack([columns.values[t.column] for t in targets]) if targets else np.empty((n, 0))
    notes: list[str] = list(columns.notes)
    rows = finite_rows(columns, missing, notes)
    if len(rows) < n:
        X, Y = X[rows], Y[rows]
    wrong = first_wrong_value(columns, rows, variables, X)
    if wrong and not lenient:
        raise DataError(wrong)
    notes.extend([wrong] if wrong else [])
    labels, label_index = (columns.labels, columns.label_index) if group is not None else ((ALL_ROWS,), np.zeros(n))
    kept, index = np.unique(label_index[rows], return_inverse=True)
    groups = tuple(labels[int(k)] for k in kept)
    notes.extend(repeats(columns, rows, index, X, Y))
    if bare and targets:
        named = [*(v.column for v in variables), *(t.column for t in targets), *errors]
        named += [column for column in (group, declared.run, weights) if column is not None]
        hidden = hidden_settings(data, named, rows, numbered([index, *X.T])[0], Y[:, 0])
        notes.extend([hidden] if hidden else [])
    table = Table(variables, targets, X, Y, groups, index, tuple(notes), group)
    if errors:
        yerr = [np.full(len(rows), np.nan) if t.yerr is None else columns.values[t.yerr][rows] for t in targets]
        for column in errors:
            check_sign(columns, rows, column, "a standard error must be above 0", zero=False)
        table = replace(table, yerr=np.column_stack(yerr))
    if weights is not None:
        check_sign(columns, rows, weights, "a weight cannot be negative", zero=True)
        table = replace(table, weights=columns.values[weights][rows], weights_column=weights)
        sums = np.bincount(index, weights=table.weights, minlength=len(groups))
        if not sums.all():
            empty = groups[int(np.argmin(sums))]
            raise DataError(f"{columns.where}: column {weights!r} is 0 in every row of group {empty!r}; leave it out")
    return table if declared.run is None else _with_runs(table, data, declared.run, rows, where)


def _with_runs(table: Table, data: object, run: str, rows: Rows, where: str | None) -> Table:
    """Return the table with the runs that a column names."""
    try:
        columns = read_columns(data, (), run, where=where)
    except DataError as error:  # the reader knows one kind of label
        raise DataError(str(error).replace("group column", "run column")) from None
    kept, index = np.unique(columns.label_index[rows], return_inverse=True)
    return replace(table, runs=tuple(columns.labels[int(k)] for k in kept), run_index=index, run_column=run)


def _by_name(names: tuple[str, ...], index: Rows) -> tuple[tuple[str, ...], Rows]:
    """Return names in alphabetical order, and the index that goes with them."""
    order = sorted(range(len(names)), key=lambda k: names[k])
    rank = np.empty(len(names), dtype=np.intp)
    rank[order] = np.arange(len(names))
    return tuple(names[k] for k in order), rank[index]


def unnamed_logarithms(table: Table, logs: Mapping[str, str]) -> tuple[str, ...]:
    """Return a question for each scale variable or hyperparameter that seems to be a logarithm and is not declared."""
    columns = ((v, table.X[:, i]) for i, v in enumerate(table.variables))
    asked = [(v.column, x) for v, x in columns if v.column not in logs and v.role in ("scale", "hyperparameter")]
    questions = (question(name, float(x.min()), float(x.max())) for name, x in asked)
    return tuple(text for text in questions if text)


def constant_columns(table: Table) -> tuple[str, ...]:
    """Return a sentence for each column that has one value only."""
    sentences = []
    columns = [(v.column, table.X[:, i]) for i, v in enumerate(table.variables)]
    columns += [(t.column, table.Y[:, j]) for j, t in enumerate(table.targets)]
    for name, values in columns:
        if len(values) and (values == values[0]).all():
            ways = "nothing can be learnt from it; leave it out or add rows where it differs"
            sentences.append(f"column {name!r} is constant ({exact(values[0])} in all rows): {ways}")
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
            span = f"the declared bounds {exact(low)} to {exact(high)}"
            rows = "1 row" if bad.sum() == 1 else f"{bad.sum()} rows"
            sentences.append(f"column {column.column!r} leaves {span} in {rows} (e.g. {exact(value)})")
    return tuple(sentences)
