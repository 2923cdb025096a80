"""One process of the trial of event loops: how long callbacks keep their loop.

Started by `loops.py` with what to do and how often. It tells of the longest callbacks.
"""

from __future__ import annotations

import asyncio
import datetime
import gc
import os
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from worker import tell

from cachier import cachier

BACKEND = os.environ.get("TRIAL_BACKEND", "pickle")
BIG = os.urandom(4 * 2**20)
#: Tasks that are made in one callback: what they cost is the program's.
MADE_AT_ONCE = 20

runs = 0


@cachier(name="trial.loop", backend=BACKEND)
async def slow(key: int) -> dict[str, int]:
    """Give a small dict after a while."""
    global runs
    runs += 1
    await asyncio.sleep(0.05)
    return {"key": key}


@cachier(
    name="trial.loop.stale",
    backend=BACKEND,
    stale_after=datetime.timedelta(0),
    next_time=True,
)
async def stale(key: int) -> dict[str, int]:
    """Give what is stale at once."""
    await asyncio.sleep(0.01)
    return {"key": key}


@cachier(name="trial.loop.big", backend=BACKEND)
async def big(key: int) -> bytes:
    """Give four megabytes, which are there already."""
    return BIG


class Watched:
    """Times every callback of the loop while it is entered.

    What Python's garbage collector takes of it is told apart: that is the price of
    thousands of tasks, whoever makes them.
    """

    def __init__(self) -> None:
        #: Seconds of the longest one; of the longest in which the thread waited for
        #: something; of the one in which the processor worked longest.
        self.longest, self.waited, self.worked = 0.0, 0.0, 0.0
        self.collected, self.what, self.count = 0.0, "", 0
        self._run: Any = None
        self._begun = 0.0
        self._collecting = 0.0

    def __enter__(self) -> Watched:
        self._run = run = asyncio.Handle._run  # type: ignore[attr-defined]

        def timed(handle: Any) -> None:
            self._collecting = 0.0
            waits = _waits()
            worked, began = time.thread_time(), time.perf_counter()
            run(handle)
            took = time.perf_counter() - began - self._collecting
            worked = time.thread_time() - worked - self._collecting
            self.count += 1
            self.longest = max(self.longest, took)
            if _waits() != waits:
                self.waited = max(self.waited, took)
            if worked > self.worked:
                self.worked = worked
                self.what = repr(handle)

        gc.callbacks.append(self._collects)
        asyncio.Handle._run = timed  # type: ignore[attr-defined]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.Handle._run = self._run  # type: ignore[attr-defined]
        gc.callbacks.remove(self._collects)

    def _collects(self, phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            self._begun = time.thread_time()
            return
        took = time.thread_time() - self._begun
        self._collecting += took
        self.collected = max(self.collected, took)


def _waits() -> int:
    """Return how often this thread has waited for something."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw


async def together(calls: Iterable[Callable[[], Awaitable[Any]]]) -> list[Any]:
    """Await calls in a task each."""

    async def one(call: Callable[[], Awaitable[Any]]) -> Any:
        return await call()

    tasks = []
    for number, call in enumerate(calls):
        tasks.append(asyncio.create_task(one(call)))
        if number % MADE_AT_ONCE == 0:
            await asyncio.sleep(0)
    return [await task for task in tasks]


def of_keys(
    function: Callable[[int], Awaitable[Any]], keys: Iterable[int]
) -> list[Callable[[], Awaitable[Any]]]:
    """Return the calls of a function."""
    return [lambda key=key: function(key) for key in keys]  # type: ignore[misc]


async def one_cold_key(count: int) -> None:
    """Ask for one key in many tasks."""
    assert len(await together(of_keys(slow, [0] * count))) == count
    assert runs == 1


async def cold_keys(count: int) -> None:
    """Ask for many keys, each in a task."""
    got = await together(of_keys(slow, range(count)))
    assert got == [{"key": key} for key in range(count)]
    assert runs == count


async def hits(count: int) -> None:
    """Ask for what is there already."""
    await cold_keys(count)
    await cold_keys_again(count)


async def cold_keys_again(count: int) -> None:
    """Ask for the same once more."""
    await together(of_keys(slow, range(count)))
    assert runs == count


async def next_time(count: int) -> None:
    """Ask for what is stale, and have it refreshed behind."""
    for _ in range(3):
        await together(of_keys(stale, range(count)))
    while len(asyncio.all_tasks()) > 1:
        await asyncio.sleep(0.01)


async def clear(count: int) -> None:
    """Clear, again and again, what others ask for."""

    async def cleared(_: int) -> None:
        await slow.aclear_cache()

    calls = of_keys(slow, range(count))
    for place in range(0, count, 25):
        calls[place:place] = of_keys(cleared, [0])
    await together(calls)


async def big_values(count: int) -> None:
    """Store big values, and read them."""
    for _ in range(3):
        got = await together(of_keys(big, range(max(count // 50, 2))))
        assert all(len(value) == len(BIG) for value in got)


async def main(does: Callable[[int], Awaitable[None]], count: int) -> None:
    """Do it, and tell of its callbacks."""
    with Watched() as watched:
        await does(count)
    tell(
        longest=watched.longest,
        waited=watched.waited,
        worked=watched.worked,
        collected=watched.collected,
        what=watched.what,
        callbacks=watched.count,
    )


DOES = (one_cold_key, cold_keys, hits, next_time, clear, big_values)

if __name__ == "__main__":
    tell(ready=True)
    sys.stdin.readline()
    named = {does.__name__: does for does in DOES}
    asyncio.run(main(named[sys.argv[1]], int(sys.argv[2])))
