"""What the tests that read the sources want of a module: its functions and its imports, from one parse."""

import ast
import functools
from collections.abc import Iterator
from typing import NamedTuple

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Size(NamedTuple):
    """Of a function; its tree is not kept."""

    name: str
    lines: int
    parameters: int


class Import(NamedTuple):
    """Of `name` from `module`; of the module itself where the name is empty."""

    module: str
    name: str
    at_the_top: bool


@functools.cache
def read(text: str) -> tuple[tuple[Size, ...], tuple[Import, ...]]:
    """Return the functions and the imports of a module, wherever in it they stand."""
    functions, imports = [], list[Import]()
    tree = ast.parse(text)
    top = set(map(id, tree.body))
    for node in statements(tree):
        if isinstance(node, Function):
            functions.append(Size(node.name, n_lines(node), n_parameters(node)))
        elif isinstance(node, ast.Import):
            imports += [Import(alias.name, "", id(node) in top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            assert node.module is not None
            imports += [Import(node.module, alias.name, id(node) in top) for alias in node.names]
    return tuple(functions), tuple(imports)


def n_parameters(function: Function) -> int:
    """Return how many parameters a caller gives."""
    given = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return len(given) - (given[:1] != [] and given[0].arg in ("self", "cls"))


def n_lines(function: Function) -> int:
    assert function.end_lineno is not None
    return function.end_lineno - function.lineno + 1


def statements(node: ast.AST) -> Iterator[ast.stmt]:
    """Yield every statement below a node, at any depth; expressions, which hold none, are not gone through."""
    for block in ("body", "orelse", "finalbody", "handlers", "cases"):
        for inner in getattr(node, block, None) or ():
            if isinstance(inner, ast.stmt):
                yield inner
            yield from statements(inner)
