"""How cached functions are pickled: by name where it leads back, else by value.

Functions of ``__main__`` are sent both ways to those who pickle by value (joblib, dask,
ray do, by cloudpickle): a process that has the name uses it, another makes its own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from . import _core

_BY_VALUE = (
    "cloudpickle",
    "joblib.externals.cloudpickle",
    "ray.cloudpickle",
    "distributed.protocol.pickle",
)


def _at(module: str, name: str) -> Any:
    """Give what a name leads to, None if it leads nowhere."""
    found: Any = sys.modules.get(module)
    for step in name.split("."):
        found = getattr(found, step, None)
    return found


def _dumps_by_value(function: Any) -> bytes | None:
    for name in _BY_VALUE:
        module = sys.modules.get(name)
        if module is not None and hasattr(module, "dumps"):
            try:
                dumped: bytes = module.dumps(function)
            except Exception:
                return None
            return dumped
    return None


def reduce(function: _core.CachedFunction[Any, Any], protocol: int) -> Any:
    """Give what ``__reduce_ex__`` of a cached function gives."""
    module = getattr(function, "__module__", None) or ""
    name = getattr(function, "__qualname__", None) or ""
    options = function._options
    made_of = (options.given, function._function_id)
    if _at(module, name) is function:
        if module != "__main__":
            return name
        dumped = _dumps_by_value(function.__wrapped__)
        if dumped is None:
            return name
        return find_or_rebuild, (module, name, dumped, *made_of)
    return rebuild, (function.__wrapped__, *made_of)


def rebuild(
    function: Callable[..., Any], given: dict[str, Any], function_id: str
) -> Any:
    """Decorate a function anew, with the options and the id that it had."""
    from .core import cachier

    return cachier(**given)._decorate(function, function_id=function_id)


def find_or_rebuild(
    module: str, name: str, dumped: bytes, given: dict[str, Any], function_id: str
) -> Any:
    """Find the function by its name, else make it."""
    found = _at(module, name)
    if isinstance(found, _core.CachedFunction) and found._function_id == function_id:
        return found
    import pickle

    return rebuild(pickle.loads(dumped), given, function_id)
