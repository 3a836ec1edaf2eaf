"""Symbolic-regression engines of others as proposers: Operon (pyoperon) and PySR, which needs Julia; optional extras.

An engine runs in a child process (`engine_child`): a crash or an endless run there costs a sentence, not the search.
It sees the logarithm of each positive variable, as laws are smooth in those, and what comes back is text. The numbers
in it become constants to be fitted, with these numbers as a start, and the grammar reads the rest like any proposal.
Budgets are in evaluations and not in seconds, so that the same seed gives the same proposals.

Operon knows nothing of groups and gets the largest ones, one at a time. PySR (2.7) has templates: one form over all
groups, in which some constants are a list with a value for each group, and numbers are common to all.
"""

from __future__ import annotations

import importlib.util
import json
import math
import re
import subprocess
import sys
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sld.core.errors import GrammarError, UsageError
from sld.data.table import Table
from sld.formula.expression import Expression, Node, name, to_text
from sld.laws.form import Form
from sld.search.judging.judge import Proposal

_GROUPS = 3  # the largest, where an engine knows nothing of groups and gets them one at a time
_OWN = ("p0", "p1")  # constants of its own that a template gives each group: a level and a slope
_MOST_GROUPS = 30  # in a template: each has constants to be fitted
_TIMEOUT_S = 300.0  # after which an engine is given up, so that one that hangs ends no search
_FRONT = 40  # formulas of one front that are taken, shortest first
_EXPONENT = 4.0  # whole numbers up to here stay as they are


@dataclass(frozen=True)
class Engine:
    """An engine: its name as a proposer, the package it needs, the extra that brings it, evaluations per part.

    One that is `grouped` takes all groups at once, in one form with constants of their own.
    """

    name: str
    package: str
    extra: str
    evaluations: int
    grouped: bool = False


# by the name that --proposers takes
ENGINES = {
    "operon": Engine("operon", "pyoperon", "operon", 100_000),
    "pysr": Engine("pysr", "pysr", "pysr", 20_000, grouped=True),
}


def check_installed(engine: Engine) -> None:
    """Raise UsageError with the way out when the engine's package is absent."""
    if importlib.util.find_spec(engine.package) is None:
        raise UsageError(
            f"proposer {engine.name!r} needs the package {engine.package}, which is not installed; "
            f"pip install 'sld[{engine.extra}]'"
        )


class Run:
    """One run of an engine, started at once in the background; `proposals` waits for it."""

    def __init__(self, engine: Engine, table: Table, *, seed: int, notes: list[str]) -> None:
        """Start the child.

        Args:
            engine: Which engine.
            table: The rows; nothing else is sent.
            seed: Seed of the engine.
            notes: Takes one sentence when the engine fails.
        """
        check_installed(engine)
        self.engine, self.table, self.notes = engine, table, notes
        self._inputs = _inputs(table)
        self._in_order: list[str] = []  # the groups of a template
        job = {"engine": engine.name, "seed": seed, "evaluations": engine.evaluations, "parts": self._parts()}
        self._child = subprocess.Popen(
            [sys.executable, "-m", "sld.search.proposing.engine_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C ends the search in order; the child is ended with it
        )
        # communicate() would wait: the job goes out now, in a thread of its own, and the answer is fetched later
        self._answer: Any = _in_background(self._child, json.dumps(job).encode())
        self._asked = False
        self._end = weakref.finalize(self, _end, self._child)

    def close(self) -> None:
        """End the child if it still runs, and say so if nobody asked for its formulas."""
        self._end()
        if not self._asked:
            self._asked = True
            self.notes.append(f"the budget was used before proposer {self.engine.name} had its turn")

    def _parts(self) -> list[dict[str, Any]]:
        sizes = np.bincount(self.table.group_index, minlength=len(self.table.groups))
        together = self.engine.grouped and len(sizes) > 1
        largest = np.argsort(-sizes, kind="stable")[: _MOST_GROUPS if together else _GROUPS]
        groups = sorted(largest.tolist())
        if together:
            return self._templates(groups)
        parts = []
        for j in range(len(self.table.targets)):
            for g in groups:
                rows = self.table.group_index == g
                columns = [values[rows].tolist() for values, _ in self._inputs]
                parts.append({"X": columns, "y": self.table.Y[rows, j].tolist(), "target": j})
        return parts

    def _templates(self, groups: Sequence[int]) -> list[dict[str, Any]]:
        """Return a part for each target, with the rows of these groups, which are numbered from 1."""
        self._in_order = [self.table.groups[g] for g in groups]
        rows = np.isin(self.table.group_index, groups)
        number = np.searchsorted(groups, self.table.group_index[rows]) + 1
        X = [values[rows].tolist() for values, _ in self._inputs]
        about = {"group": number.tolist(), "n_groups": len(groups), "own": list(_OWN)}
        return [
            {"X": X, "y": self.table.Y[rows, j].tolist(), "target": j, **about} for j in range(len(self.table.targets))
        ]

    def proposals(self) -> Iterator[Proposal]:
        """Yield what the engine found, shortest formulas first; nothing, and a note, when it failed."""
        texts = self._texts()
        found: list[list[Form]] = [[] for _ in self.table.targets]
        for j, text in texts:
            form = self._form(text, j)
            if form is not None:
                found[j].append(form)
        if not all(found):
            return
        for i in range(max(len(forms) for forms in found)):
            yield Proposal.of([forms[min(i, len(forms) - 1)] for forms in found])

    def _texts(self) -> list[tuple[int, str]]:
        """Return (target, text) in the order of the fronts."""
        self._asked = True
        status, out, err = self._answer(_TIMEOUT_S)
        self._end()
        try:
            if status != 0:
                raise ValueError(f"exit code {status}, {_last_line(err) or 'no message'}")
            fronts = json.loads(out)
            return [(int(front["target"]), str(text)) for front in fronts for text in front["texts"][:_FRONT]]
        except (ValueError, KeyError, TypeError) as error:
            self.notes.append(f"proposer {self.engine.name} gave nothing: {str(error)[:200]}")
            return []

    def _form(self, text: str, target: int) -> Form | None:
        """Read one formula over the inputs `v0`, `v1`, ...; None when the grammar refuses it."""
        own: dict[str, list[float]] = {}
        if self._in_order:
            read = read_template(text, len(self._inputs), len(self._in_order))
            if read is None:
                return None
            text, own = read
        named = {f"v{i}": symbol for i, (_, symbol) in enumerate(self._inputs)}
        if set(re.findall(r"\bv\d+\b", text)) - set(named):
            return None
        names = {name: _free(name, self.table.symbols) for name in own}
        written = re.sub(r"\bv\d+\b", lambda m: f"({named[m[0]]})", text.replace("^", "**"))
        written = re.sub(r"\bp\d+\b", lambda m: names.get(m[0], m[0]), written)
        try:
            parsed = self.table.parse(written, target)
            free, start = with_constants(parsed, taken=self.table.symbols)
            expression = self.table.parse(to_text(free), target)
        except GrammarError:
            return None
        if not expression.used_variables or not expression.constants:
            return None
        starts = {
            group: {**start, **{names[name]: values[k] for name, values in own.items()}}
            for k, group in enumerate(self._in_order)
        }
        usual = {**start, **{names[name]: float(np.median(values)) for name, values in own.items()}}
        every = {
            g: {c: x for c, x in starts.get(g, usual).items() if c in expression.constants} for g in self.table.groups
        }
        # numbers of a template are common to all groups; the judge looks at how else constants can be shared
        shared = tuple(start) if any(names[name] in expression.constants for name in own) else ()
        return Form(expression, self.engine.name, shared=shared, needs_simplify=True, start=every)


def read_template(text: str, n_inputs: int, n_groups: int) -> tuple[str, dict[str, list[float]]] | None:
    """Return the formula of a template over v0, v1, ... and p0, p1, ..., and the values of these by group.

    >>> read_template("f = (#1 * #3) + 2.5; p0 = [1.0, 2.0]; p1 = [0.0, 0.5]", 2, 2)
    ('(v0 * p0) + 2.5', {'p0': [1.0, 2.0], 'p1': [0.0, 0.5]})

    Args:
        text: As PySR writes it, in one line or in lines with a frame; #1 stands for the first argument.
        n_inputs: How many variables come before the constants of the groups.
        n_groups: How many values each of these has; where the text has others, or none that can be read, they are 1.

    Returns:
        None where there is no formula in it.
    """
    parts = dict(re.findall(r"(\w+)\s*=\s*(\[[^\]]*\]|[^;\n]+)", text))
    if "f" not in parts:
        return None
    arguments = [*(f"v{i}" for i in range(n_inputs)), *_OWN]
    places = [int(place) for place in re.findall(r"#(\d+)", parts["f"])]
    if any(not 1 <= place <= len(arguments) for place in places):
        return None
    formula = re.sub(r"#(\d+)", lambda m: arguments[int(m[1]) - 1], parts["f"]).strip()
    return formula, {name: _numbers(parts.get(name, ""), n_groups) for name in _OWN}


def _numbers(text: str, n: int) -> list[float]:
    try:
        found = [float(part) for part in text.strip("[] ").split(",")]
    except ValueError:
        return [1.0] * n
    return found if len(found) == n and all(map(math.isfinite, found)) else [1.0] * n


def _free(name: str, taken: Sequence[str]) -> str:
    while name in taken:
        name += "_"
    return name


def with_constants(expression: Expression, *, taken: Sequence[str] = ()) -> tuple[Node, Mapping[str, float]]:
    """Return the tree with a constant for each number, and the numbers; small whole numbers stay."""
    numbers: dict[str, float] = {}
    reserved = {*taken, *expression.constants}

    def freed(node: Node) -> Node:
        if node.op == "number":
            if node.value == round(node.value) and abs(node.value) <= _EXPONENT:
                return node
            label = f"c{len(numbers)}"
            while label in reserved:
                label += "_"
            numbers[label] = node.value
            return name(label)
        return Node(node.op, tuple(freed(arg) for arg in node.args), node.value, node.name) if node.args else node

    return freed(expression.tree), numbers


def _inputs(table: Table) -> list[tuple[Any, str]]:
    """Return the columns that an engine sees, each with what it is in the grammar."""
    inputs = []
    for i, variable in enumerate(table.variables):
        values = table.X[:, i]
        logged = variable.log is None and variable.role != "proportion" and bool((values > 0).all())
        inputs.append((np.log(values), f"log({variable.symbol})") if logged else (values, variable.symbol))
    return inputs


def _in_background(child: subprocess.Popen[bytes], job: bytes) -> Any:
    """Send the job and collect the output without waiting; return a function that waits for the result."""
    from threading import Thread

    result: list[tuple[int, bytes, bytes]] = []

    def talk() -> None:
        out, err = child.communicate(job)
        result.append((child.returncode, out, err))

    thread = Thread(target=talk, daemon=True)
    thread.start()

    def answer(timeout_s: float) -> tuple[int, bytes, bytes]:
        thread.join(timeout_s)
        if thread.is_alive():
            _end(child)
            return -1, b"", f"no answer within {timeout_s:g} seconds".encode()
        return result[0]

    return answer


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.kill()


def _last_line(text: bytes) -> str:
    lines = text.decode("utf-8", "replace").strip().splitlines()
    return lines[-1].strip() if lines else ""
