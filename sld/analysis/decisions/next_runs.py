"""Which runs to pay for next: a plan, what each run is expected to do to what was asked, and when to stop."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sld.analysis.decisions import style
from sld.analysis.decisions.asked import Side
from sld.analysis.decisions.belief import Answer, Belief, Known, Parts, Points
from sld.analysis.decisions.candidates import Candidates
from sld.analysis.decisions.choosing_runs import GUARD, Choice, Rules, choose
from sld.analysis.decisions.estimate import LEVEL
from sld.core.arrays import Array, Rows
from sld.core.errors import UsageError
from sld.core.numbers import exact, short
from sld.laws.interval_record import about_target

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_DECADES = 30.0  # from the first run's cost to all: wider than that money is on a logarithmic axis
_APART = 100.0  # of the places of two groups: a run of one fills nothing in another


@dataclass(frozen=True)
class Asked:
    """A number that was asked for, and what the plan is expected to make of its interval.

    Attributes:
        name: What it is.
        value: What the law says.
        low: Lower end of its interval now; None where nothing is known of it.
        high: Upper end.
        kind: "value" (a width is a difference, in the units of the target) or "ratio" (a width is the factor between
            the ends, less 1).
        width: Of the interval now.
        expected: Of the interval after the whole plan.
    """

    name: str
    value: float
    low: float | None
    high: float | None
    kind: str
    width: float
    expected: float


@dataclass(frozen=True)
class PlannedRun:
    """One run of a plan.

    Attributes:
        batch: Which of the runs at one time it belongs to, from 1.
        group: Whose run it is; "all" where rows are not grouped.
        point: Symbol to value of every variable.
        cost: What it costs; `spent` what it and those before it cost.
        repeat: 1 for the first run at this point in the plan, 2 for the second.
        fills: Whether it was chosen because nothing is known nearby, not for what a formula says.
        widths: Expected widths of the intervals asked for, after it and those before it.
        row: Its number in the pool or table of candidates, from 1; None on a grid.
    """

    batch: int
    group: str
    point: Mapping[str, float]
    cost: float
    spent: float
    repeat: int
    fills: bool
    widths: tuple[float, ...]
    row: int | None = None


@dataclass(frozen=True, repr=False)
class NextRuns:
    """Which runs to pay for next.

    Attributes:
        goal: What was asked: "points", "allocation", "comparison" or "exponents".
        law: The formula that the plan rests on, in words where there is none yet.
        asked: The numbers that were asked for.
        runs: The plan, what teaches most for its cost first.
        budget: What there was to spend, in `unit`; `spent` what the plan costs.
        cost: The formula of what a run costs.
        candidates: Among how many it was chosen.
        until: Width below which nothing more is paid for; None without one.
        reached: Whether the plan is expected to get there; None without one.
        notes: What a reader should know, in sentences.
    """

    goal: str
    law: str
    asked: tuple[Asked, ...]
    runs: tuple[PlannedRun, ...]
    budget: float
    unit: str
    cost: str
    candidates: int
    until: float | None = None
    reached: bool | None = None
    notes: tuple[str, ...] = ()

    @property
    def spent(self) -> float:
        """What the plan costs."""
        return self.runs[-1].spent if self.runs else 0.0

    @property
    def done(self) -> bool:
        """Whether nothing has to be run: the interval is narrow enough already."""
        return self.until is not None and bool(self.reached) and not self.runs

    def to_frame(self) -> pd.DataFrame:
        """Return a row per run, in order: variables, group, cost, and the expected width of each interval."""
        import pandas as pd

        rows = []
        grouped = any(run.group != "all" for run in self.runs)
        for k, run in enumerate(self.runs, start=1):
            widths = {f"width {a.name}": w for a, w in zip(self.asked, run.widths, strict=True)}
            own = {"group": run.group} if grouped else {}
            row = {} if run.row is None else {"row": run.row}
            rows.append({"run": k, "batch": run.batch, **row, **own, **run.point, "cost": run.cost,
                         "spent": run.spent, "fills": run.fills, **widths})  # fmt: skip
        return pd.DataFrame(rows)

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON's own types."""
        return {
            "goal": self.goal, "law": self.law, "budget": self.budget, "spent": self.spent, "unit": self.unit,
            "cost": self.cost, "candidates": self.candidates, "level": LEVEL, "until": self.until,
            "reached": self.reached, "done": self.done, "asked": [asdict(a) for a in self.asked],
            "runs": [asdict(r) for r in self.runs], "notes": list(self.notes),
        }  # fmt: skip

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """Return header and rows of the plan for people."""
        symbols = list(self.runs[0].point) if self.runs else []
        grouped = any(run.group != "all" for run in self.runs)
        batches = any(run.batch != k for k, run in enumerate(self.runs, start=1))
        numbered = any(run.row is not None for run in self.runs)
        header = ["run", *(["batch"] if batches else []), *(["row"] if numbered else []),
                  *(["group"] if grouped else []), *symbols, "cost", "spent", "expected width"]  # fmt: skip
        rows = []
        for k, run in enumerate(self.runs, start=1):
            about = " (fills a gap)" if run.fills else f" (run {run.repeat} at this point)" if run.repeat > 1 else ""
            rows.append([
                str(k), *([str(run.batch)] if batches else []), *([str(run.row)] if numbered else []),
                *([run.group] if grouped else []), *(short(run.point[s]) for s in symbols),
                short(run.cost), short(run.spent), short(max(run.widths)) + about,
            ])  # fmt: skip
        return header, rows

    def sentences(self) -> list[str]:
        """Return what the plan does to what was asked, in sentences."""
        found = []
        for a in self.asked[:_SHOWN]:
            ends = "" if a.low is None or a.high is None else f", between {short(a.low)} and {short(a.high)}"
            unit = "a factor of " if a.kind == "ratio" else ""
            now, then = (1 + w if a.kind == "ratio" else w for w in (a.width, a.expected))
            wide = f"width {unit}{short(now)} now, {short(then)} expected after the plan" if self.runs else (
                f"width {unit}{short(now)}"
            )  # fmt: skip
            found.append(f"{a.name}: {short(a.value)}{ends}; {wide}")
        if len(self.asked) > _SHOWN:
            found.append(f"and {len(self.asked) - _SHOWN} more; the table shows the widest")
        if self.done:
            found.append(f"nothing to run: every interval is narrower than {exact(self.until)} already")
        elif self.reached is not None:
            can = "is expected to get" if self.reached else "does not get"
            found.append(f"the plan {can} every interval below {exact(self.until)}")
        return found

    def summary(self) -> str:
        """Return the plan as text."""
        header, rows = self.rows()
        lines = [*self.sentences(), ""]
        if rows:
            widths = [max(len(r[k]) for r in (header, *rows)) for k in range(len(header))]
            lines += ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in (header, *rows)]
        return "\n".join([*lines, *(f"note: {n}" for n in self.notes)])

    def __repr__(self) -> str:
        """One line: how many runs, what they cost and what was asked."""
        return f"<NextRuns: {len(self.runs)} runs for {short(self.spent)} of {short(self.budget)}, for {self.goal}>"

    def _repr_html_(self) -> str:
        frame: str = self.to_frame().to_html(index=False, float_format=lambda x: short(x, 4))
        return frame

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw how the intervals asked for are expected to narrow as money is spent; returns the axes."""
        ax = style.axes(ax)
        with style.style():
            spent = [run.spent for run in self.runs]
            shown = self.asked[: len(style.LINES)]
            looks = zip(style.LINES, style.MARKERS, style.colours(len(shown)), strict=False)
            for k, (a, (line, marker, colour)) in enumerate(zip(shown, looks, strict=False)):
                widths = [run.widths[k] for run in self.runs]
                ax.plot(spent, widths, linestyle=line, marker=marker, ms=4, color=colour, label=a.name)
                ax.axhline(a.width, color=colour, lw=1, alpha=0.6, linestyle=line)
                ax.annotate("now", (0, a.width), xycoords=("axes fraction", "data"), xytext=(4, 2),
                            textcoords="offset points", color=colour, fontsize=8)  # fmt: skip
            if spent and spent[-1] > _DECADES * spent[0]:
                ax.set_xscale("log")
            if self.until is not None:
                ax.axhline(self.until, color=style.ACCENT, lw=1, ls=":")
                ax.annotate(f"wanted: {exact(self.until)}", (1, self.until), xycoords=("axes fraction", "data"),
                            ha="right", va="bottom", color=style.ACCENT)  # fmt: skip
            ratio = all(a.kind == "ratio" for a in shown)
            ax.set_xlabel(f"spent ({self.unit})")
            ax.set_ylabel("width of the interval" + (" (factor less 1)" if ratio else ""))
            ax.set_ylim(bottom=0)
            ax.legend()
        return ax

    def save_plot(self, path: str | Path) -> None:
        """Write the picture as PNG, SVG or PDF, by the end of the file's name."""
        with style.style():
            figure, axes = style.new_figure()
            self.plot(axes[0, 0])
            style.save(figure, path)


_SHOWN = 6  # answers that are written out


@dataclass(frozen=True)
class Wish:
    """How a plan is to be made.

    Attributes:
        budget: What it may cost.
        slots: Runs at one time.
        runs: How many at most; None for any number.
        guard: Share of the budget for filling what is empty.
        until: Width below which nothing more is paid for; None to spend the budget.
    """

    budget: float
    slots: int = 1
    runs: int | None = None
    guard: float = GUARD
    until: float | None = None


def widths(answers: Sequence[Answer], shares: Array) -> tuple[float, ...]:
    """Return the widths of intervals of which the standard deviation is a share (n_answers,) of what it is now."""
    found = []
    for a, share in zip(answers, shares, strict=True):
        if a.kind == "ratio":
            found.append(float((a.high / a.low) ** share - 1) if a.low > 0 else math.nan)
        else:
            found.append(float((a.high - a.low) * share))
    return tuple(found)


def importance_of(answers: Sequence[Answer]) -> Array:
    """Return what the variance of each answer counts: alike where they have one unit, else by what it is now."""
    if len({(a.kind, a.name.partition(" at ")[0]) for a in answers}) == 1 and all(a.kind == "value" for a in answers):
        return np.ones(len(answers))
    return np.array([1.0 / max(a.variance(), 1e-300) for a in answers])


def belief_of(parts: Parts, sides: Mapping[str, Side], candidates: Candidates, answers: Sequence[Answer]) -> Belief:
    """Return what is believed of candidates and answers.

    Args:
        parts: Laws and groups; everything that answers are made of is among them already.
        sides: Name of each group of the candidates to its law.
        candidates: The runs that could be made.
        answers: What is asked for.
    """
    found: list[Points] = []
    order: list[Rows] = []
    noise = np.empty(candidates.n)
    for g, name in enumerate(candidates.groups):
        rows = np.flatnonzero(candidates.group_index == g)
        if not len(rows):
            continue
        side = sides[name]
        part = parts.part(side.law, side.target, side.group)
        columns = {s: np.ascontiguousarray(x[rows]) for s, x in candidates.columns.items()}
        points, noise[rows], _ = parts.points(part, columns)
        found.append(points)
        order.append(rows)
    back = np.argsort(np.concatenate(order), kind="stable")
    return Belief(Points.joined(found).take(back), noise, tuple(answers), importance_of(answers))


def places(parts: Parts, columns: Mapping[str, Array], group_index: Rows, n_groups: int) -> Array:
    """Return (n, k) where runs are, those of different groups far from each other."""
    place = parts.place(columns)
    one_hot = _APART * np.eye(n_groups)[group_index.astype(np.intp)]
    return np.hstack([place, one_hot])


def _stretch(fitted: tuple[float, float] | None, more: int) -> float:
    """Return what so many more runs make of the stretch of refits."""
    if fitted is None:
        return 1.0
    rows, constants = fitted
    now, then = (n / max(n - constants, 1.0) for n in (rows, rows + more))
    return math.sqrt(then / now)


def fitted_rows(sides: Iterable[Side]) -> tuple[float, float]:
    """Return how many rows are behind laws in their groups, and how many constants these have taken."""
    rows = constants = 0.0
    for side in sides:
        about = about_target(side.law, side.target)
        rows += float(about["rows"][side.group])
        constants += float(about["rows"][side.group]) - float(about["free"][side.group])
    return rows, constants


def asked_places(answers: Sequence[Answer], numbers: Mapping[int, int], n_groups: int) -> Array:
    """Return (n, k) where something is asked about, as `places` has it; `numbers` takes sources to groups."""
    found = [np.zeros((0, 0))]
    for a in answers:
        if a.probes is not None:
            groups = np.array([numbers[int(s)] for s in a.probes.source], dtype=np.intp)
            found.append(np.hstack([a.probes.place, _APART * np.eye(n_groups)[groups]]))
    return np.vstack(found[1:]) if len(found) > 1 else found[0]


def planned(
    belief: Belief,
    candidates: Candidates,
    place: Array,
    known: Array,
    wish: Wish,
    asked_at: Array | None = None,
    fitted: tuple[float, float] | None = None,
) -> tuple[Choice, tuple[Asked, ...], tuple[PlannedRun, ...]]:
    """Return the plan, and what it is expected to do to what was asked.

    What is stated holds where one of the forms is right: misfit decides which runs are chosen, and is in no interval of
    the law. With n rows and c constants spreads are stretched by the root of n / (n - c), which falls as runs come in.

    Args:
        belief: What is believed of candidates and answers.
        candidates: The runs that could be made.
        place: (n, k) where they are.
        known: (n_known, k) where runs are already.
        wish: How the plan is to be made.
        asked_at: (n_asked, k) where something is asked about.
        fitted: Rows and constants of the law (of all groups); None where nothing is fitted yet.

    Raises:
        UsageError: An answer has no interval, so that nothing can be said of it.
    """
    answers = belief.answers
    for a in answers:
        if not (math.isfinite(a.low) and math.isfinite(a.high)):
            raise UsageError(
                f"nothing is known of how far off {a.name} may be, so no plan can be made for it; ask for a "
                "prediction instead"
            )
    prior = np.maximum(belief.prior, 1e-300)

    def narrow(left: Array) -> bool:
        shares = np.sqrt(np.minimum(left / prior, 1.0))
        return wish.until is not None and max(widths(answers, shares)) <= wish.until

    rules = Rules(
        wish.budget, candidates.most, wish.runs, wish.guard if wish.until is None else 0.0,
        None if wish.until is None else narrow,
    )  # fmt: skip
    choice = choose(belief, candidates.cost, place, known, rules, asked_at)
    stated = belief.stated()
    state = Known.before(stated)
    after = [widths(answers, np.ones(len(answers)))]
    for i in choice.chosen:
        state = state.seen(i)
        share = np.sqrt(np.minimum(state.left / np.maximum(stated.prior, 1e-300), 1.0))
        after.append(widths(answers, share * _stretch(fitted, len(after))))
    chosen = choice.chosen
    if wish.until is not None:
        # misfit makes a plan longer than what is stated asks for
        enough = next((k for k, w in enumerate(after) if max(w) <= wish.until), len(chosen))
        chosen, after = chosen[:enough], after[: enough + 1]
    asked = tuple(
        Asked(a.name, a.value, a.low, a.high, a.kind, now, then)
        for a, now, then in zip(answers, after[0], after[-1], strict=True)
    )
    runs = []
    spent, times = 0.0, dict[int, int]()
    for k, i in enumerate(chosen):
        spent += float(candidates.cost[i])
        times[i] = times.get(i, 0) + 1
        numbered = candidates.numbers is not None
        runs.append(
            PlannedRun(
                k // wish.slots + 1, candidates.group(i), candidates.point(i), float(candidates.cost[i]), spent,
                times[i], i in choice.guards and times[i] == 1, after[k + 1],
                int(candidates.numbers[i]) + 1 if numbered and candidates.numbers is not None else None,
            )
        )  # fmt: skip
    return choice, asked, tuple(runs)
