"""The commands: options in, one call of the library, text or JSON out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sld.cli import board as cli_board
from sld.cli import output
from sld.cli.commands import PLAIN as _PLAIN
from sld.cli.commands import Group as _Group
from sld.cli.commands import Json, data_folder
from sld.cli.commands import command as _command
from sld.cli.commands import examples as _examples
from sld.cli.commands import json_wanted as _json_wanted
from sld.core.errors import UsageError

if TYPE_CHECKING:
    from sld.data.table import Table
    from sld.data.task import Task
    from sld.search.llm.settings import LLM

RUNS_FOLDER = "sld-runs"
DEFAULT_BUDGET = "30s"  # in the help; the search holds the number


app = typer.Typer(cls=_Group, **_PLAIN)
tasks_app = typer.Typer(cls=_Group, **_PLAIN)
laws_app = typer.Typer(cls=_Group, **_PLAIN)


Data = Annotated[
    str,
    typer.Argument(
        metavar="TASK",
        help="Task of `sld tasks`, task folder, or a table of runs: CSV, TSV, JSON, JSON lines, Parquet, xlsx, also "
        "as .csv.gz; a folder or 'pattern/*.csv' of these; - for standard input.",
    ),
]
LawPath = Annotated[Path, typer.Argument(metavar="LAW", help="A law.json, or the run folder that holds it.")]
Names = list[str] | None


def _columns_option(flag: str, text: str) -> Any:
    return typer.Option(flag, metavar="COLS", help=text, rich_help_panel=None)


Target = Annotated[Names, _columns_option("--target", "Bare table: column(s) to predict.")]
Scale = Annotated[Names, _columns_option("--scale", "Columns that grow with money, e.g. N,D.")]
Hyper = Annotated[Names, _columns_option("--hyper", "Columns with an interior optimum, e.g. lr,batch.")]
Proportion = Annotated[Names, _columns_option("--proportion", "Shares of a mixture; they sum to 1.")]
Covariate = Annotated[Names, _columns_option("--covariate", "Other columns that a law may use.")]
Group = Annotated[str | None, typer.Option("--group", metavar="COL", help="Rows of one value share constants.")]
Log = Annotated[Names, typer.Option("--log", metavar="COL[=log2]", help="Columns that are logarithms (log10).")]
Lower = Annotated[float | None, typer.Option("--lower", metavar="X", help="The target never falls below X.")]
Upper = Annotated[float | None, typer.Option("--upper", metavar="X", help="The target never exceeds X.")]
Better = Annotated[str | None, typer.Option("--better", metavar="lower|higher", help="Which target is better.")]
Monotone = Annotated[
    Names, typer.Option("--monotone", metavar="COL=decreasing", help="Known effect of a column on the target.")
]
Missing = Annotated[
    str | None, typer.Option("--missing", metavar="error|drop", help="What to do with rows that lack a value.")
]
Constants = Annotated[
    Names,
    typer.Option("--constants", metavar="NAMES", help="Names in a formula of yours that are constants, e.g. N,D."),
]
Drop = Annotated[
    Names,
    typer.Option("--drop", metavar='"COL==X"', help="Leave out such rows (== != < <= > >=); repeatable."),
]
Melt = Annotated[
    bool, typer.Option("--melt", help="Bare table with a column per run: make it rows with columns run and the target.")
]
Run = Annotated[str | None, typer.Option("--run", metavar="COL", help="Rows of one value are checkpoints of one run.")]
Yerr = Annotated[Names, _columns_option("--yerr", "Standard errors of the targets, a column each, in their order.")]
Weights = Annotated[str | None, typer.Option("--weights", metavar="COL", help="Relative weights of the rows in a fit.")]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Seed of everything random.")]


def _roles(
    target: Names,
    scale: Names,
    hyper: Names,
    proportion: Names,
    covariate: Names,
    group: str | None,
    log: Names,
    lower: float | None,
    upper: float | None,
    better: str | None,
    monotone: Names,
    missing: str | None,
    run: str | None = None,
    yerr: Names = None,
    weights: str | None = None,
) -> dict[str, Any]:
    """Return the keywords of `table_from` that were given."""
    if better not in (None, "lower", "higher"):
        raise UsageError(f"--better must be lower or higher, got {better!r}")
    given = {
        "target": _split(target),
        "scale": _split(scale),
        "hyper": _split(hyper),
        "proportion": _split(proportion),
        "covariate": _split(covariate),
        "group": group,
        "log": _pairs(log, default="log10"),
        "lower": lower,
        "upper": upper,
        "higher_is_better": better == "higher",
        "monotone": _pairs(monotone),
        "missing": missing,
        "run": run,
        "yerr": _split(yerr),
        "weights": weights,
    }
    return {name: value for name, value in given.items() if value not in (None, [], {}, False)}


def _rows(drop: Names, melt: bool = False) -> dict[str, Any]:
    """Return the keywords of `table_from` about which rows there are, if any were given."""
    return {**({"drop": drop} if drop else {}), **({"melt": True} if melt else {})}


def _given(data: str) -> Any:
    """Return the table on standard input for -, else what was named."""
    if data != "-":
        return data
    import sys

    from sld.data.reading import piped_source

    if sys.stdin is None:
        raise UsageError("- stands for standard input, which is closed; pipe a table in, or name a file")
    return piped_source(sys.stdin.buffer.read())


def _say_notes(table: Table) -> None:
    """Say what was noticed while a table was read; after the work, so that a refusal stays one line."""
    for note in table.notes:
        output.remark(f"note: {note}")


def _split(values: Names) -> list[str]:
    """Return the parts of repeated, comma-separated values."""
    return [part.strip() for value in values or () for part in value.split(",") if part.strip()]


def _pairs(values: Names, default: str | None = None) -> dict[str, str]:
    """Read `name=value` parts."""
    pairs = {}
    for part in _split(values):
        name, equals, value = part.partition("=")
        if not equals and default is None:
            raise UsageError(f"wanted NAME=VALUE, got {part!r}")
        pairs[name.strip()] = value.strip() if equals else str(default)
    return pairs


def _bounds(values: Names) -> dict[str, tuple[float, float]]:
    """Read `name=low:high` parts; either end may be left open."""
    bounds = {}
    for name, value in _pairs(values).items():
        low, colon, high = value.partition(":")
        try:
            if not colon:
                raise ValueError
            bounds[name] = (float(low or "-inf"), float(high or "inf"))
        except ValueError:
            raise UsageError(f"--bounds wants NAME=LOW:HIGH, e.g. a=0:1, got {name}={value}") from None
        if not bounds[name][0] < bounds[name][1]:
            raise UsageError(f"--bounds of {name!r}: the lower end must be below the upper one, got {value}")
    return bounds


def _version(wanted: bool) -> None:
    if wanted:
        from sld import __version__

        print(f"sld {__version__}")
        raise typer.Exit


@app.callback(
    invoke_without_command=True,
    epilog=_examples(
        "sld discover nanolm_chinchilla",
        "sld discover runs.csv --target loss --scale N,D",
        "sld predict sld-runs/nanolm_chinchilla-0 points.csv",
    ),
)
def _sld(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """Discover scaling laws: one short formula that extrapolates, from a table of training runs."""
    from sld.data import bundled

    if (folder := _tasks_folder()) is not None:
        bundled.add_tasks_root(folder)
        # commands may be run one after another in one process: the next may have another environment
        ctx.call_on_close(lambda: bundled.remove_tasks_root(folder))
    if ctx.invoked_subcommand is None:
        print(ctx.get_help())


def _tasks_folder() -> Path | None:
    """Return where fetched tasks are; None without a home."""
    folder = data_folder()
    return None if folder is None else folder / "tasks"


app.add_typer(tasks_app, name="tasks")


@tasks_app.callback(
    invoke_without_command=True,
    epilog=_examples(
        "sld tasks",
        "sld tasks show nanolm_chinchilla",
        "sld tasks check my_task/",
        "sld tasks fetch sldbench",
    ),
)
def tasks(ctx: typer.Context, json: Json = False) -> None:
    """List the tasks; show or check one; download a benchmark's."""
    ctx.obj = json
    if ctx.invoked_subcommand is None:
        from sld import api
        from sld.cli import show as cli_show

        cli_show.tasks(api.task_list(), json)


@_command(tasks_app, "show", "sld tasks show nanolm_chinchilla", "sld tasks show my_task/ --json")
def tasks_show(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Task of `sld tasks`, or a task folder.")],
    json: Json = False,
) -> None:
    """Show a task: its columns, rows, published laws and defects."""
    from sld import api
    from sld.cli import show as cli_show

    cli_show.task(api.task_details(name), _json_wanted(ctx, json))


@_command(tasks_app, "check", "sld tasks check my_task/", "sld tasks check my_task/ --json")
def tasks_check(
    ctx: typer.Context,
    path: Annotated[str, typer.Argument(metavar="PATH", help="Task folder or its task.toml.")],
    json: Json = False,
) -> None:
    """Check a task folder: exit code 0 when nothing is wrong, 1 with a line per problem."""
    from sld.cli import show as cli_show
    from sld.data.task import check_task

    problems = check_task(path)
    cli_show.problems(path, problems, _json_wanted(ctx, json))
    if problems:
        raise typer.Exit(1)


@_command(
    tasks_app,
    "fetch",
    "sld tasks fetch sldbench",
    "sld tasks fetch sldbench --from sldbench_copy/",
    "sld tasks fetch sldbench --revision refs/convert/parquet --to my_tasks/",
)
def tasks_fetch(
    ctx: typer.Context,
    suite: Annotated[str, typer.Argument(metavar="SUITE", help="Name of the benchmark: sldbench.")],
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="DIR", help="Where the task folders go; below $SLD_DATA if not given."),
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--from", metavar="DIR", help="A copy of the data set, instead of the hub.")
    ] = None,
    revision: Annotated[
        str | None, typer.Option("--revision", metavar="REV", help="Branch, tag or commit of the data set.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write every task anew, whatever is in its folder.")] = False,
    json: Json = False,
) -> None:
    """Download the tasks of a benchmark from the Hugging Face hub.

    They go by their names afterwards. What is there already is left alone, so the same command resumes and updates.
    HF_ENDPOINT names a mirror, HF_TOKEN logs in, HF_HOME moves the cache of the hub's client.
    """
    import os

    from sld.board.suites.fetch import fetch
    from sld.cli import show as cli_show

    folder = to or _tasks_folder()
    if folder is None:
        raise UsageError("there is no home folder to put tasks in; say where with --to DIR, or set SLD_DATA")
    cache = os.environ.get("HF_HUB_CACHE") or (os.environ.get("HF_HOME") and os.path.join(os.environ["HF_HOME"], "hub"))
    line = output.ProgressLine("")
    try:
        fetched = fetch(
            suite,
            to=folder,
            source=source,
            endpoint=os.environ.get("HF_ENDPOINT"),
            revision=revision,
            token=os.environ.get("HF_TOKEN") or None,
            cache=cache or None,
            force=force,
            progress=line.show,
        )
    finally:
        line.close()
    cli_show.fetched(fetched, suite, folder, folder == _tasks_folder(), _json_wanted(ctx, json))


app.add_typer(laws_app, name="laws")


@laws_app.callback(
    invoke_without_command=True, epilog=_examples("sld laws", "sld laws show chinchilla", "sld laws --json")
)
def laws(ctx: typer.Context, json: Json = False) -> None:
    """List the catalogue of published laws; show one."""
    ctx.obj = json
    if ctx.invoked_subcommand is None:
        from sld.cli import show as cli_show
        from sld.laws.catalogue import load_catalogue

        cli_show.laws(load_catalogue(), json)


@_command(laws_app, "show", "sld laws show chinchilla", "sld laws show chinchilla --json")
def laws_show(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Id of the law, as `sld laws` lists it.")],
    json: Json = False,
) -> None:
    """Show a published law: formula, variables, constants, values, source."""
    from sld.cli import show as cli_show
    from sld.laws.catalogue import get_law

    cli_show.law(get_law(name), _json_wanted(ctx, json))


@_command(
    app,
    "discover",
    "sld discover nanolm_chinchilla",
    "sld discover runs.csv --target loss --scale N,D --group family",
    "sld discover runs.csv --target loss --scale N --hyper lr,batch --budget 5min",
    'sld discover wandb_export.csv --melt --target loss --scale Step --group run --drop "Step==0"',
    "zcat runs.jsonl.gz | sld discover - --target loss --scale N",
    'sld discover runs.csv --target loss --scale N,D --try "E + A*N**-a + B*D**-b"',
    "sld discover nanolm_chinchilla --llm gpt-5-mini --llm-budget 0.50usd",
)
def discover(
    data: Data,
    target: Target = None,
    scale: Scale = None,
    hyper: Hyper = None,
    proportion: Proportion = None,
    covariate: Covariate = None,
    group: Group = None,
    log: Log = None,
    lower: Lower = None,
    upper: Upper = None,
    better: Better = None,
    monotone: Monotone = None,
    missing: Missing = None,
    drop: Drop = None,
    melt: Melt = False,
    run: Run = None,
    yerr: Yerr = None,
    weights: Weights = None,
    outliers: Annotated[
        str, typer.Option("--outliers", metavar="drop|keep", help="What to do with runs that look diverged.")
    ] = "drop",
    seed: Seed = 0,
    budget: Annotated[
        str | None,
        typer.Option(
            "--budget", metavar="TIME|FITS", help=f"60s, 5min, or 20000fits (repeatable to the bit); {DEFAULT_BUDGET}."
        ),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", metavar="N", help="Processes to fit with.")] = 2,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="RUN_DIR", help=f"Where to write; {RUNS_FOLDER}/TASK-SEED if not given."),
    ] = None,
    proposers: Annotated[
        Names,
        typer.Option(
            "--proposers",
            "--proposer",
            metavar="NAMES",
            help="Who proposes: catalogue,enumeration,evolution (all three), operon, pysr.",
        ),
    ] = None,
    formulas: Annotated[
        Names, typer.Option("--try", metavar="FORMULA", help="A formula of your own to try as well; repeatable.")
    ] = None,
    constants: Constants = None,
    llm: Annotated[
        str | None,
        typer.Option("--llm", metavar="MODEL|auto", help="A language model that proposes formulas beside the search."),
    ] = None,
    llm_mode: Annotated[
        str | None,
        typer.Option("--llm-mode", metavar="MODE", help="propose (is shown what was found) or agent (turns, tools)."),
    ] = None,
    llm_budget: Annotated[
        str | None, typer.Option("--llm-budget", metavar="LIMIT", help="What it may use: 0.50usd, 200ktok, or both.")
    ] = None,
    llm_prices: Annotated[
        Path | None, typer.Option("--llm-prices", metavar="FILE", help="A price table of your own (TOML).")
    ] = None,
    llm_replay: Annotated[
        Path | None,
        typer.Option("--llm-replay", metavar="RUN_DIR", help="Repeat the replies recorded there; nobody is asked."),
    ] = None,
    llm_dry_run: Annotated[
        bool, typer.Option("--llm-dry-run", help="Print the first prompt and what it may cost, and stop.")
    ] = False,
    json: Json = False,
) -> None:
    """Search the formula that extrapolates best.

    The same command into the same RUN_DIR takes an earlier search up again, with a larger budget too; with other
    options the earlier search is kept in RUN_DIR/earlier-1 and a new one begins. With --llm, the key is read from
    OPENAI_API_KEY and the address of the server, which may be your own, from OPENAI_BASE_URL.
    """
    from sld import api
    from sld.cli import show as cli_show

    model = _model(llm, llm_mode, llm_budget, llm_prices, llm_replay, llm_dry_run)
    roles = _roles(
        target, scale, hyper, proportion, covariate, group, log, lower, upper, better, monotone, missing, run, yerr,
        weights,
    )  # fmt: skip
    task = api.as_task(_given(data), **roles, **_rows(drop, melt))
    if llm_dry_run:
        assert model is not None
        cli_show.dry_run(api.dry_run(task, model), json)
        return
    folder = _run_folder(task, seed) if out is None else out
    line = output.ProgressLine(f"searching a law for {task.name} ({task.train.n_rows} rows); writing to {folder}")
    try:
        found = api.discover(
            task,
            seed=seed,
            budget=budget,
            workers=workers,
            out=folder,
            proposers=_split(proposers) or None,
            formulas=formulas or (),
            constants=_split(constants),
            progress=cli_show.progress(line),
            llm=model,
            tell=output.remark,
            outliers=outliers,
        )
    finally:
        line.close()
    cli_show.discovery(found, api.held_out_scores(found.law, task), folder, data, json)


def _model(
    name: str | None, mode: str | None, budget: str | None, prices: Path | None, replay: Path | None, dry_run: bool
) -> LLM | None:
    """Return the settings of the language model; None without one."""
    given = {"--llm-mode": mode, "--llm-budget": budget, "--llm-prices": prices, "--llm-dry-run": dry_run}
    if name is None and replay is None:
        for option, value in given.items():
            if value:
                raise UsageError(f"{option} is about a language model; name one with --llm MODEL")
        return None
    if name == "auto" and replay is None:
        import os

        # a dry run needs no key: nothing is sent
        needed = ("OPENAI_MODEL",) if dry_run else ("OPENAI_MODEL", "OPENAI_API_KEY")
        from importlib.util import find_spec

        absent = [f"{variable} is not set" for variable in needed if not os.environ.get(variable, "").strip()]
        absent += [] if find_spec("openai") else ["the openai package is not installed"]
        if absent:
            if dry_run:
                raise UsageError(f"--llm auto: {absent[0]}; name a model with --llm MODEL")
            output.remark(f"searching without a language model: {' and '.join(absent)}")
            return None
        name = os.environ["OPENAI_MODEL"]
    from dataclasses import replace

    from sld.search.llm.settings import LLM

    if replay is not None:
        named = None if name == "auto" else name
        return replace(LLM.replayed(replay, model=named, mode=mode), prices=prices, budget=budget)
    assert name is not None
    return LLM(name, mode=mode or "propose", budget=budget, prices=prices)


def _run_folder(task: Task, seed: int) -> Path:
    from sld.search.run_folder import default_folder

    return default_folder(RUNS_FOLDER, task.name, task.train, seed)


@_command(
    app,
    "fit",
    "sld fit nanolm_chinchilla --law Chinchilla",
    'sld fit nanolm_chinchilla --law "E + A*N**-a + B*D**-b" --out my_law/',
    'sld fit runs.csv --target loss --scale N --law "E + A*N**-a" --bounds a=0:1 --loss huber',
)
def fit(
    data: Data,
    law: Annotated[
        str, typer.Option("--law", metavar="NAME|FORMULA", help="A law of the card or of `sld laws`, or a formula.")
    ],
    target: Target = None,
    scale: Scale = None,
    hyper: Hyper = None,
    proportion: Proportion = None,
    covariate: Covariate = None,
    group: Group = None,
    log: Log = None,
    lower: Lower = None,
    upper: Upper = None,
    better: Better = None,
    monotone: Monotone = None,
    missing: Missing = None,
    drop: Drop = None,
    melt: Melt = False,
    loss: Annotated[
        str, typer.Option("--loss", metavar="LOSS", help="squared, huber, log, log_huber or envelope.")
    ] = "squared",
    run: Run = None,
    yerr: Yerr = None,
    weights: Weights = None,
    outliers: Annotated[
        str, typer.Option("--outliers", metavar="drop|keep", help="What to do with runs that look diverged.")
    ] = "keep",
    shared: Annotated[Names, typer.Option("--shared", metavar="NAMES", help="Constants that all groups share.")] = None,
    positive: Annotated[Names, typer.Option("--positive", metavar="NAMES", help="Constants that are positive.")] = None,
    bounds: Annotated[Names, typer.Option("--bounds", metavar="a=0:1", help="Bounds of constants; open: a=0:")] = None,
    constants: Constants = None,
    starts: Annotated[int, typer.Option("--starts", metavar="N", help="Starting points per group.")] = 32,
    seed: Seed = 0,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="RUN_DIR", help="Folder for law.json and plot.png, or a .json file.")
    ] = None,
    json: Json = False,
) -> None:
    """Fit the constants of one given formula."""
    from sld import api
    from sld.cli import show as cli_show

    roles = _roles(
        target, scale, hyper, proportion, covariate, group, log, lower, upper, better, monotone, missing, run, yerr,
        weights,
    )  # fmt: skip
    task = api.as_task(_given(data), **roles, **_rows(drop, melt))
    fitted = api.fit(
        task,
        law,
        loss=loss,
        shared=_split(shared),
        positive=_split(positive),
        bounds=_bounds(bounds),
        constants=_split(constants),
        starts=starts,
        seed=seed,
        out=out,
        outliers=outliers,
    )
    _say_notes(task.train)
    cli_show.fitted(fitted, api.held_out_scores(fitted, task), out, data, json)


@_command(
    app,
    "predict",
    "sld predict sld-runs/nanolm_chinchilla-0 points.csv",
    "sld predict law.json points.csv --out predictions.csv",
    "cat points.csv | sld predict law.json -",
)
def predict(
    law: LawPath,
    points: Annotated[
        str,
        typer.Argument(
            metavar="POINTS", help="Table with the law's variables, of any type that discover reads; - for a pipe."
        ),
    ],
    drop: Drop = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the CSV here, not on stdout.")
    ] = None,
    json: Json = False,
) -> None:
    """Predict runs not yet made.

    Prints the table of points with a column per target, and <target>_low and <target>_high if the law has intervals.
    """
    from sld import api
    from sld.cli import show as cli_show
    from sld.data.points_file import with_columns
    from sld.data.reading import prepared
    from sld.data.table import read_points

    loaded = api.as_law(law)
    given = prepared(_given(points), drop=drop or ())
    table = read_points(given, loaded.variables, loaded.group_column)
    predicted = api.predict(loaded, table)
    _say_notes(table)
    cli_show.warn_of_verdict(api.caution(loaded, table))
    for sentence in api.warnings(loaded, table):
        output.remark(f"warning: {sentence}")
    cli_show.warn_of_gaps(predicted)
    rows = with_columns(given, predicted)
    if out is not None or not json:
        cli_show.predictions(rows, out)
    if json:
        cli_show.predictions_json(predicted, str(law), out)


@_command(
    app,
    "score",
    "sld score sld-runs/nanolm_chinchilla-0 nanolm_chinchilla",
    "sld score law.json further_runs.csv --json",
)
def score(
    law: LawPath,
    data: Annotated[
        str, typer.Argument(metavar="TASK", help="Its held-out rows count; or a table of further runs (- for a pipe).")
    ],
    drop: Drop = None,
    melt: Melt = False,
    json: Json = False,
) -> None:
    """Score a law on rows that it was not fitted to."""
    from sld import api
    from sld.cli import show as cli_show

    loaded = api.as_law(law)
    rows = api.rows_to_score(loaded, _given(data), **_rows(drop, melt))
    scored = api.score(loaded, rows)
    _say_notes(rows)
    cli_show.scores(scored, json)


cli_board.register(app)
