"""The statements of ``docs/formats/sql.md``, for each kind of database.

Names of values begin with a colon; what differs between databases is in braces.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = [
    "CLAIM",
    "CLAIM_NEW",
    "CLEAR",
    "DELETE_OLD",
    "DELETE_STALE",
    "DELETE_TRACES",
    "END_CLAIM",
    "ENTRY",
    "FREE",
    "FUNCTION",
    "FUNCTIONS",
    "LEAVE_OUTCOME",
    "LOOK",
    "MAKE",
    "NOW",
    "PUT",
    "PUT_NEW",
    "PUT_NEW_SINCE",
    "PUT_ON_BASE",
    "PUT_OWNED",
    "PUT_SINCE",
    "RENEW",
    "SCAN",
    "SCAN_ONE",
    "STRIP_OLD",
    "STRIP_STALE",
    "Flavor",
    "Statement",
    "flavor_of",
]


class Statement(NamedTuple):
    """A statement, and whether it gives rows: else how many it changed.

    `some` is its WHERE where it is for a thousand rows of a function at once.
    """

    text: str
    gives_rows: bool = False
    some: str = ""


class Flavor(NamedTuple):
    """What differs between databases."""

    name: str
    parts: dict[str, str]
    tables: tuple[str, ...]

    def compile(
        self, statement: Statement, paramstyle: str
    ) -> tuple[str, tuple[str, ...]]:
        """Give the statement as the driver wants it, and the order of its values."""
        text = statement.text
        if statement.some:
            text += f" WHERE {{function}} = :function AND {statement.some} "
            text += self.parts["at_once"].replace("{some}", statement.some)
        while "{" in text:
            text = text.format_map(self.parts)
        order: list[str] = []

        def mark(found: re.Match[str]) -> str:
            order.append(found.group(1))
            if paramstyle == "qmark":
                return "?"
            if paramstyle.startswith("numeric"):
                return f"${len(order)}"
            return "%s"

        if paramstyle in ("format", "pyformat"):
            text = text.replace("%", "%%")
        return re.sub(r":([a-z_]+)", mark, text).strip(), tuple(order)


_EPOCH = "(SELECT f.epoch FROM cachier_functions_1 f WHERE f.{function} = :function)"
_GENERATION = (
    "(SELECT f.generation FROM cachier_functions_1 f WHERE f.{function} = :function)"
)
_PLACE = "{function} = :function AND digest = :digest"

_COMMON = {
    "columns": """({function}, digest, epoch, stored_at, version, flags, envelope,
  claim, claim_until, claim_generation, claim_state, claim_epoch)""",
    "epoch_now": _EPOCH,
    "generation_now": _GENERATION,
    "place": _PLACE,
    "function": "function",
    "is_live": "stored_at > 0 AND flags % 2 = 0 AND version <> {zeros}",
    "has_claim": "claim_state IN (1, 2) AND claim_until > {now}",
    "in_time": ":stored_at <= {now} + 1000000",
}

NOW = Statement("SELECT {now}", True)

LOOK = Statement(
    """
SELECT {now}, f.epoch, f.generation, e.epoch, e.stored_at, e.version, e.flags,
  e.envelope, e.claim_until, e.claim_generation, e.claim_state, e.claim_epoch
FROM cachier_functions_1 f LEFT JOIN cachier_entries_1 e
  ON e.{function} = f.{function} AND e.digest = :digest
WHERE f.{function} = :function""",
    True,
)

FUNCTION = Statement(
    "SELECT epoch FROM cachier_functions_1 WHERE {function} = :function", True
)
FUNCTIONS = Statement("SELECT {function}, epoch FROM cachier_functions_1", True)
ENTRY = Statement("SELECT epoch, version FROM cachier_entries_1 WHERE {place}", True)

MAKE = Statement(
    """
{insert} cachier_functions_1 ({function}, id, epoch, generation)
VALUES (:function, {id}, {now}, 0) {or_not}"""
)

CLAIM_NEW = Statement(
    """
{insert} cachier_entries_1 {columns}
SELECT :function, :digest, 0, 0, {zeros}, 0, NULL,
  :claim, {now} + :lease, f.generation, 1, 0
FROM cachier_functions_1 f WHERE f.{function} = :function AND f.epoch = :epoch
{or_not}"""
)

CLAIM = Statement(
    """
UPDATE cachier_entries_1 SET claim = :claim, claim_until = {now} + :lease,
  claim_generation = {generation_now}, claim_state = 1, claim_epoch = 0
WHERE {place} AND epoch = :row_epoch AND version = :row_version
  AND {epoch_now} = :epoch
  AND (claim_state NOT IN (1, 2) OR claim_until <= {now}
    OR claim_generation <> {generation_now})"""
)

PUT_OWNED = Statement(
    """
UPDATE cachier_entries_1 SET epoch = :epoch, stored_at = :stored_at,
  version = :version, flags = :flags, envelope = :envelope,
  claim = NULL, claim_state = 0
WHERE {place} AND claim = :claim AND claim_state = 1 AND {epoch_now} = :epoch
  AND {in_time}"""
)

_WRITE = """
UPDATE cachier_entries_1 SET epoch = {epoch_now}, stored_at = :stored_at,
  version = :version, flags = :flags, envelope = :envelope,
  claim_state = CASE WHEN {has_claim} AND claim_generation = {generation_now}
    THEN 2 ELSE 0 END
WHERE {place} AND {in_time}"""

PUT = Statement(_WRITE + " AND {epoch_now} IS NOT NULL")
PUT_SINCE = Statement(_WRITE + " AND {epoch_now} = :epoch")
PUT_ON_BASE = Statement(
    _WRITE
    + """ AND {epoch_now} = :epoch
  AND CASE WHEN epoch = :epoch THEN version ELSE {zeros} END = :base"""
)

_WRITE_NEW = """
{insert} cachier_entries_1 {columns}
SELECT :function, :digest, f.epoch, {stored_at}, :version, {flags}, {envelope},
  NULL, 0, 0, 0, 0
FROM cachier_functions_1 f WHERE f.{function} = :function AND {in_time}"""

PUT_NEW = Statement(_WRITE_NEW + " {or_not}")
PUT_NEW_SINCE = Statement(_WRITE_NEW + " AND f.epoch = :epoch {or_not}")

END_CLAIM = Statement(
    """
UPDATE cachier_entries_1 SET claim = NULL, claim_state = 0
WHERE {place} AND claim = :claim AND claim_state IN (1, 2)"""
)

LEAVE_OUTCOME = Statement(
    """
UPDATE cachier_entries_1 SET claim = NULL, claim_until = {now} + 5000000,
  claim_epoch = :epoch, claim_state = :outcome
WHERE {place} AND claim = :claim AND {epoch_now} = :epoch
  AND (claim_state = 1 OR claim_state = 2
    AND CASE WHEN epoch = :epoch THEN version ELSE {zeros} END = :base)"""
)

RENEW = Statement(
    """
UPDATE cachier_entries_1 SET claim_until = {now} + :lease
WHERE {place} AND claim = :claim AND claim_state IN (1, 2)"""
)

_SCAN = """
SELECT e.{function}, f.id, e.digest, e.stored_at, {head}, {size}
FROM cachier_entries_1 e JOIN cachier_functions_1 f
  ON f.{function} = e.{function} AND f.epoch = e.epoch
WHERE e.stored_at > 0 AND e.flags % 2 = 0 AND e.stored_at < :before
  AND e.envelope IS NOT NULL AND """
_IN_ORDER = " ORDER BY e.{function}, e.digest LIMIT :most"

SCAN = Statement(
    _SCAN
    + "(e.{function} > :function OR e.{function} = :function AND e.digest > :digest)"
    + _IN_ORDER,
    True,
)
SCAN_ONE = Statement(
    _SCAN + "e.{function} = :function AND e.digest > :digest" + _IN_ORDER, True
)

CLEAR = Statement(
    """
UPDATE cachier_functions_1
SET epoch = CASE WHEN {now} > epoch THEN {now} ELSE epoch + 1 END
WHERE {function} = :function"""
)
FREE = Statement(
    """
UPDATE cachier_functions_1 SET generation = generation + 1
WHERE {function} = :function"""
)

_DELETE = "DELETE FROM cachier_entries_1"
#: Leaves the claim, as if there had been no entry.
_STRIP = """UPDATE cachier_entries_1 SET epoch = 0, stored_at = 0, version = {zeros},
  flags = 0, envelope = NULL"""
_OLD = "epoch < {epoch_now} AND {is_live}"
_STALE = "stored_at < :before AND epoch = {epoch_now} AND {is_live}"

DELETE_OLD = Statement(_DELETE, some=_OLD + " AND NOT ({has_claim})")
STRIP_OLD = Statement(_STRIP, some=_OLD + " AND {has_claim}")
DELETE_STALE = Statement(_DELETE, some=_STALE + " AND NOT ({has_claim})")
STRIP_STALE = Statement(_STRIP, some=_STALE + " AND {has_claim}")
#: Of what was erased and of owners that died.
DELETE_TRACES = Statement(
    _DELETE,
    some="NOT ({is_live}) AND (epoch < {epoch_now} OR stored_at < {now} - 3600000000) "
    "AND (claim_state = 0 OR claim_until <= {now})",
)

_TABLES = (
    """
CREATE TABLE IF NOT EXISTS cachier_functions_1 (
  {function} {binary} NOT NULL PRIMARY KEY,
  id {text} NOT NULL,
  epoch BIGINT NOT NULL,
  generation BIGINT NOT NULL
) {table_options}""",
    """
CREATE TABLE IF NOT EXISTS cachier_entries_1 (
  {function} {binary} NOT NULL,
  digest {binary} NOT NULL,
  epoch BIGINT NOT NULL,
  stored_at BIGINT NOT NULL,
  version {binary} NOT NULL,
  flags SMALLINT NOT NULL,
  envelope {blob},
  claim {binary},
  claim_until BIGINT NOT NULL,
  claim_generation BIGINT NOT NULL,
  claim_state SMALLINT NOT NULL,
  claim_epoch BIGINT NOT NULL,
  PRIMARY KEY ({function}, digest){more}
) {entries_options}""",
)
_INDEX = """
CREATE INDEX IF NOT EXISTS cachier_ages_1 ON cachier_entries_1 ({function}, stored_at)
"""

_AT_ONCE = """AND digest IN (SELECT digest FROM cachier_entries_1
  WHERE {function} = :function AND {some} LIMIT 1000)"""

POSTGRES = Flavor(
    "postgresql",
    {
        **_COMMON,
        "now": "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)",
        "in_time": "CAST(:stored_at AS BIGINT) <= {now} + 1000000",
        "id": "convert_from(:id, 'UTF8')",
        "stored_at": "CAST(:stored_at AS BIGINT)",
        "flags": "CAST(:flags AS SMALLINT)",
        "envelope": "CAST(:envelope AS BYTEA)",
        "zeros": r"CAST('\x00000000000000000000000000000000' AS BYTEA)",
        "insert": "INSERT INTO",
        "or_not": "ON CONFLICT DO NOTHING",
        "head": "SUBSTR(e.envelope, 1, :head)",
        "size": "LENGTH(e.envelope)",
        "at_once": _AT_ONCE,
        "binary": "BYTEA",
        "text": "TEXT",
        "blob": "BYTEA",
        "more": "",
        "table_options": "",
        "entries_options": "",
    },
    (*_TABLES, _INDEX),
)

SQLITE = Flavor(
    "sqlite",
    {
        **_COMMON,
        # Its own clock has milliseconds; the line knows this machine's.
        "now": ":now",
        "id": ":id",
        "stored_at": ":stored_at",
        "flags": ":flags",
        "envelope": ":envelope",
        "zeros": "x'00000000000000000000000000000000'",
        "insert": "INSERT OR IGNORE INTO",
        "or_not": "",
        "head": "SUBSTR(e.envelope, 1, :head)",
        "size": "LENGTH(e.envelope)",
        "at_once": _AT_ONCE,
        "binary": "BLOB",
        "text": "TEXT",
        "blob": "BLOB",
        "more": "",
        "table_options": "WITHOUT ROWID",
        "entries_options": "WITHOUT ROWID",
    },
    (*_TABLES, _INDEX),
)

MYSQL = Flavor(
    "mysql",
    {
        **_COMMON,
        "function": "`function`",
        "now": "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))",
        "id": ":id",
        "stored_at": ":stored_at",
        "flags": ":flags",
        "envelope": ":envelope",
        "zeros": "x'00000000000000000000000000000000'",
        "insert": "INSERT IGNORE INTO",
        "or_not": "",
        "head": "SUBSTR(e.envelope, 1, :head)",
        "size": "LENGTH(e.envelope)",
        "at_once": "LIMIT 1000",
        "binary": "BINARY(16)",
        "text": "MEDIUMBLOB",
        "blob": "LONGBLOB",
        "more": ", KEY cachier_ages_1 ({function}, stored_at)",
        "table_options": "ENGINE=InnoDB",
        "entries_options": "ENGINE=InnoDB",
    },
    _TABLES,
)

_FLAVORS = {
    "postgresql": POSTGRES,
    "sqlite": SQLITE,
    "mysql": MYSQL,
    "mariadb": MYSQL,
}


def flavor_of(dialect: str) -> Flavor:
    """Give what differs for a database, by SQLAlchemy's name of its dialect.

    Raises
    ------
    ValueError
        For a database whose statements nobody has written.

    """
    try:
        return _FLAVORS[dialect]
    except KeyError:
        raise ValueError(
            f"sql_engine is of a database that is not known here: {dialect}\n"
            "  fix: use PostgreSQL, MySQL, MariaDB or SQLite"
        ) from None
