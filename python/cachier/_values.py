"""Values that C++ stores and Python reads as types of its library."""

from __future__ import annotations

import datetime as _datetime
import pathlib

timedelta = _datetime.timedelta
date = _datetime.date
path = pathlib.Path


def datetime(
    year: int,
    month: int,
    day: int,
    hour: int,
    minute: int,
    second: int,
    microsecond: int,
    offset: int | None = None,
) -> _datetime.datetime:
    """Make a time; `offset` is that of its zone, in microseconds."""
    zone = None
    if offset is not None:
        zone = _datetime.timezone(_datetime.timedelta(microseconds=offset))
    return _datetime.datetime(year, month, day, hour, minute, second, microsecond, zone)
