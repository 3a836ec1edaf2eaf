"""What a language model is asked: a pure function from the state of a search to messages (see tests/golden)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sld.data.splits import Fold
from sld.data.table import Table
from sld.search.candidates.candidate import Candidate
from sld.search.judging.admissible import HARD_REACH, RUNAWAY
from sld.search.judging.domain import EXPLOSION
from sld.search.llm.digest import digest, structure, typical
from sld.search.llm.replies import Rejected

Messages = list[dict[str, Any]]

WANTED = 16  # formulas asked for in one reply
# how many lines of each kind the state of a search has: together they stay shorter than the data
_FRONT = 8
_DIVERSE = 8
_OWN = 12
_FAILURES = 8
_MAX_LINE = 300  # characters: the longest formula that is worth a line fits

GRAMMAR = """\
The grammar of formulas:
- operators + - * / ** and parentheses; ** is the power and binds tighter than a minus sign before it
- functions exp log sqrt tanh sigmoid abs (one argument), min max (two or more); log is natural
- every name that is not a variable below is a constant, fitted by the engine: E + A*N**-a has the constants E, A, a
- do not write fitted numbers: write A*N**-a, not 406.4*N**-0.34; exact numbers such as 1 or 2 are fine. Where you know
  about what an exponent or a scale is, say it under "start", and the fit begins there too; else leave "start" empty
- a constant used twice has one value; names are letters, digits and _ (no double underscore)
- products are written with *, no implicit multiplication, no ^, no code, no conditions, no sums over indices
- linear constants are solved exactly and powers by many starts: a few constants that matter beat many that do not
- shorter formulas win when they predict as well"""

GROUPS = """
- one formula serves all groups, and each group gets its own constants, except those that you name under "shared": they
  have one value for all groups. Exponents and scales often are the same where levels differ, and a shared constant is
  firmer. Linear constants cannot be shared
- a value under "start" is for the group that you name with it; "group": "" is for all"""

SHARES = """
- sum(k_share*share) stands for the sum over all proportions: share is each in turn, k_share one constant for each
- own is the proportion that belongs to the target"""

CHECKS = """
The fitted constants of a formula are checked, and what fails is dropped or comes last, however well it fits:{scales}
- no runaway: up to {reach} ranges of the data beyond the largest runs (on the log axis) it stays within {ranges} ranges
  of the target (more, upwards, where the target spans decades), and keeps the bounds and directions that are declared
  for the columns below
- bounded constants: none beyond 1e30 or below 1e-30, no terms that cancel to more than three digits, and no constant in
  two places that need different units (a constant takes its unit from the columns it meets)"""

SCALES = """
- a value for every positive value of the scale variables, in all combinations, since a run may be larger in one and
  smaller in another: no pole, no logarithm or power of what turns negative. A shift as in (D + K)**-b is fitted with
  K >= 0; a loss that falls with scale has an irreducible part E >= 0
- bounded exponents: a decade below the smallest runs the law is within {explosion:,.0f} ranges of the target
- no spike between two rungs"""

SYSTEM = """\
You propose scaling laws: short formulas that predict how a quantity changes as training runs grow. An engine beside \
you fits the constants of every formula you write, judges it on rungs that the fit has not seen (larger runs than it \
was fitted to), and goes on varying the ones that do well. It tries thousands of variations by itself, so do not vary: \
bring what it lacks. Read the residuals, think of what is known about such quantities (saturation, interactions, \
effective quantities, optima that move, breaks, mixtures), and propose forms of different structure."""


@dataclass(frozen=True)
class View:
    """What the model is shown of a search.

    Attributes:
        task: Name of the task; empty for a bare table.
        question: What the law is for, in the words of whoever asks; empty where nobody said.
        front: The Pareto front, simplest first.
        diverse: Good candidates that behave differently, best first.
        own: Its own proposals so far with what became of them, the latest last.
        rejected: Formulas of its last replies that were none, with the reason.
        tried: Formulas that the engine has judged so far.
        left: The budget that is left, in words.

    Examples:
        ``messages(View(table, rung_folds(table), max_constants=20))`` is the first question of a search.
    """

    table: Table
    folds: Sequence[Fold]
    max_constants: int
    task: str = ""
    front: Sequence[Candidate] = ()
    diverse: Sequence[Candidate] = ()
    own: Sequence[tuple[str, str]] = ()
    rejected: Sequence[Rejected] = ()
    tried: int = 0
    left: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    question: str = ""


def messages(view: View) -> Messages:
    """Return what is asked for new proposals."""
    return [
        {"role": "system", "content": system(view.table)},
        {"role": "user", "content": "\n\n".join(part for part in (*about(view), _ask(view)) if part)},
    ]


def system(table: Table) -> str:
    """Return who the model is, what the grammar has, and what a formula must pass."""
    scales = SCALES.format(explosion=EXPLOSION) if any(v.role == "scale" for v in table.variables) else ""
    checks = CHECKS.format(scales=scales, reach=HARD_REACH, ranges=f"{RUNAWAY:g}")
    return f"{SYSTEM}\n\n{GRAMMAR}{GROUPS if len(table.groups) > 1 else ''}{SHARES if table.shares else ''}\n{checks}"


def about(view: View) -> list[str]:
    """Return what is known of the task and of the search, in paragraphs."""
    title = f"Task: {view.task}." if view.task else "A table of training runs."
    limit = f"At most {view.max_constants} constants per group and target."
    return [
        f"{title} {limit} The data (training rows only):\n\n{digest(view.table)}",
        _asked(view),
        _state(view),
        _front(view),
        _residuals(view),
        _diverse(view),
        _own(view),
        _failures(view),
    ]


def _asked(view: View) -> str:
    """Return the question, on one line: it is a person's text, and the prompt is made of lines."""
    line = " ".join("".join(c if c.isprintable() else " " for c in view.question).split())
    return f"What the law is for, in the words of whoever asks: {line}" if line else ""


def _state(view: View) -> str:
    judged = "; ".join(f"{f.name} ({len(f.test)} rows)" for f in view.folds)
    lines = [f"Formulas are judged on: {judged}."]
    lines += [f"The engine has tried {view.tried} formulas; budget left: {view.left}."] if view.left else []
    return "\n".join(lines)


def _front(view: View) -> str:
    if not view.front:
        return "Nothing has been judged yet."
    lines = ["Best formula of each size so far (error: mean squared error over variance, on the unseen rungs):"]
    for c in _spread(view.front, _FRONT):
        lines.append(f"- {describe(c)}")
    return "\n".join(lines)


def describe(candidate: Candidate) -> str:
    """Return a candidate on one line."""
    errors = " ".join(_short(e) for e in candidate.fold_errors)
    line = f"{candidate.text} | score {candidate.score:.3f}, error {_short(typical(candidate.fold_errors))}"
    line += f" (folds {errors}), fit error {_short(candidate.train_nmse)}, {candidate.n_constants} constants"
    if shared := sorted({c for names in candidate.shared.values() for c in names}):
        line += f", shared: {' '.join(shared)}"
    if not candidate.admissible:
        line += f"; fails a check: {candidate.reasons[0] if candidate.reasons else 'beyond the data'}"
    return _cut(line)


def _residuals(view: View) -> str:
    if not view.front:
        return ""
    best = min(view.front, key=lambda c: (not c.admissible, c.score, c.key))
    lines = []
    for j, target in enumerate(view.table.targets[:4]):
        name = f"{target.column}: " if len(view.table.targets) > 1 else ""
        lines += [f"- {name}{text}" for text in structure(best, view.table, j)]
    if not lines:
        return "Where the best one is off on the training rows: no rung and no group stands out."
    return _cut(f"Where the best one, {best.text}, is off on the training rows:") + "\n" + "\n".join(lines)


def _diverse(view: View) -> str:
    shown = {c.key for c in _spread(view.front, _FRONT)}
    others = [c for c in view.diverse if c.key not in shown][:_DIVERSE]
    if not others:
        return ""
    return "Others that do well and behave differently:\n" + "\n".join(f"- {describe(c)}" for c in others)


def _own(view: View) -> str:
    if not view.own:
        return ""
    lines = [_cut(f"- {text}: {outcome}") for text, outcome in view.own[-_OWN:]]
    return "What became of your proposals (do not repeat them):\n" + "\n".join(lines)


def _failures(view: View) -> str:
    lines = []
    if view.rejected:
        lines.append("These could not be read:")
        lines += [_cut(f"- {r.text}: {r.why}") for r in view.rejected[-_FAILURES:]]
    known = ("tried", "judged", "inadmissible")
    why = sorted(((n, w) for w, n in view.counts.items() if w not in known), key=lambda item: (-item[0], item[1]))
    if why:
        lines.append("The engine drops formulas for: " + ", ".join(f"{w} ({n})" for n, w in why[:5]) + ".")
    return "\n".join(lines)


def _ask(view: View) -> str:
    several = ""
    if len(view.table.targets) > 1:
        first, second = (t.column for t in view.table.targets[:2])
        several = f' One formula for all targets, or "{first}: formula; {second}: formula; ..." with one for each.'
    groups = len(view.table.groups) > 1
    shared, group = (', "shared": ["a"]', ', "group": ""') if groups else ("", "")
    return (
        f"Propose up to {WANTED} formulas, the most promising first, each of different structure.{several} "
        "Answer with JSON and nothing else: "
        f'{{"proposals": [{{"expression": "E + A*x**-a"{shared}, "start": [{{"name": "a", "value": 0.3{group}}}], '
        '"reason": "one line"}]}'
    )


def _spread(front: Sequence[Candidate], most: int) -> list[Candidate]:
    """Return the largest of the front, and of the rest some of every size."""
    if len(front) <= most:
        return list(front)
    step = (len(front) - 1) / (most - 1)
    return [front[round(k * step)] for k in range(most)]


def _short(x: float) -> str:
    return f"{x:.2g}" if x == x else "failed"


def _cut(line: str) -> str:
    return line if len(line) <= _MAX_LINE else line[: _MAX_LINE - 1] + "…"
