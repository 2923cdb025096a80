"""Ids of functions: what tells one function from another in a store.

``docs/formats/key.md`` is the page for it.
"""

from __future__ import annotations

import os

from . import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_MAIN = ("__main__", "__mp_main__")  # the second: in children of multiprocessing


def place_of(function: Callable[..., Any]) -> tuple[str, bool]:
    """Give the name of a function's module, and whether its code lies in a file."""
    module = getattr(function, "__module__", None) or "builtins"
    names = getattr(function, "__globals__", {})
    if module in _MAIN:
        spec = names.get("__spec__")
        if spec is not None:
            return str(spec.name), True
        file = names.get("__file__")
        if file is not None:
            return os.path.realpath(file), True
        return "__main__", False
    code = getattr(function, "__code__", None)
    file = code.co_filename if code is not None else ""
    return module, not (file.startswith("<") and not file.startswith("<frozen"))


def function_id(
    function: Callable[..., Any],
    parameters: str,
    *,
    key_prefix: str,
    name: str | None,
    version: str | None,
) -> str:
    """Give the id of a function.

    Parameters
    ----------
    function : callable
        The function itself, or the type of a callable object.
    parameters : str
        The names of its parameters, with commas between.
    key_prefix, name, version : str
        As the decorator was given them.

    """
    if name is not None:
        return _core.function_id(key_prefix, name, "", None, version or "")
    place, has_file = place_of(function)
    called = getattr(function, "__qualname__", None) or type(function).__qualname__
    code = ""
    if "<" in called or not has_file:
        code = code_of(function)
    return _core.function_id(
        key_prefix, f"{place}.{called}", code, parameters, version or ""
    )


def code_of(function: Callable[..., Any]) -> str:
    """Give what tells functions of one name apart; nothing where there is no code."""
    if not hasattr(function, "__code__") or not hasattr(function, "__closure__"):
        return ""
    return _core.code_digest(function)
