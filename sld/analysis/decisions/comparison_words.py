"""What a comparison says, in words and small tables."""

from __future__ import annotations

import math

from sld.analysis.decisions.crossings import Crossing
from sld.analysis.decisions.estimate import Estimate
from sld.analysis.decisions.findings import Findings, Pair
from sld.analysis.decisions.spans import span, spoken
from sld.analysis.decisions.words import Block, Said
from sld.core.numbers import short

_MOST_WRITTEN = 6  # laws whose formulas are shown


def said(found: Findings) -> Said:
    """Return paragraphs and tables."""
    level = f"{100 * found.level:g} %"
    parts: list[str | Block] = [f"{found.target}, {found.way.words} ({level} intervals in brackets)"]
    if len(found.tracks) <= _MOST_WRITTEN:
        parts += [f"  {t.curve.name}: {found.target} = {t.curve.text}" for t in found.tracks]
    if len(found.tracks) == 2:
        parts += _pair(found, found.only)
    else:
        parts += _several(found)
    if found.exponents is not None:
        parts.append(found.exponents.sentence)
    parts += [f"warning: {warning}" for warning in found.warnings]
    parts += [f"note: {note}" for note in found.notes]
    return parts


def _pair(found: Findings, pair: Pair) -> list[str | Block]:
    scale = found.way.scale
    rows = []
    data = any(not math.isnan(p.data.value) for p in pair.places)
    rows_known = any(t.inside.any() for t in found.tracks)
    for p in pair.places:
        cells = [short(p.x), spoken(p.one, 4), spoken(p.other, 4), spoken(p.difference, 2)]
        cells += ["-" if math.isnan(p.better) else f"{100 * p.better:.0f} %", _times(p.multiplier)]
        rows.append(
            (*cells, *([_times(p.data)] if data else []), "" if p.supported or not rows_known else "beyond the rows")
        )
    header = [scale, pair.one, pair.other, "difference", f"{pair.one} better", f"worth in {_word(scale)}"]
    table = Block((*header, *(["worth in data"] if data else []), ""), tuple(rows))
    parts: list[str | Block] = [table, *(_crossing(c, scale) for c in pair.crossings)]
    if not pair.crossings:
        parts.append(_never(found, pair))
    if pair.apart:
        parts.append(_offset(pair, scale))
    return parts


def _word(scale: str) -> str:
    return "compute" if scale == "C" else scale


def _times(estimate: Estimate) -> str:
    """Return a multiplier; infinite where the other never gets there."""
    if math.isnan(estimate.value):
        return "-"
    value = "never" if math.isinf(estimate.value) else f"×{short(estimate.value)}"
    return " ".join(filter(None, [value, span(estimate)]))


def _crossing(c: Crossing, scale: str) -> str:
    where = f"{scale} = {short(c.at.value)}"
    if (ends := span(c.at)) and ends != "(unknown)":
        where += f" {ends}"
    elif ends:
        where += " (anywhere in what was looked at)"
    text = f"they cross at {where}: {c.before} is better below, {c.after} above"
    return text


def _never(found: Findings, pair: Pair) -> str:
    low, high = pair.looked_at
    if not pair.apart:
        by = "a hundredth of its interval" if any(t.drawn.size for t in found.tracks) else "rounding"
        between = f"between {short(low)} and {short(high)}"
        return f"no difference told apart: everywhere {between} it is within {by}"
    first = pair.places[0] if pair.places else None
    ahead = pair.one if first is not None and first.difference.value * found.tracks[0].sign < 0 else pair.other
    sure = [p.better if ahead == pair.one else 1 - p.better for p in pair.places if not math.isnan(p.better)]
    text = f"they never cross between {short(low)} and {short(high)}: {ahead} is better everywhere"
    if sure:
        inside = [s for s, p in zip(sure, pair.places, strict=False) if p.supported]
        worst = min(inside or sure)
        within = "within the rows of both" if inside else "in what is shown"
        how = "more than 99 %" if worst > 0.99 else f"at least {math.floor(100 * worst)} %"
        text += f" ({how} sure {within})"
    return text


def lead(pair: Pair, scale: str) -> str:
    """Say who is ahead where the rows of both end, and by which factor of the scale."""
    m, where = pair.offset, f"at {scale} = {short(pair.reference)}"
    if not math.isfinite(m.value) or m.value == 0:
        return f"{where}, {pair.other if m.value else pair.one} never equals the other"
    ahead, behind, factor = (pair.one, pair.other, m) if m.value >= 1 else (pair.other, pair.one, _inverse(m))
    return f"{where} {ahead} is worth ×{spoken(factor)} the {_word(scale)} of {behind}"


def _offset(pair: Pair, scale: str) -> str:
    """Say whether the lead is a constant factor, or grows."""
    m, slope = pair.offset, pair.slope
    if not math.isfinite(m.value) or m.value == 0:
        return lead(pair, scale)
    sign = 1.0 if m.value >= 1 else -1.0
    text = f"offset: {lead(pair, scale)}"
    if math.isnan(slope.value):
        return text
    # per tenfold scale, of the lead of who is ahead
    value = 10.0 ** (sign * slope.value)
    ends = (
        [] if slope.low is None or slope.high is None else sorted(10.0 ** (sign * e) for e in (slope.low, slope.high))
    )
    per = Estimate(value, *ends)
    text += f"; slope: that factor is multiplied by {spoken(per)} with every tenfold {_word(scale)}"
    if not ends:
        return text
    if ends[0] <= 1 <= ends[1]:
        return f"{text}, so the rows do not tell a slope from none: as far as they say, the lead stays the same factor"
    return f"{text}, so the lead {'grows' if value > 1 else 'shrinks'}"


def _inverse(m: Estimate) -> Estimate:
    if m.low is None or m.high is None:
        return Estimate(1 / m.value)
    low = 0.0 if math.isinf(m.high) else 1 / m.high
    return Estimate(1 / m.value, low, math.inf if m.low == 0 else 1 / m.low)


def _several(found: Findings) -> list[str | Block]:
    scale = found.way.scale
    text = f"best of all: {found.best} from {scale} = {short(found.shown[0])}"
    for s in found.switches:
        beyond = "" if s.supported else ", beyond the rows"
        text += f"; {s.after} from {short(s.at.value)}" + (f" {span(s.at)}{beyond}" if span(s.at) else beyond)
    rows = []
    for pair in found.pairs:
        better = "-" if math.isnan(pair.better) else f"{100 * pair.better:.0f} %"
        where = "; ".join(f"{short(c.at.value)} {span(c.at)} to {c.after}".replace("  ", " ") for c in pair.crossings)
        where = where if pair.apart else "no difference told apart"
        slope = "-" if math.isnan(pair.slope.value) else spoken(pair.slope, 2)
        rows.append((pair.one, pair.other, better, _times(pair.offset), short(pair.reference), slope, where or "none"))
    header = (
        "first", "second", "first better", f"worth in {_word(scale)}", f"at {scale}", "slope", "crossings",
    )  # fmt: skip
    return [text, "each two, where the rows of both end:", Block(header, tuple(rows))]
