"""The trials: races, kills and forks of real processes, counted.

    run.py [--small] RESULTS.jsonl [NAME...]

Prints a table and writes one JSON object a line: `name`, `value`, `reach`, `ok`. Ends
with 1 if something was wrong: a function that ran too often, a lost or a wrong value, a
process that hung. A time that was not reached is only reported.
"""

from __future__ import annotations

import argparse
import collections
import datetime
import json
import multiprocessing
import os
import pathlib
import random
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

HERE = pathlib.Path(__file__).parent
PATIENCE = 120.0


class Worker:
    """A process of `worker.py`.

    Parameters
    ----------
    place : Place
        Whose cache it uses.
    arguments : object
        The trial's name and its arguments.
    """

    def __init__(self, place: Place, *arguments: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "worker.py"), *map(str, arguments)],
            env=place.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ready(self) -> Worker:
        """Wait until it has loaded everything."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if json.loads(line or "{}") != {"ready": True}:
            raise AssertionError(f"not ready: {line} {self.process.stderr.read()}")  # type: ignore[union-attr]
        return self

    def go(self) -> Worker:
        """Let it begin."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return self

    def told(self) -> list[dict[str, Any]]:
        """Wait for its end and return what it told."""
        out, errors = self.process.communicate(timeout=PATIENCE)
        if errors:
            raise AssertionError(errors)
        return [json.loads(line) for line in out.splitlines()]

    def kill(self) -> list[dict[str, Any]]:
        """Kill it, and return what it had told until then."""
        self.process.send_signal(signal.SIGKILL)
        out, _ = self.process.communicate(timeout=PATIENCE)
        whole = out[: out.rfind("\n") + 1]
        return [json.loads(line) for line in whole.splitlines()]


class Place:
    """An empty cache, and a file in which functions note their runs.

    Parameters
    ----------
    folder : pathlib.Path
        An empty directory.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.notes = folder / "runs"
        self.environment = {
            **os.environ,
            "XDG_CACHE_HOME": str(folder),
            "TRIAL_RUNS": str(self.notes),
        }

    def runs(self) -> list[float]:
        """Return when each run began."""
        if not self.notes.exists():
            return []
        return [float(line.split()[1]) for line in self.notes.read_text().splitlines()]

    def await_runs(self, count: int) -> None:
        """Wait until so many runs have begun."""
        end = time.monotonic() + PATIENCE
        while len(self.runs()) < count:
            if time.monotonic() > end:
                raise AssertionError(f"{len(self.runs())} runs, {count} expected")
            time.sleep(0.001)

    def crowd(self, processes: int, *arguments: object) -> list[dict[str, Any]]:
        """Let several processes do the same at once, and return what they told."""
        workers = [Worker(self, *arguments) for _ in range(processes)]
        for worker in workers:
            worker.ready()
        for worker in workers:
            worker.go()
        return [told for worker in workers for told in worker.told()]


@contextmanager
def place() -> Iterator[Place]:
    """Make a place for one round."""
    with tempfile.TemporaryDirectory(prefix="cachier-trial-") as folder:
        yield Place(pathlib.Path(folder))


class Report:
    """Rows of results.

    Parameters
    ----------
    path : pathlib.Path
        Where they are written.
    """

    def __init__(self, path: pathlib.Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w", encoding="ascii")
        self.wrong = 0

    def _row(self, name: str, value: float, reach: str, ok: bool) -> None:
        row = {"name": name, "value": round(value, 5), "reach": reach, "ok": ok}
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        shown = f"{value:.4g}"
        print(f"  {name:<44}{shown:>10}   {reach:<12}{'ok' if ok else 'NOT OK'}")

    def exactly(self, name: str, value: float, due: float) -> None:
        """Report a count that has to be right."""
        self._row(name, value, f"= {due:g}", value == due)
        self.wrong += value != due

    def at_most(self, name: str, value: float, due: float) -> None:
        """Report a count that must not be larger."""
        self._row(name, value, f"<= {due:g}", value <= due)
        self.wrong += value > due

    def time(self, name: str, value: float, due: float) -> None:
        """Report seconds, which depend on the machine as well."""
        self._row(name, value, f"<= {due:g} s", value <= due)


Trial = Callable[[Report, bool], None]


def cold_key(report: Report, small: bool) -> None:
    """Many ask for one cold key that takes a second: it runs once."""
    for name, processes, threads in (
        ("16_processes", 16, 1),
        ("64_processes", 64, 1),
        ("64_threads", 1, 64),
        ("4x16", 4, 16),
    ):
        runs, done, late = [], [], []
        for key in range(2 if small else 20):
            with place() as here:
                calls = here.crowd(processes, "cold", key, threads)
                assert {call["result"]["key"] for call in calls} == {key}
                assert len(calls) == processes * threads
                runs.append(len(here.runs()))
                done.append(max(c["ended"] for c in calls) - here.runs()[0])
                late += [c["ended"] - c["result"]["stored"] for c in calls]
        report.exactly(f"cold_key_{name}_runs", max(runs), 1)
        report.time(f"cold_key_{name}_done_after", statistics.median(done), 1.05)
        report.time(f"cold_key_{name}_woken_after", statistics.median(late), 0.003)


def owner_killed(report: Report, small: bool) -> None:
    """The one who computes is killed: another one takes over at once."""
    gaps, runs = [], []
    for key in range(3 if small else 20):
        with place() as here:
            workers = [Worker(here, "cold", key, 1) for _ in range(16)]
            owner, *waiters = [worker.ready() for worker in workers]
            owner.go()
            here.await_runs(1)
            for waiter in waiters:
                waiter.go()
            time.sleep(random.uniform(0.0, 0.9))
            when = time.time()
            owner.kill()
            for waiter in waiters:
                (call,) = waiter.told()
                assert call["result"]["key"] == key
            runs.append(len(here.runs()))
            if runs[-1] > 1:
                gaps.append(here.runs()[1] - when)
    report.at_most("owner_killed_runs", max(runs), 2)
    report.time("owner_killed_next_begins_after", max(gaps), 0.3)


def inserts(report: Report, small: bool) -> None:
    """Eight processes store 200 entries each at once: all are there."""
    with place() as here:
        workers = [Worker(here, "inserts", n * 200, 200).ready() for n in range(8)]
        for worker in workers:
            worker.go()
        assert sum(len(worker.told()) for worker in workers) == 1600
        report.exactly("inserts_8x200", count_stored(here, range(1600)), 1600)


def count_stored(here: Place, keys: Any) -> int:
    """Count the keys whose right value is stored, without computing any."""
    code = (
        "import json, sys\nimport worker\nworker.insert\n"
        "ran = 0\n"
        "def ran_again(key):\n    global ran\n    ran += 1\n    return key * 20\n"
        "from cachier import cachier\n"
        "insert = cachier(name='trial.insert')(ran_again)\n"
        "keys = json.load(sys.stdin)\n"
        "right = sum(insert(f'{n}') == f'{n}' * 20 for n in keys)\n"
        "print(json.dumps([right, ran]))\n"
    )
    checked = subprocess.run(
        [sys.executable, "-c", code],
        env={**here.environment, "PYTHONPATH": f"{HERE}:{os.environ['PYTHONPATH']}"},
        input=json.dumps(list(keys)),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert not checked.stderr, checked.stderr
    right, ran = json.loads(checked.stdout)
    assert right == len(list(keys)), "a wrong value"
    return int(right - ran)


def writers_killed(report: Report, small: bool) -> None:
    """Writers are killed at random moments: nothing that was stored is lost."""
    kills, lost = (40 if small else 1000), 0
    with place() as here:
        for kill in range(kills):
            writer = Worker(here, "insert_for_ever", kill * 1_000_000).ready().go()
            time.sleep(random.uniform(0.0, 0.03))
            stored = [told["stored"] for told in writer.kill() if "stored" in told]
            if kill % 10 == 9 or kill + 1 == kills:
                lost += len(stored) - count_stored(here, stored)
            elif stored:
                lost += 1 - count_stored(here, stored[-1:])
    report.exactly(f"writers_killed_{kills}_lost", lost, 0)


def unstorable(report: Report, small: bool) -> None:
    """Those who wait for what cannot be stored do not queue up."""
    for name, processes, threads in (("threads", 1, 64), ("processes", 64, 1)):
        with place() as here:
            calls = here.crowd(processes, "too_large", 7, threads)
            assert {call["result"] for call in calls} == {"7" * 100}
            done = max(call["ended"] for call in calls) - here.runs()[0]
            report.time(f"unstorable_64_{name}_done_after", done, 2.2)
            if threads == 64:
                report.exactly("unstorable_64_threads_runs", len(here.runs()), 1)


def throws(report: Report, small: bool) -> None:
    """What throws reaches all who wait in the process, and is not stored."""
    with place() as here:
        calls = here.crowd(1, "failing", 3, 16)
        assert [call["result"] for call in calls] == ["raised 3"] * 16
        report.exactly("throws_16_threads_runs", len(here.runs()), 1)
        here.crowd(1, "failing", 3, 1)
        report.exactly("throws_again_runs", len(here.runs()), 2)


def forks(report: Report, small: bool) -> None:
    """A process forks while its threads use the store."""
    rounds = 20 if small else 200
    with place() as here:
        (told,) = Worker(here, "forks", rounds).ready().go().told()
        report.exactly("fork_children_right", told["good"], rounds)
        report.exactly("fork_parent_right", told["parent"], True)


def pool_call(key: str) -> str:
    """Call a cached function from a pool's process."""
    import worker

    return worker.insert(key)


def pools(report: Report, small: bool) -> None:
    """`multiprocessing` by fork and by spawn."""
    sys.path.insert(0, str(HERE))
    for method in ("fork", "spawn"):
        with place() as here:
            os.environ.update(here.environment)
            with multiprocessing.get_context(method).Pool(4) as pool:
                keys = [f"{n % 50}" for n in range(200)]
                right = sum(
                    value == key * 20
                    for key, value in zip(keys, pool.map(pool_call, keys), strict=True)
                )
            report.exactly(f"fork_pool_{method}_right", right, 200)


def interrupts(report: Report, small: bool) -> None:
    """Ctrl-C ends a wait and a computation at once, and frees what was claimed."""
    with place() as here:
        owner = Worker(here, "cold", 1, 1).ready().go()
        here.await_runs(1)
        waiter = Worker(here, "waits", 1).ready().go()
        time.sleep(0.2)
        when = time.time()
        waiter.process.send_signal(signal.SIGINT)
        (told,) = waiter.told()
        report.exactly("interrupt_while_waiting", told["interrupted"], True)
        report.time("interrupt_while_waiting_after", told["ended"] - when, 0.1)
        owner.told()
    with place() as here:
        owner = Worker(here, "waits", 1).ready().go()
        here.await_runs(1)
        owner.process.send_signal(signal.SIGINT)
        (told,) = owner.told()
        report.exactly("interrupt_while_computing", told["interrupted"], True)
        here.crowd(1, "cold", 1, 1)
        report.exactly("interrupt_while_computing_runs", len(here.runs()), 2)


def exits(report: Report, small: bool) -> None:
    """An interpreter that ends waits for its refreshes."""
    with place() as here:
        told = Worker(here, "refresh_at_exit").ready().go().told()
        assert told == [{"done": True}]
        report.exactly("exit_with_refresh_runs", len(here.runs()), 2)
        (call,) = here.crowd(1, "cold", 1, 1)
        refreshed = call["result"]["stored"] >= here.runs()[1]
        report.exactly("exit_with_refresh_is_stored", refreshed, True)


def recursion(report: Report, small: bool) -> None:
    """Recursion and circles of calls come to an end."""
    with place() as here:
        told = Worker(here, "circles").ready().go().told()
        report.exactly("recursion_and_circles", told[0]["right"], True)


def bit_flips(report: Report, small: bool) -> None:
    """A flipped bit in what is stored is a miss, never a wrong value."""
    flips, wrong = (100 if small else 2000), 0
    with place() as here:
        Worker(here, "inserts", 0, flips).ready().go().told()
        (database,) = here.folder.rglob("c*.db")
        connection = sqlite3.connect(database, isolation_level=None)
        rows = connection.execute(
            "SELECT id, envelope FROM entries WHERE envelope IS NOT NULL"
        ).fetchall()
        assert len(rows) == flips
        for row, envelope in rows:
            damaged = bytearray(envelope)
            bit = random.randrange(len(damaged) * 8)
            damaged[bit // 8] ^= 1 << bit % 8
            connection.execute(
                "UPDATE entries SET envelope = ? WHERE id = ?", (bytes(damaged), row)
            )
        connection.close()
        found = count_stored(here, range(flips))
        wrong = found
    report.exactly(f"bit_flips_{flips}_believed", wrong, 0)


TRIALS: dict[str, Trial] = {
    trial.__name__: trial
    for trial in (
        cold_key,
        owner_killed,
        inserts,
        writers_killed,
        unstorable,
        throws,
        forks,
        pools,
        interrupts,
        exits,
        recursion,
        bit_flips,
    )
}


def main() -> int:
    """Run the trials."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=pathlib.Path)
    parser.add_argument("names", nargs="*", choices=[[], *TRIALS])
    parser.add_argument("--small", action="store_true", help="small counts, for CI")
    arguments = parser.parse_args()
    report = Report(arguments.results)
    seconds = collections.Counter[str]()
    for name, trial in TRIALS.items():
        if arguments.names and name not in arguments.names:
            continue
        begin = time.monotonic()
        trial(report, arguments.small)
        seconds[name] = round(time.monotonic() - begin)
    print(f"  {datetime.timedelta(seconds=sum(seconds.values()))} in all:", end=" ")
    print(", ".join(f"{name} {took} s" for name, took in seconds.most_common(5)))
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
