"""Translates the machine's functions, numeric loops in a small part of Python, to LLVM's language.

A general compiler for Python (numba) took 20 s for the machine: half of it in Python, to find out what the types are,
half in LLVM, since what a function calls is optimised again with each caller. Here every parameter says its type, a
variable has that of its first value, and a function is translated once (0.05 s for all). They go to LLVM in one piece.

What can be translated, everything else is refused with its line:

- Parameters and results that are annotated: `float`, `int`, `bool`, the arrays of `parts.py`, and tuples of numbers as
  results. Arrays are contiguous, indices are not negative and not checked.
- `=` (also of tuples and to elements of arrays), `+=` and the like, `if`, `while`, `for ... in range(...)`, `break`,
  `continue`, `return`; numbers and names, arithmetic, comparisons, `and`, `or`, `not`, `... if ... else ...`.
- `//` and `%` of integers that are not negative.
- A loop whose variable is only the index of rows: two of these rows are the same, or have no element in common.
- `min`, `max`, `abs`; functions of the C library by their names in numpy (`np.exp`); functions that are marked with
  `part`, of the same file or imported from another; `np.empty` and `np.zeros` in the outermost block of the entry,
  freed where it ends.
- Of arrays: elements, rows (`x[i]` of a matrix), slices of the last axis (`x[i, a:b]`) and `x.shape`.

The functions stay functions of Python, which give the same results without any compiler, slowly.
"""

from __future__ import annotations

import ast

from sld.fit.parts import NO_MEMORY, Signature
from sld.fit.values import Expressions, Module, Source, Value


def translated(module: Module, source: Source, tree: ast.FunctionDef, signature: Signature) -> str:
    """Return LLVM's text of one function of a file."""
    return _Function(module, source, tree, signature).text()


class _Function(Expressions):
    """One function, statement by statement."""

    # ---- the function

    def text(self) -> str:
        taken = []
        for name, kind, axes in self.signature.parameters:
            parts = [kind] if axes == 0 else ["ptr", *["i64"] * axes]
            taken += [f"{of} %{name}.{i}" for i, of in enumerate(parts)]
            self.store(name, Value(kind, tuple(f"%{name}.{i}" for i in range(len(parts)))))
        self.block(self.tree.body)
        result, options = self.signature.llvm_result, self.signature.options
        if self.is_entry:
            result = "i32"
            place = self.place("i32")
            self.do(f"store i32 0, ptr {place}")
            self.label("end")
            for made in self.made:
                self.do(f"call void @free(ptr {self.emit(f'load ptr, ptr {made}')})")
            self.do(f"ret i32 {self.emit(f'load i32, ptr {place}')}")
            self.places += [f"store ptr null, ptr {made}" for made in self.made]
            self.places.append(f"store i32 {NO_MEMORY}, ptr {place}")
        else:
            self.do("ret void" if not self.signature.result else "unreachable")
        attributes = {True: "alwaysinline ", False: "noinline ", None: ""}[options.inline] + "nounwind"
        head = f"define internal {result} @{self.signature.name}({', '.join(taken)}) {attributes} {{"
        return "\n".join([head, "entry:", *self.places, *self.lines, "}\n"])

    def block(self, statements: list[ast.stmt]) -> None:
        self.depth += 1
        for statement in statements:
            if isinstance(statement, ast.Break | ast.Continue):
                self.jump(self.loops[-1][isinstance(statement, ast.Break)])
            elif not isinstance(statement, ast.Pass):
                getattr(self, f"do_{type(statement).__name__}", self.do_other)(statement)
        self.depth -= 1

    def do_other(self, node: ast.stmt) -> None:
        raise self.refuse(node, f"`{type(node).__name__}`")

    def do_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # a docstring
            self.value_or_none(node.value)

    def do_Return(self, node: ast.Return) -> None:
        if self.is_entry or node.value is None:
            if self.is_entry or self.signature.result:
                raise self.refuse(node, "this `return`")
            self.do("ret void")
        else:
            values = self.values(node.value) if isinstance(node.value, ast.Tuple) else [self.value(node.value)]
            parts = [self.as_kind(v, kind) for v, kind in zip(values, self.signature.result, strict=True)]
            result = parts[0]
            if len(parts) > 1:
                result = "undef"
                for i, (kind, one) in enumerate(zip(self.signature.result, parts, strict=True)):
                    result = self.emit(f"insertvalue {self.signature.llvm_result} {result}, {kind} {one}, {i}")
            self.do(f"ret {self.signature.llvm_result} {result}")
        self.lines.append(f"{self.new('after')}:")

    def do_If(self, node: ast.If) -> None:
        yes, no, end = self.new("yes"), self.new("no"), self.new("end")
        self.branch(node.test, yes, no)
        self.lines.append(f"{yes}:")
        self.block(node.body)
        self.do(f"br label %{end}")
        self.lines.append(f"{no}:")
        self.block(node.orelse)
        self.label(end)

    def do_While(self, node: ast.While) -> None:
        again, body, end = self.new("while"), self.new("body"), self.new("end")
        self.label(again)
        self.branch(node.test, body, end)
        self.lines.append(f"{body}:")
        self.loops.append((again, end))
        self.block(node.body)
        self.loops.pop()
        self.do(f"br label %{again}")
        self.lines.append(f"{end}:")

    def do_For(self, node: ast.For) -> None:
        call = node.iter
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "range"):
            raise self.refuse(node, "a loop over anything but `range`")
        if not isinstance(node.target, ast.Name) or node.orelse:
            raise self.refuse(node, "this loop")
        begin, stop, step = "0", "", 1
        if len(call.args) == 1:
            stop = self.integer(call.args[0])
        else:
            begin, stop = self.integer(call.args[0]), self.integer(call.args[1])
        if len(call.args) == 3:
            step = self.constant(call.args[2])
        counter = self.place("i64")
        self.do(f"store i64 {begin}, ptr {counter}")
        again, body, after, end = self.new("for"), self.new("body"), self.new("next"), self.new("end")
        self.label(again)
        first = len(self.lines)
        i = self.emit(f"load i64, ptr {counter}")
        inside = self.emit(f"icmp {'slt' if step > 0 else 'sgt'} i64 {i}, {stop}")
        self.do(f"br i1 {inside}, label %{body}, label %{end}")
        self.lines.append(f"{body}:")
        self.store(node.target.id, Value("i64", (i,)))
        self.loops.append((after, end))
        self.block(node.body)
        self.loops.pop()
        self.label(after)
        i = self.emit(f"load i64, ptr {counter}")
        self.do(f"store i64 {self.emit(f'add nsw i64 {i}, {step}')}, ptr {counter}")
        self.do(f"br label %{again}{self.element_by_element(first) if _by_element(node) else self.short()}")
        self.lines.append(f"{end}:")

    def element_by_element(self, first: int) -> str:
        """Tell LLVM of a loop, whose lines begin with `first`, that no turn needs what another one stored."""
        k = len(self.module.notes)
        self.module.notes += [f"!{k} = distinct !{{}}", f'!{k + 1} = !{{!"llvm.loop.parallel_accesses", !{k}}}',
                              f"!{k + 2} = distinct !{{!{k + 2}, !{k + 1}}}"]  # fmt: skip
        for i in range(first, len(self.lines)):
            if self.lines[i].startswith("store ") or " = load " in self.lines[i]:
                self.lines[i] += f", !llvm.access.group !{k}"
        return f", !llvm.loop !{k + 2}"

    def short(self) -> str:
        """Tell LLVM of a loop, one over constants or instructions, that it is not worth to be turned to vector code."""
        k = len(self.module.notes)
        self.module.notes += [
            f'!{k} = !{{!"llvm.loop.vectorize.enable", i1 false}}',
            f'!{k + 1} = !{{!"llvm.loop.unroll.disable"}}',
            f"!{k + 2} = distinct !{{!{k + 2}, !{k}, !{k + 1}}}",
        ]
        return f", !llvm.loop !{k + 2}"

    def do_Assign(self, node: ast.Assign) -> None:
        if len(node.targets) != 1:
            raise self.refuse(node, "an assignment to several targets")
        target, source = node.targets[0], node.value
        if not isinstance(target, ast.Tuple):
            self.assign(target, self.value(source, made_here=True))
        elif isinstance(source, ast.IfExp):  # of tuples
            one, other = (ast.Assign([target], value, lineno=node.lineno) for value in (source.body, source.orelse))
            self.do_If(ast.If(source.test, [one], [other]))
        else:
            for one_target, value in zip(target.elts, self.values(source), strict=True):
                self.assign(one_target, value)

    def do_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self.assign(node.target, self.arithmetic(node, node.op, self.value(node.target), self.value(node.value)))
            return
        kind, address = self.element(node.target)
        value = self.arithmetic(node, node.op, self.loaded(kind, address), self.value(node.value))
        self.stored(kind, address, value)

    def assign(self, target: ast.expr, value: Value) -> None:
        if isinstance(target, ast.Name):
            self.store(target.id, value)
        else:
            kind, address = self.element(target)
            self.stored(kind, address, value)


def _by_element(loop: ast.For) -> bool:
    """Return whether a loop uses its variable for nothing but the index of rows, and has no loop inside."""
    nodes = [node for statement in loop.body for node in ast.walk(statement)]
    assert isinstance(loop.target, ast.Name)
    index = loop.target.id
    subscripts = [node for node in nodes if isinstance(node, ast.Subscript)]
    return (
        not any(isinstance(node, ast.For | ast.While | ast.Break | ast.Continue | ast.Return) for node in nodes)
        and all(
            isinstance(s.value, ast.Name) and isinstance(s.slice, ast.Name) and s.slice.id == index for s in subscripts
        )
        and sum(isinstance(node, ast.Name) and node.id == index for node in nodes) == len(subscripts)
    )
