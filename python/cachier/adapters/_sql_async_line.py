"""How statements get to a database through an async engine, on any event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import weakref
from collections.abc import AsyncGenerator, Coroutine
from typing import Any

from . import _sql_statements as sql
from ._sql_client import (
    MOST_CONNECTIONS,
    PAUSES,
    Words,
    is_broken,
    is_conflict,
    is_in_memory,
    is_made_already,
    is_missing_table,
)
from .sql import Ask

__all__ = ["AsyncSqlLine"]


class AsyncSqlLine:
    """Carries statements, each a transaction of its own.

    Connections are made as the engine makes them, for each loop that asks, and are this
    object's: an engine's pool belongs to one loop, and what the program does on its own
    is no concern of ours. They are closed with the loop. A database in memory has no
    other connection than the engine's.
    """

    is_free = True

    def __init__(self, engine: Any) -> None:
        self._engine = engine.sync_engine
        self._words = Words(self._engine.dialect)
        self._is_in_memory = is_in_memory(self._engine)
        self._process = os.getpid()
        self._connections: dict[asyncio.AbstractEventLoop, _Connections] = {}
        self._at_end = weakref.finalize(self, _close_all, self._connections)
        #: Of the parent of a fork: to close them would be to end the parent's.
        self._left: list[object] = []

    def location(self) -> str:
        """Say where the database is, without a password."""
        return str(self._engine.url.render_as_string(hide_password=True))

    async def __call__(self, request: Ask, timeout: float) -> Any:
        """Do a statement; give its rows, or how many it changed."""
        connections = self._of_this_loop()
        for pause in (*PAUSES, None):
            try:
                return await connections.ask(request)
            except Exception as error:
                if pause is None:
                    raise
                if is_missing_table(error):
                    await self._make_tables(connections)
                elif not is_conflict(error):
                    raise
            await asyncio.sleep(pause)
        raise AssertionError

    def _of_this_loop(self) -> _Connections:
        if self._process != os.getpid():
            self._at_end.detach()
            self._left.append(self._connections)
            self._process, self._connections = os.getpid(), {}
            self._at_end = weakref.finalize(self, _close_all, self._connections)
        loop = asyncio.get_running_loop()
        connections = self._connections.get(loop)
        if connections is None:
            for other in list(self._connections):
                if other.is_closed():
                    self._connections.pop(other, None)
            connections = _Connections(self._engine, self._words, self._is_in_memory)
            self._connections[loop] = connections
        return connections

    async def _make_tables(self, connections: _Connections) -> None:
        for table in self._words.flavor.tables:
            try:
                await connections.ask(Ask(sql.Statement(table), {}))
            except Exception as error:
                # Another program is making it.
                if not is_made_already(error):
                    raise


def _close_all(connections: dict[asyncio.AbstractEventLoop, _Connections]) -> None:
    for loop, each in connections.items():
        # The others are closed with their loop.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(each.end)


class _Connections:
    """Connections to a database in one loop, kept for the next statement."""

    def __init__(self, engine: Any, words: Words, is_shared: bool) -> None:
        from sqlalchemy.util import greenlet_spawn

        # What looks like a driver that blocks awaits inside of this.
        self._awaiting = greenlet_spawn
        self._engine = engine
        self._words = words
        self._is_shared = is_shared
        self._pool = engine.pool if is_shared else engine.pool.recreate()
        self._lent: Any = None
        self._idle: list[Any] = []
        self._room = asyncio.Semaphore(1 if is_shared else MOST_CONNECTIONS)
        self._opening = asyncio.Lock()
        self._keeper: AsyncGenerator[None, None] | None = None
        self._closing: set[asyncio.Task[None]] = set()

    async def ask(self, request: Ask) -> Any:
        """Do a statement."""
        if self._keeper is None:
            self._keeper = self._until_the_loop_ends()
            await self._keeper.asend(None)
        async with self._room:
            while True:
                connection, was_idle = await self._take()
                ended = False
                try:
                    answer = await self._awaiting(self._execute, connection, request)
                    ended = True
                    return answer
                except Exception as error:
                    # Of what the database says no to, the connection knows nothing.
                    ended = not is_broken(self._engine, connection, error)
                    # Else the server has closed it while it was idle, most likely.
                    if ended or not (was_idle and request.statement.gives_rows):
                        raise
                finally:
                    if ended or self._is_shared:
                        self._idle.append(connection)
                    else:
                        self._drop(connection)

    async def _take(self) -> tuple[Any, bool]:
        """Give a connection, and whether it was used before."""
        if not self._idle:
            # What one has opened is free for the next, most likely, before another is.
            async with self._opening:
                if not self._idle:
                    return await self._awaiting(self._connect), False
        return self._idle.pop(), True

    def _connect(self) -> Any:
        kept = self._pool.connect()
        connection = kept.dbapi_connection
        if self._is_shared:
            self._lent = kept
        else:
            kept.detach()
        self._engine.dialect.set_isolation_level(connection, "AUTOCOMMIT")
        return connection

    def _execute(self, connection: Any, request: Ask) -> Any:
        text, words = self._words.of(request)
        cursor = connection.cursor()
        try:
            cursor.execute(text, words)
            if request.statement.gives_rows:
                return cursor.fetchall()
            return cursor.rowcount
        finally:
            cursor.close()

    def end(self) -> None:
        """Begin to close them all."""
        if self._keeper is not None:
            self._begin(self._keeper.aclose())

    def _drop(self, connection: Any) -> None:
        """End it behind our back: what it owes us may never come."""
        self._begin(self._close(self._engine.dialect.do_terminate, connection))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close(self, how: Any, connection: Any) -> None:
        with contextlib.suppress(Exception):
            await self._awaiting(how, connection)

    async def _until_the_loop_ends(self) -> AsyncGenerator[None, None]:
        """Close them as ``asyncio.run`` closes what its loop has begun to iterate."""
        try:
            yield
        finally:
            idle, self._idle = self._idle, []
            if self._lent is not None:
                await self._awaiting(self._lent.close)
            else:
                for connection in idle:
                    await self._close(self._engine.dialect.do_close, connection)
