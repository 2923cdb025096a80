"""One process of a trial: does what its command line says and prints JSON lines.

Started by `run.py`. It says `{"ready": true}` and begins when a line comes in.
"""

from __future__ import annotations

import datetime
import functools
import json
import os
import random
import sys
import threading
import time
from typing import Any

from cachier import cachier

RUNS = os.environ["TRIAL_RUNS"]
WORK = float(os.environ.get("TRIAL_WORK", "1.0"))


def tell(**what: Any) -> None:
    """Print one line for the trial."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def note_run() -> None:
    """Record that the function runs, and since when."""
    with open(RUNS, "a", encoding="ascii") as file:
        file.write(f"{os.getpid()} {time.time():.6f}\n")


@cachier(name="trial.slow")
def slow(key: int) -> dict[str, Any]:
    """Work for a while."""
    note_run()
    time.sleep(WORK)
    return {"key": key, "stored": time.time()}


@cachier(name="trial.unstorable", entry_size_limit=10)
def unstorable(key: int) -> str:
    """Work for a while, for a result that is too large to be stored."""
    note_run()
    time.sleep(WORK)
    return f"{key}" * 100


@cachier(name="trial.insert")
def insert(key: str) -> str:
    """Give what can be checked against its argument."""
    return key * 20


@cachier(name="trial.throws")
def throws(key: int) -> int:
    """Fail."""
    note_run()
    time.sleep(WORK)
    raise LookupError(key)


def wait_for_start() -> None:
    """Say that everything is loaded, and wait for the signal to begin."""
    tell(ready=True)
    sys.stdin.readline()


def call_from_threads(call: Any, threads: int) -> None:
    """Make the same call from several threads at once."""
    barrier = threading.Barrier(threads)

    def one() -> None:
        barrier.wait()
        begin = time.time()
        try:
            result = call()
        except LookupError as error:
            result = f"raised {error}"
        tell(result=result, began=begin, ended=time.time())

    started = [threading.Thread(target=one) for _ in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()


def cold(key: str, threads: str) -> None:
    """Ask for one cold key."""
    wait_for_start()
    call_from_threads(functools.partial(slow, int(key)), int(threads))


def too_large(key: str, threads: str) -> None:
    """Ask for what cannot be stored."""
    wait_for_start()
    call_from_threads(functools.partial(unstorable, int(key)), int(threads))


def failing(key: str, threads: str) -> None:
    """Ask for what throws."""
    wait_for_start()
    call_from_threads(functools.partial(throws, int(key)), int(threads))


def inserts(first: str, count: str) -> None:
    """Store many entries, and say of each when it is stored."""
    wait_for_start()
    for n in range(int(first), int(first) + int(count)):
        insert(f"{n}")
        tell(stored=n)


def insert_for_ever(seed: str) -> None:
    """Store entries until killed."""
    wait_for_start()
    for n in range(int(seed), int(seed) + 1_000_000):
        insert(f"{n}")
        tell(stored=n)


def waits(key: str) -> None:
    """Ask for a key, and say whether Ctrl-C came through."""
    wait_for_start()
    interrupted = False
    try:
        slow(int(key))
    except KeyboardInterrupt:
        interrupted = True
    tell(interrupted=interrupted, ended=time.time())


@cachier(name="trial.depth")
def depth(n: int) -> int:
    """Recur on other arguments, and once on the same."""
    if n == 5 and not inside:
        inside.append(n)
        return depth(5) + 1
    return 0 if n == 0 else depth(n - 1) + 1


inside: list[int] = []
both = threading.Barrier(2)


@cachier(name="trial.ping")
def ping(n: int) -> int:
    """Call `pong`, which calls back."""
    if n > 0:
        return n
    both.wait()
    return pong(n) + 1


@cachier(name="trial.pong")
def pong(n: int) -> int:
    """Call `ping`, which calls back."""
    if n > 0:
        return n
    if threading.current_thread().name == "pong":
        both.wait()
        return ping(n) + 1
    return 1


def circles() -> None:
    """Recursion, and two functions that call each other from two threads."""
    wait_for_start()
    deep = depth(10)
    results: list[int] = []
    threads = [
        threading.Thread(target=lambda: results.append(ping(0)), name="ping"),
        threading.Thread(target=lambda: results.append(pong(0)), name="pong"),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tell(right=deep == 11 and len(results) == 2)


def refresh_at_exit() -> None:
    """End while a refresh runs in the background."""
    slow(1)
    wait_for_start()
    slow(1, cachier__stale_after=datetime.timedelta(0), cachier__next_time=True)
    tell(done=True)


def forks(rounds: str) -> None:
    """Fork while threads use the store; the children use it too."""
    wait_for_start()
    stop = threading.Event()

    def busy() -> None:
        source = random.Random(os.getpid())
        while not stop.is_set():
            insert(f"t{source.randrange(500)}")

    threads = [threading.Thread(target=busy) for _ in range(4)]
    for thread in threads:
        thread.start()
    good = 0
    for n in range(int(rounds)):
        child = os.fork()
        if child == 0:
            right = insert(f"c{n}") == f"c{n}" * 20 and insert("t1") == "t1" * 20
            os._exit(0 if right else 1)
        good += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    stop.set()
    for thread in threads:
        thread.join()
    right = all(insert(f"c{n}") == f"c{n}" * 20 for n in range(int(rounds)))
    tell(good=good, parent=right)


def main() -> None:
    """Run the trial that the command line names."""
    trial = {
        function.__name__: function
        for function in (
            cold,
            too_large,
            failing,
            inserts,
            insert_for_ever,
            refresh_at_exit,
            forks,
            waits,
            circles,
        )
    }
    trial[sys.argv[1]](*sys.argv[2:])


if __name__ == "__main__":
    main()
