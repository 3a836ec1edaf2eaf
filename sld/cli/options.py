"""The options that several commands share, written once: where rows come from and what their columns mean.

A command takes one of the records below as a parameter, and has every field of it as an option (`base.command`).
"""

from __future__ import annotations

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
Level = Annotated[
    str, typer.Option("--level", metavar="90", help="Per cent that each interval shall hold, such as 50, 80, 90, 95.")
]
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


def _given_only(**keywords: Any) -> dict[str, Any]:
    return {name: value for name, value in keywords.items() if value not in (None, [], {}, False)}


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
    for note in table.notes:
        output.remark(f"note: {note}")


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


def numbers(values: Names, flag: str) -> dict[str, float]:
    """Read `name=number` parts of the option `flag`."""
    found = {}
    for name, value in pairs(values).items():
        try:
            found[name] = float(value)
        except ValueError:
            raise UsageError(f"{flag} wants NAME=NUMBER, e.g. D=1e12, got {name}={value}") from None
    return found


def amounts(values: Names, flag: str) -> list[float]:
    """Read the comma-separated numbers of the option `flag`."""
    found = []
    for part in split(values):
        try:
            found.append(float(part))
        except ValueError:
            raise UsageError(f"{flag} wants numbers, e.g. 1e22, got {part}") from None
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
        return float(low), float(high)
    except ValueError:
        raise UsageError(f"{flag} wants LOW:HIGH, e.g. 1e18:1e24, got {value}") from None


def several(values: Names, flag: str) -> dict[str, list[float]]:
    """Read `name=number,number` parts of the option `flag`."""
    found: dict[str, list[float]] = {}
    name = ""
    for part in split(values):
        before, equals, after = part.rpartition("=")
        name = before.strip() if equals else name
        try:
            if not name:
                raise ValueError
            found.setdefault(name, []).append(float(after))
        except ValueError:
            raise UsageError(f"{flag} wants NAME=NUMBER,NUMBER, e.g. E=1.6,1.7, got {part}") from None
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
