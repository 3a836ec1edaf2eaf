"""The options that several commands share, written once: where rows come from and what their columns mean.

A command takes one of the records below as a parameter, and has every field of it as an option (`base.command`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sld.cli import output
from sld.core.errors import UsageError

if TYPE_CHECKING:
    from sld.data.table import Table
    from sld.data.task import Task

Data = Annotated[
    str,
    typer.Argument(
        metavar="TASK",
        help="Task of `sld tasks`, task folder, or a table of runs: CSV, TSV, JSON, JSON lines, Parquet, xlsx, also "
        "as .csv.gz; a folder or 'pattern/*.csv' of these; - for standard input.",
    ),
]
LawPath = Annotated[Path, typer.Argument(metavar="LAW", help="A law.json, or the run folder that holds it.")]
AnyLaw = Annotated[
    str,
    typer.Argument(
        metavar="LAW",
        help="A run folder or law.json; a law of `sld laws` with its published constants, e.g. chinchilla or "
        "chinchilla@LABEL; or a formula without constants, e.g. '1.7 + 400*N**-0.34'.",
    ),
]
Names = list[str] | None


def _columns_option(flag: str, text: str) -> Any:
    return typer.Option(flag, metavar="COLS", help=text, rich_help_panel=None)


def _picture(path: Path | None) -> Path | None:
    if path is not None:
        from sld.analysis.decisions.style import format_of
        from sld.core.files import check_file

        format_of(path)
        check_file(path)
    return path


# what a file of such a name is taken for, and a table written as CSV is not
_NO_CSV = frozenset((".parquet", ".xlsx", ".json", ".jsonl", ".gz", ".png", ".svg", ".pdf", ".html", ".md"))


def _csv(path: Path | None) -> Path | None:
    if path is not None and path.suffix.casefold() in _NO_CSV:
        raise UsageError(f"the table is written as CSV, and {path} would not be read as that; name it .csv")
    return _file(path)


def _file(path: Path | None) -> Path | None:
    if path is not None:
        from sld.core.files import check_file

        check_file(path)
    return path


def _folder_of(flag: str) -> Callable[[Path | None], Path | None]:
    def checked(path: Path | None) -> Path | None:
        if path is not None:
            from sld.core.files import check_folder

            try:
                check_folder(path)
            except UsageError as error:
                raise UsageError(f"{error}; choose another folder with {flag}") from error
        return path

    return checked


def _law_place(path: Path | None) -> Path | None:
    return _file(path) if path is not None and path.suffix == ".json" else _folder_of("--out")(path)


# what is written: a place that cannot be written to is refused before any work is done
def out_file(text: str) -> Any:
    """Return the option --out FILE of a command that says itself which names it takes."""
    return typer.Option("--out", metavar="FILE", callback=_file, help=text)


def out_csv(text: str) -> Any:
    """Return the option --out FILE of a command that writes a table."""
    return typer.Option("--out", metavar="FILE", callback=_csv, help=text)


def out_folder(flag: str, *, metavar: str, text: str) -> Any:
    """Return the option of a command that writes a folder."""
    return typer.Option(flag, metavar=metavar, callback=_folder_of(flag), help=text)


Plot = Annotated[
    Path | None,
    typer.Option("--plot", metavar="FILE", callback=_picture, help="Draw the answer: a .png, .svg or .pdf file."),
]
Out = Annotated[Path | None, out_csv("Write the numbers as CSV.")]
OutLaw = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="RUN_DIR", callback=_law_place, help="Folder for law.json and plot.png, or a .json file."
    ),
]

# what is fitted
Form = Annotated[
    str, typer.Option("--law", metavar="NAME|FORMULA", help="A law of the card or of `sld laws`, or a formula.")
]
Constants = Annotated[
    Names,
    typer.Option("--constants", metavar="NAMES", help="Names in a formula of yours that are constants, e.g. N,D."),
]
Shared = Annotated[Names, typer.Option("--shared", metavar="NAMES", help="Constants that all groups share.")]

# which part of a law is asked, and where
Target = Annotated[str | None, typer.Option("--target", metavar="COL", help="Which target, of several.")]
GroupName = Annotated[str | None, typer.Option("--group", metavar="NAME", help="Which group, of several.")]
Sum = Annotated[Names, typer.Option("--weights", metavar="COL=X", help="A weighted sum of targets.")]
Draws = Annotated[int, typer.Option("--draws", metavar="N", min=0, help="Curves that the intervals come from.")]
Given = Annotated[
    Names,
    typer.Option(
        "--given", metavar="COL=X", help="What is settled: a variable, lr=3e-4, or a ratio, D/N=20; repeatable."
    ),
]
At = Annotated[
    Names,
    typer.Option("--at", metavar="COL=X,...", help="The run that is asked about, e.g. N=1e11,D=2e12."),
]
Cost = Annotated[
    str | None,
    typer.Option(
        "--cost",
        metavar="COST",
        help="What a run costs: 6ND (if not given), attention, vocabulary, moe, or a formula such as '6*N*D'.",
    ),
]
CostSettings = Annotated[
    Names, typer.Option("--set", metavar="NAME=X", help="Settings of a cost: context, vocabulary, aspect, ...")
]

# which rows, which intervals, which dice
Drop = Annotated[
    Names,
    typer.Option("--drop", metavar='"COL==X"', help="Leave out such rows (== != < <= > >=); repeatable."),
]
Melt = Annotated[
    bool, typer.Option("--melt", help="Bare table with a column per run: make it rows with columns run and the target.")
]
ByFormula = Annotated[
    bool,
    typer.Option(
        "--by-formula", help="Predict by the law's formula alone, without other formulas and the rows near a point."
    ),
]
Outliers = Annotated[
    str, typer.Option("--outliers", metavar="drop|keep", help="What to do with runs that look diverged.")
]
level_option = typer.Option(
    "--level", metavar="90", help="Per cent that each interval shall hold, such as 50, 80, 90, 95."
)
Level = Annotated[str, level_option]
Seed = Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Seed of everything random.")]


@dataclass(frozen=True)
class TableOptions:
    """Which rows a bare table has, and what its columns are.

    The names of the fields are the options' names, and the keywords of `sld.table_from` but for three of them.
    """

    target: Annotated[Names, _columns_option("--target", "Bare table: column(s) to predict.")] = None
    scale: Annotated[Names, _columns_option("--scale", "Columns that grow with money, e.g. N,D.")] = None
    hyper: Annotated[Names, _columns_option("--hyper", "Columns with an interior optimum, e.g. lr,batch.")] = None
    proportion: Annotated[Names, _columns_option("--proportion", "Shares of a mixture; they sum to 1.")] = None
    covariate: Annotated[Names, _columns_option("--covariate", "Other columns that a law may use.")] = None
    group: Annotated[str | None, typer.Option("--group", metavar="COL", help="Rows of one value share constants.")] = (
        None
    )
    log: Annotated[Names, typer.Option("--log", metavar="COL[=log2]", help="Columns that are logarithms (log10).")] = (
        None
    )
    lower: Annotated[float | None, typer.Option("--lower", metavar="X", help="The target never falls below X.")] = None
    upper: Annotated[float | None, typer.Option("--upper", metavar="X", help="The target never exceeds X.")] = None
    better: Annotated[str | None, typer.Option("--better", metavar="lower|higher", help="Which target is better.")] = (
        None
    )
    monotone: Annotated[
        Names, typer.Option("--monotone", metavar="COL=decreasing", help="Known effect of a column on the target.")
    ] = None
    missing: Annotated[
        str | None, typer.Option("--missing", metavar="error|drop", help="What to do with rows that lack a value.")
    ] = None
    drop: Drop = None
    melt: Melt = False

    def keywords(self) -> dict[str, Any]:
        """Return the keywords of `table_from` that were given."""
        if self.better not in (None, "lower", "higher"):
            raise UsageError(f"--better must be lower or higher, got {self.better!r}")
        return _given_only(
            target=split(self.target),
            scale=split(self.scale),
            hyper=split(self.hyper),
            proportion=split(self.proportion),
            covariate=split(self.covariate),
            group=self.group,
            log=pairs(self.log, default="log10"),
            lower=self.lower,
            upper=self.upper,
            higher_is_better=self.better == "higher",
            monotone=pairs(self.monotone),
            missing=self.missing,
            **rows(self.drop, self.melt),
        )


@dataclass(frozen=True)
class Weighing:
    """Which rows belong together as one run, and what each counts."""

    run: Annotated[
        str | None, typer.Option("--run", metavar="COL", help="Rows of one value are checkpoints of one run.")
    ] = None
    yerr: Annotated[
        Names, _columns_option("--yerr", "Standard errors of the targets, a column each, in their order.")
    ] = None
    weights: Annotated[
        str | None, typer.Option("--weights", metavar="COL", help="Relative weights of the rows in a fit.")
    ] = None

    def keywords(self) -> dict[str, Any]:
        """Return the keywords of `table_from` that were given."""
        return _given_only(run=self.run, yerr=split(self.yerr), weights=self.weights)


@dataclass(frozen=True)
class Loss:
    """What a fit minimises."""

    loss: Annotated[str, typer.Option("--loss", metavar="LOSS", help="squared, huber, log, log_huber or envelope.")] = (
        "squared"
    )
    delta: Annotated[
        float | None,
        typer.Option(
            "--delta",
            metavar="X",
            help="Where Huber's loss turns linear, in units of the target (huber; 1.345 robust standard deviations "
            "of the residuals if not given) or of its logarithm (log_huber; 1e-3 if not given).",
        ),
    ] = None

    def keywords(self) -> dict[str, Any]:
        """Return the keywords of `sld.fit`."""
        return {"loss": self.loss, **_given_only(delta=self.delta)}


def _given_only(**keywords: Any) -> dict[str, Any]:
    # by identity: a bound of 0 is one, and equals False
    return {
        name: value for name, value in keywords.items() if not (value is None or value is False or value in ([], {}))
    }


def task_of(data: str, table: TableOptions, weighing: Weighing) -> Task:
    """Return the task that a command's words stand for."""
    from sld import api

    return api.as_task(given(data), **table.keywords(), **weighing.keywords())


def rows(drop: Names, melt: bool = False) -> dict[str, Any]:
    """Return the keywords of `table_from` about which rows there are, if any were given."""
    return {**({"drop": drop} if drop else {}), **({"melt": True} if melt else {})}


def given(data: str) -> Any:
    """Return the table on standard input for -, else what was named."""
    if data != "-":
        return data
    import sys

    from sld.data.reading import piped_source

    if sys.stdin is None:
        raise UsageError("- stands for standard input, which is closed; pipe a table in, or name a file")
    return piped_source(sys.stdin.buffer.read())


def say_notes(table: Table) -> None:
    """Say what was noticed while a table was read; after the work, so that a refusal stays one line."""
    output.notes(table.notes)


def split(values: Names) -> list[str]:
    """Return the parts of repeated, comma-separated values."""
    return [part.strip() for value in values or () for part in value.split(",") if part.strip()]


def pairs(values: Names, default: str | None = None) -> dict[str, str]:
    """Read `name=value` parts."""
    found = {}
    for part in split(values):
        name, equals, value = part.partition("=")
        if not equals and default is None:
            raise UsageError(f"wanted NAME=VALUE, got {part!r}")
        found[name.strip()] = value.strip() if equals else str(default)
    return found


def number(text: str) -> float:
    """Read a number as people write it, 7e9 or 7B; raises ValueError for what is none, NaN included."""
    import math

    from sld.data.numbers import number as read

    value = read(text)
    if math.isnan(value):
        raise ValueError
    return value


def numbers(values: Names, flag: str) -> dict[str, float]:
    """Read `name=number` parts of the option `flag`."""
    found = {}
    for part in split(values):
        name, equals, value = (word.strip() for word in part.partition("="))
        try:
            if not (equals and name):
                raise ValueError
            found[name] = number(value)
        except ValueError:
            raise UsageError(f"{flag} wants NAME=NUMBER, e.g. D=1e12, got {part}") from None
    return found


def points(values: Names, flag: str) -> list[dict[str, float]]:
    """Read a point from each of the option's values, `name=number` parts."""
    return [numbers([text], flag) for text in values or ()]


def amounts(values: Names, flag: str) -> list[float]:
    """Read the comma-separated numbers of the option `flag`."""
    found = []
    for part in split(values):
        try:
            found.append(number(part))
        except ValueError:
            raise UsageError(f"{flag} wants numbers, e.g. 1e22,1e24, got {part}") from None
    return found


def amount(text: str, flag: str) -> float:
    """Read the number of the option `flag`, 100k as a hundred thousand."""
    from sld.data.numbers import number

    try:
        return number(text)
    except ValueError:
        raise UsageError(f"{flag} wants a number, e.g. 1e5 or 100k, got {text}") from None


def span(value: str, flag: str) -> tuple[float, float]:
    """Read `low:high` of the option `flag`."""
    low, _, high = value.partition(":")
    try:
        return number(low), number(high)
    except ValueError:
        raise UsageError(f"{flag} wants LOW:HIGH, e.g. 1e18:1e24, got {value}") from None


def several(values: Names, flag: str, example: str = "E=1.6,1.7") -> dict[str, list[float]]:
    """Read `name=number,number` parts of the option `flag`, of which `example` is one."""
    found: dict[str, list[float]] = {}
    name = ""
    for part in split(values):
        before, equals, after = part.rpartition("=")
        name = before.strip() if equals else name
        try:
            if not name:
                raise ValueError
            found.setdefault(name, []).append(number(after))
        except ValueError:
            raise UsageError(f"{flag} wants NAME=NUMBER,NUMBER, e.g. {example}, got {part}") from None
    return found


def pins(values: Names) -> dict[str, float | str]:
    """Read `name=number` and `name=name` parts of --pin."""
    found: dict[str, float | str] = {}
    for part in split(values):
        name, equals, text = (word.strip() for word in part.partition("="))
        if not (name and equals and text):
            raise UsageError(f"--pin wants NAME=NUMBER or NAME=NAME, e.g. E=1.69, got {part}")
        try:
            value: float | str = float(text)
        except ValueError:
            value = text
        if name in found and found[name] != value:
            raise UsageError(f"--pin says two things of {name!r}: {found[name]} and {value}")
        found[name] = value
    return found


def bounds(values: Names) -> dict[str, tuple[float, float]]:
    """Read `name=low:high` parts; either end may be left open."""
    found = {}
    for name, value in pairs(values).items():
        low, colon, high = value.partition(":")
        try:
            if not colon:
                raise ValueError
            found[name] = (float(low or "-inf"), float(high or "inf"))
        except ValueError:
            raise UsageError(f"--bounds wants NAME=LOW:HIGH, e.g. a=0:1, got {name}={value}") from None
        if not found[name][0] < found[name][1]:
            raise UsageError(f"--bounds of {name!r}: the lower end must be below the upper one, got {value}")
    return found


def level_of(text: str) -> float:
    """Return the share that a per cent value of `--level` stands for: 90, 90 % and 0.9 are the same."""
    try:
        value = float(text.strip().removesuffix("%"))
    except ValueError:
        value = float("nan")
    share = value if 0.5 <= value < 1.0 else value / 100
    if not 0.5 <= share < 1.0:
        raise UsageError(f"--level wants per cent from 50 to below 100, e.g. 90, got {text}")
    return share


def interval_of(text: str) -> Literal["law", "run"]:
    """Return what `--interval` asks for."""
    if text not in ("law", "run"):
        raise UsageError(f"--interval wants run (where will a run be?) or law (where is the curve?), got {text}")
    return "law" if text == "law" else "run"
