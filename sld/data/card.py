"""Cards: what a task says of itself in `task.toml` (columns, roles, priors, published laws), read and written.

Nothing in a card is code. Every key has one type; a key or value that does not fit is refused with its name, what
was wanted and what came. The formulas of published laws must be in the grammar of `sld.formula.expression`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from sld.core.errors import DataError, GrammarError, suggest
from sld.core.toml import Keys, to_toml
from sld.formula.expression import MAX_NAME, RESERVED, Expression, parse

Role = Literal["scale", "hyperparameter", "proportion", "covariate"]
Monotone = Literal["increasing", "decreasing"]
Log = Literal["log10", "log2", "log"]
_LOGARITHMS: dict[Log, tuple[float, Callable[[float], float]]] = {
    "log10": (10.0, math.log10),
    "log2": (2.0, math.log2),
    "log": (math.e, math.log),
}
Better = Literal["lower", "higher"]

CARD_FILE = "task.toml"
MAX_CONSTANTS = 20  # per group and target, where the card does not say

_MAX_SYMBOL = MAX_NAME - 8  # leaves room for what makes two symbols differ
_NAME = re.compile(r"[^\W\d]\w*")


def symbol_of(column: str) -> str:
    """Return the name of a column in formulas: itself when the grammar can read it, else cleaned up."""
    symbol = column
    if not _readable(symbol) or "__" in symbol or len(symbol) > _MAX_SYMBOL:
        # letter by letter: some count as word characters and not as identifiers (a superscript two), or the reverse
        plain = "".join(c if _readable("x" + c) else "_" for c in symbol)
        symbol = re.sub(r"_+", "_", plain).strip("_")[:_MAX_SYMBOL] or "x"
    if not _readable(symbol):
        symbol = f"x_{symbol}"
    return f"{symbol}_" if symbol in RESERVED else symbol


def _readable(symbol: str) -> bool:
    return bool(_NAME.fullmatch(symbol)) and symbol.isidentifier()


@dataclass(frozen=True)
class Variable:
    """One input column.

    >>> Variable("N (params)").symbol  # its name in formulas
    'N_params'
    >>> Variable("log10_N", log="log10").units_per_decade
    1.0

    Attributes:
        column: Name of the column in the table.
        role: scale (grows with money), hyperparameter (has an interior optimum), proportion or covariate.
        monotone: Declared effect on the target as the variable grows, if any.
        extrapolate: The held-out rows lie beyond the training range here.
        log: The column already is this logarithm of the quantity.
        lower: Least sensible value, if declared.
        upper: Largest sensible value, if declared.
        symbol: Name in formulas; made from `column` when not given.
        convention: How the quantity is counted where there are several ways, e.g. "non-embedding" of parameters.
    """

    column: str
    meaning: str = ""
    unit: str = ""
    role: Role = "scale"
    monotone: Monotone | None = None
    extrapolate: bool = False
    log: Log | None = None
    lower: float | None = None
    upper: float | None = None
    symbol: str = ""
    convention: str = ""

    def __post_init__(self) -> None:
        """Fill in `symbol`."""
        if not self.symbol:
            object.__setattr__(self, "symbol", symbol_of(self.column))

    @property
    def log_base(self) -> float:
        """To which base the column is a logarithm; e where it is none, so that nothing is rescaled."""
        return _LOGARITHMS[self.log or "log"][0]

    @property
    def nats_per_unit(self) -> float:
        """How far one unit of the column is in natural logarithms of the quantity: ln(10) for a log10."""
        return math.log(self.log_base)

    @property
    def units_per_decade(self) -> float:
        """How far a tenfold quantity is in a column of logarithms: 1 for a log10."""
        return _LOGARITHMS[self.log or "log"][1](10.0)

    @staticmethod
    def from_dict(data: object, where: str = "variable") -> Variable:
        """Read one `[[variable]]`; raises DataError."""
        keys = Keys(data, where, tuple(Variable.__dataclass_fields__))
        variable = Variable(
            column=keys.name("column"),
            meaning=keys.text("meaning"),
            unit=keys.text("unit"),
            role=keys.choice("role", get_args(Role)) or "scale",
            monotone=keys.choice("monotone", get_args(Monotone)),
            extrapolate=keys.flag("extrapolate"),
            log=keys.choice("log", get_args(Log)),
            lower=keys.number("lower"),
            upper=keys.number("upper"),
            symbol=_read_symbol(keys),
            convention=keys.text("convention"),
        )
        keys.ordered_bounds(variable.lower, variable.upper)
        return variable

    def to_dict(self) -> dict[str, Any]:
        """Return the keys of `[[variable]]` that are not defaults, plus `role`."""
        return _shown(self, always=("column", "role"))


@dataclass(frozen=True)
class Target:
    """One output column: what is predicted, which way is better, and the bounds it can never leave.

    `yerr` is the column with its standard errors, if they are known.
    """

    column: str
    meaning: str = ""
    unit: str = ""
    better: Better = "lower"
    lower: float | None = None
    upper: float | None = None
    symbol: str = ""
    yerr: str | None = None

    def __post_init__(self) -> None:
        """Fill in `symbol`."""
        if not self.symbol:
            object.__setattr__(self, "symbol", symbol_of(self.column))

    @staticmethod
    def from_dict(data: object, where: str = "target") -> Target:
        """Read one `[[target]]`; raises DataError."""
        keys = Keys(data, where, tuple(Target.__dataclass_fields__))
        target = Target(
            column=keys.name("column"),
            meaning=keys.text("meaning"),
            unit=keys.text("unit"),
            better=keys.choice("better", get_args(Better)) or "lower",
            lower=keys.number("lower"),
            upper=keys.number("upper"),
            symbol=_read_symbol(keys),
            yerr=keys.name("yerr") if "yerr" in keys.data else None,
        )
        keys.ordered_bounds(target.lower, target.upper)
        return target

    def to_dict(self) -> dict[str, Any]:
        """Return the keys of `[[target]]` that are not defaults, plus `better`."""
        return _shown(self, always=("column", "better"))


@dataclass(frozen=True)
class PublishedLaw:
    """A law from the literature, for comparison.

    Attributes:
        expression: One text for every target, or one per target column.
        constants: Names of its constants as the source lists them.
        values: Published constants, flat (`{E = 1.69}`) or by label (`{MassiveText = {E = 1.69}}`).
    """

    name: str
    expression: str | Mapping[str, str]
    constants: tuple[str, ...] = ()
    source: str = ""
    values: Mapping[str, Any] | None = None

    @staticmethod
    def from_dict(data: object, where: str = "law") -> PublishedLaw:
        """Read one `[[law]]`; raises DataError."""
        keys = Keys(data, where, tuple(PublishedLaw.__dataclass_fields__))
        expression = keys.data.get("expression")
        if isinstance(expression, Mapping):
            expression = {k: v for k, v in expression.items() if isinstance(k, str) and isinstance(v, str)}
            if len(expression) != len(keys.data["expression"]):
                raise keys.wrong("expression", "a formula, or a table of one formula per target")
        elif not isinstance(expression, str):
            raise keys.wrong("expression", "a formula, or a table of one formula per target")
        values = keys.data.get("values")
        return PublishedLaw(
            name=keys.name("name"),
            expression=expression,
            constants=keys.texts("constants"),
            source=keys.text("source"),
            values=None if values is None else keys.numbers_tree("values"),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the keys of `[[law]]`."""
        return _shown(self, always=("name", "expression"))


@dataclass(frozen=True)
class Card:
    """What a task says of itself; `Card.read` and `to_toml` are inverse to each other.

    `run` is the column that says which rows are checkpoints of one run, `weights` the one with relative weights. `drop`
    names rows of the table that do not count, such as `status==diverged`.
    """

    name: str
    version: int = 1
    title: str = ""
    row: str = ""
    licence: str = ""
    provenance: str = ""
    max_constants: int = MAX_CONSTANTS
    extrapolation: str = ""
    cost: str | None = None
    group: str | None = None
    group_meaning: str = ""
    variables: tuple[Variable, ...] = ()
    targets: tuple[Target, ...] = ()
    laws: tuple[PublishedLaw, ...] = ()
    notes: tuple[str, ...] = ()
    paper: Mapping[str, Any] = field(default_factory=dict)
    train_file: str = "train.csv"
    held_out_file: str | None = None
    run: str | None = None
    weights: str | None = None
    drop: tuple[str, ...] = ()

    @staticmethod
    def read(path: str | Path) -> Card:
        """Read a `task.toml` (or the one in a folder).

        Raises:
            DataError: The file is missing, not TOML, or has an unknown key or a wrong type.
        """
        import tomllib

        path = Path(path)
        path = path / CARD_FILE if path.is_dir() else path
        where = f"{path.parent.name}/{path.name}".lstrip("/")
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        except FileNotFoundError:
            raise DataError(f"no card {str(path)!r}; a task folder holds {CARD_FILE} and train.csv") from None
        except OSError as error:
            raise DataError(f"could not read {path}: {error.strerror or error}") from None
        except UnicodeDecodeError as error:
            raise DataError(f"{where} is not UTF-8 text (byte {error.start})") from None
        except (ValueError, RecursionError) as error:  # ValueError: TOML errors, and numbers too long for Python
            raise DataError(f"{where} is not valid TOML: {error}") from None
        return Card.from_dict(data, where)

    @staticmethod
    def from_dict(data: object, where: str = CARD_FILE) -> Card:
        """Read the content of a `task.toml`; raises DataError that begins with `where`."""
        keys = Keys(data, where, _CARD_KEYS)
        group = Keys(keys.table("group"), f"{where}: [group]", ("column", "meaning")) if "group" in keys.data else None
        files = Keys(keys.table("files"), f"{where}: [files]", ("train", "held_out"))
        variables, targets = unique_symbols(
            [Variable.from_dict(v, w) for v, w in keys.tables("variable")],
            [Target.from_dict(t, w) for t, w in keys.tables("target")],
        )
        card = Card(
            name=keys.task_name("name"),
            version=keys.whole("version", 1),
            title=keys.text("title"),
            row=keys.text("row"),
            licence=keys.text("licence"),
            provenance=keys.text("provenance"),
            max_constants=keys.whole("max_constants", MAX_CONSTANTS),
            extrapolation=keys.text("extrapolation"),
            cost=keys.text("cost") or None,
            group=group.name("column") if group else None,
            group_meaning=group.text("meaning") if group else "",
            variables=variables,
            targets=targets,
            laws=tuple(PublishedLaw.from_dict(law, w) for law, w in keys.tables("law")),
            notes=keys.texts("notes"),
            paper=keys.free_table("paper"),
            train_file=files.file_name("train") or "train.csv",
            held_out_file=files.file_name("held_out"),
            run=keys.name("run") if "run" in keys.data else None,
            weights=keys.name("weights") if "weights" in keys.data else None,
            drop=keys.texts("drop"),
        )
        _check_columns(card, where)
        for law in card.laws:
            try:
                card.expressions(law)
            except GrammarError as error:
                raise DataError(f"{where}: law {law.name!r}: {error}") from None
        return card

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that the table must have: group, variables, targets."""
        group = () if self.group is None else (self.group,)
        return (*group, *(v.column for v in self.variables), *(t.column for t in self.targets))

    def expressions(self, law: PublishedLaw) -> dict[str, Expression]:
        """Return the formulas of `law`, one per target column.

        Raises:
            GrammarError: A formula cannot be read, or a target has none.
        """
        parsed = {}
        if not isinstance(law.expression, str):
            for column in law.expression:
                if all(column != t.column for t in self.targets):
                    raise GrammarError(suggest(column, (t.column for t in self.targets), kind="target"))
        for j, target in enumerate(self.targets):
            if isinstance(law.expression, str):
                text = law.expression
            elif target.column in law.expression:
                text = law.expression[target.column]
            else:
                raise GrammarError(f"no formula for target {target.column!r}")
            parsed[target.column] = parse_for(text, self.variables, len(self.targets), j)
        return parsed

    def to_dict(self) -> dict[str, Any]:
        """Return the card as `task.toml` holds it, defaults left out."""
        data = {key: getattr(self, key) for key in _CARD_SCALARS}
        data = {k: v for k, v in data.items() if v not in ("", None)}
        for key in ("notes", "drop"):
            if listed := list(getattr(self, key)):
                data[key] = listed
        if self.paper:
            data["paper"] = dict(self.paper)
        if self.group is not None:
            data["group"] = {"column": self.group} | ({"meaning": self.group_meaning} if self.group_meaning else {})
        data["files"] = {"train": self.train_file}
        if self.held_out_file is not None:
            data["files"]["held_out"] = self.held_out_file
        data["variable"] = [v.to_dict() for v in self.variables]
        data["target"] = [t.to_dict() for t in self.targets]
        if self.laws:
            data["law"] = [law.to_dict() for law in self.laws]
        return data

    def to_toml(self) -> str:
        """Return the text of `task.toml`."""
        return to_toml(self.to_dict())


_CARD_SCALARS = (
    *("name", "version", "title", "row", "licence", "provenance", "max_constants", "extrapolation", "cost"),
    *("run", "weights"),
)
_CARD_KEYS = (*_CARD_SCALARS, "notes", "drop", "paper", "group", "files", "variable", "target", "law")

_Column = TypeVar("_Column", Variable, Target)


def _read_symbol(keys: Keys) -> str:
    symbol = keys.text("symbol")
    if symbol and symbol_of(symbol) != symbol:
        raise keys.wrong("symbol", "a name of letters, digits and _ that is no function of the grammar")
    return symbol


def unique_symbols(
    variables: Sequence[Variable], targets: Sequence[Target]
) -> tuple[tuple[Variable, ...], tuple[Target, ...]]:
    """Return the columns with symbols that differ from each other: a symbol already taken gets a trailing `_`."""
    taken: set[str] = set()

    def free(column: _Column) -> _Column:
        symbol = column.symbol
        while symbol in taken:
            symbol += "_" if not symbol.endswith("_") else "2_"  # a double underscore is outside the grammar
        taken.add(symbol)
        return column if symbol == column.symbol else replace(column, symbol=symbol)

    return tuple(free(v) for v in variables), tuple(free(t) for t in targets)


def share_symbols(variables: Sequence[Variable]) -> tuple[str, ...]:
    """Return the symbols of the proportions."""
    return tuple(v.symbol for v in variables if v.role == "proportion")


def own_share(variables: Sequence[Variable], n_targets: int, target: int) -> str | None:
    """Return the symbol of the proportion that belongs to a target, if there is one proportion per target."""
    shares = share_symbols(variables)
    return shares[target] if shares and len(shares) == n_targets else None


def parse_for(text: str, variables: Sequence[Variable], n_targets: int = 1, target: int = 0) -> Expression:
    """Read a formula over a table's variables; raises GrammarError."""
    own = own_share(variables, n_targets, target)
    return parse(text, [v.symbol for v in variables], shares=share_symbols(variables), own=own)


def _check_columns(card: Card, where: str) -> None:
    for kind, columns in (("variable", card.variables), ("target", card.targets)):
        if not columns:
            raise DataError(f"{where}: needs at least one [[{kind}]] with a column")
    seen: set[str] = set()
    for column in card.columns:
        if column in seen:
            raise DataError(f"{where}: column {column!r} is declared twice (group, variables and targets must differ)")
        seen.add(column)
    for column in (t.yerr for t in card.targets if t.yerr is not None):
        if column in seen:
            raise DataError(f"{where}: column {column!r} is declared twice (standard errors are columns of their own)")
        seen.add(column)
    targets = {*(t.column for t in card.targets), *(t.yerr for t in card.targets)}
    for key, other in (("run", card.run), ("weights", card.weights)):
        if other is not None and other in targets:
            raise DataError(f"{where}: column {other!r} is declared twice ({key} must be a column of its own)")
    names = [law.name for law in card.laws]
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"{where}: two laws are named {name!r}")


def _shown(item: Variable | Target | PublishedLaw, always: Sequence[str]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for key, spec in item.__dataclass_fields__.items():
        value = getattr(item, key)
        if key == "symbol" and isinstance(item, Variable | Target) and value == symbol_of(item.column):
            continue
        if key in always or value != spec.default:
            data[key] = list(value) if isinstance(value, tuple) else value
    return data
