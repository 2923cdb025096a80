"""How statements get to a database: on connections like those of an engine."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

from . import _sql_statements as sql
from ._deadlines import deadline
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
from .sql import Ask, NoAnswerError

__all__ = ["SqlLine"]


class SqlLine:
    """Carries statements, each a transaction of its own.

    Connections are made as the engine makes them, and are this object's: what the
    program does on its own is no concern of ours. A database in memory has no other
    connections than the engine's, one at a time.
    """

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._words = Words(engine.dialect)
        self._is_in_memory = is_in_memory(engine)
        self._abandoned: list[Any] = []
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._idle: list[Any] = []
        self._room = threading.BoundedSemaphore(
            1 if self._is_in_memory else MOST_CONNECTIONS
        )
        self._pool: Any = None
        if not self._is_in_memory:
            self._pool = self._engine.pool.recreate()
        self._at_end = weakref.finalize(self, _close_all, self._engine, self._idle)

    def location(self) -> str:
        """Say where the database is, without a password."""
        return str(self._engine.url.render_as_string(hide_password=True))

    def __call__(self, request: Ask, timeout: float) -> Any:
        """Do a statement; give its rows, or how many it changed."""
        if self._process != os.getpid():
            # Its connections are the parent's: not even closed here.
            self._at_end.detach()
            self._abandoned.append((self._idle, self._pool))
            self._begin()
        end = time.monotonic() + timeout
        for pause in (*PAUSES, None):
            try:
                return self._try(request, end)
            except Exception as error:
                if pause is None or time.monotonic() + pause > end:
                    raise
                if not self._mends(error, end):
                    raise
                time.sleep(pause)
        raise AssertionError

    def _mends(self, error: Exception, end: float) -> bool:
        """Whether it is worth another try, after what can be done about it."""
        if is_missing_table(error):
            self._make_tables(end)
            return True
        return is_conflict(error)

    def _try(self, request: Ask, end: float) -> Any:
        room = self._room
        if not room.acquire(timeout=max(0.001, end - time.monotonic())):
            raise NoAnswerError("no connection was free in time")
        try:
            if self._is_in_memory:
                return self._ask_the_engine(request, end)
            while True:
                connection, was_idle = self._take(end)
                ended = False
                try:
                    answer = self._execute(connection, request, end)
                    ended = True
                    return answer
                except Exception as error:
                    # Of what the database says no to, the connection knows nothing.
                    ended = not is_broken(self._engine, connection, error)
                    # Else the server has closed it while it was idle, most likely.
                    is_asked_again = was_idle and request.statement.gives_rows
                    if ended or not is_asked_again or time.monotonic() > end:
                        raise
                finally:
                    if ended:
                        self._idle.append(connection)
                    else:
                        self._close(connection)
        finally:
            room.release()

    def _ask_the_engine(self, request: Ask, end: float) -> Any:
        with self._engine.connect().execution_options(
            isolation_level="AUTOCOMMIT"
        ) as shared:
            return self._execute(shared.connection.dbapi_connection, request, end)

    def _take(self, end: float) -> tuple[Any, bool]:
        """Give a connection, and whether it was used before."""
        try:
            return self._idle.pop(), True
        except IndexError:
            return self._open(end), False

    def _open(self, end: float) -> Any:
        """Connect, in a thread: drivers wait for as long as they like."""
        opening = _Opening(self._connect)
        seconds = max(0.001, end - time.monotonic())
        if not opening.done.wait(seconds):
            opening.abandon(self._close)
            raise NoAnswerError(f"no connection within {seconds:.3g} s")
        if opening.error is not None:
            raise opening.error
        return opening.connection

    def _connect(self) -> Any:
        kept = self._pool.connect()
        connection = kept.dbapi_connection
        kept.detach()
        self._engine.dialect.set_isolation_level(connection, "AUTOCOMMIT")
        if self._words.flavor is sql.SQLITE:
            connection.execute("PRAGMA busy_timeout = 500")
        return connection

    def _close(self, connection: Any) -> None:
        with contextlib.suppress(Exception):
            self._engine.dialect.do_close(connection)

    def _execute(self, connection: Any, request: Ask, end: float) -> Any:
        text, words = self._words.of(request)
        seconds = max(0.001, end - time.monotonic())
        with _in_time(connection, seconds):
            cursor = _cursor(connection)
            try:
                cursor.execute(text, words)
                if request.statement.gives_rows:
                    return cursor.fetchall()
                return cursor.rowcount
            finally:
                cursor.close()

    def _make_tables(self, end: float) -> None:
        for table in self._words.flavor.tables:
            try:
                self._try(Ask(sql.Statement(table), {}), end)
            except Exception as error:
                # Another program is making it.
                if not is_made_already(error):
                    raise


def _close_all(engine: Any, connections: list[Any]) -> None:
    for connection in connections:
        with contextlib.suppress(Exception):
            engine.dialect.do_close(connection)


class _Opening:
    """A connection on its way."""

    def __init__(self, connect: Any) -> None:
        self.done = threading.Event()
        self.connection: Any = None
        self.error: BaseException | None = None
        self._lock = threading.Lock()
        self._close: Any = None
        self._connect = connect
        threading.Thread(target=self._run, name="cachier-connect", daemon=True).start()

    def _run(self) -> None:
        try:
            self.connection = self._connect()
        except BaseException as error:  # handed to who waits
            self.error = error
        with self._lock:
            self.done.set()
            close = self._close
        if close is not None and self.connection is not None:
            close(self.connection)

    def abandon(self, close: Any) -> None:
        """Close it when it is there: nobody waits any more."""
        with self._lock:
            self._close = close
            is_late = self.done.is_set()
        if is_late and self.connection is not None:
            close(self.connection)


def _cursor(connection: Any) -> Any:
    if type(connection).__module__.startswith("psycopg."):
        # Bytes as they are, not as digits.
        return connection.cursor(binary=True)
    return connection.cursor()


@contextlib.contextmanager
def _in_time(connection: Any, seconds: float) -> Iterator[None]:
    descriptor = _descriptor_of(connection)
    if descriptor is None:
        yield
        return
    with deadline(descriptor, seconds):
        yield


def _descriptor_of(connection: Any) -> int | None:
    socket = getattr(connection, "_sock", None)
    fileno = getattr(connection if socket is None else socket, "fileno", None)
    if fileno is None:
        return None
    try:
        return int(fileno())
    except Exception:
        return None
