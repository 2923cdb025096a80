"""Values that C++ stores and Python reads as types of its library."""

from __future__ import annotations

import datetime as _datetime
import pathlib

timedelta = _datetime.timedelta
date = _datetime.date
path = pathlib.Path


def datetime(*parts: int) -> _datetime.datetime:
    """Make a time of seven numbers and, as eighth, the microseconds of its zone."""
    if len(parts) < 8:
        return _datetime.datetime(*parts)
    offset = _datetime.timedelta(microseconds=parts[7])
    zone = _datetime.timezone(offset)
    return _datetime.datetime(*parts[:7], tzinfo=zone)  # type: ignore[misc]
