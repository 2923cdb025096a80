"""Coroutine functions: one call after another."""

import asyncio
import collections.abc
import contextvars
import functools
import gc
import inspect
import logging
import threading
import warnings
import weakref
from datetime import timedelta

import pytest

import cachier

pytestmark = pytest.mark.asyncio

LONG = timedelta(days=1)


class Counted:
    """A coroutine function that counts its runs, decorated."""

    def __init__(self, decorate):
        self.runs = []

        async def double(x, *, plus=0):
            """Twice."""
            self.runs.append(x)
            await asyncio.sleep(0)
            return 2 * x + plus

        self.call = decorate(double)


@pytest.fixture
def counted(make):
    return Counted(make())


def test_a_second_call_is_answered_from_the_store(counted):
    async def main():
        assert await counted.call(3, plus=1) == 7
        assert await counted.call(x=3, plus=1) == 7

    asyncio.run(main())
    asyncio.run(main())
    assert counted.runs == [3]


def test_calls_of_it_are_coroutines(counted):
    assert inspect.iscoroutinefunction(counted.call)
    assert asyncio.iscoroutinefunction(counted.call)
    for _ in range(2):
        coroutine = counted.call(1)
        assert asyncio.iscoroutine(coroutine)
        assert inspect.iscoroutine(coroutine)
        assert inspect.isawaitable(coroutine)
        assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED
        assert isinstance(coroutine, collections.abc.Coroutine)
        assert coroutine.__qualname__ == counted.call.__qualname__
        assert asyncio.run(coroutine) == 2


def test_nothing_happens_before_it_is_awaited(counted):
    asyncio.run(counted.call(1))
    coroutine = counted.call(1)
    counted.call.clear_cache()
    asyncio.run(coroutine)
    assert counted.runs == [1, 1]


def test_one_that_is_never_awaited_warns_as_any_coroutine(counted):
    with pytest.warns(RuntimeWarning, match="double.*never awaited"):
        counted.call(1)
    counted.call(1).close()
    assert counted.runs == []


def test_what_awaits_coroutines_takes_them(counted):
    async def main():
        for _ in range(2):
            assert await asyncio.wait_for(counted.call(1), 60) == 2
            assert await asyncio.create_task(counted.call(2)) == 4
            assert await asyncio.gather(counted.call(3), counted.call(4)) == [6, 8]
            assert await asyncio.ensure_future(counted.call(x=1)) == 2

    asyncio.run(main())
    assert sorted(counted.runs) == [1, 2, 3, 4]


variable = contextvars.ContextVar("variable")


def test_the_function_runs_in_the_task_of_its_caller(make):

    @make()
    async def f():
        variable.set(variable.get() + 1)
        return id(asyncio.current_task()), threading.get_ident()

    async def main():
        variable.set(1)
        here = id(asyncio.current_task()), threading.get_ident()
        assert await f() == here
        assert variable.get() == 2

    asyncio.run(main())


def test_exceptions_reach_the_caller_and_nothing_is_stored(make):
    runs = []

    @make(allow_none=True)
    async def f(x):
        runs.append(x)
        await asyncio.sleep(0)
        raise LookupError(x)

    for _ in range(2):
        with pytest.raises(LookupError, match="3"):
            asyncio.run(f(3))
    assert runs == [3, 3]


def test_exceptions_tell_of_nothing_but_the_function(make):
    @make()
    async def f(*, x):
        raise LookupError(x)

    async def main():
        try:
            await f(x=3)
        except LookupError as raised:
            return raised.__context__
        return "nothing raised"

    assert asyncio.run(main()) is None


def test_results_that_mean_something_elsewhere(make):
    runs = []

    @make()
    async def f(result):
        runs.append(1)
        return result

    for result in (NotImplemented, Ellipsis, (), StopIteration, LookupError):
        for _ in range(2):
            assert asyncio.run(f(result)) is result or result == ()
    assert len(runs) == 5


def test_arguments_by_keyword_reach_the_function(make):
    seen = []

    @make()
    async def f(a, /, b=2, *more, c=3, **rest):
        seen.append((a, b, more, c, rest))
        return len(seen)

    async def main():
        assert await f(1, 4, 5, c=6, given=7, names=8) == 1
        assert await f(1, 4, 5, names=8, given=7, c=6) == 1
        assert await f(1, c=9, cachier__verbose=False, b=8) == 2

    asyncio.run(main())
    assert seen == [(1, 4, (5,), 6, {"given": 7, "names": 8}), (1, 8, (), 9, {})]


def test_arguments_that_do_not_fit(counted):
    with pytest.raises(TypeError, match="double"):
        asyncio.run(counted.call())
    assert counted.runs == []


@pytest.mark.parametrize("allow_none", [True, False])
def test_allow_none(make, allow_none):
    runs = []

    @make()
    async def f():
        runs.append(1)

    for _ in range(2):
        assert asyncio.run(f(cachier__allow_none=allow_none)) is None
    assert len(runs) == (1 if allow_none else 2)


def test_options_of_a_call(counted):
    async def main():
        await counted.call(1)
        await counted.call(1, cachier__skip_cache=True)
        assert len(counted.runs) == 2
        await counted.call(1, cachier__overwrite_cache=True)
        assert len(counted.runs) == 3
        await counted.call(1, max_age=timedelta(0))
        assert len(counted.runs) == 4
        await counted.call(1, max_age=LONG)
        assert len(counted.runs) == 4

    asyncio.run(main())


def test_caching_can_be_off(counted):
    cachier.disable_caching()
    try:
        asyncio.run(counted.call(1))
        asyncio.run(counted.call(1))
    finally:
        cachier.enable_caching()
    assert counted.runs == [1, 1]


def test_verbose(counted, capsys):
    asyncio.run(counted.call(1, cachier__verbose=True))
    assert "No entry found" in capsys.readouterr().out
    asyncio.run(counted.call(1, cachier__verbose=True))
    assert "Entry found" in capsys.readouterr().out


def test_methods_bind(make):
    class Shop:
        def __init__(self):
            self.runs = []

        @make(allow_non_static_methods=True)
        async def price(self, item):
            self.runs.append(item)
            return len(item)

        @staticmethod
        @make()
        async def static(item):
            return len(item)

        @classmethod
        @make()
        async def of_class(cls, item):
            return cls.__name__ + item

    shop = Shop()

    async def main():
        for _ in range(2):
            assert await shop.price("tea") == 3
            assert await Shop.price(shop, "tea") == 3
            assert await Shop.static("milk") == 4
            assert await shop.of_class("!") == "Shop!"

    assert inspect.iscoroutinefunction(shop.price)
    asyncio.run(main())
    assert shop.runs == ["tea"]
    assert shop.price.precache_value("jam", value_to_cache=7) == 7
    assert asyncio.run(shop.price("jam")) == 7


def test_partials_share_the_cache_of_their_function(make):
    runs = []

    async def add(a, b):
        runs.append((a, b))
        return a + b

    decorate = make()
    whole, part = decorate(add), decorate(functools.partial(add, 1))
    assert inspect.iscoroutinefunction(part)
    assert asyncio.run(whole(1, 2)) == asyncio.run(part(2)) == 3
    assert runs == [(1, 2)]
    assert asyncio.run(functools.partial(whole, 1)(b=2)) == 3


def test_objects_with_a_coroutine_for_a_call(make):
    class Adder:
        async def __call__(self, a):
            return a + 1

    assert asyncio.run(make()(functools.partial(Adder.__call__, 0))(1)) == 2


def test_async_generators_are_refused(make):
    async def generator():
        yield 1

    with pytest.raises(TypeError, match="generator"):
        make()(generator)


def test_plain_wrappers_of_coroutine_functions_are_refused(make):
    async def f():
        return 1

    @functools.wraps(f)
    def plain():
        return f()

    @functools.wraps(f)
    async def wrapper():
        return await f() + 1

    with pytest.raises(TypeError, match="wraps a coroutine function"):
        make()(plain)
    assert asyncio.run(make(name="wrapper")(wrapper)()) == 2


@pytest.mark.parametrize("end", ["cancelled", "failed"])
def test_what_a_call_was_given_is_let_go_of(make, end):
    class Argument:
        def __cachier_key__(self):
            return 1

    entered = []

    @make(name="f")
    async def f(argument):
        entered.append(1)
        if end == "failed":
            raise LookupError
        await asyncio.Event().wait()

    async def main():
        argument = Argument()
        gone = weakref.ref(argument)
        coroutine = f(argument)
        task = asyncio.create_task(coroutine)
        while not entered:
            await asyncio.sleep(0.001)
        if end != "failed":
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        del argument, task, coroutine
        return gone

    gone = asyncio.run(main())
    gc.collect()
    assert gone() is None


def test_precached_values_are_a_plain_call(counted):
    assert counted.call.precache_value(1, value_to_cache=5) == 5
    assert asyncio.run(counted.call(1)) == 5
    assert counted.runs == []


def test_clearing_acts_when_called_and_may_be_awaited(counted):
    async def main():
        await counted.call(1)
        counted.call.clear_cache()
        await counted.call(1)
        assert counted.runs == [1, 1]
        assert await counted.call.clear_cache() is None
        await counted.call(1)
        assert counted.runs == [1, 1, 1]
        counted.call.clear_being_calculated()
        assert await counted.call.clear_being_calculated() is None
        await counted.call(1)
        assert counted.runs == [1, 1, 1]

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asyncio.run(main())
        gc.collect()


def test_clearing_without_blocking_is_for_all_functions(counted, make):
    runs = []

    @make()
    def plain(x):
        runs.append(x)
        return x

    async def main():
        for f in (counted.call, plain):
            for _ in range(2):
                result = f(1)
                if f is counted.call:
                    await result
                assert await f.aclear_cache() is None
                assert await f.aclear_being_calculated() is None

    asyncio.run(main())
    assert counted.runs == runs == [1, 1]


def test_metrics_count_as_for_plain_functions(make):
    decorate = make(enable_metrics=True)

    @decorate
    def plain(x):
        return x

    @decorate
    async def coroutine(x):
        return x

    for _ in range(3):
        plain(1)
        asyncio.run(coroutine(1))
    asyncio.run(coroutine(1, cachier__skip_cache=True))
    of_plain, of_coroutine = (f.metrics.get_stats() for f in (plain, coroutine))
    assert of_coroutine.hits == of_plain.hits == 2
    assert of_coroutine.misses == of_plain.misses == 1
    assert of_coroutine.recalculations == of_plain.recalculations == 1
    assert of_coroutine.total_calls == 3
    assert of_coroutine.avg_latency_ms > 0


def test_a_refresh_is_a_task_of_the_loop(make):
    refreshed = []
    loops = []

    @make(stale_after=timedelta(0), next_time=True)
    async def f():
        loops.append(asyncio.get_running_loop())
        await asyncio.sleep(0)
        if len(loops) > 1:
            refreshed[-1].set()
        return len(loops)

    async def main():
        refreshed.append(asyncio.Event())
        assert await f() == 1
        assert await f() == 1
        gc.collect()
        await refreshed[0].wait()
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))
        assert loops == [asyncio.get_running_loop()] * 2
        assert await f(cachier__stale_after=LONG) == 2

    asyncio.run(main())


def test_a_refresh_that_fails_is_logged_and_keeps_the_old_result(make, caplog):
    runs = []

    @make(stale_after=timedelta(0), next_time=True)
    async def f():
        runs.append(1)
        if len(runs) > 1:
            raise LookupError("no more")
        return 1

    async def main():
        assert await f() == 1
        assert await f() == 1
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))
        assert await f(cachier__stale_after=LONG) == 1

    with caplog.at_level(logging.ERROR, "cachier"):
        asyncio.run(main())
    assert "no more" in caplog.text
    assert len(runs) == 2


def test_refreshes_that_the_end_of_the_loop_cancels_give_their_claim_back(make):
    runs = []

    @make(stale_after=timedelta(0), next_time=True)
    async def f():
        runs.append(1)
        if len(runs) == 2:
            await asyncio.Event().wait()
        return len(runs)

    async def two():
        await f()
        await f()

    asyncio.run(two())
    asyncio.run(f(cachier__next_time=False))
    asyncio.run(asyncio.wait_for(f(cachier__next_time=False, max_age=LONG), 60))


def test_debug_mode(counted):
    async def main():
        for _ in range(2):
            await asyncio.gather(*(counted.call(1) for _ in range(20)))

    asyncio.run(main(), debug=True)
    assert counted.runs == [1]


def test_a_function_may_call_itself(make):
    @make()
    async def factorial(n):
        return n * await factorial(n - 1) if n else 1

    assert asyncio.run(factorial(10)) == 3628800


def test_one_that_asks_for_its_own_result_computes(make):
    depth = []

    @make()
    async def f():
        depth.append(1)
        return await f() if len(depth) < 3 else len(depth)

    assert asyncio.run(asyncio.wait_for(f(), 60)) == 3


def test_a_function_within_another_in_many_tasks(make):
    runs = []

    @make()
    async def inner(x):
        runs.append(x)
        await asyncio.sleep(0)
        return x

    @make()
    async def outer(x):
        return sum(await asyncio.gather(*(inner(y) for y in range(x))))

    async def main():
        return await asyncio.gather(*(outer(x) for x in (4, 4, 5)))

    assert asyncio.run(main()) == [6, 6, 10]
    assert sorted(runs) == [0, 1, 2, 3, 4]
