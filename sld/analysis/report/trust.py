"""How far to trust a law: the verdict, unseen rows, runners-up beyond the data, physical checks, the optimum."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from sld.analysis import effects
from sld.analysis.intervals import predict_intervals
from sld.analysis.report.facts import Facts
from sld.analysis.report.text import NONE, capital, interval_text, percent, r2_text, row, trimmed, typical
from sld.core.numbers import short
from sld.search.choosing.verdict import LEVEL


def believed(facts: Facts) -> list[str]:
    """Say whether the search believes the law, and why."""
    judged = facts.found.verdict
    lines = ["## Whether to believe it", "", f"**{capital(judged.sentence)}.**", ""]
    lines.append(
        f"- Is there anything to explain? {short(100 * judged.p_value, 2)} % of tables with shuffled targets look as "
        f"dependent on the variables as this one (up to {100 * LEVEL:g} % is taken for a yes)."
    )
    if len(judged.p_values) > 1:
        each = ", ".join(
            f"`{t.column}` {short(100 * p, 2)} %" for t, p in zip(facts.law.targets, judged.p_values, strict=True)
        )
        lines.append(f"- By target: {each}.")
    lines.append(
        f"- Better than no formula? On unseen rungs the error is {percent(judged.versus_mean)} of that of the "
        f"mean of the rows below, and {percent(judged.versus_nearest)} of that of the nearest row's value."
    )
    if judged.reach and judged.kind == "law":
        lines += [
            "- How far? Up to there laws that the folds cannot tell apart predict the same change, within half of "
            "it; it is no longer a step than the folds have tested; what was declared of the target holds; and the "
            "law's interval spans less than the data do."
        ]
    return lines


def extrapolation(facts: Facts) -> list[str]:
    """Show the errors on rows beyond each cut, and on held-out rows."""
    lines = ["## How well it extrapolates", ""]
    lines += [
        "Each form was fitted to the rows below a cut and judged on the rows beyond it. Errors are mean squared "
        "errors as a share of the variance of the data (0 % is exact, 100 % is no better than the mean). "
        "The choice also counts a price per constant and per check that fails far out: the smallest need not win.",
        "",
    ]
    names = ["chosen", *(f"runner-up {k + 1}" for k in range(min(3, len(facts.rivals))))]
    candidates = [facts.found.chosen, *(c for _, c in facts.rivals[:3])]
    lines += [row("judged on", "rows", *names), "|---|---|" + "---|" * len(names)]
    for k, fold in enumerate(facts.found.folds):
        errors = (percent(c.fold_errors[k]) if k < len(c.fold_errors) else NONE for c in candidates)
        lines.append(row(fold.name, str(len(fold.test)), *errors))
    lines.append(row("**typical**", "", *(f"**{percent(typical(c.fold_errors))}**" for c in candidates)))
    lines += [""] + [f"- runner-up {k + 1}: `{c.text}`" for k, (_, c) in enumerate(facts.rivals[:3])]
    noise = facts.found.noise
    if noise:
        floor = f"{short(100 * noise['relative_sd'], 2)} %, an error of {percent(noise['nmse'])}"
        points = f"{noise['n_points']:.0f} points were measured more than once"
        lines += ["", f"**Noise floor:** {points}; repeats differ by {floor}. No law can do better than that."]
    else:
        lines += ["", "**Noise floor:** unknown; no point was measured twice."]
    if facts.scores is not None:
        lines += ["", "### Held-out rows, seen by no search", "", *held_out(facts)]
    return trimmed(lines)


def held_out(facts: Facts) -> list[str]:
    """Show the scores on held-out rows."""
    s = facts.scores
    assert s is not None
    within = NONE if s.r2_within is None else f"{s.r2_within:.4f}"
    lines = ["| rows | R² | R² within groups | NMAE | mean relative error | inside the intervals |"]
    lines += ["|---|---|---|---|---|---|"]
    covered = NONE if facts.covered is None else f"{percent(facts.covered)} (promised: {facts.level:g} %)"
    cells = (f"{s.n_rows}", r2_text(s), within, f"{s.nmae:.4f}", percent(s.are), covered)
    return [*lines, row(*cells), *(["", "The law gives no finite number for some rows."] if s.failed else [])]


def beyond(facts: Facts) -> list[str]:
    """Show what the runners-up predict beyond the data."""
    lines = ["## Where the runners-up disagree", ""]
    reach = facts.reach
    if reach is None:
        return [*lines, "The task has no scale variable to go beyond the data in."]
    x, group, _ = effects.reference_run(facts.law, facts.table)
    where = f"group `{group}`, " if len(facts.law.groups) > 1 else ""
    lines += [f"Predictions at the largest run ({where}{effects.describe(facts.table, x)}) and beyond it.", ""]
    ends = predict_intervals(facts.law.bare, reach.points) if facts.intervals else None
    for j, target in enumerate(facts.targets):
        if len(facts.law.targets) > 1:
            lines += [f"### {target.column}", ""]
        lines += [row("form", *reach.where), "|---" * (len(reach.where) + 1) + "|"]
        chosen = [short(value, 4) for value in reach.predictions[0, :, j]]
        lines.append(row("chosen", *chosen))
        if ends is not None:
            cells = (interval_text((a, b)) for a, b in zip(ends[0][:, j], ends[1][:, j], strict=True))
            lines.append(row(f"its {facts.level:g} % interval", *cells))
        for k, (_, c) in enumerate(facts.rivals):
            cells = (short(value, 4) for value in reach.predictions[k + 1, :, j])
            mark = "" if c.admissible else " (fails a check)"
            lines.append(row(f"`{c.expressions[target.column].text}`{mark}", *cells))
        if facts.rivals:
            lines.append(row("**apart by**", *(_apart(values) for values in reach.predictions[:, :, j].T)))
        lines.append("")
    return trimmed(lines)


def checks(facts: Facts) -> list[str]:
    """Show which physical checks the law passes."""
    chosen = facts.found.chosen
    lines = ["## Physical checks", ""]
    lines.append(
        "Every candidate was evaluated far beyond the data, up to 1000 times: it has to stay finite, within the "
        "declared bounds, monotone where declared, and near what was seen."
    )
    near = "passes every check as far out as it will be used"
    if not chosen.admissible:
        lines += ["", "**The law fails a check where it will be used:**", "", *(f"- {r}" for r in chosen.reasons)]
    elif chosen.reasons:
        lines += ["", f"The law {near}. Farther out:", "", *(f"- {r}" for r in chosen.reasons)]
    else:
        lines += ["", f"The law {near}, and farther out too."]
    return lines


def firmness(facts: Facts) -> list[str]:
    """Show what was minimised and how firm the optimum is."""
    lines = ["## How firm the fit is", ""]
    texts = {f"`{t.column}`: ": facts.law.settings[t.column].objective for t in facts.targets}
    if len(set(texts.values())) == 1:
        texts = {"": next(iter(texts.values()))}
    lines += [f"- {name}Minimised: {text}." for name, text in texts.items()]
    for target, d in zip(facts.targets, facts.diagnoses, strict=True):
        name = f"`{target.column}`: " if len(facts.law.targets) > 1 else ""
        lines += [f"- {name}{sentence}" for sentence in d.sentences(facts.intervals.get(target.column, {}))]
    return lines


def _apart(values: Iterable[float]) -> str:
    known = np.array([v for v in values if math.isfinite(v)])
    if len(known) < 2:
        return NONE
    middle = abs(float(np.median(known)))
    return f"**{percent(float(np.ptp(known)) / middle)}**" if middle > 0 else f"**{short(np.ptp(known))}**"
