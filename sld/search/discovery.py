"""A discovery: the table made ready, the search, the best extrapolator fitted on all rows and handed back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sld.core.errors import UsageError
from sld.data.aim import record
from sld.data.levels import as_levels, level_notes
from sld.data.splits import Fold, rung_folds
from sld.data.table import Table
from sld.laws.law import LAW_FILE, SINGLE_FILE
from sld.search.budget import DEFAULT_BUDGET, Budget
from sld.search.finishing import finish, uninterrupted
from sld.search.judging.cluster import Cluster, ClusterExecutor
from sld.search.judging.executors import Executes, Executor
from sld.search.judging.judge import Judge, Proposal
from sld.search.loop import Progress, Search
from sld.search.outcome import Discovery
from sld.search.proposing.asynchronous import AsynchronousSettings, SearchContext
from sld.search.proposing.proposers import ALL, Source, asynchronous_proposer, from_texts, known
from sld.search.run_folder import RunFolder, StaleRun, columns_record
from sld.search.screening.design import (
    design_notes,
    record_of,
    redundancy_notes,
    rewritten,
    without_redundant,
)
from sld.search.screening.diverged import Diverged, sentence, set_aside, without_diverged
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


@dataclass(frozen=True)
class SearchSettings:
    """What is searched, and for how long.

    Attributes:
        seed: Seed of all initial points.
        budget: Wall time such as "60s", or local fits such as "20000fits". With fits, the same seed gives the same
            law, bit for bit, with any number of workers.
        workers: Processes that judge candidates.
        proposers: Names from `proposers.known()`; those of `proposers.ALL` where it is None.
        formulas: Formulas to try first, one text for all targets or a text per target column.
        max_constants: Limit per group and target.
        outliers: "drop" sets rows and runs aside that look diverged, "keep" does not look for any.
        cluster: Where candidates are judged, when it is not in processes of this machine.
    """

    seed: int = 0
    budget: str = DEFAULT_BUDGET
    workers: int = 2
    proposers: Sequence[str] | None = None
    formulas: Sequence[str | Mapping[str, str]] = ()
    max_constants: int = 20
    outliers: str = "drop"
    cluster: Cluster | None = None

    @property
    def names(self) -> list[str]:
        """The proposers that take part."""
        return list(ALL if self.proposers is None else self.proposers)

    def check(self) -> None:
        """Refuse numbers that cannot be.

        Raises:
            UsageError: Workers or seed are too small.
        """
        if self.workers < 1:
            raise UsageError(f"workers must be 1 or more, got {self.workers}")
        if self.seed < 0:
            raise UsageError(f"seed must be 0 or more, got {self.seed}")


def discover(
    table: Table,
    settings: SearchSettings | None = None,
    *,
    out: str | Path | None = None,
    task: Mapping[str, Any] | None = None,
    progress: Callable[[Progress], None] | None = None,
    asynchronous: AsynchronousSettings | None = None,
    tell: Callable[[str], None] | None = None,
    complete: Callable[[Discovery], Discovery] | None = None,
) -> Discovery:
    """Search the formula that extrapolates best from the low rungs of `table` to the higher ones.

    Args:
        table: The training rows, with their aim (`sld.data.aim`) if runs are planned; nothing else is ever seen.
        settings: What is searched, and for how long.
        out: Run folder to write and to take up again; None writes nothing.
        task: Name and version of the task, for the record.
        progress: Called a few times a second.
        asynchronous: Settings of a proposer that is never waited for, such as a language model.
        tell: Called with a sentence when an earlier search in the run folder is taken up or set aside; such sentences
            are notes of the discovery if not given.
        complete: Adds to the outcome what is measured last, such as intervals, before anything is written.

    Returns:
        The chosen law fitted on all rows, with everything the choice rests on. After Ctrl-C it is the best law so
        far and `interrupted` is true.

    Raises:
        UsageError: A bad budget, proposer or formula; a table with too few rows or rungs; a run folder in use.
        SldError: No candidate could be fitted at all.
    """
    settings = settings or SearchSettings()
    budget = Budget.parse(settings.budget)
    settings.check()
    ready = _made_ready(table, settings)
    about = dict(task or {})
    config = _config(table, ready, settings, about, asynchronous)
    notes = list(ready.notes)
    judge = Judge(ready.small, ready.folds, seed=settings.seed, max_constants=settings.max_constants)
    executor: Executes = Executor(judge, settings.workers)
    if settings.cluster is not None:
        executor = ClusterExecutor(judge, settings.cluster)

    def source() -> Source:
        first = iter(ready.first)
        return Source(ready.small, settings.names, first, seed=settings.seed, max_constants=settings.max_constants)

    def found(source: Source, folder: RunFolder | None) -> Discovery:
        path = None if folder is None else folder.path
        name = str(about.get("name") or "")
        context = SearchContext(ready.small, ready.folds, settings.seed, settings.max_constants, name, path)
        beside = asynchronous_proposer(settings.names, asynchronous, context)
        search = Search(judge, source, budget, executor, progress=progress, folder=folder, asynchronous=beside)
        searched = search.run()
        with uninterrupted():
            outcome = finish(searched, ready.table, ready.everything, {**config, "budget": settings.budget}, notes)
            if beside is not None:
                outcome = replace(outcome, llm=beside.summary(outcome.chosen))
            if ready.diverged:
                outcome = outcome.with_set_aside(set_aside(ready.given, ready.diverged))
            outcome = outcome if complete is None else complete(outcome)
            if folder is not None:
                _write(outcome, folder)
            return outcome

    begun = source()  # refuses what it does not know before anything is written
    if out is None:
        return found(begun, None)
    with RunFolder(out, config, tell or notes.append) as folder:
        try:
            return found(begun, folder)
        except StaleRun as stale:
            folder.set_aside(str(stale))
            return found(source(), folder)


@dataclass(frozen=True)
class _Ready:
    """A table made ready to be searched.

    Attributes:
        given: As it came, less columns that say what others say.
        everything: Less the rows that look diverged, in an order that does not depend on the file's.
        table: Less the groups that have too few rows to be judged: what laws are fitted to.
        small: Less the rows that are too many to judge in the time: what the search sees.
        folds: Of `small`.
        first: What somebody asked to be tried first.
        left_out: The columns that say what others say.
        diverged: The rows that look diverged.
        notes: What the user should know of all this.
    """

    given: Table
    everything: Table
    table: Table
    small: Table
    folds: Sequence[Fold]
    first: Sequence[Proposal]
    left_out: Sequence[Any]
    diverged: tuple[Diverged, ...]
    notes: Sequence[str]


def _made_ready(table: Table, settings: SearchSettings) -> _Ready:
    """Return what is searched.

    Raises:
        UsageError: There is nothing to try, or the table cannot be searched.
    """
    first = list(from_texts(table, settings.formulas, "user"))
    whole = table
    table, left_out = without_redundant(table)
    if left_out:
        first = [Proposal.of([rewritten(f, left_out, table, j) for j, f in enumerate(p.forms)]) for p in first]
    if not settings.names and not first:
        raise UsageError(f"nothing to try: name a proposer ({', '.join(known())}) or give a formula")
    notes = [*whole.notes, *redundancy_notes(left_out), *design_notes(table), *level_notes(table)]
    given = as_levels(table)
    table, diverged = without_diverged(given, settings.outliers)
    if diverged:
        notes.append(sentence(given, diverged))
    everything, table = table, with_enough_rows(table, settings.max_constants)
    notes.extend(about_borrowing(everything, table))
    check(table)
    # from here on the order of the rows and groups in the file makes no difference
    everything, table = everything.canonical(), table.canonical()
    small = thinned(of_few_groups(table, SEARCH_GROUPS), SEARCH_ROWS)
    if small is not table:
        notes.append(_about_thinning(small, table))
    return _Ready(given, everything, table, small, rung_folds(small), first, left_out, diverged, notes)


def _about_thinning(small: Table, table: Table) -> str:
    n, every = len(small.groups), len(table.groups)
    where = "all groups" if n == every else f"{n} of {every} groups (evenly by their mean target)"
    fitted = "; the chosen law was fitted on all of them" if table.n_rows <= FIT_ROWS else ""
    return f"the search used {small.n_rows} of {table.n_rows} rows, spread over {where} and rungs{fitted}"


def _config(
    whole: Table,
    ready: _Ready,
    settings: SearchSettings,
    task: Mapping[str, Any],
    asynchronous: AsynchronousSettings | None,
) -> dict[str, Any]:
    """Return the question that a run folder answers, as config.json holds it."""
    return {
        "schema": 2,
        "task": dict(task),
        "rows": whole.canonical().digest(),
        "seed": settings.seed,
        "proposers": settings.names,
        "formulas": [f if isinstance(f, str) else dict(f) for f in settings.formulas],
        "max_constants": settings.max_constants,
        "columns": columns_record(whole),
        **({"left_out": record_of(ready.left_out)} if ready.left_out else {}),
        **({} if asynchronous is None else asynchronous.config),
        **({} if settings.outliers == "drop" else {"outliers": settings.outliers}),
        **({} if whole.aim is None else {"aim": record(whole.aim)}),
    }


def _write(found: Discovery, folder: RunFolder) -> None:
    """Write the laws, each once and whole: whoever reads one while the run ends has the old one or the new one."""
    folder.write_front(found.front)
    if found.single is not None:
        found.single.save(folder.path / SINGLE_FILE)
    else:  # an earlier, longer run may have left one
        (folder.path / SINGLE_FILE).unlink(missing_ok=True)
    found.law.save(folder.path / LAW_FILE)
