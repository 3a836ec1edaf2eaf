"""What the checks of `case_list.py` are made of: commands that were run, what they wrote, and what is asked of it."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
CASES = ROOT.parent / "shared" / "cases"

Array = NDArray[np.float64]


@dataclass
class Said:
    """What a command wrote."""

    command: str
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The document on stdout; {} where there is none."""
        try:
            found = json.loads(self.out)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def text(self) -> str:
        """All words of it on one line."""
        return " ".join(f"{self.out} {self.err}".split())

    @property
    def refusal(self) -> str:
        """Its last line, where it failed."""
        lines = [line for line in self.err.splitlines() if line.strip()]
        said = lines[-1].removeprefix("sld: ") if lines else "nothing said"
        said = re.sub(r"/[^ ]*/(?=[\w.-]+)", "", said)  # where the files lie says nothing
        return f"exit {self.code}: {said}"


@dataclass
class Found:
    """What `sld discover` found in one table."""

    said: Said
    folder: Path

    @property
    def law(self) -> Any:
        """The law as a `Law`, read from the disk."""
        from sld.laws.law import Law

        return Law.load(self.folder)

    @property
    def formula(self) -> str:
        """The chosen formula."""
        law = self.said.json.get("law", {})
        said = law.get("expression") or law.get("expressions") or "no law"
        return said if isinstance(said, str) else "; ".join(dict.fromkeys(said.values()))

    @property
    def verdict(self) -> str:
        """law, weak or no law."""
        return str(self.said.json.get("verdict", {}).get("kind", f"exit {self.said.code}"))

    @property
    def notes(self) -> str:
        """All notes on one line."""
        return " | ".join(map(str, self.said.json.get("notes", [])))

    @property
    def reach(self) -> Mapping[str, float]:
        """Up to where it is supported."""
        return dict(self.said.json.get("verdict", {}).get("reach") or {})

    @property
    def intervals(self) -> list[tuple[str, float, float, float]]:
        """Name, value, low and high of each constant whose interval is known."""
        found = []
        law = self.law
        for target, by_group in (self.said.json.get("constant_intervals") or {}).items():
            for group, ends in by_group.items():
                for name, span in ends.items():
                    if span and None not in span and all(math.isfinite(e) for e in span):
                        found.append((name, law.constants[target][group][name], float(span[0]), float(span[1])))
        return found


class Trial:
    """The cases with the sld of one checkout."""

    def __init__(self, tree: Path, place: Path, budget: str) -> None:
        """Run in `place`, with the sld of `tree`."""
        self.tree, self.place, self.budget = tree, place, budget
        self.commands: list[str] = []
        self._n = 0

    def run(self, *arguments: str, stdin: str | None = None) -> Said:
        """Run `sld ...`; files of the cases may be named without their folder."""
        given = [str(CASES / a) if (CASES / a).is_file() else a for a in arguments]
        done = subprocess.run(
            [sys.executable, "-m", "sld", *given],
            env={**os.environ, "PYTHONPATH": str(self.tree), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            cwd=self.place,
            input=stdin,
            capture_output=True,
            text=True,
        )
        shown = " ".join(f'"{a}"' if re.search(r"[\s=*<>]", a) else a for a in arguments)
        self.commands.append(re.sub(rf"{re.escape(str(self.place))}/?", "", f"sld {shown}"))
        return Said(shown, done.returncode, done.stdout, done.stderr)

    def discover(self, *arguments: str, budget: str | None = None) -> Found:
        """Run `sld discover` with --json into a folder of its own."""
        self._n += 1
        folder = self.place / f"run{self._n}"
        more = ("--budget", budget or self.budget, "--workers", "1", "--out", str(folder), "--json")
        said = self.run("discover", *arguments, *more)
        self.commands[-1] = self.commands[-1].replace(" --json", "")
        return Found(said, folder)

    def predict(self, found: Found, points: Mapping[str, Any] | str) -> pd.DataFrame:
        """Return what `sld predict` says of points, or of a table of the cases; no rows where it fails."""
        if isinstance(points, str):
            table = points
        else:
            table = f"points{self._n}.csv"
            pd.DataFrame(dict(points)).to_csv(self.place / table, index=False)
        said = self.run("predict", str(found.folder), table, "--json")
        self.commands[-1] = self.commands[-1].replace(" --json", "")
        frame = pd.DataFrame(said.json.get("predictions", {}), dtype=np.float64)
        frame.attrs["said"] = said
        return frame


@dataclass(frozen=True)
class Outcome:
    """Whether it is right, and the cell that shows it."""

    ok: bool
    cell: str


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    name: str
    right: str
    judge: Callable[[Trial], Outcome]


LIST: list[Case] = []


def case(name: str, right: str) -> Callable[[Callable[[Trial], Outcome]], Callable[[Trial], Outcome]]:
    """Enter a function as the judge of a case."""

    def enter(judge: Callable[[Trial], Outcome]) -> Callable[[Trial], Outcome]:
        LIST.append(Case(name, right, judge))
        return judge

    return enter


def table(name: str) -> pd.DataFrame:
    """Return a table of the cases."""
    return pd.read_csv(CASES / name)


def r2(y: Any, predicted: Any) -> float:
    """Return R²; -inf where a prediction is missing or not finite."""
    y, predicted = np.asarray(y, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if len(y) != len(predicted) or not np.isfinite(predicted).all():
        return -math.inf
    return float(1 - ((y - predicted) ** 2).sum() / ((y - y.mean()) ** 2).sum())


def held_out(trial: Trial, found: Found, name: str, target: str) -> float:
    """Return R² on held-out rows, which the search has not seen."""
    if found.said.code:
        return -math.inf
    frame = trial.predict(found, name)
    return r2(table(name)[target], frame[target]) if target in frame else -math.inf


def breaks(found: Found, frame: pd.DataFrame, scale: Sequence[str], group: str | None = None) -> str:
    """Return where the law has a pole, a spike or no value, from a tenth to a hundred times the table; "" nowhere."""
    sys.path.insert(0, str(ROOT / "tests"))
    import property_tables as properties
    import random_tables as tables

    law = found.law
    columns = {name: frame[name].to_numpy() for name in scale}
    if group:
        columns[tables.GROUP] = frame[group].astype(str).to_numpy()

    def predict(target: int) -> Any:
        def of(points: Mapping[str, Any]) -> Array:
            named = {(group if n == tables.GROUP and group else n): v for n, v in points.items()}
            return np.asarray(law.predict(named), dtype=np.float64)[:, [target]]

        return SimpleNamespace(predict=of)

    for j, target in enumerate(law.targets):
        y = frame[target.column].to_numpy()
        none = np.zeros(len(y), dtype=np.bool_)
        roles = {"scale": list(scale)}
        drawn = tables.Drawn(0, "", {**columns, tables.TARGET: y}, roles, y, none, ())
        with np.errstate(all="ignore"):
            for walk in properties.walks(drawn):
                for violation in properties._along(predict(j), drawn, walk):
                    return f"{violation.kind} at {violation.where}"
    return ""


def sensitivity(found: Found, frame: pd.DataFrame) -> float:
    """Return by how much an error of one constant grows in a prediction, at most; thousands where terms cancel."""
    law = found.law
    points = {n: frame[n].to_numpy() for n in frame.columns}
    base = law.predict(points)
    scale = np.abs(base).mean(axis=0)
    most = 0.0
    for target, by_group in law.constants.items():
        for name in next(iter(by_group.values()), {}):
            changed = {g: {**c, name: c[name] * (1 + 1e-6)} for g, c in by_group.items()}
            other = replace(law, constants={**law.constants, target: changed})
            with np.errstate(all="ignore"):
                moved = np.abs(other.predict(points) - base) / scale / 1e-6
            most = max(most, float(np.nanmax(moved)))
    return most


def extreme(found: Found) -> str:
    """Return a constant beyond 1e±30, "" if there is none."""
    for by_group in found.law.constants.values():
        for values in by_group.values():
            for name, value in values.items():
                if value != 0 and not 1e-30 < abs(value) < 1e30:
                    return f"{name} = {value:.3g}"
    return ""


def free_constants(found: Found) -> list[int]:
    """Return how many values were fitted for each target: one that all groups share counts once."""
    return [
        sum(len({values[name] for values in by_group.values()}) for name in next(iter(by_group.values()), {}))
        for by_group in found.law.constants.values()
    ]


def said(found: Found, *words: str) -> bool:
    """Whether all words stand in what the command said."""
    text = found.said.text.casefold()
    return all(word.casefold() in text for word in words)


def note_with(found: Found, word: str) -> str:
    """Return the note that has a word, or "no note of it"."""
    notes = [n for n in found.said.json.get("notes", []) if word.casefold() in str(n).casefold()]
    return f"“{short(str(notes[0]), 120)}”" if notes else f"no note with “{word}”"


def short(text: str, most: int) -> str:
    """Return text on one line, cut at so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"
