"""Trials of what is stored: nothing is lost, nothing is wrong."""

from __future__ import annotations

import contextlib
import pathlib
import random
import sqlite3
import time
from collections.abc import Iterator
from typing import Any

from harness import Checker, Door, Place, Report, WrongError, place

MANY = 1_000_000


@contextlib.contextmanager
def checker(here: Place, door: Door, may_warn: bool = False) -> Iterator[Checker]:
    """Make a process that says what is stored, and see it end well."""
    made = Checker(here, door)
    yield made
    made.close(may_warn)


def inserts(report: Report, door: Door, small: bool) -> None:
    """Eight processes store 200 entries each at once: all are there."""
    left = []
    for _ in range(3 if small else 20):
        with place() as here:
            crowd = [
                here.worker(door.command(n), "inserts", n * 200, 200) for n in range(8)
            ]
            for worker in crowd:
                worker.say()
            if sum(len(worker.told()) for worker in crowd) != 1600:
                raise WrongError("an insert did not return")
            with checker(here, door) as check:
                found, wrong = check.count(range(1600))
                left.append(found - wrong)
    report.exactly("inserts_8x200", min(left), 1600)


def bounds(report: Report, door: Door, small: bool) -> None:
    """Ten times what a function may keep is stored, and no call waits for removals."""
    count = 5_000
    with place() as here:
        worker = here.worker(door.command(), "puts", count)
        worker.say()
        plain, bounded = (told["took"] for told in worker.told())
        database = connected(database_of(here))
        (kept,) = database.execute(
            "SELECT entries FROM functions WHERE name LIKE '%bounded%'"
        ).fetchone()
        database.close()
    report.at_most("bounds_500_entries", kept, 525)
    report.seconds("bounds_longest_wait", bounded[-1] - bounded[count // 2], 0.005)
    report.seconds("puts_p999", plain[count * 999 // 1000], 0.001)


def writers_killed(report: Report, door: Door, small: bool) -> None:
    """Writers are killed at random moments: nothing that was stored is lost."""
    kills, lost, wrong = 50 if small else 1000, 0, 0
    for batch in range(kills // 10):
        with place() as here, checker(here, door) as watching:
            stored: list[int] = []
            for pair in range(5):
                first = (batch * 10 + pair * 2) * MANY
                writers = [
                    here.worker(door.command(n), "inserts", first + n * MANY, MANY)
                    for n in range(2)
                ]
                for writer in writers:
                    writer.say()
                for writer in random.sample(writers, 2):
                    time.sleep(random.uniform(0.0, 0.03))
                    told = [told["stored"] for told in writer.kill()]
                    # Others write on meanwhile; who reads along finds the last one.
                    found = watching.count(told[-1:])
                    lost += len(told[-1:]) - found[0]
                    wrong += found[1]
                    stored += told[:-1]
            with checker(here, door) as after:
                found = after.count(stored)
                lost += len(stored) - found[0]
                wrong += found[1]
    report.exactly(f"writers_killed_{kills}_lost", lost, 0)
    report.exactly(f"writers_killed_{kills}_wrong", wrong, 0)


def makers_killed(report: Report, door: Door, small: bool) -> None:
    """Processes are killed while they make the store: others are not disturbed."""
    kills, lost, wrong = 20 if small else 200, 0, 0
    for _ in range(kills):
        with place() as here:
            killed = here.worker(door.command(0), "inserts", MANY, MANY)
            other = here.worker(door.command(1), "inserts", 1, 20)
            killed.say()
            other.say()
            time.sleep(random.uniform(0.0, 0.005))
            stored = [told["stored"] for told in killed.kill()]
            stored += [told["stored"] for told in other.told()]
            with checker(here, door) as check:
                found = check.count(stored)
                lost += len(stored) - found[0]
                wrong += found[1]
    report.exactly(f"makers_killed_{kills}_lost", lost, 0)
    report.exactly(f"makers_killed_{kills}_wrong", wrong, 0)


def bit_flips_in_entries(report: Report, door: Door, small: bool) -> None:
    """A flipped bit in an entry is a miss, never a wrong value."""
    flips = 200 if small else 5000
    with place() as here:
        database = filled(here, door, flips)
        with contextlib.closing(connected(database)) as connection:
            rows = connection.execute("SELECT id, envelope FROM entries").fetchall()
            if len(rows) != flips:
                raise WrongError(f"{len(rows)} of {flips} entries are stored")
            connection.execute("BEGIN")
            for row, envelope in rows:
                damaged = (flipped(envelope), row)
                connection.execute("UPDATE entries SET envelope=? WHERE id=?", damaged)
            connection.execute("COMMIT")
        with checker(here, door) as check:
            believed, wrong = check.count(range(flips))
        report.exactly(f"bit_flips_{flips}_envelopes_believed", believed, 0)
        report.exactly(f"bit_flips_{flips}_envelopes_wrong", wrong, 0)


def bit_flips_in_columns(report: Report, door: Door, small: bool) -> None:
    """A flipped bit in what stands beside an entry never makes a wrong value either."""
    flips = 200 if small else 5000
    with place() as here:
        database = filled(here, door, flips)
        with contextlib.closing(connected(database)) as connection:
            columns = ["epoch", "version", "stored_at", "flags", "size", "digest"]
            connection.execute("BEGIN")
            for (row,) in connection.execute("SELECT id FROM entries").fetchall():
                column = random.choice(columns)
                (value,) = connection.execute(
                    f"SELECT {column} FROM entries WHERE id=?", (row,)
                ).fetchone()
                connection.execute(
                    f"UPDATE entries SET {column}=? WHERE id=?", (flipped(value), row)
                )
            connection.execute("COMMIT")
        with checker(here, door) as check:
            _, wrong = check.count(range(flips))
        report.exactly(f"bit_flips_{flips}_columns_wrong", wrong, 0)


def bit_flips_in_files(report: Report, door: Door, small: bool) -> None:
    """A flipped bit anywhere in the database's file never makes a wrong value."""
    flips, keys, wrong = 20 if small else 500, range(100), 0
    with place() as here:
        database = filled(here, door, len(keys))
        with contextlib.closing(connected(database)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        whole = database.read_bytes()
    for _ in range(flips):
        with place() as here:
            # A store of its own, and then what was there with a bit flipped.
            database = filled(here, door, 1)
            for name in ("-wal", "-shm"):
                database.with_name(database.name + name).unlink(missing_ok=True)
            database.write_bytes(flipped(whole))
            # A database that cannot be used is told to the user, once.
            with checker(here, door, may_warn=True) as check:
                wrong += check.count(keys)[1]
    report.exactly(f"bit_flips_{flips}_files_wrong", wrong, 0)


def filled(here: Place, door: Door, count: int) -> pathlib.Path:
    """Store so many entries, and return the database, which nobody has open."""
    here.worker(door.command(), "inserts", 0, count).say().told()
    return database_of(here)


def database_of(here: Place) -> pathlib.Path:
    """Return the database, of which there is one."""
    (database,) = here.folder.rglob("c*.db")
    return database


def connected(database: pathlib.Path) -> sqlite3.Connection:
    """Open a database that nobody else has open."""
    return sqlite3.connect(database, isolation_level=None)


def flipped(value: Any) -> Any:
    """Flip one bit of bytes, or of a number of 64 bits."""
    if isinstance(value, bytes):
        damaged = bytearray(value)
        bit = random.randrange(len(damaged) * 8)
        damaged[bit // 8] ^= 1 << bit % 8
        return bytes(damaged)
    number = (value % 2**64) ^ 1 << random.randrange(64)
    return number - 2**64 if number >= 2**63 else number
