"""Trials of damage: every file of a cache directory shortened, overwritten, removed.

For each damage a directory is filled, damaged, and asked: with no process at work in it
meanwhile, or with two. Values say what they are, so that a wrong one is seen. A call
must not raise, hang or crash, and storing must work again.

    damage.py       a process that asks: reads `begin DIRECTORY STORE` and `check`
"""

from __future__ import annotations

import collections
import contextlib
import faulthandler
import json
import os
import pathlib
import random
import select
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from harness import Door, Place, Report, Worker, WrongError, place
from losses import checker, connected, filled

STORES = {"local": "v1", "files": "v1-files"}
#: Bytes of the values: in the database, in a file, mapped.
SIZES = (5, 3_000, 70_000, 1_100_000)
#: Of which a worker's value has a file of its own (`value_of` in `worker.py`).
BIG_KEY = 160_000_000_000_000_000
#: A process whose check takes longer prints its stacks and ends.
WATCHDOG = 20.0
#: What is not promised: store, file, damage, whether in use; and where that is said.
NOT_PROMISED: dict[tuple[str, str, str, bool], str] = {
    ("local", "c1.db-shm", damage, True): "README: changed in place, SQLite maps it"
    for damage in ("shortened", "zeroed")
}

Damage = Callable[[pathlib.Path], None]


def value_of(key: int) -> tuple[int, bytes]:
    """Return what is stored for a key."""
    return key, bytes([key]) * SIZES[key]


def shorten(path: pathlib.Path, part: int, parts: int) -> None:
    """Leave a part of a file."""
    os.truncate(path, path.stat().st_size * part // parts)


def zero(path: pathlib.Path) -> None:
    """Overwrite a file with as many zeros."""
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))


def replace(path: pathlib.Path, content: bytes) -> None:
    """Put another file there."""
    aside = path.with_name("aside-of-trial")
    aside.write_bytes(content)
    aside.chmod(0o600)
    aside.rename(path)


def take_from(path: pathlib.Path, other: pathlib.Path) -> None:
    """Put a copy of another file there."""
    replace(path, other.read_bytes())


def remove(path: pathlib.Path) -> None:
    """Remove a file, or a directory with all that is in it."""
    if path.is_dir():
        # Whoever uses it may make parts of it anew meanwhile.
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink()


def damages(
    folder: pathlib.Path, lengths: int
) -> Iterator[tuple[str, str, pathlib.Path, Damage]]:
    """Return what can be done to each file and directory, and their names."""
    paths = sorted(folder.rglob("*"))
    files = [path for path in paths if path.is_file()]
    for path in [folder, *paths]:
        name = str(path.relative_to(folder))
        yield name, "removed", path, remove
        if not path.is_file():
            continue
        if path.stat().st_size > 0:
            for part in range(lengths):
                yield (
                    name,
                    "shortened",
                    path,
                    partial(shorten, part=part, parts=lengths),
                )
            yield name, "zeroed", path, zero
        yield name, "text", path, partial(replace, content=b"no such file\n" * 99)
        for other in files:
            if other != path:
                yield name, "replaced", path, partial(take_from, other=other)


def nothing() -> dict[str, Any]:
    """Return what is told of a directory before anybody has asked."""
    return {"found": 0, "wrong": 0, "raised": [], "stored": False}


class Asker:
    """A process that uses directories, started again when one of them ended it.

    Parameters
    ----------
    here : Place
        Where its errors are written.
    door : Door
        By which door it asks.
    """

    def __init__(self, here: Place, door: Door) -> None:
        self._here = here
        self._command = (
            [sys.executable, __file__]
            if door.name == "python"
            else [*door.command(), "uses"]
        )
        self._worker: Worker | None = None

    def begin(self, folder: pathlib.Path, store: str) -> dict[str, Any]:
        """Let it call, once and then again and again, until it is to check."""
        if self._worker is None:
            self._worker = self._here.worker(self._command)
        return self._tell(f"begin {folder} {store}")

    def check(self) -> dict[str, Any]:
        """Let it check."""
        return self._tell("check")

    def _tell(self, line: str) -> dict[str, Any]:
        assert self._worker is not None
        try:
            told: dict[str, Any] = self._worker.say(line).hear()
        except (WrongError, BrokenPipeError) as error:
            self._worker.stop()
            self._worker = None
            return {**nothing(), "ended": str(error)}
        return told


def damage_matrix(report: Report, door: Door, small: bool) -> None:
    """Every file damaged in every way: no wrong value, no exception, no crash."""
    for store in STORES:
        for in_use in (False, True):
            one_store(report, door, store, in_use, small)


def every_bit(report: Report, door: Door, small: bool) -> None:
    """Each bit of an entry flipped, one of each in as many entries: all are misses."""
    with place() as here:
        database = filled(here, door, 4_000)
        tried: list[tuple[bytes, int]] = []
        with contextlib.closing(connected(database)) as connection:
            rows = connection.execute("SELECT id, envelope FROM entries").fetchall()
            # The length that most have: their fields are at the same places.
            lengths = collections.Counter(len(envelope) for _, envelope in rows)
            size = lengths.most_common(1)[0][0]
            alike = [(row, whole) for row, whole in rows if len(whole) == size]
            for bit, (row, envelope) in zip(range(8 * size), alike, strict=False):
                damaged = bytearray(envelope)
                damaged[bit // 8] ^= 1 << bit % 8
                tried.append((bytes(damaged), row))
            connection.execute("BEGIN")
            connection.executemany("UPDATE entries SET envelope=? WHERE id=?", tried)
            connection.execute("COMMIT")
        with checker(here, door) as check:
            there, wrong = check.count(range(4_000))
        if len(tried) < 8 * size:
            raise WrongError(f"only {len(tried)} of {8 * size} bits could be tried")
        believed = there - (4_000 - len(tried))
        report.exactly(f"every_bit_{len(tried)}_believed", believed, 0)
        report.exactly("every_bit_wrong", wrong, 0)


def every_bit_of_files(report: Report, door: Door, small: bool) -> None:
    """Each bit of an entry's file flipped, one at a time: all are misses."""
    for name, key, folder, pattern, settings in (
        ("value_file", BIG_KEY, "v1", "c*.values/*/*-*", {}),
        ("entry_file", 1, "v1-files", "f/*/e/*", {"separate_files": 1}),
    ):
        believed = wrong = tried = 0
        with place(**settings) as here:
            # Each look reads the file.
            here.environment["CACHIER_NEAR_CACHE_BYTES"] = "0"
            with checker(here, door) as check:
                check.count([key])
                (path,) = here.folder.rglob(f"{folder}/{pattern}")
                for bit in bits_of(path.stat().st_size, small):
                    (path,) = here.folder.rglob(f"{folder}/{pattern}")
                    flip_bit(path, bit)
                    # What is not believed is stored anew by this.
                    found, not_right = check.count([key])
                    believed += found
                    wrong += not_right
                    tried += 1
                if check.count([key])[0] != 1:
                    raise WrongError(f"{name}: nothing is stored, nothing was tried")
        report.exactly(f"every_bit_{name}_{tried}_believed", believed, 0)
        report.exactly(f"every_bit_{name}_wrong", wrong, 0)


def bits_of(size: int, small: bool) -> Iterator[int]:
    """Return every bit of what comes before a value, and one of every byte of it."""
    head = min(size, 512)
    yield from range(0, 8 * head, 7 if small else 1)
    for byte in range(head, size, 199 if small else 1):
        yield 8 * byte + random.randrange(8)


def flip_bit(path: pathlib.Path, bit: int) -> None:
    """Flip one bit of a file in place."""
    with path.open("r+b") as file:
        file.seek(bit // 8)
        (byte,) = file.read(1)
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


def one_store(
    report: Report, door: Door, store: str, in_use: bool, small: bool
) -> None:
    """Report on the damages of one store."""
    count = found = wrong = raised = ended = lost = skipped = 0
    slowest = 0.0
    with (
        place() as here,
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch,
    ):
        root = pathlib.Path(os.path.realpath(scratch))
        askers = [Asker(here, door) for _ in range(2 if in_use else 1)]
        whole = root / "whole"
        fill(askers[0], whole, store)
        # Small counts: a sample, another one each time.
        chosen = list(damages(whole / STORES[store], 2 if small else 64))
        if small:
            chosen = random.sample(chosen, min(len(chosen), 30))
        for number, (name, how, _, _) in enumerate(chosen):
            if (store, name, how, in_use) in NOT_PROMISED:
                skipped += 1
                continue
            folder = root / str(number)
            shutil.copytree(whole, folder)
            before = [asker.begin(folder, store) for asker in askers if in_use]
            _, _, path, damage = chosen[number]
            # A process that uses it may have removed or renamed a file by now.
            with contextlib.suppress(FileNotFoundError):
                damage(folder / path.relative_to(whole))
            since = time.monotonic()
            if not in_use:
                before = [askers[0].begin(folder, store)]
            told = [asker.check() for asker in askers]
            for one in told:
                slowest = max(slowest, one.get("recovered", since) - since)
            count += 1
            found += sum(one["found"] for one in before)
            wrong += sum(one["wrong"] for one in told)
            raised += sum(len(one["raised"]) for one in told)
            ended += sum("ended" in one for one in told)
            lost += sum(not one["stored"] for one in told)
            if any(t["wrong"] or t["raised"] or not t["stored"] for t in told):
                print(f"    {store} {name} {how} ({number}): {told}", flush=True)
            shutil.rmtree(folder, ignore_errors=True)
    name = f"damage_{store}_{'in_use' if in_use else 'at_rest'}"
    report.exactly(f"{name}_{count}_wrong", wrong, 0)
    report.exactly(f"{name}_raised", raised, 0)
    report.exactly(f"{name}_crashed_or_hung", ended, 0)
    report.exactly(f"{name}_not_stored_again", lost, 0)
    report.seconds(f"{name}_recovered", slowest, 1.0)
    if found == 0:
        raise WrongError(f"{name}: nothing was ever found, so nothing was tried")
    if skipped:
        reasons = sorted({why for (s, *_), why in NOT_PROMISED.items() if s == store})
        print(f"    {skipped} are not promised: {'; '.join(reasons)}")


def fill(asker: Asker, folder: pathlib.Path, store: str) -> None:
    """Make a directory with an entry of each size."""
    folder.mkdir(mode=0o700)
    asker.begin(folder, store)
    told = asker.check()
    if not told["stored"]:
        raise WrongError(f"nothing was stored: {told}")


# -- The process that asks.


def user_of(folder: str, store: str) -> Any:
    """Return a function that is cached there and that computes nothing."""
    from cachier import cachier

    @cachier(cache_dir=folder, name="damage", separate_files=store == "files")
    def value(key: int) -> tuple[int, bytes] | None:
        return None

    return value


def right(value: Any, key: int, told: dict[str, Any]) -> bool:
    """Ask for an entry; count what is neither right nor a miss. Say if it is there."""
    try:
        got = value(key)
    except Exception as error:
        told["raised"].append(repr(error))
        return False
    there = bool(got == value_of(key))
    told["found"] += there
    told["wrong"] += got is not None and not there
    return there


def put(value: Any, key: int, told: dict[str, Any]) -> None:
    """Store an entry."""
    try:
        value.precache_value(key, value_to_cache=value_of(key))
    except Exception as error:
        told["raised"].append(repr(error))


def ask() -> None:
    """Use the directories that come in, and say how each of them fared."""
    import warnings

    warnings.simplefilter("ignore")
    print(json.dumps({"ready": True}), flush=True)
    for line in iter(sys.stdin.readline, ""):
        _, folder, store = line.split()
        told = nothing()
        faulthandler.dump_traceback_later(WATCHDOG, exit=True)
        value = user_of(folder, store)
        for key in range(len(SIZES)):
            right(value, key, told)
        print(json.dumps(told), flush=True)
        while not select.select([sys.stdin], [], [], 0)[0]:
            for key in range(len(SIZES)):
                right(value, key, told)
        sys.stdin.readline()
        for key in range(len(SIZES)):
            right(value, key, told)
        end = time.monotonic() + 5
        while not told["stored"] and time.monotonic() < end:
            for key in range(len(SIZES)):
                put(value, key, told)
            told["stored"] = all(right(value, key, told) for key in range(len(SIZES)))
        told["recovered"] = time.monotonic()
        faulthandler.cancel_dump_traceback_later()
        del value
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    ask()
