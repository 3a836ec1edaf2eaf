"""A law: formulas with fitted constants, what they were fitted to, and predictions from them; `law.json`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sld.core.errors import DataError, GrammarError, UsageError, suggest
from sld.core.files import write_text_atomic
from sld.core.plain import plain
from sld.core.toml import Keys, kind_of
from sld.core.views import view
from sld.data.card import Target, Variable, parse_for
from sld.data.table import ALL_ROWS, Array, Declared, Table, read_points, read_table
from sld.fit.kernel import evaluate
from sld.formula.expression import Expression, number, substitute, to_text
from sld.formula.render import signed
from sld.laws.draws import Of, draws
from sld.laws.ensemble import Ensemble, read_ensembles
from sld.laws.fit_settings import FitSettings, settings_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

LAW_FILE = "law.json"
SINGLE_FILE = "single.json"  # the best form by itself, beside a law that follows a consensus
SCHEMA = 1  # of law.json; a file of a later one is refused

_SHOWN = 200  # characters of a path in a message: what no file can be called is no path but text
_MOST_DIGITS = 17  # significant digits that tell every two numbers apart
_UNREADABLE = (
    "the intervals of this law were written before sld 0.6.0 and hold the constants of runners-up in an order of the "
    "groups that is lost, so they are not used; discover again to have intervals"
)

Constants = Mapping[str, Mapping[str, Mapping[str, float]]]

_KEYS = (
    *("schema", "expression", "constants", "task", "variables", "targets", "group_column", "intervals", "provenance"),
    *("settings", "ensembles"),
)


@dataclass(frozen=True, repr=False)
class Law:
    """One formula per target, with constants per group.

    >>> from sld.formula.expression import parse
    >>> constants = {"loss": {"all": {"E": 1.7, "A": 40.0, "a": 0.25}}}
    >>> law = Law({"loss": parse("E + A*N**-a", ["N"])}, constants, (Variable("N"),), (Target("loss"),))
    >>> law.text()
    '1.7 + 40*N**-0.25'
    >>> law.predict({"N": [1e4, 1e8]})
    array([[5.7],
           [2.1]])

    Attributes:
        expressions: Target column to formula.
        constants: Target column to group to constant to value; the one group of ungrouped rows is "all".
        variables: The inputs, in the table's order.
        targets: The outputs, in the table's order.
        group_column: Column that holds the groups' names, when rows are grouped.
        task: Name and version of the task it was fitted to.
        provenance: How it came about (seed, budget, origin of the form); anything JSON can hold.
        intervals: What prediction intervals are made from; opaque here.
        settings: Target column to how its constants were fitted; where none are given, what the provenance of a law
            before 0.6.0 says, which is least squares if it says nothing.
        notes: What a reader of the file should know, in sentences; not written.
        ensembles: Target column to what predicts it beside its formula (`ensemble.py`); a target without one is
            predicted by its formula alone.
    """

    expressions: Mapping[str, Expression]
    constants: Constants
    variables: tuple[Variable, ...]
    targets: tuple[Target, ...]
    group_column: str | None = None
    task: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    intervals: Mapping[str, Any] | None = None
    settings: Mapping[str, FitSettings] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    ensembles: Mapping[str, Ensemble] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that every target has a formula and every group a finite value for each constant in it."""
        object.__setattr__(self, "variables", tuple(self.variables))
        object.__setattr__(self, "targets", tuple(self.targets))
        if not self.targets:
            raise DataError("a law needs at least one target")
        columns = [t.column for t in self.targets]
        for names in (columns, [v.column for v in self.variables], [v.symbol for v in self.variables]):
            if repeated := [name for name in names if names.count(name) > 1]:
                raise DataError(f"the law has two columns named {repeated[0]!r}")
        _same_names(self.expressions, columns, kind="target")
        _same_names(self.constants, columns, kind="target")
        # as law.json has them, so that a law in memory and one that was read are the same in every order
        groups = sorted(self.constants[columns[0]])
        if not groups:
            raise DataError(f"the law has no constants for any group; rows without groups are {ALL_ROWS!r}")
        symbols = tuple(v.symbol for v in self.variables)
        constants: dict[str, dict[str, dict[str, float]]] = {}
        for column in columns:
            expression = self.expressions[column]
            if unknown := [v for v in expression.used_variables if v not in symbols]:
                raise DataError(f"the formula of {column!r}: " + suggest(unknown[0], symbols, kind="variable"))
            _same_names(self.constants[column], groups, kind="group")
            constants[column] = {
                group: _checked(self.constants[column][group], expression, f"{column!r}, group {group!r}")
                for group in groups
            }
        settings = {**settings_of({} if self.settings else self.provenance, columns), **self.settings}
        object.__setattr__(self, "expressions", {column: self.expressions[column] for column in columns})
        object.__setattr__(self, "constants", constants)
        object.__setattr__(self, "settings", {column: settings[column] for column in columns})

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups that have constants, in alphabetical order; `("all",)` when rows are not grouped."""
        return tuple(self.constants[self.targets[0].column])

    @property
    def grouped(self) -> bool:
        """Whether constants differ between groups of rows."""
        return self.group_column is not None or self.groups != (ALL_ROWS,)

    @property
    def used_variables(self) -> frozenset[str]:
        """Symbols of the variables that occur in any of the formulas."""
        return frozenset(v for e in self.expressions.values() for v in e.used_variables)

    def loss(self, target: str) -> str:
        """Return what the fit of a target minimised: "squared", "huber", "log", "log_huber" or "envelope"."""
        return self.settings[target].loss

    def predict(self, points: object) -> Array:
        """Return predictions (n_rows, n_targets) for a table, DataFrame, mapping of columns, or path.

        They are the formula's, unless the law has an ensemble for a target: then several formulas and the rows near a
        point predict together. `by_formula` asks the formula alone. A formula outside its domain predicts NaN or
        infinity, which is left as it is.

        Raises:
            DataError: A column is missing or a cell is not a number.
            UsageError: A row's group has no constants in this law.
        """
        table = self._points(points)
        if unknown := [group for group in table.groups if group not in self.groups]:
            known = f"the law has constants for {len(self.groups)}"
            raise UsageError(suggest(unknown[0], self.groups, kind="group", listing=known))
        prediction = np.empty((table.n_rows, len(self.targets)))
        order = np.argsort(table.group_index, kind="stable")
        edges = np.searchsorted(table.group_index[order], np.arange(len(table.groups) + 1))
        for g, group in enumerate(table.groups):
            rows = order[edges[g] : edges[g + 1]]
            columns = {v.symbol: np.ascontiguousarray(table.X[rows, i]) for i, v in enumerate(self.variables)}
            for j, target in enumerate(self.targets):
                expression = self.expressions[target.column]
                if not len(rows):
                    continue
                own = evaluate(expression, columns, self.constants[target.column][group])
                ensemble = self.ensembles.get(target.column)
                prediction[rows, j] = own if ensemble is None else ensemble.predict(own, columns, group, target)
        return prediction

    def by_formula(self, points: object) -> Array:
        r"""Return what the formulas alone say, $f(x; \hat\theta)$, (n_rows, n_targets); see `predict`.

        >>> from sld.formula.expression import parse
        >>> constants = {"loss": {"all": {"E": 1.7, "A": 40.0, "a": 0.25}}}
        >>> law = Law({"loss": parse("E + A*N**-a", ["N"])}, constants, (Variable("N"),), (Target("loss"),))
        >>> law.by_formula({"N": [1e4]})
        array([[5.7]])

        Raises:
            DataError: A column is missing or a cell is not a number.
            UsageError: A row's group has no constants in this law.
        """
        return self.bare.predict(points)

    @property
    def bare(self) -> Law:
        """The law without its ensembles: it predicts by its formulas alone."""
        return replace(self, ensembles={}) if self.ensembles else self

    def draws(self, points: object, n: int = 1000, *, seed: int = 0, of: Of = "law") -> Array:
        r"""Return draws (n, n_points, n_targets) of what the law may say at points.

        They answer what intervals do not. Draw $k$ is one curve at all points, groups and targets, so differences and
        ratios of points, and optima over many of them, are computed draw by draw. Quantiles of the draws at a point are
        the law's interval there, up to chance.

        >>> import numpy as np
        >>> import sld
        >>> N = np.geomspace(1e6, 1e9, 8)
        >>> loss = 1.7 + 400 * N**-0.34 + 0.01 * np.cos(np.arange(8))
        >>> law = sld.fit({"N": N, "loss": loss}, "E + A*N**-a", target="loss", scale="N", starts=8)
        >>> curves = law.draws({"N": [1e10, 1e11]}, n=500)
        >>> curves.shape
        (500, 2, 1)
        >>> gain = curves[:, 0, 0] - curves[:, 1, 0]
        >>> bool(np.quantile(gain, 0.05) < np.quantile(gain, 0.95))
        True

        Args:
            points: Table, DataFrame, mapping of columns, or path, with the law's variables.
            n: How many draws.
            seed: Of the draws.
            of: "law" for where the curve is; "run" for where a new run would be, with its noise.

        Raises:
            UsageError: The law carries no intervals, or a row's group has no constants in this law.
            DataError: A column is missing or a cell is not a number.
        """
        return draws(self, self._points(points), n=n, seed=seed, of=of)

    def _points(self, points: object) -> Table:
        if not isinstance(points, Table):
            if self.grouped and self.group_column is None:
                raise UsageError("the law has groups but does not name their column; predict for a Table instead")
            return read_points(points, self.variables, self.group_column)
        columns = {v.column: i for i, v in enumerate(points.variables)}
        for v in self.variables:
            if v.column not in columns:
                raise DataError(suggest(v.column, columns, kind="column"))
        if self.grouped and points.groups == (ALL_ROWS,) and ALL_ROWS not in self.groups:
            wanted = f"; wanted column {self.group_column!r}" if self.group_column else ""
            raise DataError(f"the points have no groups, but the law has constants per group{wanted}")
        return Table(
            variables=self.variables,
            targets=(),
            X=points.X[:, [columns[v.column] for v in self.variables]],
            Y=np.empty((points.n_rows, 0)),
            groups=points.groups if self.grouped else (ALL_ROWS,),
            group_index=points.group_index if self.grouped else np.zeros(points.n_rows, dtype=np.intp),
            group_column=self.group_column,
        )

    def digits(self, target: str, least: int = 6) -> int:
        """Return with how many significant digits the constants of a target say what the law predicts.

        Args:
            target: Its column.
            least: Digits that are shown in any case.
        """
        needed = self.provenance.get("digits", {})
        said = needed.get(target) if isinstance(needed, Mapping) else None
        return max(least, min(said, _MOST_DIGITS)) if isinstance(said, int) else least

    def text(self, target: str | None = None, *, digits: int | None = None) -> str:
        """Return the formula with its constants filled in.

        One target and one group give the bare formula; otherwise each has a line `target [group] = formula`.

        Args:
            target: Column of the only target to show.
            digits: Significant digits of the constants; if not given six, or as many as the predictions need.

        Raises:
            UsageError: There is no such target.
        """
        columns = [t.column for t in self.targets]
        if target is not None and target not in columns:
            raise UsageError(suggest(target, columns, kind="target"))
        shown = columns if target is None else [target]
        lines = []
        for column in shown:
            for group, values in self.constants[column].items():
                places = self.digits(column) if digits is None else digits
                filled = {name: number(float(f"{value:.{places}g}")) for name, value in values.items()}
                formula = to_text(signed(substitute(self.expressions[column].tree, filled)))
                lines.append(f"{column} [{group}] = {formula}" if self.grouped else f"{column} = {formula}")
                if len(shown) == 1 and len(self.groups) == 1:
                    return formula
        return "\n".join(lines)

    def to_sympy(self, target: str | None = None, *, group: str | None = None, fitted: bool = True) -> Any:
        r"""Return a formula as an expression of sympy, to be differentiated, solved or simplified there.

        Variables are positive symbols and constants real ones: take them from `free_symbols`, since for sympy a symbol
        without these assumptions is another one.

        >>> from sld.formula.expression import parse
        >>> constants = {"loss": {"all": {"E": 1.7, "A": 40.0, "a": 0.25}}}
        >>> law = Law({"loss": parse("E + A*N**-a", ["N"])}, constants, (Variable("N"),), (Target("loss"),))
        >>> law.to_sympy(fitted=False)
        A/N**a + E
        >>> loss = law.to_sympy()
        >>> (N,) = loss.free_symbols
        >>> float(loss.diff(N).subs(N, 16))  # -0.25 * 40 * 16**-1.25
        -0.3125

        Args:
            target: Column of the target; needed only where there are several.
            group: The group whose constants are filled in; needed only where there are several.
            fitted: Fill in the constants; otherwise they stay symbols, and no group is asked for.

        Raises:
            UsageError: There is no such target or group, or there are several and none is named.
        """
        from sld.formula.symbolic import to_sympy

        column = _the_one(target, [t.column for t in self.targets], kind="target")
        expression = self.expressions[column]
        if fitted:
            values = self.constants[column][_the_one(group, self.groups, kind="group")]
            filled = {name: number(value) for name, value in values.items()}
            expression = Expression(substitute(expression.tree, filled), expression.variables)
        return to_sympy(expression)

    def __repr__(self) -> str:
        """Return the formulas in a few lines, and the verdict of the search where there was one."""
        return str(view("law_repr")(self))

    def _repr_latex_(self) -> str:
        return str(view("law_latex")(self))

    def _repr_html_(self) -> str:
        return str(view("law_html")(self))

    def summary(self) -> DataFrame:
        """Return the constants as a DataFrame, a row for each.

        Returns:
            Columns `target`, `group`, `constant`, `value`, `low`, `high` and `note`. `low` and `high` are the ends of
            the interval, at the level that the law carries (90 %), from refits to reweighted rows; NaN where the law
            has no intervals or the rows do not determine the constant, and then `note` says why.
        """
        frame: DataFrame = view("law_summary")(self)
        return frame

    def residuals(self, data: object) -> DataFrame:
        r"""Return measured minus predicted values, row by row.

        $$ r_i = y_i - f(x_i; \hat\theta), \qquad \text{relative}_i = r_i / f(x_i; \hat\theta) . $$

        >>> from sld.formula.expression import parse
        >>> constants = {"loss": {"all": {"E": 1.7, "A": 40.0, "a": 0.25}}}
        >>> law = Law({"loss": parse("E + A*N**-a", ["N"])}, constants, (Variable("N"),), (Target("loss"),))
        >>> law.residuals({"N": [1e4, 1e8], "loss": [5.8, 2.1]})["residual"].round(6).tolist()
        [0.1, 0.0]

        Args:
            data: Rows with the law's variables and targets (and group column): Table, file, DataFrame, mapping of
                columns.

        Returns:
            The variables' columns and the group's, then `target`, `measured`, `predicted`, `residual` and `relative`; a
            row for each row and target. A row outside the domain of the formula has no finite residual.

        Raises:
            DataError: A column is missing or a cell is not a number.
            UsageError: A group of the rows has no constants in the law.
        """
        declared = Declared(self.variables, self.targets, self.group_column)
        table = data if isinstance(data, Table) else read_table(data, declared, lenient=True)
        frame: DataFrame = view("law_residuals")(self, table)
        return frame

    def plot(self, ax: Axes | None = None, *, data: object = None, target: str | None = None) -> Axes:
        """Draw the law's curves past the data, with their intervals, on axes of your own or on new ones.

        Args:
            ax: matplotlib's axes to draw on; a new figure if not given.
            data: Rows to show beside the curves (Table, file, DataFrame or mapping of columns with the law's variables
                and targets). Without rows the curves run over the ranges that the law was fitted in.
            target: Column of the target to draw; needed only where there are several.

        Returns:
            The axes, to change or to save: `law.plot().figure.savefig("law.png")`.

        Raises:
            UsageError: There is no such target, or neither rows nor the law say where to draw.
            DataError: The rows lack a column of the law.
        """
        declared = Declared(self.variables, self.targets, self.group_column)
        table = data if data is None or isinstance(data, Table) else read_table(data, declared, lenient=True)
        column = _the_one(target, [t.column for t in self.targets], kind="target")
        axes: Axes = view("law_plot")(self, ax, table=table, target=column)
        return axes

    def to_json(self) -> dict[str, Any]:
        """Return what `law.json` holds; `Law.from_json` gives the law back."""
        columns = [t.column for t in self.targets]
        texts = {column: self.expressions[column].text for column in columns}
        one = len(columns) == 1
        data = {
            "schema": SCHEMA,
            "expression": texts[columns[0]] if one else texts,
            "constants": {
                group: self.constants[columns[0]][group] if one else {c: self.constants[c][group] for c in columns}
                for group in self.groups
            },
            "task": self.task,
            "variables": [v.to_dict() for v in self.variables],
            "targets": [t.to_dict() for t in self.targets],
            "group_column": self.group_column,
            "intervals": self.intervals,
            "provenance": self.provenance,
            "settings": {column: settings.to_json() for column, settings in self.settings.items()},
        }
        if self.ensembles:
            data["ensembles"] = {column: ensemble.to_json() for column, ensemble in self.ensembles.items()}
        return {key: _plain(value) for key, value in data.items()}

    @staticmethod
    def from_json(data: object, where: str = LAW_FILE) -> Law:
        """Read what `to_json` gave.

        Raises:
            DataError: A key is missing, unknown or of a wrong type, or a formula cannot be read.
        """
        keys = Keys(data, where, _KEYS)
        for key in ("expression", "constants", "variables", "targets"):
            if key not in keys.data:
                raise DataError(f"{where}: wanted a key {key!r}, got none; is this a law written by sld?")
        if (schema := keys.whole("schema", SCHEMA)) > SCHEMA:
            raise DataError(f"{where} has schema {schema}, newer than this sld reads ({SCHEMA}); upgrade sld")
        variables = tuple(Variable.from_dict(v, w) for v, w in keys.tables("variables"))
        targets = tuple(Target.from_dict(t, w) for t, w in keys.tables("targets"))
        if not targets:
            raise DataError(f"{where}: a law needs at least one target")
        intervals = keys.table("intervals") if keys.data.get("intervals") is not None else None
        constants = _read_constants(keys, targets)
        notes: tuple[str, ...] = ()
        if intervals is not None and len(constants[targets[0].column]) > 1 and _by_position(intervals):
            intervals, notes = None, (_UNREADABLE,)
        return Law(
            expressions=_read_expressions(keys, variables, targets),
            constants=constants,
            variables=variables,
            targets=targets,
            group_column=keys.name("group_column") if keys.data.get("group_column") is not None else None,
            task=keys.table("task") if "task" in keys.data else {},
            provenance=keys.table("provenance") if "provenance" in keys.data else {},
            intervals=intervals,
            settings=_read_settings(keys, targets),
            notes=notes,
            ensembles=read_ensembles(keys, variables, targets),
        )

    def save(self, path: str | Path) -> None:
        """Write `law.json`, whole or not at all; the same law gives the same bytes. Raises UsageError."""
        # json writes floats with repr, so constants come back to the last bit
        text = json.dumps(self.to_json(), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
        write_text_atomic(path, text + "\n")

    @staticmethod
    def load(path: str | Path) -> Law:
        """Read a `law.json`, or the one in a run directory.

        Raises:
            UsageError: There is no such file.
            DataError: It is not a law.
        """
        path = Path(path)
        try:
            file = path / LAW_FILE if path.is_dir() else path
            data = json.loads(file.read_text(encoding="utf-8-sig"))
        except FileNotFoundError as error:
            if path.is_dir():
                raise UsageError(f"folder {str(path)!r} has no {LAW_FILE}; sld discover writes one") from error
            raise UsageError(f"no file {str(path)!r}; wanted a {LAW_FILE} or a run directory") from error
        except OSError as error:
            raise UsageError(f"could not read {str(path)[:_SHOWN]}: {error.strerror or error}") from error
        except (UnicodeDecodeError, ValueError, RecursionError) as error:
            raise DataError(f"{path} is not a law in JSON: {error}") from error
        return Law.from_json(data, str(file))


def _the_one(name: str | None, known: Sequence[str], *, kind: str) -> str:
    """Return the name, or the only one there is; raises UsageError."""
    if name is None and len(known) > 1:
        raise UsageError(f"name a {kind}: the law has {', '.join(map(repr, known[:5]))}{' ...' * (len(known) > 5)}")
    if name is not None and name not in known:
        raise UsageError(suggest(name, known, kind=kind))
    return known[0] if name is None else name


def _same_names(got: Mapping[str, Any], wanted: list[str], *, kind: str) -> None:
    for name in wanted:
        if name not in got:
            raise DataError(f"the law has nothing for {kind} {name!r}")
    for name in got:
        if name not in wanted:
            raise DataError("in the law: " + suggest(name, wanted, kind=kind))


def _checked(values: Mapping[str, float], expression: Expression, where: str) -> dict[str, float]:
    checked = {}
    for name in expression.constants:
        if name not in values:
            raise DataError(f"constant {name!r} of {where} has no value")
        checked[name] = float(values[name])
        if not math.isfinite(checked[name]):
            raise DataError(f"constant {name!r} of {where} must be a finite number, got {values[name]}")
    for name in values:
        if name not in checked:
            raise DataError(f"{where}: " + suggest(name, expression.constants, kind="constant"))
    return checked


def _read_expressions(
    keys: Keys, variables: tuple[Variable, ...], targets: tuple[Target, ...]
) -> dict[str, Expression]:
    texts = keys.data["expression"]
    if isinstance(texts, str):
        texts = {t.column: texts for t in targets}
    if not isinstance(texts, Mapping) or not all(isinstance(text, str) for text in texts.values()):
        raise keys.wrong("expression", "a formula, or one per target")
    expressions = {}
    for j, target in enumerate(targets):
        if target.column not in texts:
            raise DataError(f"{keys.where}: no formula for target {target.column!r}")
        try:
            expressions[target.column] = parse_for(texts[target.column], variables, len(targets), j)
        except GrammarError as error:
            raise DataError(f"{keys.where}: formula of {target.column!r}: {error}") from error
    for column in texts:
        if column not in expressions:
            raise DataError(f"{keys.where}: " + suggest(str(column), expressions, kind="target"))
    return expressions


def _by_position(intervals: Mapping[str, Any]) -> bool:
    """Tell whether runners-up have constants by position of the group, as before 0.6.0, and these differ.

    Groups were sorted when a law was written, but the positions were not, so nobody knows whose constants they are.
    """
    targets = intervals.get("targets")
    for about in targets.values() if isinstance(targets, Mapping) else ():
        rivals = about.get("rivals") if isinstance(about, Mapping) else None
        for rival in rivals if isinstance(rivals, list | tuple) else ():
            constants = rival.get("constants") if isinstance(rival, Mapping) else None
            for text in constants.values() if isinstance(constants, Mapping) else ():
                if isinstance(text, str) and len(set(text.split())) > 1:
                    return True
    return False


def _read_settings(keys: Keys, targets: tuple[Target, ...]) -> dict[str, FitSettings]:
    """Return the settings by target; none where an earlier version wrote none."""
    said = keys.table("settings")
    found = {str(c): FitSettings.from_json(of, f"{keys.where}: settings of {c!r}") for c, of in said.items()}
    if found:
        _same_names(found, [t.column for t in targets], kind="target")
    return found


def _read_constants(keys: Keys, targets: tuple[Target, ...]) -> dict[str, dict[str, dict[str, float]]]:
    """Turn {group: {name: value}}, or {group: {target: {name: value}}}, into the law's order."""
    columns = [t.column for t in targets]
    by_target: dict[str, dict[str, dict[str, float]]] = {column: {} for column in columns}
    for group, entry in keys.table("constants").items():
        where = f"{keys.where}: constants of group {group!r}"
        if not isinstance(entry, Mapping):
            raise DataError(f"{where} must be a table of names and values, got {kind_of(entry)}")
        nested = {columns[0]: entry} if len(columns) == 1 else entry
        _same_names(nested, columns, kind="target")
        for column in columns:
            if not isinstance(nested[column], Mapping):
                raise DataError(f"{where}, target {column!r}, must be a table, got {kind_of(nested[column])}")
            by_target[column][group] = {k: _number(v, f"{where}: {k!r}") for k, v in nested[column].items()}
    return by_target


def _number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError(f"{where} must be a number, got {kind_of(value)}")
    try:
        return float(value)
    except OverflowError as error:
        raise DataError(f"{where} is too large for a number") from error


def _plain(value: Any) -> Any:
    return plain(value, other=_kept)


def _kept(value: Any) -> str:
    """Return the text of a path; anything else is a slip of whoever makes a law."""
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"law.json cannot hold {type(value).__name__} {value!r}")
