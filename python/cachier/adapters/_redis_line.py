"""How requests get to a Redis server: through the client that the program brings."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

from ._redis_client import (
    is_answer,
    limited,
    location_of,
    most_like,
    options_like,
    refuse_decoding,
    undecoded,
    words_of,
)

__all__ = ["RedisLine"]


class RedisLine:
    """Carries requests to the server of the client that a callable gives.

    Where the client is a plain ``redis.Redis``, this keeps connections of its own to
    the same server, made with the client's options: so an operation ends in time
    whatever time-outs and retries the client was made with, and answers are bytes
    also with ``decode_responses=True``. Other clients are called.
    """

    def __init__(self, client: Callable[[], Any]) -> None:
        self._client = client
        self._links: weakref.WeakKeyDictionary[Any, _Connections] = (
            weakref.WeakKeyDictionary()
        )

    def __call__(self, request: Any, timeout: float) -> Any:
        """Send a request and wait for its answer."""
        client = self._client()
        talk = words_of(request, hasattr(client, "get_node_from_key"))
        try:
            words = next(talk)
            while True:
                try:
                    answer = self._send(client, words, timeout)
                except Exception as error:
                    words = talk.throw(error)
                else:
                    words = talk.send(answer)
        except StopIteration as end:
            return end.value

    def location(self) -> str:
        """Say where the server is."""
        try:
            return location_of(self._client())
        except Exception:
            return "redis"

    def _send(self, client: Any, words: tuple[Any, ...], timeout: float) -> Any:
        links = self._links_of(client)
        if links is not None:
            return links.exchange(words, timeout)
        try:
            return client.execute_command(*words, **undecoded(client))
        except TypeError as error:
            refuse_decoding(error)
            raise

    def _links_of(self, client: Any) -> _Connections | None:
        pool = getattr(client, "connection_pool", None)
        if pool is None:
            return None
        try:
            links = self._links.get(pool)
        except TypeError:
            return None
        if links is None:
            links = _Connections.like(client, pool)
            if links is not None:
                links = self._links.setdefault(pool, links)
        return links


class _Connections:
    """Connections to one server, kept for the next request."""

    def __init__(
        self, make: Callable[[float], Any], most: int, timeout_error: Any
    ) -> None:
        self._make = make
        self._most = most
        self._timeout_error = timeout_error
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._idle: list[Any] = []
        self._room = threading.BoundedSemaphore(self._most)

    @classmethod
    def like(cls, client: Any, pool: Any) -> _Connections | None:
        """Give connections as those of this client. None: it is not of a known kind."""
        module = sys.modules.get("redis")
        plain = getattr(module, "Redis", None)
        if (
            module is None
            or plain is None
            or not isinstance(client, plain)
            or type(client).execute_command is not plain.execute_command
            or type(pool) not in (module.ConnectionPool, module.BlockingConnectionPool)
        ):
            return None
        from redis.retry import Retry

        options = options_like(pool, Retry)
        kind = pool.connection_class
        most = most_like(pool)

        def make(timeout: float) -> Any:
            return kind(**limited(options, timeout))

        return cls(make, most, module.TimeoutError)

    def exchange(self, words: tuple[Any, ...], timeout: float) -> Any:
        """Send a command and wait for its answer."""
        if self._process != os.getpid():
            # They are the parent's.
            self._begin()
        room = self._room
        if not room.acquire(timeout=timeout):
            raise self._timeout_error(f"no connection was free for {timeout:.3g} s")
        try:
            while True:
                connection, was_idle = self._take(timeout)
                try:
                    return self._exchange_on(connection, words, timeout)
                except Exception as error:
                    # The server has closed it meanwhile, most likely: it was restarted.
                    if not was_idle or type(error).__name__ != "ConnectionError":
                        raise
        finally:
            room.release()

    def _take(self, timeout: float) -> tuple[Any, bool]:
        """Give a connection, and whether it was used before."""
        try:
            return self._idle.pop(), True
        except IndexError:
            return self._make(timeout), False

    def _exchange_on(
        self, connection: Any, words: tuple[Any, ...], timeout: float
    ) -> Any:
        ended = False
        try:
            connection.connect()
            connection.send_command(*words, check_health=False)
            if not connection.can_read(timeout):
                raise self._timeout_error(
                    f"no answer within {timeout:.3g} s (operation_timeout)"
                )
            try:
                answer = connection.read_response(disable_decoding=True)
            except Exception as error:
                ended = is_answer(error)
                raise
            ended = True
            return answer
        finally:
            if ended:
                self._idle.append(connection)
            else:
                connection.disconnect()
