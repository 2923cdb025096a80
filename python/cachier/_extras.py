"""Options of the decorator that few functions want: read when one is given."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from . import _core, config

#: `Keyring::kShortestKey`.
_SHORTEST_KEY = 16

#: `Cached::OtherCode`, by its numbers.
_OTHER_CODE = ("ignore", "warn", "recompute")


def check(given: dict[str, Any]) -> None:
    """Raise what is wrong with these options.

    Parameters
    ----------
    given : dict
        The options of the decorator.

    Raises
    ------
    TypeError, ValueError
        If one is of the wrong type, or of no meaning.

    """
    _ignored(given)
    _exceptions(given)
    policy = given.get("on_code_change", "ignore")
    if policy not in _OTHER_CODE:
        raise ValueError(
            f"on_code_change must be 'ignore', 'warn' or 'recompute', not {policy!r}\n"
            "  fix: leave it out, or use one of the three"
        )
    codec = given.get("codec", "auto")
    if codec not in ("auto", "safe"):
        raise ValueError(
            f"codec must be 'auto' or 'safe', not {codec!r}\n"
            "  fix: leave it out, or use one of the two"
        )
    _signing_keys(given)


def keyed(given: dict[str, Any], called: str, names: list[str]) -> list[str]:
    """Give the parameters that are part of the key.

    Parameters
    ----------
    given : dict
        The options of the decorator.
    called : str
        The function's name, for messages.
    names : list of str
        Its parameters, with their stars.

    Returns
    -------
    list of str
        Those that ``ignore`` does not name.

    Raises
    ------
    ValueError
        If ``ignore`` names what the function cannot be given.

    """
    ignored = _ignored(given)
    plain = [name.lstrip("*") for name in names]
    takes_any = any(name.startswith("**") for name in names)
    for name in ignored:
        if name not in plain and not takes_any:
            raise ValueError(
                f"ignore names {name!r}, which is no parameter of {called}()\n"
                f"  fix: its parameters are {', '.join(plain) or 'none'}"
            )
    return [name for name in names if name.lstrip("*") not in ignored]


def configure(
    cached: _core.CachedFunction[Any, Any],
    target: Callable[..., Any],
    given: dict[str, Any],
    holds: bool,
) -> None:
    """Tell a cached function of these options.

    Parameters
    ----------
    cached : CachedFunction
        The function, not called yet.
    target : callable
        What is behind it.
    given : dict
        The options of the decorator.
    holds : bool
        Whether this process may answer from what it has read.

    """
    policy = _OTHER_CODE.index(given.get("on_code_change", "ignore"))
    code = 0
    if policy:
        from ._code import digest

        code = digest(target)
    copies = bool(given.get("copy"))
    cached._configure(
        _ignored(given),
        _exceptions(given),
        copies,
        holds and not copies,
        code,
        policy,
        _signing_keys(given),
        given.get("codec") != "safe",
    )


def _signing_keys(given: dict[str, Any]) -> tuple[bytes, ...]:
    """Give the keys as bytes. Messages do not show them."""
    keys = given.get("signing_key", config.value_of("signing_key"))
    if keys is None:
        return ()
    if isinstance(keys, (bytes, str)):
        keys = (keys,)
    if not isinstance(keys, Sequence) or not all(
        isinstance(key, (bytes, str)) for key in keys
    ):
        raise TypeError(
            "signing_key must be bytes, a str or a sequence of them, not "
            f"{type(keys).__name__}\n"
            "  fix: give what secrets.token_bytes(32) made once, to all your programs"
        )
    try:
        secrets = tuple(k.encode() if isinstance(k, str) else k for k in keys)
    except UnicodeEncodeError:
        raise ValueError(
            "each signing_key must be bytes, or a text that UTF-8 can hold\n"
            "  fix: give what secrets.token_bytes(32) made once, to all your programs"
        ) from None
    if not secrets or min(map(len, secrets)) < _SHORTEST_KEY:
        raise ValueError(
            f"each signing_key must have {_SHORTEST_KEY} bytes or more\n"
            "  fix: give what secrets.token_bytes(32) made once, to all your programs"
        )
    return secrets


def _ignored(given: dict[str, Any]) -> tuple[str, ...]:
    ignored = given.get("ignore", ())
    # An iterator would name nothing any more when it is read again.
    if (
        isinstance(ignored, str)
        or not isinstance(ignored, Collection)
        or not all(isinstance(name, str) for name in ignored)
    ):
        raise TypeError(
            f"ignore must be the names of parameters, not {ignored!r}\n"
            "  fix: write for instance ignore=('verbose',)"
        )
    return tuple(name.lstrip("*") for name in ignored)


def _exceptions(given: dict[str, Any]) -> tuple[type[Exception], ...]:
    types = given.get("cache_exceptions", ())
    if isinstance(types, bool):
        return (Exception,) if types else ()
    if isinstance(types, type):
        types = (types,)
    if not isinstance(types, (tuple, list)) or not all(
        isinstance(one, type) and issubclass(one, Exception) for one in types
    ):
        raise TypeError(
            f"cache_exceptions must be types of exceptions, not {types!r}\n"
            "  fix: give for instance (LookupError, ValueError), or True for all; what "
            "is no Exception, as KeyboardInterrupt, is never stored"
        )
    return tuple(types)
