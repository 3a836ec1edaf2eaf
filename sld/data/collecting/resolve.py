"""Which recordings are one run: by id, by what a run says it continues, by name and settings, by content, by a key.

The rules, in order. Settings that stand in a part of their own are given to the run that they are of. Recordings of
one id are stretches of one run. A run that names another which it continues, or that has the name and settings of
another and begins where that one had already begun, goes on with it. Runs of equal content are one. Runs of several
sources that agree in the key of `--join` are one. What still shares a name is numbered.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

import numpy as np

from sld.core.numbers import exact
from sld.data.collecting.account import Remark, listed
from sld.data.collecting.asked import found_name
from sld.data.collecting.counters import FOLLOWS, PLANNED_STEPS, Known
from sld.data.collecting.stretches import as_remarks, joined
from sld.data.importers.attempt import Attempt, Cell, Series, State, as_number

_BY_EPOCH = ("keras", "fastai")  # sources whose steps are epochs
RUN_KEY = "run"  # the key of --join that stands for a run's name


@dataclass(frozen=True, eq=False)
class Run:
    """A run: one name, one configuration, one curve a metric.

    Attributes:
        name: Unique in a collection.
        ids: What its sources know it by.
        place: Where it was found.
        sources: Names of the readers.
        config: Settings.
        series: Metric to curve, steps ascending.
        summary: Metric to value, for metrics without a curve.
        state: Whether it went to its end.
        ended: Why it did not, in words; empty otherwise.
    """

    name: str
    ids: tuple[str, ...]
    place: str
    sources: tuple[str, ...]
    config: Mapping[str, Cell]
    series: Mapping[str, Series]
    summary: Mapping[str, Cell]
    state: State
    ended: str = ""

    @property
    def last_step(self) -> float | None:
        """The last step at which anything was logged."""
        ends = [float(s.steps[-1]) for s in self.series.values() if len(s)]
        return max(ends) if ends else None


Read = Sequence[tuple[str, Attempt]]  # name of the reader, and what it read


def resolve(found: Read, join: str | None = None) -> tuple[list[Run], list[Remark]]:
    """Return the runs that attempts are of, and what was done with them.

    Args:
        found: The attempts, in the order in which they were found, with the names of their readers.
        join: The setting, or "run" for the name, that runs of several sources share.

    Raises:
        UsageError: No run has the setting of `join`.
    """
    remarks = [Remark("note", "", note) for _, attempt in found for note in attempt.notes]
    runs = _by_id(_with_parts(found), remarks)
    runs = _followed(runs, remarks)
    runs = _continued(runs, remarks)
    runs = _without_copies(runs, remarks)
    if join is not None:
        if join != RUN_KEY:  # a run without the setting goes by its name, but not all of them
            settings = dict.fromkeys([RUN_KEY, *(k for run in runs for k in run.config)])
            join = found_name(join, list(settings), "setting to join on")
        runs = _joined_by(join, runs, remarks)
    return _named(runs, remarks), remarks


def _with_parts(found: Read) -> Read:
    """Give settings that were written apart to the run that they are of, if it is there."""
    owners = {attempt.id for _, attempt in found if not attempt.part_of}
    parts: dict[tuple[str, str], list[Attempt]] = {}
    for reader, attempt in found:
        if attempt.part_of in owners:
            parts.setdefault((reader, attempt.part_of), []).append(attempt)
    whole = []
    for reader, attempt in found:
        if attempt.part_of in owners:
            continue
        for part in parts.get((reader, attempt.id), ()):
            summary = {k: v for k, v in part.summary.items() if k not in attempt.series}
            attempt = replace(attempt, config={**part.config, **attempt.config}, summary={**summary, **attempt.summary})
        whole.append((reader, attempt))
    return whole


def _by_id(found: Read, remarks: list[Remark]) -> list[Run]:
    groups: dict[tuple[str, str], list[Attempt]] = {}
    for reader, attempt in found:
        groups.setdefault((reader, attempt.id), []).append(attempt)
    runs = []
    readers = list(dict.fromkeys(reader for reader, _ in found))
    begun = {key: min(a.order for a in attempts) for key, attempts in groups.items()}
    # of each source in the order in which they were started, where it says; else as they were found
    for reader, identity in sorted(groups, key=lambda key: (readers.index(key[0]), begun[key])):
        attempts = groups[reader, identity]
        whole = joined(attempts)
        run = _run_of(whole.attempt, (identity,), (reader,))
        remarks += as_remarks(whole, run.name)
        runs.append(run)
    return runs


def _run_of(attempt: Attempt, ids: tuple[str, ...], sources: tuple[str, ...]) -> Run:
    run = Run(
        attempt.name, ids, attempt.place, sources, attempt.config,
        attempt.series, attempt.summary, attempt.state,
    )  # fmt: skip
    return with_end(run)


def with_end(run: Run) -> Run:
    """Return a run whose state also minds how many steps it was meant to have."""
    planned, last = _planned(run), run.last_step
    if planned is None or last is None:
        return replace(run, ended="its source says so" if run.state == "unfinished" else "")
    name, steps = planned
    if last + _spacing(run) >= steps:
        return replace(run, state="finished", ended="")
    if run.state == "finished":
        # a tracker that was told of the end knows better: its steps may count calls of log(), and not steps of training
        return replace(run, ended="")
    return replace(run, state="unfinished", ended=f"ended at step {exact(last)} of {exact(steps)} ({name})")


def _planned(run: Run) -> tuple[str, float] | None:
    by_epoch = any(source in _BY_EPOCH for source in run.sources)
    known = Known(run.config)
    for wanted in PLANNED_STEPS:
        if ("epoch" in wanted) == by_epoch and (name := known.first((wanted,))) is not None:
            steps = as_number(run.config[name])
            if steps is not None and 0 < steps < np.inf:
                return name, steps
    return None


def _spacing(run: Run) -> float:
    """Return how many steps lie between two logged ones, where a run logs most often."""
    gaps = [float(np.median(np.diff(s.steps))) for s in run.series.values() if len(s) > 1]
    return max(min(gaps, default=1.0), 1.0)


def _as_attempt(run: Run, order: float) -> Attempt:
    return Attempt(run.ids[0], run.name, run.place, run.config, run.series, run.summary, run.state, order)


def _chained(first: Run, then: Run, remarks: list[Remark], why: str) -> Run:
    whole = joined([_as_attempt(first, 0.0), _as_attempt(then, 1.0)])
    remarks += [r for r in as_remarks(whole, first.name) if r.kind != "resumed"]
    details = "; ".join(sentence for kind, sentence in whole.remarks if kind == "resumed")
    remarks.append(Remark("resumed", first.name, f"{why}{': ' if details else ''}{details}"))
    run = _run_of(whole.attempt, (*first.ids, *then.ids), tuple(dict.fromkeys((*first.sources, *then.sources))))
    return replace(run, name=first.name)


def _followed(runs: list[Run], remarks: list[Remark]) -> list[Run]:
    """Join runs that name the one they continue; a chain link by link, from its beginning."""
    for _ in range(len(runs)):
        links = list(_links(runs))
        if not links:
            break
        later = {id(then) for _, then, _ in links}
        # in a circle nobody is first; it is opened at some link
        ready = [link for link in links if id(link[0]) not in later] or links[:1]
        whole: dict[int, Run] = {}
        gone: set[int] = set()
        for first, then, key in ready:
            if {id(first), id(then)} & gone:
                continue
            why = f"{then.name} continues it ({key} = {str(then.config[key])[:60]})"
            # what it continued is settled now: the setting must not be followed again
            settled = replace(then, config={k: v for k, v in then.config.items() if k != key})
            whole[id(first)] = _chained(whole.get(id(first), first), settled, remarks, why)
            gone.add(id(then))
        runs = [whole.get(id(run), run) for run in runs if id(run) not in gone]
    return runs


def _links(runs: Sequence[Run]) -> Iterator[tuple[Run, Run, str]]:
    """Yield a run, one that says it continues it, and the setting that says so."""
    by_id: dict[str, list[Run]] = {}
    by_name: dict[str, list[Run]] = {}
    for run in runs:
        by_name.setdefault(run.name, []).append(run)
        for identity in run.ids:
            by_id.setdefault(identity, []).append(run)
    for then in runs:
        known = Known(then.config)
        for wanted in FOLLOWS:
            key = known.first((wanted,))
            value = then.config[key] if key is not None else None
            if key is None or not isinstance(value, str) or not value:
                continue
            parts = dict.fromkeys((value, *PurePath(value.replace("\\", "/")).parts))
            for index in (by_id, by_name):
                firsts = {id(r): r for part in parts for r in index.get(part, ()) if r is not then}
                if firsts:
                    break
            if len(firsts) == 1:
                yield next(iter(firsts.values())), then, key


def _continued(runs: list[Run], remarks: list[Remark]) -> list[Run]:
    """Join runs of one name and equal settings of which the later begins where the earlier had already begun."""
    kept: list[Run] = []
    of_name: dict[str, list[int]] = {}
    for run in runs:
        k = next((k for k in of_name.get(run.name, ()) if _goes_on(kept[k], run)), None)
        if k is None:
            of_name.setdefault(run.name, []).append(len(kept))
            kept.append(run)
        else:
            kept[k] = _chained(kept[k], run, remarks, "a second recording with its name and settings begins later")
    return kept


def _goes_on(first: Run, then: Run) -> bool:
    if first.name != then.name or first.sources != then.sources or not first.config or first.config != then.config:
        return False
    shared = [n for n in then.series if n in first.series and len(first.series[n]) and len(then.series[n])]
    return bool(shared) and all(
        float(then.series[n].steps[0]) > float(first.series[n].steps[0]) + _spacing(first) for n in shared
    )


def _without_copies(runs: list[Run], remarks: list[Remark]) -> list[Run]:
    kept: dict[tuple[object, ...], list[Run]] = {}
    order = []
    for run in runs:
        mark = tuple(
            (k, len(s), s.values[:3].tobytes(), s.values[-3:].tobytes()) for k, s in sorted(run.series.items())
        )
        twin = next((other for other in kept.get(mark, ()) if _equal(run, other)), None)
        if twin is None:
            kept.setdefault(mark, []).append(run)
            order.append(run)
        else:
            remarks.append(Remark("copies", run.name, f"{run.place} holds the same as {twin.place}"))
    return order


def _equal(a: Run, b: Run) -> bool:
    """Whether two runs are one recording: curves and settings the same to the last bit."""
    if not a.series or set(a.series) != set(b.series) or a.config != b.config:
        return False
    return all(
        np.array_equal(a.series[k].steps, b.series[k].steps)
        and np.array_equal(a.series[k].values, b.series[k].values, equal_nan=True)
        for k in a.series
    )


def _joined_by(key: str, runs: list[Run], remarks: list[Remark]) -> list[Run]:
    """Join the runs of several sources that share a key; settings of the earlier source count where they differ."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        value = run.config.get(key)
        name = run.name if value is None or key == RUN_KEY else str(value)
        groups.setdefault(name, []).append(run)
    whole = []
    several = len({run.sources for run in runs}) > 1
    for name, members in groups.items():
        if len({m.sources for m in members}) == len(members) or any(not m.series for m in members):
            whole += _united(members, remarks)
        else:
            whole += members
        if several and len(members) == 1:
            remarks.append(Remark("unmatched", members[0].name, f"no other source has {key} = {name}"))
    if not several:
        # a sheet and curves of one kind: who has no curve found no partner
        remarks += [Remark("unmatched", r.name, f"no curve has {key} = {r.name}") for r in whole if not r.series]
    return whole


def _united(members: list[Run], remarks: list[Remark]) -> list[Run]:
    """Return runs as one each: those without curves give what they have to every one that has some."""
    curves = [m for m in members if m.series]
    sheets = [m for m in members if not m.series]
    if len({m.sources for m in curves}) == len(curves) and curves:
        first, *others = curves
        for other in others:
            both = [k for k in other.series if k in first.series]
            if both:
                remarks.append(Remark("changed", first.name, f"{listed(both)} stand in two sources; the first counts"))
            first = _overlaid(first, other, remarks)
        curves = [first]
    if not curves:
        first, *others = sheets
        for other in others:
            first = _overlaid(first, other, remarks)
        return [first]
    for sheet in sheets:
        curves = [_overlaid(curve, sheet, remarks) for curve in curves]
    return curves


def _overlaid(first: Run, other: Run, remarks: list[Remark]) -> Run:
    differing = [
        k
        for k, v in other.config.items()
        if v is not None and first.config.get(k) is not None and first.config[k] != v and k != RUN_KEY
    ]
    if differing:
        texts = [f"{k} ({first.config[k]} and {other.config[k]})" for k in differing]
        remarks.append(Remark("changed", first.name, f"its sources differ in {listed(texts, 3)}; the first counts"))
    state = first.state if first.state != "unknown" else other.state
    run = replace(
        first,
        ids=(*first.ids, *other.ids),
        sources=tuple(dict.fromkeys((*first.sources, *other.sources))),
        config={**other.config, **{k: v for k, v in first.config.items() if v is not None}},
        series={**other.series, **first.series},
        summary={**other.summary, **first.summary},
        state=state,
    )
    return with_end(run)


def _named(runs: list[Run], remarks: list[Remark]) -> list[Run]:
    """Number runs that share a name: base, base-2, ..."""
    taken = {run.name for run in runs}
    seen: dict[str, int] = {}
    named = []
    for run in runs:
        seen[run.name] = seen.get(run.name, 0) + 1
        name = run.name
        if seen[name] > 1:
            k = seen[name]
            while f"{run.name}-{k}" in taken:
                k += 1
            name = f"{run.name}-{k}"
            taken.add(name)
            remarks.append(
                Remark("renamed", name, f"another run is called {run.name!r} too; this one is in {run.place}")
            )
        named.append(replace(run, name=name))
    return named
