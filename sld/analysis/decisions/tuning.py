r"""The best hyperparameters and mixtures of a law at each scale, and how they move with it.

At each point $s$ of the scale variables the law is made small over hyperparameters $h$ and shares of a mixture,

$$ h^*(s) = \arg\min_h f(s, h) , $$

each draw of the law by itself. Over a grid of scales a power law is fitted to the optima,
$\log h^* = \log c + \sum_s a_s \log s$ by least squares, again for each draw; what it misses by is said.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sld.analysis.decisions.allocation import NoOptimum
from sld.analysis.decisions.estimate import Estimate, estimate
from sld.analysis.decisions.minima import Curves, minima
from sld.analysis.decisions.minimise import Axis, Minimum, Problem, minimum
from sld.analysis.decisions.surface import Surface, axis_of, limits, seen
from sld.core.arrays import Array
from sld.core.errors import UsageError, suggest
from sld.core.numbers import exact, short

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

OFF = 2.0  # factor by which a hyperparameter is off where its price is said
_LEVELS = 4  # of each scale variable on the grid that the power law is fitted to
_MOST_POINTS = 64  # of that grid
_SLACK = 1e-6  # relative: what is on the grid is at its end, not beyond
_NOTHING = 1e-9  # an exponent below this is rounding
_MOST_PANELS = 6  # more cannot be read on a page
_ZERO = 4e-3  # a share below this is tried at zero


@dataclass(frozen=True)
class Best:
    """The best settings at one scale.

    Attributes:
        scale: Symbol to value of what was held.
        best: Symbol to value of what was chosen.
        value: Of the target there.
        off: Symbol to what half and twice its best value add to the target, others as they are.
        beyond: Scale variables that lie beyond what the law is supported for.
        status: "interior", "kink", or "edge of the mixture" where a share is zero.
    """

    scale: Mapping[str, float]
    best: Mapping[str, Estimate]
    value: Estimate
    off: Mapping[str, tuple[Estimate, Estimate]] = field(default_factory=dict)
    beyond: tuple[str, ...] = ()
    status: str = "interior"


@dataclass(frozen=True)
class Power:
    r"""How a best setting moves with scale: $h^* = c \prod_s s^{a_s}$.

    Attributes:
        factor: The constant c.
        exponents: Symbol to exponent.
        miss: The largest error of it on the grid, as a factor; 1 for an exact power law.
        ranges: Symbol to the ends of the grid.
    """

    factor: Estimate
    exponents: Mapping[str, Estimate]
    miss: float
    ranges: Mapping[str, tuple[float, float]]

    def text(self, name: str) -> str:
        """Return it as a formula with intervals in brackets."""
        powers = "".join(f" * {s}**{e.text()}" for s, e in self.exponents.items())
        return f"{name} = {self.factor.text()}{powers}"

    def at(self, scale: Mapping[str, float]) -> float:
        """Return its value at a scale."""
        return float(self.factor.value * math.prod(scale[s] ** e.value for s, e in self.exponents.items()))


@dataclass(frozen=True, repr=False)
class Tuning:
    """The best settings of a law, at scales and as power laws of scale.

    Attributes:
        law: The formula with its constants.
        target: What is to be low (or high).
        points: The best settings at each scale that was asked for.
        powers: Symbol to how its best value moves with scale; none for shares, and where there is one scale alone.
        level: Share of draws inside an interval.
        draws: How many; 0 for a law without intervals.
        notes: What a reader should know, in sentences.
    """

    law: str
    target: str
    points: tuple[Best, ...]
    powers: Mapping[str, Power]
    level: float
    draws: int
    notes: tuple[str, ...] = ()
    grid: tuple[Best, ...] = field(default=(), compare=False)

    def to_frame(self) -> pd.DataFrame:
        """Return a row per scale: what was held, the best settings and the target, with ends of intervals."""
        import pandas as pd

        rows = []
        for point in self.points:
            row: dict[str, Any] = dict(point.scale)
            for name, cell in {**point.best, self.target: point.value}.items():
                row[name] = cell.value
                if cell.low is not None:
                    row[f"{name}_low"], row[f"{name}_high"] = cell.low, cell.high
            rows.append(row)
        return pd.DataFrame(rows)

    def to_json(self) -> dict[str, Any]:
        """Return everything in JSON's own types."""
        return {
            "law": self.law, "target": self.target, "level": self.level, "draws": self.draws,
            "points": [asdict(p) for p in self.points], "powers": {s: asdict(p) for s, p in self.powers.items()},
            "notes": list(self.notes),
        }  # fmt: skip

    def rows(self) -> list[list[str]]:
        """Return the table of best settings as text, its header first."""
        held = list(dict.fromkeys(s for p in self.points for s in p.scale))
        chosen = list(dict.fromkeys(s for p in self.points for s in p.best))
        rows = [[*held, *(f"best {s}" for s in chosen), self.target]]
        for p in self.points:
            rows.append([*(short(p.scale[s]) for s in held), *(p.best[s].text() for s in chosen), p.value.text(5)])
        return rows

    def sentences(self) -> list[str]:
        """Return what is said beside the table."""
        said = []
        for symbol, power in self.powers.items():
            where = ", ".join(f"{s} {short(a)} to {short(b)}" for s, (a, b) in power.ranges.items())
            said.append(f"{power.text(symbol)} (over {where}, {_within(power.miss)})")
        for p in self.points:
            at = ", ".join(f"{s} = {short(x)}" for s, x in p.scale.items())
            for symbol, power in self.powers.items():
                if any(not a * (1 - _SLACK) <= p.scale[s] <= b * (1 + _SLACK) for s, (a, b) in power.ranges.items()):
                    said.append(f"at {at}, beyond the grid, that power law gives {symbol} = {short(power.at(p.scale))}")
            for symbol, (half, twice) in p.off.items():
                said.append(f"at {at} half the best {symbol} adds {half.text()} to {self.target}, twice {twice.text()}")
            if p.status == "edge of the mixture":
                left = [s for s, e in p.best.items() if e.value == 0]
                said.append(f"{f'at {at} ' if at else ''}the best mixture has nothing of {', '.join(left)}")
            if p.beyond:
                said.append(f"warning: {at} lies beyond what the law is supported for, in {', '.join(p.beyond)}")
        return said

    def summary(self) -> str:
        """Return what was found, as text."""
        rows = self.rows()
        widths = [max(len(r[k]) for r in rows) for k in range(len(rows[0]))]
        table = ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in rows]
        return "\n".join([self.law, "", *table, "", *self.sentences(), *self.notes])

    def plot(self, ax: Axes | None = None, *, of: str | None = None) -> Axes:
        """Draw a best setting along the first scale variable, with intervals; return the axes.

        Args:
            ax: Axes to draw on; new ones if not given.
            of: The setting; the first if not given.
        """
        from sld.analysis.decisions import style

        chosen = list(self.points[0].best)
        if of is not None and of not in chosen:
            raise UsageError(suggest(of, chosen, kind="setting"))
        with style.style():
            ax = style.axes(ax)
            _draw(self, ax, of or chosen[0])
        return ax

    def save_plot(self, path: str | Path) -> None:
        """Write the picture as PNG, SVG or PDF, a panel for each setting; raises UsageError."""
        from sld.analysis.decisions import style

        chosen = list(self.points[0].best)[:_MOST_PANELS]
        with style.style():
            columns = min(len(chosen), 2)
            figure, panels = style.new_figure(-(-len(chosen) // columns), columns)
            for ax in panels.ravel()[len(chosen) :]:
                ax.set_visible(False)
            for ax, symbol in zip(panels.ravel(), chosen, strict=False):
                _draw(self, ax, symbol)
            style.save(figure, path)

    def __repr__(self) -> str:
        """Return the best settings in a line."""
        points = "; ".join(", ".join(f"{s} = {e.text()}" for s, e in p.best.items()) for p in self.points)
        return f"Tuning({self.target}: {points})"

    def _repr_html_(self) -> str:
        frame: str = self.to_frame().to_html(index=False, float_format=lambda x: short(x, 4))
        return frame


class Tuner:
    """Best settings of one surface at any scale."""

    def __init__(self, surface: Surface, of: Sequence[str] = (), given: Collection[str] = ()) -> None:
        """Say what is chosen: the variables named, or every hyperparameter and share that is not given.

        Raises:
            UsageError: A name is no variable, or the law has nothing to choose.
        """
        self.surface, law = surface, surface.law
        used = {s for c in surface.weights for s in law.expressions[c].used_variables}
        self.variables = [v for v in law.variables if v.symbol in used]
        symbols = [v.symbol for v in self.variables]
        for name in of:
            if name not in symbols:
                raise UsageError(suggest(name, symbols, kind="variable of the law"))
        shares = [v for v in law.variables if v.role == "proportion"]
        if not of:
            of = [v.symbol for v in self.variables if v.role == "hyperparameter"] + [v.symbol for v in shares]
            of = [s for s in of if s not in given]
        if not of:
            has = ", ".join(f"{v.symbol} ({v.role})" for v in self.variables)
            raise UsageError(f"the law has no hyperparameter and no share to choose; say with --of which of {has}")
        self.of = list(of)
        # shares sum to one, so that those which are free are all of them that nobody gives
        self.shares = [v.symbol for v in shares if v.symbol in self.of]
        self.scales = [v for v in self.variables if v.symbol not in self.of]
        self.axes = {v.symbol: axis_of(law, v, surface.group) for v in law.variables if v.symbol in self.of}
        self.axes |= {s: Axis(s, 0.0, 1.0, log=False) for s in self.shares}

    def grid(self, held: Mapping[str, float]) -> list[dict[str, float]]:
        """Return scales over the range of the rows, or of the paper; one alone where that is not known."""
        ranges = {s: e for s, e in seen(self.surface.law, self.surface.group).items() if e[0] < e[1]}
        domain = self.surface.law.provenance.get("domain")
        levels = []
        moving = [v for v in self.scales if v.symbol not in held and v.role == "scale"]
        n = max(2, min(_LEVELS, int(_MOST_POINTS ** (1 / max(len(moving), 1)))))
        for v in moving:
            ends = ranges.get(v.symbol) or (domain.get(v.symbol) if isinstance(domain, Mapping) else None)
            if ends is None:
                raise UsageError(f"say at which {v.symbol} the best settings are wanted, e.g. at {v.symbol}=1e9")
            low, high = float(ends[0]), float(ends[1])
            levels.append(np.geomspace(low, high, n) if low > 0 and v.log is None else np.linspace(low, high, n))
        return [
            {**held, **dict(zip((v.symbol for v in moving), map(float, values), strict=True))}
            for values in itertools.product(*levels)
        ]

    def problem(self, held: Mapping[str, float], zero: Sequence[str] = ()) -> Problem:
        """Return what is to be made small at one scale, some shares being zero."""
        if missing := [v.symbol for v in self.scales if v.symbol not in held]:
            raise UsageError(f"say at which {', '.join(missing)} the best settings are wanted")
        shares = [s for s in self.shares if s not in zero]
        given = sum(x for s, x in held.items() if self._is_share(s))
        if self.shares and not 0 < 1 - given <= 1:
            raise UsageError(
                f"shares that are given sum to {exact(given)}, which leaves none for {', '.join(self.shares)}"
            )
        fixed = {**held, **dict.fromkeys(zero, 0.0)}
        if len(shares) == 1:
            fixed[shares[0]] = 1.0 - given
            shares = []
        free = [a for s, a in self.axes.items() if s not in fixed and s not in self.shares]
        axes = (*(self.axes[s] for s in shares[:-1]), *free)
        if not shares:
            return Problem(self.surface.value, axes, fixed)
        return Problem(
            self.surface.value, axes, fixed, cost=lambda x: sum((x[s] for s in shares), np.zeros(1)),
            closing=self.axes[shares[-1]],
        )  # fmt: skip

    def _is_share(self, symbol: str) -> bool:
        return any(v.symbol == symbol and v.role == "proportion" for v in self.surface.law.variables)

    def solve(self, held: Mapping[str, float]) -> tuple[Problem, Minimum, float, bool]:
        """Return the best settings at a scale: problem, minimum, what free shares sum to, whether a share is zero.

        Raises:
            NoOptimum: There are none within where they are looked for.
        """
        total = 1.0 - sum(x for s, x in held.items() if self._is_share(s))
        zero: list[str] = []
        problem = self.problem(held)
        best = minimum(problem, total)
        for _ in self.shares:
            small = [s for s in self.shares if s not in zero and best.point and best.point[s] < _ZERO]
            if not small:
                break
            less = self.problem(held, [*zero, *small])
            tried = minimum(less, total)
            if not tried.value <= best.value + 1e-9 * abs(best.value):
                break
            zero, problem, best = [*zero, *small], less, tried
        if best.status in ("none", "edge"):
            raise NoOptimum(self._refusal(best, held))
        return problem, best, total, bool(zero)

    def _refusal(self, best: Minimum, held: Mapping[str, float]) -> str:
        at = ", ".join(f"{s} = {short(x)}" for s, x in held.items()) or "any scale"
        if best.status == "none":
            return f"the law has no value anywhere at {at}"
        ends = " and ".join(f"{s} = {short(best.point[s])}" for s in best.falling)
        word = "falls" if self.surface.sign > 0 else "rises"
        if not ends:
            return f"no optimum that can be certified was found at {at}: the law is flat or has a jump there"
        return (
            f"no interior optimum at {at}: {self.surface.name} still {word} towards {ends}, where the search ends; the "
            "law names no best setting there"
        )

    def best(self, held: Mapping[str, float]) -> tuple[Best, Curves | None]:
        """Return the best settings at a scale with their intervals."""
        problem, centre, total, edge = self.solve(held)
        surface = self.surface
        curves = minima(problem, surface.drawn, surface.own, total, centre) if surface.n else None
        known = curves if curves is not None and curves.tell else None
        chosen = {
            s: estimate(centre.point[s], None if known is None or s in problem.held else known.point[s])
            for s in self.of
        }
        value = estimate(surface.sign * centre.value, None if known is None else surface.sign * known.value)
        off = {s: self._off(centre.point, s) for s in self.of if s not in self.shares and self.axes[s].log}
        beyond = tuple(limits(surface.law, surface.group).beyond(centre.point))
        status = "edge of the mixture" if edge else centre.status
        return Best(dict(held), chosen, value, off, beyond, status), known

    def _off(self, point: Mapping[str, float], symbol: str) -> tuple[Estimate, Estimate]:
        """Return what half and twice a setting add to the target, others as they are."""
        x = {s: np.array([v, v, v]) for s, v in point.items()}
        x[symbol] = np.array([point[symbol], point[symbol] / OFF, point[symbol] * OFF])
        centre = self.surface.sign * self.surface.value(x)
        drawn = self.surface.sign * self.surface.drawn(x) if self.surface.n else None
        half, twice = (
            estimate(float(centre[k] - centre[0]), None if drawn is None else drawn[:, k] - drawn[:, 0]) for k in (1, 2)
        )
        return half, twice


def powers_of(tuner: Tuner, found: Sequence[tuple[Best, Curves | None]]) -> dict[str, Power]:
    """Return how each best setting moves with scale; empty where scale does not move, or settings are not positive."""
    scales = [v for v in tuner.scales if v.role == "scale" and v.log is None]
    X = np.array([[math.log(b.scale[v.symbol]) for v in scales] for b, _ in found]) if scales else np.zeros((0, 0))
    moving = [k for k in range(X.shape[1]) if np.ptp(X[:, k]) > 1e-9]
    design = np.column_stack([np.ones(len(found)), X[:, moving]]) if moving else np.zeros((0, 0))
    if not moving or np.linalg.matrix_rank(design) < design.shape[1]:
        return {}
    solve = np.linalg.pinv(design)
    powers = {}
    for symbol in (s for s in tuner.of if s not in tuner.shares and tuner.axes[s].log):
        y = np.log([b.best[symbol].value for b, _ in found])
        fitted = solve @ y
        fitted = np.where(np.abs(fitted) < _NOTHING, 0.0, fitted)
        draws = None
        if all(c is not None for _, c in found):
            each = np.log(np.array([c.point[symbol] for _, c in found if c is not None]))  # (n_points, n_draws)
            draws = solve @ each
        miss = float(np.exp(np.abs(design @ fitted - y).max()))
        names = [scales[k].symbol for k in moving]
        powers[symbol] = Power(
            estimate(float(np.exp(fitted[0])), None if draws is None else np.exp(draws[0])),
            {s: estimate(float(fitted[i + 1]), None if draws is None else draws[i + 1]) for i, s in enumerate(names)},
            miss,
            {
                s: (float(np.exp(X[:, k].min())), float(np.exp(X[:, k].max())))
                for s, k in zip(names, moving, strict=True)
            },
        )
    return powers


def _within(miss: float) -> str:
    """Return how well a power law says what the optima are."""
    return "exact" if miss < 1.0005 else f"right within {short(100 * (miss - 1), 2)} %"


def _draw(tuning: Tuning, ax: Axes, symbol: str) -> None:
    """Draw a best setting along the first scale variable that moves, for a few values of the others."""
    from matplotlib.patches import Patch

    from sld.analysis.decisions import style

    points = tuning.grid if len(tuning.grid) > len(tuning.points) else tuning.points
    scale = next((s for s in points[0].scale if len({p.scale[s] for p in points}) > 1), None)
    if scale is None:
        raise UsageError("a picture needs best settings at several scales; say at which, e.g. at N=1e8,1e9,1e10")
    others = [s for s in points[0].scale if s != scale]
    lines: dict[tuple[float, ...], list[Best]] = {}
    for p in points:
        lines.setdefault(tuple(p.scale[s] for s in others), []).append(p)
    kept = list(dict.fromkeys((0, len(lines) // 2, len(lines) - 1)))
    for k, (which, colour) in enumerate(zip(kept, style.colours(len(kept)), strict=True)):
        at, line = list(lines.items())[which]
        line.sort(key=lambda p: p.scale[scale])
        x = np.array([p.scale[scale] for p in line])
        e = [p.best[symbol] for p in line]
        label = ", ".join(f"{s} = {short(v, 2)}" for s, v in zip(others, at, strict=True)) or f"best {symbol}"
        style.band(ax, x, _ends(e, low=True), _ends(e, low=False), colour)
        ax.plot(x, [i.value for i in e], color=colour, ls=style.LINES[k], marker=style.MARKERS[k], ms=5, label=label)
    ax.set(xscale="log", xlabel=scale, ylabel=f"best {symbol}")
    if all(p.best[symbol].value > 0 for p in points) and symbol in tuning.powers:
        ax.set_yscale("log")
    handles, _ = ax.get_legend_handles_labels()
    if any(p.best[symbol].low is not None for p in points):
        handles.append(Patch(color="0.5", alpha=0.3, lw=0, label=f"{100 * tuning.level:g} % intervals"))
    ax.legend(handles=handles)


def _ends(estimates: Sequence[Estimate], *, low: bool) -> Array:
    return np.array([math.nan if e.low is None or e.high is None else (e.low if low else e.high) for e in estimates])
