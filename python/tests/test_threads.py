"""Callers in threads: one run, whoever waits gets what there is to get."""

import contextlib
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

import cachier

# Functions here wait for events of the tests around them.
pytestmark = pytest.mark.filterwarnings("ignore:.*cannot be part of a key")

CALLERS = 16
LONG = 30  # seconds: what should not take any time at all


def together(function, callers=CALLERS):
    """Call in that many threads at once; results or exceptions, in any order."""
    barrier = threading.Barrier(callers)

    def call(n):
        barrier.wait(LONG)
        try:
            return function(n)
        except BaseException as error:
            return error

    with ThreadPoolExecutor(callers) as pool:
        return list(pool.map(call, range(callers), timeout=LONG))


class Gate:
    """A function that is inside until it is let out."""

    def __init__(self):
        self.inside = threading.Event()
        self.out = threading.Event()

    def __call__(self):
        self.inside.set()
        assert self.out.wait(LONG)


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.out.set()


def test_one_run_for_all(make, recorded):
    @make()
    def f(x):
        recorded.append(x)
        time.sleep(0.05)
        return {"x": x}

    assert together(lambda n: f(1)) == [{"x": 1}] * CALLERS
    assert recorded.count == 1


def test_different_arguments_do_not_wait_for_each_other(make, recorded):
    barrier = threading.Barrier(8)

    @make()
    def f(x):
        barrier.wait(LONG)  # all are inside at once, or none gets out
        return x

    assert sorted(together(f, 8)) == list(range(8))


def test_many_threads(make, recorded):
    @make()
    def f(x):
        recorded.append(x)
        return x * 2

    def call(n):
        return [f(k % 50) for k in range(n, n + 200)]

    for n, results in enumerate(together(call, 32)):
        assert results == [k % 50 * 2 for k in range(n, n + 200)]
    assert sorted(recorded) == list(range(50))


def test_an_exception_reaches_all_who_wait(make, recorded, gate):
    @make()
    def f():
        recorded.append(1)
        gate()
        raise LookupError("its own words")

    with ThreadPoolExecutor(CALLERS) as pool:
        calls = [pool.submit(f) for _ in range(CALLERS)]
        assert gate.inside.wait(LONG)
        _until(lambda: f._counters["recalculations"] == 1)
        time.sleep(0.2)  # so that most of them wait
        gate.out.set()
        errors = [call.exception(LONG) for call in calls]
    assert [type(error) for error in errors] == [LookupError] * CALLERS
    assert recorded.count < CALLERS


def _until(condition):
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_what_cannot_be_stored_is_handed_over(make, recorded, gate):
    big = b"x" * 1000

    @make(entry_size_limit=100)
    def f():
        recorded.append(1)
        gate()
        return big

    with ThreadPoolExecutor(CALLERS) as pool:
        calls = [pool.submit(f) for _ in range(CALLERS)]
        assert gate.inside.wait(LONG)
        time.sleep(0.2)
        gate.out.set()
        assert [call.result(LONG) for call in calls] == [big] * CALLERS
    assert recorded.count < CALLERS


def test_the_owner_of_an_interrupt_is_alone_with_it(make, recorded, gate):
    @make()
    def f():
        recorded.append(1)
        if recorded.count == 1:
            gate()
            raise KeyboardInterrupt
        return "done"

    with ThreadPoolExecutor(2) as pool:
        owner = pool.submit(f)
        assert gate.inside.wait(LONG)
        waiter = pool.submit(f)
        time.sleep(0.1)
        gate.out.set()
        assert isinstance(owner.exception(LONG), KeyboardInterrupt)
        assert waiter.result(LONG) == "done"


class TestRecursion:
    def test_on_the_same_arguments(self, make, recorded):
        @make()
        def f(x):
            recorded.append(x)
            return f(x) + 1 if recorded.count < 3 else 0

        assert f(1) == 2
        assert recorded.count == 3
        assert f(1) == 2
        assert recorded.count == 3

    def test_on_other_arguments(self, make, recorded):
        @make()
        def fibonacci(n):
            recorded.append(n)
            return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

        assert fibonacci(40) == 102334155
        assert recorded.count == 41

    def test_two_functions_that_call_each_other(self, make, recorded):
        decorator = make()

        @decorator
        def even(n):
            recorded.append(n)
            return True if n == 0 else odd(n - 1)

        @decorator
        def odd(n):
            recorded.append(n)
            return False if n == 0 else even(n - 1)

        assert even(20)
        assert recorded.count == 21

    def test_circles_of_threads_end(self, make):
        barrier = threading.Barrier(2)
        decorator = make()

        def meet():
            with contextlib.suppress(threading.BrokenBarrierError):
                barrier.wait(1)

        @decorator
        def f(depth):
            meet()
            return g(depth) + 1 if depth_of("f") < 3 else 0

        @decorator
        def g(depth):
            meet()
            return f(depth) + 1 if depth_of("g") < 3 else 0

        runs = {"f": 0, "g": 0}

        def depth_of(name):
            runs[name] += 1
            return runs[name]

        with ThreadPoolExecutor(2) as pool:
            calls = [pool.submit(f, 1), pool.submit(g, 1)]
            assert all(isinstance(call.result(LONG), int) for call in calls)


class TestTimeouts:
    def test_who_waits_too_long_computes(self, make, recorded, gate):
        @make(wait_for_calc_timeout=0.05)
        def f():
            recorded.append(1)
            if recorded.count == 1:
                gate()
                return "owner"
            return "own"

        with ThreadPoolExecutor(1) as pool:
            owner = pool.submit(f)
            assert gate.inside.wait(LONG)
            assert f() == "own"
            gate.out.set()
            assert owner.result(LONG) == "owner"
        assert f._counters["wait_timeouts"] == 1

    def test_none_means_no_limit(self, make, recorded, gate):
        @make(wait_for_calc_timeout=0)
        def f():
            recorded.append(1)
            gate()
            return "owner"

        with ThreadPoolExecutor(2) as pool:
            owner = pool.submit(f)
            assert gate.inside.wait(LONG)
            waiter = pool.submit(f)
            time.sleep(0.2)
            assert not waiter.done()
            gate.out.set()
            assert owner.result(LONG) == waiter.result(LONG) == "owner"
        assert recorded.count == 1

    def test_metrics_count_it(self, make, gate):
        @make(wait_for_calc_timeout=0.05, enable_metrics=True)
        def f():
            if not gate.inside.is_set():
                gate()

        with ThreadPoolExecutor(1) as pool:
            pool.submit(f)
            assert gate.inside.wait(LONG)
            f()
            gate.out.set()
        assert f.metrics.get_stats().wait_timeouts == 1


class TestClearing:
    def test_clear_being_calculated_frees_those_who_wait(self, make, recorded, gate):
        @make()
        def f():
            recorded.append(1)
            if recorded.count == 1:
                gate()
                return "owner"
            return "next"

        with ThreadPoolExecutor(2) as pool:
            owner = pool.submit(f)
            assert gate.inside.wait(LONG)
            waiter = pool.submit(f)
            time.sleep(0.05)
            f.clear_being_calculated()
            assert waiter.result(LONG) == "next"
            gate.out.set()
            assert owner.result(LONG) == "owner"

    def test_clear_cache_while_computing(self, make, recorded, gate):
        @make()
        def f():
            recorded.append(1)
            if recorded.count == 1:
                gate()
            return recorded.count

        with ThreadPoolExecutor(1) as pool:
            owner = pool.submit(f)
            assert gate.inside.wait(LONG)
            f.clear_cache()
            gate.out.set()
            assert owner.result(LONG) == 1
        assert f() == 2  # what was running was not stored


class TestNextTime:
    def test_stale_now_fresh_next_time(self, make, recorded):
        @make(stale_after=timedelta(0), next_time=True)
        def f():
            recorded.append(1)
            return recorded.count

        assert f() == 1
        assert f() == 1
        _until(lambda: recorded.count == 2)
        _until(lambda: f(cachier__stale_after=timedelta(1)) == 2)

    def test_one_refresh_at_a_time(self, make, recorded, gate):
        @make(stale_after=timedelta(0), next_time=True)
        def f():
            recorded.append(1)
            if recorded.count == 2:
                gate()
            return recorded.count

        assert f() == 1
        assert [f() for _ in range(20)] == [1] * 20
        assert gate.inside.wait(LONG)
        assert [f() for _ in range(20)] == [1] * 20
        assert recorded.count == 2
        gate.out.set()
        _until(lambda: f() > 1)

    def test_a_failed_refresh_is_logged_and_keeps_the_old_value(
        self, make, recorded, caplog
    ):
        @make(stale_after=timedelta(0), next_time=True)
        def f():
            recorded.append(1)
            if recorded.count > 1:
                raise LookupError("in the background")
            return 1

        with caplog.at_level("ERROR", logger="cachier"):
            assert f() == 1
            assert f() == 1
            _until(lambda: caplog.records)
        record = caplog.records[0]
        assert record.name == "cachier"
        assert "in the background" in record.exc_text or "in the background" in str(
            record.exc_info[1]
        )
        assert record.exc_info[2] is not None
        assert f() == 1

    def test_arguments_are_kept_for_it(self, make, recorded):
        @make(stale_after=timedelta(0), next_time=True)
        def f(a, *rest, k, **more):
            recorded.append((a, rest, k, more))
            return recorded.count

        for _ in range(2):
            f([1], "x", k={"y": 2}, z=3, cachier__verbose=False)
        _until(lambda: recorded.count == 2)
        assert recorded[1] == ([1], ("x",), {"y": 2}, {"z": 3})


def test_cleanup_removes_what_is_stale(make, recorded):
    @make(stale_after=timedelta(seconds=0.2), cleanup_stale=False)
    def f(x):
        recorded.append(x)
        return x

    @make(stale_after=timedelta(seconds=0.2), name="other")
    def other(x):
        return x

    f(1), f(2), other(1)
    time.sleep(0.3)
    f(3, cachier__cleanup_stale=True, cachier__cleanup_interval=timedelta(0))
    # What is gone is a miss, what is merely stale a stale find.
    _until(lambda: _is_miss(f, 1))


@pytest.mark.parametrize("age", [timedelta.min, timedelta(days=-106_000)])
def test_cleanup_with_an_age_before_all_time_removes_everything(make, age):
    @make()
    def f(x):
        return x

    f(1), f(2)
    f(
        3,
        cachier__stale_after=age,
        cachier__cleanup_stale=True,
        cachier__cleanup_interval=timedelta(0),
    )
    # The third may be stored after that.
    _until(lambda: f._measure()[0] <= 1)


def _is_miss(f, x):
    before = f._counters["stale_hits"]
    f(x)
    return f._counters["stale_hits"] == before


@pytest.mark.parametrize("callers", [1000])
def test_a_crowd(make, recorded, callers):
    @make()
    def f():
        recorded.append(1)
        time.sleep(0.1)
        return 7

    results = []

    def call():
        results.append(f())

    threads = [threading.Thread(target=call) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert results == [7] * callers
    assert recorded.count == 1


def test_two_wrappers_of_one_function_run_once(cache_dir, recorded, gate):
    def f():
        recorded.append(1)
        gate()
        return 1

    one = cachier.cachier(cache_dir=cache_dir)(f)
    other = cachier.cachier(cache_dir=cache_dir)(f)
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(one)]
        assert gate.inside.wait(LONG)
        calls.append(pool.submit(other))
        time.sleep(0.1)
        gate.out.set()
        assert [call.result(LONG) for call in calls] == [1, 1]
    assert recorded.count == 1


class TestInterrupts:
    """Ctrl-C, sent to a process of its own."""

    WAITING = """
        import os, signal, sys, threading, time
        import cachier
        inside = threading.Event()
        out = threading.Event()
        @cachier.cachier(backend=sys.argv[1], cache_dir=sys.argv[2])
        def f():
            inside.set()
            out.wait(30)
            return "done"
        owner = threading.Thread(target=f)
        owner.start()
        inside.wait(30)
        threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT]).start()
        began = time.monotonic()
        try:
            f()
            print("no interrupt")
        except KeyboardInterrupt:
            print("interrupted", time.monotonic() - began < 10)
        out.set()
        owner.join()
        print(f())
    """

    def test_while_waiting(self, run_python, backend, cache_dir):
        out = run_python(self.WAITING, backend, cache_dir).stdout
        assert out == "interrupted True\ndone\n"

    COMPUTING = """
        import os, signal, sys, threading, time
        import cachier
        runs = []
        @cachier.cachier(backend=sys.argv[1], cache_dir=sys.argv[2])
        def f():
            runs.append(1)
            if len(runs) == 1:
                threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGINT]).start()
                time.sleep(30)
            return "done"
        try:
            f()
            print("no interrupt")
        except KeyboardInterrupt:
            print("interrupted")
        print(f(), len(runs))
    """

    def test_while_computing(self, run_python, backend, cache_dir):
        out = run_python(self.COMPUTING, backend, cache_dir).stdout
        assert out == "interrupted\ndone 2\n"


class TestExit:
    def test_a_refresh_is_finished_first(
        self, run_python, backend, cache_dir, tmp_path
    ):
        source = """
            import sys, time, pathlib
            from datetime import timedelta
            import cachier
            runs = []
            @cachier.cachier(backend=sys.argv[1], cache_dir=sys.argv[2],
                             stale_after=timedelta(0), next_time=True)
            def f():
                runs.append(1)
                if len(runs) > 1:
                    time.sleep(0.5)
                    pathlib.Path(sys.argv[3]).write_text("refreshed")
                return len(runs)
            f(), f()
        """
        mark = tmp_path / "mark"
        done = run_python(source, backend, cache_dir, str(mark))
        assert (done.stdout, done.stderr) == ("", "")
        assert mark.read_text() == "refreshed"

    def test_daemon_threads_inside(self, run_python, backend, cache_dir):
        source = """
            import sys, threading, time
            import cachier
            inside = threading.Event()
            @cachier.cachier(backend=sys.argv[1], cache_dir=sys.argv[2])
            def f():
                inside.set()
                while True:
                    time.sleep(0.001)
            for _ in range(8):
                threading.Thread(target=f, daemon=True).start()
            inside.wait(30)
            time.sleep(0.1)
        """
        for _ in range(3):
            done = run_python(source, backend, cache_dir)
            assert (done.stdout, done.stderr) == ("", "")

    def test_daemon_threads_that_hit(self, run_python, backend, cache_dir):
        source = """
            import sys, threading, time
            import cachier
            @cachier.cachier(backend=sys.argv[1], cache_dir=sys.argv[2])
            def f(x):
                return [x]
            def loop(n):
                while True:
                    f(n); n += 1; f(1)
            for n in range(4):
                threading.Thread(target=loop, args=[n * 10**6], daemon=True).start()
            time.sleep(0.2)
        """
        for _ in range(3):
            done = run_python(source, backend, cache_dir)
            assert (done.stdout, done.stderr) == ("", "")

    #: Each leaves threads inside calls that run Python code of the program's while the
    #: interpreter goes: keys, hash functions, refreshes, metrics, finalizers, imports.
    AT_EXIT = """
        import sys, threading, time
        from datetime import timedelta
        import cachier
        class Key:
            def __init__(self, n):
                self.n = n
            def __cachier_key__(self):
                return sum(self.n for _ in range(50))
            def __del__(self):
                sum(range(50))
        def hash_func(args, kwds):
            return sum(kwds["key"].n for _ in range(50))
        options = dict(backend=sys.argv[1], cache_dir=sys.argv[2],
                       stale_after=timedelta(0), next_time=True, enable_metrics=True)
        @cachier.cachier(**options)
        def f(key):
            return [Key(n) for n in range(3)]
        @cachier.cachier(hash_func=hash_func, **options)
        def g(key):
            return [1]
        started = threading.Barrier(7)
        def loop(n):
            started.wait()
            while True:
                cachier.get_global_params().allow_none = n % 2 == 0
                f(Key(n % 7)); g(key=Key(n % 5)); n += 1
        for n in range(6):
            threading.Thread(target=loop, args=[n], daemon=True).start()
        started.wait()
        time.sleep(float(sys.argv[3]))
    """

    def test_daemon_threads_in_code_of_the_programs(
        self, run_python, backend, cache_dir
    ):
        for n in range(8):
            done = run_python(self.AT_EXIT, backend, cache_dir, str(0.005 * n))
            assert (done.stdout, done.stderr) == ("", "")

    def test_calls_at_exit(self, run_python, backend, cache_dir):
        source = """
            import atexit, sys
            from datetime import timedelta
            import cachier
            runs = []
            @cachier.cachier(backend=sys.argv[1], cache_dir=sys.argv[2],
                             stale_after=timedelta(0), next_time=True)
            def f():
                runs.append(1)
                return 1
            atexit.register(lambda: print(f(), f()))
        """
        done = run_python(source, backend, cache_dir)
        assert (done.stdout, done.stderr) == ("1 1\n", "")

    def test_values_with_finalizers(self, run_python, backend, cache_dir):
        source = """
            import sys
            import cachier
            class Value:
                def __del__(self):
                    pass
            @cachier.cachier(backend=sys.argv[1], cache_dir=sys.argv[2])
            def f():
                return Value()
            f(), f()
        """
        done = run_python(source, backend, cache_dir)
        assert (done.stdout, done.stderr) == ("", "")


def test_signals_are_left_alone():
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
