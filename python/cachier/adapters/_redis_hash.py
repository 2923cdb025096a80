"""Entries of clients that know hashes only: fakes, which one process uses.

The bytes of an entry are as in ``docs/formats/redis.md``, in the one field ``entry`` of
a hash. Claims and epochs are this process's.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from ._base import Listed, Seen, Talk, Wrote
from .redis import BUCKETS, MARKS, ZEROS, RedisDialect, escape, unescape

__all__ = ["AsyncHashLine", "HashDialect", "HashLine"]

_FIELD = "entry"


class Call(NamedTuple):
    """A method of the client, and what it is called with."""

    method: str
    arguments: tuple[Any, ...] = ()
    keywords: dict[str, Any] = {}  # noqa: RUF012


class HashLine:
    """Calls the client, or what a callable gives."""

    def __init__(self, client: Callable[[], Any]) -> None:
        self._client = client

    def __call__(self, request: Call, timeout: float) -> Any:
        """Call a method; fakes have no time-outs."""
        return getattr(self._client(), request.method)(
            *request.arguments, **request.keywords
        )

    def location(self) -> str:
        """Say where it is."""
        return "redis"


class AsyncHashLine:
    """Awaits the methods of an async client, or of what a callable gives."""

    is_free = False

    def __init__(self, client: Callable[[], Awaitable[Any]]) -> None:
        self._client = client

    async def __call__(self, request: Call, timeout: float) -> Any:
        """Call a method and await it."""
        method = getattr(await self._client(), request.method)
        return await method(*request.arguments, **request.keywords)

    def location(self) -> str:
        """Say where it is."""
        return "redis"


class _Claim:
    def __init__(self, claim: bytes, until: float) -> None:
        self.claim = claim
        self.until = until
        self.may_store = True
        self.is_free = False


class HashDialect(RedisDialect):
    """The verbs, as calls under a lock."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.RLock()
        self._epochs: dict[str, int] = {}
        self._claims: dict[tuple[str, bytes], _Claim] = {}
        self._outcomes: dict[tuple[str, bytes], tuple[int, int, float]] = {}

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
        at = (function, digest)
        with self._lock:
            entry = yield from self._read(function, digest)
            epoch = self._epochs.setdefault(function, 1)
            now = _now()
            damaged = entry is not None and (len(entry) < 40 or entry[:2] != b"c1")
            stored_at, version, flags = 0, ZEROS, 1
            if entry is not None and not damaged:
                _, flags, _, stored_at, version = MARKS.unpack_from(entry)
            envelope = None if flags & 1 else entry
            fresh = (
                envelope is not None
                and (allow_none or not flags & 2)
                and version != unreadable
                and (
                    max_age is None
                    or (max_age > 0 and -1_000_000 <= now - stored_at <= max_age)
                )
            )
            granted, outcome = 0, 0
            if not fresh and claim is not None:
                left, of, until = self._outcomes.get(at, (0, 0, 0.0))
                if of == epoch and time.monotonic() < until:
                    outcome = left
                if outcome != 2:
                    held = self._claims.get(at)
                    if held and not held.is_free and time.monotonic() < held.until:
                        granted = 2
                    else:
                        granted = 1
                        until = time.monotonic() + lease / 1000
                        self._claims[at] = _Claim(claim, until)
            return (
                envelope,
                40,
                stored_at,
                version,
                epoch,
                fresh,
                granted,
                outcome,
                now,
                damaged,
            )

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
        at = (function, digest)
        with self._lock:
            now = self._epochs.setdefault(function, 1)
            held = self._claims.get(at)
            if claim is not None:
                mine = held is not None and held.claim == claim
                if mine:
                    del self._claims[at]
                if held is None or not mine or not held.may_store or now != epoch:
                    return 1, _now()
            elif epoch is not None and now != epoch:
                return 1, _now()
            if base is not None:
                entry = yield from self._read(function, digest)
                if (entry[24:40] if entry and len(entry) >= 40 else ZEROS) != base:
                    return 1, _now()
            flags = 2 if is_none else 0
            yield from self._write_entry(
                function, digest, flags, stored_at, version, envelope
            )
            return 0, _now()

    def erase(self, function: str, digest: bytes, version: bytes) -> Talk[Wrote]:
        """Remove an entry."""
        with self._lock:
            yield from self._write_entry(function, digest, 1, 0, version, b"")
            return 0, _now()

    def _write_entry(
        self,
        function: str,
        digest: bytes,
        flags: int,
        stored_at: int,
        version: bytes,
        envelope: bytes,
    ) -> Talk[None]:
        at = (function, digest)
        epoch = self._epochs.setdefault(function, 1)
        marks = MARKS.pack(b"c1", flags, epoch, stored_at, version)
        yield Call(
            "hset",
            (self._key(function, digest),),
            {"mapping": {_FIELD: marks + envelope}},
        )
        self._outcomes.pop(at, None)
        if at in self._claims:
            self._claims[at].may_store = False

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
        at = (function, digest)
        with self._lock:
            held = self._claims.get(at)
            if held is None or held.claim != claim:
                return False
            del self._claims[at]
            if outcome and self._epochs.get(function) == epoch:
                entry = yield from self._read(function, digest)
                version = entry[24:40] if entry and len(entry) >= 40 else ZEROS
                if held.may_store or version == base:
                    self._outcomes[at] = (outcome, epoch, time.monotonic() + 5)
            return True

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
        with self._lock:
            held = self._claims.get((function, digest))
            if held is None or held.claim != claim:
                return False
            held.until = time.monotonic() + lease / 1000
            return True
        yield

    def scan(
        self, function: str | None, before: int | None, cursor: bytes
    ) -> Talk[tuple[list[Listed], bytes]]:
        """List all entries at once."""
        listed = []
        for key in (yield from self._keys(function)):
            entry = yield from self._get(key)
            if entry is None or len(entry) < 40 or entry[:2] != b"c1":
                continue
            _, flags, _, at, _ = MARKS.unpack_from(entry)
            if flags & 1 or (before is not None and at >= before):
                continue
            of, digest = _split(key)
            listed.append((of, digest, at, entry[40:], len(entry) - 40))
        return listed, b""

    def clear(self, function: str | None, before: int | None) -> Talk[int]:
        """Remove all entries, or those stored before a time."""
        with self._lock:
            if before is None:
                for each in [function] if function else list(self._epochs):
                    self._epochs[each] = self._epochs.get(each, 1) + 1
            listed, _ = yield from self.scan(function, before, b"")
            for of, digest, *_ in listed:
                yield Call("delete", (self._key(of, digest),))
            return len(listed)

    def free_claims(self, function: str | None) -> Talk[None]:
        """Free every claim."""
        with self._lock:
            for (of, _), held in self._claims.items():
                if function is None or of == function:
                    held.is_free = True
        return
        yield

    def clock(self) -> Talk[int]:
        """Give this machine's time."""
        return _now()
        yield

    def _key(self, function: str, digest: bytes) -> str:
        return self._of(function, digest)[0] + digest.hex()

    def _read(self, function: str, digest: bytes) -> Talk[bytes | None]:
        return (yield from self._get(self._key(function, digest)))

    def _get(self, key: str) -> Talk[bytes | None]:
        fields = (yield Call("hgetall", (key,))) or {}
        entry = fields.get(_FIELD, fields.get(_FIELD.encode()))
        if isinstance(entry, str):
            # Of a client that decodes; what cannot be had back is damaged.
            entry = entry.encode("latin-1", "replace")
        return None if entry is None else bytes(entry)

    def _keys(self, function: str | None) -> Talk[list[str]]:
        name = "*" if function is None else _literal(escape(function))
        keys = yield Call("keys", (f"{{{name}#[{BUCKETS}]}}:e:*",))
        return [key.decode() if isinstance(key, bytes) else key for key in keys]


def _literal(text: str) -> str:
    """Give a pattern that is met by this text only."""
    return re.sub(r"([*?\[\]\\])", r"\\\1", text)


def _split(key: str) -> tuple[str, bytes]:
    return unescape(key[1:-38].encode()), bytes.fromhex(key[-32:])


def _now() -> int:
    return time.time_ns() // 1000
