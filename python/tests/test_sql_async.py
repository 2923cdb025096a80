"""Backend "sql" of coroutine functions: an async engine, on the caller's own loop."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from datetime import timedelta

import pytest
from servers import Own, own, server_url

import cachier

sqlalchemy = pytest.importorskip("sqlalchemy")
sqlalchemy_asyncio = pytest.importorskip("sqlalchemy.ext.asyncio")

pytestmark = [
    pytest.mark.sql,
    pytest.mark.asyncio,
    pytest.mark.usefixtures("patient"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
    # Functions here wait for events of the tests around them.
    pytest.mark.filterwarnings("ignore:.*cannot be part of a key"),
    # aiosqlite's thread of a connection that was being made when its loop ended.
    pytest.mark.filterwarnings("ignore:.*_connection_worker_thread"),
]


def _async_url(url):
    return "postgresql+asyncpg" + url[url.index(":") :]


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path):
    """A database, for each kind."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/cache.db"
    return _async_url(server_url(request.param))


@pytest.fixture
def make(url, request):
    """Put the cache on a coroutine function, of a name of the test's own."""
    made = []

    def decorate(function, **options):
        # Others may be at the same servers with the same tests.
        name = f"{request.node.name} {os.getpid()}"
        options = {"name": name, "sql_engine": url, **options}
        cached = cachier.cachier(backend="sql", **options)(function)
        made.append(cached)
        cached.clear_cache()
        return cached

    yield decorate
    for cached in made:
        cached.clear_cache()


@pytest.fixture
def counted(make):
    """Give a cached coroutine function that counts its runs."""

    def decorate(**options):
        runs = []

        async def square(n):
            runs.append(n)
            await asyncio.sleep(0)
            return {"n": n * n, "tuple": (n, None, b"\0")}

        cached = make(square, **options)
        cached.runs = runs
        return cached

    return decorate


def test_a_result_is_stored_and_handed_out(counted):
    square = counted()

    async def main():
        assert await square(3) == await square(3) == {"n": 9, "tuple": (3, None, b"\0")}
        assert square.runs == [3]
        await square(3, cachier__skip_cache=True)
        assert square.runs == [3, 3]
        await square.aclear_cache()
        await square(3)
        assert square.runs == [3, 3, 3]

    asyncio.run(main())


def test_an_engine_in_several_loops(counted, url):
    square = counted(sql_engine=sqlalchemy_asyncio.create_async_engine(url))
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


def test_a_database_in_memory():
    engine = sqlalchemy_asyncio.create_async_engine("sqlite+aiosqlite://")
    runs = []

    @cachier.cachier(backend="sql", sql_engine=engine)
    async def square(n):
        runs.append(n)
        return n * n

    async def main():
        results = await asyncio.gather(*(square(n % 4) for n in range(32)))
        assert results == [0, 1, 4, 9] * 8
        await engine.dispose()

    asyncio.run(main())
    assert sorted(runs) == [0, 1, 2, 3]


def test_64_tasks_run_it_once(make):
    runs = []

    async def slow(n):
        runs.append(n)
        await asyncio.sleep(0.2)
        return n

    cached = make(slow)

    async def main():
        assert await asyncio.gather(*(cached(1) for _ in range(64))) == [1] * 64

    asyncio.run(main())
    assert runs == [1]


def test_staleness(counted):
    square = counted(stale_after=timedelta(0))

    async def main():
        await square(3)
        await square(3)

    asyncio.run(main())
    assert square.runs == [3, 3]


PROCESS = """
import asyncio, sys
import cachier

url, log, name = sys.argv[1:]
cachier.set_global_params(operation_timeout=10)

@cachier.cachier(backend="sql", sql_engine=url, name=name)
async def slow(n):
    with open(log, "a") as file:
        file.write("ran\\n")
    await asyncio.sleep(0.5)
    return n

async def main():
    assert await asyncio.gather(*(slow(1) for _ in range(8))) == [1] * 8

input()
asyncio.run(main())
"""


def test_tasks_of_several_processes_run_it_once(make, url, tmp_path):
    async def nothing(n):
        pass

    name = f"of processes {os.getpid()}"
    make(nothing, name=name)
    script, log = tmp_path / "script.py", tmp_path / "log"
    script.write_text(PROCESS)
    processes = [
        subprocess.Popen(
            [sys.executable, str(script), url, str(log), name], stdin=subprocess.PIPE
        )
        for _ in range(8)
    ]
    for process in processes:
        process.stdin.write(b"\n")
        process.stdin.close()
    assert [process.wait(60) for process in processes] == [0] * 8
    assert log.read_text() == "ran\n"


def test_a_cancelled_owner_leaves_no_claim(make):
    runs = []

    async def slow(n):
        runs.append(n)
        if len(runs) == 1:
            await asyncio.sleep(600)
        return n

    cached = make(slow)

    async def main():
        owner = asyncio.create_task(cached(1))
        while not runs:
            await asyncio.sleep(0.01)
        owner.cancel()
        with pytest.raises(asyncio.CancelledError):
            await owner
        assert await cached(1) == 1

    asyncio.run(main())
    assert runs == [1, 1]


def test_callers_cancelled_at_any_time_harm_nobody(counted):
    square = counted()

    async def main():
        for turns in range(40):
            task = asyncio.create_task(square(turns))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        for n in range(40):
            assert (await square(n))["n"] == n * n

    asyncio.run(main())


def test_the_child_of_a_fork_has_connections_of_its_own(counted):
    square = counted()

    async def main():
        assert (await square(3))["n"] == 9

    async def in_the_parent():
        await main()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                thread = threading.Thread(target=lambda: asyncio.run(main()))
                thread.start()
                thread.join(60)
                status = 0 if square.runs == [3] else 2
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        assert status == 0
        for n in range(5):
            await square(n)

    asyncio.run(in_the_parent())


def test_sync_and_async_functions_share_entries(counted, url):
    name = f"shared {os.getpid()}"
    square = counted(name=name)
    asyncio.run(square(3))
    blocking = url.replace("+asyncpg", "+psycopg").replace("+aiosqlite", "")

    @cachier.cachier(backend="sql", sql_engine=blocking, name=name)
    def same(n):
        raise AssertionError

    assert same(3)["n"] == 9


def test_a_url_of_a_driver_of_both_kinds(request):
    given = server_url("postgres")
    cached = cachier.cachier(
        backend="sql",
        sql_engine="postgresql+psycopg" + given[given.index(":") :],
        name=f"{request.node.name} {os.getpid()}",
    )

    @cached
    async def awaited(n):
        return n + 0.5

    @cached
    def plain(n):
        raise AssertionError

    async def main():
        await awaited.aclear_cache()
        assert await awaited(1) == 1.5

    asyncio.run(main())
    assert plain(1) == 1.5


def test_the_kinds_of_function_and_engine_must_agree(url):
    blocking = url.replace("+asyncpg", "+pg8000").replace("+aiosqlite", "")
    if "pg8000" in blocking:
        blocking = server_url("mysql").replace("mysql:", "mysql+pymysql:")
    with pytest.raises(TypeError, match="sql_engine is sync"):

        @cachier.cachier(backend="sql", sql_engine=blocking)
        async def f():
            pass

    with pytest.raises(TypeError, match="sql_engine is async"):

        @cachier.cachier(backend="sql", sql_engine=url)
        def g():
            pass


class TestFailures:
    @pytest.fixture
    def server(self):
        servers = Own()
        server = own("postgres", servers)
        yield server
        servers.end()

    @staticmethod
    def _counted(server, **options):
        runs = []

        @cachier.cachier(backend="sql", sql_engine=_async_url(server.url), **options)
        async def square(n):
            runs.append(n)
            return n * n

        square.runs = runs
        return square

    def test_a_server_that_is_killed_and_comes_back(self, server):
        square = self._counted(server)

        async def main():
            assert await square(3) == 9
            server.kill()
            with pytest.warns(cachier.CachierWarning, match="cannot look into"):
                assert await square(3) == 9
            assert square.runs == [3, 3]
            await asyncio.to_thread(server.start)
            end = time.monotonic() + 60
            while True:
                before = len(square.runs)
                assert await square(3) == 9
                if len(square.runs) == before:
                    break
                assert time.monotonic() < end, "it recovers by itself"
                await asyncio.sleep(0.01)

        asyncio.run(main())

    def test_connections_that_the_server_closed_are_no_failure(self, server):
        square = self._counted(server)

        async def main():
            assert await square(3) == 9
            await asyncio.to_thread(server.restart)
            assert await square(3) == 9
            assert square.runs == [3]

        asyncio.run(main())

    def test_a_frozen_server_holds_up_neither_calls_nor_the_loop(self, server):
        square = self._counted(server)

        async def main():
            assert await square(3) == 9
            server.freeze()
            cachier.set_global_params(operation_timeout=0.5)
            turns = 0

            async def turn():
                nonlocal turns
                while True:
                    await asyncio.sleep(0.01)
                    turns += 1

            turning = asyncio.create_task(turn())
            try:
                with pytest.warns(cachier.CachierWarning, match=r"no answer within 0"):
                    assert await square(3) == 9
                assert turns > 10
            finally:
                server.thaw()
                turning.cancel()

        asyncio.run(main())

    def test_a_wrong_password_is_raised_and_not_shown(self):
        url = sqlalchemy.make_url(_async_url(server_url("postgres")))
        url = url.set(username="nobody", password="not-the-password")

        @cachier.cachier(backend="sql", sql_engine=url)
        async def f(x):
            return x

        with pytest.raises(Exception, match="nobody") as caught:
            asyncio.run(f(1))
        assert "not-the-password" not in str(caught.value)
        assert "not-the-password" not in repr(f._store.location)
