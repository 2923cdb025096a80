"""Backend "redis" on the servers that people run: by URL, password, TLS, a cluster."""

import asyncio
import os

import pytest
from servers import server_url

import cachier

redis = pytest.importorskip("redis")
aredis = pytest.importorskip("redis.asyncio")

pytestmark = [pytest.mark.redis, pytest.mark.usefixtures("patient")]

KINDS = ["redis", "redis-auth", "redis-tls"]


@pytest.fixture
def name(request):
    """Others may be at the same servers with the same tests."""
    return f"{request.node.name} {os.getpid()}"


def _works(client, name):
    """Pass a plain function's calls through a client."""
    runs = []

    @cachier.cachier(backend="redis", redis_client=client, name=name)
    def square(n):
        runs.append(n)
        return {"n": n * n, "bytes": b"\0\xff"}

    square.clear_cache()
    assert square(3) == square(3) == {"n": 9, "bytes": b"\0\xff"}
    assert runs == [3]
    assert square.clear_cache() is None
    assert not square.is_cached(3)
    return square


async def _works_awaited(client, name):
    """Pass a coroutine function's calls through a client."""
    runs = []

    @cachier.cachier(backend="redis", redis_client=client, name=name)
    async def square(n):
        runs.append(n)
        return n * n

    await square.aclear_cache()
    results = await asyncio.gather(*(square(n % 4) for n in range(32)))
    assert results == [0, 1, 4, 9] * 8
    await square.aclear_cache()
    assert sorted(runs) == [0, 1, 2, 3]


@pytest.mark.parametrize("kind", KINDS)
def test_urls(kind, name):
    square = _works(server_url(kind), name)
    assert "password" not in square._store.location


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", KINDS)
def test_urls_for_coroutine_functions(kind, name):
    asyncio.run(_works_awaited(server_url(kind), name))


@pytest.mark.parametrize("kind", KINDS)
def test_clients(kind, name):
    client = redis.Redis.from_url(server_url(kind))
    _works(client, name)
    client.close()


def _place_of_cluster():
    place = server_url("redis-cluster").partition("//")[2].partition(",")[0]
    host, _, port = place.rpartition(":")
    return {"host": host, "port": int(port)}


@pytest.mark.parametrize("decode", [False, True])
def test_a_cluster_of_servers(decode, name):
    client = redis.RedisCluster(**_place_of_cluster(), decode_responses=decode)
    _works(client, name)
    client.close()


@pytest.mark.asyncio
def test_a_cluster_of_servers_for_coroutine_functions(name):
    async def main():
        async with aredis.RedisCluster(**_place_of_cluster()) as client:
            await _works_awaited(client, name)

    asyncio.run(main())


def test_a_wrong_password_in_a_url_is_raised_and_not_shown():
    url = server_url("redis-auth").replace("cachier-password", "not-the-password")

    @cachier.cachier(backend="redis", redis_client=url)
    def f(n):
        return n

    with pytest.raises(redis.AuthenticationError) as raised:
        f(1)
    assert "not-the-password" not in str(raised.value)
    assert "not-the-password" not in f.explain(1)


def test_a_certificate_that_nobody_vouches_for_is_an_outage():
    """Or the next one who listens there would get every result."""
    url = server_url("redis-tls").partition("?")[0]

    @cachier.cachier(backend="redis", redis_client=url)
    def f(n):
        return n

    assert f(1) == f(1) == 1
    assert f._counters["store_errors"] > 0


@pytest.mark.parametrize(
    "url", ["host:6379", "http://host", "redis://host:port", "redis+cluster://host"]
)
def test_what_is_no_url_of_redis(url):
    with pytest.raises(ValueError, match="redis_client is no URL"):
        cachier.cachier(backend="redis", redis_client=url)
