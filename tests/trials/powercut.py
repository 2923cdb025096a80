"""Trial of power cuts: what is left of writes that were not yet synced.

A short run is recorded (`record_writes.cpp`). Then, for moments in it, directories are
made as a disk could have them if the power had been cut: what was synced is there; of
what was not, any part may be, in any order; names change in the order in which they
were changed, as journals keep them. The store must open, hand out nothing that was not
stored, and store again.
"""

from __future__ import annotations

import os
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field

from harness import PATIENCE, Door, Report, WrongError

HERE = pathlib.Path(__file__).parent
KEYS = 24
ROUNDS = 6
_HEAD = struct.Struct("<cQQQ")


def size_of(key: int, turn: int) -> int:
    """Return the bytes of a value: in the database, in a file, mapped."""
    return (5, 3_000, 40_000, 70_000, 1_100_000)[(key + turn) % 5]


def value_of(key: int, turn: int) -> tuple[int, int, bytes]:
    """Return what is stored for a key in a round."""
    return key, turn, bytes([key, turn]) * (size_of(key, turn) // 2)


@dataclass(eq=False)
class File:
    """A file as it is on the disk, and what has been done to it since."""

    synced: bytes = b""
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)

    def some(self, choose: random.Random, how: str) -> bytes:
        """Return what a power cut may leave: all, none or some of what is due."""
        content = bytearray(self.synced)
        for offset, data in self.pending:
            if how == "none" or (how == "some" and choose.random() < 0.5):
                continue
            if data is None:
                del content[offset:]
                content.extend(bytes(offset - len(content)))
                continue
            content.extend(bytes(max(0, offset - len(content))))
            content[offset : offset + len(data)] = data
        return bytes(content)

    def sync(self) -> None:
        """Everything is on the disk."""
        self.synced = self.some(random.Random(0), "all")
        self.pending.clear()


class Disk:
    """Files by name, and the names that changed since the last sync."""

    def __init__(self) -> None:
        self.names: dict[str, File] = {}
        self.journal: list[dict[str, File]] = [{}]

    def do(self, operation: bytes, path: str, offset: int, data: bytes) -> None:
        """Do what was recorded."""
        file = self.names.get(path)
        if operation in b"cw" and file is None:
            file = self.names[path] = File()
            self.journal.append(dict(self.names))
        if operation == b"w" and file is not None:
            file.pending.append((offset, data))
        elif operation == b"t" and file is not None:
            file.pending.append((offset, None))
        elif operation == b"s" and file is not None:
            file.sync()
            self.journal = [dict(self.names)]
        elif operation == b"r" and file is not None:
            del self.names[path]
            self.names[data.decode()] = file
            self.journal.append(dict(self.names))
        elif operation == b"u":
            self.names.pop(path, None)
            self.journal.append(dict(self.names))

    def cut(self, folder: pathlib.Path, choose: random.Random) -> None:
        """Write what a power cut now may leave."""
        names = choose.choice((self.journal[0], self.journal[-1], None))
        if names is None:
            names = choose.choice(self.journal)
        how = choose.choice(("all", "none", "some", "some"))
        for name, file in names.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.write_bytes(file.some(choose, how))
            path.chmod(0o600)


def recorded(log: pathlib.Path, root: str) -> list[tuple[bytes, str, int, bytes]]:
    """Read the record."""
    left = memoryview(log.read_bytes())
    operations = []
    while left:
        operation, path_size, data_size, offset = _HEAD.unpack_from(left)
        left = left[_HEAD.size :]
        path = bytes(left[:path_size]).decode()
        data = bytes(left[path_size : path_size + data_size])
        if operation == b"r":
            data = data.decode().removeprefix(root + "/").encode()
        operations.append((operation, path, offset, data))
        left = left[path_size + data_size :]
    return operations


def run(*arguments: str, **more: str) -> str:
    """Run this file as another process and return what it prints."""
    return run_python(__file__, *arguments, **more)


def run_python(*arguments: str, **more: str) -> str:
    """Run a file as another process and return what it prints."""
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **more},
        capture_output=True,
        text=True,
        timeout=5 * PATIENCE,
    )
    if done.returncode != 0:
        raise WrongError(f"{' '.join(arguments)}: {done.stderr[-2000:]}")
    return done.stdout


def power_cuts(report: Report, door: Door, small: bool) -> None:
    """Power is cut at moments of a run: the store opens, nothing wrong comes out."""
    shim = (
        pathlib.Path(os.environ["TRIALS_BUILD"])
        / "tests/trials/trials_record_writes.so"
    )
    with tempfile.TemporaryDirectory(prefix="cachier-powercut-") as scratch:
        root = pathlib.Path(os.path.realpath(scratch)) / "run"
        root.mkdir(mode=0o700)
        log = root.parent / "log"
        run(
            "store",
            str(root),
            LD_PRELOAD=str(shim),
            POWERCUT_DIRECTORY=str(root),
            POWERCUT_LOG=str(log),
        )
        operations = recorded(log, str(root))
        choose = random.Random(random.random())
        wanted = 150 if small else 2_000
        moments = sorted(choose.randrange(len(operations) + 1) for _ in range(wanted))
        disk = Disk()
        done = 0
        cuts = root.parent / "cuts"
        found = wrong = 0

        def check() -> None:
            nonlocal found, wrong
            there, bad = map(int, run("check", str(cuts)).split())
            found += there
            wrong += bad
            subprocess.run(["rm", "-rf", str(cuts)], check=True)

        for made, moment in enumerate(moments, 1):
            for operation in operations[done:moment]:
                disk.do(*operation)
            done = moment
            folder = cuts / str(made)
            folder.mkdir(parents=True, mode=0o700)
            disk.cut(folder, choose)
            if made % 50 == 0:
                check()
    report.exactly(f"power_cuts_{wanted}_of_{len(operations)}_writes_wrong", wrong, 0)
    if found == 0:
        raise WrongError("nothing was found after any of the cuts")


def store(folder: str) -> None:
    """Store values of all sizes, again and again, with clears between."""
    import cachier

    turn = 0

    @cachier.cachier(cache_dir=folder, name="powercut")
    def value(key: int) -> tuple[int, int, bytes]:
        return value_of(key, turn)

    for turn in range(ROUNDS):
        for key in range(KEYS):
            value(key, cachier__overwrite_cache=True)
        if turn == ROUNDS // 2:
            value.clear_cache()


def check(folder: str) -> None:
    """Say how many values are in the directories, and how many are wrong."""
    import cachier

    found = wrong = 0
    for place in sorted(pathlib.Path(folder).iterdir()):

        @cachier.cachier(cache_dir=place, name="powercut")
        def value(key: int) -> tuple[int, int, bytes] | None:
            return None

        for key in range(KEYS):
            got = value(key)
            if got is None:
                continue
            found += 1
            if got[0] != key or got != value_of(key, got[1]):
                wrong += 1
                print(f"wrong: {place} {key} {got[:2]}", file=sys.stderr)
        value.precache_value(0, value_to_cache=(0, 9, b""))
        if value(0) != (0, 9, b""):
            wrong += 1
            print(f"not stored again: {place}", file=sys.stderr)
        del value
    print(found, wrong)
    if wrong:
        sys.exit(1)


if __name__ == "__main__":
    {"store": store, "check": check}[sys.argv[1]](sys.argv[2])
