"""From the machine's functions to machine code of this processor, and from machine code to a function of Python."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numpy as np

from sld.fit.parts import FIRST_ARGUMENT, LIBRARY, WRONG_NUMBER, Signature
from sld.fit.translation import translated
from sld.fit.values import Module

# What the entry looks at in an array of numpy, after the head `h` that every object of Python has: `PyArrayObject` and
# `PyArray_Descr` in numpy's `ndarraytypes.h`. Both are part of its binary interface, the same in all versions 1 and 2.
_ARRAY = """\
{x}.look:
%{x}.type.at = getelementptr i8, ptr %{x}, i64 {h-8}
%{x}.type = load ptr, ptr %{x}.type.at
%{x}.is.array = icmp eq ptr %{x}.type, %array.type
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
%{x}.result = call ptr @PyLong_FromLongLong(i64 {status})
ret ptr %{x}.result
{x}.take:
"""
_LENGTH = """\
%{x}.{k}.at = getelementptr i64, ptr %{x}.lengths, i64 {axis}
%{x}.{k} = load i64, ptr %{x}.{k}.at
"""


_NUMBER = {
    "i64": "%{x}.0 = call i64 @PyLong_AsLongLong(ptr %{x})\n",
    "double": "%{x}.0 = call double @PyFloat_AsDouble(ptr %{x})\n",
    "i1": "%{x}.is.true = call i32 @PyObject_IsTrue(ptr %{x})\n%{x}.0 = icmp ne i32 %{x}.is.true, 0\n",
}
_DECLARED = """\
declare i64 @PyLong_AsLongLong(ptr)
declare double @PyFloat_AsDouble(ptr)
declare i32 @PyObject_IsTrue(ptr)
declare ptr @PyErr_Occurred()
declare ptr @PyLong_FromLongLong(i64)
declare noalias ptr @malloc(i64)
declare noalias ptr @calloc(i64, i64)
declare void @free(ptr)
"""
_OF_PYTHON = ("PyLong_AsLongLong", "PyFloat_AsDouble", "PyObject_IsTrue", "PyErr_Occurred", "PyLong_FromLongLong")


def translate(function: Callable[..., None]) -> str:
    """Return LLVM's text of a function, and of all parts that it calls.

    What Python calls is named `entry` there, a function as `METH_FASTCALL` describes it: calls through `ctypes` take
    10 µs with 26 arguments. It gives back 0, `NO_MEMORY`, `WRONG_NUMBER` of arguments, or `FIRST_ARGUMENT` and more for
    one that is no contiguous array with the elements and the number of axes of its parameter.

    Args:
        function: Marked as a part; returns nothing.

    Raises:
        CannotTranslate: A function says something that is not among what can be translated.
    """
    module = Module(translated)
    entry = _entry(module.function(function))
    declared = [f"declare double @{name}(double)" for name in sorted(module.in_c)]
    return "\n".join([*declared, _DECLARED, *module.texts, entry, *module.notes])


def _entry(signature: Signature) -> str:
    """Return the text of what Python calls: it looks at every argument and takes arrays apart."""
    head, int64 = layout()
    numbers = {"double": np.dtype(np.float64).num, "i64": int64, "i1": np.dtype(np.bool_).num}
    lines, given = "", []
    for i, (name, kind, axes) in enumerate(signature.parameters):
        lines += f"%{name}.at = getelementptr ptr, ptr %arguments, i64 {i}\n%{name} = load ptr, ptr %{name}.at\n"
        if not axes:
            lines += _NUMBER[kind].format(x=name)
            given.append(f"{kind} %{name}.0")
            continue
        values = {"x": name, "axes": axes, "number": numbers[kind], "status": FIRST_ARGUMENT + i}
        values |= {f"h{k:+d}" if k else "h": head + k for k in (-8, 0, 8, 10, 12, 16, 40, 48)}
        text = _ARRAY
        for k, value in values.items():
            text = text.replace(f"{{{k}}}", str(value))
        lines += f"br label %{name}.look\n{text}"
        given.append(f"ptr %{name}.0")
        for axis in range(axes):
            lines += _LENGTH.format(x=name, k=axis + 1, axis=axis)
            given.append(f"i64 %{name}.{axis + 1}")
    return f"""
define ptr @entry(ptr %array.type, ptr %arguments, i64 %n.arguments) nounwind {{
entry:
%right.number = icmp eq i64 %n.arguments, {len(signature.parameters)}
br i1 %right.number, label %read, label %wrong.number
wrong.number:
%wrong.number.result = call ptr @PyLong_FromLongLong(i64 {WRONG_NUMBER})
ret ptr %wrong.number.result
read:
{lines}
%error = call ptr @PyErr_Occurred()
%no.error = icmp eq ptr %error, null
br i1 %no.error, label %run, label %failed
failed:
ret ptr null
run:
%status = call i32 @{signature.name}({", ".join(given)})
%status.wide = zext i32 %status to i64
%result = call ptr @PyLong_FromLongLong(i64 %status.wide)
ret ptr %result
}}
"""


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


class _Method(ctypes.Structure):
    """`PyMethodDef` of Python's `methodobject.h`."""

    _fields_ = (
        ("name", ctypes.c_char_p), ("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("text", ctypes.c_char_p)
    )  # fmt: skip


_METH_FASTCALL = 0x80
_loaded: list[Any] = []  # machine code that is gone while Python may still call it would end the process


def load(code: bytes, name: str) -> Callable[..., int]:
    """Return the entry of machine code as a built-in function of Python."""
    for symbol in (*LIBRARY, *_OF_PYTHON):
        if address := _address(symbol):
            llvm.add_symbol(symbol, address)
    target = _target()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(f'target triple = "{target.triple}"'), target)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    method = _Method(name.encode(), engine.get_function_address("entry"), _METH_FASTCALL, None)
    _loaded.append((engine, method))
    make = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.POINTER(_Method), ctypes.py_object, ctypes.c_void_p)(
        ("PyCFunction_NewEx", ctypes.pythonapi)
    )
    return make(ctypes.byref(method), np.ndarray, None)  # type: ignore[no-any-return]


def _address(name: str) -> int:
    """Return where a function of Python or of the C library lies, or 0."""
    libraries: list[Any] = [ctypes.pythonapi] if name in _OF_PYTHON else []
    for library in ("ucrtbase", "vcruntime140") if sys.platform == "win32" else (None,):
        with contextlib.suppress(OSError):
            libraries.append(ctypes.CDLL(library))
    for one in libraries:
        with contextlib.suppress(AttributeError):
            return ctypes.cast(getattr(one, name), ctypes.c_void_p).value or 0
    return 0
