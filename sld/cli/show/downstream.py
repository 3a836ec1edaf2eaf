"""How `sld downstream` looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sld.cli.output import notes, remark, say, say_json, say_table, shown

if TYPE_CHECKING:
    from sld.analysis.curves.forecast import Downstream, TaskForecast

_KINDS = {"two stages": "through the loss", "direct": "from compute", "does not scale": "does not scale"}


def scores(found: Downstream, json: bool) -> None:
    """Show scores of larger models."""
    if json:
        say_json(found.to_json())
        return
    interval = f"{100 * found.level:g} % interval"
    for j, first in enumerate(found.tasks[0].scores):
        say("at " + ", ".join(f"{name} = {shown(value)}" for name, value in first.scales.items()))
        say()
        rows = [[t.task, shown(t.scores[j].value), _ends(t, j), _how(t)] for t in found.tasks]
        say_table(rows, ["task", "score", interval, "foretold"])
        say()
    losses = [s.loss for t in found.tasks for s in t.scores if s.loss is not None]
    if losses and found.through is not None:
        say(f"{found.through} foretold there: " + ", ".join(dict.fromkeys(shown(loss) for loss in losses)))
    if any(t.errors for t in found.tasks):
        say("error: of smaller models foretelling larger ones, mean absolute, and in how many scores")
    if found.not_scaling:
        names = ", ".join(found.not_scaling)
        say(f"do not scale: {names}: no more than chance relates them to compute; the mean is shown")
    for t in found.tasks:
        if t.follows:
            each = ", ".join(f"{name} {value:+.2f}" for name, value in t.follows.items())
            say(f"{t.task}: rank correlation with compute: {each}")
    for t in found.tasks:
        if t.alarm:
            remark(f"warning: {t.task}: {t.alarm}")
    notes(found.notes)


def _ends(t: TaskForecast, j: int) -> str:
    return f"{shown(t.scores[j].low)} to {shown(t.scores[j].high)}"


def _how(t: TaskForecast) -> str:
    how = _KINDS[t.kind] + (f" ({t.shape})" if t.shape else "")
    if t.kind not in t.errors:
        return how
    other = [f"{_KINDS[k]} {shown(e, 2)}" for k, e in t.errors.items() if k not in (t.kind, "does not scale")]
    beside = f"; {', '.join(other)}" if other and t.kind != "does not scale" else ""
    return f"{how}, error {shown(t.errors[t.kind], 2)} ({t.n_foretold}){beside}"
