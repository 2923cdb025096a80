"""The cached function as an object: what `inspect`, `pickle` and others see of it."""

import asyncio
import copy
import functools
import gc
import inspect
import pickle
import types
import weakref

import pytest

import cachier


@cachier.cachier(backend="memory")
def documented(a: int, b: str = "x", *rest: float, k: bool = True) -> list:
    """Say something."""
    return [a, b, rest, k]


class Holder:
    @cachier.cachier(backend="memory", allow_non_static_methods=True)
    def method(self, x):
        return x

    @staticmethod
    @cachier.cachier(backend="memory")
    def static(x):
        return x


def test_it_looks_like_its_function():
    function = documented.__wrapped__
    for name in (
        "__name__",
        "__qualname__",
        "__module__",
        "__doc__",
        "__annotations__",
        "__code__",
        "__defaults__",
        "__kwdefaults__",
    ):
        assert getattr(documented, name) == getattr(function, name)
    assert inspect.signature(documented) == inspect.signature(function)
    assert inspect.getdoc(documented) == "Say something."
    assert inspect.unwrap(documented) is function
    assert inspect.getsource(documented) == inspect.getsource(function)
    assert not inspect.iscoroutinefunction(documented)
    assert not asyncio.iscoroutinefunction(documented)
    assert inspect.isroutine(documented)
    assert not inspect.isfunction(documented)
    assert callable(documented)
    assert documented.__get__(None, int) is documented
    assert "documented" in repr(documented)


def test_attributes_are_copied_and_writable():
    def f():
        """Of f."""

    f.label = "mine"
    cached = cachier.cachier(backend="memory")(f)
    assert cached.label == "mine"
    cached.label = "other"
    cached.more = 1
    assert (cached.label, cached.more, f.label) == ("other", 1, "mine")
    del cached.more
    assert not hasattr(cached, "more")
    cached.__doc__ = "another"
    assert (cached.__doc__, f.__doc__) == ("another", "Of f.")


def test_decorators_above_find_what_they_need():
    @functools.wraps(documented)
    def above(*args, **kwds):
        return documented(*args, **kwds)

    assert above.__doc__ == "Say something."
    assert functools.singledispatch(documented)(1) == [1, "x", (), True]


def test_weak_references():
    def make():
        return cachier.cachier(backend="memory")(lambda x: x)

    cached = make()
    ref = weakref.ref(cached)
    assert ref() is cached
    del cached
    gc.collect()
    assert ref() is None
    holder = Holder()
    method = weakref.WeakMethod(holder.method)
    assert method()(1) == 1
    del holder
    gc.collect()
    assert method() is None


def test_cycles_through_the_cache_are_collected():
    class Value:
        pass

    def make():
        value = Value()

        @cachier.cachier(backend="memory")
        def f():
            return value

        value.function = f
        assert f() is value
        return weakref.ref(value), weakref.ref(f)

    refs = make()
    gc.collect()
    gc.collect()
    assert [ref() for ref in refs] == [None, None]


def test_recursive_closures_are_collected():
    def make():
        @cachier.cachier(backend="memory")
        def f(n):
            return n if n < 2 else f(n - 1) + f(n - 2)

        assert f(30) == 832040
        return weakref.ref(f)

    ref = make()
    gc.collect()
    assert ref() is None


def test_cleared_objects_are_let_go():
    class Value:
        pass

    @cachier.cachier(backend="memory")
    def f():
        return Value()

    ref = weakref.ref(f())
    assert ref() is not None
    f.clear_cache()
    assert ref() is None
    ref = weakref.ref(f())
    f.precache_value(value_to_cache=1)
    assert ref() is None


def test_finalizers_may_call_the_function_again(recorded):
    class Value:
        def __del__(self):
            recorded.append(f(1))

    @cachier.cachier(backend="memory")
    def f(x):
        return x if x else Value()

    f(0)
    f.clear_cache()
    f(0, cachier__overwrite_cache=True)
    f(0, cachier__overwrite_cache=True)
    assert recorded == [1, 1]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_by_name(protocol):
    if protocol < 4:
        functions = [documented]
    else:
        functions = [documented, Holder.method, Holder.static]
    for function in functions:
        assert pickle.loads(pickle.dumps(function, protocol)) is function


def test_copies_are_itself():
    assert copy.copy(documented) is documented
    assert copy.deepcopy([documented])[0] is documented


def test_bound_methods_pickle():
    back = pickle.loads(pickle.dumps(Holder().method))
    assert isinstance(back.__self__, Holder)
    assert back(3) == 3


def test_local_functions_pickle_as_badly_as_plain_ones():
    @cachier.cachier(backend="memory")
    def local():
        return 1

    with pytest.raises((AttributeError, pickle.PicklingError), match="local"):
        pickle.dumps(local)


def test_by_value_where_the_name_does_not_lead_back(cache_dir, run_python):
    pytest.importorskip("cloudpickle")
    sender = """
        import sys, cloudpickle, cachier
        def factory(n):
            @cachier.cachier(cache_dir=sys.argv[1])
            def inner(x):
                print("runs")
                return n + x
            return inner
        @cachier.cachier(cache_dir=sys.argv[1])
        def of_main(x):
            print("runs")
            return -x
        inner = factory(10)
        print(inner(1), of_main(5))
        with open(sys.argv[2], "wb") as file:
            cloudpickle.dump((inner, of_main), file)
        assert cloudpickle.loads(cloudpickle.dumps(of_main)) is of_main
    """
    receiver = """
        import sys, pickle
        with open(sys.argv[1], "rb") as file:
            inner, of_main = pickle.load(file)
        print(inner(1), of_main(5), inner._function_id, type(inner))
    """
    dump = cache_dir + ".pickle"
    assert run_python(sender, cache_dir, dump).stdout == "runs\nruns\n11 -5\n"
    out = run_python(receiver, dump, name="other.py").stdout
    assert out.startswith("11 -5 cachier:")  # cached: no run
    assert "CachedFunction" in out


def test_it_is_no_function_type():
    assert not isinstance(documented, types.FunctionType)


def test_unknown_attributes():
    with pytest.raises(AttributeError):
        _ = documented.unknown
    with pytest.raises(AttributeError):
        _ = Holder().method.unknown


def test_cache_dpath(tmp_path):
    assert documented.cache_dpath() is None
    assert documented.metrics is None
    given = tmp_path / "not there yet"
    f = cachier.cachier(cache_dir=given)(lambda: 1)
    assert f.cache_dpath() == str(given)


def test_metrics(make, recorded):
    from datetime import timedelta

    @make(enable_metrics=True, entry_size_limit=100)
    def f(x):
        recorded.append(x)
        return b"x" * x

    f(1), f(1), f(1), f(200)
    f(1, max_age=timedelta(0))
    f(1, cachier__skip_cache=True)
    f(2, cachier__overwrite_cache=True)
    f.precache_value(9, value_to_cache=b"")
    stats = f.metrics.get_stats()
    assert (stats.hits, stats.misses, stats.recalculations) == (2, 4, 4)
    assert (stats.stale_hits, stats.size_limit_rejections) == (1, 1)
    assert stats.total_calls == 6
    assert stats.hit_rate == pytest.approx(100 * 2 / 6)
    assert stats.avg_latency_ms > 0
    f.metrics.reset()
    stats = f.metrics.get_stats()
    assert (stats.total_calls, stats.avg_latency_ms) == (0, 0)


def test_metrics_know_what_is_stored(make):
    @make(enable_metrics=True)
    def f(x):
        return b"x" * x

    @make(enable_metrics=True)
    def other(x):
        return x

    def sizes():
        stats = f.metrics.get_stats()
        return stats.entry_count, stats.total_size_bytes

    assert sizes() == (0, 0)
    f(1000), f(2000), f(1000), other(1)
    count, size = sizes()
    assert count == 2
    assert 3000 <= size < 3100
    f.metrics.reset()
    assert sizes() == (count, size)
    f.clear_cache()
    assert sizes() == (0, 0)


def test_metrics_of_what_has_no_stored_form():
    @cachier.cachier(backend="memory", enable_metrics=True)
    def f():
        return lambda: 1

    f()
    stats = f.metrics.get_stats()
    assert (stats.entry_count, stats.total_size_bytes) == (1, 0)


def test_metrics_of_a_store_that_cannot_be_opened(tmp_path):
    (tmp_path / "file").touch()

    @cachier.cachier(cache_dir=tmp_path / "file", enable_metrics=True)
    def f():
        return 1

    assert f.metrics.get_stats().entry_count == 0


def test_metrics_by_themselves():
    from datetime import timedelta

    with pytest.raises(ValueError, match="sampling_rate must be between"):
        cachier.CacheMetrics(sampling_rate=2)
    metrics = cachier.CacheMetrics(window_sizes=[timedelta(minutes=5)])
    metrics.record_latency(0.5)
    metrics.record_latency(1.5)
    assert metrics.get_stats().avg_latency_ms == pytest.approx(1000)
    assert metrics.get_stats(timedelta(minutes=1)).avg_latency_ms == pytest.approx(1000)
    metrics.update_size_metrics(3, 400)
    assert metrics.get_stats().entry_count == 3
    silent = cachier.CacheMetrics(sampling_rate=0)
    silent.record_hit()
    silent.update_size_metrics(1, 2)
    assert silent.get_stats().hits == 0
    assert silent.get_stats().total_size_bytes == 2
