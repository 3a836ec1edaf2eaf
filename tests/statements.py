"""The statements of a module, for the tests that read the sources."""

import ast
from collections.abc import Iterator


def statements(node: ast.AST) -> Iterator[ast.stmt]:
    """Yield every statement below a node, at any depth; expressions, which hold none, are not gone through."""
    for block in ("body", "orelse", "finalbody", "handlers", "cases"):
        for inner in getattr(node, block, None) or ():
            if isinstance(inner, ast.stmt):
                yield inner
            yield from statements(inner)
