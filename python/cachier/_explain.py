"""What a call would do now, and why, in words."""

from __future__ import annotations

import datetime
from typing import Any

from . import _core

_UNITS = (
    (86_400, "day"),
    (3_600, "hour"),
    (60, "minute"),
    (1, "second"),
)


def explain(function: _core.CachedFunction[Any, Any], known: dict[str, Any]) -> str:
    """Say what a call would do.

    Parameters
    ----------
    function : CachedFunction
        The function.
    known : dict
        What its ``_examine`` knows of the call.

    Returns
    -------
    str
        One line with the answer and its reason, then what there is to know.

    """
    lines = [f"a call of {function.__qualname__}() would {_answer(known)}"]
    if "stored_at" in known:
        what = "exception" if known["exception"] else "result"
        lines.append(
            f"  {what}: stored {_time(known['stored_at'])}, "
            f"{_span(max(0, known['age']))} ago"
        )
    limit = known["limit"]
    if limit is not None:
        lines.append(f"  limit: results are fresh for {_span(limit)}")
    lines.append(f"  key: {known['key']} of {function._function_id}")
    lines.append(f"  store: {function._store.location}")
    return "\n".join(lines)


def _answer(known: dict[str, Any]) -> str:
    if not known["enabled"]:
        return "run the function and store nothing: caching is turned off"
    if known["skip"]:
        return "run the function and store nothing: cachier__skip_cache says so"
    if known["overwrite"]:
        return "run the function and store its result: cachier__overwrite_cache says so"
    if known["held"]:
        return "be answered by what this process remembers (pickle_reload=False)"
    if "failure" in known:
        return f"run the function: the store fails\n  {known['failure']}"
    why = _why_not_stored(known)
    if why:
        return f"run the function, {_if_alone(known)}and store its result: {why}"
    if known["fresh"]:
        ends = "raise the stored exception" if known["exception"] else "be answered"
        code = ""
        if not known["same_code"]:
            code = ", though the function's code has changed since"
        return f"{ends} from the store: there is a fresh entry{code}"
    if known["next_time"]:
        return (
            "be answered from the store by a stale result, and have it computed anew "
            "in the background (next_time)"
        )
    return (
        f"run the function, {_if_alone(known)}and store its result: the stored one is "
        "stale"
    )


def _why_not_stored(known: dict[str, Any]) -> str | None:
    if known.get("damaged"):
        return "what is stored is damaged"
    if known.get("untrusted"):
        return "what is stored was not signed by a key of ours"
    if "stored_at" not in known:
        return "nothing is stored for these arguments"
    if not known["counts"]:
        return "the stored result is None, which does not count (allow_none)"
    if known["usable"]:
        return None
    if known["recomputes"] and not known["same_code"]:
        return "the function's code has changed (on_code_change='recompute')"
    if known["exception"]:
        return "an exception is stored, which does not count (cache_exceptions)"
    return "it is not known what code computed what is stored (on_code_change)"


def _if_alone(known: dict[str, Any]) -> str:
    limit = known["wait_limit"]
    if limit is None:
        return "or wait for whoever is computing it already, "
    return (
        f"or wait up to {_span(limit)} for whoever is computing it already "
        "(wait_for_calc_timeout), "
    )


def _time(nanoseconds: int) -> str:
    begin = datetime.datetime(1970, 1, 1)
    at = begin + datetime.timedelta(microseconds=nanoseconds // 1000)
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _span(nanoseconds: int) -> str:
    seconds = nanoseconds / 1e9
    for size, unit in _UNITS:
        if abs(seconds) >= size:
            count = round(seconds / size, 1)
            return f"{count:g} {unit}{'' if count == 1 else 's'}"
    return f"{seconds:g} seconds"
