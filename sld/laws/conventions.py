"""How the quantities of two laws are counted: the same N by two conventions makes two models of one."""

from __future__ import annotations

import re

from sld.data.card import Variable
from sld.laws.catalogue import kind_of
from sld.laws.law import Law

# what a meaning says of a count of parameters where the card has no key for it; what is more special comes first
_SAID = tuple(
    (convention, re.compile(pattern, flags=re.IGNORECASE))
    for convention, pattern in (
        ("active-non-embedding", r"active\b.*\bnon[- ]?embedding|non[- ]?embedding\b.*\bactive"),
        ("active", r"\bactive\b|\bactivated\b"),
        ("non-embedding", r"\bnon[- ]?embedding|\bnon[- ]?vocabulary|(without|excluding|no) (the )?embedding"),
        ("total", r"\btotal\b|\ball parameters|(with|including) (the )?embedding"),
    )
)
_COUNTED = ("parameters", "data", "compute")  # quantities of which papers mean different counts


def convention_of(variable: Variable) -> str:
    """Return how a variable is counted: as its card says, else as its meaning does; empty where neither does.

    >>> convention_of(Variable("N", convention="total")), convention_of(Variable("N", meaning="active parameters"))
    ('total', 'active')
    """
    if variable.convention:
        return variable.convention
    if kind_of(variable) != "parameters":
        return ""
    text = f"{variable.column.replace('_', ' ')}; {variable.meaning}"
    return next((convention for convention, pattern in _SAID if pattern.search(text)), "")


def conventions_differ(a: Law, b: Law) -> tuple[str, ...]:
    """Return why two laws cannot be compared as they are, a sentence each; empty where nothing is known against it.

    Variables are compared that have the same column, or are the only ones of their kind (parameters, tokens, compute)
    in both laws: how they are counted, and their units. So are the units of targets of one column. What a card does not
    say is taken to agree.

    >>> from sld.data.card import Target
    >>> from sld.formula.expression import parse
    >>> constants = {"loss": {"all": {"E": 1.7, "A": 40.0, "a": 0.25}}}
    >>> def law(convention):
    ...     N = Variable("N", convention=convention)
    ...     return Law({"loss": parse("E + A*N**-a", ["N"])}, constants, (N,), (Target("loss"),))
    >>> for sentence in conventions_differ(law("total"), law("non-embedding")):
    ...     print(sentence.partition(":")[0])
    N is counted as total in one law and as non-embedding in the other
    """
    found = []
    for one, other in _pairs(a, b):
        name = one.column if one.column == other.column else f"{one.column} (of the other law {other.column})"
        how = convention_of(one), convention_of(other)
        if all(how) and _plain(how[0]) != _plain(how[1]):
            models = "one N means two models" if kind_of(one) == "parameters" else "one number means two things"
            found.append(
                f"{name} is counted as {how[0]} in one law and as {how[1]} in the other: {models}, so differences, "
                f"crossings and multipliers are off; count both alike{' (sld count)' if 'N' in models else ''}"
            )
        if one.unit and other.unit and _plain(one.unit) != _plain(other.unit):
            found.append(f"{name} is in {one.unit} in one law and in {other.unit} in the other")
    units = {t.column: t.unit for t in b.targets}
    for target in a.targets:
        unit = units.get(target.column, "")
        if target.unit and unit and _plain(target.unit) != _plain(unit):
            found.append(f"{target.column} is in {target.unit} in one law and in {unit} in the other")
    return tuple(found)


def _pairs(a: Law, b: Law) -> list[tuple[Variable, Variable]]:
    """Return the variables of two laws that stand for one quantity."""
    of_b = {v.column: v for v in b.variables}
    pairs = [(v, of_b[v.column]) for v in a.variables if v.column in of_b]
    paired = {v.column for pair in pairs for v in pair}
    for kind in _COUNTED:
        ours = [v for v in a.variables if kind_of(v) == kind]
        theirs = [v for v in b.variables if kind_of(v) == kind]
        if len(ours) == len(theirs) == 1 and not {ours[0].column, theirs[0].column} & paired:
            pairs.append((ours[0], theirs[0]))
    return pairs


def _plain(words: str) -> str:
    """Return words without what does not change their meaning: case, plural, hyphens."""
    return re.sub(r"[\s_-]+", " ", words.casefold()).strip().removesuffix("s")
