"""Pub/sub of backend "redis": who waits is told when the entry may have changed."""

import asyncio
import queue
import threading
import time

import pytest
from redis_server import RedisServer

import cachier

redis = pytest.importorskip("redis")
aredis = pytest.importorskip("redis.asyncio")

pytestmark = [
    pytest.mark.redis,
    pytest.mark.usefixtures("patient"),
    pytest.mark.filterwarnings("ignore:.*cannot be part of a key"),
]

FUNCTION = "cachier:demo.square(n)"
DIGESTS = [bytes([n]) * 16 for n in range(20)]


@pytest.fixture
def server():
    """Give a server that a test may kill."""
    server = RedisServer()
    if server.why_not:
        pytest.skip(server.why_not)
    yield server
    server.stop()


def _adapter(server, kind):
    if kind == "sync":
        from cachier.adapters._redis_adapter import RedisAdapter

        return RedisAdapter(server.client())
    from cachier.adapters._redis_async_adapter import AsyncRedisAdapter

    return AsyncRedisAdapter(aredis.Redis(port=server.port))


def _until(condition, limit=20.0):
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def _listening(server):
    with server.client() as client:
        return len(client.pubsub_channels("*:w:*"))


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_change_is_told(server, kind):
    adapter, told = _adapter(server, kind), queue.Queue()
    adapter.listen(FUNCTION, DIGESTS[0], told.put)
    # It listens now: what came before, a look finds.
    assert told.get(timeout=20) == DIGESTS[0]
    for digest in (DIGESTS[1], DIGESTS[0]):
        adapter.ask("erase", 1.0, FUNCTION, digest, bytes(16))
    assert told.get(timeout=20) == DIGESTS[0]
    adapter.forget(FUNCTION, DIGESTS[0])
    _until(lambda: _listening(server) == 0)
    assert told.empty()


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_one_connection_listens_for_all(server, kind):
    adapter, told = _adapter(server, kind), queue.Queue()
    for digest in DIGESTS * 3:
        adapter.listen(FUNCTION, digest, told.put)
    _until(lambda: _listening(server) == len(DIGESTS))
    with server.client() as client:
        assert len(client.client_list(_type="pubsub")) == 1
    for digest in DIGESTS * 2:
        adapter.forget(FUNCTION, digest)
    assert _listening(server) == len(DIGESTS)
    for digest in DIGESTS:
        adapter.forget(FUNCTION, digest)
    _until(lambda: _listening(server) == 0)


def test_it_listens_again_after_an_outage(server):
    adapter, told = _adapter(server, "sync"), queue.Queue()
    adapter.listen(FUNCTION, DIGESTS[0], told.put)
    told.get(timeout=20)
    server.kill()
    adapter.listen(FUNCTION, DIGESTS[1], told.put)
    server.start()
    assert {told.get(timeout=20), told.get(timeout=20)} == {DIGESTS[0], DIGESTS[1]}
    for digest in DIGESTS[:2]:
        adapter.forget(FUNCTION, digest)
    _until(lambda: _listening(server) == 0)


def test_who_waits_listens_and_then_no_more(server):
    started, go_on = threading.Event(), threading.Event()

    @cachier.cachier(backend="redis", redis_client=server.client())
    def slow(n):
        started.set()
        assert go_on.wait(20)
        return n

    threads = [threading.Thread(target=slow, args=(1,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert started.wait(20)
    _until(lambda: _listening(server) == 1)
    go_on.set()
    for thread in threads:
        thread.join()
    _until(lambda: _listening(server) == 0)


def test_tasks_that_wait_listen_and_then_no_more(server):
    async def main():
        go_on = asyncio.Event()

        @cachier.cachier(backend="redis", redis_client=aredis.Redis(port=server.port))
        async def slow(n):
            await go_on.wait()
            return n

        tasks = [asyncio.create_task(slow(1)) for _ in range(4)]
        while _listening(server) != 1:
            await asyncio.sleep(0.02)
        go_on.set()
        assert await asyncio.gather(*tasks) == [1] * 4

    asyncio.run(main())
    _until(lambda: _listening(server) == 0)
