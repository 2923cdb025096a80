"""Signatures, where the code of a function does not tell: the cold part of binding."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from typing import Any

_POSITIONAL = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
)


def _positional(found: dict[str, inspect.Parameter]) -> list[str]:
    return [one.name for one in found.values() if one.kind in _POSITIONAL]


def is_pass_through(function: types.FunctionType) -> bool:
    """Whether a wrapper hands on whatever comes.

    It takes anything, and what it names before is named so by what it wraps. Then that
    says what a call means; else only the wrapper itself does.
    """
    code = function.__code__
    stars = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS
    if code.co_flags & stars != stars:
        return False
    named = list(code.co_varnames[: code.co_argcount])
    try:
        inner = dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return False
    return not named or _positional(inner)[: len(named)] == named


def _with_own(
    function: Any, inner: dict[str, inspect.Parameter]
) -> dict[str, inspect.Parameter]:
    """Add what a wrapper that hands on takes itself: defaults, and more keywords."""
    if not isinstance(function, types.FunctionType):
        return inner
    found = dict(inner)
    own = inspect.signature(function, follow_wrapped=False).parameters
    for one in own.values():
        if one.kind in (
            inspect.Parameter.VAR_POSITIONAL,
            inspect.Parameter.VAR_KEYWORD,
        ):
            continue
        known = found.get(one.name, one)
        found[one.name] = known.replace(default=one.default)
    return found


def describe(function: Callable[..., Any]) -> list[tuple[str, int, Any]]:
    """List the parameters of any callable: name, kind, default (``...``: none).

    What tells nothing of itself takes anything.
    """
    try:
        found = _with_own(function, dict(inspect.signature(function).parameters))
    except (TypeError, ValueError):
        return [("args", 2, ...), ("kwargs", 4, ...)]
    return [
        (
            parameter.name,
            int(parameter.kind),
            ... if parameter.default is parameter.empty else parameter.default,
        )
        for parameter in sorted(found.values(), key=lambda one: one.kind)
    ]


def of_bound(function: Callable[..., Any]) -> inspect.Signature:
    """Give the signature of a function without its first parameter."""
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())
    if parameters and parameters[0].kind in _POSITIONAL:
        parameters = parameters[1:]
    return signature.replace(parameters=parameters)
