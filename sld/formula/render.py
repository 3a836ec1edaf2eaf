"""Formulas as people read them, in LaTeX and MathML.

They are set as papers set them: `alpha_N` is a Greek letter with an index, `A*N**-a` is a fraction.
Both notations come from one walk over the tree; a notation only says how a name, a number, a power ... looks.
"""

from __future__ import annotations

import html
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from itertools import pairwise

from sld.formula.expression import Expression, Node, call, format_number, number, substitute, without_sign
from sld.formula.operators import OPERATORS

_LETTERS = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho final sigma tau upsilon "
    "phi chi psi omega"
).split()
_CAPITALS = "Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega".split()  # the others look like Latin ones
_GREEK = {word: chr(0x3B1 + i) for i, word in enumerate(_LETTERS) if word not in ("omicron", "final")}
_GREEK |= {word: chr(0x391 + _LETTERS.index(word.lower())) for word in _CAPITALS}
_GREEK_NAMES = {letter: word for word, letter in _GREEK.items()} | {"ϵ": "epsilon"}
_SHORT = {"lam": "lambda", "eps": "epsilon"}  # what people write where `lambda` is a keyword

_PLACES = 4  # significant digits of constants that are filled in
_SUM, _PRODUCT, _POWER, _ATOM = 1, 2, 3, 4  # how tightly a formula holds together


def to_latex(expression: Expression, values: Mapping[str, float] | None = None, *, digits: int = _PLACES) -> str:
    r"""Return LaTeX for math mode.

    >>> from sld.formula.expression import parse
    >>> print(to_latex(parse("E + A*N**-alpha", ["N"])))
    E + \frac{A}{N^{\alpha}}
    >>> print(to_latex(parse("E + A*N**-alpha", ["N"]), {"E": 1.69, "A": 406.4, "alpha": 0.3392}))
    1.69 + \frac{406.4}{N^{0.3392}}

    Args:
        expression: The formula.
        values: Constants to fill in; the others stay names.
        digits: Significant digits of the constants.
    """
    return _render(shown(expression, values, digits), _Latex())[0]


def to_mathml(expression: Expression, values: Mapping[str, float] | None = None) -> str:
    """Return a MathML `<math>` element for a web page; names are escaped.

    >>> from sld.formula.expression import parse
    >>> print(to_mathml(parse("A*N", ["N"])).replace(chr(0x2062), "(times)"))
    <math xmlns="http://www.w3.org/1998/Math/MathML"><mrow><mi>A</mi><mo>(times)</mo><mi>N</mi></mrow></math>

    Args:
        expression: The formula.
        values: Constants to fill in, with 4 significant digits; the others stay names.
    """
    body = _render(shown(expression, values), _MathML())[0]
    return f'<math xmlns="http://www.w3.org/1998/Math/MathML"><mrow>{body}</mrow></math>'


def shown(expression: Expression, values: Mapping[str, float] | None = None, digits: int = _PLACES) -> Node:
    """Return the tree that is shown: constants filled in and rounded, `a + -3` as `a - 3`; equal to the formula."""
    if not values:
        return expression.tree
    constants = set(expression.constants)
    rounded = {c: number(float(f"{v:.{digits}g}")) for c, v in values.items() if c in constants}
    return signed(substitute(expression.tree, rounded))


def signed(node: Node) -> Node:
    """Write `a + -3` as `a - 3` and `-3*x + a` with its sign in front."""
    if not node.args:
        return node
    args = tuple(signed(arg) for arg in node.args)
    if node.op in ("+", "-") and (positive := without_sign(args[1])) is not None:
        return Node("-" if node.op == "+" else "+", (args[0], positive))
    if node.op == "neg" and (positive := without_sign(args[0])) is not None:
        return positive
    return call(node.op, *args)


def _parts_of_name(word: str) -> list[str]:
    """Split `A1` and `alpha_N_max` into a letter or word and its indices."""
    parts = [part for part in word.split("_") if part] or [word]
    head = re.fullmatch(r"([^\W\d]+)(\d+)", parts[0])
    if head and (len(head[1]) == 1 or _greek(head[1])):
        parts[:1] = [head[1], head[2]]
    return parts


def _greek(word: str) -> str | None:
    word = _SHORT.get(word, word)
    return word if word in _GREEK else _GREEK_NAMES.get(word)


class _Notation(ABC):
    """How the parts of a formula look; every method gets parts that are already set."""

    minus: str

    @abstractmethod
    def sum(self, left: str, right: str, minus: bool) -> str:
        """A sum or difference."""

    @abstractmethod
    def name(self, parts: Sequence[str]) -> str:
        """A letter or word with its indices."""

    @abstractmethod
    def number(self, digits: str, exponent: str | None) -> str:
        """A number without sign, with a power of ten or None."""

    @abstractmethod
    def brackets(self, inner: str) -> str:
        """A formula in round brackets."""

    @abstractmethod
    def absolute(self, inner: str) -> str:
        """A formula between bars."""

    @abstractmethod
    def power(self, base: str, exponent: str) -> str:
        """A base and what stands above it."""

    @abstractmethod
    def fraction(self, above: str, below: str) -> str:
        """A fraction."""

    @abstractmethod
    def slash(self, above: str, below: str) -> str:
        """A fraction on one line, for exponents."""

    @abstractmethod
    def root(self, inner: str) -> str:
        """A square root."""

    @abstractmethod
    def times(self, left: str, right: str, sign: bool) -> str:
        """A product, with a visible sign between numbers."""

    @abstractmethod
    def function(self, op: str, args: Sequence[str]) -> str:
        """A named function of its arguments."""


class _Latex(_Notation):
    minus = "-"

    def sum(self, left: str, right: str, minus: bool) -> str:
        return f"{left} {'-' if minus else '+'} {right}"

    def name(self, parts: Sequence[str]) -> str:
        head, *indices = (self._word(part) for part in parts)
        return f"{head}_{{{','.join(indices)}}}" if indices else head

    @staticmethod
    def _word(word: str) -> str:
        if greek := _greek(word):
            return f"\\{greek}"
        return word if len(word) == 1 or word.isdigit() else rf"\mathrm{{{word}}}"

    def number(self, digits: str, exponent: str | None) -> str:
        if digits in ("inf", "nan"):
            return r"\infty" if digits == "inf" else r"\mathrm{nan}"
        if exponent is None:
            return digits
        power = f"10^{{{exponent}}}"
        return power if digits == "1" else rf"{digits} \times {power}"

    def brackets(self, inner: str) -> str:
        return rf"\left({inner}\right)"

    def absolute(self, inner: str) -> str:
        return rf"\left|{inner}\right|"

    def power(self, base: str, exponent: str) -> str:
        return f"{base}^{{{exponent}}}"

    def fraction(self, above: str, below: str) -> str:
        return rf"\frac{{{above}}}{{{below}}}"

    def slash(self, above: str, below: str) -> str:
        return f"{above}/{below}"

    def root(self, inner: str) -> str:
        return rf"\sqrt{{{inner}}}"

    def times(self, left: str, right: str, sign: bool) -> str:
        return rf"{left} \cdot {right}" if sign else rf"{left} \, {right}"

    def function(self, op: str, args: Sequence[str]) -> str:
        operator = OPERATORS[op].latex or rf"\operatorname{{{op}}}"
        return rf"{operator}\left({', '.join(args)}\right)"


class _MathML(_Notation):
    minus = "<mo>−</mo>"

    def sum(self, left: str, right: str, minus: bool) -> str:
        return f"{left}<mo>{'−' if minus else '+'}</mo>{right}"

    def name(self, parts: Sequence[str]) -> str:
        head, *indices = (self._word(part) for part in parts)
        if not indices:
            return head
        below = "<mo>,</mo>".join(indices)
        return f"<msub>{head}<mrow>{below}</mrow></msub>"

    @staticmethod
    def _word(word: str) -> str:
        greek = _greek(word)
        shown = _GREEK[greek] if greek else html.escape(word)
        return f"<mn>{shown}</mn>" if word.isdigit() else f"<mi>{shown}</mi>"

    def number(self, digits: str, exponent: str | None) -> str:
        if digits in ("inf", "nan"):
            return "<mi>∞</mi>" if digits == "inf" else "<mi>nan</mi>"
        if exponent is None:
            return f"<mn>{digits}</mn>"
        power = f"<msup><mn>10</mn><mn>{exponent.replace('-', '−')}</mn></msup>"
        return f"<mrow>{power}</mrow>" if digits == "1" else f"<mrow><mn>{digits}</mn><mo>×</mo>{power}</mrow>"

    def brackets(self, inner: str) -> str:
        return f"<mrow><mo>(</mo>{inner}<mo>)</mo></mrow>"

    def absolute(self, inner: str) -> str:
        return f"<mrow><mo>|</mo>{inner}<mo>|</mo></mrow>"

    def power(self, base: str, exponent: str) -> str:
        return f"<msup><mrow>{base}</mrow><mrow>{exponent}</mrow></msup>"

    def fraction(self, above: str, below: str) -> str:
        return f"<mfrac><mrow>{above}</mrow><mrow>{below}</mrow></mfrac>"

    def slash(self, above: str, below: str) -> str:
        return f"{above}<mo>/</mo>{below}"

    def root(self, inner: str) -> str:
        return f"<msqrt>{inner}</msqrt>"

    def times(self, left: str, right: str, sign: bool) -> str:
        # U+2062 is the invisible multiplication sign, which readers speak
        return f"{left}<mo>{'·' if sign else chr(0x2062)}</mo>{right}"

    def function(self, op: str, args: Sequence[str]) -> str:
        inner = "<mo>,</mo>".join(args)
        # brackets in a row of their own: they are as tall as that row; U+2061 is the application, which readers speak
        return f"<mrow><mi>{op}</mi><mo>{chr(0x2061)}</mo><mrow><mo>(</mo>{inner}<mo>)</mo></mrow></mrow>"


def _render(node: Node, notation: _Notation, raised: bool = False) -> tuple[str, int]:
    """Return the formula and how tightly it holds; `raised` in an exponent, where fractions lie on one line."""
    op, args = node.op, node.args
    if op == "number":
        return _render_number(node.value, notation)
    if op == "name":
        return notation.name(_parts_of_name(node.name)), _ATOM
    if op in ("+", "-"):
        left = _held(args[0], notation, _SUM, raised)
        return notation.sum(left, _held(args[1], notation, _PRODUCT, raised), op == "-"), _SUM
    if op == "neg":
        # a sign holds as loosely as a sum: x*(-y), (-x)**2
        return notation.minus + _held(args[0], notation, _PRODUCT, raised), _SUM
    if op in ("*", "/"):
        return _render_product(node, notation, raised)
    if op == "**":
        return notation.power(_held(args[0], notation, _ATOM, raised), _render(args[1], notation, True)[0]), _POWER
    if op == "sqrt":
        return notation.root(_render(args[0], notation, raised)[0]), _ATOM
    if op == "abs":
        return notation.absolute(_render(args[0], notation, raised)[0]), _ATOM
    inner = _flat(node, op) if OPERATORS[op].folds else list(args)
    return notation.function(op, [_render(arg, notation, raised)[0] for arg in inner]), _POWER


def _held(node: Node, notation: _Notation, least: int, raised: bool) -> str:
    text, holds = _render(node, notation, raised)
    return text if holds >= least else notation.brackets(text)


def _flat(node: Node, op: str) -> list[Node]:
    return [leaf for arg in node.args for leaf in _flat(arg, op)] if node.op == op else [node]


def _render_number(value: float, notation: _Notation) -> tuple[str, int]:
    text = format_number(abs(value)) if value == value and abs(value) != float("inf") else str(abs(value))
    exponent = None
    if 1e5 <= abs(value) < float("inf") and value == float(short := f"{value:.{_PLACES - 1}e}"):
        text = short.lstrip("-")
    if "e" in text:
        digits, power = text.split("e")
        text = digits.rstrip("0").rstrip(".") if "." in digits else digits
        exponent = str(int(power))
    shown = notation.number(text, exponent)
    holds = _ATOM if exponent is None else _POWER if text == "1" else _PRODUCT
    return (notation.minus + shown, _SUM) if value < 0 else (shown, holds)


def _render_product(node: Node, notation: _Notation, raised: bool) -> tuple[str, int]:
    """A chain of * and / as one fraction; factors with a negative exponent go below the line."""
    above: list[Node] = []
    below: list[Node] = []
    stack = [(node, False)]
    while stack:
        factor, inverted = stack.pop()
        if factor.op == "*":
            stack += [(factor.args[1], inverted), (factor.args[0], inverted)]
        elif factor.op == "/":
            stack += [(factor.args[1], not inverted), (factor.args[0], inverted)]
        elif factor.op == "**" and (exponent := without_sign(factor.args[1])) is not None:
            base = factor.args[0]
            (above if inverted else below).append(base if exponent == number(1.0) else call("**", base, exponent))
        else:
            (below if inverted else above).append(factor)
    sign = ""
    if above and (first := without_sign(above[0])) is not None:
        above[0], sign = first, notation.minus
    if not below:
        return sign + _render_factors(above, notation, raised), _SUM if sign else _PRODUCT
    top = above or [number(1.0)]
    if raised:
        slash = notation.slash(
            _render_factors(top, notation, raised),
            _render_factors(below, notation, raised)
            if len(below) == 1
            else notation.brackets(_render_factors(below, notation, raised)),
        )
        return sign + slash, _SUM if sign else _PRODUCT
    fraction = notation.fraction(_alone(top, notation, raised), _alone(below, notation, raised))
    return sign + fraction, _SUM if sign else _PRODUCT


def _alone(factors: Sequence[Node], notation: _Notation, raised: bool) -> str:
    # one sum needs no brackets above or below the line
    return _render(factors[0], notation, raised)[0] if len(factors) == 1 else _render_factors(factors, notation, raised)


def _render_factors(factors: Sequence[Node], notation: _Notation, raised: bool) -> str:
    if len(factors) > 1 and factors[0] == number(1.0):
        factors = factors[1:]
    out = _held(factors[0], notation, _PRODUCT, raised)
    for before, factor in pairwise(factors):
        digits_meet = _first_leaf(factor).op == "number" or (before.op == "number" and factor.op == "number")
        out = notation.times(out, _held(factor, notation, _POWER, raised), digits_meet)
    return out


def _first_leaf(node: Node) -> Node:
    return _first_leaf(node.args[0]) if node.op in ("**", "*", "/", "+", "-") else node
