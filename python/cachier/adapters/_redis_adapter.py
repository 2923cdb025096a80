"""What the native module asks: scripts, or hashes for clients that know no more."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any

from ._base import Blocking
from ._redis_client import is_client
from ._redis_line import RedisLine
from ._redis_listener import listener_of
from .redis import RedisDialect

__all__ = ["RedisAdapter"]

#: What fakes share: claims are no one decorator's.
_hashes: weakref.WeakKeyDictionary[Any, Blocking] = weakref.WeakKeyDictionary()
_hashes_lock = threading.Lock()


class RedisAdapter(Blocking):
    """The adapter of a client, or of a callable that gives one.

    The client is looked at with the first operation.
    """

    def __init__(self, client: Any) -> None:
        give = (lambda: client) if is_client(client) else client
        self._redis = RedisDialect()
        super().__init__(self._redis, RedisLine(give))
        self._give = give
        self._other: Blocking | None = None
        self._is_chosen = False

    def ask(self, verb: str, timeout: float, *arguments: Any) -> Any:
        """Do a verb."""
        if not self._is_chosen:
            self._choose()
        if self._other is not None:
            return self._other.ask(verb, timeout, *arguments)
        return super().ask(verb, timeout, *arguments)

    def listen(
        self, function: str, digest: bytes, wake: Callable[[bytes], object]
    ) -> None:
        """Begin to tell of an entry."""
        listener = listener_of(self._give())
        if listener is not None:
            listener.listen(self._redis.channel(function, digest), digest, wake)

    def forget(self, function: str, digest: bytes) -> None:
        """End what one `listen` has begun."""
        listener = listener_of(self._give())
        if listener is not None:
            listener.forget(self._redis.channel(function, digest))

    def _choose(self) -> None:
        client = self._give()
        if not hasattr(client, "execute_command"):
            from ._redis_hash import HashDialect, HashLine

            with _hashes_lock:
                try:
                    self._other = _hashes.get(client)
                    if self._other is None:
                        self._other = Blocking(HashDialect(), HashLine(self._give))
                        _hashes[client] = self._other
                except TypeError:  # cannot be referred to weakly
                    self._other = Blocking(HashDialect(), HashLine(self._give))
        self._is_chosen = True
