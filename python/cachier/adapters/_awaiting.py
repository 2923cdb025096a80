"""How coroutine functions ask an adapter whose client is awaited."""

from __future__ import annotations

import asyncio
import concurrent.futures
import weakref
from collections.abc import Coroutine
from typing import Any, TypeVar, cast

from ._base import AsyncLine, Dialect
from ._own_loop import own_loop

__all__ = ["Awaiting"]

T = TypeVar("T")

#: How much longer than its deadline a verb may take that is done on another loop.
_GRACE = 1.0


class Awaiting:
    """A dialect on a line that is awaited: see ``_base``.

    Calls of coroutine functions await `talk` on their own loop. For the rest, renewals
    of claims and plain calls like ``clear_cache()``, the native module calls `ask`.
    """

    def __init__(self, dialect: Dialect, line: AsyncLine) -> None:
        self._line = line
        self.dialect = dialect
        self.judge = dialect.judge
        self.location = line.location
        self._used: weakref.ref[asyncio.AbstractEventLoop] | None = None

    @property
    def is_free(self) -> bool:
        """Whether any loop may do its verbs."""
        return self._line.is_free

    def use_running_loop(self) -> None:
        """Take the running loop for the one that the client belongs to."""
        loop = asyncio.get_running_loop()
        if self._used is None or self._used() is not loop:
            self._used = weakref.ref(loop)

    def may_ask(self) -> bool:
        """Whether `ask` may be called here, on this thread."""
        return self.is_free or _running_loop() is None

    async def talk(self, verb: str, timeout: float, *arguments: Any) -> Any:
        """Do a verb of the dialect, in a task of its own."""
        return await within(timeout, self.say(verb, timeout, *arguments))

    async def say(self, verb: str, timeout: float, *arguments: Any) -> Any:
        """Do a verb of the dialect, however long it takes."""
        if not self.is_free:
            self.use_running_loop()
        talk = getattr(self.dialect, verb)(*arguments)
        line = self._line
        answer = None
        try:
            while True:
                answer = await line(talk.send(answer), timeout)
        except StopIteration as end:
            return end.value

    def ask(self, verb: str, timeout: float, *arguments: Any) -> Any:
        """Do a verb of the dialect and wait for it, on a thread."""
        loop = self._loop()
        talk = self.talk(verb, timeout, *arguments)
        asked = asyncio.run_coroutine_threadsafe(talk, loop)
        try:
            return asked.result(timeout + _GRACE)
        except concurrent.futures.TimeoutError as error:
            if asked.cancel():
                raise TimeoutError("its event loop is busy or has ended") from error
            raise

    def _loop(self) -> asyncio.AbstractEventLoop:
        if self.is_free or self._used is None:
            return own_loop()
        loop = self._used()
        if loop is None or not loop.is_running():
            return own_loop()
        if _running_loop() is loop:
            raise RuntimeError(
                "this call would wait on the event loop that its client belongs to; "
                "await aclear_cache() and the like, or call it on another thread"
            )
        return loop


async def within(timeout: float, work: Coroutine[Any, Any, T]) -> T:
    """Await some work for so many seconds, in a task that nobody else cancels."""
    task = cast("asyncio.Task[Any]", asyncio.current_task())
    is_over = False

    def end() -> None:
        nonlocal is_over
        is_over = True
        task.cancel()

    timer = asyncio.get_running_loop().call_later(timeout, end)
    try:
        return await work
    except asyncio.CancelledError:
        if not is_over:
            raise
        if hasattr(task, "uncancel"):  # Python 3.11
            task.uncancel()
        raise TimeoutError(
            f"no answer within {timeout:.3g} s (operation_timeout)"
        ) from None
    finally:
        timer.cancel()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
