"""Entries on a Redis server, through a client that the program brings.

The format is ``docs/formats/redis.md``.
"""

from __future__ import annotations

import heapq
import re
import struct
from typing import Any, NamedTuple

from . import _redis_scripts as scripts
from ._base import LASTS, OUTAGE, PASSES, Listed, Seen, Talk, Wrote

__all__ = [
    "BUCKETS",
    "MARKS",
    "ZEROS",
    "Command",
    "RedisDialect",
    "Run",
    "Spread",
    "UnusableClientError",
    "escape",
    "unescape",
]

_FUNCTIONS = "cachier:functions"
BUCKETS = "0123456789abcdef"
ZEROS = bytes(16)
#: Marks before an envelope: format, flags, epoch, time, version.
MARKS = struct.Struct(">2sB5xQQ16s")
_LOOK = struct.Struct(">BQQ16s16s")
_PUT = struct.Struct(">BBQQ16s16s16s16s")
_RELEASE = struct.Struct(">BQ16s16s")
_RENEW = struct.Struct(">QQ16s16s")
_TIME = struct.Struct(">Q")
_PAGE = 1024
#: All of an envelope before its value: the key is the most of it.
_HEAD = 40 + 1024 + 256 - 1
_MOST_LEASE = 2**52

_WANTS, _TAKES_NONE, _LIMITED, _NEVER, _PASSES = 1, 2, 4, 8, 16

# Names of the client's exceptions: it need not be redis-py itself.
_REFUSALS = frozenset(
    {
        "AuthenticationError",
        "AuthenticationWrongNumberOfArgsError",
        "AuthorizationError",
        "NoPermissionError",
    }
)
_REFUSING = re.compile(
    r"^(NOAUTH|WRONGPASS|NOPERM|ERR invalid password|invalid password|"
    r"(ERR )?(DB index is out of range|invalid DB index|SELECT is not allowed))",
    re.IGNORECASE,
)
_PASSWORD = re.compile(r"(://[^:@/\s]*:)[^@/\s]+@")


class UnusableClientError(TypeError):
    """The client decodes what are no texts, and cannot be told not to."""


class Command(NamedTuple):
    """A command for one key."""

    words: tuple[Any, ...]


class Run(NamedTuple):
    """A script, for the keys of one bucket."""

    script: scripts.Script
    keys: tuple[str, ...]
    arguments: tuple[bytes | int, ...]


class Spread(NamedTuple):
    """A script for groups of keys of several buckets; gives an item for each."""

    script: scripts.Script
    groups: list[tuple[str, ...]]


class RedisDialect:
    """The verbs, as scripts."""

    def __init__(self) -> None:
        self._names: dict[str, list[tuple[str, str, str, str, str]]] = {}

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
        asked = _WANTS if claim is not None else 0
        if allow_none:
            asked |= _TAKES_NONE
        if unreadable is not None:
            asked |= _PASSES
        if max_age is not None:
            asked |= _LIMITED if max_age > 0 else _NEVER
        entries, claims, state, _, _ = self._of(function, digest)
        name = digest.hex()
        packed = _LOOK.pack(
            asked,
            max(0, max_age or 0),
            min(lease, _MOST_LEASE),
            claim or ZEROS,
            unreadable or ZEROS,
        )
        answer = yield Run(
            scripts.LOOK, (entries + name, claims + name, state), (packed,)
        )
        if isinstance(answer, bytes):
            _, _, epoch, at, version = MARKS.unpack_from(answer)
            return answer, 40, at, version, epoch, True, 0, 0, 0, False
        granted, outcome, now, epoch, entry, is_new = answer
        if is_new:
            yield Command(("SADD", _FUNCTIONS, escape(function)))
        if entry is None:
            return None, 0, 0, ZEROS, epoch, False, granted, outcome, now, False
        if len(entry) < 40 or entry[:2] != b"c1":
            return None, 0, 0, ZEROS, epoch, False, granted, outcome, now, True
        _, flags, _, at, version = MARKS.unpack_from(entry)
        envelope = None if flags & 1 else entry
        return envelope, 40, at, version, epoch, False, granted, outcome, now, False

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
        mode = 0
        if claim is not None:
            mode = 1
        elif base is not None:
            mode = 2
        elif epoch is not None:
            mode = 3
        marks = (
            mode,
            2 if is_none else 0,
            stored_at,
            epoch or 0,
            base or ZEROS,
            claim or ZEROS,
            version,
            digest,
        )
        return (yield from self._write(function, digest, marks, envelope))

    def erase(self, function: str, digest: bytes, version: bytes) -> Talk[Wrote]:
        """Remove an entry."""
        marks = (0, 1, 0, 0, ZEROS, ZEROS, version, digest)
        return (yield from self._write(function, digest, marks, b""))

    def _write(
        self, function: str, digest: bytes, marks: tuple[Any, ...], envelope: bytes
    ) -> Talk[Wrote]:
        entries, claims, state, index, cleared = self._of(function, digest)
        name = digest.hex()
        done, now, is_new = yield Run(
            scripts.PUT,
            (entries + name, claims + name, state, index, cleared),
            (_PUT.pack(*marks), envelope),
        )
        if is_new:
            yield Command(("SADD", _FUNCTIONS, escape(function)))
        return done, now

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
        packed = _RELEASE.pack(outcome, epoch, base, claim)
        answer = yield self._on_claim(scripts.RELEASE, function, digest, packed)
        return bool(answer)

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
        packed = _RENEW.pack(min(lease, _MOST_LEASE), epoch, base, claim)
        answer = yield self._on_claim(scripts.RENEW, function, digest, packed)
        return bool(answer)

    def _on_claim(
        self, script: scripts.Script, function: str, digest: bytes, packed: bytes
    ) -> Run:
        entries, claims, state, _, _ = self._of(function, digest)
        name = digest.hex()
        return Run(script, (entries + name, claims + name, state), (packed,))

    def scan(
        self, function: str | None, before: int | None, cursor: bytes
    ) -> Talk[tuple[list[Listed], bytes]]:
        """List some entries: a part of a bucket."""
        of, bucket, last = _read_cursor(cursor)
        functions = yield from self._functions(function)
        functions.sort()
        while functions and functions[0] < of:
            functions.pop(0)
        if not functions:
            return [], b""
        if functions[0] != of:
            of, bucket, last = functions[0], 0, b""
        _, _, state, index, _ = self._buckets(of)[bucket]
        members = yield Command(("SMEMBERS", index))
        digests = heapq.nsmallest(_PAGE, (d for d in members if d > last))
        listed = []
        if digests:
            heads = yield Run(scripts.HEADS, (state,), (_HEAD, *digests))
            for digest, found in zip(digests, heads, strict=True):
                if not found:
                    continue
                _, _, _, at, _ = MARKS.unpack_from(found[0])
                if before is None or at < before:
                    listed.append((of, digest, at, found[0][40:], found[1] - 40))
        if len(digests) == _PAGE:
            return listed, _write_cursor(of, bucket, digests[-1])
        if bucket + 1 < len(BUCKETS):
            return listed, _write_cursor(of, bucket + 1, b"")
        if len(functions) > 1:
            return listed, _write_cursor(functions[1], 0, b"")
        return listed, b""

    def clear(self, function: str | None, before: int | None) -> Talk[int]:
        """Remove all entries, or those stored before a time."""
        count = 0
        functions = yield from self._functions(function)
        for each in functions:
            if before is None:
                # Whoever clears everything later must know of it.
                yield Command(("SADD", _FUNCTIONS, escape(each)))
                count += sum((yield Spread(scripts.CLEAR, self._groups(each))))
        for each in functions:
            if before is None:
                yield from self._delete(self._groups(each))
            else:
                count += yield from self._remove_stale(each, before)
        return count

    def _delete(self, groups: list[tuple[str, ...]]) -> Talk[None]:
        while groups:
            left = yield Spread(scripts.DELETE, groups)
            groups = [group for group, more in zip(groups, left, strict=True) if more]

    def _remove_stale(self, function: str, before: int) -> Talk[int]:
        count = 0
        for group in self._groups(function):
            cursor = b"0"
            while True:
                cursor, removed = yield Run(
                    scripts.STALE, group, (cursor, _TIME.pack(max(0, before)))
                )
                count += removed
                if cursor == b"0":
                    break
        return count

    def free_claims(self, function: str | None) -> Talk[None]:
        """Free every claim."""
        functions = yield from self._functions(function)
        for each in functions:
            yield Spread(scripts.FREE, self._groups(each))

    def clock(self) -> Talk[int]:
        """Ask for the server's time."""
        seconds, rest = yield Command(("TIME",))
        return int(seconds) * 1_000_000 + int(rest)

    def channel(self, function: str, digest: bytes) -> str:
        """Give the channel that tells of an entry."""
        return self._of(function, digest)[0][:-2] + "w:" + digest.hex()

    def judge(self, exception: BaseException) -> tuple[int, str]:
        """Say what an exception of the client means, and its words."""
        words = str(exception)
        names = {each.__name__ for each in type(exception).__mro__}
        called = type(exception).__name__
        masked = _PASSWORD.sub(r"\1***@", words)
        said = f"{called}: {masked}" if masked else called
        if isinstance(exception, UnusableClientError):
            return LASTS, words
        if not names.isdisjoint(_REFUSALS) or _REFUSING.match(words):
            return LASTS, said
        return PASSES if "ResponseError" in names else OUTAGE, said

    def _functions(self, function: str | None) -> Talk[list[str]]:
        if function is not None:
            return [function]
        names = yield Command(("SMEMBERS", _FUNCTIONS))
        return [unescape(name) for name in names]

    def _groups(self, function: str) -> list[tuple[str, ...]]:
        return [names[2:] for names in self._buckets(function)]

    def _of(self, function: str, digest: bytes) -> tuple[str, str, str, str, str]:
        return self._buckets(function)[digest[0] >> 4]

    def _buckets(self, function: str) -> list[tuple[str, str, str, str, str]]:
        names = self._names.get(function)
        if names is None:
            escaped = escape(function)
            names = self._names[function] = []
            for bucket in BUCKETS:
                tag = f"{{{escaped}#{bucket}}}:"
                names.append((tag + "e:", tag + "c:", tag + "s", tag + "i", tag + "g"))
        return names


def escape(function: str) -> str:
    """Give a function's id as a part of keys."""
    return re.sub(
        r"[%{}\x00-\x20\x7f]", lambda found: f"%{ord(found.group()):02x}", function
    )


def unescape(name: bytes) -> str:
    """Give the id back."""
    text = name.decode("utf-8", "replace")
    return re.sub(r"%([0-9a-f]{2})", lambda hexed: chr(int(hexed.group(1), 16)), text)


def _read_cursor(cursor: bytes) -> tuple[str, int, bytes]:
    if not cursor:
        return "", 0, b""
    size = cursor[1]
    return cursor[2 + size :].decode(), cursor[0], cursor[2 : 2 + size]


def _write_cursor(function: str, bucket: int, last: bytes) -> bytes:
    return bytes([bucket, len(last)]) + last + function.encode()
