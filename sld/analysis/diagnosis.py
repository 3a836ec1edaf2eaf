"""How firm a fit is: fitted again from fresh starts, with other losses, without the ends of the table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from sld.analysis import effects
from sld.analysis.intervals import Interval, drawn_rows
from sld.analysis.sections import main_variable
from sld.core.errors import SldError
from sld.core.numbers import short
from sld.data.axes import levels, position
from sld.data.table import Table

if TYPE_CHECKING:
    from sld.fit.fitting import FitResult, Loss
    from sld.laws.fit_settings import FitSettings
    from sld.laws.law import Law
    from sld.search.outcome import Discovery

_STARTS = 32
_MOST_FITS = 320  # starts times groups, of those that have constants in common
_ILL = 1e4  # condition number from which constants trade off against each other
_SAME = 1e-3  # relative difference in error below which two fits are one
_RUNGS = 8
_HOPELESS = 1e4  # factor within which a constant is known


@dataclass(frozen=True)
class Diagnosis:
    """What refits say about the fit of one target.

    Attributes:
        status: "ok", or why no refit could be made.
        n_starts: Fresh starts.
        n_at_best: How many of them reached the best value (the worst group counts).
        better: Relative gain in error of the best refit over the law; 0 when it is the same optimum.
        condition: Condition number of the Jacobian, scaled by the constants.
        residual_sd: Root mean square of the law's residuals.
        nmse: Mean squared error over variance on the rows fitted to.
        where: The point at which changes are quoted, or "" without one.
        changes: Relative change of the prediction there under another choice, by choice.
        at_bounds: Constants of the law that lie on a declared bound in some group.
        comparable: Whether a refit does all that the fit did: where the law follows points beside the rows it does not.
    """

    status: str
    n_starts: int
    n_at_best: int
    better: float
    condition: float
    residual_sd: float
    nmse: float
    where: str
    changes: Mapping[str, float]
    at_bounds: tuple[str, ...] = ()
    comparable: bool = True

    def sentences(self, intervals: Mapping[str, Mapping[str, Interval | None]]) -> list[str]:
        """Say it in words; `intervals` are those of the constants, by group."""
        found = [f"The residuals have a standard deviation of {short(self.residual_sd)}."]
        if self.status != "ok":
            return [*found, f"It could not be fitted again: {self.status}."]
        if not self.comparable:
            found.append(
                f"Fitted again to the rows alone, {self.n_at_best} of {self.n_starts} random starts reached the best "
                "error; the law follows other laws beyond the rows as well, and so misses these by more."
            )
        elif self.better > _SAME:
            gain = f"{short(100 * self.better, 2)} % lower"
            found.append(
                f"Fitted again from {self.n_starts} random starts, another optimum has an error {gain} on these rows; "
                "the constants above were kept because they pass the physical checks or were found on fewer rows."
            )
        else:
            found.append(f"Fitted again, {self.n_at_best} of {self.n_starts} random starts reached the best error.")
        ill = self.condition > _ILL
        firm = "some constants trade off against each other" if ill else "the rows determine the constants"
        found.append(f"Condition number {short(self.condition, 2)}: {firm}.")
        if self.at_bounds:
            found.append(f"On a declared bound: {', '.join(f'`{c}`' for c in self.at_bounds)}.")
        if loosest := _loosest(intervals):
            found.append(loosest)
        if self.changes:
            parts = [f"{short(100 * change, 2)} % {choice}" for choice, change in self.changes.items()]
            found.append(f"The prediction at {self.where} changes by " + ", ".join(parts) + ".")
        return found


def diagnose(found: Discovery, target: int) -> Diagnosis:
    """Refit the law of one target and compare."""
    law = found.law
    rows = drawn_rows(found.table, 0)
    table = found.table if len(rows) == found.table.n_rows else found.table.take(rows)
    y = table.Y[:, target]
    residual = y - law.by_formula(table)[:, target]
    mse = float(np.mean(residual**2))
    variance = float(np.var(y)) or 1.0
    settings = law.settings[law.targets[target].column]
    at_bounds = settings.at_bounds(law.constants[law.targets[target].column])
    fit = _Refit(law, target)
    starts = max(8, min(_STARTS, _MOST_FITS // len(table.groups))) if settings.shared else _STARTS
    again = fit(table, starts=starts)
    if isinstance(again, str):
        return Diagnosis(again, starts, 0, 0.0, math.nan, math.sqrt(mse), mse / variance, "", {}, at_bounds)
    # rows weigh as they did in the fit: least squares of all rows alike would always look better
    weights = settings.row_weights(table, target)
    own, best = (float(np.average(r**2, weights=weights)) for r in (residual, y - again.prediction))
    plain = settings.loss == "squared" and settings.pooling == "none" and not settings.points
    where, changes = fit.changes(table)
    return Diagnosis(
        status="ok",
        n_starts=starts,
        n_at_best=again.n_at_best,
        # of another loss, or pooled, squares are not what was made small
        better=max(0.0, 1.0 - best / own) if plain and mse > 1e-20 * variance else 0.0,
        condition=again.condition,
        residual_sd=math.sqrt(mse),
        nmse=mse / variance,
        where=where,
        changes=changes,
        at_bounds=at_bounds,
        comparable=not settings.points,
    )


class _Refit:
    """Refits of one target of a law, with its own settings but for the loss."""

    def __init__(self, law: Law, target: int) -> None:
        self.law, self.target = law, target
        self.column = law.targets[target].column
        self.expression = law.expressions[self.column]
        self.settings = law.settings[self.column]

    def __call__(
        self, table: Table, *, starts: int = 8, settings: FitSettings | None = None, inherit: bool = False
    ) -> FitResult | str:
        """Return the fit, or the sentence that says why there is none."""
        constants = self.law.constants[self.column]
        try:
            result = (settings or self.settings).fit(
                self.expression, table, target=self.target, starts=starts, inherit=constants if inherit else None
            )
        except SldError as error:
            return str(error)
        return result if result.ok else result.status

    def changes(self, table: Table) -> tuple[str, dict[str, float]]:
        """Return where, and by how much the prediction there changes under other choices."""
        reach = effects.beyond([self.law], table)
        if reach is None:
            return "", {}
        here = float(reach.predictions[0, 1, self.target])
        found = {}
        for choice, rows, settings in self._others(table):
            again = self(rows, starts=2 if settings.shared else 8, settings=settings, inherit=True)
            if isinstance(again, str) or reach.points.groups[0] not in again.constants:
                continue
            law = self._with(again.constants, reach.points.groups[0])
            there = float(law.by_formula(reach.points)[1, 0])
            if math.isfinite(there) and math.isfinite(here) and here != 0:
                found[choice] = abs(there / here - 1)
        return reach.where[1], found

    def _others(self, table: Table) -> list[tuple[str, Table, FitSettings]]:
        """Return other choices in words, with their rows and settings."""
        own = self.settings
        squared, plain = own.loss == "squared", replace(own, delta=None)
        other: Loss = "huber" if squared else "squared"
        found = [("with Huber's loss" if squared else "with squared errors", table, replace(plain, loss=other))]
        if own.points:
            found.append(("when fitted to the rows alone", table, own))
        if own.weights:
            found.append(("with all rows weighted alike", table, replace(own, weights=())))
        if own.loss != "log" and (table.Y[:, self.target] > 0).all():
            found.append(("with squared errors of logarithms", table, replace(plain, loss="log")))
        main = main_variable(self.law, table)
        z, same = position(table, main)
        level = levels(z, same, _RUNGS)
        if level.max() >= 3:
            found.append((f"without the lowest rung of {main.symbol}", table.take(level > 0), own))
            found.append((f"without the highest rung of {main.symbol}", table.take(level < level.max()), own))
        return found

    def _with(self, constants: Mapping[str, Mapping[str, float]], group: str) -> Law:
        return replace(
            self.law,
            expressions={self.column: self.expression},
            constants={self.column: {group: constants[group]}},
            targets=(self.law.targets[self.target],),
            intervals=None,
        )


def _loosest(intervals: Mapping[str, Mapping[str, Interval | None]]) -> str:
    known = [(n, group, ends) for group, of in intervals.items() for n, ends in of.items() if ends is not None]
    widths = [
        (high / low if low > 0 else low / high, name, group)
        for name, group, (low, high) in known
        if math.isfinite(low) and math.isfinite(high) and low * high > 0
    ]
    signs = sorted({n for n, _, (low, high) in known if not low * high > 0})
    unknown = sorted({n for of in intervals.values() for n, ends in of.items() if ends is None})
    said = ""
    if widths:
        ratio, name, group = max(widths)
        where = f" (group {group})" if len(intervals) > 1 else ""
        how = f"known within a factor of {short(ratio)}" if ratio < _HOPELESS else "hardly determined at all"
        said = f"The least certain constant is `{name}`{where}, {how}."
    for names, what in ((signs, "The sign of {} is not certain"), (unknown, "How certain {} is is not known")):
        if names:
            everywhere = " in every group" if len(intervals) > 1 else ""
            said += " " + what.format(", ".join(f"`{n}`" for n in names)) + f"{everywhere}."
    return said.strip()
