"""Formulas and numbers as the pages set them."""

from __future__ import annotations

import math
import re

from sld.analysis.pages.html import Html, cut, el, join
from sld.core.errors import GrammarError
from sld.core.numbers import exact, short
from sld.formula.expression import Expression, parse
from sld.formula.render import to_mathml

NONE = "\u2013"  # a dash
_OPEN = '<math xmlns="http://www.w3.org/1998/Math/MathML"><mrow>'
_CLOSE = "</mrow></math>"
_TOKEN = re.compile(r"<(/?)([a-z]+)[^>]*>")
_PLUS = re.compile(r"<mo>([+−])</mo>")


def formula(expression: Expression, name: str, values: dict[str, float] | None = None) -> Html:
    """Return `name = formula` in MathML, in pieces between which a narrow page may break the line."""
    pieces = _pieces(to_mathml(expression, values).removeprefix(_OPEN).removesuffix(_CLOSE))
    pieces[0] = f"{_symbol(name)}<mo>=</mo>{pieces[0]}"
    maths = [Html(f"<math><mrow>{piece}</mrow></math>") for piece in pieces]
    return el("div", Html(" ".join(maths)), class_="formula")


def symbol(name: str) -> Html:
    """Return the name of a constant or variable as formulas show it."""
    # some readers pass over MathML in the head of a table
    return join(
        el("span", name, class_="hidden"), Html(f'<math aria-hidden="true"><mrow>{_symbol(name)}</mrow></math>')
    )


def _symbol(name: str) -> str:
    try:
        return to_mathml(parse(name, [name])).removeprefix(_OPEN).removesuffix(_CLOSE)
    except GrammarError:
        return el("mtext", name)


def _pieces(body: str) -> list[str]:
    """Split MathML before every + and − that is inside no other element."""
    pieces, depth, begin = [], 0, 0
    for token in _TOKEN.finditer(body):
        if token[1]:
            depth -= 1
            continue
        if depth == 0 and token.start() > begin and (sign := _PLUS.match(body, token.start())):
            pieces.append(body[begin : token.start()])
            begin = sign.start()
        depth += 1
    pieces.append(body[begin:])
    # at the start of a line the sign is still one between two terms
    return [pieces[0], *(_PLUS.sub(r'<mo form="infix">\1</mo>', piece, count=1) for piece in pieces[1:])]


def r2(value: float | None) -> str:
    """Return R² with three digits; what is not 1 is not shown as 1."""
    if value is None or not math.isfinite(value):
        return NONE
    if value < -1000:
        return "< −1000"
    text = f"{value:.3f}" if value > -10 else f"{value:.0f}"
    if text == "1.000" and value < 1:
        text = f"{value:.4f}" if value < 0.99995 else "> 0.9999"
    return _minus(text)


def small(value: float | None) -> str:
    """Return an error with three significant digits."""
    return NONE if value is None or not math.isfinite(value) else _minus(short(value))


def constant(value: float) -> str:
    """Return a constant with six significant digits."""
    return _minus(exact(value))


def count(value: int | None, one: str = "", many: str = "") -> str:
    """Return a whole number, with its noun when one is given."""
    if value is None:
        return NONE
    noun = f" {one if value == 1 else many or one + 's'}" if one else ""
    return f"{value:,}{noun}"


def _minus(text: str) -> str:
    return text.replace("-", "−")


def cell(shown: str, value: float | None = None, **attributes: object) -> Html:
    """Return a right-aligned cell; `value` is what it is sorted by."""
    known = value is not None and math.isfinite(value)
    return el("td", shown, class_="num", data_v=repr(float(value)) if known and value is not None else "", **attributes)


def badge(label: str) -> Html:
    """Return a label such as "refitted" as a small mark."""
    return el("span", cut(label, 40), class_="badge b-" + re.sub(r"[^a-z]+", "-", label.lower())[:40].strip("-"))


def lines(*rows: tuple[str, object]) -> Html:
    """Return a list of terms and what they are; empty ones are left out."""
    shown = [el("div", el("dt", term), el("dd", value)) for term, value in rows if value not in ("", None)]
    return el("dl", join(*shown))
