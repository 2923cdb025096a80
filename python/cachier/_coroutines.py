"""Calls of coroutine functions: what a hit needs. The rest is in ``_loops``."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from . import _core

if TYPE_CHECKING:
    import asyncio

    from .adapters._awaiting import Awaiting

_begin = _core.begin
_UndoneError = _core.UndoneError


class _Done:
    """What is done already, and may be awaited."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, None, None]:
        return iter(())  # type: ignore[return-value]

    def __repr__(self) -> str:
        return "<done>"

    def __bool__(self) -> bool:
        return False


#: What clear_cache() of a coroutine function gives.
DONE = _Done()


async def _answer(given: tuple[Any, ...], names: tuple[str, ...] | None) -> Any:
    """Answer a call: of the cached function ``given[0]``, with the other arguments.

    The last of them are those by keyword, if there are ``names`` of such.
    """
    try:
        return _begin(given, names)
    except _UndoneError as undone:
        (steps,) = undone.args
    from ._loops import drive

    return await drive(steps, given, names)


def make_coroutine_function(
    cached: _core.CachedFunction[..., Any], target: Any
) -> None:
    """Let the calls of a cached function give coroutines that bear its name."""
    name: str = getattr(cached, "__name__", "") or getattr(target, "__name__", "call")
    if not hasattr(cached, "__name__"):
        # A partial has none, and `inspect` takes nothing without for a function.
        cached.__name__ = name
    answer = types.FunctionType(_answer.__code__, globals(), name)
    answer.__qualname__ = str(getattr(cached, "__qualname__", name))
    cached._answer_with(answer)
    if "asyncio" in sys.modules:
        # Not in the middle of a call, where a loop would wait for it.
        from . import _loops  # noqa: F401


def begin_clearing(
    cached: _core.CachedFunction[..., Any], adapter: Awaiting, verb: str
) -> asyncio.Task[None] | None:
    """Begin what must not block here: on the loop that its client belongs to.

    None: it may block.
    """
    from ._loops import begin_on_thread

    if adapter.may_ask():
        return None
    adapter.use_running_loop()
    return begin_on_thread(getattr(cached, verb))


async def aclear_cache(cached: _core.CachedFunction[..., Any]) -> None:
    """Clear without blocking the event loop."""
    await _on_thread(cached, cached.clear_cache)


async def aclear_being_calculated(cached: _core.CachedFunction[..., Any]) -> None:
    """Free the claims without blocking the event loop."""
    await _on_thread(cached, cached.clear_being_calculated)


async def _on_thread(
    cached: _core.CachedFunction[..., Any], work: Callable[[], Any]
) -> None:
    from ._loops import in_thread

    adapter = cached._store.adapter
    if adapter is not None:
        adapter.use_running_loop()
    await in_thread(work)
