"""Ids of functions: what tells one function from another in a store.

``docs/formats/key.md`` is the page for it.
"""

from __future__ import annotations

import itertools
import os
import sys
import types

from . import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_MAIN = ("__main__", "__mp_main__")  # the second: in children of multiprocessing


#: Objects of closures that have no key, by their address: what tells each from all
#: others, and what keeps the address from being given to another.
_told: dict[int, tuple[Any, str]] = {}
_process = ""
_numbers = itertools.count()


def _layers(function: Any) -> list[Any]:
    """Give a callable and all that it wraps, outermost first."""
    layers = [function]
    while len(layers) < 100:
        inner = getattr(layers[-1], "__wrapped__", None)
        if inner is None or any(inner is layer for layer in layers):
            break
        layers.append(inner)
    return layers


def place_of(function: Callable[..., Any]) -> tuple[str, bool]:
    """Give the name of a function's module, and whether its code lies in a file.

    Of what is behind all wrappers: they may come from anywhere.
    """
    inner = _layers(function)[-1]
    owner = getattr(inner, "__objclass__", None)  # of a method written in C
    module = getattr(inner, "__module__", None) or getattr(owner, "__module__", None)
    module = str(module or "builtins")
    # What is typed, piped in or made from a text can be anything at any time.
    code = getattr(inner, "__code__", None)
    written = code.co_filename if code is not None else ""
    in_file = not written.startswith("<") or written.startswith("<frozen")
    if module not in _MAIN:
        return module, in_file
    names = getattr(inner, "__globals__", {})
    if names.get("__name__") not in _MAIN:
        # Written in C, or made to look like a function of the program.
        names = vars(sys.modules["__main__"])
    spec = names.get("__spec__")
    if spec is not None:
        return str(spec.name), in_file
    file = names.get("__file__")
    if file is not None and not file.startswith("<"):
        return os.path.realpath(file), in_file
    return "__main__", False


def function_id(
    function: Callable[..., Any],
    parameters: str,
    *,
    key_prefix: str,
    name: str | None,
    version: str | None,
    shared: bool,
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
    shared : bool
        Whether others find entries by this id: it must tell the function from all.

    """
    if name is not None:
        return _core.function_id(key_prefix, name, "", None, version or "")
    place, has_file = place_of(function)
    called = getattr(function, "__qualname__", None)
    called = called or getattr(function, "__name__", None)
    code = ""
    if called is None:
        if shared:
            _refuse(function, "objects of its type have no names")
        called = type(function).__qualname__
    elif "<" in called or not has_file:
        code = code_of(function, called, shared)
        if shared and not code:
            _refuse(function, "its name is not its own, and it has no code to look at")
    return _core.function_id(
        key_prefix, f"{place}.{called}", code, parameters, version or ""
    )


def _refuse(function: Any, why: str) -> None:
    raise TypeError(
        f"cannot tell {function!r} from other functions in a store\n"
        f"  cause: {why}\n"
        '  fix:   name it yourself: @cachier(name="...")'
    )


def code_of(function: Callable[..., Any], called: str = "", shared: bool = True) -> str:
    """Give what tells functions of one name apart; nothing where there is no code."""
    layers = tuple(
        layer for layer in _layers(function) if isinstance(layer, types.FunctionType)
    )
    if not layers:
        return ""
    if not shared:
        return _core.code_digest(layers)
    unkeyed: list[Any] = []

    def tell_apart(value: Any) -> str:
        unkeyed.append(value)
        return _told_apart(value)

    code = _core.code_digest(layers, tell_apart)
    if unkeyed:
        _warn_of_unkeyed(called, unkeyed[0])
    return code


def _told_apart(value: Any) -> str:
    """Tell an object from every other one, of this process and of all."""
    global _process
    known = _told.get(id(value))
    if known is not None:
        return known[1]
    process = f"{os.getpid()}/"
    if not _process.startswith(process):  # the first, or the child of a fork
        _process = process + os.urandom(8).hex()
    told = f"{_process}/{next(_numbers)}"
    address = id(value)
    import weakref

    try:
        kept: Any = weakref.ref(value, lambda _: _told.pop(address, None))
    except TypeError:
        kept = value
    _told[address] = (kept, told)
    return told


def _warn_of_unkeyed(called: str, value: Any) -> None:
    import warnings

    from ._errors import CachierWarning

    warnings.warn(
        f"{called}() uses an object of type {type(value).__qualname__} of the function "
        "around it, which cannot be part of a key: its entries are found by this "
        "process only\n"
        '  fix: name the function yourself, cachier(name="..."), if its results do not '
        "depend on that object; else make the object an argument",
        CachierWarning,
        stacklevel=5,
    )
