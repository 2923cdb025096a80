"""Entries on S3, or on what speaks like it, through a client that the program brings.

The format is ``docs/formats/s3.md``.
"""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Generator
from typing import Any, TypeVar

from ._base import LASTS, OUTAGE, PASSES, Listed, Talk, Wrote
from ._base import Seen as Looked
from ._s3_objects import (
    ABSENT,
    ANY,
    DISOWNED,
    FAILED,
    FREED,
    HELD,
    INLINE,
    MARKS,
    NOT_STORABLE,
    NOTHING,
    ZEROS,
    Delete,
    Get,
    Got,
    List,
    Listing,
    Many,
    Marks,
    Names,
    Now,
    Put,
    Seen,
    function_of,
    is_claimed,
    nothing,
    read_state,
    state_of,
)

__all__ = ["NoAnswerError", "S3Dialect"]

T = TypeVar("T")

_TRIES = 100
_SECOND = 1_000_000
#: How long a thread lets another one of this process go first, in seconds.
_LONGEST_TURN = 1.0
_OUTCOME = 5 * _SECOND
_MINUTE, _HOUR = 60 * _SECOND, 3600 * _SECOND
#: How long what a process knows of an epoch is good for, in seconds.
_KNOWN = 10.0
#: How many ETags of claims are remembered.
_REMEMBERED = 4096
_HEAD = MARKS + 1 + 1024 + 256
_BATCH = 256
#: Of objects whose envelope may be an object of its own.
_APART_SIZES = (MARKS + 16, MARKS + 17)

_AWAY_CODES = frozenset(
    {
        "503",
        "500",
        "502",
        "504",
        "429",
        "InternalError",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "TooManyRequests",
        "BandwidthLimitExceeded",
    }
)
_PASSING_CODES = frozenset(
    {
        "EntityTooLarge",
        "OperationAborted",
        "PreconditionFailed",
        "ConditionalRequestConflict",
        "IncompleteBody",
    }
)
_SECRETS = re.compile(
    r"(://[^:@/\s]*:)[^@/\s]+@|\b(?:AKIA|ASIA)[A-Z0-9]{8,}\b|(X-Amz-[A-Za-z-]+=)[^&\s]+"
)


class NoAnswerError(Exception):
    """There was no answer in time."""


class S3Dialect:
    """The verbs, as reads and conditional writes of one object each."""

    def __init__(self, prefix: str) -> None:
        self._prefix = f"{prefix.rstrip('/')}/c1/" if prefix else "c1/"
        self._names: dict[str, Names] = {}
        self._epochs: dict[str, tuple[int, float]] = {}
        self._turns = [threading.Lock() for _ in range(256)]
        #: The ETag of what a claim has written, by owner.
        self._written: OrderedDict[bytes, str] = OrderedDict()

    def look(
        self,
        function: str,
        digest: bytes,
        max_age: int | None,
        allow_none: bool,
        unreadable: bytes | None,
        claim: bytes | None,
        lease: int,
    ) -> Talk[Looked]:
        """Find an entry, take the claim."""
        asked = max_age, allow_none, unreadable, claim, lease
        seen = yield from self._look(function, digest, *asked)
        if seen is None:
            talk = self._look_again(function, digest, *asked)
            seen = yield from self._in_turn(digest, talk)
        return seen

    def _look_again(self, function: str, digest: bytes, *asked: Any) -> Talk[Looked]:
        for _ in range(_TRIES):
            seen = yield from self._look(function, digest, *asked)
            if seen is not None:
                return seen
        # Others are at it all the time.
        return None, 0, 0, ZEROS, 0, False, 2, 0, 0, False

    def _look(
        self,
        function: str,
        digest: bytes,
        max_age: int | None,
        allow_none: bool,
        unreadable: bytes | None,
        claim: bytes | None,
        lease: int,
    ) -> Talk[Looked | None]:
        """Look once. None: the claim was to be had, and somebody was faster."""
        names = self._of(function)
        got, marks, envelope, damaged = yield from self._read(names, digest)
        now: int = yield Now()
        begin = 0 if marks.apart else marks.begin
        at, version = marks.stored_at, marks.version
        if (
            envelope is not None
            and (allow_none or not marks.is_none)
            and version != unreadable
            and _is_young(max_age, now - at)
        ):
            epoch = self._known_epoch(function)
            return envelope, begin, at, version, epoch, True, 0, 0, now, False
        if claim is None:
            epoch = yield from self._read_epoch(function)
            return envelope, begin, at, version, epoch, False, 0, 0, now, damaged
        holds = marks.until > now
        outcome = 0
        if holds and marks.claim in (FAILED, NOT_STORABLE):
            outcome = marks.claim - FAILED + 1
        is_busy = holds and marks.claim in (HELD, DISOWNED)
        granted = 2 if is_busy else 0 if outcome == 2 else 1
        if granted == 1:
            mine = marks.with_claim(HELD, claim, now + lease * 1000)
            kept = b"" if got is None else got.body[marks.begin :]
            match = got.etag if got else ABSENT
            etag = yield Put(names.entry(digest), mine.object_with(kept), match)
            if etag is None:
                return None
            self._remember(claim, etag)
            epoch = self._known_epoch(function)
        else:
            epoch = yield from self._epoch(function)
        return (
            *(envelope, begin, at, version, epoch),
            *(False, granted, outcome, now, damaged),
        )

    def _read(
        self, names: Names, digest: bytes
    ) -> Talk[tuple[Got | None, Marks, bytes | None, bool]]:
        """Read what there is of a call; and whether something is damaged."""
        for may_be_torn in (True, False):
            got: Got | None = yield Get(names.entry(digest))
            marks, damaged = _marks_of(got)
            if got is None or not marks.has_entry:
                break
            if not marks.apart:
                return got, marks, got.body, False
            value = yield Get(names.value(digest, marks.version))
            if value is not None and len(value.body) == marks.apart:
                return got, marks, value.body, False
            # Somebody has replaced it meanwhile, most likely.
            if not may_be_torn:
                damaged = True
        return got, marks, None, damaged

    def _in_turn(self, digest: bytes, talk: Talk[T]) -> Talk[T]:
        """Let threads change a call's object one after the other, if it is soon.

        So they do not refuse each other. Nothing depends on it.
        """
        turn = self._turns[digest[0]]
        is_ours = turn.acquire(timeout=_LONGEST_TURN)
        try:
            return (yield from talk)
        finally:
            if is_ours:
                turn.release()

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
        now: int = yield Now()
        if stored_at > now + _SECOND:
            return 2, now
        names = self._of(function)
        if names.is_in_state and function not in self._epochs:
            epoch_now = yield from self._read_epoch(function)
            if not epoch_now:
                yield Put(names.state, state_of(function, 0), ABSENT)
        marks = Marks(stored_at, version, True, is_none)
        value = None
        if len(envelope) > INLINE:
            marks = marks._replace(apart=len(envelope))
            value = names.value(digest, version)
            yield Put(value, envelope, ANY)
        if claim is not None:
            body = marks.object_with(envelope)
            talk = self._put_owned(names, digest, version, body, claim)
        else:
            talk = self._write(function, digest, marks, envelope, epoch, base)
        done, old = yield from self._in_turn(digest, talk)
        if not done and value is not None:
            yield Delete(value)
        if done and old is not None and old.apart:
            yield Delete(names.value(digest, old.version))
        return (0 if done else 1), now

    def _put_owned(
        self, names: Names, digest: bytes, version: bytes, body: bytes, claim: bytes
    ) -> Talk[tuple[bool, Marks | None]]:
        key = names.entry(digest)
        # What was there before is not known: had it been apart, the ETag is forgotten.
        etag = self._written.pop(claim, None)
        if etag is not None and (yield Put(key, body, etag)) is not None:
            return True, None
        for _ in range(_TRIES):
            got: Got | None = yield Get(key)
            marks, _damaged = _marks_of(got)
            if got is None:
                return False, None
            if marks.version == version:
                # An answer was lost.
                return True, None
            if marks.owner != claim or marks.claim not in (HELD, FREED, DISOWNED):
                return False, None
            if marks.claim == DISOWNED:
                ended = marks.with_claim(0)
                yield self._rewritten(key, ended, got, marks)
                return False, None
            if (yield Put(key, body, got.etag)) is not None:
                return True, marks
        return False, None

    def erase(self, function: str, digest: bytes, version: bytes) -> Talk[Wrote]:
        """Remove an entry."""
        now: int = yield Now()
        names = self._of(function)
        marks = Marks(now, version)
        talk = self._write(function, digest, marks, b"", None, None)
        done, old = yield from self._in_turn(digest, talk)
        if done and old is not None and old.apart:
            yield Delete(names.value(digest, old.version))
        return 0, now

    def _write(
        self,
        function: str,
        digest: bytes,
        marks: Marks,
        envelope: bytes,
        epoch: int | None,
        base: bytes | None,
    ) -> Talk[tuple[bool, Marks | None]]:
        """Change what is stored, beside whoever computes; give what was there."""
        key = self._of(function).entry(digest)
        for _ in range(_TRIES):
            got: Got | None = yield Get(key)
            now: int = yield Now()
            old, _damaged = _marks_of(got)
            if base is not None and old.version != base:
                return False, None
            if epoch is not None and base in (None, ZEROS):
                if got is None or len(got.body) == NOTHING:
                    # What a clear would find; then its epoch is looked at.
                    body = Marks(claim=DISOWNED, owner=_new_version()).object_with(b"")
                    etag = yield Put(key, body, got.etag if got else ABSENT)
                    if etag is None:
                        continue
                    got = Got(etag, body, len(body))
                if (yield from self._read_epoch(function)) != epoch:
                    return False, None
            holds = old.claim in (HELD, DISOWNED) and old.until > now
            new = marks
            if holds:
                new = marks.with_claim(DISOWNED, old.owner, old.until)
            match = got.etag if got else ABSENT
            if (yield Put(key, new.object_with(envelope), match)) is not None:
                return True, old
        return False, None

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
        self._written.pop(claim, None)
        key = self._of(function).entry(digest)
        talk = self._release(key, claim, base, outcome)
        return (yield from self._in_turn(digest, talk))

    def _release(self, key: str, claim: bytes, base: bytes, outcome: int) -> Talk[bool]:
        for _ in range(_TRIES):
            got: Got | None = yield Get(key)
            now: int = yield Now()
            marks, _damaged = _marks_of(got)
            if (
                got is None
                or marks.owner != claim
                or marks.claim not in (HELD, FREED, DISOWNED)
            ):
                return False
            new = marks.with_claim(0)
            if outcome and (marks.claim != DISOWNED or marks.version == base):
                new = marks.with_claim(outcome + FAILED - 1, ZEROS, now + _OUTCOME)
            if not new.claim and new.version == ZEROS:
                change = Put(key, nothing(), got.etag)
            else:
                change = self._rewritten(key, new, got, marks)
            if (yield change) is not None:
                return True
        return False

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
        talk = self._renew(self._of(function).entry(digest), claim, lease)
        return (yield from self._in_turn(digest, talk))

    def _renew(self, key: str, claim: bytes, lease: int) -> Talk[bool]:
        for _ in range(_TRIES):
            got: Got | None = yield Get(key)
            now: int = yield Now()
            marks, _damaged = _marks_of(got)
            if (
                got is None
                or marks.owner != claim
                or marks.claim not in (HELD, FREED, DISOWNED)
            ):
                return False
            new = marks.with_claim(marks.claim, claim, now + lease * 1000)
            etag = yield self._rewritten(key, new, got, marks)
            if etag is not None:
                if claim in self._written:
                    self._remember(claim, etag)
                return True
        return False

    def scan(
        self, function: str | None, before: int | None, cursor: bytes
    ) -> Talk[tuple[list[Listed], bytes]]:
        """List some entries, in the order of the keys."""
        prefix = self._prefix if function is None else self._of(function).entries
        listing: Listing = yield List(prefix, cursor.decode())
        found = []
        for each in listing.objects:
            place = each.key[len(self._prefix) :].split("/")
            if len(place) == 3 and place[1] == "e" and each.size > MARKS + 1:
                found.append((place[0], place[2], each.key))
        answers: list[Got | None] = yield Many([Get(key, _HEAD) for *_, key in found])
        listed = []
        for (name, digest, key), got in zip(found, answers, strict=True):
            marks, _damaged = _marks_of(got)
            if got is None or not marks.has_entry:
                continue
            if before is not None and marks.stored_at >= before:
                continue
            of = function or (yield from self._function_named(name))
            if of is None or self._of(of).entries + digest != key:
                continue
            size, head = got.size - marks.begin, got.body[marks.begin :]
            if marks.apart:
                value = self._of(of).value(bytes.fromhex(digest), marks.version)
                first: Got | None = yield Get(value, _HEAD)
                size, head = marks.apart, first.body if first else b""
            at = marks.stored_at
            listed.append((of, bytes.fromhex(digest), at, head, size))
        after = b"" if listing.is_whole else listing.objects[-1].key.encode()
        return listed, after

    def clear(self, function: str | None, before: int | None) -> Talk[int]:
        """Remove all entries, or those stored before a time."""
        functions = [function] if function is not None else []
        if function is None:
            functions = yield from self._functions()
        count = 0
        for each in functions:
            count += yield from self._clear(each, before)
        return count

    def _clear(self, function: str, before: int | None) -> Talk[int]:
        began: int = yield Now()
        if before is None:
            yield from self._raise_epoch(function)
        names = self._of(function)
        count = 0
        after = ""
        while True:
            listing: Listing = yield List(names.entries, after)
            for at in range(0, len(listing.objects), _BATCH):
                batch = listing.objects[at : at + _BATCH]
                count += yield from self._remove(names, batch, before, began)
            if listing.is_whole:
                break
            after = listing.objects[-1].key
        yield from self._remove_values(names, began, before is None)
        return count

    def _remove(
        self, names: Names, objects: list[Seen], before: int | None, now: int
    ) -> Talk[int]:
        """Remove entries by what a listing says of them, or look at them first."""
        sure: list[Any] = []
        others: list[str] = []
        count = 0
        for each in objects:
            age = now - each.modified
            has_entry = each.size > MARKS + 1
            if each.size == NOTHING:
                if age > _MINUTE:
                    sure.append(Delete(each.key, each.etag))
            elif before is not None and not has_entry:
                # Only who was killed leaves a claim for so long.
                if age > _HOUR:
                    others.append(each.key)
            elif is_claimed(each.size) or each.size in _APART_SIZES:
                others.append(each.key)
            # One of less than 2 s before may have been stamped after that.
            elif age > 10 * _SECOND and (
                before is None or each.modified + 2 * _SECOND < before
            ):
                sure.append(Put(each.key, nothing(), each.etag))
            else:
                others.append(each.key)
        sizes = {each.key: each.size for each in objects}
        done = yield Many(sure)
        for request, answer in zip(sure, done, strict=True):
            if not answer:
                others.append(request.key)
            elif sizes[request.key] > MARKS + 1:
                count += 1
        for _ in range(_TRIES):
            if not others:
                break
            removed, others = yield from self._look_and_remove(names, others, before)
            count += removed
        return count

    def _look_and_remove(
        self, names: Names, keys: list[str], before: int | None
    ) -> Talk[tuple[int, list[str]]]:
        """Remove entries. Gives how many, and those that have changed meanwhile."""
        found: list[Got | None] = yield Many([Get(key, MARKS + 17) for key in keys])
        now: int = yield Now()
        changes: list[tuple[Any, Marks]] = []
        for key, got in zip(keys, found, strict=True):
            if got is None:
                continue
            marks, _damaged = _marks_of(got)
            if before is not None and marks.has_entry and marks.stored_at >= before:
                continue
            holds = marks.claim in (HELD, DISOWNED) and marks.until > now
            if before is not None and holds and not marks.has_entry:
                continue
            if not holds:
                body = nothing()
            else:
                new = marks.without_entry(_new_version(), now)
                if before is None:
                    new = new.with_claim(DISOWNED, marks.owner, marks.until)
                body = new.object_with(b"")
            changes.append((Put(key, body, got.etag), marks))
        done = yield Many([request for request, _ in changes])
        count = 0
        refused: list[str] = []
        values: list[Delete] = []
        for (request, marks), answer in zip(changes, done, strict=True):
            if answer is None:
                refused.append(request.key)
                continue
            count += 1 if marks.has_entry else 0
            if marks.apart:
                digest = request.key[len(names.entries) :]
                values.append(Delete(f"{names.values}{digest}-{marks.version.hex()}"))
        yield Many(values)
        return count, refused

    def _remove_values(self, names: Names, began: int, all_of_them: bool) -> Talk[None]:
        """Remove envelopes that no entry names any more."""
        after = ""
        limit = began - (2 * _SECOND if all_of_them else _HOUR)
        while True:
            listing: Listing = yield List(names.values, after)
            old = [each for each in listing.objects if each.modified < limit]
            for each in old:
                digest, _, version = each.key[len(names.values) :].partition("-")
                got = yield Get(names.entries + digest, _HEAD)
                marks, _damaged = _marks_of(got)
                if not marks.apart or marks.version.hex() != version:
                    yield Delete(each.key)
            if listing.is_whole:
                return
            after = listing.objects[-1].key

    def free_claims(self, function: str | None) -> Talk[None]:
        """Free every claim; owners may store as long as nobody else has claimed."""
        prefix = self._prefix if function is None else self._of(function).entries
        after = ""
        while True:
            listing: Listing = yield List(prefix, after)
            for each in listing.objects:
                if is_claimed(each.size) and "/e/" in each.key:
                    yield from self._free(each.key)
            if listing.is_whole:
                return
            after = listing.objects[-1].key

    def _free(self, key: str) -> Talk[None]:
        for _ in range(_TRIES):
            got: Got | None = yield Get(key)
            marks, _damaged = _marks_of(got)
            if got is None or marks.claim not in (HELD, DISOWNED):
                return
            new = marks.with_claim(0)
            if marks.claim == HELD:
                new = marks.with_claim(FREED, marks.owner, marks.until)
            if (yield self._rewritten(key, new, got, marks)) is not None:
                return

    def clock(self) -> Talk[int]:
        """Ask for the server's time."""
        yield Get(self._prefix.rstrip("/"), 1)
        return (yield Now())  # type: ignore[no-any-return]

    def judge(self, exception: BaseException) -> tuple[int, str]:
        """Say what an exception of the client means, and its words."""
        words = _SECRETS.sub(_mask, str(exception)).strip()
        if isinstance(exception, NoAnswerError):
            return OUTAGE, words
        called = type(exception).__name__
        said = f"{called}: {words}" if words else called
        names = {each.__name__ for each in type(exception).__mro__}
        if "ClientError" not in names:
            lasting = {"NoCredentialsError", "PartialCredentialsError", "ValueError"}
            lasting |= {"ParamValidationError", "ProfileNotFound", "TypeError"}
            lasting |= {"NoRegionError", "CredentialRetrievalError", "AttributeError"}
            return (OUTAGE if names.isdisjoint(lasting) else LASTS), said
        response = getattr(exception, "response", None) or {}
        code = str(response.get("Error", {}).get("Code", ""))
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in _AWAY_CODES or status >= 500 or status == 429:
            return OUTAGE, said
        if code in _PASSING_CODES:
            return PASSES, said
        if code in ("AccessDenied", "403"):
            said += " (s3:GetObject, PutObject, DeleteObject and ListBucket are needed)"
        return LASTS, said

    @staticmethod
    def _rewritten(key: str, new: Marks, got: Got, old: Marks) -> Put:
        """Give the request that changes the marks of an object and nothing else."""
        return Put(key, new.object_with(got.body[old.begin :]), got.etag)

    def _remember(self, claim: bytes, etag: str) -> None:
        self._written[claim] = etag
        while len(self._written) > _REMEMBERED:
            self._written.popitem(last=False)

    def _known_epoch(self, function: str) -> int:
        return self._epochs.get(function, (0, 0.0))[0]

    def _epoch(self, function: str) -> Talk[int]:
        """Give a function's epoch, as far as it is known: an old one refuses a put."""
        known = self._epochs.get(function)
        if known is not None and time.monotonic() - known[1] < _KNOWN:
            return known[0]
        return (yield from self._read_epoch(function))

    def _read_epoch(self, function: str) -> Talk[int]:
        asked_at = time.monotonic()
        got: Got | None = yield Get(self._of(function).state)
        state = read_state(got.body) if got else None
        epoch = state[0] if state else 0
        self._epochs[function] = epoch, asked_at
        return epoch

    def _raise_epoch(self, function: str) -> Talk[None]:
        key = self._of(function).state
        for _ in range(_TRIES):
            got: Got | None = yield Get(key)
            now: int = yield Now()
            state = read_state(got.body) if got else None
            epoch = max(now, (state[0] if state else 0) + 1)
            body = state_of(function, epoch)
            if (yield Put(key, body, got.etag if got else ABSENT)) is not None:
                self._epochs[function] = epoch, time.monotonic()
                return

    def _functions(self) -> Talk[list[str]]:
        found: list[str] = []
        after = ""
        while True:
            listing: Listing = yield List(self._prefix, after, "/")
            for prefix in listing.prefixes:
                name = prefix[len(self._prefix) :].rstrip("/")
                function = yield from self._function_named(name)
                if function is not None:
                    found.append(function)
            if listing.is_whole or not listing.prefixes:
                return found
            after = listing.prefixes[-1] + "\U0010ffff"

    def _function_named(self, name: str) -> Generator[Any, Any, str | None]:
        function = function_of(name)
        if function is None:
            got: Got | None = yield Get(f"{self._prefix}{name}/state")
            state = read_state(got.body) if got else None
            function = state[1] if state else None
        return function

    def _of(self, function: str) -> Names:
        names = self._names.get(function)
        if names is None:
            names = self._names[function] = Names(self._prefix, function)
        return names


def _marks_of(got: Got | None) -> tuple[Marks, bool]:
    """Give the marks, and whether there is something that has none."""
    if got is None:
        return Marks(), False
    marks = Marks.of(got.body, got.size)
    return (Marks(), True) if marks is None else (marks, False)


def _is_young(max_age: int | None, age: int) -> bool:
    if max_age is None:
        return True
    return max_age > 0 and -_SECOND <= age <= max_age


def _new_version() -> bytes:
    return secrets.token_bytes(16)


def _mask(found: re.Match[str]) -> str:
    if found.group(1):
        return f"{found.group(1)}***@"
    return f"{found.group(2) or ''}***"
