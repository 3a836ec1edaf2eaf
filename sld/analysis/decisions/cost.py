r"""What runs cost: an expression over a law's variables, a named model, and what hardware makes of operations.

A cost is a formula in the grammar of laws, so it may be any expression over the variables. The named models write the
papers' letters (N parameters, D tokens, Na active parameters) and settings (context, vocabulary ...), and are rewritten
over the variables of a law by what these mean. With a transformer of $N = 12\,l\,w^2$ weights in $l$ layers of width
$w$ and the aspect $w/l$ as a setting, width is $(\mathrm{aspect}\,N/12)^{1/3}$ and $l\,w = w^2/\mathrm{aspect}$.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from sld.core.arrays import Array
from sld.core.errors import UsageError, suggest
from sld.core.numbers import exact, short
from sld.data.card import Variable
from sld.formula.evaluation import evaluate
from sld.formula.expression import Expression, Node, call, name, number, parse, substitute
from sld.laws.catalogue import kind_of

FLOP = "FLOP"
BYTES = "bytes"
OWN_UNIT = "the unit of that formula"  # of a cost that was written out

_WIDTH = "(aspect*N/12)**(1/3)"
_LAYERS_TIMES_WIDTH = "(aspect*N/12)**(2/3)/aspect"
_DIVISORS = ("aspect", "head")  # settings that are divided by
_LEAST = {"N": 1e3, "D": 1e6}  # a column that never gets there counts something else, such as thousands of millions


@dataclass(frozen=True)
class CostModel:
    """A cost that has a name.

    Attributes:
        formula: Over N, D and Na, and settings.
        settings: What a setting is when nobody says otherwise; None for what has to be said.
        about: What it counts, and where it is from.
        parts: What the cost is the sum of: a name to its formula, where one wants to know the shares.
    """

    formula: str
    about: str
    unit: str = FLOP
    settings: Mapping[str, float | None] = field(default_factory=dict)
    parts: Mapping[str, str] = field(default_factory=dict)


_DISTILLING = {
    "the student's training": "6*N*D",
    "the teacher's answers": "2*NT*D*answers",
    "the teacher's training": "6*NT*DT*training",
}
MODELS: dict[str, CostModel] = {
    "6ND": CostModel(
        "6*N*D", "2 operations per weight and token forwards, 4 backwards (Kaplan et al. 2020, section 2.1)"
    ),
    "attention": CostModel(
        f"6*N*D + 12*{_LAYERS_TIMES_WIDTH}*context*D",
        "6ND and the products of queries, keys and values over the whole context (PaLM, appendix B; DeepSeek LLM)",
        settings={"context": 4096.0, "aspect": 128.0},
    ),
    "vocabulary": CostModel(
        f"6*(N + vocabulary*{_WIDTH})*D",
        "N without embeddings; the layer that scores the vocabulary is counted (Pearce and Song 2024)",
        settings={"vocabulary": 32000.0, "aspect": 128.0},
    ),
    "moe": CostModel("6*Na*D", "6 operations per active weight and token: experts that sleep cost nothing"),
    "distillation": CostModel(
        " + ".join(_DISTILLING.values()),
        "a student, the teacher's pass over its tokens, and the teacher's training (Busbridge et al. 2025), counted as "
        "2 operations per weight and token forwards and 4 backwards; answers=0 or training=0 leaves one out",
        settings={"answers": 1.0, "training": 1.0},
        parts=_DISTILLING,
    ),
    "weights-memory": CostModel(
        "16*N", "weights, gradients and the state of Adam in mixed precision (Rajbhandari et al. 2020)", BYTES
    ),
    "activation-memory": CostModel(
        f"{_LAYERS_TIMES_WIDTH}*context*sequences*(34 + 5*context/head)",
        "activations of one step, none recomputed (Korthikanti et al. 2022, equation 2)",
        BYTES,
        {"context": 4096.0, "sequences": 1.0, "head": 128.0, "aspect": 128.0},
    ),
    "memory": CostModel(
        f"16*N + {_LAYERS_TIMES_WIDTH}*context*sequences*(34 + 5*context/head)",
        "weights-memory and activation-memory together",
        BYTES,
        {"context": 4096.0, "sequences": 1.0, "head": 128.0, "aspect": 128.0},
    ),
}  # fmt: skip

# dense operations per second in bfloat16 as the makers' data sheets print them
PEAK_FLOPS: dict[str, float] = {
    "v100": 125e12, "a100": 312e12, "h100": 989e12, "h200": 989e12, "b200": 2250e12, "mi300x": 1307e12,
    "tpu-v4": 275e12, "tpu-v5p": 459e12,
}  # fmt: skip


@dataclass(frozen=True)
class Cost:
    """A cost over the variables of a law.

    Attributes:
        text: As the user knows it: the name of a model or a formula.
        expression: Over the law's symbols; no constant is left.
        assumed: Settings that it was computed with.
        parts: What it is the sum of, by name; empty where nobody says.
    """

    text: str
    expression: Expression
    unit: str = OWN_UNIT
    assumed: Mapping[str, float] = field(default_factory=dict)
    parts: Mapping[str, Expression] = field(default_factory=dict)

    @cached_property
    def uses(self) -> frozenset[str]:
        """Symbols of the variables in it."""
        return frozenset(self.expression.used_variables)

    def __call__(self, columns: Mapping[str, Array]) -> Array:
        """Return (n_points,) costs of runs: symbol to column of each variable."""
        return evaluate(self.expression, columns, {})

    def shares(self, point: Mapping[str, float]) -> dict[str, float]:
        """Return the share of a run's cost that each part has."""
        columns = {s: np.array([x]) for s, x in point.items()}
        return {n: float(evaluate(e, columns, {})[0] / self(columns)[0]) for n, e in self.parts.items()}

    @property
    def formula(self) -> str:
        """The formula, with the law's symbols and the settings filled in."""
        return self.expression.text


def cost_of(
    text: str | None,
    variables: Sequence[Variable],
    *,
    settings: Mapping[str, float] | None = None,
    ends: Mapping[str, float] | None = None,
) -> Cost:
    """Return the cost that a name or a formula stands for, over the variables of a law.

    >>> cost_of(None, [Variable("params"), Variable("tokens")]).formula
    '6*params*tokens'
    >>> cost_of("attention", [Variable("N"), Variable("D")], settings={"context": 8192.0}).uses == {"N", "D"}
    True
    >>> cost_of("6*N*D + 2*N*1e13", [Variable("N"), Variable("D")]).uses == {"N", "D"}
    True

    Args:
        text: Name of one of `MODELS`, or a formula over the law's symbols and settings; without one 6*N*D for a law in
            parameters and tokens, and the variable itself for a law in one scale variable.
        variables: The law's.
        settings: Values of names in the formula that are no variables.
        ends: Symbol to the largest value in the rows behind the law; a column of tokens that never reaches a million,
            or of parameters that never reaches a thousand, is not taken for one when the cost is not written out.

    Raises:
        UsageError: No cost can be had for these variables, a setting has no value, or no variable is in it.
        GrammarError: The formula cannot be read.
    """
    given = dict(settings or {})
    _check_settings(given, [v.symbol for v in variables])
    if text is None and (alone := _alone(variables)) is not None:
        return alone
    if text is None:
        text = _default(variables)
    model = MODELS.get(text.strip())
    symbols = [v.symbol for v in variables]
    if model is None:
        cost = _written(text, symbols, given)
    else:
        cost = _named(text.strip(), model, variables, given)
        _check_units(cost, variables, ends or {})
    if not cost.uses:
        raise UsageError(f"the cost {text!r} names no variable of the law; it has {', '.join(symbols)}")
    return cost


def _check_settings(settings: Mapping[str, float], symbols: Sequence[str]) -> None:
    for name_, value in settings.items():
        if name_ in symbols:
            raise UsageError(
                f"{name_} is a variable of the law, not a setting of a cost: say --given {name_}={exact(value)}"
            )
        if not math.isfinite(value):
            raise UsageError(f"the setting {name_} of a cost must be a number, got {exact(value)}")


def _alone(variables: Sequence[Variable]) -> Cost | None:
    """Return the only scale variable of a law as what runs cost; None where there are others."""
    scale = [v for v in variables if v.role == "scale"]
    if len(scale) != 1:
        return None
    expression = Expression(_quantity(scale[0]), tuple(v.symbol for v in variables))
    return Cost(expression.text, expression, scale[0].unit or scale[0].column)


def _default(variables: Sequence[Variable]) -> str:
    if find(variables, "N") and find(variables, "D"):
        return "6ND"
    scale = [v for v in variables if v.role == "scale"]
    has = ", ".join(v.symbol for v in variables)
    raise UsageError(
        f"what a run costs is not known: wanted variables for parameters and tokens, the law has {has}; say it with "
        f'--cost, e.g. --cost "6*{"*".join(v.symbol for v in (scale or variables)[:2])}"'
    )


def _written(text: str, symbols: Sequence[str], settings: Mapping[str, float]) -> Cost:
    """Return a cost that the user wrote as a formula; an end of the user's typing is what `settings` lacks."""
    expression = parse(text, symbols)
    for constant in expression.constants:
        if constant not in settings:
            known = [*symbols, *settings, *MODELS]
            raise UsageError(f"in the cost {text!r}: " + suggest(constant, known, kind="variable, setting or model"))
    values = {c: number(settings[c]) for c in expression.constants}
    filled = Expression(substitute(expression.tree, values), tuple(symbols))
    return Cost(text.strip(), filled, assumed={c: settings[c] for c in expression.constants})


def _named(text: str, model: CostModel, variables: Sequence[Variable], settings: Mapping[str, float]) -> Cost:
    # what is left out costs nothing, and what only that would pay for is no choice of a budget
    left = {n: of for n, of in model.parts.items() if not any(settings.get(c) == 0 for c in parse(of, []).constants)}
    formula = parse(" + ".join(left.values()) or model.formula, list(_MEANING))
    replaced: dict[str, Node] = {}
    for letter in formula.used_variables:
        variable = find(variables, letter)
        if variable is None:
            has = ", ".join(v.symbol for v in variables)
            raise UsageError(
                f"the cost {text!r} needs a variable for {_MEANING[letter]}, the law has {has}; write the cost out, "
                f'e.g. --cost "{model.formula}" over these'
            )
        replaced[letter] = _quantity(variable)
    assumed = {}
    for setting, usual in model.settings.items():
        value = settings.get(setting, usual)
        if value is None:
            raise UsageError(f"the cost {text!r} needs {setting}: --set {setting}=NUMBER")
        if value < 0 or (value == 0 and setting in _DIVISORS):
            raise UsageError(f"the cost {text!r} needs {setting} above 0, got {exact(value)}")
        assumed[setting] = value
        replaced[setting] = number(value)
    symbols = tuple(v.symbol for v in variables)

    def over(tree: Node) -> Expression:
        return Expression(substitute(tree, replaced), symbols)

    parts = {part: over(parse(of, list(_MEANING)).tree) for part, of in left.items()}
    return Cost(text, over(formula.tree), model.unit, assumed, parts)


_MEANING = {
    "N": "parameters", "D": "tokens", "Na": "active parameters", "NT": "parameters of the teacher",
    "DT": "tokens of the teacher",
}  # fmt: skip
_ACTIVE = re.compile(r"\bactive\b|^na$|activated")


def find(variables: Sequence[Variable], letter: str) -> Variable | None:
    """Return the variable that a letter of the papers stands for: N parameters, D tokens, Na active parameters.

    NT and DT are those of a teacher.

    >>> find([Variable("size", meaning="parameters"), Variable("tokens")], "D").symbol
    'tokens'
    """
    plain = [v for v in variables if v.role in ("scale", "hyperparameter", "covariate")]
    for variable in plain:
        if quantity_name(variable) == letter:
            return variable
    active = [v for v in plain if _is_active(v)]
    if letter == "Na":
        return active[0] if len(active) == 1 else None
    kind = {"N": "parameters", "D": "data"}[letter[0]]
    plain = [v for v in plain if (v in active, _of_teacher(v)) == (False, letter.endswith("T"))]
    found = [v for v in plain if kind_of(Variable(quantity_name(v), v.meaning, v.unit)) == kind]
    return found[0] if len(found) == 1 else None


_LOG_OF = re.compile(r"^(?:log10|log2|log|lg|ln)_?(?=\w)")


def quantity_name(variable: Variable) -> str:
    """Return the name of a quantity, that of its logarithm where the column holds it: N for log10_N."""
    return _LOG_OF.sub("", variable.symbol) if variable.log is not None else variable.symbol


def _is_active(variable: Variable) -> bool:
    words = f"{variable.symbol.replace('_', ' ')} {variable.meaning}".casefold()
    return bool(_ACTIVE.search(words)) and kind_of(variable) in ("parameters", "other")


def _of_teacher(variable: Variable) -> bool:
    return "teacher" in f"{variable.symbol} {variable.meaning}".casefold()


def _quantity(variable: Variable) -> Node:
    """Return the quantity of a column, which may hold its logarithm."""
    column = name(variable.symbol)
    if variable.log is None:
        return column
    return call("exp", call("*", number(variable.nats_per_unit), column))


_UNITS = (  # of a column that says so: Params (M), tokens [B], D_billions
    (1e3, re.compile(r"(?:\b|_)(?:k|thousands?)(?:\b|_)", re.I)),
    (1e6, re.compile(r"(?:\b|_)(?:M|[Mm]illions?)(?:\b|_)")),
    (1e9, re.compile(r"(?:\b|_)(?:B|G|[Bb]illions?|[Gg]iga\w*)(?:\b|_)")),
    (1e12, re.compile(r"(?:\b|_)(?:T|[Tt]rillions?)(?:\b|_)")),
)
_USUAL_UNIT = 1e9  # of a column that does not


def _unit(variable: Variable) -> float:
    """Return the unit that a column's name, meaning or unit tells of."""
    said = " ".join((variable.column, variable.meaning, variable.unit))
    return next((unit for unit, words in _UNITS if words.search(said)), _USUAL_UNIT)


def _check_units(cost: Cost, variables: Sequence[Variable], ends: Mapping[str, float]) -> None:
    """Refuse a count of tokens or parameters that is none: D in thousands of millions would be off by 1e9."""
    small, units = [], []
    for letter in ("N", "D"):
        variable = find(variables, letter)
        if variable is None or variable.symbol not in cost.uses or variable.log is not None:
            continue
        end = ends.get(variable.symbol)
        if end is not None and end < _LEAST[letter]:
            small.append(f"{variable.column} ends at {short(end, 4)}, too few for a count of {_MEANING[letter]}")
            units.append(_unit(variable))
    if small:
        asked = " and ".join(short(unit) for unit in units)
        if_so = f"if {'its unit is' if len(units) == 1 else 'their units are'} {asked}"
        right = cost.formula.replace("6*", f"{short(6 * math.prod(units), 6)}*", 1)
        raise UsageError(f'in the rows of this law {" and ".join(small)}; {if_so}, say --cost "{right}"')


def with_demand(cost: Cost, variables: Sequence[Variable], tokens: float, train: float, inference: float) -> Cost:
    r"""Return the cost of training and of serving: `train` times a cost, `inference` times 2 operations per weight.

    Sardana et al. 2023 (arXiv 2401.00448), equation 2: $6 N D + 2 N D_\mathrm{inf}$ where both prices are 1.

    Raises:
        UsageError: The law has no variable for parameters.
    """
    letter = "Na" if cost.text == "moe" else "N"
    size = find(variables, letter)
    if size is None:
        raise UsageError("--demand counts 2 operations per weight and token; the law has no variable for parameters")
    serving = call("*", number(2.0 * inference * tokens), _quantity(size))
    training = cost.expression.tree if train == 1.0 else call("*", number(train), cost.expression.tree)
    expression = Expression(call("+", training, serving), cost.expression.variables)
    return Cost(f"{cost.text} and {short(tokens, 4)} tokens served", expression, cost.unit, cost.assumed)


def serving_cost(
    variables: Sequence[Variable], cost: Cost, tokens: float, inference: float, at: Mapping[str, float]
) -> float:
    """Return what serving costs at a point, in the unit of the training cost."""
    size = find(variables, "Na" if cost.text == "moe" else "N")
    assert size is not None
    expression = Expression(_quantity(size), cost.expression.variables)
    value = evaluate(expression, {s: np.array([x]) for s, x in at.items()}, {})
    return float(2.0 * inference * tokens * value[0])


@dataclass(frozen=True)
class Hardware:
    """Machines that turn operations into hours and money.

    Attributes:
        gpu: Name of `PEAK_FLOPS`, or its dense operations per second.
        mfu: Share of these that training reaches (model FLOPs utilisation).
        gpus: How many work at once; for times.
        price: Of one for an hour; for money.
    """

    gpu: str | float = "h100"
    mfu: float = 0.4
    gpus: int = 1
    price: float = 2.0

    def flop_per_hour(self) -> float:
        """Return the operations that one of them does in an hour.

        >>> Hardware("h100", mfu=0.4).flop_per_hour()
        1.42416e+18

        Raises:
            UsageError: The name is unknown, or a number is out of range.
        """
        if isinstance(self.gpu, str) and self.gpu.casefold() not in PEAK_FLOPS:
            raise UsageError(suggest(self.gpu, PEAK_FLOPS, kind="GPU", listing="or its operations per second"))
        peak = PEAK_FLOPS[self.gpu.casefold()] if isinstance(self.gpu, str) else float(self.gpu)
        if not (peak > 0 and 0 < self.mfu <= 1 and self.gpus >= 1 and self.price > 0):
            raise UsageError(
                f"hardware needs operations and price above 0, mfu of at most 1 and a GPU, got {exact(peak)}, "
                f"{exact(self.price)}, {exact(self.mfu)}, {self.gpus}"
            )
        return peak * self.mfu * 3600.0

    def flop(self, amount: float, unit: str) -> float:
        """Return the operations that `amount` of "gpu-hours", "dollars" or "days" buys.

        >>> round(Hardware("a100", mfu=0.5, gpus=64).flop(10, "days") / 1e21, 3)
        8.626
        """
        hours = {"gpu-hours": 1.0, "dollars": 1.0 / self.price, "days": 24.0 * self.gpus}[unit]
        return amount * hours * self.flop_per_hour()
