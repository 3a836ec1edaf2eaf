"""The search for a law, and what its run folder holds for people."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from sld.api.forms import by_target
from sld.api.options import SearchOptions, check_keywords, columns_of
from sld.api.tasks import Source, as_task

if TYPE_CHECKING:
    from sld.data.task import Task
    from sld.search.llm.settings import LLM
    from sld.search.outcome import Discovery


def discover(
    data: object,
    *,
    seed: int = 0,
    budget: str | None = None,
    workers: int = 2,
    out: str | Path | None = None,
    llm: LLM | str | None = None,
    **options: Unpack[SearchOptions],
) -> Discovery:
    """Search the formula that extrapolates best, and fit its constants.

    Args:
        data: A task, its name or folder, or a bare table (see `as_task`) with `target`, `scale`, ... as keywords.
        seed: Seed; the same seed and a budget in fits give the same law.
        budget: Time (`"60s"`, `"5min"`) or number of fits (`"20000fits"`); 30 seconds if not given.
        workers: Processes that judge candidates.
        out: Run folder to write, and to take up again; None writes nothing.
        llm: A language model that proposes formulas beside the engine: its name, or `sld.LLM` with more settings.
        **options: `proposers`, `formulas`, `constants`, `outliers`, `progress` and `tell`, and the roles of a bare
            table's columns (`target`, `scale`, ...): see `sld.api.options.SearchOptions`.

    Returns:
        The law with prediction intervals (`.law`), the runners-up, and what was tried.

    Raises:
        UsageError: The data, an option or a formula cannot be used, or the run folder is in use.
        SldError: No formula could be fitted at all.
    """
    from sld.analysis.intervals import with_intervals
    from sld.analysis.one_sided import one_sided_notes
    from sld.analysis.support import supported
    from sld.search import discovery
    from sld.search.budget import DEFAULT_BUDGET

    check_keywords(discover, options, SearchOptions)
    task = as_task(data, **columns_of(options))
    model = None
    if llm is not None:
        from sld.search.llm.settings import LLM

        model = LLM(llm) if isinstance(llm, str) else llm
        model.check()
    targets = [t.column for t in task.card.targets]
    own = [by_target(f, targets) if isinstance(f, str) else f for f in options.get("formulas", ())]
    remarks = _checked_formulas(own, task, options.get("constants", ()), Source.of(task, data))
    found = discovery.discover(
        task.train,
        discovery.SearchSettings(
            seed=seed,
            budget=budget or DEFAULT_BUDGET,
            workers=workers,
            proposers=options.get("proposers"),
            formulas=own,
            max_constants=task.card.max_constants,
            outliers=options.get("outliers", "drop"),
        ),
        out=out,
        task={"name": task.card.name, "version": task.card.version},
        progress=options.get("progress"),
        asynchronous=model,
        tell=options.get("tell"),
        complete=lambda outcome: supported(with_intervals(outcome)),
    )
    found = replace(found, notes=(*found.notes, *remarks, *one_sided_notes(found.law, found.table)))
    if out is not None:
        _write_run(found, task, Path(out))
    return found


def _checked_formulas(
    formulas: Sequence[str | Mapping[str, str]], task: Task, constants: Collection[str], source: Source
) -> list[str]:
    """Refuse formulas with names that look like misspelt columns, and say which columns the others leave unused."""
    from sld.laws.names import check_names, unused_columns
    from sld.search.proposing.proposers import from_texts

    remarks = []
    columns = [t.column for t in task.train.targets]
    read = list(from_texts(task.train, formulas, "user"))
    everything = [form.expression for proposal in read for form in proposal.forms]
    check_names(everything, task.train, where=source.name, allowed=constants, unnamed=source.unnamed)
    for proposal in read:
        forms = {c: form.expression for c, form in zip(columns, proposal.forms, strict=True)}
        if unused := unused_columns(forms, task.train):
            remarks.append(f"the formula {next(iter(forms.values())).text} does not use {', '.join(unused)}")
    return remarks


def dry_run(data: object, llm: LLM, **columns: Any) -> dict[str, Any]:
    """Return the first prompt that a language model would get and what it may cost; nothing is sent.

    Raises:
        UsageError: The data cannot be searched.
    """
    task = as_task(data, **columns)
    return llm.dry_run(task.train, {"name": task.card.name}, task.card.max_constants)


def _write_run(found: Discovery, task: Task, folder: Path) -> None:
    from sld.analysis.plot import PLOT_FILE, plot_law
    from sld.analysis.report.report import REPORT_FILE, write_report

    held_out = task.held_out()
    plot_law(found.law, found.table, folder / PLOT_FILE, folds=found.folds, held_out=held_out)
    write_report(found, folder / REPORT_FILE, task=task, held_out=held_out)
