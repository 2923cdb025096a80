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

__all__ = [
    "AsyncSqlAdapter",
    "SqlAdapter",
    "checked",
    "engine_of",
    "is_async",
    "is_sync",
]

T = TypeVar("T", SqlLine, AsyncSqlLine)

#: The line of each engine, and the engine of each URL: functions share connections.
_lines: weakref.WeakKeyDictionary[Any, weakref.ref[Any]] = weakref.WeakKeyDictionary()
_engines: weakref.WeakValueDictionary[tuple[bool, str], Any] = (
    weakref.WeakValueDictionary()
)
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


def checked(given: Any) -> Any:
    """Give the engine or URL that ``sql_engine`` is or returns.

    Raises
    ------
    ValueError
        It is none of these, of a database that is not known here, or there is no
        SQLAlchemy or driver.

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
        try:
            url = sqlalchemy.make_url(given)
            dialect = url.get_dialect()
            dialect.import_dbapi()
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
        flavor_of(dialect.name)
        return url
    if not hasattr(given, "dialect") or not hasattr(given, "url"):
        raise ValueError(
            "sql_engine must be a SQLAlchemy URL, an engine or a callable that "
            f"returns one, not {type(given).__name__}\n"
            "  fix: give for instance sqlalchemy.create_engine(...)"
        )
    flavor_of(given.dialect.name)
    return given


def engine_of(given: Any, is_awaited: bool) -> Any:
    """Give the engine: what was given, or what is made of a URL."""
    if hasattr(given, "dialect"):
        return given
    import sqlalchemy

    if is_awaited:
        from sqlalchemy.ext.asyncio import create_async_engine as make
    else:
        make = sqlalchemy.create_engine  # type: ignore[assignment]
        name = given.database
        if given.get_backend_name() == "sqlite" and name in (None, "", ":memory:"):
            from sqlalchemy.pool import StaticPool

            # One database for all threads, which goes with the engine.
            in_memory = sqlalchemy.create_engine(
                given, poolclass=StaticPool, connect_args={"check_same_thread": False}
            )
            weakref.finalize(in_memory, in_memory.pool.dispose)
            return in_memory
    named = is_awaited, given.render_as_string(hide_password=False)
    with _lock:
        engine = _engines.get(named)
        if engine is None:
            engine = _engines[named] = make(given)
    return engine


def is_async(given: Any) -> bool:
    """Whether it is an ``AsyncEngine``, or a URL of which one can be made."""
    if hasattr(given, "dialect"):
        return hasattr(given, "sync_engine")
    return bool(given.get_dialect().get_async_dialect_cls(given).is_async)


def is_sync(given: Any) -> bool:
    """Whether it is an ``Engine``, or a URL of which one can be made."""
    if hasattr(given, "dialect"):
        return not hasattr(given, "sync_engine")
    return not given.get_dialect().is_async
