"""Calls of coroutine functions on an event loop: a driver of the engine's steps.

What to do next is the engine's to say. The function runs in the task of its caller.
A store whose client is awaited is asked on the caller's own loop. What may block is
done on a few threads of our own, and awaited; so are other people's computations, which
a thread looks out for.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

from . import _core

if TYPE_CHECKING:
    from .adapters._awaiting import Awaiting

# `Steps.next`, by its numbers.
_STORE, _WAIT, _COMPUTE, _DONE = range(4)

_STORE_THREADS = 4
#: More entries than this are not looked out for at the same time: who waits for another
#: looks by itself, every 40 to 50 ms.
_LOOKOUTS = 4
#: How many tasks are woken in one iteration of their loop.
_WOKEN_AT_ONCE = 50


class _Waiter(NamedTuple):
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[None]
    steps: _core.Steps


_lock = threading.Lock()
_store_threads: ThreadPoolExecutor | None = None
_lookouts: ThreadPoolExecutor | None = None
#: Under `_lock`, by the place of what they wait for.
_waiting: dict[bytes, list[_Waiter]] = {}
_looked_out_for: set[bytes] = set()
#: Tasks that go on by themselves: a loop keeps no strong references to its tasks.
_kept: set[asyncio.Task[None]] = set()


async def drive(
    steps: _core.Steps | None, given: tuple[Any, ...], names: tuple[str, ...] | None
) -> Any:
    """Answer a call that is not answered at once. No steps: its store is not open."""
    if steps is None:
        await in_thread(given[0]._open)
        try:
            return _core.open_and_begin(given, names)
        except _core.UndoneError as undone:
            (steps,) = undone.args
    args, kwds = given, {}
    if names:
        args = given[: -len(names)]
        named = zip(names, given[-len(names) :], strict=True)
        kwds = {name: of for name, of in named if not _core.is_call_option(name)}
    await _go(steps, args, kwds)
    refresh = steps.refresh()
    if refresh is not None:
        _keep(asyncio.get_running_loop().create_task(_refresh(refresh, args, kwds)))
    return steps.finish()


async def _refresh(
    steps: _core.Steps, args: tuple[Any, ...], kwds: dict[str, Any]
) -> None:
    """Compute anew what has been handed out stale."""
    try:
        await _go(steps, args, kwds)
        steps.finish()
    except Exception as error:
        from . import _report

        _report.failed_refresh(args[0].__qualname__, error)


async def _go(steps: _core.Steps, args: tuple[Any, ...], kwds: dict[str, Any]) -> None:
    computed = False
    try:
        while (step := steps.next) != _DONE:
            if step == _COMPUTE:
                computed = True
                await _compute(steps, args, kwds)
            elif step == _WAIT:
                await _wait(steps)
            elif steps.recall():
                return
            elif steps.at_once:
                steps.act()
            elif (adapter := steps.adapter) is not None:
                await _ask(steps, adapter)
            else:
                await in_thread(steps.act)
    except BaseException:
        # The caller goes away. What it holds is given back behind it.
        if steps.abandon():
            _behind(steps, steps.give_back)
        raise
    finally:
        if computed and _waiting:
            _tell_who_is_not_looked_out_for(steps.place)


async def _compute(
    steps: _core.Steps, args: tuple[Any, ...], kwds: dict[str, Any]
) -> None:
    steps.enter()
    try:
        result = await steps.function(*args[1:], **kwds)
    except BaseException as error:
        steps.threw(error)
        if isinstance(error, Exception):
            return
        # A task that is cancelled does not wait, and one that is closed cannot.
        if steps.next == _STORE:
            _behind(steps, steps.act)
        raise
    steps.returned(result)


async def _ask(steps: _core.Steps, adapter: Awaiting) -> None:
    """Have the adapter asked, and told of, what the store has to say.

    By a task of its own: what has been begun is finished, whether the caller is there
    still or not.
    """
    task = asyncio.get_running_loop().create_task(_talk(steps, adapter))
    _keep(task)
    await asyncio.shield(task)


async def _talk(steps: _core.Steps, adapter: Awaiting) -> None:
    try:
        request = steps.begin()
        while request is not None:
            try:
                answer = await adapter.talk(*request)
            except Exception as error:
                request = steps.failed(error)
            else:
                request = steps.answered(answer)
    except BaseException:
        # The loop is at its end. What the server has made of it is set right behind it.
        if not _submit(steps.cut_off):
            steps.cut_off()
        raise


def _keep(task: asyncio.Task[None]) -> None:
    _kept.add(task)
    task.add_done_callback(_kept.discard)


def _behind(steps: _core.Steps, work: Callable[[], Any]) -> None:
    adapter = steps.adapter
    if adapter is not None and not adapter.is_free:
        try:
            _keep(asyncio.get_running_loop().create_task(_talk(steps, adapter)))
            return
        except RuntimeError:
            pass
    if steps.at_once or not _submit(work):
        work()


# On threads
# ----------------------------------------------------------------------------


async def in_thread(work: Callable[[], Any]) -> None:
    """Have a thread do what may block, and await it."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def do() -> None:
        error: BaseException | None = None
        try:
            work()
        except BaseException as raised:
            error = raised
        try:
            loop.call_soon_threadsafe(_settle, future, error)
        except RuntimeError:  # the loop has been closed
            return

    if _submit(do):
        await future
    else:
        work()


def begin_on_thread(work: Callable[[], Any]) -> asyncio.Task[None]:
    """Have a thread do what may block. Gives what may be awaited."""
    task = asyncio.get_running_loop().create_task(in_thread(work))
    _keep(task)
    return task


def _settle(future: asyncio.Future[None], error: BaseException | None = None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)


def _submit(work: Callable[[], Any]) -> bool:
    """Have a thread do something. False: the interpreter is on its way out."""
    global _store_threads
    with _lock:
        if _store_threads is None:
            _store_threads = ThreadPoolExecutor(
                _STORE_THREADS, thread_name_prefix="cachier-store"
            )
        threads = _store_threads
    try:
        threads.submit(work)
    except RuntimeError:
        return False
    return True


# Waiting for others
# ----------------------------------------------------------------------------


async def _wait(steps: _core.Steps) -> None:
    seconds = steps.before_wait()
    if seconds is None:
        return
    loop = asyncio.get_running_loop()
    waiter = _Waiter(loop, loop.create_future(), steps)
    timer = None
    if not _is_looked_out_for(waiter) or steps.limited:
        timer = loop.call_later(seconds, _settle, waiter.future)
    try:
        await waiter.future
    finally:
        if timer is not None:
            timer.cancel()
            _forget(waiter)
    steps.after_wait()


def _is_looked_out_for(waiter: _Waiter) -> bool:
    """Let this waiter be woken, by a thread. False: there are too many to look out for.

    Then it is woken by computations of this process only.
    """
    global _lookouts
    place = waiter.steps.place
    with _lock:
        _waiting.setdefault(place, []).append(waiter)
        if place in _looked_out_for:
            return True
        if len(_looked_out_for) >= _LOOKOUTS:
            return False
        if _lookouts is None:
            _lookouts = ThreadPoolExecutor(
                _LOOKOUTS, thread_name_prefix="cachier-lookout"
            )
        try:
            _lookouts.submit(_look_out, place)
        except RuntimeError:
            return False
        _looked_out_for.add(place)
        return True


def _forget(waiter: _Waiter) -> None:
    place = waiter.steps.place
    with _lock:
        waiters = _waiting.get(place)
        if waiters is None:
            return
        waiters[:] = [other for other in waiters if other.future is not waiter.future]
        if not waiters and place not in _looked_out_for:
            del _waiting[place]


def _tell_who_is_not_looked_out_for(place: bytes) -> None:
    """Wake those who wait for a computation of this process that has ended."""
    with _lock:
        if place in _looked_out_for:
            return
        waiters = _waiting.pop(place, [])
    _wake(waiters)


def _look_out(place: bytes) -> None:
    """Wake all who wait for an entry when it may have changed, else now and then one.

    Each began to watch before it looked. So whatever any of them has missed is told by
    its own watch, which the first in the row lends.
    """
    while True:
        with _lock:
            waiters = [
                waiter
                for waiter in _waiting.get(place, [])
                if not waiter.future.done() and waiter.loop.is_running()
            ]
            if not waiters:
                _waiting.pop(place, None)
                _looked_out_for.discard(place)
                return
            _waiting[place] = waiters
            first = waiters[0]
        changed = first.steps.wait(0.045)
        if changed is None:
            time.sleep(0.001)
        with _lock:
            waiters = _waiting[place]
            woken = waiters if changed else waiters[:1]
            _waiting[place] = waiters[len(woken) :]
        _wake(woken)
        del first, waiters, woken


def _wake(waiters: list[_Waiter]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for waiter in waiters:
        by_loop.setdefault(waiter.loop, []).append(waiter.future)
    for loop, futures in by_loop.items():
        try:
            loop.call_soon_threadsafe(_settle_some, loop, futures)
        except RuntimeError:  # the loop has been closed, with all that waited in it
            continue


def _settle_some(
    loop: asyncio.AbstractEventLoop, futures: list[asyncio.Future[None]]
) -> None:
    """Wake some; others of the loop have their turn before the rest."""
    for future in futures[:_WOKEN_AT_ONCE]:
        _settle(future)
    rest = futures[_WOKEN_AT_ONCE:]
    if rest:
        loop.call_soon(_settle_some, loop, rest)


def _forget_threads() -> None:
    """In the child of a fork: its parent's threads and loops are not there."""
    global _lock, _store_threads, _lookouts
    _lock = threading.Lock()
    _store_threads = _lookouts = None
    _waiting.clear()
    _looked_out_for.clear()
    _kept.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
