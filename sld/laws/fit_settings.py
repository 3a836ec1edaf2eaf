"""How the constants of a formula are fitted to one target: one record for whoever fits them again.

The record travels with a law from the fit into `law.json`. Intervals, diagnosis, report and plots refit with exactly
what it says, so that their refits are comparable with the estimate; nothing is guessed from where a law came from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sld.core.errors import DataError, UsageError, suggest
from sld.core.numbers import exact
from sld.core.toml import Keys, kind_of
from sld.fit.fitter import Fitter, Prior, form_seed
from sld.fit.fitting import (
    ENVELOPE_SHARE,
    HUBER_DELTA_LOG,
    HUBER_DELTA_SIGMA,
    LOSSES,
    POOLINGS,
    FitResult,
    Loss,
    Pooling,
    envelope_weights,
    fit,
)
from sld.fit.noise import COLUMN, FRONTIER, NOISE, YERR, row_weights
from sld.formula.domain import Limits
from sld.formula.expression import Expression, name, number, substitute

if TYPE_CHECKING:
    from sld.data.table import Array, Table

WEIGHTS = (FRONTIER, NOISE, YERR, COLUMN)

_WEIGHED = {
    FRONTIER: "rows next to where the law will be used weighted more (up to e² = 7.4 times)",
    NOISE: "rows weighted by how exact they are, as repeats or standard errors show",
    YERR: "rows weighted by their standard errors",
    COLUMN: "rows weighted as the table declares",
}
_KEYS = (
    "loss",
    "delta",
    "weights",
    "pooling",
    "shared",
    "positive",
    "bounds",
    "pinned",
    "tied",
    "prior",
    "points",
    "set_aside",
    "learned",
)

# what the fit takes where no delta is declared
_DELTA_TAKEN: dict[str, str] = {
    "huber": f"{HUBER_DELTA_SIGMA:g} robust standard deviations of the residuals",
    "log_huber": f"{HUBER_DELTA_LOG:g}",
    "envelope": f"{ENVELOPE_SHARE:g}",
}


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """What is minimised for one target, over which constants, and under which conditions.

    >>> settings = FitSettings(loss="huber", shared=("a",), bounds={"a": (0.0, 1.0)})
    >>> FitSettings.from_json(settings.to_json(), "law.json") == settings
    True

    Attributes:
        loss: "squared", "huber", "log", "log_huber" or "envelope" (see `fitting.fit`).
        delta: Where Huber's function turns linear, in units of the target for "huber" and of its logarithm for
            "log_huber", or the share of an envelope; None for what the fit takes.
        weights: What the weight of a row is the product of, names from `WEIGHTS`; empty when all count alike.
        pooling: "partial" when the shapes of the groups are pulled together, else "none".
        shared: Constants that all groups have in common.
        positive: Constants that must be positive.
        bounds: Constant to (lower, upper); an open end is infinite.
        pinned: Constant to the value that it was held at.
        tied: Constant to the other one that it equals; that one is itself neither tied nor pinned.
        prior: What the groups' shapes were pulled to, when they are partially pooled.
        points: Points beyond the data that the constants follow as well as the rows, all together with the weight of
            all rows: the consensus of a search (`search/choosing/consensus.py`). 0 for a fit to rows alone.
        set_aside: Rows of the table that were left out of the fit because they look diverged.
        learned: Version of the priors, learned from other tables, that constants from few rows were drawn towards
            (`sld/fit/priors.py`); empty for none. `prior` then is what these are near the estimate, for refits.
    """

    loss: Loss = "squared"
    delta: float | None = None
    weights: tuple[str, ...] = ()
    pooling: Pooling = "none"
    shared: tuple[str, ...] = ()
    positive: tuple[str, ...] = ()
    bounds: Mapping[str, Limits] = field(default_factory=dict)
    pinned: Mapping[str, float] = field(default_factory=dict)
    tied: Mapping[str, str] = field(default_factory=dict)
    prior: Prior | None = None
    points: int = 0
    set_aside: int = 0
    learned: str = ""

    def row_weights(self, table: Table, target: int = 0) -> Array | None:
        """Return the weight of each row (n_rows,), mean 1; None when all count alike.

        The standard error of a logarithm is that of the value over the value.
        """
        found = row_weights(table, target, self.weights)
        if found is None or YERR not in self.weights or not self.loss.startswith("log"):
            return found
        relative = found * np.square(table.Y[:, target])
        return np.asarray(relative / relative.mean())

    def formula(self, expression: Expression) -> Expression:
        """Return the expression in the constants that are free: pinned ones are filled in, tied ones are one.

        >>> from sld.formula.expression import parse
        >>> form = parse("E + A*N**-a + B*D**-b", ["N", "D"])
        >>> FitSettings(pinned={"E": 1.69}, tied={"b": "a"}).formula(form).text
        '1.69 + A*N**-a + B*D**-a'

        Raises:
            UsageError: What is pinned or tied is no constant of the expression, or tied to what is itself held.
        """
        if not (self.pinned or self.tied):
            return expression
        # a column in place of a constant would make another formula of it, so this is no matter of trust
        for c in (*self.pinned, *self.tied, *self.tied.values()):
            if c not in expression.constants:
                raise UsageError(suggest(c, expression.constants, kind=f"constant of {expression.text}"))
        for c, leader in self.tied.items():
            if c in self.pinned or leader in self.tied or leader in self.pinned:
                raise UsageError(f"{c!r} is tied to {leader!r}, and one of them is tied or pinned otherwise as well")
        values = {c: number(v) for c, v in self.pinned.items()} | {c: name(of) for c, of in self.tied.items()}
        return replace(expression, tree=substitute(expression.tree, values))

    @property
    def free(self) -> FitSettings:
        """The settings of the constants that `formula` leaves; what is asked of a tied one holds for the one it equals.

        >>> FitSettings(pinned={"E": 1.69}, tied={"b": "a"}, bounds={"E": (0.0, 2.0), "b": (0.0, 1.0)}).free.bounds
        {'a': (0.0, 1.0)}
        """
        if not (self.pinned or self.tied):
            return self

        def kept(names: Sequence[str]) -> tuple[str, ...]:
            return tuple(dict.fromkeys(self.tied.get(c, c) for c in names if c not in self.pinned))

        bounds: dict[str, Limits] = {}
        for c, (low, high) in self.bounds.items():
            if c not in self.pinned:
                leader = self.tied.get(c, c)
                least, most = bounds.get(leader, (-math.inf, math.inf))
                bounds[leader] = max(low, least), min(high, most)
        return replace(
            self, shared=kept(self.shared), positive=kept(self.positive), bounds=bounds, pinned={}, tied={}
        )  # fmt: skip

    def whole(self, free: Mapping[str, float], expression: Expression) -> dict[str, float]:
        """Return the value of every constant of an expression from those that are free.

        >>> from sld.formula.expression import parse
        >>> settings = FitSettings(pinned={"E": 1.69}, tied={"b": "a"})
        >>> settings.whole({"A": 400.0, "a": 0.3}, parse("E + A*N**-a*D**-b", ["N", "D"]))
        {'E': 1.69, 'A': 400.0, 'a': 0.3, 'b': 0.3}
        """
        known = {**self.pinned, **free}
        return {c: known[self.tied.get(c, c)] for c in expression.constants}

    def fitter(self, expression: Expression, table: Table, target: int = 0, *, weights: Array | None = None) -> Fitter:
        """Return what refits the constants to rows of `table`, by squared errors (of logarithms, if the loss has them).

        Args:
            expression: The formula; pinned and tied constants are no constants of the fitter.
            table: The rows.
            target: Column of the table's targets.
            weights: (n_rows,) in place of `row_weights`.
        """
        weights = self.row_weights(table, target) if weights is None else weights
        log, free = self.loss.startswith("log"), self.free
        return Fitter(
            self.formula(expression), table, target, shared=free.shared, positive=free.positive,
            bounds=dict(free.bounds), weights=weights, prior=self.prior, log_output=log, project=not log,
        )  # fmt: skip

    @property
    def reweights(self) -> bool:
        """Whether the loss is found by squares whose weights follow the residuals."""
        return self.loss.endswith("huber") or self.loss == "envelope"

    def trust(self, residual: Array, delta: float) -> Array | None:
        """Return what the loss multiplies the weights of rows with at these residuals (n_rows,); None for squares.

        Args:
            residual: Of the target, or of its logarithm for a loss of logarithms; positive where a row is worse than
                the law (an envelope asks for the side, Huber's loss does not).
            delta: Where the loss turns linear, or the share of an envelope, see `turning_point`.
        """
        if self.loss == "envelope":
            return envelope_weights(residual, delta)
        if not self.loss.endswith("huber") or not delta > 0:
            return None
        with np.errstate(invalid="ignore"):
            found = np.minimum(1.0, delta / np.maximum(np.abs(residual), 1e-300))
        return np.where(np.isfinite(found), found, 0.0)

    def turning_point(self, residual: Array) -> float:
        """Return the delta of the loss: the one declared, or what `fitting.fit` takes at these residuals."""
        if self.delta is not None:
            return self.delta
        if self.loss == "envelope":
            return ENVELOPE_SHARE
        if self.loss.startswith("log"):
            return HUBER_DELTA_LOG
        known = np.abs(residual[np.isfinite(residual)])
        return HUBER_DELTA_SIGMA * 1.4826 * float(np.median(known)) if len(known) else 0.0

    def fit(
        self,
        expression: Expression,
        table: Table,
        *,
        target: int = 0,
        starts: int = 32,
        seed: int = 0,
        inherit: Mapping[str, Mapping[str, float]] | None = None,
    ) -> FitResult:
        """Fit the constants to the rows of `table` as `fitting.fit` does, with these settings; it raises the same.

        The initial points depend on the seed and the form, not on how columns and constants are called.
        """
        if self.learned:
            from sld.fit.few_points import fit_few

            return fit_few(expression, table, target, seed=seed, version=self.learned).result
        free = self.free
        found = fit(
            self.formula(expression), table, target=target, loss=self.loss, delta=self.delta, starts=starts,
            seed=form_seed(seed, expression), shared=free.shared, positive=free.positive, bounds=free.bounds,
            inherit=inherit, weights=self.row_weights(table, target), pooling=self.pooling,
        )  # fmt: skip
        return self.completed(found, expression)

    def completed(self, found: FitResult, expression: Expression) -> FitResult:
        """Return a fit of `formula(expression)` with the constants that were pinned or tied."""
        if not (self.pinned or self.tied) or not found.ok:
            return found
        followers = tuple(c for c, leader in self.tied.items() if leader in found.at_bounds)
        by_group = {g: self.whole(of, expression) for g, of in found.constants.items()}
        return replace(found, constants=by_group, at_bounds=(*found.at_bounds, *followers))

    @property
    def objective(self) -> str:
        """What the fit makes as small as it can, in words."""
        what = {"squared": "squared errors", "huber": "Huber's loss of the errors"}
        what |= {"log": "squared errors of the logarithm", "log_huber": "Huber's loss of the errors of the logarithm"}
        what |= {"envelope": "squared errors, those on the good side counting far less"}
        said = f"sum of {what[self.loss]}"
        if self.delta is not None:
            said += f" (delta {exact(self.delta)})"
        elif self.loss in _DELTA_TAKEN:
            said += f" (delta {_DELTA_TAKEN[self.loss]})"
        how = [_WEIGHED[kind] for kind in self.weights]
        said += f", {' and '.join(how)}" if how else ", all rows weighted alike"
        if self.learned:
            said += "; the constants are drawn towards what such constants are in other tables"
        elif self.prior is not None or self.pooling == "partial":
            said += "; the shapes of the groups are pulled together"
        if self.points:
            said += f"; {self.points} points beyond the data, where other laws were asked, weigh as much as all rows"
        return said

    def at_bounds(self, constants: Mapping[str, Mapping[str, float]]) -> tuple[str, ...]:
        """Return the constants (group to constant to value) that lie on a declared bound in some group."""
        on: list[str] = []
        free = self.free
        for values in constants.values():
            for c, value in values.items():
                ends = () if c in self.pinned else free._ends(self.tied.get(c, c))
                if c not in on and any(abs(value - end) <= 1e-9 * max(abs(value), 1e-12) for end in ends):
                    on.append(c)
        return tuple(on)

    def _ends(self, constant: str) -> tuple[float, ...]:
        ends = self.bounds.get(constant, ())
        return (*(e for e in ends if math.isfinite(e)), *((0.0,) if constant in self.positive else ()))

    def to_json(self) -> dict[str, Any]:
        """Return what law.json holds; `from_json` gives the settings back."""
        return {
            "loss": self.loss,
            "delta": self.delta,
            "weights": [*self.weights],
            "pooling": self.pooling,
            "shared": [*self.shared],
            "positive": [*self.positive],
            "bounds": {c: [end if math.isfinite(end) else None for end in ends] for c, ends in self.bounds.items()},
            "pinned": dict(self.pinned),
            # left out where there are none, so that earlier versions read every law that they could have fitted
            **({"tied": dict(self.tied)} if self.tied else {}),
            "prior": None if self.prior is None else self.prior.to_json(),
            "points": self.points,
            "set_aside": self.set_aside,
            **({"learned": self.learned} if self.learned else {}),
        }

    @staticmethod
    def from_json(data: object, where: str) -> FitSettings:
        """Read what `to_json` gave.

        Raises:
            DataError: A key is unknown or of a wrong type.
        """
        keys = Keys(data, where, _KEYS)
        weights = keys.texts("weights")
        if unknown := [w for w in weights if w not in WEIGHTS]:
            raise DataError(f"{where}: weights must be among {', '.join(WEIGHTS)}, got {unknown[0]!r}")
        given = {key: keys.data[key] for key in ("delta", "prior") if keys.data.get(key) is not None}
        return FitSettings(
            loss=_one_of(keys, "loss", LOSSES, "squared"),
            delta=Keys(given, where, _KEYS).number("delta"),
            weights=weights,
            pooling=_one_of(keys, "pooling", POOLINGS, "none"),
            shared=keys.texts("shared"),
            positive=keys.texts("positive"),
            bounds=_limits(keys.table("bounds"), where),
            pinned={str(c): _number(v, f"{where}: pinned {c!r}") for c, v in keys.table("pinned").items()},
            tied=_tied(keys, where),
            prior=_prior(given.get("prior"), where),
            points=_count(keys, "points"),
            set_aside=_count(keys, "set_aside"),
            learned=keys.text("learned"),
        )


def settings_of(provenance: Mapping[str, Any], targets: Sequence[str]) -> dict[str, FitSettings]:
    """Return the settings by target as laws before 0.6.0 recorded them: among the keys of their provenance.

    Raises:
        DataError: One of these keys is not what it was then.
    """
    # a search weighed the rows of squared errors; nothing else that wrote laws did
    searched = "fold_errors" in provenance
    found = {}
    for target in targets:
        where = f"provenance of {target!r}"
        try:
            loss = _of_target(provenance.get("loss", "squared"), target, "squared")
            prior = _of_target(provenance.get("priors", {}), target, None)
            if loss not in LOSSES:
                raise DataError(f"{where}: loss must be one of {', '.join(LOSSES)}, got {kind_of(loss)}")
            found[target] = FitSettings(
                loss=loss,
                weights=(FRONTIER,) if searched and loss == "squared" else (),
                pooling="none" if prior is None else "partial",
                shared=tuple(map(str, _of_target(provenance.get("shared", {}), target, ()))),
                positive=tuple(map(str, _of_target(provenance.get("positive", {}), target, ()))),
                bounds=_limits(_of_target(provenance.get("bounds", {}), target, {}), where),
                prior=_prior(prior, where),
            )
        except (AttributeError, TypeError) as error:
            raise DataError(f"{where} cannot be read: {error}") from error
    return found


def _one_of(keys: Keys, key: str, options: Sequence[Any], default: Any) -> Any:
    value = keys.text(key) or default
    if value not in options:
        raise DataError(f"{keys.where}: {suggest(value, options, kind=key)}")
    return value


def _of_target(said: Any, target: str, default: Any) -> Any:
    return said.get(target, default) if isinstance(said, Mapping) else said


def _limits(data: Any, where: str) -> dict[str, Limits]:
    found = {}
    for constant, ends in data.items():
        if not isinstance(ends, list | tuple) or len(ends) != 2:
            raise DataError(f"{where}: bounds of {constant!r} must be a lower and an upper end, got {kind_of(ends)}")
        low, high = (None if e is None else _number(e, f"{where}: bounds of {constant!r}") for e in ends)
        found[str(constant)] = (-math.inf if low is None else low, math.inf if high is None else high)
    return found


def _tied(keys: Keys, where: str) -> dict[str, str]:
    tied = keys.table("tied")
    for c, leader in tied.items():
        if not isinstance(leader, str):
            raise DataError(f"{where}: tied {c!r} must be the name of a constant, got {kind_of(leader)}")
    return {str(c): str(leader) for c, leader in tied.items()}


def _prior(data: Any, where: str) -> Prior | None:
    try:
        return None if data is None else Prior.from_json(data)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{where}: prior cannot be read: {error!r}") from error


def _count(keys: Keys, key: str) -> int:
    value = keys.data.get(key, 0)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise keys.wrong(key, "a whole number of at least 0")
    return value


def _number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError(f"{where} must be a number, got {kind_of(value)}")
    return float(value)
