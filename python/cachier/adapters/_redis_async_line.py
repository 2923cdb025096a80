"""How requests get to a Redis server through an async client."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncGenerator, Callable
from typing import Any

from ._redis_client import (
    is_answer,
    is_client,
    limited,
    location_of,
    most_like,
    name_of,
    options_like,
    refuse_decoding,
    undecoded,
    words_of,
)

__all__ = ["AsyncRedisLine", "resolve"]

#: Of each loop that has asked, by what they lead to. They last as long as the loop: all
#: that is cached there shares them.
_links: dict[asyncio.AbstractEventLoop, dict[Any, _Connections]] = {}
_process = os.getpid()
#: Connections of the parent of a fork: to close them would be to end the parent's.
_left: list[object] = []


async def resolve(given: Any) -> Any:
    """Give the client: what was given, or what a callable gives."""
    if is_client(given):
        return given
    client = given()
    # A client can be awaited as well; it is what is wanted as it is.
    return client if is_client(client) else await client


class AsyncRedisLine:
    """Carries requests to the server of an async client, or what a callable gives.

    Where that is a plain ``redis.asyncio.Redis``, this keeps connections of its own to
    the same server, made with the client's options, for each loop that asks: a client
    belongs to one. They are closed with the loop. Other clients are awaited.
    """

    def __init__(self, given: Any) -> None:
        self._given = given
        self._seen = given if is_client(given) else None

    @property
    def is_free(self) -> bool:
        """Whether any loop may use it."""
        return self._seen is None or _is_plain(self._seen)

    @property
    def seen(self) -> Any:
        """The client, as it was last given; None: it has not been."""
        return self._seen

    async def __call__(self, request: Any, timeout: float) -> Any:
        """Send a request and await its answer."""
        given = self._given
        client = given if given is self._seen else await resolve(given)
        self._seen = client
        links = _links_of(client)
        talk = words_of(request, hasattr(client, "get_node_from_key"))
        try:
            words = next(talk)
            while True:
                try:
                    if links is not None:
                        answer = await links.exchange(words)
                    else:
                        answer = await _send(client, words)
                except Exception as error:
                    words = talk.throw(error)
                else:
                    words = talk.send(answer)
        except StopIteration as end:
            return end.value

    def location(self) -> str:
        """Say where the server is."""
        return location_of(self._seen)


def _links_of(client: Any) -> _Connections | None:
    global _links, _process
    pool = getattr(client, "connection_pool", None)
    if pool is None:
        return None
    if _process != os.getpid():
        _left.append(_links)
        _process, _links = os.getpid(), {}
    loop = asyncio.get_running_loop()
    of_loop = _links.get(loop)
    if of_loop is None:
        for other in [other for other in list(_links) if other.is_closed()]:
            _links.pop(other, None)
        of_loop = _links[loop] = {}
    # A callable may give another client each time, to the same server.
    called = name_of(pool)
    links = of_loop.get(called)
    if links is None and _is_plain(client):
        links = of_loop[called] = _Connections.like(pool)
    return links


async def _send(client: Any, words: tuple[Any, ...]) -> Any:
    try:
        return await client.execute_command(*words, **undecoded(client))
    except TypeError as error:
        refuse_decoding(error)
        raise


def _is_plain(client: Any) -> bool:
    """Whether connections can be made that are as good as its own."""
    module = sys.modules.get("redis.asyncio")
    plain = getattr(module, "Redis", None)
    return (
        module is not None
        and plain is not None
        and isinstance(client, plain)
        and type(client).execute_command is plain.execute_command
        and type(client.connection_pool)
        in (module.ConnectionPool, module.BlockingConnectionPool)
    )


class _Connections:
    """Connections to one server in one loop, kept for the next request."""

    def __init__(self, make: Callable[[], Any], most: int) -> None:
        self._make = make
        self._idle: list[Any] = []
        self._room = asyncio.Semaphore(most)
        self._opening = asyncio.Lock()
        self._keeper: AsyncGenerator[None, None] | None = None

    @classmethod
    def like(cls, pool: Any) -> _Connections:
        """Give connections as those of this pool."""
        from redis.asyncio.retry import Retry

        options = limited(options_like(pool, Retry), None)
        kind = pool.connection_class
        return cls(lambda: kind(**options), most_like(pool))

    async def exchange(self, words: tuple[Any, ...]) -> Any:
        """Send a command and await its answer."""
        if self._keeper is None:
            self._keeper = self._until_the_loop_ends()
            await self._keeper.asend(None)
        async with self._room:
            while True:
                connection, was_idle = await self._take()
                try:
                    return await self._exchange_on(connection, words)
                except Exception as error:
                    # The server has closed it meanwhile, most likely: it was restarted.
                    if not was_idle or type(error).__name__ != "ConnectionError":
                        raise

    async def _take(self) -> tuple[Any, bool]:
        """Give a connection, and whether it was used before."""
        if not self._idle:
            # What one has opened is free for the next, most likely, before another is
            # open: with TLS that takes 50 ms of the loop.
            async with self._opening:
                if not self._idle:
                    return await self._open(), False
        return self._idle.pop(), True

    async def _open(self) -> Any:
        connection = self._make()
        try:
            await connection.connect()
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection

    async def _exchange_on(self, connection: Any, words: tuple[Any, ...]) -> Any:
        ended = False
        try:
            await connection.send_command(*words, check_health=False)
            try:
                answer = await connection.read_response(disable_decoding=True)
            except Exception as error:
                ended = is_answer(error)
                raise
            ended = True
            return answer
        finally:
            if ended:
                self._idle.append(connection)
            else:
                await connection.disconnect(nowait=True)

    async def _until_the_loop_ends(self) -> AsyncGenerator[None, None]:
        """Close them as ``asyncio.run`` closes what its loop has begun to iterate."""
        try:
            yield
        finally:
            idle, self._idle = self._idle, []
            # TLS says goodbye; whoever does not answer is not waited for.
            closed = asyncio.gather(
                *(connection.disconnect() for connection in idle),
                return_exceptions=True,
            )
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(closed, 1)
