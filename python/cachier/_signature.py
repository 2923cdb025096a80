"""Signatures, where the code of a function does not tell: the cold part of binding."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from typing import Any


def is_pass_through(code: types.CodeType) -> bool:
    """Whether a wrapper of this code hands on whatever comes by position.

    What it has of its own is by keyword only; then what it wraps says what a call
    means. Else only the wrapper itself does.
    """
    stars = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS
    return code.co_argcount == 0 and code.co_flags & stars == stars


def _own_keywords(function: Any) -> list[inspect.Parameter]:
    """Give what a wrapper takes by keyword, beside what it hands on."""
    if not isinstance(function, types.FunctionType):
        return []
    return [
        parameter
        for parameter in inspect.signature(
            function, follow_wrapped=False
        ).parameters.values()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    ]


def describe(function: Callable[..., Any]) -> list[tuple[str, int, Any]]:
    """List the parameters of any callable: name, kind, default (``...``: none).

    What tells nothing of itself takes anything.
    """
    try:
        found = dict(inspect.signature(function).parameters)
        for own in _own_keywords(function):
            found.setdefault(own.name, own)
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
    positional = (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    )
    if parameters and parameters[0].kind in positional:
        parameters = parameters[1:]
    return signature.replace(parameters=parameters)
