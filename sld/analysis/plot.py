"""The picture of a law: measured against predicted, and its curves running past the data.

Colours come from viridis, which keeps its order in grey print and for colour-blind readers; markers differ too. Rows
that the law was fitted to are filled, rows that it was not fitted to are hollow; a curve is solid where it has rows
and dashed beyond them.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sld.analysis import sections
from sld.analysis.sections import WIDE, Section, axis_label, magnitude, near, range_of, round_positions
from sld.core.files import write_bytes_atomic
from sld.data.axes import levels, position
from sld.data.scoring import Scores, scores
from sld.data.splits import Fold
from sld.data.table import Array, Table
from sld.laws.law import Law

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PLOT_FILE = "plot.png"

_MARKERS = "os^Dvp"
_MOST_TARGETS = 6
_MOST_SAMPLED = 20_000  # rows that are looked at
_MOST_ROWS = 3000  # drawn per panel; more cannot be told apart
_WIDTH, _HEIGHT = 11.5, 4.3  # inches; height of one row of panels
_DPI = 130
_STYLE: dict[str, Any] = {
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "mathtext.fontset": "dejavusans",
}


def plot_law(
    law: Law,
    table: Table,
    path: str | Path,
    *,
    folds: Sequence[Fold] = (),
    held_out: Table | None = None,
) -> None:
    """Draw a law beside the rows it was fitted to, as a PNG.

    Left: measured against predicted values, by rung of the variable that is extrapolated. Right: the law's curves
    against that variable (or a hyperparameter or proportion), past the data.

    Args:
        law: The law.
        table: The rows that it was fitted to.
        path: The file to write.
        folds: Without held-out rows, the law is refitted to the lower rungs of the first of these that covers the
            table, and the rows above are shown as such a fit predicts them.
        held_out: Rows that the law was not fitted to, shown hollow.

    Raises:
        UsageError: The file cannot be written.
    """
    import matplotlib.style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if held_out is not None:
        known = np.isin(np.array(held_out.groups), law.groups)[held_out.group_index]
        held_out = held_out.take(known) if not law.grouped or not known.all() else held_out
        held_out = held_out if held_out.n_rows else None
    n_rows = table.n_rows
    if n_rows > _MOST_SAMPLED:
        sample = np.random.default_rng(0).choice(n_rows, _MOST_SAMPLED, replace=False)
        table, folds = table.take(np.sort(sample)), ()
    n = min(len(law.targets), _MOST_TARGETS)
    with matplotlib.style.context(["default", _STYLE]):
        figure = Figure(figsize=(_WIDTH, _HEIGHT * n + 0.9), dpi=_DPI, layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(n, 2, squeeze=False)
        judged = _judged(law, table, folds) if held_out is None else None
        for j in range(n):
            _measured_against_predicted(panels[j, 0], law, table, j, held_out, judged)
            curves(panels[j, 1], law, sections.section(law, table, j, held_out))
        _title(figure, law, n)
        if table.n_rows < n_rows:
            figure.text(0.005, 0.003, f"a sample of {table.n_rows} of {n_rows} rows", fontsize=8, color="0.35")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    write_bytes_atomic(path, buffer.getvalue())


# --- left: measured against predicted -------------------------------------------------------------------------------


def _measured_against_predicted(
    ax: Axes, law: Law, table: Table, j: int, held_out: Table | None, judged: tuple[NDArray[np.intp], Array] | None
) -> None:
    main = sections.main_variable(law, table, held_out)
    both = sections.joined(table, held_out)
    z, same = position(both, main)
    level = levels(z, same, sections.MAX_LINES)
    x = both.column(main.symbol)
    colours = _colours(int(level.max()) + 1)
    measured, predicted = both.Y[:, j], law.by_formula(both)[:, j]
    hollow = np.arange(both.n_rows) >= table.n_rows
    if judged is not None:
        # the judged rows once more, as a fit to the others predicts them
        rows, values = judged
        level, x = np.concatenate([level, level[rows]]), np.concatenate([x, x[rows]])
        measured = np.concatenate([measured, measured[rows]])
        predicted = np.concatenate([predicted, values[:, j]])
        hollow = np.concatenate([hollow, np.ones(len(rows), dtype=np.bool_)])
    finite = np.isfinite(predicted)
    shown = np.concatenate([measured, near(predicted[finite], measured, reach=0.35)])
    logarithmic = bool((shown > 0).all() and shown.max() >= WIDE * shown.min())
    low, high = _margins(shown, logarithmic)
    size = _marker_size(len(measured))
    for k in range(int(level.max()) + 1):
        at = level == k
        label = range_of(x[at])
        for is_hollow in (False, True):
            rows = _few(np.flatnonzero(at & finite & (hollow == is_hollow)))
            if len(rows):
                _points(ax, measured[rows], np.clip(predicted[rows], low, high), colours[k], k, is_hollow, label, size)
                label = ""
    ax.plot([low, high], [low, high], color="0.35", linewidth=1, zorder=1)
    if hollow.any():
        word = "held-out rows" if judged is None else "judged rows, fitted to lower rungs"
        ax.plot([], [], "o", mfc="none", mec="0.2", markersize=5, linestyle="none", label=word)
    _scale(ax, "both", logarithmic, (low, high))
    target = law.targets[j]
    ax.set(xlim=(low, high), ylim=(low, high))
    ax.set_xlabel(_printable(f"measured {axis_label(target)}"))
    ax.set_ylabel(_printable(f"predicted {target.column}"))
    quality = _quality(measured, predicted, hollow, "held out" if judged is None else "judged")
    ax.text(0.03, 0.97, quality, transform=ax.transAxes, va="top")
    _legend(ax, main.column)


def _quality(measured: Array, predicted: Array, hollow: NDArray[np.bool_], hollow_are: str) -> str:
    lines = []
    for which, name in ((~hollow, "rows fitted to"), (hollow, hollow_are)):
        if which.any():
            found = scores(measured[which], predicted[which])
            if found.failed or np.isfinite(found.r2):  # one row, or rows that are all alike, have none
                lines.append(f"R² = {_r2(found)}  ({int(which.sum())} {name})")
    return "\n".join(lines)


def _r2(found: Scores) -> str:
    return "failed" if found.failed else f"{found.r2:.4f}" if found.r2 > 0.99 else f"{found.r2:.3f}"


def _judged(law: Law, table: Table, folds: Sequence[Fold]) -> tuple[NDArray[np.intp], Array] | None:
    """Return the judged rows of the first fold that covers the table, and what a fit to its other rows predicts."""
    fold = next((f for f in folds if len(f.train) + len(f.test) == table.n_rows), None)
    if fold is None:
        return None
    from sld.analysis.intervals import refit_to

    columns = [refit_to(law, table, j, fold.train) for j in range(len(law.targets))]
    known = [predicted[fold.test] for predicted in columns if predicted is not None]
    if len(known) < len(columns):
        return None
    return fold.test, np.column_stack(known)


# --- right: curves --------------------------------------------------------------------------------------------------


def curves(ax: Axes, law: Law, section: Section, *, rows: bool = True, title: bool = True) -> None:
    """Draw the lines of a section on axes.

    Args:
        ax: The axes.
        law: The law.
        section: What to draw.
        rows: Whether the rows behind the lines are shown.
        title: Whether notes stand above the axes; else below, in the head of the legend.
    """
    lines = section.lines
    bold = [line for line in lines if not line.faint]
    colours = iter(zip(_colours(len(bold)), range(len(bold)), strict=True))
    measured = np.concatenate([np.concatenate([line.measured[1], line.held_out[1]]) for line in bold])
    drawn = np.concatenate([line.y for line in bold])
    shown = np.concatenate([measured, near(drawn[np.isfinite(drawn)], measured, reach=0.25)])
    logarithmic = bool((shown > 0).all() and shown.max() >= WIDE * shown.min())
    low, high = _margins(shown, logarithmic)
    size = _marker_size(len(measured))
    for line in lines:
        if line.faint:
            ax.plot(line.x, line.y, color="0.75", linewidth=0.5, zorder=1)
            continue
        colour, k = next(colours)
        inside = np.zeros(len(line.x), dtype=np.bool_)
        if line.known is not None:
            inside = (line.x >= line.known[0] * (1 - 1e-9)) & (line.x <= line.known[1] * (1 + 1e-9))
        ax.plot(line.x, line.y, color=colour, linewidth=1.1, linestyle=(0, (4, 2.5)), zorder=2)
        ax.plot(line.x, np.where(inside, line.y, np.nan), color=colour, linewidth=1.8, zorder=2)
        _band(ax, law, section, line, colour)
        label = line.label
        for values, hollow in ((line.measured, False), (line.held_out, True)):
            if rows and values.shape[1]:
                some = _few(np.arange(values.shape[1]))
                _points(ax, values[0, some], values[1, some], colour, k, hollow, label, size)
                label = ""
        if label:
            ax.plot([], [], color=colour, linewidth=1.1, linestyle=(0, (4, 2.5)), label=_printable(label))
    x = np.concatenate([line.x for line in lines])
    horizontal = sections.is_logarithmic(section.variable, x)
    if section.beyond is not None:
        has_rows = any(line.held_out.shape[1] for line in bold)
        name = "beyond the data" if not has_rows else "held-out region"
        ax.axvspan(*section.beyond, color="0.93", zorder=0, label=name)
    span = _margins(x, horizontal, 0.02)
    _scale(ax, "x", horizontal, span)
    _scale(ax, "y", logarithmic, (low, high))
    ax.set(xlim=span, ylim=(low, high))
    ax.set_xlabel(_printable(axis_label(section.variable)))
    ax.set_ylabel(_printable(axis_label(section.target)))
    if rows and any(line.held_out.shape[1] for line in bold):
        ax.plot([], [], "o", mfc="none", mec="0.2", markersize=5, linestyle="none", label="held-out rows")
    if notes := [note for note in section.notes if rows or not note.startswith("points are moved")]:
        note = "\n".join(textwrap.wrap("; ".join(notes), 78))
        if title:
            ax.set_title(_printable(note), fontsize=8, color="0.35", loc="left")
    _legend(ax, section.told_apart_by if title or not notes else f"{section.told_apart_by}\n({note})".strip())


def _band(ax: Axes, law: Law, section: Section, line: sections.Line, colour: str) -> None:
    if law.intervals is None:
        return
    from sld.analysis.intervals import predict_intervals

    j = [t.column for t in law.targets].index(section.target.column)
    lower, upper = predict_intervals(law.bare, line.points)
    ax.fill_between(line.x, lower[:, j], upper[:, j], color=colour, alpha=0.10, linewidth=0, zorder=1)


# --- pieces ---------------------------------------------------------------------------------------------------------


def _points(ax: Axes, x: Array, y: Array, colour: str, k: int, hollow: bool, label: str, size: float) -> None:
    ax.plot(
        x, y, linestyle="none", marker=_MARKERS[k % len(_MARKERS)], markersize=size,
        color=colour, mfc="none" if hollow else colour, mec=colour if hollow else "white",
        mew=1.1 if hollow else 0.4, zorder=4 if hollow else 3, label=_printable(label) if label else None,
    )  # fmt: skip


def _marker_size(n_rows: int) -> float:
    return 5.0 if n_rows <= 300 else 4.2 if n_rows <= 1000 else 3.4


def _colours(n: int) -> list[str]:
    import matplotlib
    from matplotlib.colors import to_hex

    # the yellow end is too pale on paper
    return [to_hex(matplotlib.colormaps["viridis"](0.88 * k / max(n - 1, 1))) for k in range(n)]


def _few(rows: NDArray[np.intp]) -> NDArray[np.intp]:
    return rows if len(rows) <= _MOST_ROWS else rows[np.linspace(0, len(rows) - 1, _MOST_ROWS).astype(np.intp)]


def _margins(values: Array, logarithmic: bool, share: float = 0.05) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    if low == high:
        return (low / 1.1, high * 1.1) if logarithmic else (low - (abs(low) * 0.1 or 1), high + (abs(high) * 0.1 or 1))
    if logarithmic:
        room = (high / low) ** share
        return low / room, high * room
    return low - share * (high - low), high + share * (high - low)


def _scale(ax: Axes, which: str, logarithmic: bool, span: tuple[float, float]) -> None:
    """Set linear or logarithmic axes with labels that people read: 1M, 3M, 10M rather than 3 × 10⁶."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

    for axis, name in ((ax.xaxis, "x"), (ax.yaxis, "y")):
        if which not in (name, "both"):
            continue
        if logarithmic:
            ax.set(**{f"{name}scale": "log"})
            axis.set_major_locator(FixedLocator(_ticks(*span)))
            axis.set_minor_locator(NullLocator())
        else:
            axis.set_major_locator(MaxNLocator(6))
        axis.set_major_formatter(FuncFormatter(lambda value, _: magnitude(value)))


def _ticks(low: float, high: float) -> list[float]:
    """Return about six round positions on a logarithmic axis."""
    found = round_positions(low, high)
    if len(found) < 3:
        from matplotlib.ticker import MaxNLocator

        found = [t for t in MaxNLocator(5).tick_values(low, high) if low <= t <= high]
    return found[:: max(1, round(len(found) / 7))]


def _legend(ax: Axes, heading: str) -> None:
    handles, labels = ax.get_legend_handles_labels()
    if handles:
        # below the axes: nothing is covered, whatever the data
        columns = min(len(handles), 4 if max(len(text) for text in labels) < 14 else 3)
        ax.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=columns, title=_printable(heading) or None,
            title_fontsize=9, handlelength=1.6, columnspacing=1.4, frameon=False,
        )  # fmt: skip


# --- the formula above ----------------------------------------------------------------------------------------------


def _title(figure: Figure, law: Law, n: int) -> None:
    columns = [t.column for t in law.targets]
    same = len({law.expressions[c].text for c in columns}) == 1
    if len(columns) == 1 or same:
        name = columns[0] if len(columns) == 1 else "each target"
        figure.suptitle(_formula(law, columns[0], name), fontsize=11)
    else:
        figure.suptitle("\n".join(_formula(law, c, c) for c in columns[:n]), fontsize=9.5)
    if len(columns) > n:
        figure.text(0.99, 0.003, f"{n} of {len(columns)} targets", ha="right", fontsize=8, color="0.35")


def _formula(law: Law, column: str, name: str) -> str:
    """Return `name = formula` as mathtext in lines that fit, or as plain text where mathtext cannot set it."""
    from sld.formula.render import to_latex

    expression = law.expressions[column]
    single = len(law.targets) == 1 and len(law.groups) == 1
    values = law.constants[column][law.groups[0]] if single else None
    lines: list[str] = []
    for term in _terms(to_latex(expression, values)):
        width = _width(term)
        if width is None:
            text = law.text(column, digits=4).rpartition(" = ")[2] if single else expression.text
            return _printable("\n".join(textwrap.wrap(f"{name} = {text}", 105)))
        if lines and (_width(lines[-1]) or 0.0) + width < _WIDTH * 72 * 0.9:
            lines[-1] += " " + term
        else:
            lines.append(term if lines else f"= {term}")
    lines[0] = f"{_printable(name)} ${lines[0]}$"
    return "\n".join([lines[0], *(f"${line}$" for line in lines[1:])])


def _terms(latex: str) -> list[str]:
    """Split LaTeX before every + and - that is outside all brackets."""
    terms, depth, begin = [], 0, 0
    for k, character in enumerate(latex):
        depth += (character in "{(") - (character in "})")
        if depth == 0 and latex[k : k + 3] in (" + ", " - "):
            terms.append(latex[begin:k])
            begin = k + 1
    return [*terms, latex[begin:]]


@cache
def _parser() -> Any:
    from matplotlib.mathtext import MathTextParser

    return MathTextParser("path")


def _width(latex: str) -> float | None:
    """Return the width in points, or None where mathtext cannot set it."""
    from matplotlib.font_manager import FontProperties

    if not all(_has_glyph(character) for character in latex):
        return None
    try:
        return float(_parser().parse(f"${latex}$", 72, FontProperties(size=11)).width)
    except ValueError:
        return None


@cache
def _glyphs() -> frozenset[int]:
    from matplotlib.font_manager import findfont, get_font

    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())


def _has_glyph(character: str) -> bool:
    return character == "\n" or ord(character) in _glyphs()


def _printable(text: str) -> str:
    """Return text that matplotlib sets as it stands: no mathematics, no characters that its font lacks."""
    return "".join(c if _has_glyph(c) else "\N{WHITE SQUARE}" for c in text).replace("$", r"\$")
