"""What goes wrong beside a call: one warning, or a line in the ``cachier`` log.

None of it ever reaches the caller of a cached function as an exception.
"""

from __future__ import annotations

import logging
import warnings

from ._errors import CachierWarning

_log = logging.getLogger("cachier")
_log.addHandler(logging.NullHandler())

#: What has been warned of: the locations of stores that fail, messages of the engine.
_warned: set[str] = set()

#: `LogLevel` of the engine, by its numbers.
_LEVELS = (logging.INFO, logging.WARNING, logging.ERROR)


def store_failure(location: str, message: str) -> None:
    """Warn once that a store fails; calls compute meanwhile."""
    _warn_once(
        location,
        message,
        f"{message}\n  meanwhile: functions run uncached; this is said once",
    )


def engine_message(level: int, message: str) -> None:
    """Pass on what the engine has to say: a warning as one, the rest to the log."""
    if _LEVELS[level] == logging.WARNING:
        _warn_once(message, message, message)
    else:
        _log.log(_LEVELS[level], "%s", message)


def _warn_once(subject: str, message: str, warning: str) -> None:
    """Warn the first time, then log. What filters make of a warning is logged too."""
    if subject in _warned:
        _log.debug("%s", message)
        return
    _warned.add(subject)
    try:
        # Of whoever called what is written in C, and that called us.
        warnings.warn(warning, CachierWarning, stacklevel=3)
    except CachierWarning:
        _log.warning("%s", message)


def unreadable(function: str, error: BaseException) -> None:
    """Warn once a function that a stored value cannot be decoded; the call computes."""
    message = (
        f"cannot read a stored result of {function}\n"
        f"  cause: {type(error).__name__}: {error}"
    )
    _warn_once(
        f"unreadable {function}",
        message,
        f"{message}\n  meanwhile: it is computed anew; this is said once",
    )


def unstorable(function: str, error: BaseException) -> None:
    """Warn once a function that its results cannot be stored."""
    message = (
        f"cannot store a result of {function}\n  cause: {type(error).__name__}: {error}"
    )
    _warn_once(
        f"unstorable {function}",
        message,
        f"{message}\n  meanwhile: it is returned; this is said once\n"
        "  fix: return what pickles, or use backend 'memory'",
    )


def other_code(function: str) -> None:
    """Warn once that results of a function were computed by other code than it has."""
    message = (
        f"a stored result of {function} was computed by other code than the function "
        "has now"
    )
    _warn_once(
        message,
        message,
        f"{message}\n  meanwhile: it is handed out; this is said once\n"
        f"  fix: {function}.clear_cache(), or on_code_change='recompute'",
    )


def failed_refresh(function: str, error: BaseException) -> None:
    """Log that a refresh in the background failed; the old result stays."""
    _log.error(
        "refreshing a result of %s in the background failed: the old one stays",
        function,
        exc_info=error,
    )


def long_wait(function: str, process: int) -> None:
    """Log whom a call has been waiting for."""
    owner = f"process {process}" if process else "another caller"
    _log.warning(
        "waiting for %s, which computes a result of %s (wait_for_calc_timeout limits "
        "such waits)",
        owner,
        function,
    )
