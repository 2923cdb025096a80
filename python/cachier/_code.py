"""What tells the code of a function from what it was before: its syntax tree.

Comments, layout, docstrings and the decorators above do not count.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import textwrap
import types
from collections.abc import Callable, Iterator
from typing import Any

from . import _core, _names

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def digest(function: Callable[..., Any]) -> int:
    """Give a number that changes with the code of a function.

    Parameters
    ----------
    function : callable
        The function; all that it wraps counts as well.

    Returns
    -------
    int
        32 bits, never 0. Of the compiled code where there is no source.

    """
    parts = [
        _of(layer)
        for layer in _names._layers(function)
        if isinstance(layer, types.FunctionType)
    ]
    hashed = hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass"))
    return int.from_bytes(hashed.digest()[:4], "big") or 1


def _of(function: types.FunctionType) -> str:
    tree = _tree(function)
    if tree is None:
        return _core.code_digest((function,))
    return "".join(_written(tree))


def _tree(function: types.FunctionType) -> ast.AST | None:
    try:
        source = inspect.getsource(function)
    except (OSError, TypeError, SyntaxError, IndexError):
        return None
    # What is indented, and holds strings that are not, cannot be dedented.
    for text in (textwrap.dedent(source), "if True:\n" + source):
        try:
            module = ast.parse(text)
        except (SyntaxError, ValueError):
            continue
        return _definition(module, function.__name__)
    return None


def _definition(module: ast.Module, name: str) -> ast.AST | None:
    for node in ast.walk(module):
        if isinstance(node, _DEFINITIONS) and node.name == name:
            node.decorator_list = []
            return node
    lambdas = [node for node in ast.walk(module) if isinstance(node, ast.Lambda)]
    # Which of several is the one, the source does not tell.
    return lambdas[0] if name == "<lambda>" and len(lambdas) == 1 else None


def _written(node: Any) -> Iterator[str]:
    """Write a tree out; what is empty is left out, as Pythons add fields that are."""
    if isinstance(node, list):
        yield "["
        for item in node:
            yield from _written(item)
            yield ","
        yield "]"
        return
    if not isinstance(node, ast.AST):
        yield f"{type(node).__name__}:{node!r}"
        return
    yield f"{type(node).__name__}("
    for field, value in ast.iter_fields(node):
        if value is None and field != "value":
            continue
        if value == [] or field in ("ctx", "kind", "type_comment"):
            continue
        if field == "body" and isinstance(node, _DEFINITIONS) and _has_docstring(node):
            value = value[1:]
        yield f"{field}="
        yield from _written(value)
        yield ";"
    yield ")"


def _has_docstring(
    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef,
) -> bool:
    first = node.body[0]
    return (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    )
