r"""The operators of the grammar, each described once: one row of `OPERATORS` is all that most of the program knows.

From a row come the parser's names and numbers of arguments, the value on floats and on arrays, the derivative of the
numpy reference, LaTeX and MathML names, the way to and from sympy, the interval that encloses it, where it has a value,
and how starting points are drawn for constants inside it. What no row can hold:

* the compiled machine (`fit/machine_tape.py`) has its own code for each instruction, because it is compiled ahead;
* fractions, powers, roots and bars have a layout of their own (`render.py`);
* identities, such as exp(a + b*log(x)) = e^a x^b, stand in `algebra.py`; an operator without any is left as it is.

`tests/test_operators.py` goes over every row and compares all of these with one another.

To add an operator, write its row here and its instruction in `fit/machine_tape.py`.
"""

from __future__ import annotations

import math
import operator as python
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from sld.formula import intervals
from sld.formula.intervals import Interval

# What the value of a sub-expression is used for, which decides the size of the constants in it (`fit/starts.py`).
Use = Literal["linear", "base", "argument", "centre"]


class _Numpy:
    """numpy, imported when a row's function is first called: help and lists of tasks do without."""

    def __getattr__(self, name: str) -> Any:
        """Look a function up in numpy, once."""
        import numpy

        found = getattr(numpy, name)
        setattr(self, name, found)
        return found


np = _Numpy()


@dataclass(frozen=True)
class Operator:
    r"""What is known of one operator $f(x)$ or $f(x, y)$.

    Attributes:
        name: As it stands in a tree, and in text unless it is `neg`.
        scalar: Value on floats; may raise OverflowError, ValueError and ZeroDivisionError (see `evaluate_scalar`).
        array: Value on numpy arrays, which are broadcast; NaN or infinity where there is none, no exception.
        partials: From the arguments and the value, all arrays: $(\partial f/\partial x,)$ or
            $(\partial f/\partial x, \partial f/\partial y)$.
        sympy: From the module `sympy` and the arguments: the expression of sympy.
        interval: From one interval per argument: one that holds every value.
        n_args: Number of arguments.
        is_function: Written `name(x)`, not between or before its arguments.
        folds: Takes two arguments or more in text: f(x, y, z) is f(f(x, y), z).
        commutes: $f(x, y) = f(y, x)$.
        needs: What the last argument has to be for a value to exist: "" for anything.
        sign: "never_negative", "odd" (that of the argument) or "unknown".
        use: What the argument is used for, when constants inside it are drawn; None for what the whole is used for.
        inverse: An argument that gives a value, roughly: to bring a constant inside to the size that is wanted.
        sympy_class: Name of the class in sympy that is read as this operator, if there is one.
        aliases: Other spellings that mean the same.
        latex: Command of its name in LaTeX; `\operatorname{name}` if not given.
    """

    name: str
    scalar: Callable[..., float]
    array: Callable[..., Any]
    partials: Callable[..., tuple[Any, ...]]
    sympy: Callable[..., Any]
    interval: Callable[..., Interval]
    n_args: int = 1
    is_function: bool = True
    folds: bool = False
    commutes: bool = False
    needs: Literal["", "positive", "not_negative", "nonzero"] = ""
    sign: Literal["unknown", "never_negative", "odd"] = "unknown"
    use: Use | None = None
    inverse: Callable[[Any], Any] | None = None
    sympy_class: str = ""
    aliases: tuple[str, ...] = ()
    latex: str = ""

    def has_value(self, *arguments: Interval) -> bool:
        """Whether there is a value for every argument in the given intervals."""
        low, high = arguments[-1]
        match self.needs:
            case "positive":
                return low > 0.0
            case "not_negative":
                return low >= 0.0
            case "nonzero":
                return not low <= 0.0 <= high
        return True


def _logistic(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x)) if x > -700 else 0.0  # exp(709.8) is the largest float


def _smaller(x: float, y: float) -> float:
    # as numpy: Python's min hangs on the order where one is not a number
    return math.nan if math.isnan(x) or math.isnan(y) else min(x, y)


def _larger(x: float, y: float) -> float:
    return math.nan if math.isnan(x) or math.isnan(y) else max(x, y)


def _logit(v: Any) -> Any:
    inside = np.clip(v, 1e-6, 1 - 1e-6)  # a share of exactly 0 or 1 has no finite logit
    return np.log(inside) - np.log1p(-inside)


def _no_interval(x: Interval, y: Interval) -> Interval:
    raise NotImplementedError("a power's interval depends on how its exponent is written: domain.py")


_ROWS = (
    Operator(
        "+", python.add, lambda x, y: np.add(x, y),
        lambda _x, _y, _f: (1.0, 1.0), lambda _s, x, y: x + y, intervals.add,
        n_args=2, is_function=False, commutes=True,
    ),
    Operator(
        "-", python.sub, lambda x, y: np.subtract(x, y),
        lambda _x, _y, _f: (1.0, -1.0), lambda _s, x, y: x - y, intervals.subtract,
        n_args=2, is_function=False,
    ),
    Operator(
        "*", python.mul, lambda x, y: np.multiply(x, y),
        lambda x, y, _f: (y, x), lambda _s, x, y: x * y, intervals.multiply,
        n_args=2, is_function=False, commutes=True,
    ),
    Operator(
        "/", python.truediv, lambda x, y: np.divide(x, y),
        lambda _x, y, f: (1.0 / y, -f / y), lambda _s, x, y: x / y, intervals.divide,
        n_args=2, is_function=False, needs="nonzero",
    ),
    Operator(
        "**", math.pow, lambda x, y: np.power(x, y),
        lambda x, y, f: (y * np.power(x, y - 1.0), f * np.log(x)), lambda _s, x, y: x**y,
        _no_interval, n_args=2, is_function=False,
    ),
    Operator(
        "neg", python.neg, lambda x: np.negative(x), lambda _x, _f: (-1.0,), lambda _s, x: -x, intervals.negate,
        is_function=False, inverse=lambda v: np.negative(v),
    ),
    Operator(
        "exp", math.exp, lambda x: np.exp(x), lambda _x, f: (f,), lambda s, x: s.exp(x), intervals.exp,
        sign="never_negative", use="argument", inverse=lambda v: np.log(np.maximum(np.abs(v), 1e-300)),
        sympy_class="exp", latex=r"\exp",
    ),
    Operator(
        "log", math.log, lambda x: np.log(x), lambda x, _f: (1.0 / x,), lambda s, x: s.log(x), intervals.log,
        needs="positive", use="base", inverse=lambda v: np.exp(np.clip(v, -600, 600)), sympy_class="log", latex=r"\log",
    ),
    Operator(
        "sqrt", math.sqrt, lambda x: np.sqrt(x), lambda _x, f: (0.5 / f,), lambda s, x: s.sqrt(x), intervals.sqrt,
        needs="not_negative", sign="never_negative", use="base", inverse=lambda v: np.square(v), latex=r"\sqrt",
    ),
    Operator(
        "tanh", math.tanh, lambda x: np.tanh(x), lambda _x, f: (1.0 - f * f,), lambda s, x: s.tanh(x), intervals.tanh,
        sign="odd", use="argument", inverse=lambda v: np.arctanh(np.clip(v, -0.99, 0.99)), sympy_class="tanh",
        latex=r"\tanh",
    ),
    Operator(
        "sigmoid", _logistic, lambda x: 1.0 / (1.0 + np.exp(-x)), lambda _x, f: (f * (1.0 - f),),
        lambda s, x: 1 / (1 + s.exp(-x)), intervals.sigmoid,
        sign="never_negative", use="argument", inverse=_logit,
    ),
    Operator(
        "min", _smaller, lambda x, y: np.minimum(x, y),
        lambda x, y, _f: (np.where(x <= y, 1.0, 0.0), np.where(x <= y, 0.0, 1.0)),
        lambda s, *xs: s.Min(*xs), intervals.minimum,
        n_args=2, folds=True, commutes=True, sympy_class="Min", aliases=("Min",), latex=r"\min",
    ),
    Operator(
        "max", _larger, lambda x, y: np.maximum(x, y),
        lambda x, y, _f: (np.where(x >= y, 1.0, 0.0), np.where(x >= y, 0.0, 1.0)),
        lambda s, *xs: s.Max(*xs), intervals.maximum,
        n_args=2, folds=True, commutes=True, sympy_class="Max", aliases=("Max",), latex=r"\max",
    ),
    Operator(
        "abs", abs, lambda x: np.abs(x), lambda x, _f: (np.sign(x),), lambda s, x: s.Abs(x), intervals.absolute,
        sign="never_negative", use="centre", inverse=lambda v: np.positive(v), sympy_class="Abs", aliases=("Abs",),
    ),
)  # fmt: skip

OPERATORS: dict[str, Operator] = {row.name: row for row in _ROWS}

BINARY = tuple(row.name for row in _ROWS if row.n_args == 2)
UNARY = tuple(row.name for row in _ROWS if row.n_args == 1)
FUNCTIONS = tuple(row.name for row in _ROWS if row.is_function)
ALIASES = {alias: row.name for row in _ROWS for alias in row.aliases}


def evaluate_scalar(op: str, a: float, b: float = 0.0) -> float:
    """Return the value of one operator on floats; NaN outside its domain, inf on overflow.

    >>> evaluate_scalar("**", 2.0, 10.0), evaluate_scalar("log", -1.0), evaluate_scalar("exp", 1e4)
    (1024.0, nan, inf)

    Raises:
        ValueError: There is no such operator.
    """
    row = OPERATORS.get(op)
    if row is None:
        raise ValueError(f"unknown operator {op!r}")
    try:
        return row.scalar(a) if row.n_args == 1 else row.scalar(a, b)
    except OverflowError:
        return math.inf
    except (ValueError, ZeroDivisionError):
        return math.nan
