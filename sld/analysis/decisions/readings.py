"""What an isoFLOP sweep says: exponents and optima of each approach, the bias of parabolas, which one to believe."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from sld.analysis.decisions.budgets import Sweep
from sld.analysis.decisions.curves import Curve
from sld.analysis.decisions.estimate import Estimate
from sld.analysis.decisions.parabola import Parabola
from sld.analysis.decisions.spans import UNKNOWN, as_json, spoken

if TYPE_CHECKING:
    from pandas import DataFrame

Name = Literal["envelope", "parabolas", "law"]


@dataclass(frozen=True)
class Optimum:
    """The best split of one budget.

    Attributes:
        C: The budget.
        N: Size.
        D: Data.
        loss: What it gives; NaN where an approach does not say.
    """

    C: float
    N: Estimate
    D: Estimate
    loss: Estimate = UNKNOWN

    def to_json(self) -> dict[str, Any]:
        """Return what JSON holds of it."""
        return {"C": self.C, "N": as_json(self.N), "D": as_json(self.D), "loss": as_json(self.loss)}


@dataclass(frozen=True)
class Approach:
    """What one of the three ways says.

    Attributes:
        name: "envelope", "parabolas" or "law".
        status: "ok", or why it gives no exponents: "budgets too few", "no interior minimum".
        reason: The same as a sentence.
        a: Exponent of the size in compute.
        b: Exponent of the data.
        at: The optimum at each budget that was asked for.
        measured: The optimum at the budgets of the sweep that it could use.
    """

    name: Name
    status: str
    reason: str
    a: Estimate
    b: Estimate
    at: tuple[Optimum, ...]
    measured: tuple[Optimum, ...]

    @property
    def ok(self) -> bool:
        """Whether there are exponents."""
        return self.status == "ok"

    def to_json(self) -> dict[str, Any]:
        """Return what JSON holds of it."""
        return {
            "status": self.status,
            "reason": self.reason,
            "a": as_json(self.a),
            "b": as_json(self.b),
            "at": [o.to_json() for o in self.at],
            "measured": [o.to_json() for o in self.measured],
        }


@dataclass(frozen=True)
class Bias:
    """How far parabolas are off on this design without any noise, if the fitted law is right: shares, 0 for not at all.

    Attributes:
        at_budgets: Of the size at each budget of the sweep; NaN where the parabola has no minimum to be used.
        N: Of the size at each budget that was asked for.
        D: Of the data there.
        a: Of the exponent of the size, a difference.
        b: Of the exponent of the data.
    """

    at_budgets: tuple[float, ...]
    N: tuple[float, ...]
    D: tuple[float, ...]
    a: float
    b: float

    def to_json(self) -> dict[str, Any]:
        """Return what JSON holds of it."""
        return {"at_budgets": [*self.at_budgets], "N": [*self.N], "D": [*self.D], "a": self.a, "b": self.b}


@dataclass(frozen=True, repr=False)
class Reading:
    """A sweep of budgets of one group, read in three ways.

    Attributes:
        group: Its name, or "" where rows are not grouped.
        sweep: The rows by budget.
        curve: The fitted law.
        parabolas: One for each budget.
        envelope: Approach 1.
        quadratic: Approach 2.
        law: Approach 3.
        bias: Of approach 2 on this design; None where the law or the parabolas give nothing to compare.
        misfit: Root mean square of what parabolas and law miss the rows by.
        believe: The approach to believe; None where none gives an answer.
        why: Why that one.
        level: Of all intervals.
        notes: What else to know, in sentences.
    """

    group: str
    sweep: Sweep
    curve: Curve
    parabolas: tuple[Parabola, ...]
    envelope: Approach
    quadratic: Approach
    law: Approach
    bias: Bias | None
    misfit: tuple[float, float]
    believe: Name | None
    why: str
    level: float
    notes: tuple[str, ...] = field(default=())

    @property
    def approaches(self) -> tuple[Approach, Approach, Approach]:
        """All three."""
        return self.envelope, self.quadratic, self.law

    @property
    def believed(self) -> Approach | None:
        """The one to believe."""
        return next((a for a in self.approaches if a.name == self.believe), None)

    def __repr__(self) -> str:
        """Return the exponents in a line."""
        said = ", ".join(f"{a.name} a = {spoken(a.a)}" for a in self.approaches if a.ok)
        return f"<isoFLOP sweep of {len(self.sweep.budgets)} budgets: {said or 'no exponents'}; believe {self.believe}>"

    def to_frame(self) -> DataFrame:
        """Return a row for each budget: what was trained, where each approach has its optimum, the parabola's bias."""
        import pandas as pd

        law = {o.C: o for o in self.law.measured}
        rows = []
        for k, p in enumerate(self.parabolas):
            best = law.get(p.budget)
            rows.append(
                {
                    **({"group": self.group} if self.group else {}),
                    "budget": p.budget,
                    "runs": len(p.N),
                    "sizes": p.n_sizes,
                    "lowest_N": float(p.N[p.lowest]),
                    "status": p.status,
                    **_three("parabola_N", p.best_N if p.ok else UNKNOWN),
                    **_three("parabola_D", p.best_D if p.ok else UNKNOWN),
                    "parabola_bias": math.nan if self.bias is None else self.bias.at_budgets[k],
                    **_three("law_N", UNKNOWN if best is None else best.N),
                    **_three("law_D", UNKNOWN if best is None else best.D),
                }
            )
        return pd.DataFrame(rows)

    def to_json(self) -> dict[str, Any]:
        """Return what JSON holds of it."""
        return {
            "group": self.group or None,
            "law": {
                "formula": self.curve.expression.text,
                "constants": dict(self.curve.constants),
                "from": self.curve.name,
            },
            "budgets": [
                {
                    "C": p.budget,
                    "runs": len(p.N),
                    "sizes": p.n_sizes,
                    "status": p.status,
                    "reason": p.reason,
                    "N": as_json(p.best_N),
                    "D": as_json(p.best_D),
                    "loss": p.best_loss,
                }
                for p in self.parabolas
            ],
            "approaches": {a.name: a.to_json() for a in self.approaches},
            "bias": None if self.bias is None else self.bias.to_json(),
            "misfit": {"parabolas": self.misfit[0], "law": self.misfit[1]},
            "believe": self.believe,
            "why": self.why,
            "level": self.level,
            "notes": [*self.notes],
        }


def _three(name: str, estimate: Estimate) -> dict[str, float | None]:
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
