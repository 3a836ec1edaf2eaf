"""How functions of the machine are marked, and the types of what they take: all that its source needs to be compiled.

Every parameter says its type: `float`, `int`, `bool`, or one of the arrays here, which are contiguous. That is what
keeps the first wait short: a compiler that has to find the types out took 20 s for the machine.
"""

from __future__ import annotations

import ast
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import NDArray

Row: TypeAlias = NDArray[np.float64]  # (n,)
Matrix: TypeAlias = NDArray[np.float64]  # (n, m)
Stack: TypeAlias = NDArray[np.float64]  # (n, m, l)
Whole: TypeAlias = NDArray[np.int64]  # (n,)
WholeTable: TypeAlias = NDArray[np.int64]  # (n, m)
Flags: TypeAlias = NDArray[np.bool_]  # (n,)

_KINDS = {
    "float": ("double", 0), "int": ("i64", 0), "bool": ("i1", 0),
    "Row": ("double", 1), "Matrix": ("double", 2), "Stack": ("double", 3),
    "Whole": ("i64", 1), "WholeTable": ("i64", 2), "Flags": ("i1", 1),
}  # fmt: skip  # LLVM's type of the number or the elements, and the number of axes
# functions of the C library, by their names in numpy
IN_C = {name: name for name in ("exp", "log", "tanh", "sinh", "cosh", "sin", "cos", "tan", "log1p", "expm1", "log2",
                                "log10", "exp2", "cbrt")}  # fmt: skip
IN_C |= {"arctan": "atan", "arcsin": "asin", "arccos": "acos", "arcsinh": "asinh", "arctanh": "atanh"}
# what the code may call, also by LLVM's own choice
LIBRARY = (*IN_C.values(), "malloc", "calloc", "free", "memcpy", "memmove", "memset", "bzero",
           "memset_pattern16")  # fmt: skip

NO_MEMORY = 1  # what the entry gives back where an array could not be made; 0 where all went well
WRONG_NUMBER = 2  # of arguments
FIRST_ARGUMENT = 3  # and more: the number of an argument that is not what the entry takes


class CannotTranslate(SyntaxError):
    """A function says something that is not among what can be translated."""


@dataclass(frozen=True)
class Options:
    """How a part is compiled; `flags` are LLVM's for arithmetic."""

    flags: str
    inline: bool | None


def part(*, reassociate: bool = False, inline: bool | None = None) -> Callable[[Callable[..., Any]], Any]:
    """Mark a function as part of the machine, in a file with `from __future__ import annotations`.

    Args:
        reassociate: Sums may be taken in another order, so that they become vector code. Products and sums are always
            contracted to fused multiply-adds.
        inline: True: always put in its callers, False: never; None: as LLVM finds it.
    """

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        flags = "contract reassoc nsz" if reassociate else "contract"
        function._machine_part = Options(flags, inline)  # type: ignore[attr-defined]
        return function

    return mark


def is_part(thing: object) -> TypeGuard[Callable[..., Any]]:
    """Tell whether something is marked as a part of the machine."""
    return hasattr(thing, "_machine_part")


def options_of(function: Callable[..., Any]) -> Options:
    """Return how a part is compiled."""
    found: Options = function._machine_part  # type: ignore[attr-defined]
    return found


def files_of(function: Callable[..., Any]) -> list[str]:
    """Return the file of a part, and those of all parts that are known there, and so on."""
    found: list[str] = []
    ahead = [function]
    while ahead:
        one = ahead.pop()
        if one.__code__.co_filename not in found:
            found.append(one.__code__.co_filename)
            ahead += [other for other in one.__globals__.values() if is_part(other)]
    return sorted(found)


def bits(x: float) -> int:
    """Return the 64 bits of a double as an integer."""
    return int(struct.unpack("<q", struct.pack("<d", x))[0])


def double(b: int) -> float:
    """Return the double of 64 bits."""
    return float(struct.unpack("<d", struct.pack("<Q", b % 2**64))[0])


def kind_of(annotation: str) -> tuple[str, int]:
    """Return LLVM's type of a number or of an array's elements, and the number of axes."""
    if annotation not in _KINDS:
        raise CannotTranslate(f"a parameter needs one of the types {', '.join(_KINDS)}, not {annotation or 'another'}")
    return _KINDS[annotation]


def parameters(function: Callable[..., Any]) -> list[tuple[str, str, int]]:
    """Return name, kind and number of axes of each parameter of a function that is marked as a part."""
    code = function.__code__
    names = code.co_varnames[: code.co_argcount]
    return [(name, *kind_of(function.__annotations__[name])) for name in names]


@dataclass
class Signature:
    """What a part takes and gives back, in LLVM's types."""

    name: str
    parameters: list[tuple[str, str, int]]  # name, kind, axes
    result: tuple[str, ...]  # kinds; none for a function that returns nothing
    options: Options

    @property
    def llvm_result(self) -> str:
        """Return the type of what it gives back, several numbers as one."""
        if len(self.result) > 1:
            return f"{{{', '.join(self.result)}}}"
        return self.result[0] if self.result else "void"


def annotated(annotation: ast.expr | None) -> tuple[str, int]:
    """Return the same of a parameter, as the source says it."""
    return kind_of(annotation.id if isinstance(annotation, ast.Name) else "")


def results(annotation: ast.expr | None) -> tuple[str, ...]:
    """Return the kinds of what a function gives back, as the source says it."""
    if annotation is None or (isinstance(annotation, ast.Constant) and annotation.value is None):
        return ()
    elements = [annotation]
    if isinstance(annotation, ast.Subscript) and isinstance(annotation.slice, ast.Tuple):
        elements = annotation.slice.elts
    return tuple(annotated(element)[0] for element in elements)
