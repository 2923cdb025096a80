"""Entries in MongoDB, through a collection that the program gives.

The format is ``docs/formats/mongo.md``.
"""

from __future__ import annotations

import datetime
import re
import secrets
import time
from typing import Any

from . import _mongo_documents as documents
from ._base import LASTS, OUTAGE, PASSES, Listed, Seen, Talk, Wrote
from ._mongo_documents import (
    DISOWNED,
    FAILED,
    FREED,
    HELD,
    NOT_STORABLE,
    ZEROS,
    Call,
    Names,
)

__all__ = ["MongoDialect", "UnusableCollectionError"]

_PAGE = 1000
#: What is done again where others change what it saw, before it gives up.
_TRIES = 16
_SECOND = 1_000_000
#: How long what a process knows of an epoch or of the clock is good for, in seconds.
_KNOWN = 10.0
_OUTCOME = 5 * _SECOND
#: Of a document, all but its entry.
_MARKS = dict.fromkeys(
    ("born", "epoch", "version", "state", "owner", "until", "parts"), 1
)
_HELD_BY_SOMEBODY = [HELD, DISOWNED, FREED]
_ABSENT = {"$exists": False}

_DIGEST = re.compile("[0-9a-f]{32}")
#: Of the name of a part: the digest and the version.
_OF_PART = re.compile("([0-9a-f]{32}):([0-9a-f]{32}):")

_PASSWORD = re.compile(r"(://[^:@/\s]*:)[^@/\s]+@")
# Names of the client's exceptions: it need not be pymongo itself.
_AWAY = frozenset(
    {
        "ConnectionFailure",
        "ExecutionTimeout",
        "NetworkTimeout",
        "WTimeoutError",
        "WaitQueueTimeoutError",
    }
)
#: Numbers of what a server says that is about to end, to step down or to be overloaded.
_AWAY_CODES = frozenset(
    {6, 7, 50, 63, 64, 89, 91, 133, 134, 189, 202, 262, 317, 358, 365, 462}
    | {9001, 10107, 11600, 11602, 13388, 13435, 13436, 14031}
)
#: Of conflicts, and of what is too much for one document or for now.
_PASSING_CODES = frozenset({24, 112, 146, 225, 244, 251, 292, 10334, 11000, 17280})


class UnusableCollectionError(TypeError):
    """What the mongetter gave is no collection of the kind that is needed."""


class MongoDialect:
    """The verbs, as reads and writes of one document each."""

    def __init__(self) -> None:
        self._names: dict[str, Names] = {}
        self._epochs: dict[str, tuple[int, float]] = {}
        self._clock: tuple[int, float] | None = None
        self._says_hello = True
        self._has_indexes = False

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
        name = self._entry(function, digest)
        torn = ZEROS
        for _ in range(_TRIES):
            document = yield Call("find_one", ({"_id": name},))
            if document is None:
                document = {}
            entry = documents.entry_of(document)
            version = _version_of(document)
            envelope = None if entry is None else entry.envelope
            if entry is not None and entry.parts:
                envelope = yield from self._join(function, digest, version, entry)
                if envelope is None and version != torn:
                    # Somebody has replaced it meanwhile, most likely.
                    torn = version
                    continue
            at = 0 if entry is None else entry.stored
            damaged = envelope is None and (
                "stored" in document or "envelope" in document
            )
            now = 0
            fresh = (
                entry is not None
                and envelope is not None
                and (allow_none or not entry.is_none)
                and version != unreadable
                and (max_age is None or max_age > 0)
            )
            if fresh and max_age is not None:
                now = yield from self._now()
                fresh = -_SECOND <= now - at <= max_age
            if fresh:
                epoch = _number(document.get("epoch"))
                return envelope, 0, at, version, epoch, True, 0, 0, now, False
            if claim is None:
                epoch = yield from self._read_epoch(function)
                return envelope, 0, at, version, epoch, False, 0, 0, now, damaged
            now = now or (yield from self._now())
            epoch = yield from self._epoch(function)
            state = documents.number_of(document.get("state")) or 0
            until = documents.number_of(document.get("until"))
            holds = until is not None and until > now
            if holds and state in (HELD, DISOWNED):
                return envelope, 0, at, version, epoch, False, 2, 0, now, damaged
            left = (
                state - FAILED + 1 if holds and state in (FAILED, NOT_STORABLE) else 0
            )
            if left == NOT_STORABLE - FAILED + 1:
                return envelope, 0, at, version, epoch, False, 0, left, now, damaged
            until = now + lease * 1000
            if (yield from self._claim(function, name, document, claim, epoch, until)):
                return envelope, 0, at, version, epoch, False, 1, left, now, damaged
        return None, 0, 0, ZEROS, 0, False, 2, 0, 0, False

    def _claim(
        self,
        function: str,
        name: str,
        document: dict[str, Any],
        claim: bytes,
        epoch: int,
        until: int,
    ) -> Talk[bool]:
        fields: dict[str, Any] = {"owner": claim, "until": until, "state": HELD}
        if "stored" not in document:
            fields["gone"] = documents.gone_at(until)
        if not document:
            return (yield from self._insert(function, name, epoch, fields))
        change = {"$set": fields}
        seen = documents.as_seen(name, document)
        return bool((yield Call("update_one", (seen, change))))

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
        now = yield from self._now()
        if stored_at > now + _SECOND:
            self._clock = None
            now = yield from self._now()
            if stored_at > now + _SECOND:
                return 2, now
        fields, absent = documents.put_of(envelope, stored_at, version, is_none)
        change = {"$set": fields, "$unset": dict.fromkeys(sorted(absent), 1)}
        for number, part in enumerate(documents.parts_of(envelope)):
            yield from self._make_indexes()
            document = {
                "_id": f"{self._parts(function, digest, version)}{number:06d}",
                "function": function,
                "bytes": part,
                "gone": documents.gone_at(now),
            }
            yield Call("insert_one", (document,))
        if claim is not None:
            done = yield from self._put_owned(function, digest, change, claim)
        else:
            done = yield from self._write(function, digest, change, epoch, base)
        if "parts" in fields:
            if done:
                parts = self._parts(function, digest, version)
                stays = {"$unset": {"gone": 1}}
                yield Call("update_many", ({"_id": Names.within(parts)}, stays))
            else:
                yield from self._drop_parts(function, digest, version)
        return (0 if done else 1), now

    def _put_owned(
        self, function: str, digest: bytes, change: dict[str, Any], claim: bytes
    ) -> Talk[bool]:
        name = self._entry(function, digest)
        change = _both(change, documents.without_claim())
        mine = {"_id": name, "owner": claim, "state": {"$in": [HELD, FREED]}}
        if (yield Call("update_one", ({**mine, "parts": _ABSENT}, change))):
            return True
        for _ in range(_TRIES):
            document = yield Call("find_one", ({"_id": name}, _MARKS))
            if document is None or document.get("owner") != claim:
                return False
            if document.get("state") not in (HELD, FREED):
                ended = documents.without_claim()
                yield Call("update_one", ({"_id": name, "owner": claim}, ended))
                return False
            seen = documents.as_seen(name, document)
            if (yield Call("update_one", (seen, change))):
                yield from self._drop_parts(function, digest, _version_of(document))
                return True
        return False

    def erase(self, function: str, digest: bytes, version: bytes) -> Talk[Wrote]:
        """Remove an entry."""
        now = yield from self._now()
        change = documents.without_entry(version, now)
        yield from self._write(function, digest, change, None, None)
        return 0, now

    def _write(
        self,
        function: str,
        digest: bytes,
        change: dict[str, Any],
        epoch: int | None,
        base: bytes | None,
    ) -> Talk[bool]:
        """Change what is stored, beside whoever computes."""
        name = self._entry(function, digest)
        disowning = {**change, "$set": {**change["$set"], "state": DISOWNED}}
        freeing = _both(change, documents.without_claim())
        if epoch is None:
            yield from self._make_indexes()
            born = yield from self._born(function)
            place = {"_id": name, "state": {"$nin": [HELD, DISOWNED]}, "parts": _ABSENT}
            upsert = {**freeing, "$setOnInsert": born}
            if (yield Call("update_one", (place, upsert), {"upsert": True})):
                return True
        for _ in range(_TRIES):
            document = yield Call("find_one", ({"_id": name}, _MARKS))
            if document is None:
                if base not in (None, ZEROS):
                    return False
                now = yield from self._now()
                known = yield from self._epoch(function)
                gone = {"gone": documents.gone_at(now)}
                yield from self._insert(function, name, known, gone)
                continue
            version = _version_of(document)
            if base is not None and version != base:
                return False
            # In this order: what was born before a clear is gone after it.
            if epoch is not None and (yield from self._read_epoch(function)) != epoch:
                return False
            is_held = document.get("state") in (HELD, DISOWNED)
            seen = documents.as_seen(name, document)
            if (yield Call("update_one", (seen, disowning if is_held else freeing))):
                if "parts" in document:
                    yield from self._drop_parts(function, digest, version)
                return True
        return False

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
        mine = {"_id": self._entry(function, digest), "owner": claim}
        if outcome:
            now = yield from self._now()
            may_leave = [{"state": {"$in": [HELD, FREED]}}, {"version": base}]
            left = {"state": outcome + FAILED - 1, "until": now + _OUTCOME}
            change = {"$set": left, "$unset": {"owner": 1}}
            if (yield Call("update_one", ({**mine, "$or": may_leave}, change))):
                return True
        return bool((yield Call("update_one", (mine, documents.without_claim()))))

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
        now = yield from self._now()
        until = now + lease * 1000
        mine = {
            "_id": self._entry(function, digest),
            "owner": claim,
            "state": {"$in": _HELD_BY_SOMEBODY},
        }
        fields = {"until": until, "gone": documents.gone_at(until)}
        lasting = {**mine, "gone": {"$exists": True}}
        if (yield Call("update_one", (lasting, {"$set": fields}))):
            return True
        mine["gone"] = _ABSENT
        return bool((yield Call("update_one", (mine, {"$set": {"until": until}}))))

    def scan(
        self, function: str | None, before: int | None, cursor: bytes
    ) -> Talk[tuple[list[Listed], bytes]]:
        """List some entries, in the order of their names."""
        stored = {"$gt": -(2**62)} if before is None else {"$lt": before}
        wanted: dict[str, Any] = {
            "_id": self._all(function, cursor.decode()),
            "stored": stored,
        }
        found = yield _find(wanted, {"rest": 0}, _PAGE)
        listed = []
        for document in found:
            name = document["_id"]
            of, head = document.get("function"), document.get("envelope")
            size = documents.number_of(document.get("size"))
            at = documents.number_of(document.get("stored"))
            # Another function's name in a document is somebody's damage.
            if (
                isinstance(of, str)
                and type(head) is bytes
                and size is not None
                and at is not None
                and name[:-32] == self._of(of).entries
                and _DIGEST.fullmatch(name[-32:])
            ):
                listed.append((of, bytes.fromhex(name[-32:]), at, head, size))
        return listed, found[-1]["_id"].encode() if len(found) == _PAGE else b""

    def clear(self, function: str | None, before: int | None) -> Talk[int]:
        """Remove all entries, or those stored before a time."""
        functions = [function] if function is not None else []
        if function is None:
            functions = yield from self._functions()
        count = 0
        for each in functions:
            if before is None:
                count += yield from self._clear(each)
            else:
                count += yield from self._remove_stale(each, before)
            yield from self._collect_parts(each)
        return count

    def _clear(self, function: str) -> Talk[int]:
        names = self._of(function)
        epoch = _new_number()
        change = {"$set": {"function": function, "epoch": epoch}}
        done = False
        while not done:
            # Another may be making it.
            its = {"_id": names.function}
            done = yield Call("update_one", (its, change), {"upsert": True})
        self._epochs[function] = epoch, _monotonic()
        count = 0
        after = ""
        while True:
            within = Names.within(names.entries, after)
            place = {"_id": within, "epoch": {"$ne": epoch}}
            found = yield _find(place, {"_id": 1}, _PAGE)
            if not found:
                return count
            some = {
                "_id": {"$in": [document["_id"] for document in found]},
                "epoch": {"$ne": epoch},
            }
            now = yield from self._now()
            held = {"state": {"$in": [HELD, DISOWNED]}, "until": {"$gt": now}}
            # Of whoever has read it before, a put on a basis finds another.
            emptied = {"epoch": epoch, "born": _new_number(), "state": DISOWNED}
            change = _both(documents.without_entry(None, now), {"$set": emptied})
            idle = {"$or": _idle(now)}
            # Claims first: whoever has one would make an entry of its document.
            traces = {**some, "stored": _ABSENT}
            done = yield Call("update_many", ({**traces, **held}, change))
            done += yield Call("delete_many", ({**traces, **idle},))
            entries = {**some, "stored": {"$exists": True}}
            removed = yield Call("update_many", ({**entries, **held}, change))
            removed += yield Call("delete_many", ({**entries, **idle},))
            count += removed
            if done + removed == len(found):
                after = found[-1]["_id"]

    def _remove_stale(self, function: str, before: int) -> Talk[int]:
        names = self._of(function)
        stale = {"stored": {"$lt": before}}
        place = {"function": function, "_id": Names.within(names.entries), **stale}
        count = 0
        while found := (yield _find(place, {"_id": 1}, _PAGE)):
            some = {"_id": {"$in": [document["_id"] for document in found]}, **stale}
            now = yield from self._now()
            idle = _idle(now, _HELD_BY_SOMEBODY)
            count += yield Call("delete_many", ({**some, "$or": idle},))
            change = documents.without_entry(None, now)
            count += yield Call("update_many", (some, change))
        now = yield from self._now()
        gone = {"gone": {"$lt": documents.gone_at(now - documents.TRACE)}}
        for prefix in (names.entries, names.parts):
            place = {"_id": Names.within(prefix), **gone}
            while found := (yield _find(place, {"_id": 1}, _PAGE)):
                ids = {"_id": {"$in": [document["_id"] for document in found]}}
                if not (yield Call("delete_many", ({**ids, **gone},))):
                    break
        return count

    def _collect_parts(self, function: str) -> Talk[None]:
        """Delete parts that no entry names any more."""
        names = self._of(function)
        after = ""
        while True:
            place = {"_id": Names.within(names.parts, after), "gone": _ABSENT}
            found = yield _find(place, {"_id": 1}, _PAGE)
            if not found:
                return
            after = found[-1]["_id"]
            size = len(names.parts)
            of_parts = [_OF_PART.match(each["_id"][size:]) for each in found]
            for of in sorted({match.groups() for match in of_parts if match}):
                digest, version = bytes.fromhex(of[0]), bytes.fromhex(of[1])
                name = self._entry(function, digest)
                document = yield Call("find_one", ({"_id": name}, _MARKS))
                if (
                    document is None
                    or "parts" not in document
                    or _version_of(document) != version
                ):
                    yield from self._drop_parts(function, digest, version)

    def free_claims(self, function: str | None) -> Talk[None]:
        """Free every claim."""
        place = {"_id": self._all(function)}
        freed = {"$set": {"state": FREED}}
        yield Call("update_many", ({**place, "state": HELD}, freed))
        ended = documents.without_claim()
        yield Call("update_many", ({**place, "state": DISOWNED}, ended))

    def clock(self) -> Talk[int]:
        """Ask for the server's time."""
        self._clock = None
        return (yield from self._now())

    def judge(self, exception: BaseException) -> tuple[int, str]:
        """Say what an exception of the client means, and its words."""
        words = _PASSWORD.sub(r"\1***@", str(exception))
        if isinstance(exception, UnusableCollectionError):
            return LASTS, words
        names = {each.__name__ for each in type(exception).__mro__}
        called = type(exception).__name__
        said = f"{called}: {words}" if words else called
        code = getattr(exception, "code", None)
        if code in _AWAY_CODES or not names.isdisjoint(_AWAY):
            return OUTAGE, said
        if isinstance(exception, (OSError, TimeoutError)):
            return OUTAGE, said
        if code in _PASSING_CODES or names & {"DocumentTooLarge", "Warning"}:
            return PASSES, said
        labels = getattr(exception, "has_error_label", None)
        if labels is not None and labels("RetryableWriteError"):
            return OUTAGE, said
        if "PyMongoError" in names and getattr(exception, "timeout", False):
            return OUTAGE, said
        return LASTS, said

    def _insert(
        self, function: str, name: str, epoch: int, fields: dict[str, Any]
    ) -> Talk[bool]:
        yield from self._make_indexes()
        born = {"function": function, "epoch": epoch, "born": _new_number()}
        return bool((yield Call("insert_one", ({"_id": name, **born, **fields},))))

    def _born(self, function: str) -> Talk[dict[str, Any]]:
        epoch = yield from self._epoch(function)
        return {"function": function, "epoch": epoch, "born": _new_number()}

    def _join(
        self, function: str, digest: bytes, version: bytes, entry: documents.Entry
    ) -> Talk[bytes | None]:
        """Give all of an entry's envelope. None: there is no such."""
        parts = [entry.envelope]
        left = entry.size - len(entry.envelope)
        for number in range(entry.parts):
            name = f"{self._parts(function, digest, version)}{number:06d}"
            document = yield Call("find_one", ({"_id": name},))
            part = None if document is None else document.get("bytes")
            if type(part) is not bytes or len(part) != min(left, documents.PART):
                return None
            left -= len(part)
            parts.append(part)
        return b"".join(parts)

    def _drop_parts(self, function: str, digest: bytes, version: bytes) -> Talk[None]:
        parts = Names.within(self._parts(function, digest, version))
        yield Call("delete_many", ({"_id": parts},))

    def _make_indexes(self) -> Talk[None]:
        if self._has_indexes:
            return
        there = yield Call("index_information", may_fail=True)
        for name, (fields, options) in documents.INDEXES.items():
            if name not in (there or ()):
                call = Call("create_index", (fields,), {"name": name, **options}, True)
                yield call
        self._has_indexes = True

    def _epoch(self, function: str) -> Talk[int]:
        """Give a function's epoch, as far as it is known."""
        known = self._epochs.get(function)
        if known is not None and _monotonic() - known[1] < _KNOWN:
            return known[0]
        return (yield from self._read_epoch(function))

    def _read_epoch(self, function: str) -> Talk[int]:
        name = self._of(function).function
        for _ in range(_TRIES):
            asked_at = _monotonic()
            document = yield Call("find_one", ({"_id": name},))
            if document is not None:
                epoch = _number(document.get("epoch"))
                self._epochs[function] = epoch, asked_at
                return epoch
            yield from self._make_indexes()
            fields = {"_id": name, "function": function, "epoch": _new_number()}
            yield Call("insert_one", (fields,))
        return 0

    def _now(self) -> Talk[int]:
        """Give the server's time."""
        clock = self._clock
        if clock is None or _monotonic() - clock[1] > _KNOWN:
            clock = yield from self._ask_clock()
        return clock[0] + _microseconds()

    def _ask_clock(self) -> Talk[tuple[int, float]]:
        answer = None
        if self._says_hello:
            answer = yield Call("command", ("hello",), may_fail=True)
            self._says_hello = answer is not None
        if answer is None:
            answer = yield Call("command", ("isMaster",))
        time_there = answer["localTime"].replace(tzinfo=datetime.timezone.utc)
        since = time_there - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
        # As it was answered: no later than the truth.
        offset = since // datetime.timedelta(microseconds=1) - _microseconds()
        self._clock = clock = offset, _monotonic()
        return clock

    def _functions(self) -> Talk[list[str]]:
        found: list[str] = []
        after = ""
        while True:
            place = {"_id": Names.within(Names.all_functions, after)}
            some = yield _find(place, {"function": 1}, _PAGE)
            found += [each["function"] for each in some if _names_itself(each)]
            if len(some) < _PAGE:
                return found
            after = some[-1]["_id"]

    def _all(self, function: str | None, after: str = "") -> dict[str, str]:
        """Give the condition for the entries of a function, or of all."""
        prefix = Names.all_entries if function is None else self._of(function).entries
        return Names.within(prefix, after)

    def _entry(self, function: str, digest: bytes) -> str:
        return self._of(function).entries + digest.hex()

    def _parts(self, function: str, digest: bytes, version: bytes) -> str:
        return documents.part_names(self._of(function).parts, digest, version)

    def _of(self, function: str) -> Names:
        names = self._names.get(function)
        if names is None:
            names = self._names[function] = Names(function)
        return names


def _find(place: dict[str, Any], fields: dict[str, int], most: int) -> Call:
    order = [("_id", 1)]
    return Call("find", (place, fields), {"sort": order, "limit": most})


def _both(change: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Give one update that does two, of different fields."""
    return {
        each: {**change.get(each, {}), **other.get(each, {})}
        for each in change.keys() | other.keys()
    }


def _idle(now: int, held: list[int] | None = None) -> list[dict[str, Any]]:
    """Give the conditions of which one is met by documents that nobody holds."""
    return [
        {"state": {"$nin": held or [HELD, DISOWNED]}},
        {"until": {"$not": {"$gt": now}}},
    ]


def _names_itself(document: dict[str, Any]) -> bool:
    function = document.get("function")
    return isinstance(function, str) and Names(function).function == document["_id"]


def _version_of(document: dict[str, Any]) -> bytes:
    version = document.get("version")
    return version if type(version) is bytes and len(version) == 16 else ZEROS


def _number(given: Any) -> int:
    return (documents.number_of(given) or 0) & (2**63 - 1)


def _new_number() -> int:
    return 2**61 | secrets.randbits(61)


def _monotonic() -> float:
    return _microseconds() / 1e6


#: Goes on while the machine sleeps, where there is such a clock.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def _microseconds() -> int:
    return time.clock_gettime_ns(_CLOCK) // 1000
