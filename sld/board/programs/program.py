"""Submissions that are programs: read without being run, fitted and asked for predictions in a locked child process.

Two shapes are in use in the field:

1. `fit_scaling_law(data_points, loss_values)` returns parameters, and `scaling_law_func(data_points, params)` predicts.
   `data_points` is an array (n_rows, n_variables) in the order of the card, `loss_values` (n_rows,), or (n_rows,
   n_targets) where a task has several. In a grouped task each group is fitted by itself, as the published benchmark
   does it. The parameters are what counts as constants: at most `max_constants` per group and target.
2. `law(input_data, group)` gets a list of dicts, column to number, and the group's name (None where rows are not
   grouped), and returns a list of dicts, target to number. Its constants stand in its text and are not counted.

Fitting and predicting are separate processes with separate folders: what fits never sees a held-out point, and the
parameters, plain numbers, are all that passes from one to the other. Held-out targets are given to neither.
`sandbox.py` says what is protected and what is not.
"""

from __future__ import annotations

import ast
import hashlib
import math
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sld.board.programs.sandbox import Outcome, Protection, detect, require, run_child
from sld.core.errors import DataError, UsageError
from sld.data.card import MAX_CONSTANTS
from sld.data.table import Array, Table

Shape = Literal["fit", "law"]

MAX_BYTES = 100_000  # of a program's text
FUNCTIONS: Mapping[Shape, Mapping[str, int]] = {  # name to number of arguments
    "fit": {"fit_scaling_law": 2, "scaling_law_func": 2},
    "law": {"law": 2},
}
_BYTES_PER_NUMBER, _BYTES_MORE = 32, 1 << 16
_NOT_COUNTED = "constants are not counted: they stand in the program"


@dataclass(frozen=True)
class Program:
    """The text of a program and which shape it has.

    Attributes:
        source: The text, without byte order mark and with plain newlines.
        shape: "fit" (fit_scaling_law and scaling_law_func) or "law".
        sha256: Of the text in UTF-8.
        name: Name of its file, for messages.
    """

    source: str
    shape: Shape
    sha256: str
    name: str = "program.py"


@dataclass(frozen=True)
class ProgramResult:
    """What came of running a program.

    Attributes:
        predictions: (n_points, n_targets), finite; None when `status` says why there are none.
        parameters: Group to what fit_scaling_law returned, as plain numbers, lists and dicts; empty for `law`.
        status: Empty, or one sentence.
        stdout: The beginning of what it printed.
        seconds: How long it ran.
        protection: What held ("bubblewrap + landlock + seccomp").
        n_constants: Parameters per target of the group that has most; None for `law`.
        note: What a reader of the leaderboard has to know.
    """

    predictions: Array | None
    parameters: Mapping[str, Any]
    status: str
    stdout: str
    seconds: float
    protection: str
    n_constants: int | None = None
    note: str = ""


def read_program(path: str | Path) -> Program:
    """Read a program's text and find its shape, running nothing.

    Raises:
        UsageError: There is no such file.
        DataError: It is too long, not UTF-8, not Python, or has neither shape; one line says which.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise UsageError(f"no program {str(path)!r}") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte
        raise UsageError(f"could not read {str(path)!r}: {getattr(error, 'strerror', None) or error}") from None
    if len(content) > MAX_BYTES:
        raise DataError(f"{path.name} is longer than {MAX_BYTES // 1000} kB, the limit of a program")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name} is not UTF-8 text (byte {error.start})") from None
    return program_from(text, path.name)


def program_from(text: str, name: str = "program.py") -> Program:
    """Find the shape of a program's text, running nothing; raises DataError that begins with `name`."""
    source = text.removeprefix("\N{BYTE ORDER MARK}").replace("\r\n", "\n").replace("\r", "\n")
    encoded = source.encode("utf-8", "surrogatepass")
    if len(encoded) > MAX_BYTES:
        raise DataError(f"{name} is longer than {MAX_BYTES // 1000} kB, the limit of a program")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an odd escape in a string is no concern of ours
            tree = ast.parse(source)
    except SyntaxError as error:
        raise DataError(f"{name} is not Python: line {error.lineno or 1}: {error.msg}") from None
    except ValueError as error:  # null bytes, surrogates
        raise DataError(f"{name} is not Python: {error}") from None
    except (RecursionError, MemoryError):  # MemoryError: Python's way to say that its parser gave up
        raise DataError(f"{name} is nested too deeply for Python to read") from None
    return Program(source, _shape(tree, name), hashlib.sha256(encoded).hexdigest(), name)


def _shape(tree: ast.Module, name: str) -> Shape:
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    shapes: tuple[Shape, ...] = ("fit", "law")
    for shape in shapes:
        if FUNCTIONS[shape].keys() <= functions.keys():
            for function, n in FUNCTIONS[shape].items():
                _check_arguments(functions[function].args, function, n, name)
            return shape
    wanted = (
        "fit_scaling_law(data_points, loss_values) and scaling_law_func(data_points, params), or law(input_data, group)"
    )
    there = [f for f in FUNCTIONS["fit"] if f in functions]
    got = f"only {there[0]}" if there else "neither"
    raise DataError(f"{name} must define {wanted} at its top level; it has {got}")


def _check_arguments(arguments: ast.arguments, function: str, n: int, name: str) -> None:
    places = [*arguments.posonlyargs, *arguments.args]
    needed = len(places) - len(arguments.defaults)
    named = [a for a, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if default is None]
    if needed > n or named or (len(places) < n and arguments.vararg is None):
        raise DataError(
            f"{name}: {function} is called with {n} arguments by position, and its definition does not allow it"
        )


@dataclass(frozen=True)
class Limits:
    """What a program may use.

    Attributes:
        fit_timeout_s: Wall-clock limit for fitting all groups.
        predict_timeout_s: Wall-clock limit for predicting all points.
        memory_mb: Limit of each process.
        max_constants: Parameters allowed per group and target.
    """

    fit_timeout_s: float = 600
    predict_timeout_s: float = 60
    memory_mb: int = 2048
    max_constants: int = MAX_CONSTANTS


def run_program(
    source: Path | Program,
    train: Table,
    points: Table,
    *,
    limits: Limits | None = None,
    hidden: Sequence[Path] = (),
    unsafe: bool = False,
    protection: Protection | None = None,
) -> ProgramResult:
    """Fit a program to the training rows and ask it for predictions, each in a locked child process.

    Args:
        source: The program, or its file.
        train: Rows to fit, with targets.
        points: Where to predict; a table without targets.
        limits: What it may use.
        hidden: Further folders that the program must not read, wherever they lie: the task's.
        unsafe: Run even where the system offers no protection.
        protection: What to use of what the system offers; all of it when not given.

    Returns:
        The predictions, or a status that says in one sentence what the program did wrong.

    Raises:
        UsageError: This system offers no protection and `unsafe` is not set; or the file is not a program.
        SldError: The sandbox itself could not be set up.
    """
    program = source if isinstance(source, Program) else read_program(source)
    if points.targets or points.Y.size:
        raise ValueError("points must be a table without targets")
    found = detect() if protection is None else protection
    require(found, unsafe=unsafe)
    run = _Run(program, train, limits or Limits(), hidden, found)
    if program.shape == "fit":
        if unseen := [group for group in points.groups if group not in train.groups]:
            return run.result(f"there are no training rows to fit group {unseen[0]!r}")
        if status := run.fit():
            return run.result(status)
    return run.predict(points)


class _Run:
    """One program on one table: what was asked of it, and what came back."""

    def __init__(
        self, program: Program, train: Table, limits: Limits, hidden: Sequence[Path], protection: Protection
    ) -> None:
        self.program, self.train, self.limits = program, train, limits
        self.hidden, self.protection = hidden, protection
        self.outcomes: list[Outcome] = []
        self.answers: dict[str, Any] = {}  # group to parameters as the child encoded them
        self.n_constants: int | None = None

    def ask(self, question: Mapping[str, Any], doing: str, timeout_s: float, n_numbers: int) -> Outcome:
        """Run one child process."""
        common = {
            "source": self.program.source,
            "functions": list(FUNCTIONS[self.program.shape]),
            "variables": [v.column for v in self.train.variables],
            "n_variables": len(self.train.variables),
            "n_targets": len(self.train.targets),
            "targets": [t.column for t in self.train.targets],
        }
        outcome = run_child(
            {**common, **question},
            doing=doing,
            timeout_s=timeout_s,
            memory_mb=self.limits.memory_mb,
            answer_bytes=_BYTES_MORE + _BYTES_PER_NUMBER * n_numbers,
            protection=self.protection,
            hidden=self.hidden,
        )
        self.outcomes.append(outcome)
        return outcome

    def result(self, status: str, predictions: Array | None = None) -> ProgramResult:
        """Return what came of it so far."""
        return ProgramResult(
            predictions=predictions,
            parameters={group: _plain(answer) for group, answer in self.answers.items()},
            status=status,
            stdout="".join(outcome.stdout for outcome in self.outcomes),
            seconds=sum(outcome.seconds for outcome in self.outcomes),
            protection=str(self.protection),
            n_constants=self.n_constants,
            note=_NOT_COUNTED if self.program.shape == "law" else "",
        )

    def fit(self) -> str:
        """Let it fit every group, and count its parameters; return what it did wrong, or nothing."""
        train, n_targets = self.train, len(self.train.targets)
        groups = [
            {"name": group, "X": rows.X.tolist(), "y": (rows.Y[:, 0] if rows.Y.shape[1] == 1 else rows.Y).tolist()}
            for group, rows in ((group, train.of_group(group)) for group in train.groups)
        ]
        # names of parameters take room too, so twice the limit passes and is counted
        n_numbers = 2 * len(groups) * (self.limits.max_constants * n_targets + 10)
        question = {"kind": "fit", "groups": groups}
        outcome = self.ask(question, "fit_scaling_law", self.limits.fit_timeout_s, n_numbers)
        if outcome.status:
            return outcome.status
        answers = _listed(outcome.answer, len(groups))
        counts = [-1] if answers is None else [_count(answer) for answer in answers]
        if answers is None or min(counts) < 0:
            return "fit_scaling_law wrote something else in place of parameters"
        self.answers = dict(zip(train.groups, answers, strict=True))
        self.n_constants = math.ceil(max(counts) / n_targets)
        limit = self.limits.max_constants * n_targets
        if max(counts) > limit:
            group = train.groups[counts.index(max(counts))]
            where = "" if train.group_column is None else f" for group {group!r}"
            return f"fit_scaling_law returned {max(counts)} parameters{where}; the task allows {limit}"
        return ""

    def predict(self, points: Table) -> ProgramResult:
        """Ask it for predictions of all points, group by group."""
        asked = []
        for k, group in enumerate(points.groups):
            rows = points.X[points.group_index == k].tolist()
            name = None if points.group_column is None else group
            asked.append({"name": name, "X": rows, "parameters": self.answers.get(group)})
        doing, kind = ("scaling_law_func", "predict") if self.program.shape == "fit" else ("law", "law")
        n_targets = len(self.train.targets)
        question = {"kind": kind, "groups": asked}
        outcome = self.ask(question, doing, self.limits.predict_timeout_s, points.n_rows * n_targets)
        if outcome.status:
            return self.result(outcome.status)
        predictions = np.empty((points.n_rows, n_targets))
        blocks = _listed(outcome.answer, len(asked))
        for k, block in enumerate(blocks or [None]):
            at = np.flatnonzero(points.group_index == k)
            numbers = _numbers(block, len(at), n_targets)
            if numbers is None:
                return self.result(f"{doing} wrote something else in place of predictions")
            predictions[at] = numbers
        return self.result("", predictions)


def _listed(answer: Any, n: int) -> list[Any] | None:
    return answer if isinstance(answer, list) and len(answer) == n else None


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max  # false for NaN, and exact for a huge int


def _numbers(block: Any, n: int, n_targets: int) -> Array | None:
    """Return (n, n_targets) from a list of lists of finite numbers; None when it is anything else."""
    if _listed(block, n) is None:
        return None
    for row in block:
        if _listed(row, n_targets) is None or not all(map(_is_number, row)):
            return None
    return np.array(block, dtype=np.float64).reshape(n, n_targets)


def _count(data: Any, depth: int = 0) -> int:
    """Return how many numbers encoded parameters hold; negative when they are not well formed."""
    if not isinstance(data, dict) or depth > 4:
        return -1
    kinds = [k for k in data if k != "shape"]
    if len(kinds) != 1 or ("shape" in data) != (kinds == ["array"]):
        return -1
    value = data[kinds[0]]
    if kinds[0] == "number":
        return 1 if _is_number(value) else -1
    if kinds[0] == "array" and isinstance(value, list) and all(map(_is_number, value)):
        shape = data["shape"]
        whole = isinstance(shape, list) and all(type(n) is int and n >= 0 for n in shape) and len(shape) <= 3
        return len(value) if whole and math.prod(shape) == len(value) else -1
    if kinds[0] == "dict" and isinstance(value, dict):
        parts = [_count(v, depth + 1) if k.isidentifier() else -1 for k, v in value.items()]
    elif kinds[0] in ("list", "tuple") and isinstance(value, list):
        parts = [_count(v, depth + 1) for v in value]
    else:
        return -1
    return sum(parts) if min(parts, default=0) >= 0 else -1


def _plain(data: Mapping[str, Any]) -> Any:
    """Return encoded parameters as numbers, lists and dicts."""
    ((kind, value),) = ((k, v) for k, v in data.items() if k != "shape")
    if kind == "number":
        return value
    if kind == "array":
        return np.array(value, dtype=np.float64).reshape(data["shape"]).tolist()
    if kind == "dict":
        return {key: _plain(v) for key, v in value.items()}
    return [_plain(v) for v in value]


__all__ = ["Limits", "Program", "ProgramResult", "program_from", "read_program", "run_program"]
