"""Trials of how a process lives and ends: forks, pools, Ctrl-C, exits, recursion."""

from __future__ import annotations

import random
import signal
import time
from typing import Any

from harness import Door, Report, Worker, WrongError, place
from together import kill_at


def forks(report: Report, door: Door, small: bool) -> None:
    """A process forks while its threads use the store."""
    rounds = 50 if small else 500
    with place() as here:
        (told,) = here.together(door, 1, "forks", rounds)
    report.exactly("fork_children_right", told["good"], rounds)
    report.exactly("fork_parent_right", told["right"], True)
    report.exactly("fork_children_stored", told["found"], rounds)


def forks_inside(report: Report, door: Door, small: bool) -> None:
    """A function forks: its child has the result too; the claim stays whose it is."""
    with place() as here:
        told = here.together(door, 1, "fork_inside", 7)
        merged = {name: value for one in told for name, value in one.items()}
        expected = dict.fromkeys(("child", "again", "parent"), "split 7")
        report.exactly("fork_inside_right", len(told) == 2 and merged == expected, True)
        report.exactly("fork_inside_runs", len(here.runs()), 1)
    for how in ("fork", "exec"):
        with place() as here:
            owner = here.worker(door.command(), "fork_outlives", 7, how).say()
            owner.hear()
            (waiter,) = here.crowd(door, 1, "fork_outlives", 7, how)
            waiter.say()
            gap = kill_at(here, owner, time.monotonic() + random.uniform(0.0, 0.3))
            told = waiter.told()
            if told[-1]["result"] != f"7 {how}":
                raise WrongError(f"the waiter told {told}")
        report.seconds(f"fork_outlives_killed_{how}_next_begins", gap, 0.3)


def pools(report: Report, door: Door, small: bool) -> None:
    """`multiprocessing`, by each of its methods."""
    for method in ("fork", "spawn", "forkserver"):
        with place() as here:
            (told,) = here.together(door, 1, "pool", method)
        report.exactly(f"pool_{method}_right", told["right"], 200)
        report.exactly(f"pool_{method}_stored", told["found"], 50)


def interrupts(report: Report, door: Door, small: bool) -> None:
    """Ctrl-C ends a wait and a computation at once, and frees what was claimed."""
    for name, whose, runs in (("waiting", 1, 1), ("computing", 0, 2)):
        took = []
        for _ in range(2 if small else 20):
            with place() as here:
                both = here.crowd(door, 2, "asks", 1, "alone")
                both[0].say()
                here.await_runs(1)
                both[1].say()
                for worker in both:
                    worker.hear()
                took.append(interrupt(both.pop(whose), door))
                (other,) = both
                expect_answer(other.told())
                if len(here.runs()) != runs:
                    raise WrongError(f"{len(here.runs())} runs, {name}, not {runs}")
        report.seconds(f"interrupt_while_{name}", max(took), 0.1)


def interrupts_beside_threads(report: Report, door: Door, small: bool) -> None:
    """Ctrl-C ends the main thread's wait for another thread, which goes on."""
    took = []
    for _ in range(2 if small else 20):
        with place() as here:
            (worker,) = here.crowd(door, 1, "asks", 1, "thread")
            worker.say()
            here.await_runs(1)
            worker.say().hear()
            took.append(interrupt(worker, door))
            if len(here.runs()) != 1:
                raise WrongError(f"{len(here.runs())} runs, not 1")
    report.seconds("interrupt_while_a_thread_computes", max(took), 0.1)


def interrupt(worker: Worker, door: Door) -> float:
    """Press Ctrl-C at some moment, and return the seconds until it had come through.

    A C++ program ends of it. A Python one catches it, and asks once more.
    """
    time.sleep(random.uniform(0.0, 0.3))
    pressed = time.monotonic()
    if door.name == "cpp":
        worker.kill(signal.SIGINT)
        if worker.process.returncode != -signal.SIGINT:
            raise WrongError(f"Ctrl-C, and then status {worker.process.returncode}")
        return time.monotonic() - pressed
    worker.process.send_signal(signal.SIGINT)
    told = worker.told()
    expect_answer(told)
    if not told[0]["interrupted"]:
        raise WrongError("Ctrl-C did not come through")
    return float(told[0]["ended"] - pressed)


def expect_answer(told: list[Any]) -> None:
    """Make sure that a worker got an answer in the end."""
    if not told or not told[-1].get("result", "").startswith("1 "):
        raise WrongError(f"no answer: {told}")


def exits(report: Report, door: Door, small: bool) -> None:
    """A program that ends waits for its refreshes, and not for waiters."""
    hows = {"python": [[]], "cpp": [["shutdown"], ["return"]]}[door.name]
    for how in hows:
        name = "_".join(["exit_with_refresh", *how])
        with place(work=0.3) as here:
            told = here.together(door, 1, "refresh_at_exit", *how)
            report.exactly(f"{name}_ends", told == [{"done": True}], True)
            if how == ["return"]:
                continue  # without shutdown() nothing is promised but a clean end
            report.exactly(f"{name}_runs", len(here.runs()), 2)
            (call,) = here.together(door, 1, "cold", 1, 1)
            refreshed = float(call["result"].split()[2]) >= here.runs()[1][1]
            stored = refreshed and len(here.runs()) == 2
            report.exactly(f"{name}_is_stored", stored, True)
    if door.name == "python":
        with place() as here:
            (owner,) = here.crowd(door, 1, "cold", 1, 1)
            (leaver,) = here.crowd(door, 1, "wait_at_exit", 1)
            owner.say()
            here.await_runs(1)
            leaver.say()
            time.sleep(random.uniform(0.0, 0.2))
            begin = time.monotonic()
            leaver.say().told()
            report.seconds("exit_with_waiter", time.monotonic() - begin, 0.3)
            expect_answer(owner.told())


def recursion(report: Report, door: Door, small: bool) -> None:
    """Recursion and circles of calls come to an end."""
    with place() as here:
        (told,) = here.together(door, 1, "recursion")
        report.exactly("recursion", told["right"], True)
    for name, settings in (("circles", {}), ("circles_memory", {"backend": "memory"})):
        rounds = 50 if small else 2000
        with place(**settings) as here:
            (told,) = here.together(door, 1, "circles", rounds)
            report.exactly(f"{name}_of_two_threads", told["right"], rounds)
