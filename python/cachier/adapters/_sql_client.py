"""What every line to a database needs: the words of statements, what errors mean."""

from __future__ import annotations

import time
from typing import Any

from . import _sql_statements as sql
from .sql import Ask, NoAnswerError, state_of

__all__ = [
    "MOST_CONNECTIONS",
    "PAUSES",
    "Words",
    "is_broken",
    "is_conflict",
    "is_in_memory",
    "is_made_already",
    "is_missing_table",
]

MOST_CONNECTIONS = 16
#: Between two tries where others hold what is wanted.
PAUSES = (0.001, 0.003, 0.01, 0.03, 0.1)


class Words:
    """Statements as the driver of an engine wants them."""

    def __init__(self, dialect: Any) -> None:
        self.flavor = sql.flavor_of(dialect.name)
        self._paramstyle = dialect.paramstyle
        self._compiled: dict[sql.Statement, tuple[str, tuple[str, ...]]] = {}

    def of(self, request: Ask) -> tuple[str, tuple[Any, ...]]:
        """Give the text, and its values in order."""
        compiled = self._compiled.get(request.statement)
        if compiled is None:
            compiled = self.flavor.compile(request.statement, self._paramstyle)
            self._compiled[request.statement] = compiled
        text, order = compiled
        values = request.values
        if self.flavor is sql.SQLITE:
            values = {**values, "now": time.time_ns() // 1000}
        return text, tuple([values[name] for name in order])


def is_broken(engine: Any, connection: Any, error: BaseException) -> bool:
    """Whether no other statement should be sent on a connection."""
    if not isinstance(error, Exception):
        return True
    if isinstance(error, (TimeoutError, NoAnswerError)):
        return True
    if engine.dialect.name == "sqlite":
        return False
    closed = getattr(connection, "closed", None)
    if closed is None:
        closed = not getattr(connection, "open", True)
    return bool(closed) or bool(engine.dialect.is_disconnect(error, connection, None))


def is_in_memory(engine: Any) -> bool:
    """Whether it is a database that only the engine's own connection has."""
    name = engine.url.database
    return engine.dialect.name == "sqlite" and (
        not name or ":memory:" in name or "mode=memory" in str(engine.url)
    )


def is_missing_table(error: Exception) -> bool:
    """Whether the tables are not there yet."""
    return (
        state_of(error) == "42P01"
        or (bool(error.args) and error.args[0] == 1146)
        or "no such table: cachier_" in str(error)
    )


def is_made_already(error: Exception) -> bool:
    """Whether another program has made a table meanwhile."""
    return state_of(error) in ("23505", "42P07", "42710", "XX000") or (
        bool(error.args) and error.args[0] in (1050, 1061)
    )


def is_conflict(error: Exception) -> bool:
    """Whether others were in the way, and may be gone."""
    return (
        state_of(error).startswith(("40", "55P03"))
        or (bool(error.args) and error.args[0] in (1205, 1213, 1020))
        or "database is locked" in str(error)
        or "database table is locked" in str(error)
    )
