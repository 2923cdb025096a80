"""Backend "sql": an engine that the program brings, and real databases."""

import concurrent.futures
import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from conftest import REPOSITORY
from servers import Own, own, server_url

import cachier

sqlalchemy = pytest.importorskip("sqlalchemy")

pytestmark = [
    pytest.mark.sql,
    pytest.mark.usefixtures("patient"),
    pytest.mark.filterwarnings("ignore:.*cannot be part of a key"),
]

DRIVERS = {"postgres": "postgresql+psycopg", "mysql": "mysql+pymysql"}


@pytest.fixture(params=["sqlite", "postgres", "mysql"])
def url(request, tmp_path):
    """A database, for each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/cache.db"
    given = server_url(request.param)
    return DRIVERS[request.param] + given[given.index(":") :]


@pytest.fixture
def make(url, request):
    """Put the cache on a function, of a name of the test's own."""
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


class TestCalls:
    def test_results_are_stored(self, make, recorded):
        @make
        def f(x):
            recorded.append(x)
            return {"x": [x, None, b"\0", {1.5}]}

        assert f(1) == f(1) == {"x": [1, None, b"\0", {1.5}]}
        assert recorded == [1]
        f.clear_cache()
        f(1)
        assert recorded == [1, 1]

    def test_large_results(self, make, recorded):
        @make
        def f():
            recorded.append(1)
            return os.urandom(5_000_000)

        assert f() == f()
        assert recorded == [1]

    def test_questions(self, make):
        f = make(lambda x: x)
        assert not f.is_cached(1)
        f(1)
        assert f.is_cached(1)
        assert f.peek(1) == 1
        f.invalidate(1)
        assert not f.is_cached(1)

    def test_a_cold_key_is_computed_once_by_threads(self, make, recorded):
        begun = threading.Barrier(8)

        @make
        def f():
            recorded.append(1)
            return "result"

        def call(_):
            begun.wait(20)
            return f()

        with concurrent.futures.ThreadPoolExecutor(8) as threads:
            assert set(threads.map(call, range(8))) == {"result"}
        assert recorded == [1]

    def test_a_cold_key_is_computed_once_by_processes(self, url, tmp_path, request):
        trace = tmp_path / "trace"
        source = textwrap.dedent(
            """
            import sys, time
            import cachier

            @cachier.cachier(backend="sql", sql_engine=sys.argv[1], name=sys.argv[2])
            def f():
                with open(sys.argv[3], "a") as trace:
                    trace.write("run\\n")
                time.sleep(0.5)
                return "result"

            sys.stdin.readline()
            assert f() == "result"
            """
        )
        name = f"{request.node.name} {os.urandom(8).hex()}"
        command = [sys.executable, "-c", source, url, name, trace]
        children = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(8)]
        for child in children:
            child.stdin.write(b"\n")
            child.stdin.flush()
        assert [child.wait(60) for child in children] == [0] * 8
        for child in children:
            child.stdin.close()
        assert trace.read_text() == "run\n"

    def test_a_program_in_a_transaction_of_its_own(self, url, make, recorded):
        if url.startswith("sqlite"):
            pytest.skip("SQLite has one writer")
        engine = sqlalchemy.create_engine(url)

        @make
        def f(x):
            recorded.append(x)
            return x

        with engine.begin() as connection:
            connection.execute(sqlalchemy.text("SELECT 1"))
            decorate = cachier.cachier(
                backend="sql", sql_engine=engine, name=f"theirs {os.getpid()}"
            )
            g = decorate(f.__wrapped__)
            assert g(1) == 1
            connection.rollback()
        assert g(1) == 1
        assert recorded == [1]
        g.clear_cache()
        engine.dispose()


class TestEngines:
    @pytest.mark.parametrize(
        "given",
        [
            "sqlite:///{}/x.db",
            lambda path: sqlalchemy.create_engine(f"sqlite:///{path}/x.db"),
            lambda path: sqlalchemy.make_url(f"sqlite:///{path}/x.db"),
            lambda path: lambda: f"sqlite:///{path}/x.db",
        ],
        ids=["text", "engine", "url", "callable"],
    )
    def test_what_an_engine_may_be(self, given, tmp_path, recorded):
        engine = given.format(tmp_path) if isinstance(given, str) else given(tmp_path)

        @cachier.cachier(backend="sql", sql_engine=engine)
        def f(x):
            recorded.append(x)
            return x

        assert f(1) == f(1) == 1
        assert recorded == [1]
        assert (tmp_path / "x.db").exists()

    def test_a_database_in_memory_is_one_for_all_threads(self, recorded):
        @cachier.cachier(backend="sql", sql_engine="sqlite:///:memory:")
        def f(x):
            recorded.append(x)
            return x

        with concurrent.futures.ThreadPoolExecutor(4) as threads:
            assert list(threads.map(f, [1] * 8)) == [1] * 8
        assert recorded == [1]

    def test_an_async_engine_is_for_coroutine_functions(self, tmp_path):
        asyncio = pytest.importorskip("sqlalchemy.ext.asyncio")
        engine = asyncio.create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/x.db")
        with pytest.raises(TypeError, match="sql_engine is async"):
            cachier.cachier(backend="sql", sql_engine=engine)(lambda: 1)

    def test_a_sync_engine_is_not(self):
        async def f():
            return 1

        with pytest.raises(TypeError, match="sql_engine is sync"):
            cachier.cachier(backend="sql", sql_engine="sqlite://")(f)

    @pytest.mark.parametrize("url", ["no url", "nothing://", "oracle://x"])
    def test_bad_urls(self, url):
        with pytest.raises(ValueError, match="sql_engine"):
            cachier.cachier(backend="sql", sql_engine=url)


class TestFailures:
    @pytest.fixture(params=["postgres", "mysql"])
    def server(self, request):
        servers = Own()
        server = own(request.param, servers)
        yield server
        servers.end()

    @staticmethod
    def url_of(server):
        url = server.url
        return DRIVERS[server.kind.name] + url[url.index(":") :]

    def test_a_server_that_is_killed_and_comes_back(self, server, recorded):
        @cachier.cachier(backend="sql", sql_engine=self.url_of(server))
        def f(x):
            recorded.append(x)
            return x

        assert f(1) == f(1) == 1
        server.kill()
        with pytest.warns(cachier.CachierWarning, match="cannot look into the cache"):
            assert f(1) == 1
        assert recorded == [1, 1]
        server.start()
        end = time.monotonic() + 60
        while True:
            before = len(recorded)
            assert f(1) == 1
            if len(recorded) == before:
                break
            assert time.monotonic() < end, "it recovers by itself"
            time.sleep(0.01)
        assert f._counters["store_errors"] > 0

    def test_a_frozen_server_delays_no_call_for_long(self, server, recorded):
        def f(x):
            recorded.append(x)
            return x

        def cached(**options):
            url = self.url_of(server)
            return cachier.cachier(backend="sql", sql_engine=url, **options)(f)

        assert cached()(1) == 1
        server.freeze()
        with pytest.warns(cachier.CachierWarning, match=r"no \w+ within 0\.[23]"):
            assert cached(operation_timeout=0.3)(2) == 2
        server.thaw()

    def test_a_wrong_password_is_raised_and_not_shown(self):
        url = sqlalchemy.make_url(server_url("mysql"))
        url = url.set(drivername="mysql+pymysql", password="not-the-password")

        @cachier.cachier(backend="sql", sql_engine=url)
        def f(x):
            return x

        with pytest.raises(Exception, match="Access denied") as caught:
            f(1)
        assert "not-the-password" not in str(caught.value)
        assert "not-the-password" not in repr(f._store.location)

    def test_what_somebody_else_wrote_is_a_miss(self, url, make, recorded):
        @make
        def f(x):
            recorded.append(x)
            return x

        f(1)
        engine = sqlalchemy.create_engine(url)
        with engine.begin() as connection:
            for garbage in (b"", b"garbage", b"\xa5\0\x48" + bytes(20)):
                done = connection.execute(
                    sqlalchemy.text(
                        "UPDATE cachier_entries_1 SET envelope = :garbage "
                        "WHERE digest = :digest"
                    ),
                    {"garbage": garbage, "digest": bytes.fromhex(f.key(1))},
                )
                assert done.rowcount
        engine.dispose()
        assert f(1) == 1
        assert f(1) == 1
        assert recorded == [1, 1]
        assert f._counters["damaged"] == 1

    @pytest.mark.parametrize("column", ["envelope", "version", "stored_at", "flags"])
    def test_text_where_none_belongs_is_a_miss(self, tmp_path, recorded, column):
        url = f"sqlite:///{tmp_path}/x.db"

        @cachier.cachier(backend="sql", sql_engine=url)
        def f(x):
            recorded.append(x)
            return x

        f(1)
        engine = sqlalchemy.create_engine(url)
        with engine.begin() as connection:
            text = f"UPDATE cachier_entries_1 SET {column} = 'text'"
            connection.execute(sqlalchemy.text(text))
        engine.dispose()
        assert f(1) == f(1) == 1
        assert recorded == [1, 1]

    def test_a_locked_file_is_an_outage(self, tmp_path, recorded):
        path = tmp_path / "x.db"

        @cachier.cachier(backend="sql", sql_engine=f"sqlite:///{path}")
        def f(x):
            recorded.append(x)
            return x

        f(1)
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            with pytest.warns(cachier.CachierWarning, match="database is locked"):
                assert f(2) == 2
            assert [f(x) for x in range(100)] == list(range(100))
            assert f._counters["store_errors"] > 100, "nobody waits for it again"
            other.execute("ROLLBACK")

    def test_functions_share_connections(self, tmp_path):
        engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/x.db")
        opened = []
        sqlalchemy.event.listen(engine, "connect", lambda *_: opened.append(1))

        def make(n):
            return cachier.cachier(backend="sql", sql_engine=engine, name=f"f{n}")(
                lambda x: x
            )

        functions = [make(n) for n in range(10)]
        for f in functions:
            f(1)
        assert len(opened) == 1

    def test_tables_that_are_dropped_are_made_again(self, url, make, recorded):
        if not url.startswith("sqlite"):
            pytest.skip("others use them")

        @make
        def f(x):
            recorded.append(x)
            return x

        f(1)
        engine = sqlalchemy.create_engine(url)
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text("DROP TABLE cachier_entries_1"))
        engine.dispose()
        assert f(1) == f(1) == 1
        assert recorded == [1, 1]


def test_the_example(url, tmp_path):
    # Functions of a program are told apart by its place: others may run it as well.
    path = shutil.copy(REPOSITORY / "examples/sql_example.py", tmp_path)
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-W", "error", path, url],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.count("computing the report of month 3") == 2
        assert done.stdout.endswith("is there a report? False\n")
