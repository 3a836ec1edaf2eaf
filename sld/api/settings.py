"""Best settings at each scale, and what one thing is worth in another: `sld optimum` and `sld worth`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from sld.api.laws import as_law
from sld.core.arguments import checked
from sld.core.errors import UsageError
from sld.core.numbers import exact

if TYPE_CHECKING:
    from sld.analysis.decisions.equivalents import Worth
    from sld.analysis.decisions.surface import Surface
    from sld.analysis.decisions.tuning import Tuner, Tuning
    from sld.laws.law import Law

_MOST = 400  # scales that are asked for at once


class OptimumOptions(TypedDict, total=False):
    """What a decision about settings can be told.

    Attributes:
        target: Column of the target; needed where there are several and no weights.
        weights: Column to weight of several targets, whose sum counts.
        group: Needed where there are several.
        draws: How many curves the intervals are made from; 500.
        seed: Of the draws; 0.
    """

    target: str
    weights: Mapping[str, float]
    group: str
    draws: int
    seed: int


class WorthOptions(OptimumOptions, total=False):
    """What `sld.worth` can be told beside the run.

    Attributes:
        reference: What the reference has otherwise than the run: symbol to value, or to the variable that is looked for
            where both are equal ({"P": 1}, {"U": "D"}).
        against: Law of the reference, if it is another one; as `law`.
        cost: What the run costs, for its worth in compute: a name (6ND, distillation, ...) or a formula over the law's
            variables; 6*N*D if not given.
    """

    reference: Mapping[str, float | str]
    against: object
    cost: str


@checked()
def optimum(
    law: object,
    of: str | Sequence[str] = (),
    at: Mapping[str, float | Sequence[float]] | None = None,
    **options: Unpack[OptimumOptions],
) -> Tuning:
    r"""Return the best hyperparameters, or the best mixture, of a law at each scale.

    $$ h^*(s) = \arg\min_h f(s, h), \qquad \log h^* \approx \log c + \sum_s a_s \log s . $$

    Each draw of the law has optima of its own, which give the intervals, of the power law too. A mixture's shares sum
    to one, and may be zero at the best.

    Args:
        law: A Law, a discovery, the path of a law.json or run directory, the name of a published law, or a formula
            without constants.
        of: What is chosen; every hyperparameter and share if not given.
        at: Symbol to value or values of what is held: scales, covariates, and settings that are no choice. Scales that
            are not given run over the range of the law's rows.
        **options: See `OptimumOptions`.

    Returns:
        The best settings at each combination of the values, what half and twice of each costs, and how they move with
        scale. Where several scales are given, the power law is that of the rows' range if it is known.

    Raises:
        UsageError: A name does not fit the law, or a variable has no value.
        SldError: The law has no interior optimum there.

    Examples:
        >>> import sld
        >>> rule = "2 + 1e3*N**-0.3 + 0.05*(log(lr) + 0.25*log(N) - 1)**2"
        >>> found = sld.optimum(rule, of="lr", at={"N": [1e8, 1e9, 1e10]})
        >>> [p.best["lr"].text() for p in found.points]
        ['0.0272', '0.0153', '0.0086']
        >>> found.powers["lr"].text("lr")
        'lr = 2.72 * N**-0.25'
    """
    from sld.analysis.decisions.estimate import LEVEL
    from sld.analysis.decisions.tuning import Tuner, Tuning, powers_of

    found_law = as_law(law)
    surface = _surface(found_law, options)
    tuner = Tuner(surface, [of] if isinstance(of, str) else list(of), at or ())
    values = {s: [float(x) for x in ([v] if isinstance(v, int | float) else v)] for s, v in (at or {}).items()}
    _known(values, [v.symbol for v in found_law.variables], tuner.of)
    held = [dict(zip(values, one, strict=True)) for one in itertools.product(*values.values())]
    moving = {v.symbol for v in tuner.scales if v.role == "scale"}
    grid = tuner.grid({s: x[0] for s, x in values.items() if s not in moving}) if _has_grid(tuner) else []
    # scales that nobody gives run over the rows' range; where none is given, three points along it say enough
    spread_out = bool(grid) and bool(moving) and not moving & set(values)
    asked = _along(grid) if spread_out else [one for given in held for one in tuner.grid(given)]
    if len(asked) > _MOST:
        raise UsageError(f"{len(asked)} scales are too many to ask for at once; at most {_MOST}")
    points = [tuner.best(one) for one in asked]
    spread = [tuner.best(one) for one in grid] if grid else points
    notes = list(found_law.notes)
    if not surface.n and options.get("draws") != 0:
        notes.append("no intervals: the law carries none")
    return Tuning(
        "\n".join(found_law.text(c) if found_law.grouped else f"{c} = {found_law.text(c)}" for c in surface.weights),
        surface.name,
        tuple(b for b, _ in points),
        powers_of(tuner, spread),
        LEVEL,
        surface.n,
        tuple(notes),
        tuple(b for b, _ in spread),
    )


def _has_grid(tuner: Tuner) -> bool:
    """Whether best settings can be looked for over the range of the rows, for hyperparameters."""
    from sld.analysis.decisions.surface import seen

    scales = [v.symbol for v in tuner.scales if v.role == "scale"]
    domain = tuner.surface.law.provenance.get("domain") or {}
    known = seen(tuner.surface.law, tuner.surface.group)
    return bool(scales) and not tuner.shares and all(s in known or s in domain for s in scales)


def _along(grid: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
    """Return the first, a middle and the last point of a grid, along its diagonal."""
    levels = {s: sorted({one[s] for one in grid}) for s in (grid[0] if grid else {})}
    shares = (0.0, 0.5, 1.0)
    points = [{s: x[round(share * (len(x) - 1))] for s, x in levels.items()} for share in shares]
    return [p for k, p in enumerate(points) if p not in points[:k]] or [{}]


def _known(values: Mapping[str, Sequence[float]], symbols: Sequence[str], of: Sequence[str]) -> None:
    from sld.core.errors import suggest

    for symbol, numbers in values.items():
        if symbol not in symbols:
            raise UsageError(suggest(symbol, symbols, kind="variable of the law"))
        if symbol in of:
            raise UsageError(f"{symbol} is both chosen (of) and given (at); take it out of one of them")
        if bad := [x for x in numbers if not math.isfinite(x)]:
            raise UsageError(f"at: {symbol} must be a number, got {exact(bad[0])}")
        if not numbers:
            raise UsageError(f"at needs a value for {symbol}, e.g. {symbol}=1e9")


@checked()
def worth(law: object, run: Mapping[str, float], into: str, **options: Unpack[WorthOptions]) -> Worth:
    r"""Return what a run is worth in one variable: the value at which a reference gives the same.

    $$ f_\mathrm{ref}(x_\mathrm{ref}, y) = f(x) $$

    is solved for $y$: parallel streams as parameters, experts as dense size, precision as parameters, repeats as fresh
    tokens, samples or retrieval as compute, a teacher as a larger student or more tokens. Into "C" (where the law of
    the reference has no such variable) it is the compute whose best run of the reference gives the same.

    Args:
        law: A Law, a discovery, the path of a law.json or run directory, the name of a published law, or a formula
            without constants.
        run: Symbol to value of every variable of the law.
        into: The variable of the reference that is looked for, or "C" for compute.
        **options: See `WorthOptions`.

    Returns:
        The value, and how many times the run's own it is, with intervals where the laws have them.

    Raises:
        UsageError: A name does not fit the law, or a variable has no value.
        SldError: No value of the variable gives the same.

    Examples:
        >>> import sld
        >>> four = sld.worth("parscale", {"N": 1e9, "P": 4}, "N", reference={"P": 1})
        >>> four.factor.text()
        '1.48'
        >>> print(sld.worth("muennighoff_repeats", {"N": 5e9, "D": 4e11, "U": 1e11}, "D", reference={"U": "D"}))
        N = 5e9, D = 4e11, U = 1e11 is worth D = 3.73e11, 0.931 times as much (loss 2.1905)

        A student of 1e9 parameters that learns 2e10 tokens from a teacher of 7e9, beside one without a teacher:

        >>> run = {"N": 1e9, "D": 2e10, "NT": 7e9, "DT": 1.4e12}
        >>> taught = sld.worth("distillation_teacher", run, "D", against="distillation_supervised")
        >>> taught.factor.text()
        '3.46'
    """
    from sld.analysis.decisions.equivalents import COMPUTE, worth_in_compute
    from sld.analysis.decisions.equivalents import worth as find_worth

    found_law = as_law(law)
    surface = _surface(found_law, options)
    other = None
    if options.get("against") is not None:
        other = _against(as_law(options["against"]), surface, options)
    reference, ties = {}, {}
    for symbol, value in options.get("reference", {}).items():
        if isinstance(value, str):
            if value != into:
                raise UsageError(f"{symbol} of the reference may be a number or {into}, got {value!r}")
            ties[symbol] = value
        else:
            reference[symbol] = float(value)
    point = {s: float(x) for s, x in run.items()}
    if into == COMPUTE and COMPUTE not in [v.symbol for v in (other or surface).law.variables]:
        if ties:
            raise UsageError(f"nothing of the reference can be as large as its compute, got {next(iter(ties))}={into}")
        return worth_in_compute(surface, point, reference, other, options.get("cost"))
    if options.get("cost") is not None:
        raise UsageError(f"a cost is for what a run is worth in compute (into C), not in {into}")
    return find_worth(surface, point, into, reference, ties, other)


def _against(law: Law, surface: Surface, options: Mapping[str, Any]) -> Surface:
    """Return the surface of another law: the target of the same name, and the group too where there are several."""
    columns = [t.column for t in law.targets]
    if unknown := [c for c in surface.weights if c not in columns]:
        raise UsageError(
            f"the law predicts {unknown[0]!r}, the law of the reference {' and '.join(map(repr, columns))}: only what "
            "is of one kind can be equal; give the target one name in both tables"
        )
    own = {k: v for k, v in options.items() if k in ("draws", "seed", "weights")}
    if "weights" not in own:
        own["target"] = next(iter(surface.weights))
    if len(law.groups) > 1:
        own["group"] = surface.group
    other = _surface(law, own)
    if other.sign != surface.sign:
        raise UsageError(f"of {surface.name} less is better in one law and more in the other")
    return other


def _surface(law: Any, options: Mapping[str, Any]) -> Surface:
    from sld.analysis.decisions.surface import surface_of

    return surface_of(
        law,
        target=options.get("target"),
        weights=options.get("weights"),
        group=options.get("group"),
        n=options.get("draws", 500),
        seed=options.get("seed", 0),
    )
