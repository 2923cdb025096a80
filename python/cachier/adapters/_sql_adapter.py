"""What the native module asks: a dialect on the connections of an engine."""

from __future__ import annotations

import threading
import weakref
from typing import Any, TypeVar

from ._awaiting import Awaiting
from ._base import Blocking
from ._sql_async_line import AsyncSqlLine
from ._sql_line import SqlLine
from ._sql_statements import flavor_of
from .sql import SqlDialect

__all__ = ["AsyncSqlAdapter", "SqlAdapter", "check_engine", "engine_of", "is_async"]

T = TypeVar("T", SqlLine, AsyncSqlLine)

#: The line of each engine, and the engine of each URL: functions share connections.
_lines: weakref.WeakKeyDictionary[Any, weakref.ref[Any]] = weakref.WeakKeyDictionary()
_engines: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()
_lock = threading.Lock()


class SqlAdapter(Blocking):
    """The adapter of an engine."""

    def __init__(self, engine: Any) -> None:
        super().__init__(SqlDialect(), _line_of(engine, SqlLine))


class AsyncSqlAdapter(Awaiting):
    """The adapter of an async engine."""

    def __init__(self, engine: Any) -> None:
        super().__init__(SqlDialect(), _line_of(engine, AsyncSqlLine))


def _line_of(engine: Any, kind: type[T]) -> T:
    with _lock:
        known = _lines.get(engine)
        line: T | None = known() if known is not None else None
        if line is None:
            line = kind(engine)
            _lines[engine] = weakref.ref(line)
        return line


def engine_of(given: Any) -> Any:
    """Give the engine that ``sql_engine`` is, names or returns.

    Raises
    ------
    ValueError
        It is none of these, or there is no SQLAlchemy.

    """
    try:
        import sqlalchemy
    except ImportError as error:
        raise ValueError(
            "backend 'sql' needs SQLAlchemy, which is not installed\n"
            "  fix: pip install 'cachier[sql]', and the driver of your database"
        ) from error
    if callable(given) and not hasattr(given, "dialect"):
        given = given()
    if isinstance(given, (str, sqlalchemy.URL)):
        return _made_of(sqlalchemy, given)
    if not hasattr(given, "dialect") or not hasattr(given, "url"):
        raise ValueError(
            "sql_engine must be a SQLAlchemy URL, an engine or a callable that "
            f"returns one, not {type(given).__name__}\n"
            "  fix: give for instance sqlalchemy.create_engine(...)"
        )
    return given


def _made_of(sqlalchemy: Any, url: Any) -> Any:
    try:
        url = sqlalchemy.make_url(url)
        is_sqlite = url.get_backend_name() == "sqlite"
        is_awaited = url.get_dialect().is_async
        if is_sqlite and url.database in (None, "", ":memory:") and not is_awaited:
            from sqlalchemy.pool import StaticPool

            # One database for all threads.
            return sqlalchemy.create_engine(
                url, poolclass=StaticPool, connect_args={"check_same_thread": False}
            )
        named = url.render_as_string(hide_password=False)
        make = sqlalchemy.create_engine
        if is_awaited:
            from sqlalchemy.ext.asyncio import create_async_engine as make
        with _lock:
            engine = _engines.get(named)
            if engine is None:
                engine = _engines[named] = make(url)
        return engine
    except sqlalchemy.exc.ArgumentError as error:
        raise ValueError(
            "sql_engine is no URL that SQLAlchemy understands\n"
            "  fix: write for instance postgresql+psycopg://user@host/database"
        ) from error
    except ImportError as error:
        raise ValueError(
            f"the driver of sql_engine's URL is not installed: {error}\n"
            "  fix: install it, or name another one in the URL"
        ) from error


def check_engine(engine: Any) -> None:
    """Raise `ValueError` for a database that the statements are not for."""
    flavor_of(engine.dialect.name)


def is_async(given: Any) -> bool:
    """Whether it is an ``AsyncEngine``."""
    return hasattr(given, "sync_engine")
