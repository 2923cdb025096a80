"""The end of the interpreter, in the states that the engine's threads can be in.

Refreshes and daemon threads on other stores: `test_threads.TestExit`.
"""

import textwrap

import pytest
from redis_server import RedisServer

import cachier

redis = pytest.importorskip("redis")

pytestmark = pytest.mark.redis

#: A client is asked for before each operation, in the thread that does it.
BEGIN = """
    import atexit, sys, threading, time
    from datetime import timedelta

    last = []  # is done after what the package does at the end
    atexit.register(lambda: [do() for do in last])
    import cachier, redis

    cachier.set_global_params(operation_timeout=10)
    client = redis.Redis(port=int(sys.argv[1]))
    main = threading.main_thread()

    def until(condition):
        end = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.01)

    def names_of_threads():
        import pathlib
        return {
            task.joinpath("comm").read_text().strip()
            for task in pathlib.Path("/proc/self/task").iterdir()
        }
"""


@pytest.fixture(scope="module")
def running():
    """One server for all tests."""
    server = RedisServer()
    if server.why_not:
        pytest.skip(server.why_not)
    yield server
    server.stop()


@pytest.fixture
def server(running):
    """Give the server, empty."""
    with running.client() as client:
        client.flushall()
    return running


@pytest.fixture
def run(run_python, server):
    """Run a program with the server's port; nothing may be left on its stderr."""

    def run_it(source):
        begin, rest = textwrap.dedent(BEGIN), textwrap.dedent(source)
        done = run_python(begin + rest, str(server.port), flags=["-X", "dev"])
        assert done.stderr == ""
        return done.stdout.split()

    return run_it


def test_a_renewal_that_waits_for_its_time(run, server):
    """A daemon thread holds a claim, and nobody renews it any more."""
    told = run(
        """
        inside = threading.Event()

        @cachier.cachier(backend="redis", redis_client=client)
        def slow(n):
            inside.set()
            time.sleep(600)

        threading.Thread(target=slow, args=[1], daemon=True).start()
        inside.wait(30)
        until(lambda: "cachier-renewal" in names_of_threads())
        print("main ends")
        """
    )
    assert told == ["main", "ends"]
    with server.client() as client:
        (claim,) = client.keys("*:c:*")
        assert 0 < client.pttl(claim) <= 10_000
        client.delete(claim)
        assert client.keys("*:e:*") == []


def test_a_renewal_that_is_under_way(run):
    """It is finished before the interpreter goes: here, its part in Python."""
    told = run(
        """
        renewing, ending = threading.Event(), threading.Event()

        def give():
            if isinstance(threading.current_thread(), threading._DummyThread):
                renewing.set()
                ending.wait(30)
                for _ in range(50):
                    time.sleep(0.001)
                print("renewed", flush=True)
            return client

        @cachier.cachier(backend="redis", redis_client=give)
        def slow(n):
            time.sleep(600)

        threading.Thread(target=slow, args=[1], daemon=True).start()
        renewing.wait(30)
        atexit.register(ending.set)
        """
    )
    assert told == ["renewed"]


def test_a_renewal_that_nobody_answers(run):
    """The server hangs: the end waits for the operation, which ends in time."""
    told = run(
        """
        import os, signal

        server = client.info()["process_id"]
        inside, renewing = threading.Event(), threading.Event()

        def give():
            if isinstance(threading.current_thread(), threading._DummyThread):
                os.kill(server, signal.SIGSTOP)
                renewing.set()
            return client

        @cachier.cachier(backend="redis", redis_client=give)
        def slow(n):
            time.sleep(600)

        last.append(lambda: os.kill(server, signal.SIGCONT))
        threading.Thread(target=slow, args=[1], daemon=True).start()
        renewing.wait(30)
        print("main ends", flush=True)
        """
    )
    assert told == ["main", "ends"]


def test_a_refresh_keeps_its_claim_until_it_is_done(run, server):
    """Refreshes are waited for, and renewed meanwhile."""
    told = run(
        """
        refreshing = threading.Event()

        @cachier.cachier(backend="redis", redis_client=client, name="refreshed",
                         stale_after=timedelta(0), next_time=True)
        def slow(n):
            if threading.current_thread() is main:
                return "first"
            refreshing.set()
            (claim,) = client.keys("*:c:*")
            # Less than a new lease, and more than the time until it is renewed.
            client.pexpire(claim, 6_000)
            until(lambda: client.pttl(claim) > 7_000)
            return "second"

        print(slow(1), slow(1), flush=True)
        refreshing.wait(30)
        """
    )
    assert told == ["first", "first"]
    with server.client() as client:
        assert client.keys("*:c:*") == []

        @cachier.cachier(backend="redis", redis_client=client, name="refreshed")
        def slow(n):
            raise AssertionError

        assert slow(1) == "second"


def test_calls_after_the_engines_threads_have_ended(run, server):
    """What was registered before the import runs after it, and may still call."""
    told = run(
        """
        @cachier.cachier(backend="redis", redis_client=client)
        def f(n):
            print("runs", flush=True)
            return n

        last.append(lambda: print(f(1), f(1), flush=True))
        """
    )
    assert told == ["runs", "1", "1"]
    with server.client() as client:
        assert client.keys("*:c:*") == []


def test_the_child_of_a_fork(run):
    """It ends as a program does, and its parent renews on."""
    told = run(
        """
        import os, warnings

        inside = threading.Event()

        @cachier.cachier(backend="redis", redis_client=client)
        def slow(n):
            inside.set()
            time.sleep(600)

        threading.Thread(target=slow, args=[1], daemon=True).start()
        inside.wait(30)
        until(lambda: "cachier-renewal" in names_of_threads())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of threads beside a fork
            child = os.fork()
        if child == 0:
            print("child", flush=True)
            sys.exit(7)
        _, status = os.waitpid(child, 0)
        print(os.WEXITSTATUS(status), "cachier-renewal" in names_of_threads())
        """
    )
    assert told == ["child", "7", "True"]
