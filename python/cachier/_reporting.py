"""What the cached functions of this process have done: ``cachier.report()``."""

from __future__ import annotations

import dataclasses
import gc
import html
from collections.abc import Iterable, Sequence
from datetime import timedelta

from . import _core

__all__ = ["FunctionReport", "Report", "StoreReport", "report"]


@dataclasses.dataclass(frozen=True)
class FunctionReport:
    """What one cached function has done in this process.

    Attributes
    ----------
    name : str
        Module and qualified name.
    location : str
        Where its entries are.
    entries, bytes : int or None
        What the store has of it, whoever stored it. None: the store cannot be asked.
    hits, misses, waits : int
        Calls answered from the store, calls that were not, and calls that were given
        what somebody else was computing.
    stale : int
        Misses that found an entry which was too old.
    run_time : datetime.timedelta
        What the runs of the function took.
    time_saved : datetime.timedelta
        Hits and waits times the mean length of a run; zero while none has been seen.

    """

    name: str
    location: str
    entries: int | None
    bytes: int | None
    hits: int
    misses: int
    waits: int
    stale: int
    run_time: timedelta
    time_saved: timedelta

    @property
    def hit_rate(self) -> float:
        """The part of the calls that did not run the function, 0 to 100."""
        answered = self.hits + self.waits
        calls = answered + self.misses
        return 100.0 * answered / calls if calls else 0.0


@dataclasses.dataclass(frozen=True)
class StoreReport:
    """What one store has done for this process, for all functions together.

    Attributes
    ----------
    location : str
        Where it is.
    near_hits, store_hits : int
        Entries found in this process's memory, and read from the store. Waiting for
        somebody's result and asking about calls count too.
    absent, stale, empty, unreadable, damaged, untrusted, collisions : int
        Looks that found no fresh entry, by cause: nothing is stored, it is too old, it
        is a ``None`` without ``allow_none``, it is of a form that cannot be read here,
        its checksum does not hold, no key of ours has signed it, it belongs to another
        call.
    failures : int
        What the store could not do.
    evictions : int
        Entries that this process removed to keep within bounds.
    set_aside : int
        Damaged databases that this process replaced.

    """

    location: str
    near_hits: int = 0
    store_hits: int = 0
    absent: int = 0
    stale: int = 0
    empty: int = 0
    unreadable: int = 0
    damaged: int = 0
    untrusted: int = 0
    collisions: int = 0
    failures: int = 0
    evictions: int = 0
    set_aside: int = 0

    @property
    def misses(self) -> int:
        """All looks that found no fresh entry."""
        return (
            self.absent
            + self.stale
            + self.empty
            + self.unreadable
            + self.damaged
            + self.untrusted
            + self.collisions
        )


@dataclasses.dataclass(frozen=True)
class Report:
    """A table of text when printed, one of HTML in a notebook.

    Attributes
    ----------
    functions : tuple of FunctionReport
        By time saved, then by name.
    stores : tuple of StoreReport
        Those that have been opened, by location.

    """

    functions: tuple[FunctionReport, ...]
    stores: tuple[StoreReport, ...]

    def __str__(self) -> str:
        """Give the tables as text."""
        if not self.functions:
            return "No function of this process is cached."
        tables = [_as_text(*_of_functions(self.functions))]
        if self.stores:
            tables.append(_as_text(*_of_stores(self.stores)))
        return "\n\n".join(tables)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        if not self.functions:
            return f"<p>{html.escape(str(self))}</p>"
        tables = [_as_html(*_of_functions(self.functions))]
        if self.stores:
            tables.append(_as_html(*_of_stores(self.stores)))
        return "\n".join(tables)


def report() -> Report:
    """Say what the cached functions of this process have done so far.

    Returns
    -------
    Report
        Functions and stores; print it, or look at its parts.

    Notes
    -----
    Calls are counted in this process alone, entries and bytes are those of the store.
    Counting them reads as many headers as there are entries.

    """
    cached = [one for one in gc.get_objects() if type(one) is _core.CachedFunction]
    stores: dict[object, StoreReport] = {}
    for function in cached:
        store = function._store
        metrics = store.metrics
        if any(metrics.values()):
            # Handles of one directory lead to one store; memory is each one's own.
            key = store if store.location == "memory" else store.location
            stores[key] = StoreReport(store.location, **metrics)
    functions = sorted(
        map(_of, cached), key=lambda one: (-one.time_saved, one.name, one.location)
    )
    return Report(
        tuple(functions),
        tuple(sorted(stores.values(), key=lambda one: one.location)),
    )


def _of(function: _core.CachedFunction[..., object]) -> FunctionReport:
    counted = function._counters
    entries: int | None
    size: int | None
    try:
        entries, size = function._measure()
    except Exception:  # the store cannot be asked, in whatever words its client has
        entries = size = None
    runs = counted["recalculations"]
    mean = counted["run_time"] / runs if runs else 0.0
    return FunctionReport(
        name=f"{function.__module__}.{function.__qualname__}",
        location=function._store.location,
        entries=entries,
        bytes=size,
        hits=counted["hits"],
        misses=counted["misses"],
        waits=counted["waits"],
        stale=counted["stale_hits"],
        run_time=timedelta(microseconds=counted["run_time"] / 1000),
        time_saved=timedelta(
            microseconds=(counted["hits"] + counted["waits"]) * mean / 1000
        ),
    )


_Rows = list[tuple[str, ...]]


def _of_functions(all_of: Iterable[FunctionReport]) -> tuple[_Rows, str]:
    rows: _Rows = [
        (
            "function",
            "entries",
            "size",
            "hits",
            "misses",
            "waits",
            "hit rate",
            "time run",
            "time saved",
            "where",
        )
    ]
    for one in all_of:
        rows.append(
            (
                one.name,
                "?" if one.entries is None else str(one.entries),
                "?" if one.bytes is None else _size(one.bytes),
                str(one.hits),
                str(one.misses),
                str(one.waits),
                f"{one.hit_rate:.0f} %",
                _time(one.run_time),
                _time(one.time_saved),
                one.location,
            )
        )
    return rows, "<>>>>>>>><"


def _of_stores(all_of: Iterable[StoreReport]) -> tuple[_Rows, str]:
    """Give a row for each store; columns that are zero everywhere are left out."""
    names = [field.name for field in dataclasses.fields(StoreReport)][1:]
    always = {"near_hits", "store_hits", "absent", "stale"}
    stores = list(all_of)
    shown = [
        name
        for name in names
        if name in always or any(getattr(one, name) for one in stores)
    ]
    rows = [("store", *(name.replace("_", " ") for name in shown))]
    for one in stores:
        rows.append((one.location, *(str(getattr(one, name)) for name in shown)))
    return rows, "<" + ">" * len(shown)


def _as_text(rows: Sequence[tuple[str, ...]], align: str) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            f"{cell:{side}{width}}"
            for cell, side, width in zip(row, align, widths, strict=True)
        ).rstrip()
        for row in rows
    )


def _as_html(rows: Sequence[tuple[str, ...]], align: str) -> str:
    lines = ["<table>"]
    for number, row in enumerate(rows):
        tag = "td" if number else "th"
        cells = "".join(
            f'<{tag} style="text-align: {"left" if side == "<" else "right"}">'
            f"{html.escape(cell)}</{tag}>"
            for cell, side in zip(row, align, strict=True)
        )
        lines.append(f"<tr>{cells}</tr>")
    lines.append("</table>")
    return "\n".join(lines)


def _size(size: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1024:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TB"


def _time(length: timedelta) -> str:
    seconds = length.total_seconds()
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
