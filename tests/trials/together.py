"""Trials of many callers of one key: who runs, who waits, and for how long."""

from __future__ import annotations

import random
import statistics
from typing import Any

from harness import Door, Place, Report, Worker, WrongError, place

#: Processes, and threads in each.
CROWDS = {
    "16_processes": (16, 1),
    "64_processes": (64, 1),
    "64_threads": (1, 64),
    "4x16": (4, 16),
}


def expect_result(calls: list[Any], count: int, begin: str) -> None:
    """Make sure that so many calls were answered, all alike and rightly."""
    results = {call["result"] for call in calls}
    if len(calls) != count or len(results) != 1 or not min(results).startswith(begin):
        raise WrongError(f"{len(calls)} of {count} calls gave {sorted(results)[:3]}")


def seconds_of(calls: list[Any]) -> float:
    """Return the time from the first caller's asking to the last one's answer."""
    return float(max(c["ended"] for c in calls) - min(c["began"] for c in calls))


def cold_key(report: Report, door: Door, small: bool) -> None:
    """Many ask for one cold key that takes a second: it runs once."""
    crowds = {"16_processes": (16, 1)} if door.name == "both" else CROWDS
    for name, (processes, threads) in crowds.items():
        one_cold_key(report, door, f"cold_key_{name}", processes, threads, small)


def cold_key_in_memory(report: Report, door: Door, small: bool) -> None:
    """The same with the memory store, among the threads of a process."""
    one_cold_key(report, door, "cold_key_memory", 1, 64, small, backend="memory")


def one_cold_key(
    report: Report,
    door: Door,
    name: str,
    processes: int,
    threads: int,
    small: bool,
    **settings: object,
) -> None:
    """Report on one crowd."""
    runs, took = [], []
    for key in range(3 if small else 20):
        with place(**settings) as here:
            calls = here.together(door, processes, "cold", key, threads)
            expect_result(calls, processes * threads, f"{key} ")
            runs.append(len(here.runs()))
            took.append(seconds_of(calls))
    report.exactly(f"{name}_runs", max(runs), 1)
    report.seconds(f"{name}_done_median", statistics.median(took), 1.05)
    report.seconds(f"{name}_done_worst", max(took), 1.05)


def owner_killed(report: Report, door: Door, small: bool) -> None:
    """The one that computes is killed at some moment: another takes over at once."""
    crowds = {"16_processes": (16, 1)} if door.name == "both" else CROWDS
    for name, (processes, threads) in crowds.items():
        if processes == 1:
            continue
        rounds = (3 if processes == 16 else 1) if small else 20
        found = [
            one_owner_killed(door, processes, threads, key) for key in range(rounds)
        ]
        report.at_most(f"owner_killed_{name}_runs", max(runs for runs, _ in found), 2)
        next_begins = max(gap for _, gap in found)
        report.seconds(f"owner_killed_{name}_next_begins", next_begins, 0.3)


def one_owner_killed(
    door: Door, processes: int, threads: int, key: int
) -> tuple[int, float]:
    """Return the runs, and the seconds from the death to the next run's begin."""
    with place() as here:
        crowd = here.crowd(door, processes, "cold", key, threads)
        for worker in crowd:
            worker.say()
        process, began = here.await_runs(1)
        (owner,) = (worker for worker in crowd if worker.process.pid == process)
        gap = kill_at(here, owner, began + random.uniform(0.0, 0.8))
        calls = [t for worker in crowd if worker is not owner for t in worker.told()]
        expect_result(calls, (processes - 1) * threads, f"{key} ")
        return len(here.runs()), gap


def owner_killed_storing(report: Report, door: Door, small: bool) -> None:
    """The same with little work, so that many die while they store."""
    runs = []
    for key in range(20 if small else 400):
        with place(work=0.005) as here:
            crowd = here.crowd(door, 3, "cold", key, 1)
            for worker in crowd:
                worker.say()
            process, began = here.await_runs(1)
            (owner,) = (worker for worker in crowd if worker.process.pid == process)
            owner.kill_at(began + random.uniform(0.004, 0.008))
            calls = [t for other in crowd if other is not owner for t in other.told()]
            expect_result(calls, 2, f"{key} ")
            runs.append(len(here.runs()))
    report.at_most("owner_killed_storing_runs", max(runs), 2)


def kill_at(here: Place, owner: Worker, moment: float) -> float:
    """Kill at that moment, and return after how many seconds somebody else runs."""
    died = owner.kill_at(moment)
    _, next_began = here.await_runs(2)
    return next_began - died


def woken(report: Report, door: Door, small: bool) -> None:
    """A waiter returns as soon as the value is stored."""
    for name, command in (("process", "serve"), ("thread", "cold")):
        late = []
        with place(work=0.05) as here:
            crowd = [] if name == "thread" else here.crowd(door, 2, command)
            for key in range(20 if small else 200):
                if name == "thread":
                    calls = here.together(door, 1, "cold", key, 2)
                else:
                    crowd[0].say(str(key))
                    here.await_runs(key + 1)
                    crowd[1].say(str(key))
                    calls = [worker.hear() for worker in crowd]
                expect_result(calls, 2, f"{key} ")
                stored = float(calls[0]["result"].split()[2])
                late.append(max(call["ended"] for call in calls) - stored)
            for worker in crowd:
                worker.told()
        report.seconds(f"woken_{name}_median", statistics.median(late), 0.003)
        most = statistics.quantiles(late, n=20)[-1]
        report.seconds(f"woken_{name}_95_of_100", most, 0.003)


def unstorable(report: Report, door: Door, small: bool) -> None:
    """Those who wait for what cannot be stored do not queue up."""
    for name, processes, threads in (
        ("64_threads", 1, 64),
        ("64_processes", 64, 1),
        ("4x16", 4, 16),
    ):
        took, runs = [], []
        for key in range(1 if small else 5):
            with place() as here:
                calls = here.together(door, processes, "too_large", key, threads)
                expect_result(calls, 64, f"{key} too large")
                took.append(seconds_of(calls))
                runs.append(len(here.runs()))
        report.at_most(f"unstorable_{name}_runs", max(runs), 64)
        if processes == 1:
            # Who looks again just as the owner ends misses what is handed over.
            report.usually(f"unstorable_{name}_handed_over", 64 - max(runs), 63)
        report.seconds(f"unstorable_{name}_done_worst", max(took), 2.2)


def throws(report: Report, door: Door, small: bool) -> None:
    """What throws reaches all who wait in the process, and is not stored."""
    with place(work=0.2) as here:
        calls = here.together(door, 1, "failing", 3, 16)
        expect_result(calls, 16, "raised no 3")
        runs = len(here.runs())
        report.at_most("throws_16_threads_runs", runs, 16)
        report.usually("throws_16_threads_handed_over", 16 - runs, 15)
        calls = here.together(door, 1, "failing", 3, 1)
        expect_result(calls, 1, "raised no 3")
        report.exactly("throws_again_runs", len(here.runs()) - runs, 1)
    with place(work=0.2) as here:
        calls = here.together(door, 4, "failing", 3, 4)
        expect_result(calls, 16, "raised no 3")
        report.at_most("throws_4x4_runs", len(here.runs()), 16)
