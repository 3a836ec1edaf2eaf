"""What a sensitivity says, in words and small tables."""

from __future__ import annotations

import math

from sld.analysis.decisions.answers import FACTORS, Effects
from sld.analysis.decisions.spans import closed, spoken
from sld.analysis.decisions.words import Block, Said, percent
from sld.core.numbers import short, signed

_MOST = 10  # single fits that are listed
_NOTHING = 1e-4  # of an answer: what moves it less is not listed one by one


def said(found: Effects, answer: str | None = None) -> Said:
    """Return paragraphs and tables about one answer, the main one if none is named."""
    name = found.answer if answer is None else answer
    base = found.base[name]
    parts: list[str | Block] = [f"law: {found.formula}"]
    if found.about:
        parts.append(f"asked of: {found.about}")
    best = any(answer.startswith("best ") and math.isfinite(found.base[answer].value) for answer in found.base)
    if found.about.startswith("the best split") and not best:
        parts.append(f"the law as fitted has no best split, so {name} is looked at instead")
    level = f" ({100 * found.level:g} % interval in brackets)" if closed(base) else " (no interval could be had)"
    parts.append(f"{name} = {spoken(base)}{level}; what else it would be:")
    parts.append(_factors(found, name))
    if rows := _single(found, name):
        parts.append("the fits that move it most:")
        parts.append(Block(("", name, "change"), tuple(rows)))
    parts.append("every answer, from the lowest to the highest of all these fits:")
    parts.append(_answers(found))
    parts.append(_verdict(found, name))
    parts += [f"note: {note}" for note in found.notes]
    return parts


def _change(value: float, base: float) -> str:
    return percent(value / base - 1) if base else signed(value - base)


def _factors(found: Effects, name: str) -> Block:
    value = found.base[name].value
    rows = []
    for e in found.effects(name):
        low, high = (f"{short(v)} ({_change(v, value)})" if v != value else short(v) for v in (e.low[0], e.high[0]))
        by = "; ".join(dict.fromkeys(who for v, who in (e.low, e.high) if v != value)) or "nothing moves it"
        rows.append((FACTORS[e.factor], str(e.n), low, high, by))
    return Block(("what is changed", "fits", "lowest", "highest", "by"), tuple(rows))


def _single(found: Effects, name: str) -> list[tuple[str, ...]]:
    value = found.base[name].value
    known = [(v.answers[name], v.name) for v in found.variants if math.isfinite(v.answers.get(name, math.nan))]
    known = [(x, who) for x, who in known if abs(x - value) > _NOTHING * abs(value)]
    known.sort(key=lambda pair: -abs(pair[0] - value))
    return [(who, short(x), _change(x, value)) for x, who in known[:_MOST]]


def _answers(found: Effects) -> Block:
    rows = []
    for name, base in found.base.items():
        known = [v.answers[name] for v in found.variants if math.isfinite(v.answers.get(name, math.nan))]
        if not known or not math.isfinite(base.value):
            continue
        low, high = min(*known, base.value), max(*known, base.value)
        most = found.effects(name)
        rows.append((name, spoken(base), short(low), short(high), FACTORS[most[0].factor] if most else ""))
    return Block(("answer", "as fitted", "lowest", "highest", "moved most by"), tuple(rows))


def _verdict(found: Effects, name: str) -> str:
    """Say whether the choices move the answer by more than its interval."""
    base, effects = found.base[name], found.effects(name)
    if not effects:
        return "no other fit gives this answer"
    low, high = min(e.low[0] for e in effects), max(e.high[0] for e in effects)
    if not closed(base):
        return f"with all these choices {name} lies between {short(low)} and {short(high)}"
    assert base.low is not None and base.high is not None
    beyond = [FACTORS[e.factor] for e in effects if e.low[0] < base.low or e.high[0] > base.high]
    if not beyond:
        return f"no choice moves {name} out of its interval: it is as well known as the interval says"
    return (
        f"outside the interval with: {', '.join(beyond)}; with all these choices {name} lies between "
        f"{short(low)} and {short(high)}"
    )
