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
from sld.core.fitting import FitResult, Fitter, fit
from sld.core.law import LAW_FILE, Law
from sld.core.pooling import lend
from sld.core.splits import rung_folds
from sld.core.table import Table
from sld.search.candidate import Candidate, Discovery
from sld.search.executors import Executor
from sld.search.hall_of_fame import HallOfFame
from sld.search.judge import Judge, Proposal
from sld.search.proposers import ALL, Source, from_texts
from sld.search.run_folder import RunFolder, from_event, to_event
from sld.search.selection import RULES, noise_floor, rank

DEFAULT_BUDGET = "30s"
SEARCH_ROWS = 1500  # more rows than this are thinned for the search; the chosen law is fitted on all
FIT_ROWS = 100_000
_FINAL_STARTS = 48
_LEAST_ROWS = 3  # of a group that is judged
_FEW_NAMED = 5
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
    small = _thinned(table, SEARCH_ROWS)
    if small is not table:
        notes.append(
            f"the search used {small.n_rows} of {table.n_rows} rows, spread over all groups and rungs"
            + ("; the chosen law was fitted on all of them" if table.n_rows <= FIT_ROWS else "")
        )
    folds = rung_folds(small)
    judge = Judge(small, folds, seed=seed, max_constants=max_constants)
    source = Source(small, names, iter(first), seed=seed, max_constants=max_constants)
    config = {
        "schema": 1,
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
        self.by_target: list[Candidate | None] = [None] * len(judge.table.targets)
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
        except KeyboardInterrupt:
            self.interrupted = True
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
            if self.budget.fits is not None and self.spent() >= 1.0:
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
            if self.spent() >= 1.0:
                return
            for batch in batches:
                for _, candidate, n_fits in executor.map(batch):
                    self._note(to_event(self.index, candidate, n_fits, self.seconds))
                    self._remember(candidate, n_fits)
                    if self.progress is not None and self.seconds - shown > _PROGRESS_EVERY_S:
                        self.progress(self.state())
                        shown = self.seconds
                    if self.spent() >= 1.0:
                        return
            self.exhausted = True
        finally:
            self._flush()

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
        if candidate.status == "ok" and len(self.by_target) > 1:
            for j, best in enumerate(self.by_target):
                # a form may suit one target and not the others
                if best is None or _target_order(candidate, j) < _target_order(best, j):
                    self.by_target[j] = candidate

    def state(self) -> Progress:
        """Return what a progress bar shows."""
        return Progress(self.seconds, self.spent(), self.counts["tried"], self.n_fits, self.hall.best)


def _target_order(candidate: Candidate, target: int) -> tuple[bool, float, int, str]:
    return not candidate.admissible, candidate.target_scores[target], candidate.complexity, candidate.key


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
        ranked = list(search.hall.ranked())
        chosen = RULES[_RULE](ranked)
        if chosen is None:
            if search.interrupted:
                raise KeyboardInterrupt
            reasons = ", ".join(f"{n} {why}" for why, n in search.counts.items() if why not in ("tried", "judged"))
            raise SldError(f"no formula could be fitted: {search.counts['tried']} tried ({reasons}); add rows or rungs")
        mixed = _compose(search, chosen)
        if mixed is not None:
            chosen = mixed
            ranked = rank([mixed, *ranked])
        if not chosen.admissible:
            notes.append("no candidate passed every physical check; the best one fails: " + "; ".join(chosen.reasons))
        if search.exhausted:
            notes.append("every formula of the search space was tried before the budget was used")
        law, trouble = _fit_all(chosen, table, seed, config, search, budget)
        law = _with_borrowed(law, table, everything)
        notes.extend(trouble)
        return Discovery(
            law=law,
            chosen=replace(
                chosen, constants={t: {g: by_group[g] for g in table.groups} for t, by_group in law.constants.items()}
            ),
            front=search.hall.front(),
            hall_of_fame=tuple(ranked[:50]),
            folds=tuple(folds),
            counts=dict(search.counts),
            seconds=search.seconds,
            n_fits=search.n_fits,
            interrupted=search.interrupted,
            noise=noise_floor(table, 0),
            notes=tuple(notes),
            table=table,
            config={**config, "budget": budget, "workers": search.workers, "rule": _RULE},
        )


def _compose(search: _Search, chosen: Candidate) -> Candidate | None:
    """Return the best form of each target put together, when that beats the best form shared by all."""
    best = search.by_target
    if len(best) < 2 or any(b is None for b in best) or len({b.key for b in best if b}) == 1:
        return None
    parts = [b for b in best if b is not None]
    columns = [t.column for t in search.judge.table.targets]
    expressions = {c: b.expressions[c] for c, b in zip(columns, parts, strict=True)}
    scores = tuple(b.target_scores[j] for j, b in enumerate(parts))
    if float(np.mean(scores)) >= chosen.score and chosen.admissible:
        return None
    return replace(
        chosen,
        expressions=expressions,
        key=" | ".join(b.key.split(" | ")[j] for j, b in enumerate(parts)),
        origin="composed: " + ", ".join(dict.fromkeys(b.origin for b in parts)),
        complexity=round(float(np.mean([e.complexity for e in expressions.values()]))),
        n_constants=max(len(e.constants) for e in expressions.values()),
        fold_errors=tuple(float(x) for x in np.mean([b.fold_errors for b in parts], axis=0)),
        score=float(np.mean(scores)),
        target_scores=scores,
        train_nmse=float(np.mean([b.train_nmse for b in parts])),
        admissible=all(b.admissible for b in parts),
        reasons=tuple(dict.fromkeys(r for b in parts for r in b.reasons)),
        shared={c: b.shared[c] for c, b in zip(columns, parts, strict=True) if c in b.shared},
        priors={c: b.priors[c] for c, b in zip(columns, parts, strict=True) if c in b.priors},
        constants={c: b.constants[c] for c, b in zip(columns, parts, strict=True)},
    )


def _fit_all(
    chosen: Candidate,
    table: Table,
    seed: int,
    config: Mapping[str, Any],
    search: _Search,
    budget: str,
) -> tuple[Law, list[str]]:
    """Fit the chosen forms on all rows, from many starts and from what the search found."""
    rows = _thinned(table, FIT_ROWS)
    notes = []
    if rows is not table:
        notes.append(f"the final fit used {rows.n_rows} of {table.n_rows} rows, spread over all groups and rungs")
    constants: dict[str, Mapping[str, Mapping[str, float]]] = {}
    priors: dict[str, Any] = {}
    for j, target in enumerate(table.targets):
        expression = chosen.expressions[target.column]
        result: FitResult = fit(
            expression,
            rows,
            target=j,
            starts=_FINAL_STARTS,
            seed=seed,
            inherit=chosen.constants[target.column],
            shared=chosen.shared.get(target.column, ()),
            pooling="partial" if target.column in chosen.priors else "none",
        )
        trouble = result.status if not result.ok else ""
        if result.ok and chosen.admissible and not _admissible(search.judge, expression, j, result.constants):
            # a lower training error is no gain if the law then breaks down beyond the data
            trouble = "it breaks a physical check that the search's constants pass"
        constants[target.column] = chosen.constants[target.column] if trouble else result.constants
        prior = chosen.priors.get(target.column) if trouble else result.prior
        if prior is not None:
            priors[target.column] = prior.to_json()
        if trouble:
            notes.append(f"the final fit of {target.column} was not used ({trouble}); constants are the search's")
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
