"""Tables that are measured here: what one is, how its rows are split, and how its task folder is written.

Shared by the scripts `measure_*.py`. Each has one registry of `Experiment`s and calls `main(doc, registry)`, which
reads `OUT [--only NAME,NAME]` and writes a folder OUT/NAME of `task.toml`, `train.csv` and `held_out.csv` for each.
The split is part of the design: `Experiment.held` says of a row, from its inputs alone, whether it is held out.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import io
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sld.core.errors import SldError
from sld.core.files import write_bytes_atomic
from sld.data.card import CARD_FILE, Better, Card, Monotone, Role, Target, Variable
from sld.data.task import load_task

Row = Mapping[str, float | str]

PROVENANCE = "measured for this project"
LEAST, MOST = 0.15, 0.40  # share of the rows that is held out


@dataclass(frozen=True)
class Experiment:
    """One table that can be measured.

    Attributes:
        card: What the table says of itself; see `card_of`.
        measure: Runs the design and yields its rows, each with all columns of the card.
        held: Whether a row is held out, from its inputs.
        needs: Modules that the measurement imports beyond numpy.
    """

    card: Card
    measure: Callable[[], Iterable[Row]]
    held: Callable[[Row], bool]
    needs: tuple[str, ...] = ()


def card_of(name: str, **given: Any) -> Card:
    """Return the card of a table measured here; `given` are fields of `Card`, where a list may stand for a tuple."""
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
    return Card(name, licence="CC0-1.0", provenance=PROVENANCE, held_out_file="held_out.csv", **fields)


def scale(column: str, meaning: str, unit: str, *, up: bool = False, monotone: Monotone | None = None) -> Variable:
    """Return a variable that grows with money; `up`: the held-out rows lie beyond the training ones here."""
    return Variable(column, meaning, unit, role="scale", extrapolate=up, monotone=monotone)


def other(column: str, meaning: str, unit: str, role: Role = "covariate", *, up: bool = False) -> Variable:
    """Return a covariate, or a variable of another role than scale."""
    return Variable(column, meaning, unit, role=role, extrapolate=up)


def target(column: str, meaning: str, unit: str, better: Better = "lower", upper: float | None = None) -> Target:
    """Return a target that is never negative."""
    return Target(column, meaning, unit, better=better, lower=0.0, upper=upper)


def seconds(call: Callable[[], object], repeats: int = 1) -> float:
    """Return the median wall-clock seconds of `repeats` calls."""

    def once() -> float:
        begun = time.perf_counter()
        call()
        return time.perf_counter() - begun

    return statistics.median(once() for _ in range(repeats))


def write(folder: Path, card: Card, rows: Iterable[Row], held: Callable[[Row], bool]) -> tuple[int, int]:
    """Write a task folder, read it back as any task is read, and return how many rows are for training and held out.

    Raises:
        SldError: The folder is not a task that can be loaded.
        ValueError: Too few or too many of the rows are held out.
    """
    parts: dict[bool, list[Row]] = {False: [], True: []}
    for row in rows:
        parts[held(row)].append(row)
    n_train, n_held = len(parts[False]), len(parts[True])
    if not LEAST <= n_held / max(n_train + n_held, 1) <= MOST:
        raise ValueError(f"{card.name}: {n_held} of {n_train + n_held} rows are held out; wanted {LEAST} to {MOST}")
    folder.mkdir(parents=True, exist_ok=True)
    columns = list(dict.fromkeys((*card.columns, *((card.run,) if card.run else ()))))
    files = {card.train_file: parts[False], card.held_out_file or "held_out.csv": parts[True]}
    for file, kept in files.items():
        write_bytes_atomic(folder / file, _csv(columns, kept).encode())
    write_bytes_atomic(folder / CARD_FILE, card.to_toml().encode())
    load_task(folder).held_out()
    return n_train, n_held


def _csv(columns: Sequence[str], rows: Iterable[Row]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(columns)
    table.writerows([_cell(row[column]) for column in columns] for row in rows)
    return text.getvalue()


def _cell(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))


def main(doc: str | None, experiments: Sequence[Experiment]) -> None:
    """Measure what the command line asks for; a table whose modules are absent is left out with a line that says so."""
    registry = {experiment.card.name: experiment for experiment in experiments}
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the task folders")
    parser.add_argument("--only", metavar="NAME,NAME", help=f"of {', '.join(registry)}")
    given = parser.parse_args()
    names = given.only.split(",") if given.only else list(registry)
    if unknown := [name for name in names if name not in registry]:
        parser.error(f"no table {', '.join(unknown)}; there are {', '.join(registry)}")
    for name in names:
        _measure(given.out / name, registry[name])


def _measure(folder: Path, experiment: Experiment) -> None:
    name = experiment.card.name
    if absent := [module for module in experiment.needs if importlib.util.find_spec(module) is None]:
        print(f"{name}: left out, needs {', '.join(absent)}", file=sys.stderr)
        return
    begun = time.perf_counter()
    try:
        n_train, n_held = write(folder, experiment.card, experiment.measure(), experiment.held)
    except SldError as error:
        sys.exit(f"{name}: {error}")
    print(f"{name}: {n_train} + {n_held} rows, {time.perf_counter() - begun:.1f} s", flush=True)
