"""What goes wrong beside a call: one warning, or a line in the ``cachier`` log.

None of it ever reaches the caller of a cached function as an exception.
"""

from __future__ import annotations

import logging
import warnings

from ._errors import CachierWarning

_log = logging.getLogger("cachier")
_log.addHandler(logging.NullHandler())

#: Stores that have been warned of.
_warned: set[str] = set()


def store_failure(location: str, message: str) -> None:
    """Warn once that a store fails; calls compute meanwhile."""
    if location in _warned:
        _log.debug("%s", message)
        return
    _warned.add(location)
    try:
        warnings.warn(
            f"{message}\n  meanwhile: functions run uncached; this is said once",
            CachierWarning,
            stacklevel=2,
        )
    except CachierWarning:
        _log.warning("%s", message)


def network_file_system(location: str) -> None:
    """Warn once that a cache directory is where no database can be."""
    if "file system of " + location in _warned:
        return
    _warned.add("file system of " + location)
    message = (
        f"the cache in {location!r} is on a network file system, which does not keep a "
        "database that processes share: it is kept as one file an entry\n"
        "  fix: set separate_files=True to choose this, or cache_dir to a directory of "
        "this machine"
    )
    try:
        warnings.warn(message, CachierWarning, stacklevel=2)
    except CachierWarning:
        _log.warning("%s", message)


def unreadable(function: str, error: BaseException) -> None:
    """Log that a stored value cannot be decoded; the call computes."""
    _log.info(
        "a stored result of %s cannot be read: computing it anew",
        function,
        exc_info=error,
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
