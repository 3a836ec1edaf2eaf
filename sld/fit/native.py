"""From the machine's functions to machine code of this processor, and from machine code to a function of Python."""

from __future__ import annotations

import ast
import contextlib
import ctypes
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numpy as np

from sld.fit.parts import FIRST_ARGUMENT, LIBRARY, Signature, parameters
from sld.fit.translation import Module

# What the entry looks at in an array of numpy, after the head `h` that every object of Python has: `PyArrayObject` and
# `PyArray_Descr` in numpy's `ndarraytypes.h`. Both are part of its binary interface, the same in all versions 1 and 2.
_ARRAY = """\
%{x}.type.at = getelementptr i8, ptr %{x}, i64 {h-8}
%{x}.type = load ptr, ptr %{x}.type.at
%{x}.is.array = icmp eq ptr %{x}.type, %array
br i1 %{x}.is.array, label %{x}.read, label %{x}.bad
{x}.read:
%{x}.0.at = getelementptr i8, ptr %{x}, i64 {h}
%{x}.0 = load ptr, ptr %{x}.0.at
%{x}.axes.at = getelementptr i8, ptr %{x}, i64 {h+8}
%{x}.axes = load i32, ptr %{x}.axes.at
%{x}.lengths.at = getelementptr i8, ptr %{x}, i64 {h+16}
%{x}.lengths = load ptr, ptr %{x}.lengths.at
%{x}.element.at = getelementptr i8, ptr %{x}, i64 {h+40}
%{x}.element = load ptr, ptr %{x}.element.at
%{x}.flags.at = getelementptr i8, ptr %{x}, i64 {h+48}
%{x}.flags = load i32, ptr %{x}.flags.at
%{x}.order.at = getelementptr i8, ptr %{x}.element, i64 {h+10}
%{x}.order = load i8, ptr %{x}.order.at
%{x}.number.at = getelementptr i8, ptr %{x}.element, i64 {h+12}
%{x}.number = load i32, ptr %{x}.number.at
%{x}.contiguous.aligned = and i32 %{x}.flags, 257
%{x}.good.flags = icmp eq i32 %{x}.contiguous.aligned, 257
%{x}.good.axes = icmp eq i32 %{x}.axes, {axes}
%{x}.good.number = icmp eq i32 %{x}.number, {number}
%{x}.good.order = icmp ne i8 %{x}.order, 62
%{x}.good.1 = and i1 %{x}.good.flags, %{x}.good.axes
%{x}.good.2 = and i1 %{x}.good.number, %{x}.good.order
%{x}.good = and i1 %{x}.good.1, %{x}.good.2
br i1 %{x}.good, label %{x}.take, label %{x}.bad
{x}.bad:
ret i32 {status}
{x}.take:
"""
_LENGTH = """\
%{x}.{k}.at = getelementptr i64, ptr %{x}.lengths, i64 {axis}
%{x}.{k} = load i64, ptr %{x}.{k}.at
"""


def translate(function: Callable[..., None]) -> str:
    """Return LLVM's text of a function of a module, and of all parts that it calls.

    What Python calls is named `entry` there. It takes numbers as they are, arrays as the addresses of numpy's objects,
    and at last the address of numpy's array type. It gives back 0, `NO_MEMORY`, or `FIRST_ARGUMENT` and more for an
    argument that is no contiguous array with the elements and the number of axes of its parameter.

    Args:
        function: Marked as a part; returns nothing.

    Raises:
        CannotTranslate: A function says something that is not among what can be translated.
    """
    file = function.__code__.co_filename
    tree = ast.parse(Path(file).read_text(encoding="utf-8"), file)
    trees = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    module = Module({**function.__globals__, function.__name__: function}, trees, file)
    entry = _entry(module.function(function.__name__))
    declared = [f"declare double @{name}(double)" for name in sorted(module.library)]
    memory = ["declare noalias ptr @malloc(i64)", "declare noalias ptr @calloc(i64, i64)", "declare void @free(ptr)"]
    return "\n".join([*declared, *memory, *module.texts, entry, *module.notes])


def _entry(signature: Signature) -> str:
    """Return the text of what Python calls: it looks at every argument and takes arrays apart."""
    head, int64 = layout()
    numbers = {"double": np.dtype(np.float64).num, "i64": int64, "i1": np.dtype(np.bool_).num}
    lines, taken, given = "entry:\n", [], []
    for i, (name, kind, axes) in enumerate(signature.parameters):
        if axes:
            taken.append(f"ptr %{name}")
            given.append(f"ptr %{name}.0")
            values = {"x": name, "axes": axes, "number": numbers[kind], "status": FIRST_ARGUMENT + i}
            values |= {f"h{k:+d}" if k else "h": head + k for k in (-8, 0, 8, 10, 12, 16, 40, 48)}
            text = _ARRAY
            for k, value in values.items():
                text = text.replace(f"{{{k}}}", str(value))
            lines += text
            for axis in range(axes):
                lines += _LENGTH.format(x=name, k=axis + 1, axis=axis)
                given.append(f"i64 %{name}.{axis + 1}")
        elif kind == "i1":
            taken.append(f"i64 %{name}")
            lines += f"%{name}.0 = icmp ne i64 %{name}, 0\n"
            given.append(f"i1 %{name}.0")
        else:
            taken.append(f"{kind} %{name}")
            given.append(f"{kind} %{name}")
    lines += f"%status = call i32 @{signature.name}({', '.join(given)})\nret i32 %status\n"
    return f"define i32 @entry({', '.join([*taken, 'ptr %array'])}) nounwind {{\n{lines}}}\n"


def layout() -> tuple[int, int]:
    """Return what else the entry depends on: the bytes of an object's head, and numpy's number of 64-bit integers."""
    return object.__basicsize__, np.dtype(np.int64).num


@cache
def processor() -> tuple[str, str, str, str]:
    """Return what machine code depends on: LLVM, the system, the processor and what it can do."""
    features = llvm.get_host_cpu_features().flatten()
    return llvmlite.__version__, llvm.get_process_triple(), llvm.get_host_cpu_name(), features


def _target() -> llvm.TargetMachine:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    _, triple, name, features = processor()
    relocation = "static" if llvm.Target.from_triple(triple).name.startswith("x86") else "default"
    return llvm.Target.from_triple(triple).create_target_machine(
        cpu=name, features=features, opt=3, reloc=relocation, codemodel="jitdefault", jit=True
    )


def compile_text(text: str) -> bytes:
    """Return the machine code of LLVM's text, for this processor."""
    target = _target()
    module = llvm.parse_assembly(text)
    module.triple, module.data_layout = target.triple, str(target.target_data)
    module.verify()
    tuning = llvm.create_pipeline_tuning_options(3)
    tuning.loop_vectorization, tuning.slp_vectorization = True, False
    builder = llvm.create_pass_builder(target, tuning)
    builder.getModulePassManager().run(module, builder)
    return target.emit_object(module)  # type: ignore[no-any-return]


_loaded: list[Any] = []  # machine code that is gone while Python may still call it would end the process


def load(code: bytes, function: Callable[..., None]) -> Callable[..., int]:
    """Return the entry of machine code that was made from a function: it takes its arguments and `ARRAY_TYPE`."""
    for name in LIBRARY:
        if address := _address(name):
            llvm.add_symbol(name, address)
    target = _target()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(f'target triple = "{target.triple}"'), target)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _loaded.append(engine)
    kinds: dict[str, Any] = {"i64": ctypes.c_int64, "i1": ctypes.c_int64, "double": ctypes.c_double}
    takes = [ctypes.py_object if axes else kinds[kind] for _, kind, axes in parameters(function)]
    # Python's lock is kept: calls are short, and each would have to wait for it again
    prototype = ctypes.PYFUNCTYPE(ctypes.c_int32, *takes, ctypes.c_void_p)
    return prototype(engine.get_function_address("entry"))


ARRAY_TYPE = id(np.ndarray)


def _address(name: str) -> int:
    """Return where a function of the C library lies, or 0."""
    for library in ("ucrtbase", "vcruntime140") if sys.platform == "win32" else (None,):
        with contextlib.suppress(AttributeError, OSError):
            return ctypes.cast(getattr(ctypes.CDLL(library), name), ctypes.c_void_p).value or 0
    return 0
