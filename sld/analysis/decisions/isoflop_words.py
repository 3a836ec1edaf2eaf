"""What an isoFLOP sweep says, in words and small tables."""

from __future__ import annotations

import math

from sld.analysis.decisions.readings import Approach, Reading
from sld.analysis.decisions.spans import UNKNOWN, spoken
from sld.analysis.decisions.words import Block, Said, percent
from sld.core.numbers import short

WHAT = {
    "envelope": "1 lowest run of each budget",
    "parabolas": "2 parabola of each budget",
    "law": "3 law fitted to all runs",
}


def said(found: Reading) -> Said:
    """Return paragraphs and tables."""
    size, data = found.sweep.size.column, found.sweep.data.column
    target = found.curve.target.column
    parts: list[str | Block] = []
    if found.group:
        parts.append(f"{found.curve.law.group_column} {found.group}:")
    n = len(found.sweep.budgets)
    percent_level = f"{100 * found.level:g} %"
    parts.append(
        f"{n} budget{'s' * (n != 1)} of compute C, and the {size} with the lowest {target} in each: of the runs, of "
        f"their parabola and of the law ({percent_level} intervals in brackets):"
    )
    parts.append(_budgets(found))
    parts.append(f"best {size} grows as C^a, best {data} as C^b ({percent_level} intervals in brackets):")
    parts.append(_exponents(found))
    for k, optimum in enumerate(_asked(found)):
        parts.append(f"at C = {short(optimum, 4)}:")
        parts.append(_at(found, k, size, data))
    parts.append(f"law: {target} = {found.curve.text}")
    if found.bias is not None and found.quadratic.ok:
        off = ", ".join(
            f"{size} by {percent(n)} and {data} by {percent(d)} at C = {short(c, 4)}"
            for c, n, d in zip(_asked(found), found.bias.N, found.bias.D, strict=True)
        )
        parts.append(
            f"parabolas on these very sizes are off by themselves, without any noise, if the law is right: {off}; "
            f"a by {round(found.bias.a, 4) + 0.0:+.4f}, b by {round(found.bias.b, 4) + 0.0:+.4f}"
        )
    if found.believe is None:
        parts.append(f"believe none of them: {found.why}")
    else:
        parts.append(f"believe {WHAT[found.believe][0]} ({WHAT[found.believe][2:]}): {found.why}")
    parts += [f"note: {note}" for note in found.notes]
    return parts


def _asked(found: Reading) -> list[float]:
    """Return the budgets that the answer was carried to."""
    longest = max(found.approaches, key=lambda a: len(a.at))
    return [o.C for o in longest.at]


def _budgets(found: Reading) -> Block:
    law = {o.C: o.N for o in found.law.measured}
    rows = []
    for k, p in enumerate(found.parabolas):
        best = spoken(p.best_N) if p.ok else p.status
        off = math.nan if found.bias is None else found.bias.at_budgets[k]
        rows.append(
            (
                short(p.budget),
                str(p.n_sizes),
                short(float(p.N[p.lowest])),
                best,
                percent(off) if p.ok and math.isfinite(off) else "",
                spoken(law.get(p.budget, UNKNOWN)),
                p.reason,
            )
        )
    header = ("C", "sizes", "lowest run", "parabola", "its bias", "law", "")
    return Block(header, tuple(rows))


def _exponents(found: Reading) -> Block:
    rows = [(WHAT[a.name], spoken(a.a), spoken(a.b), _why_not(a)) for a in found.approaches]
    return Block(("approach", "a", "b", ""), tuple(rows))


def _why_not(approach: Approach) -> str:
    return "" if approach.ok else f"{approach.status}: {approach.reason}"


def _at(found: Reading, k: int, size: str, data: str) -> Block:
    rows = []
    for a in found.approaches:
        if k < len(a.at):
            o = a.at[k]
            ratio = short(o.D.value / o.N.value)
            loss = spoken(o.loss, 4) if math.isfinite(o.loss.value) else ""
            rows.append((WHAT[a.name], spoken(o.N), spoken(o.D), ratio, loss))
    # at the far end a bias says nothing any more: a factor of zero has no inverse
    told = k < len(found.quadratic.at) and found.bias is not None and min(found.bias.N[k], found.bias.D[k]) > -1.0
    if found.bias is not None and told and found.quadratic.ok:
        o = found.quadratic.at[k]
        N, D = o.N.value / (1 + found.bias.N[k]), o.D.value / (1 + found.bias.D[k])
        rows.insert(-1, ("2 without its bias", short(N), short(D), short(D / N), ""))
    header = ("approach", f"best {size}", f"best {data}", f"{data}/{size}", found.curve.target.column)
    return Block(header, tuple(rows))
