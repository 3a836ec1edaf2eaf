"""The loop of a search: draws proposals, judges them in order, remembers the best, stops at the budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np

from sld.core.errors import SldError
from sld.fit.fitting import Fitter
from sld.laws.form import Form
from sld.search.budget import SEARCH_SHARE, Budget
from sld.search.candidates.candidate import Candidate
from sld.search.candidates.population import Population
from sld.search.choosing.evidence import published_laws
from sld.search.choosing.finalists import Finalists
from sld.search.judging.context import JudgingContext
from sld.search.judging.executors import Executes
from sld.search.judging.judge import Judge, Proposal
from sld.search.proposing.asynchronous import AsynchronousProposer, SearchState
from sld.search.proposing.enumeration import plainest
from sld.search.proposing.proposers import Source, from_texts
from sld.search.run_folder import EventLog, RunFolder, StaleRun, from_event, to_event

_PROGRESS_EVERY_S = 0.2  # faster than an eye follows a number
_EARLY = 0.4  # of the search: then the finalists are noted once, and predict beside those of its end
_RIPE = 1000  # formulas tried by then; with fewer, those that lead spoil what those of the end predict (bench/LOG.md)
_PATIENCE_S = 0.05  # between two looks at an asynchronous proposer when there is nothing else to do


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


@dataclass(frozen=True)
class SearchResult:
    """What the loop leaves when it has ended, for the choice of a law.

    Attributes:
        context: The rows and folds that forms were judged on.
        population: All that was judged.
        finalists: For each target the candidates that the law is chosen from.
        early: The same at an earlier time of the search, as they were judged then; empty where it was short.
        budget: What was granted.
        workers: Processes that judged.
        began: When it began on the monotonic clock, the time of earlier runs in the folder taken off.
        interrupted: Whether Ctrl-C ended it.
        exhausted: Whether every formula of the search space was tried.
        notes: What went wrong with a proposer, as sentences.
    """

    context: JudgingContext
    population: Population
    finalists: tuple[Finalists, ...]
    early: tuple[Finalists, ...]
    budget: Budget
    workers: int
    began: float
    interrupted: bool
    exhausted: bool
    notes: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """Wall time so far, earlier runs in the folder included."""
        return time.monotonic() - self.began


class Search:
    """One run of the loop."""

    def __init__(
        self,
        judge: Judge,
        source: Source,
        budget: Budget,
        executor: Executes,
        *,
        progress: Callable[[Progress], None] | None = None,
        folder: RunFolder | None = None,
        asynchronous: AsynchronousProposer | None = None,
    ) -> None:
        """Prepare; `run` does it."""
        self.judge, self.source, self.budget, self.executor = judge, source, budget, executor
        self.progress, self.folder, self.asynchronous = progress, folder, asynchronous
        self.population = Population(len(judge.table.targets))
        self._early: list[Finalists] | None = None  # not yet
        self._log = EventLog(folder)
        self._began = time.monotonic()
        self._earlier_seconds = 0.0
        self._taking_up = False  # what an earlier run in the folder did; nothing new may come in
        self._idle = False  # the search itself has nothing left to try

    @property
    def seconds(self) -> float:
        """Wall time so far, earlier runs in the folder included."""
        return self._earlier_seconds + time.monotonic() - self._began

    def spent(self) -> float:
        """Return the share of the budget that is used, 0 to 1."""
        return self.budget.spent(self.population.n_fits, self.seconds)

    def run(self) -> SearchResult:
        """Search until the budget is used, then judge the finalists again; Ctrl-C ends either.

        Raises:
            StaleRun: The folder holds a search that cannot be gone on with.
        """
        finalists: list[Finalists] = []
        interrupted = exhausted = False
        try:
            if self.asynchronous is not None:
                self.asynchronous.prepare()
            batches = self._batches()
            begun = self._take_up(batches)
            self._warm_up()
            with self.executor:
                exhausted = self._loop(chain([begun] if begun else [], batches))
                self._close()
                self._fall_back()
                finalists = self._finalists()
                finalists = self._judged_again(finalists)
        except KeyboardInterrupt:
            interrupted = True
            finalists = finalists or self._finalists()
        finally:
            self.source.close()
            self._close()
        if self.progress is not None:
            self.progress(self.state())
        return SearchResult(
            context=self.judge.context,
            population=self.population,
            finalists=tuple(finalists),
            early=tuple(self._early or ()),
            budget=self.budget,
            workers=self.executor.workers,
            began=self._began - self._earlier_seconds,
            interrupted=interrupted,
            exhausted=exhausted,
            notes=tuple(self.source.notes),
        )

    def state(self) -> Progress:
        """Return what a progress bar shows."""
        population = self.population
        best = population.everything.together.best
        return Progress(self.seconds, self.spent(), population.n_tried, population.n_fits, best)

    def _finalists(self) -> list[Finalists]:
        table = self.judge.table
        return [
            Finalists.of_population(self.population, j, published_laws(table, j)) for j in range(len(table.targets))
        ]

    def _batches(self) -> Iterator[list[Proposal]]:
        """Yield batches; each is made when all earlier results are in, so it does not depend on their timing."""
        while True:
            arrived = self._arrived()
            own = self.source.batch(self.population.unaided.together)
            ran_out, self._idle = not own and not self._idle, not own
            if batch := [*arrived, *own]:
                yield batch
            elif not (ran_out and self.asynchronous is not None) and not self._wait():
                return

    def _draw_ahead(self) -> None:
        """Draw the next batch while this one is judged, if it does not depend on it."""
        if self.asynchronous is None:  # which may want a form before the search itself comes to it
            self.source.draw_ahead(self.population.unaided.together)

    def _arrived(self) -> list[Proposal]:
        """Ask the asynchronous proposer what it has."""
        if self.asynchronous is None:
            return []
        hall = self.population.everything.together
        state = SearchState(
            hall=hall,
            index=self.population.n_tried,
            n_fits=self.population.n_fits,
            left=self.budget.left(self.population.n_fits, self.seconds),
            bar=self.source.bar(hall),
            seen=self.source.seen,
            counts=self.population.counts,
            evolves=self.source.evolves,
            idle=self._idle,
            taking_up=self._taking_up,
        )
        return self.asynchronous.collect(state)

    def _wait(self) -> bool:
        """With nothing left to try, wait a little for the asynchronous proposer; return whether to go on."""
        if self.asynchronous is None or not self.asynchronous.expects():
            return False
        if self._taking_up or self.spent() >= SEARCH_SHARE:
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
        self._taking_up = True
        for event in self.folder.events():
            if self.budget.fits is not None and self.spent() >= SEARCH_SHARE:
                # a smaller budget than before: the law is the one that it gives in an empty folder
                self.folder.tell(
                    f"note: {self.folder.path} holds a longer search; of it counts what this budget pays for (the same "
                    "command with a larger --budget brings the rest back)"
                )
                break
            batch = batch or next(batches, [])
            try:
                candidate, n_fits = from_event(event, self.judge.table)
            except SldError as error:
                raise StaleRun(f"holds a search that cannot be read ({error})") from error
            if not batch or batch[0].key != candidate.key:
                differs = f"its formula {self.population.n_tried + 1} differs"
                raise StaleRun(f"holds a search of another version of sld ({differs})")
            batch = batch[1:]
            self._remember(candidate, n_fits)
            self._earlier_seconds = float(event.get("t", 0.0))
        self._taking_up = False
        if n_tried := self.population.n_tried:
            tried = f"{n_tried} formulas tried, {self._earlier_seconds:.0f} s"
            self.folder.tell(f"taking up the search in {self.folder.path} ({tried})")
        return batch

    def _warm_up(self) -> None:
        """Compile the machine before the clock of the workers starts (once per installation)."""
        table = self.judge.table
        line = Fitter(table.parse(f"E + A*{table.symbols[0]}"), table.take(np.arange(min(3, table.n_rows))))
        line.predict(line.solve(line.starts(1, np.random.default_rng(0))).values)
        self._began = time.monotonic()

    def _loop(self, batches: Iterable[list[Proposal]]) -> bool:
        """Judge batch after batch; return whether there was nothing left to try before the budget was used."""
        shown = 0.0
        try:
            if self.spent() >= SEARCH_SHARE:
                return False
            for batch in batches:
                for _, candidate, n_fits in self.executor.map(batch, self._draw_ahead):
                    if self.folder is not None:
                        event = to_event(self.population.n_tried, candidate, n_fits, self.seconds)
                        self._log.note(event, self.seconds)
                    self._remember(candidate, n_fits)
                    if self.progress is not None and self.seconds - shown > _PROGRESS_EVERY_S:
                        self.progress(self.state())
                        shown = self.seconds
                    if self.spent() >= SEARCH_SHARE:
                        return False
            return True
        finally:
            self._log.flush(self.seconds)

    def _judged_again(self, finalists: list[Finalists]) -> list[Finalists]:
        """Judge the finalists of a table with one target again, from more starting points, within the budget.

        A form whose score rests on one lucky optimum, handed down from parent to child, is found out here.
        """
        if len(finalists) > 1:
            return finalists
        column = self.judge.table.targets[0].column
        again = [
            Proposal(
                (Form(c.expressions[column], c.origin, shared=c.shared.get(column, ()), start=c.constants[column]),),
                c.key,
                thorough=True,
                lineage=c.lineage,
            )
            for c in finalists[0].members
        ]
        found: dict[str, Candidate] = {}
        for proposal, candidate, n_fits in self.executor.map(again):
            self.population.n_fits += n_fits
            if candidate.ok:
                found[proposal.key] = candidate
            if self.spent() >= 1.0:
                break
        return [finalists[0].replaced(found)]

    def _fall_back(self) -> None:
        """With nothing that can be handed out, judge the plainest forms, whatever the budget says."""
        table = self.judge.table
        if self.population.everything.together.best is not None or not self.source.enumerates:
            return
        for proposal in from_texts(table, list(plainest(table)), "enumeration"):
            self._remember(*self.judge.judge(proposal))

    def _remember(self, candidate: Candidate, n_fits: int) -> None:
        self.population.add(candidate, n_fits)
        if self._early is None and self.spent() >= _EARLY * SEARCH_SHARE:
            self._early = self._finalists() if self.population.n_tried >= _RIPE else []
        if self.asynchronous is not None:
            self.asynchronous.observe(candidate, n_fits)
