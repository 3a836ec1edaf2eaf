"""The reproducibility checklist of a scaling-law report: what a reader needs to refit and to trust the law.

After "(Mis)Fitting: A Survey of Scaling Laws" (Li, Kudugunta, Zettlemoyer 2025, arXiv 2502.18969), reworded. The report
fills the fields that data and fit determine; the others come from the card, from `[paper.checklist]` with these keys.
What nobody filled says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sld.analysis.diagnosis import Diagnosis
from sld.analysis.sections import magnitude
from sld.core.numbers import exact, short
from sld.data.axes import position
from sld.data.card import Target, Variable
from sld.data.scoring import Scores
from sld.data.table import Table
from sld.laws.law import Law

if TYPE_CHECKING:
    from sld.data.task import Task
    from sld.search.outcome import Discovery

NOT_REPORTED = "not reported"

FIELDS: dict[str, str] = {
    "form.expression": "exact expression",
    "form.variables": "variables with meaning, unit and range seen",
    "form.response": "what is predicted, on which evaluation",
    "form.constants": "free constants; tied, fixed or bounded ones",
    "form.purpose": "predict a value, or choose an optimum",
    "form.motivation": "what led to the form, and the alternatives tried",
    "form.assumptions": "monotonicity, bounds and limits checked",
    "form.params_counting": "how parameters are counted",
    "form.tokens_counting": "how tokens are counted",
    "form.compute_counting": "formula for compute",
    "train.n_runs": "runs, sizes, data budgets, repeats",
    "train.range": "smallest and largest values",
    "train.grid": "design of the runs",
    "train.architecture": "architecture",
    "train.data": "training data",
    "train.optimizer": "optimiser and schedule",
    "train.tuning": "hyperparameters tuned, transferred, fixed",
    "train.precision": "numeric format and hardware",
    "train.failed": "diverged or discarded runs",
    "data.points": "what one row is",
    "data.subset": "rows left out, and the rule",
    "data.transform": "smoothing, averaging, logarithms",
    "data.selection": "envelope or minima used",
    "data.noise": "noise between repeats",
    "data.release": "where the rows are, licence, checksum",
    "data.origin": "measured, copied or digitised",
    "fit.objective": "what is minimised",
    "fit.parameterisation": "how constants are searched",
    "fit.algorithm": "optimiser",
    "fit.starts": "starting points, and how many reached the best",
    "fit.hyper_tuning": "what was tuned in the fit itself",
    "fit.convergence": "status, constants at bounds, condition number",
    "fit.constants": "values with full precision",
    "fit.code": "command and versions",
    "val.holdout": "held-out rule, and how far it extrapolates",
    "val.metrics": "scores, pooled and within groups",
    "val.baselines": "other forms on the same rows",
    "val.intervals": "intervals, and what was resampled",
    "val.sanity": "do the intervals fit the residuals",
    "val.sensitivity": "change under other choices",
    "val.identifiability": "constants that the rows do not determine",
    "val.search_budget": "forms tried; use of held-out rows",
    "val.scope": "where the law may be used",
}


def filled(known: Mapping[str, str], declared: Mapping[str, Any]) -> dict[str, str]:
    """Return every field with its text: what is known, else what the card declares, else "not reported".

    Args:
        known: Fields that data and fit determine.
        declared: The card's `[paper.checklist]`, keys with a dot or nested tables.
    """
    flat = {str(k): v for k, v in _flat(declared)}
    return {key: known.get(key) or str(flat.get(key) or NOT_REPORTED) for key in FIELDS}


def _flat(table: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in table.items():
        found += _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [(f"{prefix}{key}", value)]
    return found


def known_fields(
    found: Discovery,
    task: Task | None,
    diagnoses: Sequence[Diagnosis],
    *,
    scores: Scores | None,
    covered: float | None,
    command: str,
    versions: str,
) -> dict[str, str]:
    """Return the fields that rows, fit and search determine."""
    law, table, chosen = found.law, found.table, found.chosen
    card = task.card if task is not None else None
    spans = "; ".join(_span(table, i) for i in range(len(table.variables)))
    texts = dict.fromkeys(law.expressions[t.column].text for t in law.targets)
    settings = law.settings
    tied = sorted({c for own in settings.values() for c in own.shared})
    pulled = sorted({c for own in settings.values() if own.prior is not None for c in own.prior.constants})
    monotone = [f"{v.monotone} in {v.symbol}" for v in table.variables if v.monotone]
    bounds = [
        f"{t.column} from {_end(t.lower)} to {_end(t.upper)}" for t in law.targets if (t.lower, t.upper) != (None,) * 2
    ]
    scales = [v for v in table.variables if v.role == "scale"]
    points = int(table.points().max()) + 1
    known = {
        "form.expression": "; ".join(f"`{text}`" for text in texts) + " (machine-readable: law.json)",
        "form.variables": "; ".join(_meaning(v) for v in table.variables) + f"; ranges: {spans}",
        "form.response": "; ".join(_meaning(t) for t in law.targets),
        "form.constants": f"{chosen.n_constants} free per group, {len(law.groups)} group(s); "
        + (f"tied across groups: {', '.join(tied)}; " if tied else "")
        + (f"partially pooled across groups: {', '.join(pulled)}; " if pulled else "")
        + _limits_of(law),
        "form.motivation": f"search ({chosen.origin}); alternatives with scores in front.csv and events.jsonl",
        "form.assumptions": f"checked numerically up to 1000 times the data: finite, near what was seen; "
        f"{', '.join([*monotone, *bounds]) or 'no direction or bound declared'}",
        "form.compute_counting": f"{card.cost}, as the card declares" if card is not None and card.cost else "",
        "train.n_runs": f"{table.n_rows} rows at {points} distinct points; "
        + ", ".join(f"{len(set(table.column(v.symbol).tolist()))} values of {v.symbol}" for v in table.variables),
        "train.range": spans,
        "train.grid": _design(table),
        "data.points": card.row if card is not None else "",
        "data.subset": "; ".join(n for n in found.notes if "left out" in n or " used " in n) or "none left out",
        "data.transform": ", ".join(f"{v.symbol} is a {v.log}" for v in table.variables if v.log)
        or "none by this tool",
        "data.selection": "none by this tool",
        "data.noise": f"standard deviation {short(100 * found.noise['relative_sd'], 2)} % at "
        f"{found.noise['n_points']:.0f} "
        "repeated points"
        if found.noise
        else "no repeated points",
        "data.release": "; ".join(x for x in (card.licence if card else "", f"sha256 {table.digest()}") if x),
        "data.origin": card.provenance if card is not None else "",
        "fit.objective": _per_target({t: own.objective for t, own in settings.items()}),
        "fit.parameterisation": "linear constants in closed form (variable projection), the others searched directly",
        "fit.algorithm": "Levenberg-Marquardt with analytic derivatives, many starts",
        "fit.starts": "; ".join(f"{d.n_at_best} of {d.n_starts} fresh starts reached the best" for d in diagnoses),
        "fit.convergence": "; ".join(
            f"{d.status}, condition number {short(d.condition, 2)}, at a bound: {', '.join(d.at_bounds) or 'none'}"
            for d in diagnoses
        ),
        "fit.constants": "law.json",
        "fit.code": f"`{command}`; {versions}",
        "val.holdout": (card.extrapolation if card is not None and card.extrapolation else "")
        or f"rung folds of the rows: {'; '.join(f.name for f in found.folds)}",
        "val.metrics": f"error on rows fitted to {short(chosen.train_nmse)} of the variance"
        + ("; no held-out rows" if scores is None else f"; held out: {_scores(scores)}"),
        "val.baselines": f"{found.counts.get('judged', 0)} other forms on the same folds (front.csv)",
        "val.sensitivity": "; ".join(_changes(d) for d in diagnoses if d.changes) or "",
        "val.identifiability": "; ".join(f"condition number {short(d.condition, 2)}" for d in diagnoses),
        "val.search_budget": f"{found.counts.get('tried', 0)} forms, {found.n_fits} fits; held-out rows used: 0",
        "val.scope": f"within {', '.join(v.symbol for v in scales) or 'the ranges above'} as fitted; "
        + ("; ".join(chosen.reasons) or "no check fails up to 1000 times beyond"),
    }
    if law.intervals is not None:
        level = f"{100 * float(law.intervals['level']):g} %"
        known["val.intervals"] = (
            f"{level}; {law.intervals['replicates']} refits to rows reweighted within groups, with the same objective, "
            "widened by the errors on rung folds"
        )
        known["val.sanity"] = "residuals " + ", ".join(short(d.residual_sd) for d in diagnoses)
        if covered is not None:
            known["val.sanity"] += f"; {short(100 * covered)} % of the held-out rows inside intervals of {level}"
    return known


def _limits_of(law: Law) -> str:
    """Say which constants were held or kept within limits."""
    pinned = {c: v for own in law.settings.values() for c, v in own.pinned.items()}
    positive = sorted({c for own in law.settings.values() for c in own.positive})
    bounds = {c: ends for own in law.settings.values() for c, ends in own.bounds.items()}
    tied = {c: leader for own in law.settings.values() for c, leader in own.tied.items()}
    fixed = ", ".join([*(f"{c} = {exact(v)}" for c, v in pinned.items()), *(f"{c} = {of}" for c, of in tied.items())])
    parts = [f"fixed: {fixed or 'none'}"]
    parts += [f"positive: {', '.join(positive)}"] if positive else []
    limits = ", ".join(f"{c} from {_open(low)} to {_open(high)}" for c, (low, high) in bounds.items())
    return "; ".join([*parts, f"bounded: {limits or 'none'}"])


def _open(end: float) -> str:
    return "any" if math.isinf(end) else exact(end)


def _per_target(texts: Mapping[str, str]) -> str:
    """Return texts by target, one where they agree."""
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    return "; ".join(f"{target}: {text}" for target, text in texts.items())


def _scores(scores: Scores) -> str:
    shown = ((name, getattr(scores, name)) for name in ("r2", "r2_within", "nmse", "nmae", "are"))
    return ", ".join(f"{name} {short(value, 4)}" for name, value in shown if value is not None)


def _meaning(column: Variable | Target) -> str:
    unit = f" ({column.unit})" if column.unit else ""
    return f"{column.symbol}: {column.meaning or column.column}{unit}"


def _span(table: Table, i: int) -> str:
    v, x = table.variables[i], table.X[:, i]
    low, high = float(x.min()), float(x.max())
    decades = f", {math.log10(high / low):.1f} decades" if v.role == "scale" and not v.log and low > 0 else ""
    return f"{v.symbol} {magnitude(low)} to {magnitude(high)}{decades}"


def _design(table: Table) -> str:
    """Say how far the scale variables were varied independently."""
    scales = [v for v in table.variables if v.role == "scale"]
    if len(scales) < 2:
        return "one scale variable" if scales else "no scale variable"
    z = np.array([position(table, v)[0] for v in scales])
    spread = z.std(axis=1)
    if (spread == 0).any():
        return "a scale variable does not vary"
    singular = np.linalg.svd((z - z.mean(axis=1, keepdims=True)) / spread[:, None], compute_uv=False)
    rank = int((singular > 0.1 * singular[0]).sum())
    flag = "" if rank == len(scales) else "; some cannot be told apart (collinear)"
    return f"rank {rank} of {len(scales)} scale variables in logarithms{flag}"


def _changes(d: Diagnosis) -> str:
    return f"at {d.where}: " + ", ".join(f"{short(100 * change, 2)} % {choice}" for choice, change in d.changes.items())


def _end(bound: float | None) -> str:
    return "any" if bound is None else exact(bound)
