"""Backend "redis": a client that the program brings, and a server of the test's own."""

import datetime
import fnmatch
import multiprocessing
import os
import pathlib
import re
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

pytestmark = [
    pytest.mark.redis,
    pytest.mark.usefixtures("patient"),
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


@pytest.fixture
def client(server):
    with server.client() as client:
        yield client


@pytest.fixture
def counted(client):
    """A cached function that counts its runs."""

    def decorate(**options):
        runs = []

        @cachier.cachier(backend="redis", **{"redis_client": client, **options})
        def square(n, text=""):
            runs.append(n)
            return {"n": n * n, "text": text, "tuple": (n, None)}

        square.runs = runs
        return square

    return decorate


def _until(condition, limit=20.0):
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_result_is_stored_and_handed_out(counted):
    square = counted()
    expected = {"n": 9, "text": "ä", "tuple": (3, None)}
    assert square(3, "ä") == expected
    assert square(3, text="ä") == expected
    assert square.runs == [3]
    square(4)
    assert square.runs == [3, 4]
    assert square.cache_dpath() is None


def test_another_wrapper_shares(counted):
    first, second = counted(name="shared"), counted(name="shared")
    first(3)
    second(3)
    assert second.runs == []


@pytest.mark.maxage
def test_staleness(counted):
    square = counted(stale_after=datetime.timedelta(milliseconds=50))
    square(3)
    time.sleep(0.06)
    square(3)
    assert square.runs == [3, 3]
    fresh = counted(stale_after=datetime.timedelta(hours=1))
    fresh(3)
    fresh(3)
    assert fresh.runs == []


@pytest.mark.maxage
def test_next_time(counted):
    square = counted(stale_after=datetime.timedelta(milliseconds=50), next_time=True)
    square(3)
    time.sleep(0.06)
    assert square(3)["n"] == 9
    _until(lambda: len(square.runs) == 2)


def test_none_is_stored_for_those_to_whom_it_counts(client):
    runs = []

    @cachier.cachier(backend="redis", redis_client=client)
    def nothing(n):
        runs.append(n)

    assert nothing(1) is None
    assert nothing(1) is None
    assert nothing(1, cachier__allow_none=True) is None
    assert runs == [1, 1]


def test_clear_cache(counted):
    square, other = counted(), counted(name="other")
    for n in range(40):
        square(n)
    other(1)
    assert square.clear_cache() is None
    square(1)
    other(1)
    assert square.runs == [*range(40), 1]
    assert other.runs == [1]


def test_what_is_running_is_not_stored_after_a_clear(client):
    runs = []

    @cachier.cachier(backend="redis", redis_client=client)
    def cleared(n):
        runs.append(n)
        if len(runs) == 1:
            cleared.clear_cache()
        return n

    assert [cleared(1), cleared(1), cleared(1)] == [1, 1, 1]
    assert runs == [1, 1]


def test_clear_being_calculated(client):
    started, go_on = threading.Event(), threading.Event()
    runs = []

    @cachier.cachier(backend="redis", redis_client=client)
    def slow(n):
        runs.append(n)
        if len(runs) == 1:
            started.set()
            assert go_on.wait(20)
        return n

    slow.clear_being_calculated()
    thread = threading.Thread(target=slow, args=(1,))
    thread.start()
    assert started.wait(20)
    slow.clear_being_calculated()
    assert slow(1) == 1
    go_on.set()
    thread.join()
    assert runs == [1, 1]


def test_decorating_does_not_touch_the_client(counted, server):
    asked = []

    def give():
        asked.append(1)
        return server.client()

    square = counted(redis_client=give)
    assert asked == []
    square(3)
    square(3)
    assert square.runs == [3]
    assert len(asked) >= 2


def test_decoding_clients_work(counted, server):
    with server.client(decode_responses=True) as decoding:
        square = counted(redis_client=decoding)
        assert square(3) == square(3)
        assert square.runs == [3]


def test_a_client_that_is_only_called(counted, server):
    class Mine(redis.Redis):
        def execute_command(self, *words, **options):
            return super().execute_command(*words, **options)

    for decode in (False, True):
        with Mine(port=server.port, decode_responses=decode) as mine:
            square = counted(redis_client=mine, name=f"called{decode}")
            assert square(3) == square(3)
            assert square.runs == [3]
            square.clear_cache()
            square(3)
            assert square.runs == [3, 3]


def test_an_old_client_that_cannot_but_decode_is_refused(counted, server):
    class Old(redis.Redis):
        def execute_command(self, *words, **options):
            if options:
                raise TypeError("'NEVER_DECODE' is an invalid keyword argument")
            return super().execute_command(*words)

    with Old(port=server.port) as plain:
        square = counted(redis_client=plain)
        assert square(3) == square(3)
        assert square.runs == [3]
    with (
        Old(port=server.port, decode_responses=True) as decoding,
        pytest.raises(TypeError, match="decode_responses=True"),
    ):
        counted(redis_client=decoding)(3)


@pytest.fixture(scope="module")
def cluster():
    """Give the port of a cluster of one server."""
    server = RedisServer("--cluster-enabled", "yes")
    if server.why_not:
        pytest.skip(server.why_not)
    with server.client() as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        _until(lambda: client.cluster("INFO")["cluster_state"] == "ok")
    yield server.port
    server.stop()


@pytest.mark.parametrize("decode", [False, True])
def test_a_cluster(counted, cluster, decode):
    client = redis.RedisCluster(host="127.0.0.1", port=cluster, decode_responses=decode)
    with client:
        square = counted(redis_client=client, name=f"cluster{decode}")
        for _ in range(2):
            for n in range(30):
                assert square(n)["n"] == n * n
        assert square.runs == [*range(30)]
        square.clear_cache()
        square.clear_being_calculated()
        square(1)
        assert square.runs == [*range(30), 1]


class Fake:
    """The least that a client has to know."""

    def __init__(self):
        self.hashes = {}

    def hgetall(self, key):
        assert isinstance(key, str)
        return self.hashes.get(key, {})

    def hset(self, key, field=None, value=None, mapping=None):
        assert isinstance(key, str)
        self.hashes.setdefault(key, {}).update(mapping or {field: value})

    def keys(self, pattern):
        # Redis's patterns are these, but for the backslash.
        pattern = re.sub(r"\\(.)", r"[\1]", pattern)
        return [key for key in self.hashes if fnmatch.fnmatchcase(key, pattern)]

    def delete(self, *keys):
        return sum(self.hashes.pop(key, None) is not None for key in keys)


def test_a_fake_that_knows_hashes_only(counted):
    fake = Fake()
    square = counted(redis_client=lambda: fake)
    other = counted(redis_client=fake, name="other", stale_after=datetime.timedelta(0))
    assert square(3) == square(3)
    other(3)
    other(3)
    assert other.runs == [3, 3]
    assert square.runs == [3]
    square.clear_cache()
    square(3)
    assert square.runs == [3, 3]
    assert len(fake.hashes) == 2

    threads = [threading.Thread(target=square, args=(9,)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert square.runs == [3, 3, 9]


def test_16_threads_run_it_once(client):
    runs = []

    @cachier.cachier(backend="redis", redis_client=client)
    def slow(n):
        runs.append(n)
        time.sleep(0.1)
        return n

    threads = [threading.Thread(target=slow, args=(1,)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert runs == [1]


def _count(log):
    with open(log, "a") as file:
        file.write("run\n")


def _runs(log):
    return log.read_text().count("run") if log.exists() else 0


def _slow_in_process(port, log, seconds, start):
    @cachier.cachier(
        backend="redis", redis_client=redis.Redis(port=port), name="in_process"
    )
    def slow(n):
        _count(log)
        time.sleep(seconds)
        return n

    if start is not None:
        start.wait()
    assert slow(7) == 7


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_two_processes_run_it_once(server, tmp_path, method):
    log = tmp_path / "log"
    context = multiprocessing.get_context(method)
    start = context.Barrier(2)
    arguments = (server.port, str(log), 0.3, start)
    processes = [
        context.Process(target=_slow_in_process, args=arguments) for _ in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert _runs(log) == 1


def test_the_claim_of_a_killed_owner_ends_with_its_lease(server, tmp_path, monkeypatch):
    log = tmp_path / "log"
    owner = multiprocessing.get_context("spawn").Process(
        target=_slow_in_process, args=(server.port, str(log), 600, None)
    )
    owner.start()
    _until(lambda: _runs(log) == 1)
    owner.kill()
    owner.join()
    with server.client() as client:
        (claim,) = client.keys("*:c:*")
        left = client.pttl(claim)
        assert 0 < left <= 10_000
        # As if that time had passed.
        client.pexpire(claim, 1)
    _slow_in_process(server.port, str(log), 0, None)
    assert _runs(log) == 2


def test_a_long_computation_keeps_its_claim(client):
    @cachier.cachier(backend="redis", redis_client=client)
    def slow(n):
        (claim,) = client.keys("*:c:*")
        # Less than a new lease, and more than the time until it is renewed.
        client.pexpire(claim, 6_000)
        _until(lambda: client.pttl(claim) > 7_000)
        return n

    assert slow(1) == 1
    assert client.keys("*:c:*") == []
    assert len(client.keys("*:e:*")) == 1


def test_a_killed_server_is_no_failure_of_the_call(own_server, counted):
    square = counted(redis_client=own_server.client())
    square(3)
    own_server.kill()
    with pytest.warns(cachier.CachierWarning, match="cannot look into the cache"):
        assert square(3)["n"] == 9
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert square(3)["n"] == 9
    assert square.runs == [3, 3, 3]

    own_server.start()  # without its data, and without its scripts

    def is_cached():
        before = len(square.runs)
        square(3)
        return len(square.runs) == before

    _until(is_cached)


def test_a_frozen_server_does_not_hold_up_calls(own_server, counted):
    square = counted(redis_client=own_server.client())
    square(3)
    own_server.signal(signal.SIGSTOP)
    cachier.set_global_params(operation_timeout=0.3)
    try:
        with pytest.warns(cachier.CachierWarning, match=r"no answer within 0\.[23]"):
            assert square(3)["n"] == 9
        assert square(3)["n"] == 9
        assert square.runs == [3, 3, 3]
    finally:
        own_server.signal(signal.SIGCONT)
    cachier.set_global_params(operation_timeout=None)

    def is_cached():
        before = len(square.runs)
        square(3)
        return len(square.runs) == before

    _until(is_cached)


@pytest.mark.parametrize("policy", [None, "raise", "compute"])
def test_a_wrong_password_is_told_in_the_clients_own_type(server, counted, policy):
    client = server.client()
    client.config_set("requirepass", "right")
    try:
        options = {} if policy is None else {"on_backend_error": policy}
        square = counted(redis_client=server.client(password="wrong-one"), **options)
        if policy == "compute":
            with pytest.warns(cachier.CachierWarning) as told:
                assert square(3)["n"] == 9
            assert "wrong-one" not in str(told[0].message)
        else:
            with pytest.raises(redis.AuthenticationError):
                square(3)
    finally:
        server.client(password="right").config_set("requirepass", "")


def test_an_outage_is_raised_where_that_is_asked_for(counted):
    square = counted(redis_client=redis.Redis(port=1), on_backend_error="raise")
    for _ in range(2):
        with pytest.raises(redis.ConnectionError):
            square(3)


def test_a_restart_without_data_is_an_empty_cache(counted, client):
    square = counted()
    square(3)
    client.flushall()
    client.script_flush()
    square(3)
    square(3)
    assert square.runs == [3, 3]


def test_a_damaged_entry_is_a_miss(counted, client):
    square = counted()
    square(3)
    (key,) = client.keys("*:e:*")
    whole = client.get(key)
    for damaged in (whole[:-1] + bytes([whole[-1] ^ 1]), whole[:20], b"", b"else"):
        client.set(key, damaged)
        runs = len(square.runs)
        assert square(3)["n"] == 9
        assert square(3)["n"] == 9
        assert len(square.runs) == runs + 1


@pytest.mark.parametrize("field", ["e", "g"])
@pytest.mark.parametrize("damage", ["else", "", "nan", "-1", "inf"])
def test_a_damaged_state_is_an_empty_bucket(field, damage, counted, client):
    square = counted()
    square(3)
    (key,) = client.keys("*:s")
    client.hset(key, field, damage)
    for _ in range(3):
        assert square(3)["n"] == 9
    assert len(square.runs) <= 2
    client.hset(key, field, damage)
    square.clear_being_calculated()
    square.clear_cache()
    runs = len(square.runs)
    assert square(3)["n"] == square(3)["n"] == 9
    assert len(square.runs) == runs + 1


def test_what_does_not_pickle_is_returned_with_a_warning(client):
    runs = []

    @cachier.cachier(backend="redis", redis_client=client, name="unpicklable")
    def lock(n):
        runs.append(n)
        return threading.Lock()

    with pytest.warns(cachier.CachierWarning, match="cannot store a result"):
        assert lock(1).acquire()
    assert lock(1).acquire()
    assert runs == [1, 1]


def test_the_child_of_a_fork_has_connections_of_its_own(counted):
    square = counted()
    square(3)
    child = os.fork()
    if child == 0:
        try:
            square(3)
            square(4)
            os._exit(len(square.runs))
        finally:
            os._exit(100)
    square(3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
    assert square(4)["n"] == 16
    assert square.runs == [3]


def test_precache_and_cached_value(counted):
    square = counted()
    square.precache_value(5, value_to_cache="given")
    assert square(5) == "given"
    assert square.runs == []


@pytest.mark.parametrize("given", [object(), 3])
def test_what_is_no_client_is_refused(given):
    with pytest.raises(ValueError, match=r"must be a redis\.Redis"):
        cachier.cachier(backend="redis", redis_client=given)


def test_the_kinds_of_function_and_client_must_agree():
    asyncio = pytest.importorskip("redis.asyncio")

    def plain(n):
        return n

    async def coroutine(n):
        return n

    async def give():
        return None

    for client in (asyncio.Redis(), give):
        with pytest.raises(TypeError, match=r"sync function.*async\n.*redis\.Redis"):
            cachier.cachier(backend="redis", redis_client=client)(plain)
    for client in (redis.Redis(), lambda: None):
        with pytest.raises(TypeError, match=r"coroutine function.*sync\n.*asyncio"):
            cachier.cachier(backend="redis", redis_client=client)(coroutine)


def test_the_example_works(server):
    example = pathlib.Path(__file__).parents[2] / "examples" / "redis_example.py"
    ran = subprocess.run(
        [sys.executable, "-W", "error", str(example), str(server.port)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.count("  computing the report of month 3") == 3
    assert ran.stdout.count("  asking") == 2
    assert ran.stdout.count("  measuring") == 1
