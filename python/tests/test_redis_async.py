"""Backend "redis" of coroutine functions: an async client, on the caller's own loop."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
import warnings

import pytest
from redis_server import RedisServer

import cachier

redis = pytest.importorskip("redis")
aredis = pytest.importorskip("redis.asyncio")

pytestmark = [
    pytest.mark.redis,
    pytest.mark.usefixtures("patient"),
    pytest.mark.asyncio,
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
    # Functions here wait for events of the tests around them.
    pytest.mark.filterwarnings("ignore:.*cannot be part of a key"),
]


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
def own_server():
    """Give a server that a test may kill."""
    server = RedisServer()
    if server.why_not:
        pytest.skip(server.why_not)
    yield server
    server.stop()


def _counted(client, **options):
    """Give a cached coroutine function that counts its runs."""
    runs = []

    @cachier.cachier(backend="redis", redis_client=client, **options)
    async def square(n, text=""):
        runs.append(n)
        await asyncio.sleep(0)
        return {"n": n * n, "text": text, "tuple": (n, None)}

    square.runs = runs
    return square


async def _until(condition, limit=20.0):
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


def test_a_result_is_stored_and_handed_out(server):
    async def main():
        square = _counted(aredis.Redis(port=server.port))
        expected = {"n": 9, "text": "ä", "tuple": (3, None)}
        assert await square(3, "ä") == expected
        assert await square(3, text="ä") == expected
        assert square.runs == [3]
        await square(4)
        assert square.runs == [3, 4]
        assert await square(3, "ä", cachier__skip_cache=True) == expected
        assert square.runs == [3, 4, 3]

    asyncio.run(main())


def test_one_client_in_several_loops(server):
    square = _counted(aredis.Redis(port=server.port))
    for _ in range(3):
        assert asyncio.run(square(3))["n"] == 9
    threads = [
        threading.Thread(target=lambda: asyncio.run(square(4))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert square.runs == [3, 4]


def test_a_url_serves_functions_of_both_kinds(server):
    cached = cachier.cachier(
        backend="redis", redis_client=f"redis://localhost:{server.port}/0", name="both"
    )

    @cached
    async def awaited(n):
        return n + 0.5

    @cached
    def plain(n):
        raise AssertionError

    assert asyncio.run(awaited(1)) == 1.5
    assert plain(1) == 1.5


@pytest.mark.parametrize("kind", ["asynchronous", "decoding", "called", "method"])
def test_kinds_of_clients(server, kind):
    made = []

    async def give():
        made.append(1)
        return aredis.Redis(port=server.port)

    class Mine(aredis.Redis):
        async def execute_command(self, *words, **options):
            made.append(1)
            return await super().execute_command(*words, **options)

    class Giver:
        async def give(self):
            return await give()

    client = {
        "asynchronous": lambda: give,
        "decoding": lambda: aredis.Redis(port=server.port, decode_responses=True),
        "called": lambda: Mine(port=server.port, decode_responses=True),
        "method": lambda: Giver().give,
    }[kind]()

    async def main():
        square = _counted(client, name=f"kind{kind}")
        assert made == []
        assert await square(3) == await square(3)
        assert square.runs == [3]
        if kind != "decoding":
            assert len(made) >= 2
        await square.aclear_cache()
        await square(3)
        assert square.runs == [3, 3]
        if kind == "called":
            await client.aclose()

    asyncio.run(main())


def test_64_tasks_run_it_once(server):
    runs = []

    @cachier.cachier(backend="redis", redis_client=aredis.Redis(port=server.port))
    async def slow(n):
        runs.append(n)
        await asyncio.sleep(0.2)
        return n

    async def main():
        return await asyncio.gather(*(slow(1) for _ in range(64)))

    assert asyncio.run(main()) == [1] * 64
    assert runs == [1]


_PROCESS = """
import asyncio, sys
import redis.asyncio
from cachier import cachier

port, log = int(sys.argv[1]), sys.argv[2]

@cachier(backend="redis", redis_client=redis.asyncio.Redis(port=port), name="many")
async def slow(n):
    with open(log, "a") as file:
        file.write("run\\n")
    await asyncio.sleep(0.5)
    return n

async def main():
    sys.stdin.readline()
    return await asyncio.gather(*(slow(7) for _ in range(16)))

assert asyncio.run(main()) == [7] * 16
"""


def test_tasks_of_several_processes_run_it_once(server, tmp_path):
    log = tmp_path / "log"
    command = [sys.executable, "-W", "error", "-c", _PROCESS]
    processes = [
        subprocess.Popen(
            [*command, str(server.port), str(log)],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(4)
    ]
    for process in processes:
        process.stdin.write(b"\n")
        process.stdin.flush()
    for process in processes:
        _, told = process.communicate(timeout=60)
        assert (process.returncode, told) == (0, b"")
    assert log.read_text() == "run\n"


def test_clearing(server):
    async def main():
        square = _counted(aredis.Redis(port=server.port))
        await square(1)
        # What is done may be awaited, and need not be.
        square.clear_cache()
        await square(1)
        await square.clear_cache()
        await square(1)
        await square.aclear_cache()
        await square(1)
        assert square.runs == [1] * 4
        await square.aclear_being_calculated()
        await square.clear_being_calculated()

    asyncio.run(main())


def test_management_outside_of_a_loop(server):
    square = _counted(aredis.Redis(port=server.port))
    square.clear_cache()
    square.precache_value(5, value_to_cache="given")
    assert asyncio.run(square(5)) == "given"
    assert square.is_cached(5)
    square.invalidate(5)
    assert not square.is_cached(5)
    assert square.runs == []


def test_a_cancelled_owner_leaves_no_claim(server):
    async def main():
        started = asyncio.Event()
        runs = []

        @cachier.cachier(backend="redis", redis_client=aredis.Redis(port=server.port))
        async def slow(n):
            runs.append(n)
            started.set()
            if len(runs) == 1:
                await asyncio.sleep(600)
            return n

        owner = asyncio.create_task(slow(1))
        await started.wait()
        waiting = asyncio.create_task(slow(1))
        owner.cancel()
        with pytest.raises(asyncio.CancelledError):
            await owner
        assert await waiting == 1
        assert runs == [1, 1]

    asyncio.run(main())


def test_callers_cancelled_at_any_time_leave_no_claim(server):
    async def main():
        square = _counted(aredis.Redis(port=server.port))
        for turns in range(40):
            task = asyncio.create_task(square(turns))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
        with server.client() as client:
            await _until(lambda: client.keys("*:c:*") == [])

    asyncio.run(main())


def test_a_loop_that_ends_leaves_no_claim(server):
    square = _counted(aredis.Redis(port=server.port))
    for turns in range(40):

        async def main(turns=turns):
            task = asyncio.create_task(square(turns))
            for _ in range(turns):
                await asyncio.sleep(0)
            return task

        asyncio.run(main())
    with server.client() as client:
        asyncio.run(_until(lambda: client.keys("*:c:*") == []))


def test_a_long_computation_keeps_its_claim(server):
    """Also one that lets nothing else of its loop run."""

    @cachier.cachier(backend="redis", redis_client=aredis.Redis(port=server.port))
    async def slow(n):
        with server.client() as client:
            (claim,) = client.keys("*:c:*")
            # Less than a new lease, and more than the time until it is renewed.
            client.pexpire(claim, 6_000)
            end = time.monotonic() + 20
            while client.pttl(claim) < 7_000:
                assert time.monotonic() < end
                time.sleep(0.02)
        return n

    assert asyncio.run(slow(1)) == 1
    with server.client() as client:
        assert client.keys("*:c:*") == []


@pytest.mark.maxage
def test_next_time(server):
    async def main():
        square = _counted(aredis.Redis(port=server.port), next_time=True)
        await square(3)
        assert (await square(3, max_age=_nothing()))["n"] == 9
        await _until(lambda: len(square.runs) == 2)
        with server.client() as client:
            await _until(lambda: client.keys("*:c:*") == [])

    asyncio.run(main())


def _nothing():
    import datetime

    return datetime.timedelta(0)


def test_a_killed_server_is_no_failure_of_the_call(own_server):
    async def main():
        square = _counted(aredis.Redis(port=own_server.port))
        await square(3)
        own_server.kill()
        with pytest.warns(cachier.CachierWarning, match="cannot look into the cache"):
            assert (await square(3))["n"] == 9
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert (await square(3))["n"] == 9
        assert square.runs == [3, 3, 3]
        own_server.start()
        before = 0
        while before != len(square.runs):
            await asyncio.sleep(0.05)
            before = len(square.runs)
            await square(3)

    asyncio.run(main())


def test_a_frozen_server_holds_up_neither_calls_nor_the_loop(own_server):
    async def main():
        square = _counted(aredis.Redis(port=own_server.port))
        await square(3)
        own_server.signal(signal.SIGSTOP)
        cachier.set_global_params(operation_timeout=None)
        turns = 0

        async def turn():
            nonlocal turns
            while True:
                await asyncio.sleep(0.01)
                turns += 1

        turning = asyncio.create_task(turn())
        try:
            with pytest.warns(cachier.CachierWarning, match="no answer within 1 s"):
                assert (await square(3))["n"] == 9
            assert turns > 10
        finally:
            own_server.signal(signal.SIGCONT)
            turning.cancel()
        before = 0
        while before != len(square.runs):
            await asyncio.sleep(0.05)
            before = len(square.runs)
            await square(3)

    asyncio.run(main())


def test_a_wrong_password_is_told_in_the_clients_own_type(server):
    with server.client() as client:
        client.config_set("requirepass", "right")
    try:
        square = _counted(aredis.Redis(port=server.port, password="wrong-one"))
        with pytest.raises(redis.AuthenticationError):
            asyncio.run(square(3))
    finally:
        with server.client(password="right") as client:
            client.config_set("requirepass", "")


def test_the_child_of_a_fork_has_connections_of_its_own(server):
    square = _counted(aredis.Redis(port=server.port))
    asyncio.run(square(3))
    square.clear_being_calculated()
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(square(3))
            asyncio.run(square(4))
            square.clear_being_calculated()
            os._exit(len(square.runs))
        finally:
            os._exit(100)
    assert asyncio.run(square(3))["n"] == 9
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
    assert asyncio.run(square(4))["n"] == 16
    assert square.runs == [3]


class Fake:
    """The least that an async client has to know."""

    def __init__(self):
        self.hashes = {}

    async def hgetall(self, key):
        await asyncio.sleep(0)
        return self.hashes.get(key, {})

    async def hset(self, key, field=None, value=None, mapping=None):
        await asyncio.sleep(0)
        self.hashes.setdefault(key, {}).update(mapping or {field: value})

    async def hget(self, key, field):
        return self.hashes.get(key, {}).get(field)

    async def keys(self, pattern):
        return list(self.hashes)

    async def delete(self, *keys):
        return sum(self.hashes.pop(key, None) is not None for key in keys)


def test_a_fake_that_knows_hashes_only():
    fake = Fake()

    async def give():
        return fake

    async def main():
        square = _counted(fake)
        other = _counted(give, name="other")
        assert await square(3) == await square(3)
        await asyncio.gather(*(other(n % 4) for n in range(64)))
        assert sorted(other.runs) == [0, 1, 2, 3]
        await square.aclear_cache()
        await square(3)
        assert square.runs == [3, 3]
        # On its own loop nothing may block, so it is begun and may be awaited.
        await square.clear_cache()
        await square(3)
        assert square.runs == [3, 3, 3]

    asyncio.run(main())


def test_sync_and_async_functions_share_entries(server):
    square = _counted(aredis.Redis(port=server.port), name="shared")
    asyncio.run(square(3))

    @cachier.cachier(backend="redis", redis_client=server.client(), name="shared")
    def plain(n, text=""):
        raise AssertionError

    assert plain(3)["n"] == 9
