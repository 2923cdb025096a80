"""Objects of ``docs/formats/s3.md``: their names and marks, and requests for them."""

from __future__ import annotations

import hashlib
import re
import secrets
import struct
import zlib
from typing import Any, NamedTuple

__all__ = [
    "ABSENT",
    "ANY",
    "DISOWNED",
    "FAILED",
    "FREED",
    "HELD",
    "INLINE",
    "MARKS",
    "NOTHING",
    "NOT_STORABLE",
    "ZEROS",
    "Delete",
    "Get",
    "Got",
    "List",
    "Listing",
    "Many",
    "Marks",
    "Names",
    "Now",
    "Put",
    "Seen",
    "function_of",
    "is_claimed",
    "nothing",
    "read_state",
    "state_of",
]

ZEROS = bytes(16)
NONE, HELD, DISOWNED, FREED, FAILED, NOT_STORABLE = range(6)
_NO_ENTRY, _IS_NONE, _APART, _PADDED = 1, 2, 4, 8
#: Envelopes above this are objects of their own.
INLINE = 4 << 20
MARKS = 64
#: The size of an object of a call of which nothing is known.
NOTHING = 18
_LAYOUT = struct.Struct(">2sBBIq16sq16sQ")
_STATE = struct.Struct(">2sHIQ")
_SIZES = struct.Struct(">QQ")

#: What a change wants to find: anything, or nothing; else the ETag.
ANY, ABSENT = "any", "absent"


class Get(NamedTuple):
    """An object, or the first bytes of it. The answer: `Got`, or None."""

    key: str
    first: int | None = None


class Got(NamedTuple):
    """What was there."""

    etag: str
    body: bytes
    size: int


class Put(NamedTuple):
    """Write an object if what is there is what is wanted. Gives its ETag, or None."""

    key: str
    body: bytes
    match: str


class Delete(NamedTuple):
    """Remove an object if it is the one that is wanted. Gives whether it is gone."""

    key: str
    match: str = ANY


class List(NamedTuple):
    """Objects whose names begin so, in the order of names. The answer: `Listing`."""

    prefix: str
    after: str = ""
    delimiter: str = ""


class Seen(NamedTuple):
    """An object of a listing; `modified` in microseconds."""

    key: str
    etag: str
    size: int
    modified: int


class Listing(NamedTuple):
    """Some objects, the common beginnings of others, and whether there are more."""

    objects: list[Seen]
    prefixes: list[str]
    is_whole: bool


class Now(NamedTuple):
    """The server's time, in microseconds."""


class Many(NamedTuple):
    """Requests that do not wait for each other. The answer: theirs, in order."""

    requests: list[Any]


class Marks(NamedTuple):
    """What is before an envelope."""

    stored_at: int = 0
    version: bytes = ZEROS
    has_entry: bool = False
    is_none: bool = False
    claim: int = NONE
    owner: bytes = ZEROS
    until: int = 0
    #: Of an envelope that is an object of its own; 0: it is not.
    apart: int = 0
    #: Where the envelope begins; of what has been read.
    begin: int = MARKS

    def with_claim(self, claim: int, owner: bytes = ZEROS, until: int = 0) -> Marks:
        """Give the same entry with another claim."""
        return self._replace(claim=claim, owner=owner, until=until)

    def without_entry(self, version: bytes, stored_at: int) -> Marks:
        """Give the same claim and a tombstone."""
        return self._replace(
            has_entry=False,
            is_none=False,
            apart=0,
            version=version,
            stored_at=stored_at,
        )

    def object_with(self, envelope: bytes) -> bytes:
        """Give the object, with the envelope of the entry if it holds it."""
        flags = _IS_NONE if self.is_none else 0
        if not self.has_entry:
            flags |= _NO_ENTRY
            envelope = b""
        elif self.apart:
            flags |= _APART
            envelope = _SIZES.pack(self.apart, 0)
        is_odd = self.claim in (HELD, DISOWNED)
        padded = (len(envelope) % 2 == 1) != is_odd
        if padded:
            flags |= _PADDED
        words = [b"c1", flags, self.claim, 0, self.stored_at, self.version]
        words += [self.until, self.owner, 0]
        marks = bytearray(_LAYOUT.pack(*words))
        struct.pack_into(">I", marks, 4, zlib.crc32(marks))
        return b"".join((marks, b"\0" if padded else b"", envelope))

    @classmethod
    def of(cls, body: bytes, size: int | None = None) -> Marks | None:
        """Read them. None: they are not ours, or damaged."""
        if len(body) == NOTHING and body.startswith(b"c1"):
            return cls(begin=NOTHING)
        if len(body) < MARKS:
            return None
        words = _LAYOUT.unpack_from(body)
        magic, flags, claim, checksum, stored_at, version, until, owner, zero = words
        plain = body[:4] + bytes(4) + body[8:MARKS]
        if magic != b"c1" or zero or claim > NOT_STORABLE or flags >= 16:
            return None
        if zlib.crc32(plain) != checksum:
            return None
        begin = MARKS + (1 if flags & _PADDED else 0)
        has_entry = not flags & _NO_ENTRY
        apart = 0
        if flags & _APART:
            if len(body) != begin + _SIZES.size:
                return None
            apart = _SIZES.unpack_from(body, begin)[0]
        elif not has_entry and (len(body) if size is None else size) != begin:
            return None
        is_none = bool(flags & _IS_NONE)
        return cls(
            *(stored_at, version, has_entry, is_none, claim),
            *(owner, until, apart, begin),
        )


def nothing() -> bytes:
    """Give the object of a call of which nothing is known, like no other before it."""
    return b"c1" + secrets.token_bytes(NOTHING - 2)


def is_claimed(size: int) -> bool:
    """Whether an object of this size is of a call that somebody computes."""
    return size % 2 == 1


_PLAIN = re.compile(rb"[^A-Za-z0-9._*'(),:-]")
_CODED = re.compile("!([0-9a-f]{2})")
_LONGEST = 200


class Names:
    """Keys of the objects of one function."""

    def __init__(self, prefix: str, function: str) -> None:
        name = _PLAIN.sub(lambda found: b"!%02x" % found.group()[0], function.encode())
        text = name.decode()
        # Parts of keys are names of files on some servers.
        self.is_in_state = len(text) > _LONGEST or text in (".", "..")
        if self.is_in_state:
            of = hashlib.sha256(function.encode()).hexdigest()[:32]
            text = f"{text[:160]}~{of}"
        self.state = f"{prefix}{text}/state"
        self.entries = f"{prefix}{text}/e/"
        self.values = f"{prefix}{text}/v/"

    def entry(self, digest: bytes) -> str:
        """Give the key of a call's object."""
        return self.entries + digest.hex()

    def value(self, digest: bytes, version: bytes) -> str:
        """Give the key of an envelope that is an object of its own."""
        return f"{self.values}{digest.hex()}-{version.hex()}"


def function_of(name: str) -> str | None:
    """Give the function of a name. None: it is in the state."""
    if "~" in name:
        return None
    try:
        coded = _CODED.sub(lambda found: chr(int(found.group(1), 16)), name)
        return coded.encode("latin-1").decode()
    except UnicodeError:
        return None


def state_of(function: str, epoch: int) -> bytes:
    """Give the object of a function."""
    text = function.encode()
    state = _STATE.pack(b"c1", 0, 0, epoch) + text
    return _STATE.pack(b"c1", 0, zlib.crc32(state), epoch) + text


def read_state(body: bytes) -> tuple[int, str] | None:
    """Read a function's epoch and id. None: they are not ours, or damaged."""
    if len(body) < _STATE.size:
        return None
    magic, zero, checksum, epoch = _STATE.unpack_from(body)
    plain = _STATE.pack(b"c1", 0, 0, epoch) + body[_STATE.size :]
    if magic != b"c1" or zero or zlib.crc32(plain) != checksum:
        return None
    try:
        return epoch, body[_STATE.size :].decode()
    except UnicodeError:
        return None
