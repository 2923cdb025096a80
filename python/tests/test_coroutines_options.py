"""The newer options and questions mean the same of coroutine functions."""

from __future__ import annotations

import asyncio
from datetime import timedelta

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


class TestPickleReload:
    """A process that answers from what it has read, as `test_extras` has it."""

    @pytest.fixture
    def holding(self, cache_dir, recorded):
        def decorate(**options):
            @cachier(cache_dir=cache_dir, name="f", pickle_reload=False, **options)
            async def f(x=0):
                recorded.append(x)
                return [x, recorded.count]

            return f

        return decorate

    @pytest.mark.parametrize("metrics", [False, True])
    def test_the_same_object_each_time(self, holding, recorded, metrics):
        f = holding(enable_metrics=metrics)
        first = asyncio.run(f())
        assert asyncio.run(f()) is first
        assert f.peek() is first
        assert asyncio.run(f(cachier__verbose=True)) is first
        assert recorded == [0]
        if metrics:
            stats = f.metrics.get_stats()
            assert (stats.hits, stats.misses) == (2, 1)

    def test_what_others_stored_is_read_once(self, holding, recorded):
        first = asyncio.run(holding()())
        again = holding()
        read = asyncio.run(again())
        assert read == first
        assert read is not first
        assert asyncio.run(again()) is read
        assert recorded == [0]

    def test_many_tasks(self, holding, recorded):
        f = holding()

        async def go():
            await asyncio.gather(*(f(x % 3) for x in range(30)))
            once = await asyncio.gather(*(f(x) for x in range(3)))
            again = await asyncio.gather(*(f(x) for x in range(3)))
            return all(a is b for a, b in zip(once, again, strict=True))

        assert asyncio.run(go())
        assert sorted(recorded) == [0, 1, 2]

    def test_what_the_process_itself_does_is_seen(self, holding):
        f = holding()
        assert asyncio.run(f()) == [0, 1]
        f.clear_cache()
        assert asyncio.run(f()) == [0, 2]
        asyncio.run(f.aclear_cache())
        assert asyncio.run(f()) == [0, 3]
        f.invalidate()
        assert asyncio.run(f()) == [0, 4]
        f.precache_value(value_to_cache="given")
        assert asyncio.run(f()) == "given"
        assert asyncio.run(f(cachier__overwrite_cache=True)) == [0, 5]
        assert asyncio.run(f()) == [0, 5]
        assert asyncio.run(f(cachier__skip_cache=True)) == [0, 6]
        assert asyncio.run(f()) == [0, 5]

    def test_what_is_cleared_meanwhile_is_not_held(self, cache_dir):
        runs = []

        @cachier(cache_dir=cache_dir, pickle_reload=False)
        async def f():
            runs.append(1)
            if len(runs) == 1:
                f.clear_cache()
            return len(runs)

        assert [asyncio.run(f()) for _ in range(3)] == [1, 2, 2]

    def test_age_counts(self, holding):
        f = holding()
        assert asyncio.run(f()) == [0, 1]
        assert asyncio.run(f(max_age=timedelta(0))) == [0, 2]
        assert asyncio.run(f()) == [0, 2]

    def test_a_refresh_of_its_own_is_seen(self, holding):
        f = holding(next_time=True)

        async def go():
            first = await f()
            stale = await f(max_age=timedelta(0))
            others = asyncio.all_tasks() - {asyncio.current_task()}
            await asyncio.gather(*others)
            return first, stale, await f()

        assert asyncio.run(go()) == ([0, 1], [0, 1], [0, 2])

    def test_none_counts_where_it_does(self, cache_dir, recorded):
        @cachier(cache_dir=cache_dir, pickle_reload=False)
        async def f():
            recorded.append(1)

        asyncio.run(f()), asyncio.run(f())
        assert recorded.count == 2
        asyncio.run(f(cachier__allow_none=True))
        assert recorded.count == 2

    def test_a_failure_is_not_held(self, cache_dir):
        runs = []

        @cachier(cache_dir=cache_dir, pickle_reload=False)
        async def f():
            runs.append(1)
            if len(runs) == 1:
                raise ValueError("first")
            return runs

        with pytest.raises(ValueError, match="first"):
            asyncio.run(f())
        assert asyncio.run(f()) is asyncio.run(f())
        assert len(runs) == 2
