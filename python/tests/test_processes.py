"""Callers in processes: fork, spawn, kills, and parallel writers."""

import multiprocessing
import os
import signal
import sys
import time

import pytest

import cachier

pytestmark = [
    pytest.mark.pickle,
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
    # Functions here wait for events of the tests around them.
    pytest.mark.filterwarnings("ignore:.*cannot be part of a key"),
]

LONG = 60


def _count(path):
    """Append one line, atomically: how runs are counted across processes."""
    with open(path, "a") as file:
        file.write("run\n")


def _runs(path):
    return path.read_text().count("run") if path.exists() else 0


def _slow(cache_dir, log, seconds):
    @cachier.cachier(cache_dir=cache_dir, name="slow")
    def slow(x):
        _count(log)
        time.sleep(seconds)
        return {"x": x}

    return slow


def _call_slow(arguments):
    cache_dir, log, seconds, x = arguments
    return _slow(cache_dir, log, seconds)(x)


def _insert(arguments):
    cache_dir, process, count = arguments

    @cachier.cachier(cache_dir=cache_dir, name="insert")
    def insert(process, n):
        return [process, n]

    return [insert(process, n) for n in range(count)]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_one_run_for_16_processes(cache_dir, tmp_path, method):
    log = tmp_path / "log"
    context = multiprocessing.get_context(method)
    with context.Pool(16) as pool:
        pool.map(
            _call_slow, [(cache_dir, str(tmp_path / "warm"), 0, n) for n in range(16)]
        )
        results = pool.map(_call_slow, [(cache_dir, str(log), 0.3, 99)] * 16, 1)
    assert results == [{"x": 99}] * 16
    assert _runs(log) == 1


def test_parallel_writers_lose_nothing(cache_dir):
    with multiprocessing.get_context("spawn").Pool(8) as pool:
        pool.map(_insert, [(cache_dir, n, 100) for n in range(8)], 1)
    runs = []

    @cachier.cachier(cache_dir=cache_dir, name="insert")
    def insert(process, n):
        runs.append((process, n))

    for process in range(8):
        for n in range(100):
            assert insert(process, n) == [process, n]
    assert runs == []


@cachier.cachier(backend="memory")
def _named(x):
    return [x]


def test_pool_map_of_a_cached_function():
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(_named, [1, 2, 1]) == [[1], [2], [1]]


def test_a_killed_owner_blocks_nobody(cache_dir, tmp_path):
    log = tmp_path / "log"
    context = multiprocessing.get_context("fork")
    owner = context.Process(target=_call_slow, args=[(cache_dir, str(log), LONG, 1)])
    owner.start()
    deadline = time.monotonic() + LONG
    while _runs(log) == 0:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(owner.pid, signal.SIGKILL)
    owner.join()
    assert _slow(cache_dir, str(log), 0)(1) == {"x": 1}
    assert _runs(log) == 2


def test_fork_while_computing(make):
    """The child of a fork within a computation does not own its parent's claim."""
    parent = os.getpid()

    @make()
    def f():
        if os.getpid() != parent:
            return "child"
        child = os.fork()
        if child == 0:
            try:
                ok = f() in ("child", "parent")
            finally:
                os._exit(0 if ok else 1)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        return "parent"

    assert f() == "parent"
    assert f() == "parent"


def test_fork_with_threads_that_compute(make):
    """What the parent's threads were computing, the child can compute."""
    import threading

    inside, out = threading.Event(), threading.Event()
    parent = os.getpid()

    @make()
    def f():
        if os.getpid() != parent:
            return "child"
        inside.set()
        assert out.wait(LONG)
        return "parent"

    threads = [threading.Thread(target=f) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert inside.wait(LONG)
    time.sleep(0.05)
    child = os.fork()
    if child == 0:
        # On the local store the claim is the parent's still, and lasts.
        signal.alarm(LONG)
        ok = False
        try:
            if f.cache_dpath() is None:
                ok = f() == "child"
            else:
                ok = f(cachier__overwrite_cache=True) == "child"
        finally:
            os._exit(0 if ok else 1)
    _, status = os.waitpid(child, 0)
    out.set()
    for thread in threads:
        thread.join()
    assert os.waitstatus_to_exitcode(status) == 0


def test_fork_while_a_thread_counts(make):
    """What a thread of the parent was counting keeps no child from counting."""
    import threading

    @make(enable_metrics=True)
    def f(x):
        return x

    assert f(1) == 1
    inside, out = threading.Event(), threading.Event()

    def count():
        with f.metrics._lock:
            inside.set()
            assert out.wait(LONG)

    thread = threading.Thread(target=count)
    thread.start()
    assert inside.wait(LONG)
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        ok = False
        try:
            ok = f(1) == 1 and f(2) == 2 and f.metrics.get_stats().hits == 1
        finally:
            os._exit(0 if ok else 1)
    _, status = os.waitpid(child, 0)
    out.set()
    thread.join()
    assert os.waitstatus_to_exitcode(status) == 0


def test_fork_with_open_stores(make):
    @make()
    def f(x):
        return [os.getpid(), x]

    first = f(1)
    child = os.fork()
    if child == 0:
        signal.alarm(LONG)
        ok = False
        try:
            ok = f(1) == first and f(2) == [os.getpid(), 2] and f(2)[1] == 2
        finally:
            os._exit(0 if ok else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert f(1) == first


def test_refreshes_in_the_child_of_a_fork(make, tmp_path):
    from datetime import timedelta

    log = tmp_path / "log"

    @make(next_time=True, stale_after=timedelta(0))
    def f():
        _count(log)
        return 1

    f(), f()
    deadline = time.monotonic() + LONG
    while _runs(log) < 2:  # the pool is there
        assert time.monotonic() < deadline
        time.sleep(0.005)
    child = os.fork()
    if child == 0:
        signal.alarm(LONG)
        ok = False
        try:
            before = _runs(log)
            f()
            while _runs(log) == before:
                f()
                time.sleep(0.005)
            ok = True
        finally:
            os._exit(0 if ok else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


SPAWNED_MAIN = """
    import sys, multiprocessing
    from dataclasses import dataclass
    import cachier
    @dataclass
    class Point:
        x: int
    @cachier.cachier(cache_dir=sys.argv[1])
    def f(point):
        print("runs", flush=True)
        return point.x
    def call(n):
        return f(Point(n))
    if __name__ == "__main__":
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            print(pool.map(call, [1, 1]), flush=True)
            print(pool.map(f, [Point(1)]), flush=True)
        print(f(Point(1)), flush=True)
"""


def test_children_of_spawn_share_with_their_parent(run_python, cache_dir):
    out = run_python(SPAWNED_MAIN, cache_dir).stdout
    assert out == "runs\n[1, 1]\n[1]\n1\n"


@pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets of Linux")
@pytest.mark.parametrize("method", ["forkserver"])
def test_forkserver(cache_dir, tmp_path, method):
    log = tmp_path / "log"
    with multiprocessing.get_context(method).Pool(4) as pool:
        results = pool.map(_call_slow, [(cache_dir, str(log), 0.2, 5)] * 4, 1)
    assert results == [{"x": 5}] * 4
    assert _runs(log) == 1
