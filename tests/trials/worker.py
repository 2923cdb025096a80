"""One process of a trial, by the Python door; `worker.cpp` is the same by the C++ door.

Started by `run.py` with the trial's name and arguments. It tells what happened in lines
of JSON, the first of which is `{"ready": true}`; then it begins at a line of its input.
"""

from __future__ import annotations

import datetime
import json
import multiprocessing
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from cachier import cachier

WORK = float(os.environ.get("TRIAL_WORK", "1.0"))
BACKEND = os.environ.get("TRIAL_BACKEND", "pickle")
SEPARATE_FILES = os.environ.get("TRIAL_SEPARATE_FILES") == "1"


def tell(**what: Any) -> None:
    """Tell the trial something, in one piece."""
    os.write(1, (json.dumps(what) + "\n").encode())


def note_run() -> None:
    """Say that a function begins to run."""
    notes = os.open(os.environ["TRIAL_RUNS"], os.O_WRONLY)
    os.write(notes, f"{os.getpid()} {time.monotonic():.6f}\n".encode())
    os.close(notes)


# -- What is cached: the same functions as in C++, under the same names.


@cachier(name="trial.slow", backend=BACKEND)
def slow(key: int) -> str:
    """Work for a while; say who did it, and when it was done."""
    note_run()
    time.sleep(WORK)
    return f"{key} {os.getpid()} {time.monotonic():.6f}"


@cachier(name="trial.unstorable", backend=BACKEND, entry_size_limit=10)
def unstorable(key: int) -> str:
    """Work for a while, for a result that is too large to be stored."""
    note_run()
    time.sleep(WORK)
    return f"{key} " + "too large " * 10


@cachier(name="trial.throws", backend=BACKEND)
def throws(key: int) -> str:
    """Work for a while, and fail."""
    note_run()
    time.sleep(WORK)
    raise LookupError(f"no {key}")


def value_of(key: int) -> str:
    """Give what can be checked; some values need pages of their own."""
    return f"{key}," * (4000 if key % 16 == 0 else 20)


ran = 0


@cachier(name="trial.insert", backend=BACKEND, separate_files=SEPARATE_FILES)
def insert(key: int) -> str:
    """Give what can be checked, and count."""
    global ran
    ran += 1
    return value_of(key)


@cachier(name="trial.bounded", backend=BACKEND, max_entries=500)
def bounded(key: int) -> str:
    """Give the same, of which few are kept."""
    return value_of(key)


within = threading.local()


@cachier(name="trial.depth", backend=BACKEND)
def depth(n: int) -> int:
    """Call itself, with 5 twice."""
    if n == 5 and not getattr(within, "five", False):
        within.five = True
        return depth(5) + 1
    return 0 if n == 0 else depth(n - 1) + 1


begun = {"ping": threading.Event(), "pong": threading.Event()}


@cachier(name="trial.ping", backend=BACKEND)
def ping(n: int) -> int:
    """Call `pong`, which calls back, but not for ever."""
    if getattr(within, "ping", False):
        return 1
    within.ping = True
    begun["ping"].set()
    begun["pong"].wait()
    result = pong(n) + 1
    within.ping = False
    return result


@cachier(name="trial.pong", backend=BACKEND)
def pong(n: int) -> int:
    """Call `ping`, which calls back, but not for ever."""
    if getattr(within, "pong", False):
        return 1
    within.pong = True
    begun["pong"].set()
    begun["ping"].wait()
    result = ping(n) + 1
    within.pong = False
    return result


@cachier(name="trial.forking", backend=BACKEND)
def forking(key: int, how: str) -> str:
    """Start a child in the middle of it, which outlives it."""
    note_run()
    if how == "exec":
        null = subprocess.DEVNULL
        subprocess.Popen(["cat"], stdout=null, stderr=null, close_fds=False)
    elif os.fork() == 0:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        while os.read(0, 4096):
            pass
        os._exit(0)
    tell(forked=True)
    time.sleep(WORK)
    return f"{key} {how}"


@cachier(name="trial.split", backend=BACKEND)
def split(key: int) -> str:
    """Return twice: here, and in a child."""
    note_run()
    os.fork()
    return f"split {key}"


# -- What a worker does.


def at_once(threads: int, call: Callable[[], Any]) -> None:
    """Make the same call from several threads at once, and tell how each fared."""
    barrier = threading.Barrier(threads)

    def one() -> None:
        barrier.wait()
        begin = time.monotonic()
        try:
            result = call()
        except LookupError as error:
            result = f"raised {error}"
        tell(result=result, began=begin, ended=time.monotonic())

    in_threads([one] * threads)


def in_threads(tasks: list[Callable[[], Any]]) -> None:
    """Run each in a thread of its own, to its end."""
    threads = [threading.Thread(target=task) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def cold(key: str, threads: str) -> None:
    """Ask for one key that takes a while."""
    sys.stdin.readline()
    at_once(int(threads), lambda: slow(int(key)))


def too_large(key: str, threads: str) -> None:
    """Ask for what cannot be stored."""
    sys.stdin.readline()
    at_once(int(threads), lambda: unstorable(int(key)))


def failing(key: str, threads: str) -> None:
    """Ask for what throws."""
    sys.stdin.readline()
    at_once(int(threads), lambda: throws(int(key)))


def serve() -> None:
    """Ask for each key that comes in."""
    for line in sys.stdin:
        begin = time.monotonic()
        result = slow(int(line))
        tell(result=result, began=begin, ended=time.monotonic())


def inserts(first: str, count: str) -> None:
    """Store many entries, and tell of each once it is stored."""
    sys.stdin.readline()
    for key in range(int(first), int(first) + int(count)):
        insert(key)
        tell(stored=key)


def puts(count: str) -> None:
    """Say how long calls take that store, without bounds and within."""
    sys.stdin.readline()
    for function in (insert, bounded):
        took = []
        for key in range(int(count)):
            begin = time.perf_counter()
            function(key)
            took.append(time.perf_counter() - begin)
        tell(name=function.__name__, took=sorted(took))


def check() -> None:
    """Say of each list of keys how many were not there, and how many not right."""
    for line in sys.stdin:
        before, wrong, raised = ran, 0, ""
        for key in map(int, line.split()):
            try:
                wrong += insert(key) != value_of(key)
            except Exception as error:
                raised = repr(error)
        tell(ran=ran - before, wrong=wrong, raised=raised)


def asks(key: str, first: str) -> None:
    """Ask for a key, in a thread as well if that is to be first; Ctrl-C may come."""
    sys.stdin.readline()
    thread = threading.Thread(target=slow, args=(int(key),))
    if first == "thread":
        thread.start()
        sys.stdin.readline()
    interrupted = False
    try:
        tell(asks=True)
        slow(int(key))
    except KeyboardInterrupt:
        interrupted = True
    tell(interrupted=interrupted, ended=time.monotonic())
    if first == "thread":
        thread.join()
    tell(result=slow(int(key)))


def recursion() -> None:
    """Recur on other arguments, and on the same."""
    sys.stdin.readline()
    result = depth(10)
    tell(right=result == 11 and depth(10) == 11)


def circles(rounds: str) -> None:
    """Let two functions call each other from two threads."""
    sys.stdin.readline()
    right = 0
    came: dict[str, int] = {}

    def one(function: Callable[[int], int], n: int) -> None:
        came[function.__name__] = function(n)

    for n in range(int(rounds)):
        for event in begun.values():
            event.clear()
        in_threads([partial(one, ping, n), partial(one, pong, n)])
        right += (came["ping"], came["pong"]) in ((4, 3), (3, 4), (3, 3))
    tell(right=right)


def leaks(kind: str, how: str, calls: str) -> None:
    """Do the same again and again, and tell what it has left in memory."""
    import leaking

    sys.stdin.readline()
    leaking.leak(tell, kind, how, int(calls))


def refresh_at_exit() -> None:
    """End while a refresh runs in the background."""
    sys.stdin.readline()
    slow(1)
    slow(1, cachier__stale_after=datetime.timedelta(0), cachier__next_time=True)
    tell(done=True)


def wait_at_exit(key: str) -> None:
    """End while a thread that nobody waits for waits for another process."""
    sys.stdin.readline()
    threading.Thread(target=slow, args=(int(key),), daemon=True).start()
    sys.stdin.readline()


def forks(rounds: str) -> None:
    """Fork while threads use the store, which is open; the children use it too."""
    sys.stdin.readline()
    insert(0)
    stop = threading.Event()

    def busy() -> None:
        source = random.Random(threading.get_ident())
        while not stop.is_set():
            insert(source.randrange(500))

    threads = [threading.Thread(target=busy) for _ in range(4)]
    for thread in threads:
        thread.start()
    good = 0
    for n in range(int(rounds)):
        child = os.fork()
        if child == 0:
            right = all(insert(key) == value_of(key) for key in (1000 + n, n % 500))
            os._exit(0 if right else 1)
        good += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    stop.set()
    for thread in threads:
        thread.join()
    before = ran
    right = all(insert(1000 + n) == value_of(1000 + n) for n in range(int(rounds)))
    tell(good=good, right=right, found=int(rounds) - (ran - before))


def fork_outlives(key: str, how: str) -> None:
    """Compute what starts a child in the middle."""
    sys.stdin.readline()
    result = forking(int(key), how)
    tell(result=result, ended=time.monotonic())


def fork_inside(key: str) -> None:
    """Compute what returns twice."""
    sys.stdin.readline()
    parent = os.getpid()
    result = split(int(key))
    if os.getpid() != parent:
        tell(child=result, again=split(int(key)))
        os._exit(0)
    os.wait()
    tell(parent=result, again=split(int(key)))


def pool(method: str) -> None:
    """Let a pool of processes use a store that is open here."""
    sys.stdin.readline()
    insert(0)
    keys = [n % 50 for n in range(200)]
    with multiprocessing.get_context(method).Pool(4) as processes:
        values = processes.map(insert, keys, 1)
    right = sum(value == value_of(key) for key, value in zip(keys, values, strict=True))
    before = ran
    for key in range(50):
        insert(key)
    tell(right=right, found=50 - (ran - before))


TRIALS: dict[str, Callable[..., None]] = {
    trial.__name__: trial
    for trial in (
        cold,
        too_large,
        failing,
        serve,
        inserts,
        puts,
        check,
        asks,
        recursion,
        circles,
        leaks,
        refresh_at_exit,
        wait_at_exit,
        forks,
        fork_outlives,
        fork_inside,
        pool,
    )
}

if __name__ == "__main__":
    tell(ready=True)
    TRIALS[sys.argv[1]](*sys.argv[2:])
