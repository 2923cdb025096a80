"""Backend "mongo": collections that the program gives, and real servers."""

import asyncio
import concurrent.futures
import datetime
import os
import shutil
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from conftest import REPOSITORY
from servers import Own, own, server_url

import cachier

pymongo = pytest.importorskip("pymongo")

pytestmark = [
    pytest.mark.mongo,
    pytest.mark.usefixtures("patient"),
    pytest.mark.filterwarnings("ignore:.*cannot be part of a key"),
]


@pytest.fixture(params=["mongo", "ferretdb"])
def url(request):
    """A server, of each kind."""
    return server_url(request.param)


@pytest.fixture
def strict_url():
    """The server whose updates are atomic."""
    return server_url("mongo")


@pytest.fixture
def opened():
    """Give collections of the test's own, and drop them."""
    clients = []
    name = f"test_{os.urandom(8).hex()}"

    def collection(url):
        client = pymongo.MongoClient(url)
        clients.append(client)
        return client.get_default_database("cachier")[name]

    yield collection
    for client in clients:
        client.get_default_database("cachier").drop_collection(name)
        client.close()


@pytest.fixture
def collection(url, opened):
    return opened(url)


@pytest.fixture
def make(collection, request):
    """Put the cache on a function."""

    def decorate(function, **options):
        options = {"name": request.node.name, **options}
        return cachier.cachier(mongetter=lambda: collection, **options)(function)

    return decorate


def entry_of(collection):
    (document,) = collection.find({"_id": {"$regex": "^cachier1:e:"}})
    return document


def awaited(url, name):
    """Give a mongetter of async collections, and what closes their clients."""
    clients = []

    async def mongetter():
        clients.append(pymongo.AsyncMongoClient(url))
        return clients[-1].get_default_database("cachier")[name]

    async def close():
        while clients:
            await clients.pop().close()

    mongetter.close = close
    return mongetter


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

    def test_what_is_too_old_is_computed_anew(self, make, recorded):
        f = make(recorded.append, stale_after=datetime.timedelta(hours=1))
        g = make(lambda x: (recorded.append(x), x), allow_none=True)
        assert f(1, cachier__skip_cache=True) is None
        assert g(2) == g(2)
        assert recorded == [1, 2]
        g(2, max_age=datetime.timedelta(0))
        assert recorded == [1, 2, 2]

    def test_questions(self, make):
        f = make(lambda x: x)
        assert not f.is_cached(1)
        f(1)
        assert f.is_cached(1)
        assert f.peek(1) == 1
        f.invalidate(1)
        assert not f.is_cached(1)

    def test_a_clear_is_of_one_function(self, collection, make):
        f, g = make(lambda x: x, name="f"), make(lambda x: -x, name="g")
        collection.insert_one({"_id": "theirs"})
        for x in range(5):
            f(x), g(x)
        f.clear_cache()
        assert [f.is_cached(x) for x in range(5)] == [False] * 5
        assert [g.is_cached(x) for x in range(5)] == [True] * 5
        assert collection.find_one({"_id": "theirs"})

    def test_a_hit_is_one_find(self, strict_url):
        told = []

        class Listener(pymongo.monitoring.CommandListener):
            def started(self, event):
                told.append(event.command_name)

            def succeeded(self, event):
                pass

            def failed(self, event):
                pass

        client = pymongo.MongoClient(strict_url, event_listeners=[Listener()])
        collection = client.get_default_database()[f"test_{os.urandom(8).hex()}"]
        f = cachier.cachier(mongetter=lambda: collection)(lambda x: x)
        f(1)
        del told[:]
        f(1)
        assert told == ["find"]
        del told[:]
        f(2)
        assert told == ["find", "insert", "update"]
        collection.drop()
        client.close()

    def test_another_type_of_every_number(self, collection, make, recorded):
        f = make(lambda x: recorded.append(x) or x)
        f(1)
        for number in (3, 2**40, 1.5, True):
            change = {"$set": {"epoch": number, "born": number}}
            collection.update_one({"_id": entry_of(collection)["_id"]}, change)
            assert f(1) == 1
        assert recorded == [1]


class TestClaims:
    def test_a_cold_key_is_computed_once_by_threads(self, strict_url, opened, recorded):
        collection = opened(strict_url)
        begun = threading.Barrier(8)

        @cachier.cachier(mongetter=lambda: collection)
        def f():
            recorded.append(1)
            return "result"

        def call(_):
            begun.wait(20)
            return f()

        with concurrent.futures.ThreadPoolExecutor(8) as threads:
            assert set(threads.map(call, range(8))) == {"result"}
        assert recorded == [1]

    def test_a_cold_key_is_computed_once_by_processes(
        self, strict_url, opened, tmp_path
    ):
        trace = tmp_path / "trace"
        source = textwrap.dedent(
            """
            import sys, time
            import pymongo
            import cachier

            client = pymongo.MongoClient(sys.argv[1])
            collection = client.get_default_database()[sys.argv[2]]

            @cachier.cachier(mongetter=lambda: collection, name="f")
            def f():
                with open(sys.argv[3], "a") as trace:
                    trace.write("run\\n")
                time.sleep(0.5)
                return "result"

            sys.stdin.readline()
            assert f() == "result"
            """
        )
        name = opened(strict_url).name
        command = [sys.executable, "-c", source, strict_url, name, trace]
        children = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(8)]
        for child in children:
            child.stdin.write(b"\n")
            child.stdin.flush()
        assert [child.wait(60) for child in children] == [0] * 8
        for child in children:
            child.stdin.close()
        assert trace.read_text() == "run\n"

    @pytest.mark.parametrize("clear", ["clear_cache", "clear_being_calculated"])
    def test_clearing_while_somebody_computes(
        self, strict_url, opened, recorded, clear
    ):
        collection = opened(strict_url)
        begun, goes_on = threading.Event(), threading.Event()

        @cachier.cachier(mongetter=lambda: collection)
        def f():
            recorded.append(1)
            begun.set()
            assert goes_on.wait(20)
            return len(recorded)

        with concurrent.futures.ThreadPoolExecutor(1) as threads:
            first = threads.submit(f)
            assert begun.wait(20)
            getattr(f, clear)()
            goes_on.set()
            assert first.result(20) == 1
        # What was begun before a clear of entries is not stored after it.
        assert f.is_cached() == (clear == "clear_being_calculated")


class TestLargeValues:
    @pytest.fixture
    def strict_url(self):
        """Give a test a server alone: they have memory for some values only."""
        servers = Own()
        yield own("mongo", servers).url
        servers.end()

    @pytest.mark.parametrize("size", [1_000, 15_000_000, 15_800_000, 40_000_000])
    def test_they_are_whole(self, strict_url, opened, recorded, size):
        collection = opened(strict_url)

        @cachier.cachier(mongetter=lambda: collection)
        def f():
            recorded.append(1)
            return os.urandom(size)

        assert f() == f()
        assert recorded == [1]
        parts = {"_id": {"$regex": "^cachier1:p:"}}
        assert bool(collection.count_documents(parts)) == (size > 15 * 2**20)
        f(cachier__overwrite_cache=True)
        assert f() == f()
        assert recorded == [1, 1]
        f.clear_cache()
        assert collection.count_documents(parts) == 0

    def test_one_that_lacks_a_part_is_a_miss(self, strict_url, opened, recorded):
        collection = opened(strict_url)

        @cachier.cachier(mongetter=lambda: collection)
        def f():
            recorded.append(1)
            return os.urandom(20_000_000)

        f()
        parts = {"_id": {"$regex": "^cachier1:p:"}}
        collection.delete_one(parts)
        assert f() == f()
        assert recorded == [1, 1]
        f.clear_cache()
        assert collection.count_documents(parts) == 0

    def test_a_put_that_is_cut_off_leaves_what_was_there(
        self, strict_url, opened, monkeypatch
    ):
        collection = opened(strict_url)
        values = [b"a" * 20_000_000, b"b" * 20_000_000, b"c" * 20_000_000]
        results = iter(values)

        @cachier.cachier(mongetter=lambda: collection, on_backend_error="compute")
        def f():
            return next(results)

        f()
        insert_one = pymongo.collection.Collection.insert_one

        def cut_off(self, document, *args, **options):
            if document["_id"].endswith(":000002"):
                raise pymongo.errors.OperationFailure("conflict", 112)
            return insert_one(self, document, *args, **options)

        with monkeypatch.context() as patch:
            patch.setattr(pymongo.collection.Collection, "insert_one", cut_off)
            with pytest.warns(cachier.CachierWarning, match="conflict"):
                assert f(cachier__overwrite_cache=True) == values[1]
        assert f.peek() == values[0]
        parts = {"_id": {"$regex": "^cachier1:p:"}, "gone": {"$exists": True}}
        assert collection.count_documents(parts) == 2, "the server removes these"
        f.clear_cache()
        assert not f.is_cached()

    def test_a_reader_sees_one_of_them_whole(self, strict_url, opened):
        collection = opened(strict_url)
        decorate = cachier.cachier(mongetter=lambda: collection, name="f")
        numbers = iter(range(1, 100))
        written = decorate(lambda: bytes([next(numbers)]) * 18_000_000)
        read = decorate(lambda: b"none")
        written()
        done = threading.Event()

        def reads():
            seen = []
            while not done.is_set() or not seen:
                value = read.peek()
                seen.append(value is not None and (len(value), len(set(value))))
            return seen

        with concurrent.futures.ThreadPoolExecutor(1) as threads:
            reader = threads.submit(reads)
            for _ in range(3):
                written(cachier__overwrite_cache=True)
            done.set()
            assert set(reader.result(60)) == {(18_000_000, 1)}


class TestGetters:
    def test_one_is_called_with_the_first_call(self, strict_url, opened, recorded):
        collection = opened(strict_url)

        def mongetter():
            recorded.append("mongetter")
            return collection

        f = cachier.cachier(mongetter=mongetter)(lambda x: x)
        assert recorded == []
        f(1), f(2)
        assert recorded == ["mongetter"]
        host, port = collection.database.client.address
        assert f"{host}:{port}" in f._store.location

    @pytest.mark.parametrize("attribute", ["database", "client", "nothing"])
    def test_what_is_no_collection(self, strict_url, opened, attribute):
        collection = opened(strict_url)
        given = {
            "database": collection.database,
            "client": collection.database.client,
            "nothing": None,
        }[attribute]
        f = cachier.cachier(mongetter=lambda: given)(lambda x: x)
        with pytest.raises(TypeError, match="no collection"):
            f(1)

    def test_kinds(self):
        async def awaited():
            raise AssertionError("decorating does not ask")

        def plain():
            raise AssertionError("decorating does not ask")

        async def coroutine():
            return 1

        with pytest.raises(TypeError, match="mongetter is async"):
            cachier.cachier(mongetter=awaited)(lambda: 1)
        with pytest.raises(TypeError, match="mongetter is sync"):
            cachier.cachier(mongetter=plain)(coroutine)

    def test_a_write_concern_of_zero_is_not_kept(self, strict_url, opened, recorded):
        collection = opened(strict_url).with_options(
            write_concern=pymongo.WriteConcern(0)
        )
        f = cachier.cachier(mongetter=lambda: collection)(
            lambda x: recorded.append(x) or x
        )
        assert f(1) == f(1) == 1
        assert recorded == [1]


class TestCoroutines:
    """An async collection, on the caller's own loop."""

    @pytest.fixture
    def name(self, opened, url):
        return opened(url).name

    def test_results_are_stored(self, url, name, recorded):
        mongetter = awaited(url, name)

        @cachier.cachier(mongetter=mongetter)
        async def f(x):
            recorded.append(x)
            await asyncio.sleep(0)
            return {"x": x}

        async def main():
            assert await f(1) == await f(1) == {"x": 1}
            assert recorded == [1]
            await f.aclear_cache()
            assert await f(1) == {"x": 1}
            await mongetter.close()

        asyncio.run(main())
        assert recorded == [1, 1]

        async def on_another_loop():
            assert await f(1) == {"x": 1}
            await mongetter.close()

        asyncio.run(on_another_loop())
        assert recorded == [1, 1]

    def test_a_cold_key_is_computed_once_by_tasks(self, strict_url, opened, recorded):
        mongetter = awaited(strict_url, opened(strict_url).name)

        def made():
            @cachier.cachier(mongetter=mongetter, name="f")
            async def f():
                recorded.append(1)
                await asyncio.sleep(0.1)
                return "result"

            return f

        async def main():
            calls = [made()() for _ in range(4) for _ in range(4)]
            results = set(await asyncio.gather(*calls))
            await mongetter.close()
            return results

        assert asyncio.run(main()) == {"result"}
        assert recorded == [1]

    def test_a_sync_collection_is_refused(self, strict_url, opened):
        async def mongetter():
            return opened(strict_url)

        @cachier.cachier(mongetter=mongetter)
        async def f():
            return 1

        with pytest.raises(TypeError, match="gave a sync collection"):
            asyncio.run(f())


class TestFailures:
    @pytest.fixture
    def server(self):
        servers = Own()
        yield own("mongo", servers)
        servers.end()

    @pytest.fixture
    def cached(self, server, recorded):
        clients = []

        def make(**options):
            client = pymongo.MongoClient(server.url)
            clients.append(client)

            def f(x):
                recorded.append(x)
                return x

            get = lambda: client.get_default_database()["cache"]  # noqa: E731
            return cachier.cachier(mongetter=get, **options)(f)

        yield make
        for client in clients:
            client.close()

    def test_a_server_that_is_killed_and_comes_back(self, server, cached, recorded):
        f = cached()
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

    def test_a_frozen_server_delays_no_call_for_long(self, server, cached):
        assert cached()(1) == 1
        cachier.set_global_params(operation_timeout=0.3)
        server.freeze()
        with pytest.warns(cachier.CachierWarning, match="cannot look into the cache"):
            assert cached()(2) == 2
        server.thaw()

    def test_a_frozen_server_delays_no_coroutine(self, server):
        mongetter = awaited(server.url, "cache")

        @cachier.cachier(mongetter=mongetter)
        async def f(x):
            return x

        async def main():
            assert await f(1) == 1
            cachier.set_global_params(operation_timeout=0.3)
            server.freeze()
            with pytest.warns(cachier.CachierWarning, match=r"within \S+ s"):
                assert await f(2) == 2
            server.thaw()
            await mongetter.close()

        asyncio.run(main())

    def test_a_password_is_refused_and_not_shown(self, url, opened):
        where = url.replace("//", "//somebody:not-the-password@")

        @cachier.cachier(mongetter=lambda: opened_with(where))
        def f(x):
            return x

        clients = []

        def opened_with(url):
            clients.append(pymongo.MongoClient(url, authSource="admin"))
            return clients[-1].get_default_database()["cache"]

        with pytest.raises(pymongo.errors.PyMongoError) as caught:
            f(1)
        assert "not-the-password" not in str(caught.value)
        assert "not-the-password" not in repr(f._store.location)
        for client in clients:
            client.close()

    @pytest.mark.parametrize("garbage", [b"", b"garbage", b"\xa5\0\x48" + bytes(20)])
    def test_what_somebody_else_wrote_is_a_miss(
        self, collection, make, recorded, garbage
    ):
        f = make(lambda x: recorded.append(x) or x)
        f(1)
        change = {"$set": {"envelope": garbage}}
        assert collection.update_one({}, change, upsert=False).matched_count
        collection.update_many({"stored": {"$exists": True}}, change)
        assert f(1) == f(1) == 1
        assert recorded == [1, 1]
        assert f._counters["damaged"] == 1

    @pytest.mark.parametrize(
        "field", ["envelope", "rest", "version", "stored", "size", "parts", "state"]
    )
    @pytest.mark.parametrize(
        "value", ["text", -1, 1.5, None, {"$gt": 0}, [1], b"12"], ids=str
    )
    def test_strange_types_are_misses(self, strict_url, opened, recorded, field, value):
        collection = opened(strict_url)

        @cachier.cachier(mongetter=lambda: collection)
        def f(x):
            recorded.append(x)
            return x * 2_000

        f("1")
        # Replaced: `$set` would take some values for operators.
        document = entry_of(collection)
        collection.replace_one({"_id": document["_id"]}, {**document, field: value})
        assert f("1") == f("1") == f("1")
        assert 1 <= len(recorded) <= 2
        f.clear_cache()
        assert not f.is_cached("1")


def test_the_example(url, tmp_path):
    # Functions of a program are told apart by its place: others may run it as well.
    path = shutil.copy(REPOSITORY / "examples/mongo_example.py", tmp_path)
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
