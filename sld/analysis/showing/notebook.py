"""What a notebook shows of a law or a discovery: a small card of HTML that brings its own style and asks nobody."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

from sld.analysis.intervals import constant_intervals, unknown_constants
from sld.analysis.pages.formulas import constant, formula
from sld.analysis.pages.html import Html, cut, el, join, said
from sld.analysis.report.text import percent, typical
from sld.analysis.showing.drawing import drawn
from sld.analysis.showing.text import verdict_of
from sld.core.errors import SldError
from sld.data.table import Table
from sld.laws.law import Law
from sld.laws.remarks import about_prediction

if TYPE_CHECKING:
    from sld.search.outcome import Discovery

_TARGETS = 3  # shown
_MOST_ROWS = 24  # of the table of constants
_SIZE, _DPI = (4.6, 3.4), 90  # of the picture, inches
_LONGEST = 600  # characters of a sentence
# colours of the notebook's own theme: a card has no ground of its own
_CARD = "max-width:60rem;line-height:1.45"
_QUIET = "opacity:.75;font-size:.9em;margin:.3em 0"
_FORMULA = "font-size:1.25em;margin:.4em 0;line-height:2"
_CELL = "text-align:right;padding:.15em .7em"


def law_card(law: Law, table: Table | None = None) -> str:
    """Return a law: formula, verdict, constants with their intervals, a small picture.

    Args:
        law: The law.
        table: Rows to show in the picture.
    """
    sentence = verdict_of(law)
    return str(
        el(
            "div",
            *(_formula(law, t.column) for t in law.targets[:_TARGETS]),
            _more(len(law.targets) - _TARGETS, "target"),
            el("p", el("b", "Verdict: "), said(sentence, _LONGEST), style="margin:.3em 0") if sentence else None,
            el("p", said(predicts, _LONGEST), style=_QUIET) if (predicts := about_prediction(law)) else None,
            _constants(law),
            _picture(law, table),
            style=_CARD,
        )
    )


def discovery_card(found: Discovery) -> str:
    """Return the law of a discovery beside its rows, and from what it was chosen."""
    tried = found.counts.get("tried", 0)
    error = typical(found.chosen.fold_errors)
    text = f"{tried} formulas tried on {found.table.n_rows} rows in {found.seconds:.0f} s"
    if error == error:
        text += f"; typical error on larger runs: {percent(error**0.5)} of the standard deviation of the data"
    notes = [el("li", said(note, _LONGEST)) for note in found.notes[:5]]
    about = el("details", el("summary", f"{len(found.notes)} notes"), el("ul", *notes)) if notes else None
    return law_card(found.law, found.table).removesuffix("</div>") + str(
        join(el("p", text, style=_QUIET), about, Html("</div>"))
    )


def _formula(law: Law, column: str) -> Html:
    single = len(law.groups) == 1
    values = None
    if single:
        values = {name: float(f"{value:.4g}") for name, value in law.constants[column][law.groups[0]].items()}
    name = next(t.symbol for t in law.targets if t.column == column)
    # a row of pieces that may break where the cell is narrow
    return el("div", Html(formula(law.expressions[column], name, values)), style=_FORMULA)


def _more(n: int, what: str) -> Html | None:
    return el("p", f"and {n} more {what}{'s' * (n > 1)}", style=_QUIET) if n > 0 else None


def _constants(law: Law) -> Html | None:
    """Return the constants, as many as a card holds."""
    known = constant_intervals(law) if law.intervals is not None else {}
    unknown = unknown_constants(law) if law.intervals is not None else {}
    several = len(law.targets) > 1
    rows = []
    for target in law.targets:
        for group, values in law.constants[target.column].items():
            for name, value in values.items():
                ends = known.get(target.column, {}).get(group, {}).get(name)
                why = unknown.get(target.column, {}).get(group, {}).get(name)
                between = f"{constant(float(f'{ends[0]:.4g}'))} to {constant(float(f'{ends[1]:.4g}'))}" if ends else ""
                rows.append(
                    el(
                        "tr",
                        el("td", said(target.column, 60), style=_CELL) if several else None,
                        el("td", said(group, 60), style=_CELL) if law.grouped else None,
                        el("td", el("code", cut(name, 60)), style=_CELL),
                        el("td", constant(float(f"{value:.{law.digits(target.column)}g}")), style=_CELL),
                        el("td", f"unknown: {why}" if why else between, style=_CELL),
                    )
                )
    if not rows:
        return None
    level = f"{100 * float(law.intervals['level']):g} % interval" if law.intervals is not None else ""
    head = [*(["target"] if several else []), *(["group"] if law.grouped else []), "constant", "value", level]
    table = el(
        "table",
        el("thead", el("tr", *(el("th", name, style=_CELL, scope="col") for name in head))),
        el("tbody", *rows[:_MOST_ROWS]),
    )
    left = len(rows) - _MOST_ROWS
    rest = el("p", f"and {left} more; law.summary() has all", style=_QUIET) if left > 0 else None
    return join(table, rest)


def _picture(law: Law, table: Table | None) -> Html | None:
    """Return the curves of the first target as an image; None where nothing says where to draw."""
    import matplotlib.style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    buffer = io.BytesIO()
    with matplotlib.style.context("default"):
        figure: Any = Figure(figsize=_SIZE, dpi=_DPI, layout="constrained")
        FigureCanvasAgg(figure)
        try:
            drawn(law, figure.subplots(), table, law.targets[0].column)
        except SldError:
            return None
        figure.savefig(buffer, format="png", metadata={"Software": None})
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    name = f"curves of the law of {law.targets[0].column}"
    return el("p", el("img", src=f"data:image/png;base64,{data}", alt=name, style="max-width:100%"))
