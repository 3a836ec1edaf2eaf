"""What expressions of the machine's functions become in LLVM's language: numbers, arrays, choices and calls."""

from __future__ import annotations

import ast
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sld.fit.parts import IN_C, CannotTranslate, Signature, annotated, bits, double, is_part, options_of, results

_DTYPES = {"int64": "i64", "bool_": "i1", "float64": "double"}
_BYTES = {"double": 8, "i64": 8, "i1": 1}
_INTRINSIC = {"sqrt": "llvm.sqrt.f64", "abs": "llvm.fabs.f64", "floor": "llvm.floor.f64"}
_COMPARE = {ast.Eq: ("eq", "oeq"), ast.NotEq: ("ne", "une"), ast.Lt: ("slt", "olt"), ast.LtE: ("sle", "ole"),
            ast.Gt: ("sgt", "ogt"), ast.GtE: ("sge", "oge")}  # fmt: skip
_ARITHMETIC = {ast.Add: ("add nsw", "fadd"), ast.Sub: ("sub nsw", "fsub"), ast.Mult: ("mul nsw", "fmul"),
               ast.Div: ("", "fdiv"), ast.FloorDiv: ("sdiv", ""), ast.Mod: ("srem", ""), ast.LShift: ("shl", ""),
               ast.RShift: ("ashr", ""), ast.BitAnd: ("and", ""), ast.BitOr: ("or", "")}  # fmt: skip


@dataclass(frozen=True)
class Value:
    """A number (one part) or an array (its address and lengths), as LLVM's names or constants."""

    kind: str  # of the number or the elements
    parts: tuple[str, ...]

    @property
    def n_axes(self) -> int:
        """Return the number of axes, 0 for a number."""
        return len(self.parts) - 1


@dataclass(frozen=True)
class Source:
    """A file of the machine: what names mean there, and its functions."""

    file: str
    names: dict[str, Any]
    trees: dict[str, ast.FunctionDef]

    @staticmethod
    def of(function: Callable[..., Any]) -> Source:
        """Read the file of a function."""
        file = function.__code__.co_filename
        tree = ast.parse(Path(file).read_text(encoding="utf-8"), file)
        return Source(file, function.__globals__, {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef)})


@dataclass
class Module:
    """What is translated: a function with all that it calls, from one file or several, and what of them is done."""

    translated: Callable[[Module, Source, ast.FunctionDef, Signature], str]
    sources: dict[str, Source] = field(default_factory=dict)  # by file
    done: dict[str, Signature] = field(default_factory=dict)
    homes: dict[str, str] = field(default_factory=dict)  # the file of what is done
    texts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what LLVM is told of loops
    in_c: set[str] = field(default_factory=set)

    def function(self, function: Callable[..., Any]) -> Signature:
        """Return the signature of a part, translated before its callers.

        Raises:
            CannotTranslate: Another part has its name, or it says something that is not among what can be translated.
        """
        name, file = function.__name__, function.__code__.co_filename
        if self.homes.setdefault(name, file) != file:
            raise CannotTranslate(f"{file}: {self.homes[name]} has a `{name}` too")
        if name not in self.done:
            if file not in self.sources:
                self.sources[file] = Source.of(function)
            source = self.sources[file]
            tree = source.trees[name]
            arguments = [(a.arg, *annotated(a.annotation)) for a in tree.args.args]
            self.done[name] = Signature(name, arguments, results(tree.returns), options_of(function))
            self.texts.append(self.translated(self, source, tree, self.done[name]))
        return self.done[name]


class Expressions:
    """One function and its expressions; variables are places on the stack, which LLVM turns to registers."""

    def __init__(self, module: Module, source: Source, tree: ast.FunctionDef, signature: Signature) -> None:
        """Begin with a function of a file."""
        self.module, self.source, self.tree, self.signature = module, source, tree, signature
        self.lines: list[str] = []
        self.places: list[str] = []  # instructions that make room for variables, all at the beginning
        self.variables: dict[str, Value] = {}  # their parts are addresses
        self.loops: list[tuple[str, str]] = []  # where `continue` and `break` go
        self.made: list[str] = []  # places of the addresses of arrays that are freed at the end
        self.count = 0
        self.depth = 0
        self.is_entry = not module.texts and len(module.done) == 1

    # ---- text

    def new(self, of: str = "t") -> str:
        """Return a name that nothing else has."""
        self.count += 1
        return f"{of}.{self.count}"

    def emit(self, instruction: str) -> str:
        """Write an instruction, and return the name of its result."""
        name = f"%{self.new()}"
        self.lines.append(f"{name} = {instruction}")
        return name

    def do(self, instruction: str) -> None:
        """Write an instruction that has no result."""
        self.lines.append(instruction)

    def label(self, name: str) -> None:
        """Go on at a place that others jump to."""
        self.do(f"br label %{name}")
        self.lines.append(f"{name}:")

    def jump(self, name: str) -> None:
        """Leave this place; what follows in the source is never reached, and LLVM takes it away."""
        self.do(f"br label %{name}")
        self.lines.append(f"{self.new('after')}:")

    def place(self, of: str) -> str:
        """Return the address of a place on the stack."""
        name = f"%{self.new('place')}"
        self.places.append(f"{name} = alloca {of}")
        return name

    def refuse(self, node: ast.AST, what: str) -> CannotTranslate:
        """Return the error that says where something stands that cannot be translated."""
        line = getattr(node, "lineno", self.tree.lineno)
        return CannotTranslate(f"{self.source.file}, line {line}: {what} cannot be translated")

    # ---- variables and elements

    def store(self, name: str, value: Value) -> None:
        """Give a variable a value; its first one says what it is."""
        if name not in self.variables:
            parts = [value.kind] if not value.n_axes else ["ptr", *["i64"] * value.n_axes]
            self.variables[name] = Value(value.kind, tuple(self.place(of) for of in parts))
        variable = self.variables[name]
        if variable.n_axes != value.n_axes or (variable.n_axes and variable.kind != value.kind):
            raise CannotTranslate(f"{self.source.file}: {name} in {self.tree.name} has values of different types")
        if not value.n_axes:
            self.do(f"store {variable.kind} {self.as_kind(value, variable.kind)}, ptr {variable.parts[0]}")
            return
        for i, (place, now) in enumerate(zip(variable.parts, value.parts, strict=True)):
            self.do(f"store {'i64' if i else 'ptr'} {now}, ptr {place}")

    def loaded(self, kind: str, address: str) -> Value:
        """Return an element of an array."""
        if kind != "i1":
            return Value(kind, (self.emit(f"load {kind}, ptr {address}"),))
        byte = self.emit(f"load i8, ptr {address}")
        return Value("i1", (self.emit(f"icmp ne i8 {byte}, 0"),))

    def stored(self, kind: str, address: str, value: Value) -> None:
        """Set an element of an array."""
        number = self.as_kind(value, kind)
        if kind == "i1":
            kind, number = "i8", self.emit(f"zext i1 {number} to i8")
        self.do(f"store {kind} {number}, ptr {address}")

    def element(self, node: ast.expr) -> tuple[str, str]:
        """Return kind and address of an element of an array."""
        if isinstance(node, ast.Subscript):
            value = self.view(node)
            if value.n_axes == 0:
                return value.kind, value.parts[0]
        raise self.refuse(node, "an assignment to this")

    def view(self, node: ast.Subscript) -> Value:
        """Return the part of an array that a subscript names: its address and the lengths of its axes."""
        array = self.value(node.value)
        indices = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        lengths = list(array.parts[1:])
        if len(indices) > len(lengths):
            raise self.refuse(node, "this subscript")
        at = ""
        for axis, index in enumerate(indices):
            if isinstance(index, ast.Slice):
                if axis + 1 < len(lengths) or index.step is not None:
                    raise self.refuse(node, "a slice of another axis than the last")
                begin = "0" if index.lower is None else self.integer(index.lower)
                stop = lengths[axis] if index.upper is None else self.integer(index.upper)
                lengths[axis] = self.emit(f"sub nsw i64 {stop}, {begin}")
                this, kept = begin, axis
            else:
                this, kept = self.integer(index), axis + 1
            at = (
                this
                if not at
                else self.emit(f"add nsw i64 {self.emit(f'mul nsw i64 {at}, {array.parts[axis + 1]}')}, {this}")
            )
        for axis in range(len(indices), array.n_axes):
            at = self.emit(f"mul nsw i64 {at}, {array.parts[axis + 1]}")
        of = "i8" if array.kind == "i1" else array.kind
        address = self.emit(f"getelementptr inbounds {of}, ptr {array.parts[0]}, i64 {at}")
        return Value(array.kind, (address, *lengths[kept:]))

    # ---- values

    def as_kind(self, value: Value, kind: str) -> str:
        """Return a number as another kind: an integer as a double, and nothing else."""
        if value.kind == kind and not value.n_axes:
            return value.parts[0]
        if (value.kind, kind) == ("i64", "double") and not value.n_axes:
            text = value.parts[0]
            if text.lstrip("-").isdigit():
                return _literal(float(text))
            return self.emit(f"sitofp i64 {text} to double")
        raise CannotTranslate(f"{self.source.file}: in {self.tree.name}, {value.kind} stands where {kind} is needed")

    def integer(self, node: ast.expr) -> str:
        """Return the value of an expression that has to be an integer."""
        return self.as_kind(self.value(node), "i64")

    def constant(self, node: ast.expr) -> int:
        """Return an integer that the source says."""
        number = self.integer(node)
        if not number.lstrip("-").isdigit():
            raise self.refuse(node, "a step or axis that is not constant")
        return int(number)

    def value(self, node: ast.expr, *, made_here: bool = False) -> Value:
        """Return the value of an expression; in an assignment it may be a new array."""
        if made_here and isinstance(node, ast.Call) and (kind := self.makes_array(node)):
            return self.new_array(node, kind)
        value = self.value_or_none(node)
        if value is None:
            raise self.refuse(node, "a value of a function that returns none or several")
        return value

    def values(self, node: ast.expr) -> list[Value]:
        """Return the values of a tuple, of the result of a function, or the lengths of an array."""
        if isinstance(node, ast.Tuple):
            return [self.value(element, made_here=True) for element in node.elts]
        if isinstance(node, ast.Attribute) and node.attr == "shape":
            return [Value("i64", (length,)) for length in self.value(node.value).parts[1:]]
        if isinstance(node, ast.Call):
            signature, result = self.called(node)
            of = signature.llvm_result
            return [Value(kind, (self.emit(f"extractvalue {of} {result}, {i}"),))
                    for i, kind in enumerate(signature.result)]  # fmt: skip
        raise self.refuse(node, "this tuple")

    def value_or_none(self, node: ast.expr) -> Value | None:
        """Return the value of an expression, none of a call that gives back none or several."""
        found: Value | None = getattr(self, f"_of_{type(node).__name__}", self._of_other)(node)
        return found

    def _of_other(self, node: ast.expr) -> Value:
        raise self.refuse(node, f"`{type(node).__name__}`")

    def _of_Constant(self, node: ast.Constant) -> Value:
        return self.number(node, node.value)

    def number(self, node: ast.expr, value: object) -> Value:
        """Return a number of Python."""
        if isinstance(value, bool):
            return Value("i1", ("true" if value else "false",))
        if isinstance(value, int):
            return Value("i64", (str(value),))
        if isinstance(value, float):
            return Value("double", (_literal(value),))
        raise self.refuse(node, f"the value {value!r}")

    def _of_Name(self, node: ast.Name) -> Value:
        if node.id in self.variables:
            variable = self.variables[node.id]
            kinds = [variable.kind] if not variable.n_axes else ["ptr", *["i64"] * variable.n_axes]
            loads = zip(kinds, variable.parts, strict=True)
            return Value(variable.kind, tuple(self.emit(f"load {kind}, ptr {place}") for kind, place in loads))
        if node.id not in self.source.names:
            raise self.refuse(node, f"the unknown name `{node.id}`")
        return self.number(node, self.source.names[node.id])

    def _of_Attribute(self, node: ast.Attribute) -> Value:
        if isinstance(node.value, ast.Name) and self.source.names.get(node.value.id) is np:
            return self.number(node, getattr(np, node.attr))  # np.inf and the like
        raise self.refuse(node, f"`.{node.attr}`")

    def _of_Subscript(self, node: ast.Subscript) -> Value:
        if isinstance(node.value, ast.Attribute) and node.value.attr == "shape":
            return self.values(node.value)[self.constant(node.slice)]
        value = self.view(node)
        return value if value.n_axes else self.loaded(value.kind, value.parts[0])

    def _of_BinOp(self, node: ast.BinOp) -> Value:
        return self.arithmetic(node, node.op, self.value(node.left), self.value(node.right))

    def arithmetic(self, node: ast.AST, op: ast.operator, x: Value, y: Value) -> Value:
        """Return the result of an operator, of integers where both are."""
        whole, real = _ARITHMETIC.get(type(op), ("", ""))
        kind = "i64" if x.kind == y.kind == "i64" and not isinstance(op, ast.Div) else "double"
        instruction = whole if kind == "i64" else f"{real} {self.signature.options.flags}" if real else ""
        if not instruction:
            raise self.refuse(node, f"this use of `{type(op).__name__}`")
        return Value(kind, (self.emit(f"{instruction} {kind} {self.as_kind(x, kind)}, {self.as_kind(y, kind)}"),))

    def _of_UnaryOp(self, node: ast.UnaryOp) -> Value:
        if isinstance(node.op, ast.Not):
            return Value("i1", (self.emit(f"xor i1 {self.truth(node.operand)}, true"),))
        if isinstance(node.op, ast.USub):
            value = self.value(node.operand)
            if value.parts[0].isdigit():
                return Value("i64", (f"-{value.parts[0]}",))
            if value.kind == "i64":
                return Value("i64", (self.emit(f"sub nsw i64 0, {value.parts[0]}"),))
            return Value("double", (self.emit(f"fneg {self.signature.options.flags} double {value.parts[0]}"),))
        raise self.refuse(node, "this operator")

    def _of_Compare(self, node: ast.Compare) -> Value:
        if len(node.ops) != 1 or type(node.ops[0]) not in _COMPARE:
            raise self.refuse(node, "this comparison")
        x, y = self.value(node.left), self.value(node.comparators[0])
        return self.compared(type(node.ops[0]), x, y)

    def compared(self, op: type[ast.cmpop], x: Value, y: Value) -> Value:
        """Return whether a comparison holds."""
        whole, real = _COMPARE[op]
        if x.kind == y.kind and x.kind != "double":
            return Value("i1", (self.emit(f"icmp {whole} {x.kind} {x.parts[0]}, {y.parts[0]}"),))
        x_text, y_text = self.as_kind(x, "double"), self.as_kind(y, "double")
        return Value("i1", (self.emit(f"fcmp {real} double {x_text}, {y_text}"),))

    def truth(self, node: ast.expr) -> str:
        """Return the value of an expression that has to be true or false."""
        return self.as_kind(self.value(node), "i1")

    def branch(self, test: ast.expr, yes: str, no: str) -> None:
        """Go to `yes` or `no`; operands of `and` and `or` that are not needed are not looked at."""
        if isinstance(test, ast.BoolOp):
            for operand in test.values[:-1]:
                further = self.new("and")
                if isinstance(test.op, ast.And):
                    self.branch(operand, further, no)
                else:
                    self.branch(operand, yes, further)
                self.lines.append(f"{further}:")
            self.branch(test.values[-1], yes, no)
        elif isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            self.branch(test.operand, no, yes)
        else:
            self.do(f"br i1 {self.truth(test)}, label %{yes}, label %{no}")

    def _of_BoolOp(self, node: ast.BoolOp) -> Value:
        yes, no = ast.Constant(True), ast.Constant(False)
        return self._of_IfExp(ast.IfExp(node, yes, no, lineno=node.lineno))

    def _of_IfExp(self, node: ast.IfExp) -> Value:
        yes, no, end = self.new("yes"), self.new("no"), self.new("end")
        self.branch(node.test, yes, no)
        taken = []
        with self.own_lines() as first:
            one = self.value(node.body)
        with self.own_lines() as second:
            other = self.value(node.orelse)
        kind = one.kind if one.kind == other.kind else "double"
        if one.n_axes != other.n_axes or (one.n_axes and one.kind != other.kind):
            raise self.refuse(node, "a choice between values of different types")
        parts = [kind] if not one.n_axes else ["ptr", *["i64"] * one.n_axes]
        places = [self.place(of) for of in parts]
        for label, lines, value in ((yes, first, one), (no, second, other)):
            self.lines += [f"{label}:", *lines]
            taken = [self.as_kind(value, kind)] if not value.n_axes else list(value.parts)
            for of, place, now in zip(parts, places, taken, strict=True):
                self.do(f"store {of} {now}, ptr {place}")
            self.do(f"br label %{end}")
        self.lines.append(f"{end}:")
        loads = zip(parts, places, strict=True)
        return Value(kind, tuple(self.emit(f"load {of}, ptr {place}") for of, place in loads))

    @contextmanager
    def own_lines(self) -> Iterator[list[str]]:
        """Collect what is written meanwhile in a list of its own."""
        kept, self.lines = self.lines, []
        try:
            yield self.lines
        finally:
            self.lines = kept

    # ---- calls

    def _of_Call(self, node: ast.Call) -> Value | None:
        if node.keywords:
            raise self.refuse(node, "a call with named arguments, or an array that is not made by an assignment,")
        if isinstance(node.func, ast.Attribute):
            return self.call_in_c(node, node.func.attr)
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name in ("min", "max"):
            value = self.value(node.args[0])
            for argument in node.args[1:]:  # as Python does it: the earlier one stays where neither is less
                value = self.lesser(ast.Lt if name == "min" else ast.Gt, self.value(argument), value)
            return value
        if name == "abs":
            return self.call_in_c(node, name)
        function = self.source.names.get(name)
        if function is bits:
            return Value(
                "i64", (self.emit(f"bitcast double {self.as_kind(self.value(node.args[0]), 'double')} to i64"),)
            )
        if function is double:
            return Value("double", (self.emit(f"bitcast i64 {self.integer(node.args[0])} to double"),))
        signature, result = self.called(node)
        return Value(signature.result[0], (result,)) if len(signature.result) == 1 else None

    def lesser(self, op: type[ast.cmpop], one: Value, other: Value) -> Value:
        """Return the one of two numbers that compares so with the other, and the other where neither does."""
        kind = one.kind if one.kind == other.kind else "double"
        a, b = (Value(kind, (self.as_kind(v, kind),)) for v in (one, other))
        less = self.compared(op, a, b).parts[0]
        return Value(kind, (self.emit(f"select i1 {less}, {kind} {a.parts[0]}, {kind} {b.parts[0]}"),))

    def call_in_c(self, node: ast.Call, name: str) -> Value:
        """Call a function of the C library, or an instruction of the processor."""
        function = _INTRINSIC.get(name) or IN_C.get(name)
        if function is None or len(node.args) != 1:
            raise self.refuse(node, f"a call of `{name}`")
        self.module.in_c.add(function)
        flags = f"{self.signature.options.flags} " if name in _INTRINSIC else ""
        argument = self.as_kind(self.value(node.args[0]), "double")
        return Value("double", (self.emit(f"call {flags}double @{function}(double {argument})"),))

    def called(self, node: ast.Call) -> tuple[Signature, str]:
        """Call a part of the machine."""
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        function = self.source.names.get(name)
        if not is_part(function):
            raise self.refuse(node, f"a call of `{name}`")
        signature = self.module.function(function)
        taken = []
        if len(node.args) != len(signature.parameters):
            raise self.refuse(node, f"a call of `{name}` with {len(node.args)} arguments")
        for argument, (_, kind, axes) in zip(node.args, signature.parameters, strict=True):
            value = self.value(argument)
            if value.n_axes != axes or (axes and value.kind != kind):
                raise self.refuse(argument, f"this argument of `{name}`")
            if not axes:
                taken.append(f"{kind} {self.as_kind(value, kind)}")
            else:
                taken += [f"{'i64' if i else 'ptr'} {one}" for i, one in enumerate(value.parts)]
        call = f"call {signature.llvm_result} @{signature.name}({', '.join(taken)})"
        if signature.result:
            return signature, self.emit(call)
        self.do(call)
        return signature, ""

    # ---- arrays that the entry makes

    def makes_array(self, node: ast.Call) -> str:
        """Return the kind of the elements where a call makes an array, else nothing."""
        if not (isinstance(node.func, ast.Attribute) and node.func.attr in ("empty", "zeros")):
            return ""
        if not self.is_entry or self.depth > 1:
            raise self.refuse(node, "an array that is not made in the outermost block of the entry")
        names = [k.value.attr for k in node.keywords if k.arg == "dtype" and isinstance(k.value, ast.Attribute)]
        return _DTYPES[names[0]] if names else "double"

    def new_array(self, node: ast.Call, kind: str) -> Value:
        """Make an array."""
        shape = node.args[0]
        lengths = [self.integer(n) for n in (shape.elts if isinstance(shape, ast.Tuple) else [shape])]
        size = lengths[0]
        for length in lengths[1:]:
            size = self.emit(f"mul nsw i64 {size}, {length}")
        n_bytes = self.emit(f"mul nsw i64 {size}, {_BYTES[kind]}")
        n_bytes = self.emit(f"add nsw i64 {n_bytes}, 8")  # none is empty, so an address of zero is a failure
        empty = isinstance(node.func, ast.Attribute) and node.func.attr == "empty"
        address = self.emit(f"call ptr @malloc(i64 {n_bytes})" if empty else f"call ptr @calloc(i64 {n_bytes}, i64 1)")
        self.made.append(self.place("ptr"))
        self.do(f"store ptr {address}, ptr {self.made[-1]}")
        go_on = self.new("made")
        self.do(f"br i1 {self.emit(f'icmp eq ptr {address}, null')}, label %end, label %{go_on}")
        self.lines.append(f"{go_on}:")
        return Value(kind, (address, *lengths))


def _literal(value: float) -> str:
    return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"
