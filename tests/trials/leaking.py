"""What the trial of leaks does in its process, and what is allocated after it."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import sys
from collections.abc import Callable
from typing import Any

from cachier import cachier

BACKEND = os.environ.get("TRIAL_BACKEND", "pickle")
#: So many entries there are at a time.
KEYS = 100


@cachier(name="trial.leaks", backend=BACKEND)
def plain(key: int) -> list[str]:
    """Give an object that is made of others."""
    return [f"{key} {n}" for n in range(8)]


@cachier(name="trial.leaks_throwing", backend=BACKEND)
def throwing(key: int) -> str:
    """Fail, with a traceback."""
    raise LookupError(f"no {key}")


@cachier(name="trial.leaks_async", backend=BACKEND)
async def plain_async(key: int) -> list[str]:
    """Give an object that is made of others."""
    return [f"{key} {n}" for n in range(8)]


@cachier(name="trial.leaks_throwing_async", backend=BACKEND)
async def throwing_async(key: int) -> str:
    """Fail, with a traceback."""
    raise LookupError(f"no {key}")


def hit(key: int) -> None:
    """Call what is stored."""
    plain(key)


def miss(key: int) -> None:
    """Call what is not stored."""
    plain.invalidate(key)
    plain(key)


def throw(key: int) -> None:
    """Call what fails."""
    try:
        throwing(key)
    except LookupError:
        return


def clear(key: int) -> None:
    """Store something, and clear."""
    plain(key)
    plain.clear_cache()


async def hit_async(key: int) -> None:
    """Call what is stored."""
    await plain_async(key)


async def miss_async(key: int) -> None:
    """Call what is not stored."""
    plain_async.invalidate(key)
    await plain_async(key)


async def throw_async(key: int) -> None:
    """Call what fails."""
    try:
        await throwing_async(key)
    except LookupError:
        return


async def clear_async(key: int) -> None:
    """Store something, and clear."""
    await plain_async(key)
    await plain_async.aclear_cache()


SYNC = {"hit": hit, "miss": miss, "throw": throw, "clear": clear}
ASYNC = {
    "hit": hit_async,
    "miss": miss_async,
    "throw": throw_async,
    "clear": clear_async,
}


class _Mallinfo2(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    ]


def allocated() -> tuple[int, int]:
    """Count the blocks of Python's allocator, and the bytes of malloc's."""
    gc.collect()
    libc = ctypes.CDLL(None)
    libc.mallinfo2.restype = _Mallinfo2
    info = libc.mallinfo2()
    return sys.getallocatedblocks(), info.uordblks + info.hblkhd


def leak(tell: Callable[..., None], kind: str, how: str, calls: int) -> None:
    """Call to warm up, then in two halves; tell what the second one has added."""

    async def in_loop(count: int, one: Callable[[int], Any]) -> None:
        for n in range(count):
            await one(n % KEYS)

    def go(count: int) -> None:
        # In parts: who listens is not patient.
        while count > 0:
            some = min(count, 20_000)
            if how == "async":
                loop.run_until_complete(in_loop(some, ASYNC[kind]))
            else:
                one = SYNC[kind]
                for n in range(some):
                    one(n % KEYS)
            count -= some
            tell(left=count)

    loop = asyncio.new_event_loop()
    go(max(calls // 4, 2 * KEYS))
    go(calls // 2)
    before = allocated()
    go(calls // 2)
    after = allocated()
    loop.close()
    tell(objects=after[0] - before[0], bytes=after[1] - before[1])
