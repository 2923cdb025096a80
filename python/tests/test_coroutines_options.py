"""The newer options and questions mean the same of coroutine functions."""

from __future__ import annotations

import asyncio

import pytest

from cachier import cachier, caching_disabled

pytestmark = pytest.mark.asyncio


@pytest.fixture(params=["pickle", "memory"])
def options(request, cache_dir):
    return {"backend": request.param, "cache_dir": cache_dir}


def test_a_chosen_exception_is_stored(options):
    runs = []

    @cachier(cache_exceptions=(LookupError,), **options)
    async def f(x):
        runs.append(x)
        raise (LookupError if x else ValueError)(f"no {x}")

    async def ask(x):
        with pytest.raises((LookupError, ValueError), match=f"no {x}") as raised:
            await f(x)
        return raised.type

    assert [asyncio.run(ask(1)) for _ in range(3)] == [LookupError] * 3
    assert [asyncio.run(ask(0)) for _ in range(2)] == [ValueError] * 2
    assert runs == [1, 0, 0]


def test_copies_are_handed_out(cache_dir):
    @cachier(backend="memory", copy=True)
    async def f():
        return [1]

    async def twice():
        first = await f()
        first.append(2)
        return await f()

    assert asyncio.run(twice()) == [1]
    assert asyncio.run(twice()) == [1]


def test_what_is_ignored_is_not_in_the_key(options):
    runs = []

    @cachier(ignore=("verbose",), **options)
    async def f(x, verbose=False):
        runs.append(x)
        return x

    async def both():
        return [await f(1), await f(1, verbose=True)]

    assert asyncio.run(both()) == [1, 1]
    assert runs == [1]


def test_a_call_can_be_asked_about(options):
    @cachier(**options)
    async def f(x):
        return x + 1

    assert not f.is_cached(1)
    assert f.peek(1) is None
    assert "would run the function" in f.explain(1)
    assert asyncio.run(f(1)) == 2
    assert f.is_cached(1)
    assert f.peek(1) == 2
    assert f.invalidate(1)
    assert not f.is_cached(1)


def test_a_block_can_do_without_caching(options):
    runs = []

    @cachier(**options)
    async def f():
        runs.append(1)

    with caching_disabled():
        asyncio.run(f())
        asyncio.run(f())
    assert runs == [1, 1]
