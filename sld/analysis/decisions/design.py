r"""What the runs that there are can and cannot tell, and the cheapest runs that would mend it.

With $J$ the derivatives of the law by the logarithms of its constants at the rows, $\sigma$ the noise and a prior of
one (a factor of e either way) for each constant, the rows leave

$$ P = \left(I + J^\top \Sigma^{-1} J\right)^{-1} , $$

the variances of the logarithms. The prior keeps it finite where rows say nothing: a constant whose variance stays near
one is not determined, whatever refits from its value say (they stay where they start). Runs that mend it are those that
take most of what is left, for their cost.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sld.analysis.decisions.asked import Side
from sld.analysis.decisions.belief import Answer, Belief, Known, Points
from sld.analysis.decisions.candidates import Candidates
from sld.analysis.decisions.cost import find
from sld.core.arrays import Array
from sld.core.numbers import short
from sld.data.table import Table
from sld.fit.kernel import value_and_jacobian
from sld.fit.tape import compile_tape
from sld.laws.law import Law
from sld.laws.uncertainty import Surroundings
from sld.search.screening.design import design_notes

if TYPE_CHECKING:
    import pandas as pd

WELL, POORLY = 0.25, 0.7  # standard deviation of a constant's logarithm: known to a factor of 1.3; hardly known at all
MENDS = 4  # runs that are named
LEAST_SPAN = 4.0  # of these ratios, below which all runs lie on a line
_OFF = 8.0  # how many times off that line a run should be
_SAME = 1e-3  # relative: ratios of tokens to parameters that are one
_ENOUGH = 0.02  # of the variance of the constants in question: a run that takes less mends nothing


@dataclass(frozen=True)
class Spanned:
    """How a variable was varied: its ends, in how many levels, and over how many decades if it is a scale."""

    symbol: str
    low: float
    high: float
    levels: int
    decades: float | None


@dataclass(frozen=True)
class Constant:
    """A constant of a group: how well the rows know its logarithm, and that in a word."""

    group: str
    name: str
    value: float
    spread: float
    known: str


@dataclass(frozen=True)
class Mend:
    """A run that would help.

    Attributes:
        group: Whose.
        point: Where.
        cost: What it costs.
        takes: The share of what is not known of the constants that it takes; None for one that leaves the line on which
            all runs lie, since a law fitted there has no say.
    """

    group: str
    point: Mapping[str, float]
    cost: float
    takes: float | None = None


@dataclass(frozen=True, repr=False)
class DesignCheck:
    """What the runs can and cannot tell.

    Attributes:
        rows: How many runs there are.
        variables: How each was varied.
        ratios: How many different ratios of tokens to parameters there are, where there are such columns.
        ratio_ends: The least and the largest of them.
        condition: Condition number of the logarithms of the scale variables (1 where they vary independently).
        law_condition: The same of what the law's constants do to its values: large where some combinations of them are
            not told by the rows.
        repeats: Points that were run more than once.
        noise: Standard deviation of single runs about the law, relative where `noise_log`.
        constants: What the rows know of each constant.
        mends: The cheapest runs that would help.
        unit: What costs count.
        words: All that is to be said, in sentences.
        notes: Of what was assumed.
    """

    rows: int
    law: str
    variables: tuple[Spanned, ...]
    ratios: int | None
    ratio_ends: tuple[float, float] | None
    condition: float
    law_condition: float
    repeats: int
    noise: float
    noise_log: bool
    constants: tuple[Constant, ...]
    mends: tuple[Mend, ...]
    unit: str
    words: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def to_frame(self) -> pd.DataFrame:
        """Return a row per constant: what the rows know of it."""
        import pandas as pd

        return pd.DataFrame([asdict(c) for c in self.constants])

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON's own types."""
        return asdict(self)

    def summary(self) -> str:
        """Return the check as text."""
        return "\n".join([*self.words, *(f"note: {n}" for n in self.notes)])

    def __repr__(self) -> str:
        """One line: how many rows and constants, and how many of these are known."""
        well = sum(c.known == "determined" for c in self.constants)
        return f"<DesignCheck: {self.rows} runs, {well} of {len(self.constants)} constants determined>"

    def _repr_html_(self) -> str:
        frame: str = self.to_frame().to_html(index=False, float_format=lambda x: short(x, 4))
        return frame


def checked(
    law: Law,
    table: Table,
    sides: Mapping[str, Side],
    candidates: Candidates | None,
    unit: str,
    notes: Sequence[str],
) -> DesignCheck:
    """Return what the runs of a table can and cannot tell of a law.

    Args:
        law: The law.
        table: The runs.
        sides: Name of each group to its law, target and group.
        candidates: Runs that could be made, for what would mend it; None where their cost is not known.
        unit: What the cost counts.
        notes: Of what was assumed.
    """
    variables = tuple(_spanned(table, i) for i in range(len(table.variables)))
    ratios, ratio_ends = _ratios(table)
    constants: list[Constant] = []
    mends: list[Mend] = []
    conditions: list[float] = []
    noise, log = 0.0, False
    for name, side in sides.items():
        about = _Linear(side, _of(table, side))
        noise, log = max(noise, about.noise), about.log
        constants += about.constants()
        conditions.append(about.condition())
        if candidates is not None:
            mends += about.mends(candidates, name)
    mends.sort(key=lambda m: m.cost / (m.takes or 1.0))
    if ratio_ends is not None and ratio_ends[1] < LEAST_SPAN * ratio_ends[0] and candidates is not None:
        mends = [*_off_the_line(table, candidates, ratio_ends), *mends]
    _, counts = np.unique(table.points(), return_counts=True)
    found = DesignCheck(
        table.n_rows, law.text(next(iter(sides.values())).target), variables, ratios, ratio_ends, _condition(table),
        max(conditions, default=math.nan), int((counts > 1).sum()), noise, log, tuple(constants),
        tuple(mends[:MENDS]), unit, (), tuple(notes),
    )  # fmt: skip
    words = tuple(_words(found, table))
    return DesignCheck(**{**found.__dict__, "words": words})


def _of(table: Table, side: Side) -> Table:
    if not side.law.grouped or side.group not in table.groups:
        return table
    return table.of_group(side.group)


def _spanned(table: Table, i: int) -> Spanned:
    v, x = table.variables[i], table.X[:, i]
    low, high = float(x.min()), float(x.max())
    decades = None
    if v.role == "scale":
        decades = (high - low) / v.units_per_decade if v.log else math.log10(high / low) if low > 0 else math.nan
    return Spanned(v.symbol, low, high, len(np.unique(x)), decades)


def _ratios(table: Table) -> tuple[int | None, tuple[float, float] | None]:
    size, data = find(table.variables, "N"), find(table.variables, "D")
    if size is None or data is None or size.log or data.log:
        return None, None
    ratio = np.sort(table.column(data.symbol) / table.column(size.symbol))
    levels = 1 + int((np.diff(np.log(ratio)) > _SAME).sum())
    return levels, (float(ratio[0]), float(ratio[-1]))


def _off_the_line(table: Table, candidates: Candidates, ends: tuple[float, float]) -> list[Mend]:
    """Return two runs of usual cost whose ratio of tokens to parameters is far below and far above those there are."""
    size, data = find(table.variables, "N"), find(table.variables, "D")
    assert size is not None and data is not None
    ratio = candidates.columns[data.symbol] / candidates.columns[size.symbol]
    usual = math.log(float(np.median(table.column(size.symbol) * table.column(data.symbol))))
    away = np.abs(np.log(candidates.columns[size.symbol] * candidates.columns[data.symbol]) - usual)
    found = []
    for off in (ends[0] / ratio, ratio / ends[1]):
        can = off >= _OFF
        if can.any():
            i = int(np.argmin(np.where(can, away + np.log(np.maximum(off, 1.0) / _OFF), math.inf)))
            found.append(Mend(candidates.group(i), candidates.point(i), float(candidates.cost[i])))
    return found


def _condition(table: Table) -> float:
    """Return the condition number of the scale variables' logarithms, each with variance one."""
    logs = []
    for i, v in enumerate(table.variables):
        x = table.X[:, i]
        if v.role == "scale" and np.ptp(x) > 0:
            logs.append(x * v.nats_per_unit if v.log else np.log(x))
    if len(logs) < 2:
        return 1.0
    eigenvalues = np.linalg.eigvalsh(np.corrcoef(np.array(logs)))
    return math.sqrt(eigenvalues[-1] / eigenvalues[0]) if eigenvalues[0] > 1e-14 else math.inf


class _Linear:
    """A law in one group, to first order in the logarithms of its constants."""

    def __init__(self, side: Side, table: Table) -> None:
        law = side.law
        self.side = side
        around = Surroundings(law, [t.column for t in law.targets].index(side.target), side.group)
        self.around, self.log = around, around.scale.log
        settings = law.settings[side.target]
        self.expression = law.expressions[side.target]
        held = {*settings.pinned, *settings.tied}
        self.names = [c for c in self.expression.constants if c not in held]
        self.values = law.constants[side.target][side.group]
        columns = {v.symbol: np.ascontiguousarray(table.column(v.symbol)) for v in law.variables}
        J = self.derivatives(columns)
        at = around.at(columns)
        single = np.where(np.isfinite(at.noise), at.noise, np.nan)
        self.noise = float(np.nanmedian(single)) if np.isfinite(single).any() else math.nan
        # rows without known noise say nothing
        own = np.where(np.isfinite(single), np.maximum(single, 1e-12), math.inf)
        weighed = J / own[:, None]
        self.J = J
        self.P = np.linalg.inv(np.eye(len(self.names)) + weighed.T @ weighed)

    def derivatives(self, columns: Mapping[str, Array]) -> Array:
        """Return (n, n_constants) derivatives of the values, on the scale of the errors, by logarithms of constants."""
        n = len(next(iter(columns.values())))
        tape = compile_tape(self.expression, shared=(), project=False)
        theta = np.array([[self.values[c] for c in tape.constants]])
        found, jacobian = value_and_jacobian(tape, np.ascontiguousarray(tape.column_values(columns, n)), theta)
        J = np.asarray(jacobian[0]).T
        J = J[:, [tape.constants.index(c) for c in self.names]] * np.abs([self.values[c] for c in self.names])
        if self.log:
            J = J / np.asarray(found[0])[:, None]
        return np.asarray(np.nan_to_num(J, nan=0.0, posinf=0.0, neginf=0.0))

    def condition(self) -> float:
        """Return the condition number of the derivatives, each to length one."""
        if not self.names:
            return 1.0
        J = self.J / np.maximum(np.linalg.norm(self.J, axis=0), 1e-300)
        singular = np.linalg.svd(J, compute_uv=False)
        few = len(J) < len(self.names) or singular[-1] <= 1e-12 * singular[0]
        return math.inf if few else float(singular[0] / singular[-1])

    def constants(self) -> list[Constant]:
        """Return what the rows know of each constant."""
        found = []
        for name, variance in zip(self.names, np.diag(self.P), strict=True):
            spread = math.sqrt(float(variance))
            known = "determined" if spread <= WELL else "poorly determined" if spread <= POORLY else "not determined"
            found.append(Constant(self.side.group, name, self.values[name], spread, known))
        return found

    def mends(self, candidates: Candidates, name: str) -> list[Mend]:
        """Return the runs that take most of what is not known of the constants in question, for their cost."""
        spread = np.sqrt(np.diag(self.P))
        asked = np.flatnonzero(spread > WELL)
        rows = np.flatnonzero(np.array([candidates.groups[g] == name for g in candidates.group_index]))
        if not len(asked) or not len(rows) or not math.isfinite(self.noise):
            return []
        root = np.linalg.cholesky(self.P + 1e-15 * np.eye(len(self.P)))
        columns = {s: np.ascontiguousarray(x[rows]) for s, x in candidates.columns.items()}
        features = self.derivatives(columns) @ root
        n = len(rows)
        points = Points(features, np.zeros((n, 1)), np.zeros(n), np.zeros(n, dtype=np.intp))
        answers = [Answer(self.names[k], 0.0, "value", None, np.zeros(0), root[k]) for k in asked]
        at = self.around.at(columns)
        noise = np.maximum(np.nan_to_num(at.noise, nan=self.noise, posinf=self.noise) ** 2, 1e-18)
        state = Known.before(Belief(points, noise, tuple(answers), np.ones(len(answers))))
        cost, whole = candidates.cost[rows], state.total
        found: list[Mend] = []
        left = np.ones(n, dtype=np.bool_)
        for _ in range(MENDS):
            gains = np.where(left, state.gains(), 0.0)
            # cheap ones that mend nothing are no help
            worth = gains >= max(_ENOUGH * whole, 0.2 * float(gains.max()))
            if not worth.any() or math.sqrt(float(state.left.max())) <= WELL:
                break
            i = int(np.argmax(np.where(worth, gains / np.sqrt(cost), -1.0)))
            found.append(Mend(name, candidates.point(int(rows[i])), float(cost[i]), float(gains[i]) / whole))
            state = state.seen(i)
            left[i] = False
        return found


def _words(found: DesignCheck, table: Table) -> list[str]:
    words = [f"{found.rows} runs"]
    for v in found.variables:
        over = "" if v.decades is None else f", {short(v.decades)} decades"
        levels = f"{v.levels} level" + "s" * (v.levels != 1)
        words.append(f"{v.symbol}: {levels} from {short(v.low)} to {short(v.high)}{over}")
    if found.ratios is not None and found.ratio_ends is not None:
        low, high = found.ratio_ends
        one = found.ratios == 1
        words.append(
            f"one ratio of tokens to parameters ({short(low)}): size and data cannot be told apart"
            if one
            else f"{found.ratios} ratios of tokens to parameters, from {short(low)} to {short(high)}"
        )
    if found.condition > 1:
        far = "they cannot be told apart" if found.condition > 1e4 else f"condition number {short(found.condition)}"
        words.append(f"logarithms of the scale variables: {far} (1 is best, above 10 is poor)")
    about = "infinite" if math.isinf(found.law_condition) else short(found.law_condition)
    words.append(f"constants of the law: condition number {about} (above 1,000 some only go together)")
    if found.repeats:
        words.append(f"{found.repeats} points were run more than once")
    else:
        words.append("no point was run twice: the noise is known from the law only")
    unit = " %" if found.noise_log else ""
    if math.isfinite(found.noise):
        words.append(f"single runs lie {short(found.noise * (100 if found.noise_log else 1), 2)}{unit} about the law")
    words += _about_constants(found)
    words += [n[0].upper() + n[1:] for n in design_notes(table)]
    for m in found.mends:
        where = ", ".join(f"{s} = {short(x)}" for s, x in m.point.items())
        of = f" in {m.group}" if m.group != "all" else ""
        does = "leaves the line of all runs" if m.takes is None else f"takes {100 * m.takes:.0f} % of what is not known"
        words.append(f"a run at {where}{of} (cost {short(m.cost)}) {does}")
    return words


def _about_constants(found: DesignCheck) -> list[str]:
    words = []
    for known in ("not determined", "poorly determined", "determined"):
        names = [
            (c.name if c.group == "all" else f"{c.name} ({c.group})") + f" to a factor of {short(math.exp(c.spread))}"
            for c in found.constants
            if c.known == known
        ]
        if names:
            shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
            words.append(f"{known}: {shown}")
    return words
