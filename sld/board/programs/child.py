"""What runs in the child process: lock the door, then load the program and answer one question.

Started by `sandbox.py` as a script in a fresh interpreter, never imported by `sld`, and it imports nothing of `sld`:
from inside, the package cannot even be read. The job comes as JSON on stdin; the answer goes as JSON lines to the
descriptor named on the command line. The first line says that the door is locked; it is written before a line of the
program has run, so that the program cannot forge it. All that follows is the program's word and is checked outside.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import struct
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

PROGRAM = "program.py"  # its name in tracebacks

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 22, 38
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446  # the same on every architecture
_WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_FILE, _MAKE_REG, _TRUNCATE = 1 << 1, 1 << 2, 1 << 3, 1 << 5, 1 << 8, 1 << 14
_FILE_RIGHTS = _WRITE_FILE | _READ_FILE | _TRUNCATE
_ACCESS = {
    "list": _READ_DIR,
    "read": _READ_FILE | _READ_DIR,
    "device": _READ_FILE | _WRITE_FILE,
    "write": _READ_FILE | _READ_DIR | _WRITE_FILE | _REMOVE_FILE | _MAKE_REG | _TRUNCATE,
}
_MAX_DEPTH, _MAX_AXES, _MAX_NUMBERS, _MAX_NAME = 4, 3, 100_000, 40


class _RefusedError(Exception):
    """The program's answer is not what was asked for; the message says so in one sentence."""


def main() -> None:
    """Do the job and end the process, whatever the program left running."""
    answers = int(sys.argv[1])
    with os.fdopen(0, "rb", closefd=False) as stdin:
        job = json.load(stdin)
    os.close(0)
    os.open(os.devnull, os.O_RDONLY)  # takes the lowest number, 0
    write, dumps, leave = os.write, json.dumps, os._exit  # before a program can put others in their place

    def say(answer: Mapping[str, Any]) -> None:
        rest = memoryview(dumps(answer).encode() + b"\n")
        while rest:
            rest = rest[write(answers, rest) :]

    try:
        lock(job["lock"])
        import random

        import numpy as np

        random.seed(0)
        np.random.seed(0)  # noqa: NPY002 - programs use the global state, and the same program is to answer the same
    except (OSError, ImportError, ValueError) as error:
        say({"ready": False, "why": f"{type(error).__name__}: {error}"[:300]})
        leave(3)
    say({"ready": True})
    try:
        say({"answer": answer_to(job["question"])})
    except _RefusedError as refusal:
        say({"status": str(refusal)[:600]})
    except BaseException as error:  # noqa: BLE001 - objects of the program can raise wherever they are touched
        say({"status": f"the program's answer could not be read: {_words(error)}"})
    try:
        sys.stdout.flush()
    finally:
        leave(0)


def lock(rules: Mapping[str, Any]) -> None:
    """Give up everything that is not needed; raises OSError where the kernel refuses."""
    import resource

    for name, value in rules["limits"].items():
        try:
            resource.setrlimit(getattr(resource, name), (value, value))
        except (AttributeError, ValueError, OSError):
            if rules["strict"]:  # macOS has no working limit of memory, for one
                raise
    if rules["strict"]:
        libc = ctypes.CDLL(None, use_errno=True)
        _must(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
        if rules["parent"] is not None:
            _must(libc.prctl(_PR_SET_PDEATHSIG, 9, 0, 0, 0), "death signal")
            if os.getppid() != rules["parent"]:
                raise OSError("the parent has ended")
        # root without capabilities: may still read what root owns, so the rest stays necessary
        header, nothing = struct.pack("=Ii", 0x20080522, 0), bytes(24)
        _must(libc.capset(header, nothing), "capabilities")
        if rules["landlock"] is not None:
            _landlock(libc, **rules["landlock"])
        if rules["seccomp"] is not None:
            program = bytes.fromhex(rules["seccomp"])
            kept = ctypes.create_string_buffer(program, len(program))
            # struct sock_fprog {unsigned short len; struct sock_filter *filter}
            pointer = struct.pack("@HP", len(program) // 8, ctypes.addressof(kept))
            _must(libc.prctl(_PR_SET_SECCOMP, 2, pointer, 0, 0), "seccomp")


def _must(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _landlock(libc: ctypes.CDLL, abi: int, paths: Mapping[str, Sequence[str]]) -> None:
    """Forbid every access to files, TCP ports, signals and abstract sockets outside; then allow `paths`."""
    handled = (1 << 13) - 1  # version 1: execute, write, read, list, remove and make of every kind
    for version, right in ((2, 1 << 13), (3, _TRUNCATE), (5, 1 << 15)):  # link across folders, truncate, device ioctl
        handled |= right if abi >= version else 0
    attributes = struct.pack("=QQQ", handled, 0b11, 0b11)[: 8 if abi < 4 else 16 if abi < 6 else 24]
    ruleset = _must(_call(libc, _LANDLOCK_CREATE, attributes, len(attributes), 0), "Landlock")
    for kind, names in paths.items():
        for name in names:
            try:
                descriptor = os.open(name, os.O_PATH | os.O_CLOEXEC)
            except OSError:  # it is not there: nothing to allow
                continue
            rights = _ACCESS[kind] & handled
            if not os.path.isdir(name):
                rights &= _FILE_RIGHTS
            rule = struct.pack("=Qi", rights, descriptor)
            _must(_call(libc, _LANDLOCK_ADD, ruleset, 1, rule, 0), f"Landlock rule for {name}")
            os.close(descriptor)
    _must(_call(libc, _LANDLOCK_RESTRICT, ruleset, 0), "Landlock")
    os.close(ruleset)


def _call(libc: ctypes.CDLL, number: int, *arguments: int | bytes) -> int:
    # a variadic function: a bare int would leave the upper half of the register undefined
    wide = [a if isinstance(a, bytes) else ctypes.c_long(a) for a in arguments]
    libc.syscall.restype = ctypes.c_long
    return int(libc.syscall(ctypes.c_long(number), *wide))


def answer_to(question: Mapping[str, Any]) -> Any:
    """Load the program and call its functions, once per group."""
    import numpy as np

    names = load(question["source"], question["functions"])
    answers: list[Any] = []
    for group in question["groups"]:
        X = np.array(group["X"], dtype=np.float64).reshape(-1, question["n_variables"])
        if question["kind"] == "fit":
            fitted = call(names["fit_scaling_law"], "fit_scaling_law", X, np.array(group["y"], dtype=np.float64))
            answers.append(encoded(fitted, "fit_scaling_law"))
        elif question["kind"] == "predict":
            predicted = call(names["scaling_law_func"], "scaling_law_func", X, decoded(group["parameters"]))
            answers.append(array_of_predictions(predicted, len(X), question["n_targets"]))
        else:
            rows = [dict(zip(question["variables"], row, strict=True)) for row in X.tolist()]
            predicted = call(names["law"], "law", rows, group["name"])
            answers.append(predictions_of_dicts(predicted, len(X), question["targets"]))
    return answers


def load(source: str, functions: Sequence[str]) -> dict[str, Any]:
    """Execute the program's text as a module and return its functions."""
    module = types.ModuleType("program")
    module.__file__ = PROGRAM
    sys.modules["program"] = module
    call(lambda: exec(compile(source, PROGRAM, "exec"), module.__dict__), "loading the program")
    for name in functions:
        if not callable(getattr(module, name, None)):
            raise _RefusedError(f"the program has no function {name} once it is loaded")
    return {name: getattr(module, name) for name in functions}


def call(function: Callable[..., Any], name: str, *arguments: Any) -> Any:
    """Call into the program; what it raises becomes one sentence."""
    try:
        return function(*arguments)
    except BaseException as error:  # noqa: BLE001 - also SystemExit and KeyboardInterrupt: it is the program's, not ours
        raise _RefusedError(f"{name} failed{_line(error)}: {_words(error)}") from None


def _line(error: BaseException) -> str:
    number = error.lineno if isinstance(error, SyntaxError) and error.filename == PROGRAM else None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == PROGRAM:
            number = trace.tb_lineno
        trace = trace.tb_next
    return "" if number is None else f" in line {number}"


def _words(error: BaseException) -> str:
    try:
        text = error.msg if isinstance(error, SyntaxError) else str(error)
    except BaseException:  # noqa: BLE001 - a message can be code as well
        text = ""
    kind = type(error).__name__
    return f"{kind}: {text}"[:400] if text else kind[:400]


def encoded(value: Any, name: str, depth: int = 0) -> dict[str, Any]:
    """Return parameters as JSON that `decoded` turns back; raises _RefusedError for anything but finite numbers."""
    import numpy as np

    if depth > _MAX_DEPTH:
        raise _RefusedError(f"{name} returned parameters nested more than {_MAX_DEPTH} deep")
    if isinstance(value, np.ndarray):
        return _encoded_array(value, name)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, int | float):
        return {"number": _number(value, name)}
    if isinstance(value, list | tuple):
        if len(value) > _MAX_NUMBERS:
            raise _RefusedError(f"{name} returned a list of {len(value)} entries")
        return {"tuple" if isinstance(value, tuple) else "list": [encoded(v, name, depth + 1) for v in value]}
    if isinstance(value, dict):
        if not all(isinstance(key, str) and key.isidentifier() and len(key) <= _MAX_NAME for key in value):
            raise _RefusedError(f"{name} returned a dict whose keys are not names of at most {_MAX_NAME} letters")
        return {"dict": {key: encoded(v, name, depth + 1) for key, v in value.items()}}
    raise _RefusedError(f"{name} returned {type(value).__name__[:60]}; wanted numbers: an array, list or dict of them")


def _encoded_array(value: Any, name: str) -> dict[str, Any]:
    import numpy as np

    if value.dtype.kind not in "fiub":
        raise _RefusedError(f"{name} returned an array of {value.dtype}; wanted numbers")
    if value.ndim > _MAX_AXES:
        raise _RefusedError(f"{name} returned an array with {value.ndim} axes; wanted at most {_MAX_AXES}")
    if value.size > _MAX_NUMBERS:
        raise _RefusedError(f"{name} returned an array of {value.size} numbers")
    numbers = [_number(x, name) for x in value.astype(np.float64).ravel().tolist()]
    return {"array": numbers, "shape": list(value.shape)}


def _number(value: Any, name: str) -> float | int:
    if isinstance(value, int) and abs(value) <= 2**53:
        return int(value)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise _RefusedError(f"{name} returned a parameter that is {number}")
    return number


def decoded(data: Mapping[str, Any]) -> Any:
    """Return the parameters that `encoded` was given."""
    import numpy as np

    ((kind, value),) = ((k, v) for k, v in data.items() if k != "shape")
    if kind == "array":
        return np.array(value, dtype=np.float64).reshape(data["shape"])
    if kind == "dict":
        return {key: decoded(v) for key, v in value.items()}
    if kind == "number":
        return value
    return (tuple if kind == "tuple" else list)(decoded(v) for v in value)


def array_of_predictions(value: Any, n: int, n_targets: int) -> list[list[float]]:
    """Return rows of one number per target from what scaling_law_func gave."""
    import numpy as np

    name = "scaling_law_func"
    array = call(lambda: np.asarray(value), name)
    if array.dtype.kind not in "fiub" and array.dtype.kind == "O":
        array = call(lambda: array.astype(np.float64), name)
    if array.dtype.kind not in "fiub":
        raise _RefusedError(f"{name} returned {array.dtype}; wanted numbers")
    wanted = [(n, n_targets), (n,)] if n_targets == 1 else [(n, n_targets)]
    if array.shape not in wanted:
        shapes = " or ".join(str(shape) for shape in reversed(wanted))
        raise _RefusedError(f"{name} returned shape {array.shape}; wanted {shapes}, one prediction per point")
    return _finite(array.astype(np.float64).reshape(n, n_targets).tolist(), name)


def predictions_of_dicts(value: Any, n: int, targets: Sequence[str]) -> list[list[float]]:
    """Return rows of one number per target from what law gave."""
    import numpy as np

    if not isinstance(value, list | tuple):
        raise _RefusedError(f"law returned {type(value).__name__[:60]}; wanted a list of one dict per point")
    if len(value) != n:
        raise _RefusedError(f"law returned {len(value)} predictions; wanted {n}, one per point")
    rows = []
    for i, point in enumerate(value):
        if not isinstance(point, dict):
            kind = type(point).__name__[:60]
            raise _RefusedError(f"law returned {kind} for point {i + 1}; wanted a dict of target to number")
        row = []
        for target in targets:
            if target not in point:
                raise _RefusedError(f"law returned no {target!r} for point {i + 1}")
            number = call(lambda: np.asarray(point[target]), "law")  # noqa: B023 - called at once
            if number.size != 1 or number.dtype.kind not in "fiub":
                raise _RefusedError(f"law returned no number for {target!r} of point {i + 1}")
            row.append(float(number.ravel()[0]))
        rows.append(row)
    return _finite(rows, "law")


def _finite(rows: list[list[float]], name: str) -> list[list[float]]:
    for i, row in enumerate(rows):
        for value in row:
            if not math.isfinite(value):
                raise _RefusedError(f"{name} predicted {value} for point {i + 1} of {len(rows)}")
    return rows


if __name__ == "__main__":
    main()
