"""Entries in an SQL database, through an engine that the program brings.

The format is ``docs/formats/sql.md``.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, NamedTuple

from . import _sql_statements as sql
from ._base import LASTS, OUTAGE, PASSES, Listed, Seen, Talk, Wrote

__all__ = ["ZEROS", "Ask", "NoAnswerError", "SqlDialect", "state_of"]

ZEROS = bytes(16)
_PAGE = 1024
#: All of an envelope before its value: the key is the most of it.
_HEAD = 1024 + 256
#: What a look does again where others change what it saw, before it says busy.
_TRIES = 8
_SECOND = 1_000_000
_TOMBSTONE, _IS_NONE = 1, 2
_HELD, _DISOWNED, _FAILED, _NOT_STORABLE = 1, 2, 3, 4

_PASSWORD = re.compile(r"(://[^:@/\s]*:)[^@/\s]+@")
#: What a server says that it will say again.
_LASTING_WORDS = re.compile(
    r"authentication failed|no password supplied|no pg_hba\.conf entry|"
    r"(role|database|user) \S+ does not exist|access denied|unknown database|"
    r"unable to open database file|readonly database|not a database|"
    r"permission denied",
    re.IGNORECASE,
)
#: What passes, or is done again: a busy file, a deadlock, too much for one packet.
_PASSING_WORDS = re.compile(
    r"deadlock|could not serialize|"
    r"max_allowed_packet|packet bigger|too big|too large|out of memory",
    re.IGNORECASE,
)
_AWAY_WORDS = re.compile(
    r"database (table )?is locked|lock wait timeout|disk is full|disk I/O|"
    r"too many (connections|clients)|remaining connection slots|"
    r"starting up|shutting down|No space left|interrupted",
    re.IGNORECASE,
)
#: Beginnings of SQLSTATE: connections, resources, an operator's intervention.
_AWAY_STATES = ("08", "53", "57", "58", "XX")
_PASSING_STATES = ("40", "55P03", "54")
_AWAY_NUMBERS = frozenset({1040, 1053, 1158, 1159, 1160, 1161, 1203, 2002, 2003, 2006})
_AWAY_NUMBERS |= {2013, 1021, 1041, 1129, 1205, 3024}
_PASSING_NUMBERS = frozenset({1213, 1153, 1020})


class NoAnswerError(Exception):
    """There was no answer in time."""


class Ask(NamedTuple):
    """A statement, and the values of its names."""

    statement: sql.Statement
    values: dict[str, Any]


class SqlDialect:
    """The verbs, as statements."""

    def __init__(self) -> None:
        self._keys: dict[str, bytes] = {}

    def look(
        self,
        function: str,
        digest: bytes,
        max_age: int | None,
        allow_none: bool,
        unreadable: bytes | None,
        claim: bytes | None,
        lease: int,
    ) -> Talk[Seen]:
        """Find an entry, take the claim."""
        place = {"function": self._key(function), "digest": digest}
        for _ in range(_TRIES):
            rows = yield Ask(sql.LOOK, place)
            if not rows:
                yield from self._make(function)
                continue
            now, epoch, generation, row_epoch, at, version, flags, envelope = rows[0][
                :8
            ]
            envelope, until, of_generation, state, of_epoch = rows[0][7:]
            # SQLite keeps what it is given, of whatever type.
            is_ours = _is_row(rows[0])
            if not is_ours:
                at = flags = until = state = 0
            counts = is_ours and row_epoch == epoch
            seen = bytes(version) if counts else ZEROS
            has_entry = counts and seen != ZEROS and not flags & _TOMBSTONE
            damaged = not is_ours or (has_entry and envelope is None)
            data = bytes(envelope) if has_entry and envelope is not None else None
            at = at or 0
            fresh = (
                data is not None
                and (allow_none or not flags & _IS_NONE)
                and seen != unreadable
                and _is_young(max_age, now - at)
            )
            if fresh or claim is None:
                return data, 0, at, seen, epoch, fresh, 0, 0, now, damaged
            outcome = 0
            if state in (_FAILED, _NOT_STORABLE) and until > now and of_epoch == epoch:
                outcome = state - _FAILED + 1
            granted = 0
            if outcome != _NOT_STORABLE - _FAILED + 1:
                busy = state in (_HELD, _DISOWNED) and until > now
                granted = 2 if busy and of_generation == generation else 1
            if granted == 1:
                wants = {**place, "claim": claim, "lease": lease * 1000, "epoch": epoch}
                if row_epoch is None:
                    taken = yield Ask(sql.CLAIM_NEW, wants)
                else:
                    saw = {"row_epoch": row_epoch, "row_version": version}
                    taken = yield Ask(sql.CLAIM, wants | saw)
                if not taken:
                    continue
            return data, 0, at, seen, epoch, False, granted, outcome, now, damaged
        return None, 0, 0, ZEROS, 0, False, 2, 0, 0, False

    def put(
        self,
        function: str,
        digest: bytes,
        envelope: bytes,
        stored_at: int,
        version: bytes,
        is_none: bool,
        claim: bytes | None,
        epoch: int | None,
        base: bytes | None,
    ) -> Talk[Wrote]:
        """Store an entry."""
        values = {
            "function": self._key(function),
            "digest": digest,
            "envelope": envelope,
            "stored_at": stored_at,
            "version": version,
            "flags": _IS_NONE if is_none else 0,
        }
        if claim is None:
            return (yield from self._write(function, values, epoch, base))
        values |= {"claim": claim, "epoch": epoch}
        if (yield Ask(sql.PUT_OWNED, values)):
            return 0, 0
        now = yield from self._now()
        if stored_at > now + _SECOND:
            return 2, now
        yield Ask(sql.END_CLAIM, values)
        return 1, now

    def erase(self, function: str, digest: bytes, version: bytes) -> Talk[Wrote]:
        """Remove an entry."""
        now = yield from self._now()
        values = {
            "function": self._key(function),
            "digest": digest,
            "envelope": None,
            "stored_at": now,
            "version": version,
            "flags": _TOMBSTONE,
        }
        return (yield from self._write(function, values, None, None))

    def _write(
        self,
        function: str,
        values: dict[str, Any],
        epoch: int | None,
        base: bytes | None,
    ) -> Talk[Wrote]:
        values |= {"epoch": epoch, "base": base}
        statement, other = sql.PUT, sql.PUT_NEW
        if base is not None:
            statement, other = sql.PUT_ON_BASE, sql.PUT_NEW_SINCE
        elif epoch is not None:
            statement, other = sql.PUT_SINCE, sql.PUT_NEW_SINCE
        for _ in range(_TRIES):
            if (yield Ask(statement, values)):
                return 0, 0
            if base in (None, ZEROS) and (yield Ask(other, values)):
                return 0, 0
            now = yield from self._now()
            if values["stored_at"] > now + _SECOND:
                return 2, now
            found = yield Ask(sql.FUNCTION, values)
            if found:
                # A row that came between the two statements is written to again.
                there = yield Ask(sql.ENTRY, values)
                if epoch is not None and found[0][0] != epoch:
                    return 1, now
                if there and base is not None:
                    is_its = there[0][0] == epoch
                    if (bytes(there[0][1]) if is_its else ZEROS) != base:
                        return 1, now
                if not there and base not in (None, ZEROS):
                    return 1, now
            elif epoch is not None:
                return 1, now
            else:
                yield from self._make(function)
        return 1, 0

    def release(
        self,
        function: str,
        digest: bytes,
        claim: bytes,
        epoch: int,
        base: bytes,
        outcome: int,
    ) -> Talk[bool]:
        """End a claim."""
        values = {
            "function": self._key(function),
            "digest": digest,
            "claim": claim,
            "epoch": epoch,
            "base": base,
            "outcome": outcome + _FAILED - 1,
        }
        if outcome and (yield Ask(sql.LEAVE_OUTCOME, values)):
            return True
        return bool((yield Ask(sql.END_CLAIM, values)))

    def renew(
        self,
        function: str,
        digest: bytes,
        claim: bytes,
        epoch: int,
        base: bytes,
        lease: int,
    ) -> Talk[bool]:
        """Let a claim hold for another lease."""
        values = {
            "function": self._key(function),
            "digest": digest,
            "claim": claim,
            "lease": lease * 1000,
        }
        return bool((yield Ask(sql.RENEW, values)))

    def scan(
        self, function: str | None, before: int | None, cursor: bytes
    ) -> Talk[tuple[list[Listed], bytes]]:
        """List some entries, in the order of the table."""
        values = {
            "function": cursor[:16] or b"",
            "digest": cursor[16:],
            "before": 2**62 if before is None else before,
            "most": _PAGE,
            "head": _HEAD,
        }
        if function is not None:
            values["function"] = self._key(function)
        rows = yield Ask(sql.SCAN if function is None else sql.SCAN_ONE, values)
        listed = [
            (str(_text(name)), bytes(digest), at, bytes(head), size)
            for _, name, digest, at, head, size in rows
        ]
        if len(rows) < _PAGE:
            return listed, b""
        return listed, bytes(rows[-1][0]) + bytes(rows[-1][2])

    def clear(self, function: str | None, before: int | None) -> Talk[int]:
        """Remove all entries, or those stored before a time."""
        count = 0
        for key, _ in (yield from self._functions(function)):
            values = {"function": key, "before": before}
            counted = sql.DELETE_STALE, sql.STRIP_STALE
            if before is None:
                yield Ask(sql.CLEAR, values)
                counted = sql.DELETE_OLD, sql.STRIP_OLD
            for statement in counted:
                while some := (yield Ask(statement, values)):
                    count += some
            while (yield Ask(sql.DELETE_TRACES, values)):
                pass
        return count

    def free_claims(self, function: str | None) -> Talk[None]:
        """Free every claim."""
        for key, _ in (yield from self._functions(function)):
            yield Ask(sql.FREE, {"function": key})

    def clock(self) -> Talk[int]:
        """Ask for the server's time."""
        return (yield from self._now())

    def judge(self, exception: BaseException) -> tuple[int, str]:
        """Say what an exception of the driver means, and its words."""
        called = type(exception).__name__
        words = _PASSWORD.sub(r"\1***@", str(exception)).strip()
        said = f"{called}: {words}" if words else called
        if isinstance(exception, NoAnswerError):
            return OUTAGE, words
        names = {each.__name__ for each in type(exception).__mro__}
        state = state_of(exception)
        number = exception.args[0] if exception.args else None
        if state.startswith(_AWAY_STATES) or number in _AWAY_NUMBERS:
            return OUTAGE, said
        if state.startswith(_PASSING_STATES) or number in _PASSING_NUMBERS:
            return PASSES, said
        if _LASTING_WORDS.search(words):
            return LASTS, said
        if _PASSING_WORDS.search(words):
            return PASSES, said
        if _AWAY_WORDS.search(words) or isinstance(exception, (OSError, TimeoutError)):
            return OUTAGE, said
        if state:
            return LASTS, said
        if names & {"OperationalError", "InterfaceError", "InternalError"}:
            # A connection that ended.
            return OUTAGE, said
        return LASTS, said

    def _now(self) -> Talk[int]:
        return (yield Ask(sql.NOW, {}))[0][0]  # type: ignore[no-any-return]

    def _make(self, function: str) -> Talk[None]:
        yield Ask(sql.MAKE, {"function": self._key(function), "id": function.encode()})

    def _functions(self, function: str | None) -> Talk[list[tuple[bytes, int]]]:
        if function is not None:
            rows = yield Ask(sql.FUNCTION, {"function": self._key(function)})
            return [(self._key(function), row[0]) for row in rows]
        rows = yield Ask(sql.FUNCTIONS, {})
        return [(bytes(key), epoch) for key, epoch in rows]

    def _key(self, function: str) -> bytes:
        key = self._keys.get(function)
        if key is None:
            key = hashlib.sha256(function.encode()).digest()[:16]
            self._keys[function] = key
        return key


def state_of(exception: BaseException) -> str:
    """Give the SQLSTATE of a driver's exception, or nothing."""
    state = getattr(exception, "sqlstate", None) or getattr(exception, "pgcode", None)
    return str(state or "")


def _is_row(row: Any) -> bool:
    """Whether what a look gives is of the types that the table is to have."""
    epoch, at, version, flags, envelope, *numbers = row[3:]
    if epoch is None:
        return True
    kinds = (bytes, bytearray, memoryview)
    return (
        isinstance(version, kinds)
        and (envelope is None or isinstance(envelope, kinds))
        and all(isinstance(number, int) for number in (epoch, at, flags, *numbers))
    )


def _is_young(max_age: int | None, age: int) -> bool:
    if max_age is None:
        return True
    return max_age > 0 and -_SECOND <= age <= max_age


def _text(name: Any) -> Any:
    return bytes(name).decode("utf-8", "replace") if not isinstance(name, str) else name
