"""Laws and discoveries in a few lines of text, and in LaTeX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sld.formula.render import to_latex
from sld.laws.law import Law
from sld.laws.remarks import about_prediction

if TYPE_CHECKING:
    from sld.search.outcome import Discovery

_TARGETS = 3  # shown; a mixture has a target for each domain
_LONGEST = 240  # characters of a line; a formula of twenty constants has more
_DIGITS = 4  # of constants, where a few lines are all there is


def law_lines(law: Law) -> list[str]:
    """Return the formulas with their constants, and the verdict of the search where there was one."""
    lines = [f"Law of {_listed([t.column for t in law.targets])}"]
    for target in law.targets[:_TARGETS]:
        lines.append(_cut(f"  {target.column} = {_formula(law, target.column)}"))
    if len(law.targets) > _TARGETS:
        lines.append(f"  and {len(law.targets) - _TARGETS} more; law.text() has all")
    if sentence := verdict_of(law):
        lines.append(_cut(f"  verdict: {sentence}"))
    if sentence := about_prediction(law):
        lines.append(_cut(f"  {sentence}"))
    return lines


def discovery_lines(found: Discovery) -> list[str]:
    """Return the law, and from what it was chosen."""
    _, *law = law_lines(found.law)
    if not verdict_of(found.law):
        law.append(_cut(f"  verdict: {found.verdict.sentence}"))
    tried = found.counts.get("tried", 0)
    stopped = ", interrupted" if found.interrupted else ""
    searched = f"  {tried} formulas tried on {found.table.n_rows} rows in {found.seconds:.0f} s{stopped}"
    return [f"Discovery of a law of {_listed([t.column for t in found.law.targets])}", *law, searched]


def verdict_of(law: Law) -> str:
    """Return the verdict in a sentence; nothing for a law that was fitted, not searched for."""
    verdict = law.provenance.get("verdict")
    return str(verdict.get("sentence", "")) if isinstance(verdict, Mapping) else ""


def latex(law: Law) -> str:
    """Return the formulas in LaTeX, with their constants where there is one group."""
    lines = []
    for target in law.targets[:_TARGETS]:
        column = target.column
        values = law.constants[column][law.groups[0]] if len(law.groups) == 1 else None
        name = "".join(f"\\{c}" if c in "_%$#&{}" else c for c in column)
        lines.append(rf"\text{{{name}}} = {to_latex(law.expressions[column], values, digits=_DIGITS)}")
    if len(lines) == 1:
        return f"$${lines[0]}$$"
    return r"$$\begin{gathered}" + r" \\ ".join(lines) + r"\end{gathered}$$"


def _formula(law: Law, column: str) -> str:
    if len(law.groups) == 1:
        return law.text(column, digits=_DIGITS).rpartition(" = ")[2]
    groups = f"{', '.join(law.groups[:_TARGETS])}{', ...' * (len(law.groups) > _TARGETS)}"
    return f"{law.expressions[column].text}, constants for each of {len(law.groups)} groups ({groups})"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_TARGETS]) + (f" and {len(names) - _TARGETS} more" if len(names) > _TARGETS else "")


def _cut(line: str) -> str:
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"
