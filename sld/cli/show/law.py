"""How a law looks: its formulas, its constants with their intervals; and what `sld fit` says beside it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sld.cli.output import say, say_json, say_table, shown

if TYPE_CHECKING:
    from sld.data.scoring import Scores
    from sld.laws.law import Law

_MAX_GROUPS = 12  # constants of more groups are left to law.json
_ILL_DETERMINED = 1e5  # condition number; some combination of constants is then known to less than one digit


def next_steps(path: Path, source: str, scored: bool) -> None:
    """Say what can be done with a law that was written to `path`."""
    run = shlex.quote(str(path))
    say("next:")
    say(f"  sld predict {run} points.csv")
    if scored:
        say(f"  sld score {run} {shlex.quote(source)}")


def spans(law: Law) -> dict[str, dict[str, dict[str, tuple[float, float] | None]]] | None:
    """Return the intervals of the constants by target, group and name, or None for a law without."""
    from sld.analysis.intervals import constant_intervals

    return None if law.intervals is None else constant_intervals(law)


def law_text(law: Law) -> None:
    """Print the formulas with their constants named, and the constants below."""
    for k, (target, expression) in enumerate(law.expressions.items()):
        if k:
            print()
        say(f"{target} = {expression.text}")
        print()
        if not expression.constants:
            continue
        if law.grouped:
            _constants_by_group(law, target)
        else:
            _constants(law, target)
        _limit(law, target)


def _constants(law: Law, target: str) -> None:
    ((group, values),) = law.constants[target].items()
    rows = [[name, shown(value, law.digits(target))] for name, value in values.items()]
    if law.intervals is None:
        say_table(rows)
        return
    spans = _span_texts(law, target)[group]
    say_table([[*row, spans[row[0]]] for row in rows], ("", "", f"{_percent_level(law)} interval"))


def _constants_by_group(law: Law, target: str) -> None:
    by_group, names = law.constants[target], law.expressions[target].constants
    groups = list(by_group)[:_MAX_GROUPS]
    header = [law.group_column or "group", *names]
    digits = law.digits(target, 4)
    say_table([[group, *(shown(by_group[group][name], digits) for name in names)] for group in groups], header)
    if len(by_group) > len(groups):
        say(f"  ... and {len(by_group) - len(groups)} more groups in law.json")
    if law.intervals is not None:
        spans = _span_texts(law, target)
        say(f"  {_percent_level(law)} intervals:")
        say_table([[group, *(spans[group][name] for name in names)] for group in groups], header)
    settings = law.settings[target]
    if settings.shared:
        say(f"  the same in all groups: {', '.join(settings.shared)}")
    if settings.prior is not None and not settings.learned:
        say(f"  pulled together by as much as the rows say: {', '.join(settings.prior.constants)}")


def _span_texts(law: Law, target: str) -> dict[str, dict[str, str]]:
    """Return the interval of each constant in words, by group."""
    from sld.analysis.intervals import PINNED, constant_intervals, unknown_constants

    unknown = unknown_constants(law)[target]

    def text(group: str, name: str, ends: tuple[float, float] | None) -> str:
        if ends is not None:
            return f"{shown(ends[0], 3)} to {shown(ends[1], 3)}"
        return PINNED if unknown[group][name] == PINNED else f"unknown: {unknown[group][name]}"

    return {
        group: {name: text(group, name, ends) for name, ends in by_name.items()}
        for group, by_name in constant_intervals(law)[target].items()
    }


def _percent_level(law: Law) -> str:
    return f"{100 * (law.intervals or {}).get('level', 0.0):.0f} %"


def _limit(law: Law, target: str) -> None:
    """Say what the law tends to with scale, where a constant of the formula reads as if it did."""
    from sld.laws.remarks import about_limit

    if text := about_limit(law, target):
        say(text)


def held_out_line(result: Scores | None, grouped: bool, by_formula: Scores | None = None) -> None:
    """Print the score on held-out rows, if there are any, and beside it that of the formula alone, if it is another."""
    if result is None:
        return
    if result.failed:
        say(f"held-out rows: the law has no finite prediction on some of the {result.n_rows}")
        return
    within = f" pooled, {shown(result.r2_within)} within groups" if grouped else ""
    alone = ""
    if by_formula is not None:
        alone = f"; the formula alone has {'no finite value' if by_formula.failed else shown(by_formula.r2)}"
    say(f"held-out rows: R² {shown(result.r2)}{within} ({result.n_rows} rows){alone}")


def fitted(law: Law, held_out: Scores | None, out: Path | None, source: str, json: bool) -> None:
    """Show `sld fit`."""
    from sld.analysis.few_points import in_words, promised_by

    fits: Mapping[str, Mapping[str, Any]] = law.provenance["fit"]
    promised = promised_by(law.provenance)
    if json:
        say_json(
            {
                "law": law.to_json(),
                "constant_intervals": spans(law),
                "fit": fits,
                "held_out": None if held_out is None else held_out.to_json(),
                "out": None if out is None else str(out),
                **({"horizon": promised["horizon"]} if promised else {}),
            }
        )
        return
    law_text(law)
    print()
    for target, fit in fits.items():
        name = f"{target}: " if len(fits) > 1 else ""
        reached = "the most probable constants under priors from other tables"
        if not promised:
            reached = f"{fit['n_at_best']} of {fit['n_starts']} starts reached the optimum"
        say(f"{name}training error {shown(fit['nmse'], 3)} of the variance; {reached}")
        settings = law.settings[target]
        if settings.loss != "squared":
            say(f"{name}minimised: {settings.objective}")
        if settings.tied:
            say(f"{name}held equal: {', '.join(f'{c} = {of}' for c, of in settings.tied.items())}")
        if fit["at_bounds"]:
            say(f"{name}on a bound: {', '.join(fit['at_bounds'])}")
        if where := law.provenance.get("gaps", {}).get(target):
            say(f"{name}beware: the fitted law has {where}")
        if not promised and not fit["condition"] < _ILL_DETERMINED:
            say(f"{name}the data do not determine every constant (condition number {shown(fit['condition'], 2)})")
    for text in in_words(promised) if promised else ():
        say(text)
    for text in law.provenance.get("notes", ()):
        say(f"note: {text}")
    held_out_line(held_out, law.grouped)
    if out is not None:
        print()
        say(f"written to {out}")
        next_steps(out, source, held_out is not None)
