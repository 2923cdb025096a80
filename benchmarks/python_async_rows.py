"""The rows of coroutine functions, beside floors and rivals.

python_async_rows.py RESULTS.jsonl [FILTER]
"""

from __future__ import annotations

import asyncio
import pathlib
import sys
import tempfile
from collections.abc import Awaitable, Callable
from typing import Any

import aiocache
import cashews
from report import Report, Work

from cachier import cachier

#: Awaited by one task, so that the loop's own work does not count.
CALLS = 2000

Coroutine = Callable[..., Awaitable[Any]]


def plain(x: int) -> dict[str, int]:
    """Give a small dict: the function of most rows."""
    return {"x": x, "twice": 2 * x}


async def coroutine(x: int) -> dict[str, int]:
    """Give it as a coroutine function does."""
    return {"x": x, "twice": 2 * x}


def same(x: int) -> int:
    """Give what costs nothing to give."""
    return x


async def coroutine_same(x: int) -> int:
    """Give it as a coroutine function does."""
    return x


def rows(
    report: Report, scratch: pathlib.Path, runner: asyncio.AbstractEventLoop
) -> None:
    """Hits in memory and on disk."""

    def awaited(function: Coroutine) -> Work:
        async def all_of_them() -> None:
            f = function
            for _ in range(CALLS):
                await f(1)

        return lambda: runner.run_until_complete(all_of_them())

    def by_name(function: Coroutine) -> Work:
        async def all_of_them() -> None:
            f = function
            for _ in range(CALLS):
                await f(x=1)

        return lambda: runner.run_until_complete(all_of_them())

    def called(function: Callable[..., Any]) -> Work:
        def all_of_them() -> None:
            f = function
            for _ in range(CALLS):
                f(1)

        return all_of_them

    def both(one: Work, other: Work) -> Work:
        def work() -> None:
            one()
            other()

        return work

    memory = {"backend": "memory"}
    local = {"cache_dir": scratch}
    ours: dict[str, Coroutine] = {}
    for name, options, of, plainly in (
        ("python_async_memory_hit", memory, coroutine, plain),
        ("python_async_memory_hit_immutable", memory, coroutine_same, same),
        ("python_async_local_again", local, coroutine, plain),
        ("python_async_local_again_immutable", local, coroutine_same, same),
    ):
        hit = cachier(name=f"{name}.plain", **options)(plainly)  # type: ignore[arg-type, call-overload]
        ours[name] = cachier(name=name, **options)(of)  # type: ignore[arg-type, call-overload]
        awaited(ours[name])()
        report.compare(
            name,
            awaited(ours[name]),
            "the coroutine and the plain hit",
            both(awaited(of), called(hit)),
            1.5,
            10,
            CALLS,
        )
    report.compare(
        "python_async_memory_keyword",
        by_name(ours["python_async_memory_hit"]),
        "ours, by position",
        awaited(ours["python_async_memory_hit"]),
        1.5,
        10,
        CALLS,
    )
    cashew = cashews.Cache()
    cashew.setup("mem://")
    rivals: tuple[tuple[str, Coroutine], ...] = (
        ("cashews", cashew(ttl="1d", key="f:{x}")(coroutine)),
        ("aiocache", aiocache.cached()(coroutine)),
    )
    for rival, function in rivals:
        report.compare(
            f"python_async_memory_hit_{rival}",
            awaited(ours["python_async_memory_hit"]),
            rival,
            awaited(function),
            1,
            1,
            CALLS,
        )
    runner.run_until_complete(cashew.close())


def main() -> None:
    """Measure all rows, or those asked for."""
    report = Report(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "")
    loop = asyncio.new_event_loop()
    with tempfile.TemporaryDirectory(prefix="cachier-bench-") as folder:
        rows(report, pathlib.Path(folder), loop)
    loop.close()


if __name__ == "__main__":
    main()
