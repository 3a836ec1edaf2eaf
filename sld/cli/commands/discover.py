"""`sld discover`: the search for a law."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sld.cli import options, output
from sld.cli.base import Json, command
from sld.core.errors import UsageError

if TYPE_CHECKING:
    from sld.data.task import Task
    from sld.search.llm.settings import LLM
    from sld.search.outcome import Discovery

RUNS_FOLDER = "sld-runs"
DEFAULT_BUDGET = "30s"  # in the help; the search holds the number


def register(app: typer.Typer) -> None:
    """Add the command to the others."""
    command(
        app,
        "discover",
        "sld discover nanolm_chinchilla",
        "sld discover runs.csv --target loss --scale N,D --group family",
        "sld discover runs.csv --target loss --scale N --hyper lr,batch --budget 5min",
        'sld discover wandb_export.csv --melt --target loss --scale Step --group run --drop "Step==0"',
        "zcat runs.jsonl.gz | sld discover - --target loss --scale N",
        'sld discover runs.csv --target loss --scale N,D --try "E + A*N**-a + B*D**-b"',
        "sld discover tables/*.csv --target loss --scale N,D --executor dask://127.0.0.1:8786",
        "sld discover runs.csv --target loss --scale N,D --for N=1e11,D=2e12",
        "sld discover nanolm_chinchilla --llm gpt-5-mini --llm-budget 0.50usd",
    )(discover)


@dataclass(frozen=True)
class LanguageModel:
    """The options about a language model."""

    llm: Annotated[
        str | None,
        typer.Option("--llm", metavar="MODEL|auto", help="A language model that proposes formulas beside the search."),
    ] = None
    llm_mode: Annotated[
        str | None,
        typer.Option("--llm-mode", metavar="MODE", help="propose (is shown what was found) or agent (turns, tools)."),
    ] = None
    llm_budget: Annotated[
        str | None, typer.Option("--llm-budget", metavar="LIMIT", help="What it may use: 0.50usd, 200ktok, or both.")
    ] = None
    llm_prices: Annotated[
        Path | None, typer.Option("--llm-prices", metavar="FILE", help="A price table of your own (TOML).")
    ] = None
    llm_replay: Annotated[
        Path | None,
        typer.Option("--llm-replay", metavar="RUN_DIR", help="Repeat the replies recorded there; nobody is asked."),
    ] = None
    llm_question: Annotated[
        str | None,
        typer.Option("--llm-question", metavar="TEXT", help="What the law is for, in your words; the model reads it."),
    ] = None
    llm_dry_run: Annotated[
        bool, typer.Option("--llm-dry-run", help="Print the first prompt and what it may cost, and stop.")
    ] = False

    def settings(self) -> LLM | None:
        """Return the settings of the language model; None without one."""
        from dataclasses import replace

        name = self.llm
        if name is None and self.llm_replay is None:
            self._refuse_without_model()
            return None
        if name == "auto" and self.llm_replay is None:
            name = self._named_by_environment()
            if name is None:
                return None
        from sld.search.llm.settings import LLM

        if self.llm_replay is not None:
            replayed = LLM.replayed(self.llm_replay, model=None if name == "auto" else name, mode=self.llm_mode)
            asked = replayed.question if self.llm_question is None else self.llm_question
            return replace(replayed, prices=self.llm_prices, budget=self.llm_budget, question=asked)
        assert name is not None
        return LLM(
            name, mode=self.llm_mode or "propose", budget=self.llm_budget, prices=self.llm_prices,
            question=self.llm_question or "",
        )  # fmt: skip

    def _refuse_without_model(self) -> None:
        for option in ("llm_mode", "llm_budget", "llm_prices", "llm_question", "llm_dry_run"):
            if getattr(self, option):
                raise UsageError(f"--{option.replace('_', '-')} is about a language model; name one with --llm MODEL")

    def _named_by_environment(self) -> str | None:
        """Return the model that the environment names; None, with a remark, where something for it is absent."""
        import os
        from importlib.util import find_spec

        # a dry run needs no key: nothing is sent
        needed = ("OPENAI_MODEL",) if self.llm_dry_run else ("OPENAI_MODEL", "OPENAI_API_KEY")
        absent = [f"{variable} is not set" for variable in needed if not os.environ.get(variable, "").strip()]
        absent += [] if find_spec("openai") else ["the openai package is not installed"]
        if absent and self.llm_dry_run:
            raise UsageError(f"--llm auto: {absent[0]}; name a model with --llm MODEL")
        if absent:
            output.remark(f"searching without a language model: {' and '.join(absent)}")
            return None
        return os.environ["OPENAI_MODEL"]


def discover(
    data: Annotated[
        list[str],
        typer.Argument(
            metavar="TASK",
            help="Task of `sld tasks`, task folder, or a table of runs: CSV, TSV, JSON, JSON lines, Parquet, xlsx, "
            "also as .csv.gz; a folder or 'pattern/*.csv' of these; - for standard input. Several with --executor.",
        ),
    ],
    *,
    table: options.TableOptions,
    weighing: options.Weighing,
    outliers: options.Outliers = "drop",
    seed: options.Seed = 0,
    budget: Annotated[
        str | None,
        typer.Option(
            "--budget", metavar="TIME|FITS", help=f"60s, 5min, or 20000fits (repeatable to the bit); {DEFAULT_BUDGET}."
        ),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", metavar="N", help="Processes to fit with.")] = 2,
    out: Annotated[
        Path | None,
        options.out_folder("--out", metavar="RUN_DIR", text=f"Where to write; {RUNS_FOLDER}/TASK-SEED if not given."),
    ] = None,
    proposers: Annotated[
        options.Names,
        typer.Option(
            "--proposers",
            "--proposer",
            metavar="NAMES",
            help="Who proposes: catalogue,enumeration,evolution (all three), operon, pysr.",
        ),
    ] = None,
    formulas: Annotated[
        options.Names,
        typer.Option("--try", metavar="FORMULA", help="A formula of your own to try as well; repeatable."),
    ] = None,
    constants: options.Constants = None,
    executor: Annotated[
        str | None,
        typer.Option(
            "--executor",
            metavar="dask://HOST:PORT|FILE",
            help="Judge on a cluster of Dask, or search several tables there, one a worker; dask starts one here, and "
            "a file such as dask-slurm.yaml says how a queue of jobs starts one.",
        ),
    ] = None,
    planned: Annotated[
        list[str] | None,
        typer.Option(
            "--for",
            metavar="RUNS",
            help="Planned runs that the law is for: a table of their inputs (- for a pipe), or N=1e11,D=2e12 "
            "(repeatable).",
        ),
    ] = None,
    language_model: LanguageModel,
    json: Json = False,
) -> None:
    """Which formula do these runs follow, also beyond the largest of them?

    Searches formulas and hands out the one that extrapolates best. The same command into the same RUN_DIR takes an
    earlier search up again, with a larger budget too; with other options the earlier search is kept in
    RUN_DIR/earlier-1 and a new one begins. With --llm, the key is read from OPENAI_API_KEY and the address of the
    server, which may be your own, from OPENAI_BASE_URL.
    """
    from sld import api
    from sld.cli.show import search as show

    model = language_model.settings()
    search = {
        "seed": seed,
        "budget": budget,
        "proposers": options.split(proposers) or None,
        "formulas": formulas or (),
        "constants": options.split(constants),
        "outliers": outliers,
        "aim": _planned(planned, data[0]),
    }
    if len(data) > 1:
        _check_several(data, executor, out, model)
        tasks = [options.task_of(one, table, weighing) for one in data]
        _several(data, tasks, str(executor), workers, search, json)
        return
    task = options.task_of(data[0], table, weighing)
    if language_model.llm_dry_run:
        assert model is not None
        show.dry_run(api.dry_run(task, model, aim=search["aim"]), json)
        return
    folder = _run_folder(task, seed) if out is None else out
    found = _one(task, folder, {**search, "workers": workers, "executor": executor, "llm": model})
    alone = api.held_out_scores(found.law.bare, task) if found.law.ensembles else None
    show.discovery(found, api.held_out_scores(found.law, task), folder, data[0], json, by_formula=alone)


def _one(task: Task, folder: Path, search: dict[str, Any]) -> Discovery:
    """Search one table, and show how far the search is."""
    from sld import api
    from sld.cli.show import search as show

    line = output.ProgressLine(f"searching a law for {task.name} ({task.train.n_rows} rows); writing to {folder}")
    try:
        return api.discover(task, out=folder, progress=show.progress(line), tell=output.remark, **search)
    finally:
        line.close()


def _check_several(data: list[str], executor: str | None, out: Path | None, model: LLM | None) -> None:
    """Refuse several tables where only one can be meant."""
    if executor is None:  # most likely the shell has expanded runs/*.csv
        raise UsageError(
            f"got an extra argument ({data[1]}); for one table of several files name a folder, or quote a pattern: "
            "'runs/*.csv'; several searches go to a cluster (--executor dask)"
        )
    if out is not None:
        raise UsageError(f"--out is the folder of one search; those of several are {RUNS_FOLDER}/TABLE-SEED")
    if model is not None:
        raise UsageError("a language model takes part in one search at a time; name one table")
    if "-" in data:
        raise UsageError("- stands for standard input, which is one table; name files")


def _several(
    data: list[str], tasks: list[Task], executor: str, workers: int, search: dict[str, Any], json: bool
) -> None:
    """Search the law of each of several tables on a cluster."""
    from sld import api
    from sld.cli.show import search as show
    from sld.core.errors import SldError
    from sld.search.judging.cluster import Cluster

    folders = [_run_folder(task, search["seed"]) for task in tasks]
    done: list[api.Searched] = []
    place = Cluster(executor, workers)
    if place.asks:
        output.remark(place.asks)
    with place as cluster:
        page = f", {cluster.dashboard}" if cluster.dashboard else ""
        output.remark(f"searching {len(tasks)} tables with {cluster.n_workers()} workers{page}")
        for one in api.discover_many(tasks, folders, cluster, **search):
            done.append(one)
            output.remark(f"{len(done)} of {len(tasks)}: {one.task.name}")
    done.sort(key=lambda one: folders.index(one.folder))
    held_out = [None if one.found is None else api.held_out_scores(one.found.law, one.task) for one in done]
    show.discoveries(list(zip(data, done, held_out, strict=True)), json)
    if failed := [one for one in done if one.found is None]:
        raise SldError(f"{len(failed)} of {len(done)} searches failed; {failed[0].task.name}: {failed[0].failed}")


def _planned(runs: list[str] | None, data: str) -> object:
    """Return the planned runs, a table on standard input for -."""
    if runs != ["-"]:
        return runs
    if data == "-":
        raise UsageError("standard input holds one table; name a file for the planned runs or for the rows")
    return options.given("-")


def _run_folder(task: Task, seed: int) -> Path:
    from sld.search.run_folder import default_folder

    return default_folder(RUNS_FOLDER, task.name, task.train, seed)
