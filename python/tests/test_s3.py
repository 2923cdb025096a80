"""Backend "s3": buckets that the program names, and a real server."""

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
import urllib.parse
import warnings

import hypothesis
import hypothesis.strategies as st
import pytest
from conftest import REPOSITORY
from servers import Own, own, server_url

import cachier
from cachier.adapters._s3_adapter import S3Adapter
from cachier.adapters._s3_objects import Marks, is_claimed, nothing, read_state
from cachier.cores.s3 import MissingS3Bucket

boto3 = pytest.importorskip("boto3")
botocore = pytest.importorskip("botocore")

pytestmark = [
    pytest.mark.s3,
    pytest.mark.usefixtures("patient"),
    pytest.mark.filterwarnings("ignore:.*cannot be part of a key"),
]


@pytest.fixture
def place():
    """Give what names a bucket and a prefix of the test's own."""
    url = urllib.parse.urlsplit(server_url("s3"))
    prefix = f"{url.path.strip('/')}/{os.urandom(8).hex()}"
    return {"s3_bucket": url.netloc, "s3_prefix": prefix}


@pytest.fixture
def client(place):
    client = boto3.client("s3", endpoint_url=os.environ["CACHIER_TEST_S3_ENDPOINT"])
    yield client
    for key in keys(client, place):
        client.delete_object(Bucket=place["s3_bucket"], Key=key)
    client.close()


@pytest.fixture
def make(client, place):
    """Put the cache on a function."""

    def decorate(function=None, **options):
        options = {
            "backend": "s3",
            "s3_client": client,
            "name": "f",
            **place,
            **options,
        }
        decorator = cachier.cachier(**options)
        return decorator if function is None else decorator(function)

    return decorate


def keys(client, place, what=""):
    listed = client.list_objects_v2(
        Bucket=place["s3_bucket"], Prefix=place["s3_prefix"]
    )
    found = [each["Key"] for each in listed.get("Contents", ())]
    return [key for key in found if what in key]


def told(client):
    """Give a list to which the client's operations are added."""
    operations = []
    client.meta.events.register(
        "before-call.s3", lambda model, **_: operations.append(model.name)
    )
    return operations


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
        f = make(recorded.append, stale_after=datetime.timedelta(hours=1), name="g")
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

    def test_a_clear_is_of_one_function(self, client, place, make):
        f, g = make(lambda x: x), make(lambda x: -x, name="g")
        theirs = {"Bucket": place["s3_bucket"], "Key": f"{place['s3_prefix']}/theirs"}
        client.put_object(Body=b"theirs", **theirs)
        for x in range(5):
            f(x), g(x)
        f.clear_cache()
        assert [f.is_cached(x) for x in range(5)] == [False] * 5
        assert [g.is_cached(x) for x in range(5)] == [True] * 5
        assert client.get_object(**theirs)["Body"].read() == b"theirs"

    def test_what_is_stale_is_removed(self, client, place, make):
        f = make(lambda x: x)
        for x in range(3):
            f(x)
        g = make(
            lambda x: x,
            stale_after=datetime.timedelta(microseconds=1),
            cleanup_stale=True,
            cleanup_interval=datetime.timedelta(0),
        )
        g(7)
        end = time.monotonic() + 20
        while f.is_cached(0) or f.is_cached(1) or f.is_cached(2):
            g(7)
            assert time.monotonic() < end

    @pytest.mark.parametrize("name", ["f" * 900, "\u00fc/\u4f60 (x)", "..", "a b\n~!"])
    def test_names(self, client, place, make, recorded, name):
        f = make(lambda x: recorded.append(x) or x, name=name)
        f(1), f(1)
        assert recorded == [1]
        (key,) = keys(client, place, "/e/")
        assert key.isascii()
        assert all(len(part) <= 255 for part in key.split("/"))
        adapter = S3Adapter(place["s3_bucket"], place["s3_prefix"], lambda: client)
        ((listed, *_),), after = adapter.ask("scan", 10.0, None, None, b"")
        assert urllib.parse.unquote(listed) == f"cachier:{name}"
        assert after == b""
        f.clear_cache()
        assert not f.is_cached(1)

    def test_requests_of_a_call(self, make, client):
        f = make(lambda x: x)
        f(0)
        operations = told(client)
        f(0)
        assert operations == ["GetObject"]
        del operations[:]
        f(1)
        assert operations == ["GetObject", "PutObject", "PutObject"]


class TestClaims:
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

    @pytest.mark.usefixtures("client")
    def test_a_cold_key_is_computed_once_by_processes(self, place, tmp_path):
        trace = tmp_path / "trace"
        source = textwrap.dedent(
            """
            import sys, time
            import cachier

            bucket, prefix, endpoint, trace = sys.argv[1:]
            cachier.set_global_params(operation_timeout=10)

            @cachier.cachier(
                backend="s3", s3_bucket=bucket, s3_prefix=prefix,
                s3_endpoint_url=endpoint, name="f",
            )
            def f():
                with open(trace, "a") as file:
                    file.write("run\\n")
                time.sleep(0.5)
                return "result"

            sys.stdin.readline()
            assert f() == "result"
            """
        )
        endpoint = os.environ["CACHIER_TEST_S3_ENDPOINT"]
        command = [sys.executable, "-W", "error", "-c", source, *place.values()]
        command += [endpoint, trace]
        children = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(8)]
        for child in children:
            child.stdin.write(b"\n")
            child.stdin.flush()
        assert [child.wait(60) for child in children] == [0] * 8
        for child in children:
            child.stdin.close()
        assert trace.read_text() == "run\n"

    @pytest.mark.parametrize("clear", ["clear_cache", "clear_being_calculated"])
    def test_clearing_while_somebody_computes(self, make, recorded, clear):
        begun, goes_on = threading.Event(), threading.Event()

        @make
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

    @pytest.mark.parametrize("takes", ["header", "argument"])
    def test_without_conditions_threads_still_take_turns(
        self, client, make, recorded, takes
    ):
        """A server that ignores them, and a client that does not know them."""
        if takes == "header":

            def strip(params, **_):
                for header in ("If-None-Match", "If-Match"):
                    params["headers"].pop(header, None)

            client.meta.events.register("before-call.s3", strip)
            given = client
        else:
            given = _WithoutConditions(client)
        f = make(lambda x: recorded.append(x) or x, s3_client=given)
        with concurrent.futures.ThreadPoolExecutor(8) as threads:
            for x in range(1, 5):
                assert set(threads.map(f, [x] * 8)) == {x}
        assert recorded == [1, 2, 3, 4]
        f.clear_cache()
        assert not f.is_cached(1)


class _WithoutConditions:
    """A client of a boto3 that is older than conditional writes."""

    def __init__(self, client):
        self._client = client

    def __getattr__(self, name):
        method = getattr(self._client, name)

        def called(**words):
            for word in ("IfMatch", "IfNoneMatch"):
                if name != "get_object" and word in words:
                    raise botocore.exceptions.ParamValidationError(
                        report=f'Unknown parameter in input: "{word}"'
                    )
            return method(**words)

        return called


class TestLargeValues:
    @pytest.mark.parametrize("size", [1_000, 4 << 20, 40_000_000])
    def test_they_are_whole(self, client, place, make, recorded, size):
        @make
        def f():
            recorded.append(1)
            return os.urandom(size)

        assert f() == f()
        assert recorded == [1]
        assert len(keys(client, place, "/v/")) == (size > 1_000)
        f(cachier__overwrite_cache=True)
        assert f() == f()
        assert recorded == [1, 1]
        assert len(keys(client, place, "/v/")) == (size > 1_000)
        f.invalidate()
        assert keys(client, place, "/v/") == []

    def test_one_that_lacks_its_envelope_is_a_miss(self, client, place, make, recorded):
        @make
        def f():
            recorded.append(1)
            return os.urandom(5_000_000)

        f()
        (key,) = keys(client, place, "/v/")
        client.delete_object(Bucket=place["s3_bucket"], Key=key)
        assert f() == f()
        assert recorded == [1, 1]

    def test_a_clear_removes_what_nobody_names(self, client, place, make):
        f = make(lambda: os.urandom(5_000_000))
        f()
        (key,) = keys(client, place, "/v/")
        left = key.rpartition("-")[0] + "-" + "0" * 32
        client.put_object(Bucket=place["s3_bucket"], Key=left, Body=b"left")
        modified = client.head_object(Bucket=place["s3_bucket"], Key=left)[
            "LastModified"
        ]
        # What has just been written may be about to be named.
        limit = modified + datetime.timedelta(seconds=3)
        while datetime.datetime.now(datetime.timezone.utc) < limit:
            time.sleep(0.1)
        f.clear_cache()
        assert keys(client, place, "/v/") == []

    def test_a_reader_sees_one_of_them_whole(self, make):
        numbers = iter(range(1, 100))
        written = make(lambda: bytes([next(numbers)]) * 6_000_000)
        read = make(lambda: b"none")
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
            for _ in range(5):
                written(cachier__overwrite_cache=True)
            done.set()
            assert set(reader.result(60)) == {(6_000_000, 1)}


class TestClients:
    def test_a_bucket_alone_finds_what_boto3_finds(self, client, place, recorded):
        @cachier.cachier(
            backend="s3",
            s3_endpoint_url=os.environ["CACHIER_TEST_S3_ENDPOINT"],
            s3_region="us-east-1",
            s3_config=botocore.config.Config(s3={"addressing_style": "path"}),
            **place,
        )
        def f(x):
            recorded.append(x)
            return x

        assert f(1) == f(1) == 1
        assert recorded == [1]
        assert keys(client, place, "/e/")
        assert place["s3_bucket"] in f._store.location

    def test_a_factory_is_asked_at_every_operation_and_wins(
        self, client, make, recorded
    ):
        def factory():
            recorded.append("factory")
            return client

        nowhere = boto3.client("s3", endpoint_url="http://127.0.0.1:1")
        f = make(lambda x: x, s3_client=nowhere, s3_client_factory=factory)
        assert recorded == []
        f(1)
        before = len(recorded)
        assert before
        f(1)
        assert len(recorded) == before + 1

    @pytest.mark.parametrize("bucket", [None, ""])
    def test_a_bucket_is_needed(self, bucket):
        with pytest.raises(MissingS3Bucket, match="s3_bucket"):
            cachier.cachier(backend="s3", s3_bucket=bucket)

    @pytest.mark.parametrize(
        ("option", "value"),
        [
            ("s3_bucket", 1),
            ("s3_prefix", 1),
            ("s3_client", "client"),
            ("s3_client_factory", 1),
            ("s3_region", 1),
            ("s3_endpoint_url", 1),
            ("s3_config", {"retries": 1}),
        ],
    )
    def test_what_is_of_the_wrong_type(self, option, value):
        with pytest.raises(ValueError, match=option):
            cachier.cachier(**{"backend": "s3", "s3_bucket": "bucket", option: value})

    def test_an_empty_prefix(self, client, place):
        name = f"test {os.urandom(8).hex()}"
        given = {"s3_bucket": place["s3_bucket"], "s3_prefix": "", "s3_client": client}
        f = cachier.cachier(backend="s3", name=name, **given)(lambda x: x)
        f(1)
        everywhere = {**place, "s3_prefix": "c1/"}
        (key,) = keys(client, everywhere, name[5:])
        client.delete_object(Bucket=place["s3_bucket"], Key=key)

    def test_a_fake_in_this_process(self, monkeypatch, recorded):
        """As a user's own tests hand one in."""
        moto = pytest.importorskip("moto")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
        with moto.mock_aws():
            fake = boto3.client("s3", region_name="us-east-1")
            fake.create_bucket(Bucket="bucket")

            @cachier.cachier(backend="s3", s3_bucket="bucket", s3_client=fake)
            def f(x):
                recorded.append(x)
                return x

            assert f(1) == f(1) == 1
            assert recorded == [1]
            f.clear_cache()
            assert not f.is_cached(1)
            fake.close()

    @pytest.mark.parametrize("decorated", ["before", "after"])
    def test_a_fork_has_connections_of_its_own(self, make, decorated):
        f = make(lambda x: x)
        assert f(1) == 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if not child:
            if decorated == "after":
                f = make(lambda x: x)
            done = all(f(x) == x for x in range(20))
            os._exit(0 if done else 1)
        for x in range(20):
            assert f(x) == x
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


class TestCoroutines:
    def test_results_are_stored(self, make, recorded):
        @make
        async def f(x):
            recorded.append(x)
            await asyncio.sleep(0)
            return {"x": x}

        async def main():
            assert await f(1) == await f(1) == {"x": 1}
            assert recorded == [1]
            await f.aclear_cache()
            assert await f(1) == {"x": 1}

        asyncio.run(main())
        assert recorded == [1, 1]
        assert asyncio.run(f(1)) == {"x": 1}
        assert recorded == [1, 1]

    def test_a_cold_key_is_computed_once_by_tasks(self, make, recorded):
        def made():
            @make
            async def f():
                recorded.append(1)
                await asyncio.sleep(0.1)
                return "result"

            return f

        async def main():
            calls = [made()() for _ in range(4) for _ in range(4)]
            return set(await asyncio.gather(*calls))

        assert asyncio.run(main()) == {"result"}
        assert recorded == [1]

    def test_the_loop_goes_on_while_the_server_does_not(self, recorded):
        servers = Own()
        server = own("s3", servers)
        client = boto3.client("s3", endpoint_url=_endpoint(server))

        @cachier.cachier(backend="s3", s3_bucket="cachier", s3_client=client)
        async def f(x):
            return x

        async def main():
            assert await f(1) == 1
            cachier.set_global_params(operation_timeout=2)
            server.freeze()
            call = asyncio.ensure_future(f(1))
            turns = 0
            while not call.done():
                await asyncio.sleep(0.01)
                turns += 1
            server.thaw()
            assert await call == 1
            # One that blocks has none at all.
            assert turns > 10

        with pytest.warns(cachier.CachierWarning, match="cannot look into the cache"):
            asyncio.run(main())
        client.close()
        servers.end()


def _endpoint(server):
    return server.variables["CACHIER_TEST_S3_ENDPOINT"]


class TestFailures:
    @pytest.fixture
    def server(self):
        servers = Own()
        yield own("s3", servers)
        servers.end()

    @pytest.fixture
    def cached(self, server, recorded):
        client = boto3.client("s3", endpoint_url=_endpoint(server))

        def make(**options):
            def f(x):
                recorded.append(x)
                return x

            given = {"s3_bucket": "cachier", "s3_client": client, **options}
            return cachier.cachier(backend="s3", **given)(f)

        yield make
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
        f = cached()
        assert f(1) == 1
        cachier.set_global_params(operation_timeout=0.3)
        server.freeze()
        with pytest.warns(cachier.CachierWarning, match=r"no answer within 0.3 s"):
            assert f(1) == 1
        server.thaw()

    def test_a_program_ends_while_the_server_is_frozen(self, server):
        source = textwrap.dedent(
            """
            import sys
            import cachier

            cachier.set_global_params(operation_timeout=0.3)

            @cachier.cachier(
                backend="s3", s3_bucket="cachier", s3_endpoint_url=sys.argv[1]
            )
            def f(x):
                return x

            assert f(1) == 1
            print("called", flush=True)
            sys.stdin.readline()
            assert f(1) == 1
            """
        )
        child = subprocess.Popen(
            [sys.executable, "-c", source, _endpoint(server)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert child.stdout.readline() == b"called\n"
        server.freeze()
        _, said = child.communicate(b"\n", timeout=60)
        server.thaw()
        assert child.returncode == 0
        assert b"no answer within 0.3 s" in said

    def test_credentials_are_refused_and_not_shown(self, cached, server):
        stranger = boto3.client(
            "s3",
            endpoint_url=_endpoint(server),
            aws_access_key_id="AKIANOTTHEKEYATALL12",
            aws_secret_access_key="not-the-secret",
        )
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            cached(s3_client=stranger)(1)
        assert "not-the-secret" not in str(caught.value)
        stranger.close()

    def test_a_bucket_that_is_not_there(self, cached):
        with pytest.raises(botocore.exceptions.ClientError, match="NoSuchBucket"):
            cached(s3_bucket="another")(1)
        f = cached(s3_bucket="another", on_backend_error="compute")
        with pytest.warns(cachier.CachierWarning, match="NoSuchBucket"):
            assert f(1) == 1

    def test_what_cannot_be_pickled_is_returned(self, make):
        f = make(lambda: (x for x in ()))
        with pytest.warns(cachier.CachierWarning, match="pickle"):
            assert list(f()) == []

    @pytest.mark.parametrize("what", ["/e/", "/v/", "/state"])
    @pytest.mark.parametrize(
        "garbage", [b"", b"garbage", b"c1" + bytes(62), b"c1" + bytes(63), bytes(999)]
    )
    def test_what_somebody_else_wrote_is_a_miss(
        self, client, place, make, recorded, what, garbage
    ):
        size = 5_000_000 if what == "/v/" else 5
        f = make(lambda x: recorded.append(x) or bytes([x]) * size)
        f(1)
        f.clear_cache()
        f(1)
        (key,) = keys(client, place, what)
        client.put_object(Bucket=place["s3_bucket"], Key=key, Body=garbage)
        assert f(1) == f(1) == bytes([1]) * size
        assert recorded == [1] * (2 if what == "/state" else 3)
        f.clear_cache()
        assert not f.is_cached(1)
        assert f(1) == f(1) == bytes([1]) * size

    @pytest.mark.parametrize("at", range(0, 65, 4))
    def test_marks_that_were_changed_are_a_miss(
        self, client, place, make, recorded, at
    ):
        f = make(lambda x: recorded.append(x) or x)
        f(1)
        (key,) = keys(client, place, "/e/")
        place = {"Bucket": place["s3_bucket"], "Key": key}
        body = bytearray(client.get_object(**place)["Body"].read())
        body[at] ^= 1
        client.put_object(Body=bytes(body), **place)
        assert f(1) == f(1) == 1
        assert recorded == [1, 1]
        assert f._counters["damaged"] == 1


class TestObjects:
    """What is read of objects, whoever wrote them (`docs/formats/s3.md`)."""

    @hypothesis.given(st.binary(max_size=200), st.none() | st.integers(0, 300))
    def test_foreign_bytes_are_read_or_refused(self, body, size):
        Marks.of(body, size)
        Marks.of(b"c1" + body, size)
        read_state(body)
        read_state(b"c1" + body)

    @hypothesis.given(
        st.builds(
            Marks,
            stored_at=st.integers(-(2**63), 2**63 - 1),
            version=st.binary(min_size=16, max_size=16),
            has_entry=st.booleans(),
            claim=st.integers(0, 5),
            owner=st.binary(min_size=16, max_size=16),
            until=st.integers(-(2**63), 2**63 - 1),
            apart=st.just(0),
            begin=st.just(64),
        ),
        st.binary(min_size=1, max_size=20),
        st.data(),
    )
    def test_marks_are_read_as_they_were_written(self, marks, envelope, data):
        body = marks.object_with(envelope)
        read = Marks.of(body)
        assert read._replace(begin=64) == marks
        assert body[read.begin :] == (envelope if marks.has_entry else b"")
        assert is_claimed(len(body)) == (marks.claim in (1, 2))
        at, flip = data.draw(st.integers(0, 63)), data.draw(st.integers(1, 255))
        changed = body[:at] + bytes([body[at] ^ flip]) + body[at + 1 :]
        assert Marks.of(changed) is None

    def test_nothing_is_never_the_same(self):
        assert nothing() != nothing()
        assert Marks.of(nothing())._replace(begin=64) == Marks()
        assert not is_claimed(len(nothing()))


@pytest.mark.usefixtures("client")
def test_the_example(place, tmp_path):
    # Functions of a program are told apart by its place: others may run it as well.
    path = shutil.copy(REPOSITORY / "examples/s3_example.py", tmp_path)
    given = [place["s3_bucket"], os.environ["CACHIER_TEST_S3_ENDPOINT"]]
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-W", "error", path, *given],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.count("computing the report of month 3") == 2
        assert done.stdout.endswith("is there a report? False\n")
