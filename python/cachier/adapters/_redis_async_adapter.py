"""What coroutine functions ask: scripts, or hashes for clients that know no more."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable
from typing import Any

from ._awaiting import Awaiting
from ._redis_async_line import AsyncRedisLine, resolve
from ._redis_listener import listener_of
from .redis import RedisDialect

__all__ = ["AsyncRedisAdapter"]

#: What fakes share: claims are no one decorator's.
_hashes: weakref.WeakKeyDictionary[Any, _Hashes] = weakref.WeakKeyDictionary()
_hashes_lock = threading.Lock()


class AsyncRedisAdapter(Awaiting):
    """The adapter of an async client, or of a callable that gives one.

    The client is looked at with the first operation.
    """

    def __init__(self, client: Any) -> None:
        self._redis = RedisDialect()
        self._redis_line = AsyncRedisLine(client)
        super().__init__(self._redis, self._redis_line)
        self._client = client
        self._other: _Hashes | None = None
        self._is_chosen = False

    @property
    def is_free(self) -> bool:
        """Whether any loop may do its verbs."""
        return super().is_free if self._other is None else self._other.is_free

    async def say(self, verb: str, timeout: float, *arguments: Any) -> Any:
        """Do a verb."""
        if not self._is_chosen:
            await self._choose()
        if self._other is not None:
            self.use_running_loop()
            return await self._other.say(verb, timeout, *arguments)
        return await super().say(verb, timeout, *arguments)

    def listen(
        self, function: str, digest: bytes, wake: Callable[[bytes], object]
    ) -> None:
        """Begin to tell of an entry."""
        listener = listener_of(self._redis_line.seen)
        if listener is not None:
            listener.listen(self._redis.channel(function, digest), digest, wake)

    def forget(self, function: str, digest: bytes) -> None:
        """End what one `listen` has begun."""
        listener = listener_of(self._redis_line.seen)
        if listener is not None:
            listener.forget(self._redis.channel(function, digest))

    async def _choose(self) -> None:
        client = await resolve(self._client)
        if not hasattr(client, "execute_command"):
            with _hashes_lock:
                try:
                    self._other = _hashes.get(client)
                    if self._other is None:
                        self._other = _hashes[client] = _Hashes(self._client)
                except TypeError:  # cannot be referred to weakly
                    self._other = _Hashes(self._client)
        self._is_chosen = True


class _Hashes(Awaiting):
    """Verbs of a fake, one at a time: what they do is no one step of a server."""

    def __init__(self, client: Any) -> None:
        from ._redis_hash import AsyncHashLine, HashDialect

        super().__init__(HashDialect(), AsyncHashLine(lambda: resolve(client)))
        self._turns: weakref.WeakKeyDictionary[
            asyncio.AbstractEventLoop, asyncio.Lock
        ] = weakref.WeakKeyDictionary()

    async def say(self, verb: str, timeout: float, *arguments: Any) -> Any:
        """Do a verb when it is its turn."""
        loop = asyncio.get_running_loop()
        async with self._turns.setdefault(loop, asyncio.Lock()):
            return await super().say(verb, timeout, *arguments)
