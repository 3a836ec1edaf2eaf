"""The search: proposals in, judged candidates remembered, the best extrapolator fitted on all rows and handed back."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from sld.core.errors import SldError, UsageError
from sld.core.expression import Expression
from sld.core.fitting import FitResult, Fitter, fit, huber_weights
from sld.core.kernel import Array
from sld.core.law import LAW_FILE, SINGLE_FILE, Law
from sld.core.pooling import lend
from sld.core.splits import frontier_weights, rung_folds
from sld.core.table import Table
from sld.search.candidate import Candidate, Discovery
from sld.search.consensus import Consensus, Halves
from sld.search.diverged import diverged_rows, sentence
from sld.search.executors import Executor
from sld.search.forms import Form
from sld.search.hall_of_fame import HallOfFame
from sld.search.judge import Judge, Proposal
from sld.search.proposers import ALL, Source, from_texts
from sld.search.robust import robust_fit
from sld.search.run_folder import RunFolder, from_event, to_event
from sld.search.selection import RULES, is_exact, noise_floor, rank
from sld.search.verdict import verdict

DEFAULT_BUDGET = "30s"
SEARCH_ROWS = 800  # more rows than this are thinned for the search; the chosen law is fitted on all
SEARCH_GROUPS = 60  # likewise for groups
FIT_ROWS = 100_000
_FINAL_STARTS = 12  # for groups that the search has not seen
_SEARCH_SHARE = 0.85  # of the budget; the rest is for judging the finalists again
_LEAST_ROWS = 3  # of a group that is judged
_FEW_NAMED = 5
_REWEIGHTINGS = 4
_PROGRESS_EVERY_S = 0.2
_RULE = "one_standard_error"


@dataclass(frozen=True)
class Budget:
    """How long to search: seconds of wall time, or local fits (repeatable bit for bit)."""

    seconds: float | None = None
    fits: int | None = None

    @staticmethod
    def parse(text: str) -> Budget:
        """Read "60s", "5min", "1h" or "20000fits".

        Raises:
            UsageError: Anything else.
        """
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|sec|min|m|h|fits|fit)\s*", text)
        amount = float(match[1]) if match else 0.0
        whole = match is not None and match[2].startswith("fit")
        if match is None or not 0 < amount < 1e15 or (whole and amount != int(amount)):
            raise UsageError(f"budget is a time or a number of fits, e.g. 60s, 5min or 20000fits; got {text!r}")
        if whole:
            return Budget(fits=int(amount))
        return Budget(seconds=amount * {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600}[match[2]])


@dataclass(frozen=True)
class Progress:
    """The state of a running search, for whoever shows it.

    Attributes:
        fraction: Of the budget used, 0 to 1.
        tried: Candidates judged.
        best: The best so far, or None.
    """

    seconds: float
    fraction: float
    tried: int
    n_fits: int
    best: Candidate | None


def discover(
    table: Table,
    *,
    seed: int = 0,
    budget: str = DEFAULT_BUDGET,
    workers: int = 2,
    out: str | Path | None = None,
    proposers: Sequence[str] | None = None,
    formulas: Sequence[str | Mapping[str, str]] = (),
    max_constants: int = 20,
    task: Mapping[str, Any] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Discovery:
    """Search the formula that extrapolates best from the low rungs of `table` to the higher ones.

    Args:
        table: The training rows; nothing else is ever seen.
        seed: Seed of all initial points.
        budget: Wall time such as "60s", or local fits such as "20000fits". With fits, the same seed gives the same
            law, bit for bit, with any number of workers.
        workers: Processes that judge candidates.
        out: Run folder to write and to take up again; None writes nothing.
        proposers: Names from `proposers.ALL`; all by default.
        formulas: Formulas to try first, one text for all targets or a text per target column.
        max_constants: Limit per group and target.
        task: Name and version of the task, for the record.
        progress: Called a few times a second.

    Returns:
        The chosen law fitted on all rows, with everything the choice rests on. After Ctrl-C it is the best law so
        far and `interrupted` is true.

    Raises:
        UsageError: A bad budget, proposer or formula; a table with too few rows or rungs; a run folder in use.
        SldError: No candidate could be fitted at all.
    """
    limit = Budget.parse(budget)
    if workers < 1:
        raise UsageError(f"workers must be 1 or more, got {workers}")
    if seed < 0:
        raise UsageError(f"seed must be 0 or more, got {seed}")
    names = list(proposers if proposers is not None else ALL)
    first = list(from_texts(table, formulas, "user"))
    if not names and not first:
        raise UsageError(f"nothing to try: name a proposer ({', '.join(ALL)}) or give a formula")
    notes = list(table.notes)
    everything, table = table, _with_enough_rows(table, max_constants)
    notes.extend(_about_borrowing(everything, table))
    _check(table)
    if diverged := diverged_rows(table):
        notes.append(sentence(table, diverged))
        table = table.take(np.delete(np.arange(table.n_rows), [d.row for d in diverged]))
        _check(table)
    small = _thinned(_of_few_groups(table, SEARCH_GROUPS), SEARCH_ROWS)
    if small is not table:
        n, every = len(small.groups), len(table.groups)
        where = "all groups" if n == every else f"{n} of {every} groups (evenly by their mean target)"
        notes.append(
            f"the search used {small.n_rows} of {table.n_rows} rows, spread over {where} and rungs"
            + ("; the chosen law was fitted on all of them" if table.n_rows <= FIT_ROWS else "")
        )
    folds = rung_folds(small)
    judge = Judge(small, folds, seed=seed, max_constants=max_constants)
    source = Source(small, names, iter(first), seed=seed, max_constants=max_constants)
    config = {
        "schema": 2,
        "task": dict(task or {}),
        "rows": everything.digest(),
        "seed": seed,
        "proposers": names,
        "formulas": [f if isinstance(f, str) else dict(f) for f in formulas],
        "max_constants": max_constants,
    }
    if out is None:
        search = _Search(judge, source, limit, workers, progress, None)
        search.run()
    else:
        with RunFolder(out, config) as folder:
            search = _Search(judge, source, limit, workers, progress, folder)
            search.run()
            found = _finish(search, table, everything, folds, seed, config, notes, budget)
            folder.write_front(found.front)
            found.law.save(folder.path / LAW_FILE)
            if found.single is not None:
                found.single.save(folder.path / SINGLE_FILE)
            else:  # an earlier, longer run may have left one
                (folder.path / SINGLE_FILE).unlink(missing_ok=True)
            return found
    return _finish(search, table, everything, folds, seed, config, notes, budget)


def _with_enough_rows(table: Table, max_constants: int) -> Table:
    """Return the groups that can be judged by themselves; the others borrow the shape of the law afterwards.

    Too few are fewer than three rows, or fewer than the most constants and two while other groups have twice as many:
    such a group would limit the length of every formula.
    """
    counts = np.bincount(table.group_index, minlength=len(table.groups))
    least = max(_LEAST_ROWS, min(max_constants + 2, int(np.median(counts)) // 2))
    few = counts < least
    if len(counts) < 2 or not few.any() or few.all():
        return table
    return table.take(~few[table.group_index])


def _about_borrowing(everything: Table, table: Table) -> list[str]:
    few = [g for g in everything.groups if g not in table.groups]
    if not few:
        return []
    counts = np.bincount(everything.group_index, minlength=len(everything.groups))
    named = [f"{g} ({counts[everything.groups.index(g)]})" for g in few[:_FEW_NAMED]]
    more = f" and {len(few) - _FEW_NAMED} more" if len(few) > _FEW_NAMED else ""
    return [
        f"groups with too few rows to be judged by themselves borrow the shape of the law from the others, and take "
        f"level and scale from their own rows as far as these go: {', '.join(named)}{more}"
    ]


def _check(table: Table) -> None:
    counts = np.bincount(table.group_index, minlength=len(table.groups))
    least = int(counts.min()) if len(counts) else 0
    if least < _LEAST_ROWS:
        where = f" in group {table.groups[int(counts.argmin())]!r}" if len(table.groups) > 1 else ""
        raise UsageError(
            f"a search needs at least {_LEAST_ROWS} rows{where}, got {least}; add runs or leave the group out"
        )
    for j, target in enumerate(table.targets):
        if float(np.ptp(table.Y[:, j])) == 0.0:
            raise UsageError(f"target {target.column!r} is {table.Y[0, j]:g} in every row; there is nothing to explain")


def _of_few_groups(table: Table, limit: int) -> Table:
    """Return the rows of at most `limit` groups: evenly spaced by their mean target, and the one with fewest rows.

    The smallest group decides how many constants a form may have, so it takes part.
    """
    n = len(table.groups)
    if n <= limit:
        return table
    counts = np.bincount(table.group_index, minlength=n)
    level = np.bincount(table.group_index, weights=table.Y[:, 0], minlength=n) / counts
    order = np.argsort(level, kind="stable")
    chosen = {int(order[round(k)]) for k in np.linspace(0, n - 1, limit - 1)} | {int(counts.argmin())}
    return table.take(np.isin(table.group_index, sorted(chosen)))


def _thinned(table: Table, limit: int) -> Table:
    """Return about `limit` rows that keep every group and both ends of every variable."""
    if table.n_rows <= limit:
        return table
    keys = [table.X[:, i] for i in range(table.X.shape[1] - 1, -1, -1)]
    order = np.lexsort([*keys, table.group_index])
    step = table.n_rows / limit
    take = {int(order[int(k * step)]) for k in range(limit)}
    for g in range(len(table.groups)):
        rows = np.flatnonzero(table.group_index == g)
        for i in range(table.X.shape[1]):
            by = rows[np.argsort(table.X[rows, i], kind="stable")]
            take.update(int(r) for r in (*by[:3], *by[-3:]))
    return table.take(np.array(sorted(take), dtype=np.intp))


class _Search:
    """One run of the loop: draws proposals, judges them in order, keeps the best, stops at the budget."""

    def __init__(
        self,
        judge: Judge,
        source: Source,
        budget: Budget,
        workers: int,
        progress: Callable[[Progress], None] | None,
        folder: RunFolder | None,
    ) -> None:
        self.judge = judge
        self.source = source
        self.budget = budget
        self.workers = workers
        self.progress = progress
        self.folder = folder
        self.hall = HallOfFame()
        # a form may suit one target and not the others
        self.halls = [HallOfFame() for _ in judge.table.targets] if len(judge.table.targets) > 1 else [self.hall]
        self.halves: list[Halves] = []
        self.counts: Counter[str] = Counter()
        self.index = 0
        self.n_fits = 0
        self.interrupted = False
        self.exhausted = False
        self.earlier_seconds = 0.0
        self.unwritten: list[Mapping[str, Any]] = []
        self.written = 0.0
        self.started = time.monotonic()

    @property
    def seconds(self) -> float:
        return self.earlier_seconds + time.monotonic() - self.started

    def spent(self) -> float:
        """Return the share of the budget that is used, 0 to 1."""
        if self.budget.fits is not None:
            return min(1.0, self.n_fits / self.budget.fits)
        assert self.budget.seconds is not None
        return min(1.0, self.seconds / self.budget.seconds)

    def run(self) -> None:
        try:
            batches = self._batches()
            begun = self._take_up(batches)
            self._warm_up()
            with Executor(self.judge, self.workers) as executor:
                self._loop(executor, chain([begun] if begun else [], batches))
                self.halves = [Halves.of(hall) for hall in self.halls]
                self._judge_again(executor)
        except KeyboardInterrupt:
            self.interrupted = True
            self.halves = self.halves or [Halves.of(hall) for hall in self.halls]
        if self.progress is not None:
            self.progress(self.state())

    def _batches(self) -> Iterator[list[Proposal]]:
        """Yield batches; each is made when all earlier results are in, so it does not depend on their timing."""
        while batch := self.source.batch(self.hall):
            yield batch

    def _take_up(self, batches: Iterator[list[Proposal]]) -> list[Proposal]:
        """Take over what an earlier run in this folder did; its proposals come again in the same order.

        Returns the rest of the batch in which the earlier run stopped.
        """
        batch: list[Proposal] = []
        if self.folder is None:
            return batch
        for event in self.folder.events():
            if self.budget.fits is not None and self.spent() >= _SEARCH_SHARE:
                break  # a smaller budget than before: the law is the one that it gives in an empty folder
            batch = batch or next(batches, [])
            candidate, n_fits = from_event(event, self.judge.table)
            if not batch or batch[0].key != candidate.key:
                raise SldError(
                    f"{self.folder.path} was written by another version of sld (candidate {self.index} differs); "
                    "choose another --out"
                )
            batch = batch[1:]
            self._remember(candidate, n_fits)
            self.earlier_seconds = float(event.get("t", 0.0))
        return batch

    def _warm_up(self) -> None:
        """Compile the machine before the clock of the workers starts (once per installation)."""
        table = self.judge.table
        line = Fitter(table.parse(f"E + A*{table.symbols[0]}"), table.take(np.arange(min(3, table.n_rows))))
        line.predict(line.solve(line.starts(1, np.random.default_rng(0))).values)
        self.started = time.monotonic()

    def _loop(self, executor: Executor, batches: Iterable[list[Proposal]]) -> None:
        shown = 0.0
        try:
            if self.spent() >= _SEARCH_SHARE:
                return
            for batch in batches:
                for _, candidate, n_fits in executor.map(batch):
                    self._note(to_event(self.index, candidate, n_fits, self.seconds))
                    self._remember(candidate, n_fits)
                    if self.progress is not None and self.seconds - shown > _PROGRESS_EVERY_S:
                        self.progress(self.state())
                        shown = self.seconds
                    if self.spent() >= _SEARCH_SHARE:
                        return
            self.exhausted = True
        finally:
            self._flush()

    def _judge_again(self, executor: Executor) -> None:
        """Judge the finalists of a table with one target again, from more starting points, within the budget.

        A form whose score rests on one lucky optimum, handed down from parent to child, is found out here.
        """
        if len(self.halves) > 1:
            return
        column = self.judge.table.targets[0].column
        again = [
            Proposal(
                (Form(c.expressions[column], c.origin, shared=c.shared.get(column, ()), start=c.constants[column]),),
                c.key,
                thorough=True,
            )
            for c in self.halves[0].members
        ]
        found: dict[str, Candidate] = {}
        for proposal, candidate, n_fits in executor.map(again):
            self.n_fits += n_fits
            if candidate.status == "ok":
                found[proposal.key] = candidate
            if self.spent() >= 1.0:
                break
        self.halves = [self.halves[0].replaced(found)]

    def _note(self, event: Mapping[str, Any]) -> None:
        self.unwritten.append(event)
        if self.seconds - self.written > 1.0 or len(self.unwritten) >= 500:
            self._flush()

    def _flush(self) -> None:
        # forgotten before they are written: Ctrl-C in between loses a second, but never writes a line twice
        events, self.unwritten, self.written = self.unwritten, [], self.seconds
        if self.folder is not None and events:
            self.folder.record(events)

    def _remember(self, candidate: Candidate, n_fits: int) -> None:
        self.index += 1
        self.n_fits += n_fits
        self.counts["tried"] += 1
        self.counts[candidate.status if candidate.status != "ok" else "judged"] += 1
        if candidate.status == "ok" and not candidate.admissible:
            self.counts["inadmissible"] += 1
        self.hall.add(candidate)
        if candidate.status == "ok" and len(self.halls) > 1:
            for j, hall in enumerate(self.halls):
                hall.add(candidate.of_target(j))

    def state(self) -> Progress:
        """Return what a progress bar shows."""
        return Progress(self.seconds, self.spent(), self.counts["tried"], self.n_fits, self.hall.best)


def _finish(
    search: _Search,
    table: Table,
    everything: Table,
    folds: Sequence[Any],
    seed: int,
    config: Mapping[str, Any],
    notes: list[str],
    budget: str,
) -> Discovery:
    with _uninterrupted():
        best = _best(search)
        if best is None:
            if search.interrupted:
                raise KeyboardInterrupt
            reasons = ", ".join(f"{n} {why}" for why, n in search.counts.items() if why not in ("tried", "judged"))
            raise SldError(f"no formula could be fitted: {search.counts['tried']} tried ({reasons}); add rows or rungs")
        if not best.admissible:
            why = (
                "the law reproduces every fold exactly but"
                if is_exact(best)
                else "no candidate passed every physical check; the best one"
            )
            notes.append(f"{why} fails: " + "; ".join(best.reasons))
        if search.exhausted:
            notes.append("every formula of the search space was tried before the budget was used")
        agreed = [Consensus.of(search.judge, halves, j) for j, halves in enumerate(search.halves)]
        chosen = _distilled(search, best, agreed)
        single, trouble = _fit_all(best, table, seed, config, search, budget, [None] * len(table.targets))
        best = replace(best, constants=single.constants)
        law = single
        if chosen is None:
            chosen = best
            notes.extend(trouble)
        else:
            law, trouble = _fit_all(chosen, table, seed, config, search, budget, agreed)
            chosen = replace(chosen, constants=law.constants)
            notes.extend(trouble)
        ranked = search.hall.ranked()[:50]
        extra = {c.key: c for c in (best, chosen) if c.key not in {r.key for r in ranked}}
        judged = verdict(search.judge.table, folds, chosen, ranked, law, seed=seed)
        law = replace(law, provenance={**law.provenance, "verdict": judged.to_json()})
        return Discovery(
            law=_with_borrowed(law, table, everything),
            chosen=chosen,
            front=search.hall.front(),
            hall_of_fame=tuple(rank([*extra.values(), *ranked])),
            folds=tuple(folds),
            counts=dict(search.counts),
            seconds=search.seconds,
            n_fits=search.n_fits,
            interrupted=search.interrupted,
            noise=noise_floor(table, 0),
            notes=tuple(notes),
            table=table,
            verdict=judged,
            config={**config, "budget": budget, "workers": search.workers, "rule": _RULE},
            single=None if chosen is best else _with_borrowed(single, table, everything),
            best=None if chosen is best else best,
        )


def _best(search: _Search) -> Candidate | None:
    """Return the best form by itself: for each target the one that the rule chooses, or one that suits all as well."""
    rule = RULES[_RULE]
    if len(search.halves) == 1:
        return rule(search.halves[0].members)
    joint = rule(search.hall.ranked())
    parts = [rule(halves.members) for halves in search.halves]
    if joint is None or any(p is None for p in parts):
        return joint
    composed = Candidate.joined([p for p in parts if p is not None])
    if composed.key == joint.key or (composed.score >= joint.score and joint.admissible):
        return joint
    return composed


def _distilled(search: _Search, best: Candidate, agreed: Sequence[Consensus | None]) -> Candidate | None:
    """Return the formulas that follow the consensus, target by target; None where every target keeps its best form."""
    parts = []
    for j, consensus in enumerate(agreed):
        own = best.of_target(j)
        distilled = None if consensus is None else consensus.distilled(search.judge, j)
        parts.append(distilled if distilled is not None and (distilled.admissible or not own.admissible) else own)
    return Candidate.joined(parts) if any(p.consensus for p in parts) else None


def _fit_all(
    chosen: Candidate,
    table: Table,
    seed: int,
    config: Mapping[str, Any],
    search: _Search,
    budget: str,
    agreed: Sequence[Consensus | None],
) -> tuple[Law, list[str]]:
    """Fit the chosen forms on all rows and the points of a consensus, from many starts and what the search found."""
    rows = _thinned(table, FIT_ROWS)
    notes = []
    robust: dict[str, str] = {}
    if rows is not table:
        notes.append(f"the final fit used {rows.n_rows} of {table.n_rows} rows, spread over all groups and rungs")
    constants: dict[str, Mapping[str, Mapping[str, float]]] = {}
    frontier = frontier_weights(rows)
    priors: dict[str, Any] = {}
    for j, target in enumerate(table.targets):
        expression = chosen.expressions[target.column]
        consensus = agreed[j] if chosen.judgements[j].consensus else None
        fitted, weights, number = rows, frontier, j
        if consensus is not None:
            (fitted, weights), number = consensus.joined(rows, j, frontier), 0
        shared = chosen.shared.get(target.column, ())
        result: FitResult = fit(
            expression,
            fitted,
            target=number,
            weights=weights,
            # the optimum that was judged on the folds, not a lower one elsewhere that nobody looked at
            starts=0 if set(rows.groups) <= set(chosen.constants[target.column]) else _FINAL_STARTS,
            seed=seed,
            inherit=_with_absent(chosen.constants[target.column], rows.groups),
            shared=shared,
            pooling="partial" if target.column in chosen.priors else "none",
        )
        if result.ok:
            judge = search.judge
            own = result
            if consensus is not None:
                own = fit(
                    expression, rows, target=j, starts=0, seed=seed, inherit=result.constants, shared=shared
                )  # fmt: skip
            other = None
            if own.ok:
                other = robust_fit(expression, judge.table, judge.folds, own, rows, target=j, seed=seed, shared=shared)
            if other is not None and consensus is not None:
                other = _trusting(expression, fitted, rows.n_rows, weights, result, shared), other[1]
            if other is not None and (not chosen.admissible or _admissible(judge, expression, j, other[0].constants)):
                result, robust[target.column] = other
        trouble = result.status if not result.ok else ""
        if result.ok and chosen.admissible and not _admissible(search.judge, expression, j, result.constants):
            # a lower training error is no gain if the law then breaks down beyond the data
            trouble = "it breaks a physical check that the search's constants pass"
        constants[target.column] = result.constants
        prior = chosen.priors.get(target.column) if trouble else result.prior
        if prior is not None:
            priors[target.column] = prior.to_json()
        if trouble:
            # the search may have seen a part of the groups only
            constants[target.column] = _with_absent(chosen.constants[target.column], rows.groups)
            notes.append(f"the final fit of {target.column} was not used ({trouble}); constants are the search's")
            if absent := len(rows.groups) - len(chosen.constants[target.column]):
                notes.append(f"{absent} groups that the search left out have the median of the others' constants")
    notes.extend(robust.values())
    # nothing that depends on time or on the number of workers: the same search writes the same law.json
    provenance: dict[str, Any] = {
        "origin": chosen.origin,
        "seed": seed,
        "proposers": list(config["proposers"]),
        "rows": config["rows"],
        "score": chosen.score,
        "fold_errors": [e if np.isfinite(e) else None for e in chosen.fold_errors],
        "rule": _RULE,
        "budget": budget,
        "tool": f"sld {_version()}",
    }
    if chosen.consensus:
        provenance["consensus"] = {
            t.column: [m.text for m in c.members]
            for t, c, j in zip(table.targets, agreed, chosen.judgements, strict=True)
            if c is not None and j.consensus
        }
    if robust:
        provenance["loss"] = dict.fromkeys(robust, "huber")
    if chosen.shared:
        provenance["shared"] = {t: list(c) for t, c in chosen.shared.items()}
    if priors:
        provenance["priors"] = priors
    if search.budget.fits is not None:
        provenance["n_fits"] = search.n_fits
    law = Law(
        expressions=chosen.expressions,
        constants=constants,
        variables=table.variables,
        targets=table.targets,
        group_column=table.group_column,
        task=dict(config["task"]),
        provenance=provenance,
    )
    return law, notes


def _trusting(
    expression: Expression, table: Table, n_rows: int, weights: Array | None, result: FitResult, shared: Sequence[str]
) -> FitResult:
    """Return a fit to rows and points of a consensus in which rows far off the law count less (Huber's weights)."""
    base = np.ones(table.n_rows) if weights is None else weights
    for _ in range(_REWEIGHTINGS):
        trust = np.ones(table.n_rows)
        trust[:n_rows] = huber_weights((table.Y[:, 0] - result.prediction)[:n_rows])
        again = fit(expression, table, weights=base * trust, starts=0, inherit=result.constants, shared=shared)
        if not again.ok:
            break
        result = again
    return result


def _with_absent(
    constants: Mapping[str, Mapping[str, float]], groups: Sequence[str]
) -> Mapping[str, Mapping[str, float]]:
    """Return constants for all groups: those that the search left out get the median of the others."""
    if len(constants) == len(groups):
        return constants
    middle = {c: float(np.median([of[c] for of in constants.values()])) for c in next(iter(constants.values()), {})}
    return {g: constants.get(g, middle) for g in groups}


def _with_borrowed(law: Law, table: Table, everything: Table) -> Law:
    """Return the law with constants for the groups that have too few rows, behind the others."""
    few = [k for k, g in enumerate(everything.groups) if g not in table.groups]
    if not few:
        return law
    rows = everything.take(np.isin(everything.group_index, few))
    constants = {}
    for j, target in enumerate(law.targets):
        own = law.constants[target.column]
        constants[target.column] = {**own, **lend(law.expressions[target.column], table, j, own, rows)}
    provenance = {**law.provenance, "borrowed": list(rows.groups)}
    return replace(law, constants=constants, provenance=provenance)


def _admissible(
    judge: Judge, expression: Expression, target: int, constants: Mapping[str, Mapping[str, float]]
) -> bool:
    by_group = [constants[g] for g in judge.table.groups]
    return not any(p.hard for p in judge.grid.problems(target, judge.grid.predict(expression, by_group)))


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("sld")
    except PackageNotFoundError:
        return "(not installed)"


class _uninterrupted:
    """Hold Ctrl-C back while the best law is fitted and written, which takes a second."""

    def __enter__(self) -> None:
        self.main = threading.current_thread() is threading.main_thread()
        if self.main:
            self.before = signal.signal(signal.SIGINT, signal.SIG_IGN)

    def __exit__(self, *exc: object) -> None:
        if self.main:
            signal.signal(signal.SIGINT, self.before)
