"""What is translated computes what Python computes; what cannot be translated is refused with its line."""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sld.fit import machine, native
from sld.fit.machine_cache import Compiled
from sld.fit.parts import CannotTranslate, bits, double, files_of

HEAD = """from __future__ import annotations
import numpy as np
from sld.fit.parts import Flags, Matrix, Row, Stack, Whole, WholeTable, bits, double, part

TWO = 2
HALF = 0.5
"""
_number = count()


def function(tmp_path: Path, source: str) -> Callable[..., None]:
    """Return `f` of a module."""
    path = tmp_path / f"made_{next(_number)}.py"
    path.write_text(HEAD + source)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.f  # type: ignore[no-any-return]


def compiled(made: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Compiled:
    monkeypatch.setenv("SLD_CACHE_DIR", str(tmp_path))
    return Compiled(made, "")


PROGRAMS = {
    "loops": """
@part()
def f(out: Row, n: int) -> None:
    k = 0
    for i in range(n):
        if i == 3:
            continue
        if i == 9:
            break
        out[k] = i
        k += 1
    for i in range(n, 0, -TWO):
        out[k] = -i
        k += 1
    while k < 20 and out[k] == 0.0:
        out[k] = k / 3
        k += 1
    for i in range(4, 2):
        out[0] = 77.0
    i = 5
    for i in range(2):
        i = 10
    out[k] = i
""",
    "whole numbers": """
@part()
def f(out: Row, n: int) -> None:
    out[0] = n // 3 + n % 3 * 10
    out[1] = (n << 3) - (n >> 1) + (n & 6) + (n | 1)
    out[2] = n / 4
    out[3] = max(n, 3, n - 1) * min(n, 4)
    out[4] = -n
    out[5] = bits(-HALF) >> 52
    out[6] = double(bits(1.5) + (TWO << 52))
    out[7] += n * 0.25
    out[7] -= HALF
    out[8] = abs(out[7] - 9.0)
""",
    "truth": """
@part()
def f(out: Row, n: int) -> None:
    a, b = n > 3, not n > 3
    out[0] = 1.0 if a and not b else 2.0
    out[1] = 1.0 if b or (n < 100 and n >= 8) else 2.0
    # the element is not there: it may not be looked at
    out[2] = 1.0 if n < 0 and out[n * 100000000] > 0.0 else 3.0
    out[3] = (1 if n == 11 else 2) + (1 if n != 11 else HALF)
    c = a == b
    out[4] = 1.0 if c else -1.0
    x, y = (1.0, 2) if b else (3.0, 4)
    out[5] = x * y
    if a or b:
        pass
    elif n > 3:
        out[6] = 1.0
    else:
        out[6] = 2.0
""",
    "special numbers": """
@part()
def f(out: Row, n: int) -> None:
    nan, inf = np.nan, np.inf
    out[0] = min(nan, 1.0)
    out[1] = min(1.0, nan)
    out[2] = max(nan, 1.0)
    out[3] = max(1.0, nan)
    out[4] = 1.0 if nan != nan else 0.0
    out[5] = 1.0 if nan == nan or nan < 1.0 or nan >= 1.0 else 0.0
    out[6] = 1.0 if not nan < inf else 0.0
    out[7] = -inf
    out[8] = np.exp(out[9]) + np.log1p(0.5) - np.tanh(0.3) * np.expm1(0.1) + np.sqrt(3.0) + np.arctan(2.0)
""",
    "calls": """
@part()
def f(out: Row, n: int) -> None:
    low, high = both(n, 3)
    out[0] = low
    out[1] = high
    out[2] = total(out[0:2]) + total(out)
    double_all(out[1:3])
    out[4] = 1.0 if fits(n) else 0.0

@part()
def both(a: int, b: int) -> tuple[int, int]:
    if a < b:
        return a, b
    return b, a

@part(inline=True)
def fits(n: int) -> bool:
    return n > 5

@part(inline=False)
def total(x: Row) -> float:
    t = 0.0
    for i in range(x.shape[0]):
        t += x[i]
    return t

@part()
def double_all(x: Row) -> None:
    if x.shape[0] == 0:
        return
    for i in range(x.shape[0]):
        x[i] *= 2
""",
    "arrays": """
@part()
def f(out: Row, n: int) -> None:
    stack, table = np.zeros((3, 4, 5)), np.empty((4, 6))
    marks = np.zeros(4, dtype=np.bool_)
    whole = np.empty(3, dtype=np.int64)
    for i in range(3):
        whole[i] = 10 * i
        marks[i] = i == 1
        for j in range(4):
            for k in range(5):
                stack[i, j, k] = 100 * i + 10 * j + k
    for i in range(4):
        for j in range(6):
            table[i, j] = i * j
    row = stack[2, 1]
    out[0] = row[3]
    page = stack[1]
    out[1] = page[3, 2]
    piece = stack[2, 3, 1:4]
    out[2] = piece[2] + piece.shape[0]
    x = table[3, 2:] if marks[1] else table[0, :3]
    out[3] = x[1]
    out[4] = x.shape[0]
    m, k = table.shape
    out[5] = m * 10 + k
    out[6] = whole[2] + whole.shape[0]
    out[7] = 1.0 if marks[0] or marks[3] else 2.0
    x[0] = 5.0
    out[8] = table[3, 2]
""",
}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("n", [2, 11])
def test_machine_code_computes_what_python_computes(
    name: str, n: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = function(tmp_path, PROGRAMS[name])
    expected, found = np.zeros(30), np.zeros(30)
    made(expected, n)
    compiled(made, monkeypatch, tmp_path)(found, n)
    assert expected.any()
    np.testing.assert_allclose(found, expected, rtol=1e-15, atol=0.0)


REFUSED = {
    "a list": ("x = [1.0]", "List"),
    "a name": ("x = unknown", "unknown name `unknown`"),
    "a call": ("x = float(n)", "a call of `float`"),
    "a function of numpy": ("x = np.sum(out)", "a call of `sum`"),
    "an argument": ("x = g(n)", "this argument of `g`"),
    "arguments": ("x = g(out, out)", "a call of `g` with 2 arguments"),
    "a type": ("x = 1.0\n    x = out", "x in f has values of different types"),
    "a loop": ("for x in out:\n        pass", "a loop over anything but `range`"),
    "an axis": ("x = out[0, 1]", "this subscript"),
    "a stride": ("x = out[::2]", "a slice"),
    "a power": ("x = n**2", "this use of `Pow`"),
    "an index": ("x = out[1.0]", "double stands where i64 is needed"),
    "an array in a loop": ("for i in range(n):\n        x = np.empty(n)", "outermost block"),
    "a chain": ("x = 1 < n < 3", "this comparison"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_translated_is_refused(what: str, tmp_path: Path) -> None:
    line, said = REFUSED[what]
    source = (
        f"@part()\ndef f(out: Row, n: int) -> None:\n    {line}\n\n\n@part()\ndef g(x: Row) -> float:\n    return 1.0\n"
    )
    with pytest.raises(CannotTranslate) as refused:
        native.translate(function(tmp_path, source))
    assert said in str(refused.value)
    assert ".py" in str(refused.value)


def of_two_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, factor: str = "3.0"
) -> Callable[..., None]:
    """Return `f` of a module that has `double_room.g` and `double_room.FACTOR` to import."""
    room = f"FACTOR = {factor}\n\n\n@part()\ndef g(x: Row) -> float:\n    return FACTOR * x[0]\n"
    (tmp_path / "double_room.py").write_text(HEAD + room)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delitem(sys.modules, "double_room", raising=False)
    return function(tmp_path, "from double_room import g as imported\n\nFACTOR = 7.0\n\n\n" + source)


CALLS = "@part()\ndef f(out: Row) -> None:\n    out[0] = FACTOR * imported(out)\n"


def test_a_part_of_another_file_has_the_names_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = of_two_files(tmp_path, monkeypatch, CALLS)
    out = np.array([2.0])
    compiled(made, monkeypatch, tmp_path)(out)
    assert out[0] == 7.0 * 3.0 * 2.0


def test_a_changed_file_that_a_part_comes_from_is_compiled_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for factor in ("3.0", "4.0"):
        made = of_two_files(tmp_path, monkeypatch, CALLS, factor)
        assert "double_room.py" in [Path(file).name for file in files_of(made)]
        again = compiled(made, monkeypatch, tmp_path)
        out = np.array([1.0])
        again(out)
        assert (out[0], again.compilations) == (7.0 * float(factor), 1)


def test_two_parts_of_one_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = "@part()\ndef g(x: Row) -> float:\n    return 1.0\n\n\n"
    calls = "@part()\ndef f(out: Row) -> None:\n    out[0] = g(out) + imported(out)\n"
    with pytest.raises(CannotTranslate, match="has a `g` too"):
        native.translate(of_two_files(tmp_path, monkeypatch, own + calls))


def test_a_parameter_without_a_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotTranslate, match="one of the types float, int, bool, Row"):
        native.translate(function(tmp_path, "@part()\ndef f(out) -> None:\n    out[0] = 1.0\n"))


BAD: dict[str, Any] = {
    "elements": np.zeros(4, dtype=np.int64),
    "smaller elements": np.zeros(4, dtype=np.float32),
    "axes": np.zeros((4, 1)),
    "order": np.zeros(8)[::2],
    "the other byte order": np.zeros(4).astype(">f8"),
    "no array": [0.0, 0.0],
    "a subclass": np.ma.zeros(4),
}


@pytest.mark.parametrize("what", BAD)
def test_another_array_is_an_error_and_nothing_is_touched(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "@part()\ndef f(n: int, out: Row) -> None:\n    for i in range(n):\n        out[i] = 1.0\n"
    fill = compiled(function(tmp_path, source), monkeypatch, tmp_path)
    good: Any = np.zeros(4)
    fill(4, good)
    assert (good == 1.0).all()
    with pytest.raises(TypeError, match="f: out is no contiguous array of the type that it should have"):
        fill(4, BAD[what])
    assert not np.any(BAD[what])


def test_other_arguments_are_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "@part()\ndef f(n: int, t: float, yes: bool, out: Row) -> None:\n    out[n] = t if yes else -t\n"
    f = compiled(function(tmp_path, source), monkeypatch, tmp_path)
    out = np.zeros(4)
    with pytest.raises(TypeError, match="f takes 4 arguments"):
        f(1, 2.0, out)
    with pytest.raises(TypeError, match="interpreted as an integer"):
        f("1", 2.0, True, out)
    with pytest.raises(TypeError, match="must be real number"):
        f(1, "2.0", True, out)
    with pytest.raises(TypeError, match="interpreted as an integer"):
        f(1.0, 2.0, True, out)
    assert not out.any()
    f(np.int64(1), np.float64(2.0), np.bool_(False), out)
    f(2, 3, True, out)
    assert list(out) == [0.0, -2.0, 3.0, 0.0]


def test_an_array_that_came_from_another_process_is_as_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pickled array has a type of its own, equal to numpy's and not the same."""
    import pickle

    source = "@part()\ndef f(out: Row) -> None:\n    out[0] = 1.0\n"
    here = pickle.loads(pickle.dumps(np.zeros(4)))
    compiled(function(tmp_path, source), monkeypatch, tmp_path)(here)
    assert here[0] == 1.0


def test_an_array_that_does_not_fit_in_memory_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # the elements depend on each other: LLVM leaves an array out that it can do without
    source = (
        "@part()\ndef f(n: int, out: Row) -> None:\n    a, b = np.empty(4), np.zeros(n)\n"
        "    for i in range(1, n):\n        b[i] = b[i // 2] + out[0]\n    out[0] = a.shape[0] + b[n - 1]\n"
    )
    f = compiled(function(tmp_path, source), monkeypatch, tmp_path)
    out = np.zeros(1)
    with pytest.raises(MemoryError, match="no room for the arrays of the fitting machine"):
        f(2**58, out)
    f(2, out)
    assert out[0] == 4.0


def test_bits_and_doubles_are_each_others_inverse() -> None:
    for x in (0.0, -1.5, math.pi, -math.inf):
        assert double(bits(x)) == x
    assert bits(1.0) == 1023 << 52 and bits(-0.0) == -(2**63)


def test_the_machine_is_a_function_of_python_too() -> None:
    """Without any compiler the same fit ends at the same place."""
    from sld.fit.tape import compile_tape
    from sld.formula.expression import parse

    tape = compile_tape(parse("E + A*N**-a", ("N",)))
    n = np.geomspace(1.0, 100.0, 12)
    y = 2.0 + 3.0 * n**-0.4 + 0.01 * np.sin(np.arange(12.0))
    columns = np.ascontiguousarray(tape.column_values({"N": n}, 12))
    ends = []
    for solve in (machine.solve, machine.solve.function):
        thetas, coefficients = np.zeros((1, 1, 1)), np.zeros((1, 1, 2))
        sums, at_best = np.zeros(1), np.zeros(1, dtype=np.int64)
        with np.errstate(all="ignore"):
            solve(
                0, 1, np.array([0, 12]), tape.literals, tape.scalar_ops, tape.row_ops, tape.outputs, tape.rest, columns,
                y, np.empty(0), False, np.array([[0.1], [1.0]]), np.empty((0, 0, 0)), np.array([-np.inf]),
                np.array([np.inf]), 40, 1e-12, thetas, coefficients, sums, at_best, np.empty((0, 0)),
                np.empty((0, 0, 0)), np.empty(0), np.empty((0, 0)),
            )  # fmt: skip
        ends.append([*thetas.ravel(), *coefficients.ravel(), *sums, *at_best])
    np.testing.assert_allclose(ends[0], ends[1], rtol=1e-9)
    assert ends[0][0] == pytest.approx(0.4, abs=0.02)
