"""The documents of ``docs/formats/mongo.md``: names, fields, and updates of them."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterator
from typing import Any, NamedTuple

__all__ = [
    "DISOWNED",
    "FAILED",
    "FREED",
    "HELD",
    "INDEXES",
    "IN_ONE",
    "NOT_STORABLE",
    "PART",
    "TRACE",
    "ZEROS",
    "Call",
    "Entry",
    "Names",
    "as_seen",
    "entry_of",
    "gone_at",
    "number_of",
    "part_names",
    "parts_of",
    "put_of",
    "without_claim",
    "without_entry",
]

ZEROS = bytes(16)
#: Values of `state`.
HELD, DISOWNED, FAILED, NOT_STORABLE, FREED = 1, 2, 3, 4, 5

#: What of an envelope is in `envelope`: all before its value, which is mostly the key.
_HEAD = 1280
#: An envelope of more is in parts of so much.
IN_ONE = 15 * 2**20
PART = 4 * 2**20
#: How long a document lasts that holds no entry, in us.
TRACE = 3_600_000_000

_ENTRY = ("stored", "size", "envelope", "rest", "parts", "none")
_CLAIM = ("owner", "state", "until")
_ABSENT = {"$exists": False}
_EPOCH = datetime.datetime(1970, 1, 1)

#: The fields of each index, and its options.
INDEXES: dict[str, tuple[list[tuple[str, int]], dict[str, Any]]] = {
    "cachier1_ages": ([("function", 1), ("stored", 1)], {}),
    "cachier1_claims": ([("state", 1)], {"sparse": True}),
    "cachier1_gone": ([("gone", 1)], {"expireAfterSeconds": 0}),
}


class Call(NamedTuple):
    """A method of the collection; what it says no to is None if that may be."""

    method: str
    arguments: tuple[Any, ...] = ()
    keywords: dict[str, Any] = {}  # noqa: RUF012
    may_fail: bool = False


class Names:
    """The ``_id``s of a function's documents."""

    def __init__(self, function: str) -> None:
        name = hashlib.sha256(function.encode()).hexdigest()[:32]
        self.function = f"cachier1:f:{name}"
        self.entries = f"cachier1:e:{name}:"
        self.parts = f"cachier1:p:{name}:"

    @staticmethod
    def within(prefix: str, after: str = "") -> dict[str, str]:
        """Give the condition for all that begin so, and come after one of them."""
        # A semicolon is what follows a colon.
        return {"$gt": after or prefix, "$lt": prefix[:-1] + ";"}

    #: Of the entries of all functions.
    all_entries = "cachier1:e:"
    all_functions = "cachier1:f:"


class Entry(NamedTuple):
    """What a document says of an entry; its bytes, but for those in parts."""

    envelope: bytes
    stored: int
    size: int
    parts: int
    is_none: bool


def entry_of(document: dict[str, Any]) -> Entry | None:
    """Read the entry of a document. None: there is none, or it is damaged."""
    get = document.get
    head, rest = get("envelope"), get("rest")
    stored, size = number_of(get("stored")), number_of(get("size"))
    parts: Any = get("parts")
    if (
        type(head) is not bytes
        or stored is None
        or size is None
        or type(get("version")) is not bytes
        or len(document["version"]) != 16
    ):
        return None
    if parts is not None:
        left = size - len(head)
        parts = number_of(parts)
        if parts is None or parts < 1 or parts != -(-left // PART):
            return None
    elif rest is not None:
        if type(rest) is not bytes:
            return None
        head += rest
        parts = 0
    else:
        parts = 0
    return Entry(head, stored, size, parts, get("none") is True)


def number_of(given: Any) -> int | None:
    """Give a number as it is; None: it is none.

    What has 64 bits comes as a subclass of int, which is not what the rest expects.
    """
    is_number = isinstance(given, int) and not isinstance(given, bool)
    return int(given) if is_number else None


def put_of(
    envelope: bytes, stored: int, version: bytes, is_none: bool
) -> tuple[dict[str, Any], set[str]]:
    """Give the fields of an entry, and those that it has not."""
    fields: dict[str, Any] = {
        "version": version,
        "stored": stored,
        "size": len(envelope),
        "envelope": envelope[:_HEAD],
    }
    if len(envelope) > IN_ONE:
        fields["parts"] = -(-(len(envelope) - _HEAD) // PART)
    elif len(envelope) > _HEAD:
        fields["rest"] = envelope[_HEAD:]
    if is_none:
        fields["none"] = True
    return fields, ({"gone", *_ENTRY} - fields.keys())


def parts_of(envelope: bytes) -> Iterator[bytes]:
    """Give what is in the documents of its parts; nothing, if it has none."""
    if len(envelope) > IN_ONE:
        for begin in range(_HEAD, len(envelope), PART):
            yield envelope[begin : begin + PART]


def part_names(prefix: str, digest: bytes, version: bytes) -> str:
    """Give what the ``_id``s of the parts of an entry begin with."""
    return f"{prefix}{digest.hex()}:{version.hex()}:"


def without_entry(version: bytes | None, gone: int) -> dict[str, Any]:
    """Give the update that takes an entry away; `version`: of what it leaves."""
    fields: dict[str, Any] = {"gone": gone_at(gone)}
    absent = set(_ENTRY)
    if version is None:
        absent.add("version")
    else:
        fields["version"] = version
    return {"$set": fields, "$unset": dict.fromkeys(sorted(absent), 1)}


def without_claim() -> dict[str, Any]:
    """Give the update that takes a claim away, or an outcome."""
    return {"$unset": dict.fromkeys(_CLAIM, 1)}


def as_seen(name: str, document: dict[str, Any]) -> dict[str, Any]:
    """Give the condition that a document is what it was."""
    seen: dict[str, Any] = {"_id": name}
    for field in ("born", "version", *_CLAIM):
        # What somebody wrote there may look like an operator.
        seen[field] = {"$eq": document[field]} if field in document else _ABSENT
    return seen


def gone_at(time: int) -> datetime.datetime:
    """Give the date on which a document may go that lasts from this time on, in us."""
    return _EPOCH + datetime.timedelta(microseconds=time + TRACE)
