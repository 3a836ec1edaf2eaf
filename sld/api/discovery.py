"""The search for a law, and what its run folder holds for people."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from sld.api.forms import by_target
from sld.api.options import SearchOptions, columns_of
from sld.api.progress import shown_progress
from sld.api.tasks import Source, as_task
from sld.core.arguments import checked

if TYPE_CHECKING:
    from sld.data.task import Task
    from sld.search.judging.cluster import Cluster
    from sld.search.llm.settings import LLM
    from sld.search.outcome import Discovery


@checked(explained=("budget", "progress"))
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
    r"""Search the formula that extrapolates best, and fit its constants.

    Every formula $f(x; \theta)$ is judged by what it says of runs larger than those it was fitted to. For each fold the
    constants are fitted to the rows below a cut, by weighted least squares with variable projection (Golub and Pereyra
    1973), for each group by itself or with some constants shared; its error is that on the rows beyond the cut,

    $$ e_k(f) = \operatorname{mean}_{i \,\text{beyond}\, k} (y_i - f(x_i; \hat\theta_k))^2 / \operatorname{Var} y . $$

    The score is the mean of $\log e_k$ and a price for constants and for physical checks that fail far out. Among the
    best, the law handed out is the one that follows rows and the mean of what they predict beyond the data.

    Args:
        data: A task, its name or folder, or a bare table (file, DataFrame, mapping of columns, list of records) with
            `target`, `scale`, ... as keywords. Columns keep the units they come in.
        seed: Seed; the same seed and a budget in fits give the same law, to the bit.
        budget: Time (`"60s"`, `"5min"`) or number of fits (`"20000fits"`); 30 seconds if not given.
        workers: Processes that judge candidates.
        out: Run folder to write, and to take up again; None writes nothing.
        llm: A language model that proposes formulas beside the engine: its name, or `sld.LLM` with more settings.
        **options: `aim` (planned runs that the law is for; the command's `--for`), `proposers`, `formulas`,
            `constants`, `outliers`, `executor`, `progress`, `tell`, and the roles of a bare table's columns
            (`target`, `scale`, ...): see `sld.api.options.SearchOptions`.

    Returns:
        The law with prediction intervals (`.law`), whether to believe it (`.verdict`), the runners-up (`.front`), and
        what was tried (`.counts`, `.n_fits`). Candidates that failed are counted there with the reason, never ranked.

    Raises:
        UsageError: The data, an option or a formula cannot be used, or the run folder is in use.
        SldError: No formula could be fitted at all.

    Examples:
        >>> import numpy as np
        >>> import sld
        >>> N, D = (x.ravel() for x in np.meshgrid(np.geomspace(1e6, 1e9, 5), np.geomspace(1e9, 1e11, 4)))
        >>> runs = {"N": N, "D": D, "loss": 1.7 + 400 * N**-0.34 + 900 * D**-0.3}
        >>> found = sld.discover(runs, target="loss", scale=["N", "D"], budget="300fits", workers=1)
        >>> found.law.expressions["loss"].text
        'E + A*N**-alpha + B*D**-beta'
        >>> {name: round(value, 3) for name, value in found.law.constants["loss"]["all"].items()}
        {'E': 1.7, 'A': 400.0, 'alpha': 0.34, 'B': 900.0, 'beta': 0.3}
        >>> found.verdict.kind
        'law'
    """
    from sld.analysis.one_sided import one_sided_notes
    from sld.data.aim import with_aim
    from sld.search import discovery
    from sld.search.budget import DEFAULT_BUDGET

    task = as_task(data, **columns_of(options))
    model = _model(llm)
    targets = [t.column for t in task.card.targets]
    own = [by_target(f, targets) if isinstance(f, str) else f for f in options.get("formulas", ())]
    remarks = _checked_formulas(own, task, options.get("constants", ()), Source.of(task, data))
    aimed = None if options.get("aim") is None else with_aim(task.train, options["aim"])
    settings = discovery.SearchSettings(
        seed=seed,
        budget=DEFAULT_BUDGET if budget is None else budget,
        workers=workers,
        proposers=options.get("proposers"),
        formulas=own,
        max_constants=task.card.max_constants,
        outliers=options.get("outliers", "drop"),
    )
    train, notes = (task.train, ()) if aimed is None else (aimed.table, aimed.notes)
    with shown_progress(options.get("progress")) as progress, _at(options, workers) as cluster:
        found = discovery.discover(
            train,
            replace(settings, cluster=cluster),
            out=out,
            task={"name": task.card.name, "version": task.card.version},
            progress=progress,
            asynchronous=model,
            tell=options.get("tell"),
            complete=_completed,
        )
    found = replace(found, notes=(*found.notes, *remarks, *notes, *one_sided_notes(found.law, found.table)))
    if out is not None:
        write_run(found, task, Path(out))
    return found


def _model(llm: LLM | str | None) -> LLM | None:
    """Return the language model that is asked for, once it can be reached as far as that is known beforehand."""
    if llm is None:
        return None
    from sld.search.llm.settings import LLM

    model = LLM(llm) if isinstance(llm, str) else llm
    model.check()
    return model


def _completed(outcome: Discovery) -> Discovery:
    """Return the outcome of a search with intervals, and with a verdict that knows of them and of planned runs."""
    from sld.analysis.intervals import with_intervals
    from sld.analysis.support import about_planned, supported

    return about_planned(supported(with_intervals(outcome)))


@contextmanager
def _at(options: SearchOptions, workers: int) -> Iterator[Cluster | None]:
    """Give the cluster that an address stands for, for as long as it is needed; one that is connected stays so."""
    executor, tell = options.get("executor"), options.get("tell")
    if not isinstance(executor, str | Path):
        yield executor
        return
    from sld.search.judging.cluster import Cluster

    place = Cluster(str(executor), workers)
    if place.asks and tell is not None:
        tell(place.asks)
    with place as cluster:
        yield cluster


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


def dry_run(data: object, llm: LLM, *, aim: object = None, **columns: Any) -> dict[str, Any]:
    """Return the first prompt that a language model would get and what it may cost; nothing is sent.

    Raises:
        UsageError: The data cannot be searched.
    """
    from sld.data.aim import with_aim

    task = as_task(data, **columns)
    train = task.train if aim is None else with_aim(task.train, aim).table
    return llm.dry_run(train, {"name": task.card.name}, task.card.max_constants)


def write_run(found: Discovery, task: Task, folder: Path) -> None:
    """Write what a run folder holds for people: picture and report, with the held-out rows where the task has any."""
    from sld.analysis.plot import PLOT_FILE, plot_law
    from sld.analysis.report.report import REPORT_FILE, write_report
    from sld.api.runs import about_task
    from sld.search.saved import save_outcome

    held_out = task.held_out()
    plot_law(found.law, found.table, folder / PLOT_FILE, folds=found.folds, held_out=held_out)
    write_report(found, folder / REPORT_FILE, task=task, held_out=held_out)
    save_outcome(found, folder, about_task(task))
