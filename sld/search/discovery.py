"""The search: proposals in, judged candidates remembered, the best extrapolator fitted on all rows and handed back."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from sld.core.errors import SldError, UsageError
from sld.data.levels import as_levels, level_notes
from sld.data.splits import rung_folds
from sld.data.table import Table
from sld.fit.fitting import Fitter
from sld.laws.form import Form
from sld.laws.law import LAW_FILE, SINGLE_FILE
from sld.search.candidates.candidate import Candidate, Discovery
from sld.search.candidates.hall_of_fame import HallOfFame
from sld.search.choosing.consensus import Halves
from sld.search.choosing.evidence import published_laws
from sld.search.choosing.finishing import finish, uninterrupted
from sld.search.judging.executors import Executor
from sld.search.judging.judge import Judge, Proposal
from sld.search.proposing.asynchronous import AsynchronousProposer, AsynchronousSettings, SearchContext, SearchState
from sld.search.proposing.enumeration import plainest
from sld.search.proposing.proposers import ALL, Source, asynchronous_proposer, from_texts, known
from sld.search.run_folder import RunFolder, StaleRun, columns_record, from_event, to_event
from sld.search.screening.design import design_notes, record_of, redundancy_notes, rewritten, without_redundant
from sld.search.screening.diverged import recorded, sentence, without_diverged
from sld.search.screening.rows import (
    FIT_ROWS,
    SEARCH_GROUPS,
    SEARCH_ROWS,
    about_borrowing,
    check,
    of_few_groups,
    thinned,
    with_enough_rows,
)

DEFAULT_BUDGET = "30s"
SEARCH_SHARE = 0.85  # of the budget; the rest is for judging the finalists again
_PROGRESS_EVERY_S = 0.2
_PATIENCE_S = 0.05  # between two looks at an asynchronous proposer when there is nothing else to do


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
    asynchronous: AsynchronousSettings | None = None,
    tell: Callable[[str], None] | None = None,
    complete: Callable[[Discovery], Discovery] | None = None,
    outliers: str = "drop",
) -> Discovery:
    """Search the formula that extrapolates best from the low rungs of `table` to the higher ones.

    Args:
        table: The training rows; nothing else is ever seen.
        seed: Seed of all initial points.
        budget: Wall time such as "60s", or local fits such as "20000fits". With fits, the same seed gives the same
            law, bit for bit, with any number of workers.
        workers: Processes that judge candidates.
        out: Run folder to write and to take up again; None writes nothing.
        proposers: Names from `proposers.known()`; those of `proposers.ALL` by default.
        formulas: Formulas to try first, one text for all targets or a text per target column.
        max_constants: Limit per group and target.
        task: Name and version of the task, for the record.
        progress: Called a few times a second.
        asynchronous: Settings of a proposer that is never waited for, such as a language model.
        tell: Called with a sentence when an earlier search in the run folder is taken up or set aside; such sentences
            are notes of the discovery if not given.
        complete: Adds to the outcome what is measured last, such as intervals, before anything is written.
        outliers: "drop" sets rows and runs aside that look diverged, "keep" does not look for any.

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
    whole = table
    table, left_out = without_redundant(table)
    if left_out:
        first = [Proposal.of([rewritten(f, left_out, table, j) for j, f in enumerate(p.forms)]) for p in first]
    if not names and not first:
        raise UsageError(f"nothing to try: name a proposer ({', '.join(known())}) or give a formula")
    notes = [*whole.notes, *redundancy_notes(left_out), *design_notes(table), *level_notes(table)]
    given = as_levels(table)
    table, diverged = without_diverged(given, outliers)
    if diverged:
        notes.append(sentence(given, diverged))
    everything, table = table, with_enough_rows(table, max_constants)
    notes.extend(about_borrowing(everything, table))
    check(table)
    # from here on the order of the rows and groups in the file makes no difference
    everything, table = everything.canonical(), table.canonical()
    small = thinned(of_few_groups(table, SEARCH_GROUPS), SEARCH_ROWS)
    if small is not table:
        n, every = len(small.groups), len(table.groups)
        where = "all groups" if n == every else f"{n} of {every} groups (evenly by their mean target)"
        notes.append(
            f"the search used {small.n_rows} of {table.n_rows} rows, spread over {where} and rungs"
            + ("; the chosen law was fitted on all of them" if table.n_rows <= FIT_ROWS else "")
        )
    folds = rung_folds(small)
    judge = Judge(small, folds, seed=seed, max_constants=max_constants)
    config = {
        "schema": 2,
        "task": dict(task or {}),
        "rows": whole.canonical().digest(),
        "seed": seed,
        "proposers": names,
        "formulas": [f if isinstance(f, str) else dict(f) for f in formulas],
        "max_constants": max_constants,
        "columns": columns_record(whole),
        **({"left_out": record_of(left_out)} if left_out else {}),
        **({} if asynchronous is None else asynchronous.config),
        **({} if outliers == "drop" else {"outliers": outliers}),
    }
    about = dict(task or {})

    def source() -> Source:
        return Source(small, names, iter(first), seed=seed, max_constants=max_constants)

    def searched(source: Source, folder: RunFolder | None) -> Search:
        path = None if folder is None else folder.path
        context = SearchContext(small, folds, seed, max_constants, str(about.get("name") or ""), path)
        beside = asynchronous_proposer(names, asynchronous, context)
        search = Search(judge, source, limit, workers, progress, folder, beside)
        search.run()
        return search

    begun = source()  # refuses what it does not know before anything is written
    if out is None:
        search = searched(begun, None)
    else:
        with RunFolder(out, config, tell or notes.append) as folder:
            try:
                search = searched(begun, folder)
            except StaleRun as stale:
                folder.set_aside(str(stale))
                search = searched(source(), folder)
            with uninterrupted():
                found = recorded(finish(search, table, everything, folds, seed, config, notes, budget), given, diverged)
                found = found if complete is None else complete(found)
                _write(found, folder)
            return found
    with uninterrupted():
        found = recorded(finish(search, table, everything, folds, seed, config, notes, budget), given, diverged)
        return found if complete is None else complete(found)


def _write(found: Discovery, folder: RunFolder) -> None:
    """Write the laws, each once and whole: whoever reads one while the run ends has the old one or the new one."""
    folder.write_front(found.front)
    if found.single is not None:
        found.single.save(folder.path / SINGLE_FILE)
    else:  # an earlier, longer run may have left one
        (folder.path / SINGLE_FILE).unlink(missing_ok=True)
    found.law.save(folder.path / LAW_FILE)


class Search:
    """One run of the loop: draws proposals, judges them in order, keeps the best, stops at the budget."""

    def __init__(
        self,
        judge: Judge,
        source: Source,
        budget: Budget,
        workers: int,
        progress: Callable[[Progress], None] | None,
        folder: RunFolder | None,
        asynchronous: AsynchronousProposer | None = None,
    ) -> None:
        """Prepare; `run` does it."""
        self.asynchronous = asynchronous
        self.taking_up = False
        self.idle = False
        self.judge = judge
        self.source = source
        self.budget = budget
        self.workers = workers
        self.progress = progress
        self.folder = folder
        self.hall = HallOfFame()
        # a form may suit one target and not the others
        self.halls = [HallOfFame() for _ in judge.table.targets] if len(judge.table.targets) > 1 else [self.hall]
        # what the search breeds from: a language model's proposals and their descendants never come in; the same halls
        # until there are any
        self.own, self.owns = self.hall, self.halls
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
        """Wall time so far, earlier runs in the folder included."""
        return self.earlier_seconds + time.monotonic() - self.started

    def spent(self) -> float:
        """Return the share of the budget that is used, 0 to 1."""
        if self.budget.fits is not None:
            return min(1.0, self.n_fits / self.budget.fits)
        assert self.budget.seconds is not None
        return min(1.0, self.seconds / self.budget.seconds)

    def run(self) -> None:
        """Search until the budget is used, then judge the finalists again; Ctrl-C ends either."""
        try:
            if self.asynchronous is not None:
                self.asynchronous.prepare()
            batches = self._batches()
            begun = self._take_up(batches)
            self._warm_up()
            with Executor(self.judge, self.workers) as executor:
                self._loop(executor, chain([begun] if begun else [], batches))
                self._close()
                self._fall_back()
                self.halves = self._finalists()
                self._judge_again(executor)
        except KeyboardInterrupt:
            self.interrupted = True
            self.halves = self.halves or self._finalists()
        finally:
            self.source.close()
            self._close()
        if self.progress is not None:
            self.progress(self.state())

    def _finalists(self) -> list[Halves]:
        known = [published_laws(self.judge.table, j) for j in range(len(self.halls))]
        return [Halves.of(hall, own, known=k) for hall, own, k in zip(self.halls, self.owns, known, strict=True)]

    def _batches(self) -> Iterator[list[Proposal]]:
        """Yield batches; each is made when all earlier results are in, so it does not depend on their timing."""
        while True:
            arrived = self._arrived()
            own = self.source.batch(self.own)
            ran_out, self.idle = not own and not self.idle, not own
            if batch := [*arrived, *own]:
                yield batch
            elif not (ran_out and self.asynchronous is not None) and not self._wait():
                return

    def _arrived(self) -> list[Proposal]:
        """Ask the asynchronous proposer what it has."""
        if self.asynchronous is None:
            return []
        state = SearchState(
            hall=self.hall,
            index=self.index,
            n_fits=self.n_fits,
            left=self._left(),
            bar=self.source.bar(self.hall),
            seen=self.source.seen,
            counts=self.counts,
            evolves=self.source.evolves,
            idle=self.idle,
            taking_up=self.taking_up,
        )
        return self.asynchronous.collect(state)

    def _left(self) -> str:
        if self.budget.fits is not None:
            return f"{max(0, self.budget.fits - self.n_fits)} of {self.budget.fits} fits"
        assert self.budget.seconds is not None
        return f"{max(0.0, self.budget.seconds - self.seconds):.0f} of {self.budget.seconds:g} seconds"

    def _wait(self) -> bool:
        """With nothing left to try, wait a little; return whether there is a point in going on."""
        if self.asynchronous is None or not self.asynchronous.expects():
            return False
        if self.taking_up or self.spent() >= SEARCH_SHARE:
            return False
        time.sleep(_PATIENCE_S)
        return True

    def _close(self) -> None:
        if self.asynchronous is not None:
            self.asynchronous.close()

    def _take_up(self, batches: Iterator[list[Proposal]]) -> list[Proposal]:
        """Take over what an earlier run in this folder did; its proposals come again in the same order.

        Returns the rest of the batch in which the earlier run stopped.
        """
        batch: list[Proposal] = []
        if self.folder is None:
            return batch
        self.taking_up = True
        for event in self.folder.events():
            if self.budget.fits is not None and self.spent() >= SEARCH_SHARE:
                break  # a smaller budget than before: the law is the one that it gives in an empty folder
            batch = batch or next(batches, [])
            try:
                candidate, n_fits = from_event(event, self.judge.table)
            except SldError as error:
                raise StaleRun(f"holds a search that cannot be read ({error})") from error
            if not batch or batch[0].key != candidate.key:
                raise StaleRun(f"holds a search of another version of sld (its formula {self.index + 1} differs)")
            batch = batch[1:]
            self._remember(candidate, n_fits)
            self.earlier_seconds = float(event.get("t", 0.0))
        self.taking_up = False
        if self.index:
            tried = f"{self.index} formulas tried, {self.earlier_seconds:.0f} s"
            self.folder.tell(f"taking up the search in {self.folder.path} ({tried})")
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
            if self.spent() >= SEARCH_SHARE:
                return
            for batch in batches:
                for _, candidate, n_fits in executor.map(batch):
                    self._note(to_event(self.index, candidate, n_fits, self.seconds))
                    self._remember(candidate, n_fits)
                    if self.progress is not None and self.seconds - shown > _PROGRESS_EVERY_S:
                        self.progress(self.state())
                        shown = self.seconds
                    if self.spent() >= SEARCH_SHARE:
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
                lineage=c.lineage,
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

    def _fall_back(self) -> None:
        """With nothing that can be handed out, judge the plainest forms, whatever the budget says."""
        table = self.judge.table
        if self.hall.best is not None or self.interrupted or not self.source.enumerates:
            return
        for proposal in from_texts(table, list(plainest(table)), "enumeration"):
            self._remember(*self.judge.judge(proposal))

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
        if candidate.of_model and candidate.status == "ok" and self.own is self.hall:
            self.owns = [hall.copy() for hall in self.halls]
            self.own = self.hall.copy() if len(self.halls) > 1 else self.owns[0]
        self._enter(candidate, self.hall, self.halls)
        if self.own is not self.hall and not candidate.of_model:
            self._enter(candidate, self.own, self.owns)
        if self.asynchronous is not None:
            self.asynchronous.observe(candidate, n_fits)

    @staticmethod
    def _enter(candidate: Candidate, hall: HallOfFame, halls: Sequence[HallOfFame]) -> None:
        hall.add(candidate)
        if candidate.status == "ok" and len(halls) > 1:
            for j, of_target in enumerate(halls):
                of_target.add(candidate.of_target(j))

    def state(self) -> Progress:
        """Return what a progress bar shows."""
        return Progress(self.seconds, self.spent(), self.counts["tried"], self.n_fits, self.hall.best)
