"""Signatures, where the code of a function does not tell: the cold part of binding."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any


def describe(function: Callable[..., Any]) -> list[tuple[str, int, Any]]:
    """List the parameters of any callable: name, kind, default (``...``: none).

    What tells nothing of itself takes anything.
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return [("args", 2, ...), ("kwargs", 4, ...)]
    return [
        (
            parameter.name,
            int(parameter.kind),
            ... if parameter.default is parameter.empty else parameter.default,
        )
        for parameter in parameters
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
