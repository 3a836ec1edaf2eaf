"""The law in a report: what it claims in plain words, its formulas, its constants, and the laws it is made from."""

from __future__ import annotations

import math

import numpy as np

from sld.analysis import effects
from sld.analysis.report.facts import Facts, judge
from sld.analysis.report.text import NONE, capital, interval_text, listed, percent, r2_text, row, trimmed, typical
from sld.analysis.sections import magnitude
from sld.core.numbers import exact, short
from sld.formula.render import to_latex
from sld.laws.remarks import about_limit

_MOST_GROUPS = 12  # listed one by one
_SHOWN_MEMBERS = 8


def summary(facts: Facts) -> list[str]:
    """Say in plain words what the law claims and what each variable does."""
    n = facts.found.chosen.n_constants
    groups = f" in each of {len(facts.law.groups)} groups" if len(facts.law.groups) > 1 else ""
    judged = facts.found.verdict
    # what must not be missed comes before the formula
    lines = [f"> {claim(facts)}", ""] if judged.kind == "law" else [f"**{capital(judged.sentence)}.**", ""]
    if judged.kind == "weak":
        lines += [f"> {claim(facts)}", ""]
    lines.append(f"The formula has {n} constant{'s' * (n != 1)}{groups}, fitted to {facts.table.n_rows} rows.")
    x, group, run = effects.reference_run(facts.law, facts.table)
    where = f"group `{group}`, " if len(facts.law.groups) > 1 else ""
    for j, target in enumerate(facts.targets):
        said = effects.sentences(facts.law, facts.table, j)
        if said:
            name = f" for `{target.column}`" if len(facts.law.targets) > 1 else ""
            lines += ["", f"At {run} ({where}{effects.describe(facts.table, x)}){name}:", ""]
            lines += [f"- {sentence}" for sentence in said]
    if facts.found.interrupted:
        lines += ["", "**The search was interrupted before its budget was used; this is the best law until then.**"]
    return lines


def claim(facts: Facts) -> str:
    """Return the claim of the law in one sentence."""
    claim = f"`{facts.found.chosen.text}`"
    error = typical(facts.found.chosen.fold_errors)
    if math.isfinite(error):
        runs = "larger runs than" if any(v.role == "scale" for v in facts.table.variables) else "runs beyond those"
        claim += f" predicts {runs} it was fitted to with a typical error of {percent(math.sqrt(error))}"
        claim += " of the standard deviation of the data"
    if facts.scores is not None:
        claim += f"; on {facts.scores.n_rows} held-out rows R² = {r2_text(facts.scores)}"
    return claim + "."


def formulas(facts: Facts) -> list[str]:
    """Show the formulas, with and without their constants, and the variables."""
    lines = ["## The law", ""]
    expressions = {t.column: facts.law.expressions[t.column] for t in facts.law.targets}
    if len({e.text for e in expressions.values()}) == 1:
        expressions = dict(list(expressions.items())[:1])
    single = len(facts.law.groups) == 1 and len(facts.law.targets) == 1
    for column, expression in expressions.items():
        name = column if len(expressions) > 1 or len(facts.law.targets) == 1 else "each target"
        lines += ["```", f"{name} = {expression.text}", "```", ""]
        lines += ["$$", f"{_latex_name(name)} = {to_latex(expression)}", "$$", ""]
        if single:
            values = facts.law.constants[column][facts.law.groups[0]]
            filled_in = facts.law.text(column)
            lines += ["With its constants:", "", "```", f"{column} = {filled_in}", "```", ""]
            places = facts.law.digits(column, 4)
            lines += ["$$", f"{_latex_name(column)} = {to_latex(expression, values, digits=places)}", "$$", ""]
    for target, settings in facts.law.settings.items():
        if settings.shared:
            lines += [f"All groups share {listed(f'`{c}`' for c in settings.shared)} (`{target}`).", ""]
        if settings.pinned or settings.tied:
            held = [f"`{c} = {exact(v)}`" for c, v in settings.pinned.items()]
            held += [f"`{c} = {leader}`" for c, leader in settings.tied.items()]
            lines += [f"Held, not fitted: {listed(held)} (`{target}`).", ""]
        if settings.learned:
            lines += [f"Drawn towards what such constants are in other tables, for lack of rows (`{target}`).", ""]
        elif settings.prior is not None:
            names = listed(f"`{c}`" for c in settings.prior.constants)
            lines += [f"Groups are pulled together by as much as the rows say, in {names} (`{target}`).", ""]
    if borrowed := facts.law.provenance.get("borrowed"):
        lines += [f"Too few rows of their own, so the others' shape: {listed(f'`{g}`' for g in borrowed)}.", ""]
    lines += ["| variable | meaning | unit | role | range fitted |", "|---|---|---|---|---|"]
    for i, v in enumerate(facts.table.variables):
        low, high = magnitude(float(facts.table.X[:, i].min())), magnitude(float(facts.table.X[:, i].max()))
        role = f"{v.role}, {v.log} of the quantity" if v.log else v.role
        lines.append(row(f"`{v.symbol}`", v.meaning, v.unit, role, f"{low} to {high}"))
    return lines


def constants(facts: Facts) -> list[str]:
    """Show the constants of all targets with their intervals."""
    lines = ["## Constants", ""]
    if facts.intervals:
        lines += [
            f"In brackets: {facts.level:g} % intervals from refits to reweighted rows, made as the fit was. "
            "They say how well the rows determine a constant if the formula is right, not that it is right.",
            "",
        ]
    for target in facts.targets:
        if len(facts.law.targets) > 1:
            lines += [f"### {target.column}", ""]
        lines += [*constants_of(facts, target.column), ""]
        if limit := about_limit(facts.law, target.column):
            lines += [f"**{capital(limit)}.**", ""]
    if len(facts.law.targets) > len(facts.targets):
        lines.append(f"The other {len(facts.law.targets) - len(facts.targets)} targets are in `law.json`.")
    return trimmed(lines)


def constants_of(facts: Facts, column: str) -> list[str]:
    """Show the constants of one target."""
    by_group = facts.law.constants[column]
    names = facts.law.expressions[column].constants
    intervals, unknown = facts.intervals.get(column, {}), facts.unknown.get(column, {})

    def interval(group: str, name: str) -> str:
        """The interval of a constant, or why there is none."""
        why = unknown.get(group, {}).get(name)
        return f"(unknown: {why})" if why else interval_text(intervals.get(group, {}).get(name))

    if not names:
        return ["The formula has no constants."]
    if len(by_group) == 1:
        (group,) = by_group
        lines = ["| constant | value | interval |", "|---|---|---|"]
        digits = facts.law.digits(column)
        for c in names:
            lines.append(row(f"`{c}`", short(by_group[group][c], digits), interval(group, c)))
        return lines
    if len(by_group) <= _MOST_GROUPS:
        lines = [row("group", *(f"`{c}`" for c in names)), "|---" * (len(names) + 1) + "|"]
        digits = facts.law.digits(column, 5)
        for group, values in by_group.items():
            cells = (f"{short(values[c], digits)} {interval(group, c)}".strip() for c in names)
            lines.append(row(group, *cells))
        return lines
    lines = ["| constant | median of the groups | smallest | largest |", "|---|---|---|---|"]
    for c in names:
        order = sorted((values[c], group) for group, values in by_group.items())
        median = float(np.median([value for value, _ in order]))
        ends = (f"{short(value, 5)} ({group})" for value, group in (order[0], order[-1]))
        lines.append(row(f"`{c}`", short(median, 5), *ends))
    return [*lines, "", f"Every one of the {len(by_group)} groups is in `law.json`."]


def consensus(facts: Facts) -> list[str]:
    """Show the law that would have been chosen by itself, and the laws that took part."""
    best, n = facts.found.best, facts.found.chosen.consensus
    if best is None or facts.found.single is None:
        return []
    lines = ["## One law out of many", ""]
    lines += [
        f"The {n} best laws of the search, bred ones with less say than plain ones, were asked what they predict "
        "beyond the data. Of their formulas, the law is the one that follows both the rows and the mean of these "
        "predictions best: the best of thousands owes part of its score to luck, the mean of many much less.",
        "",
        "The best form by itself, in `single.json`:",
        "",
        *(f"- `{c}` = `{e.text}`" for c, e in best.expressions.items()),
        "",
        row("", "typical error on unseen rungs", "fit error", "held-out R²"),
        "|---|---|---|---|",
    ]
    single = judge(facts.found.single, facts.held)[0]
    for name, c, s in (("chosen", facts.found.chosen, facts.scores), ("by itself", best, single)):
        r2 = NONE if s is None else r2_text(s)
        lines.append(row(name, percent(typical(c.fold_errors)), percent(c.train_nmse), r2))
    lines += ["", "The laws that took part, the heaviest first:", ""]
    taking_part = facts.law.provenance.get("consensus", {})
    for column, texts in taking_part.items():
        about = f"`{column}`: " if len(taking_part) > 1 else ""
        lines += [f"- {about}`{text}`" for text in texts[:_SHOWN_MEMBERS]]
        if len(texts) > _SHOWN_MEMBERS:
            lines.append(f"- {about}and {len(texts) - _SHOWN_MEMBERS} more, in `law.json`")
    return lines


def _latex_name(name: str) -> str:
    escaped = "".join(f"\\{c}" if c in "_%$#&{}" else c for c in name)
    return rf"\text{{{escaped}}}"
