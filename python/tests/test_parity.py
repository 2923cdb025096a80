"""Rows of docs/parity.md that no other page of tests shows."""

import dataclasses
import inspect
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

import cachier
from cachier import metrics

LONG = 30


def until(condition):
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Counts:
    """Makes functions that count their runs and return how many there were."""

    def __init__(self, make):
        self.make = make
        self.runs = 0

    def __call__(self, **options):
        def f(x=0):
            self.runs += 1
            return self.runs

        return self.make(f, **{"name": "f", **options})


@pytest.fixture
def counting(make):
    return Counts(make)


class TestSignature:
    PUBLISHED = {  # noqa: RUF012
        "hash_func": None,
        "hash_params": None,
        "backend": None,
        "mongetter": None,
        "sql_engine": None,
        "redis_client": None,
        "s3_bucket": None,
        "s3_prefix": "cachier",
        "s3_client": None,
        "s3_client_factory": None,
        "s3_region": None,
        "s3_endpoint_url": None,
        "s3_config": None,
        "stale_after": None,
        "next_time": None,
        "cache_dir": None,
        "pickle_reload": None,
        "separate_files": None,
        "wait_for_calc_timeout": None,
        "allow_none": None,
        "cleanup_stale": None,
        "cleanup_interval": None,
        "entry_size_limit": None,
        "allow_non_static_methods": None,
        "enable_metrics": False,
        "metrics_sampling_rate": 1.0,
    }

    def test_names_and_defaults(self):
        found = {
            one.name: one.default
            for one in inspect.signature(cachier.cachier).parameters.values()
        }
        assert {name: found[name] for name in self.PUBLISHED} == self.PUBLISHED
        assert found["key_prefix"] is None
        assert all(
            value is None for name, value in found.items() if name not in self.PUBLISHED
        )

    def test_the_first_four_by_position(self, recorded):
        f = cachier.cachier(lambda args, kwds: "one", None, "memory", False)(
            lambda x: recorded.append(x) or x
        )
        assert f(1) == f(2) == 1
        assert f.cache_dpath() is None

    def test_every_option_is_documented(self):
        for name in inspect.signature(cachier.cachier).parameters:
            assert name in cachier.cachier.__doc__


class TestPrecedence:
    """Option of the call, then argument of the decorator, then global value."""

    def test_stale_after(self, counting):
        cachier.set_global_params(stale_after=timedelta(0))
        f = counting(stale_after=timedelta(days=1))
        assert [f(), f()] == [1, 1]
        assert f(cachier__stale_after=timedelta(0)) == 2

    @pytest.mark.parametrize("value", [False, True])
    def test_an_explicit_value_beats_the_program(self, make, recorded, value):
        cachier.set_global_params(allow_none=not value, next_time=not value)

        @make(allow_none=value, next_time=value)
        def f():
            recorded.append(1)

        f(), f()
        assert recorded.count == (1 if value else 2)
        f(cachier__allow_none=not value)
        f(cachier__allow_none=not value)
        assert recorded.count == (3 if value else 2)

    def test_false_beats_a_global_true_when_decorating(self, cache_dir, tmp_path):
        cachier.set_global_params(
            separate_files=True, pickle_reload=False, allow_non_static_methods=True
        )
        f = cachier.cachier(
            cache_dir=cache_dir, separate_files=False, pickle_reload=True
        )(lambda: [1])
        assert f() is not f()
        assert (tmp_path / "cache" / "v1").is_dir()
        assert not (tmp_path / "cache" / "v1-files").exists()
        with pytest.raises(TypeError, match="instance method"):
            cachier.cachier(allow_non_static_methods=False)(lambda self: 1)


class TestWhenGlobalsAreRead:
    def test_when_decorating(self, tmp_path, recorded):
        def f(x):
            recorded.append(x)
            return [b"x" * 100]

        before = cachier.cachier()(f)
        cachier.set_global_params(
            hash_func=lambda args, kwds: 1,
            backend="memory",
            mongetter=lambda: None,
            cache_dir=tmp_path / "elsewhere",
            pickle_reload=False,
            separate_files=True,
            entry_size_limit=10_000,
            allow_non_static_methods=True,
        )
        assert before(1) is not before(1)
        before(2)
        assert recorded == [1, 2]
        assert not (tmp_path / "elsewhere").exists()
        with pytest.raises(TypeError, match="the mongetter gave no collection"):
            cachier.cachier()(lambda self: 1)(1)
        cachier.set_global_params(mongetter=None)
        after = cachier.cachier()(lambda self: object())
        assert after.cache_dpath() is None
        assert after(1) is after(2)

    def test_at_every_call(self, make, recorded):
        @make()
        def f():
            recorded.append(1)

        f(), f()
        assert recorded.count == 2
        cachier.set_global_params(allow_none=True)
        f()
        assert recorded.count == 2
        cachier.set_global_params(caching_enabled=False)
        f()
        assert recorded.count == 3
        cachier.set_global_params(caching_enabled=True, stale_after=timedelta(0))
        f()
        assert recorded.count == 4
        cachier.set_global_params(next_time=True)
        f()
        until(lambda: recorded.count == 5)

    def test_waits_and_cleanups_at_every_call(self, make):
        inside, out = threading.Event(), threading.Event()

        @make(name="f", stale_after=timedelta(days=1))
        def f(x):
            if not inside.is_set():
                inside.set()
                out.wait(LONG)
            return x

        with ThreadPoolExecutor(1) as pool:
            owner = pool.submit(f, 1)
            assert inside.wait(LONG)
            cachier.set_global_params(wait_for_calc_timeout=0.01)
            assert f(1) == 1
            out.set()
            assert owner.result(LONG) == 1
        cachier.set_global_params(cleanup_stale=True, cleanup_interval=timedelta(0))
        f(2, cachier__stale_after=timedelta(microseconds=1), cachier__skip_cache=False)
        until(lambda: not f.is_cached(1, max_age=timedelta.max))


class TestCleanup:
    @pytest.fixture
    def f(self, make):
        def decorate(**options):
            return make(
                lambda x: x, name="f", stale_after=timedelta(microseconds=1), **options
            )

        return decorate

    @staticmethod
    def is_there(function, x):
        return function.is_cached(x, cachier__stale_after=timedelta.max)

    @pytest.fixture
    def tasks(self, monkeypatch):
        """Collect what is to be done in the background."""
        from cachier import _background

        tasks = []
        monkeypatch.setattr(
            _background, "submit", lambda one: tasks.append(one) or True
        )
        return tasks

    def test_by_the_first_call_and_then_once_an_interval(self, f, tasks):
        cleaning = f(cleanup_stale=True, cleanup_interval=timedelta(days=1))
        cleaning.precache_value(1, value_to_cache=1)
        cleaning(2)
        assert len(tasks) == 1
        cleaning(2), cleaning(3)
        assert len(tasks) == 1
        assert self.is_there(cleaning, 1)
        tasks[0]()
        assert not self.is_there(cleaning, 1)
        # The interval is that of the call.
        cleaning(4, cachier__cleanup_interval=timedelta(hours=1))
        assert len(tasks) == 1
        cleaning(4, cachier__cleanup_interval=timedelta(0))
        cleaning(4, cachier__cleanup_interval=timedelta(0))
        assert len(tasks) == 3

    def test_what_is_stale_is_said_by_the_call(self, f, tasks):
        cleaning = f(cleanup_stale=True, cleanup_interval=timedelta(0))
        cleaning.precache_value(1, value_to_cache=1)
        cleaning(2, cachier__stale_after=timedelta(hours=1))
        tasks.pop()()
        assert self.is_there(cleaning, 1)
        cleaning(2, cachier__stale_after=timedelta.max)
        assert tasks == []  # nothing is ever stale
        cleaning(2)
        tasks.pop()()
        assert not self.is_there(cleaning, 1)

    def test_an_interval_of_zero_is_every_call(self, f):
        cleaning = f(cleanup_stale=True, cleanup_interval=timedelta(0))
        for x in range(3):
            cleaning.precache_value(x, value_to_cache=x)
            cleaning(100)
            until(lambda x=x: not self.is_there(cleaning, x))

    def test_off_unless_wanted(self, f):
        plain = f()
        plain.precache_value(1, value_to_cache=1)
        plain(2), plain(3)
        assert self.is_there(plain, 1)
        plain(3, cachier__cleanup_stale=True)
        until(lambda: not self.is_there(plain, 1))

    def test_other_functions_are_left_alone(self, f, make):
        other = make(lambda x: x, name="other", stale_after=timedelta(microseconds=1))
        other(1)
        cleaning = f(cleanup_stale=True)
        cleaning.precache_value(1, value_to_cache=1)
        cleaning(2)
        until(lambda: not self.is_there(cleaning, 1))
        assert self.is_there(other, 1)


class TestMetrics:
    @pytest.fixture
    def f(self, counting):
        return lambda **options: counting(enable_metrics=True, **options)

    @staticmethod
    def counts(f):
        stats = f.metrics.get_stats()
        return stats.hits, stats.misses, stats.stale_hits, stats.recalculations

    def test_an_overwrite_is_a_miss_and_a_recalculation(self, f):
        f = f()
        f()
        assert self.counts(f) == (0, 1, 0, 1)
        f(cachier__overwrite_cache=True)
        assert self.counts(f) == (0, 2, 0, 2)

    def test_a_stale_find(self, f):
        f = f()
        f()
        f(max_age=timedelta(microseconds=1))
        assert self.counts(f) == (0, 2, 1, 2)

    def test_a_stale_find_with_next_time(self, f, counting):
        f = f(next_time=True)
        f()
        f(max_age=timedelta(0))
        assert self.counts(f) == (0, 2, 1, 2)
        until(lambda: counting.runs == 2)
        assert self.counts(f) == (0, 2, 1, 2)

    def test_what_counts_nothing(self, f):
        f = f()
        f(cachier__skip_cache=True)
        f.precache_value(1, value_to_cache=1)
        cachier.disable_caching()
        f()
        stats = f.metrics.get_stats()
        assert (stats.total_calls, stats.recalculations) == (0, 0)
        assert stats.avg_latency_ms == 0

    def test_whoever_waits_neither_hits_nor_misses(self, make):
        inside, out = threading.Event(), threading.Event()

        @make(name="f", enable_metrics=True)
        def f():
            inside.set()
            out.wait(LONG)
            return 1

        with ThreadPoolExecutor(4) as pool:
            calls = [pool.submit(f)]
            assert inside.wait(LONG)
            calls += [pool.submit(f) for _ in range(3)]
            time.sleep(0.1)
            out.set()
            assert [call.result(LONG) for call in calls] == [1] * 4
        hits, misses, stale, runs = self.counts(f)
        assert (misses, stale, runs) == (1, 0, 1)
        assert hits + f._counters["waits"] <= 3
        assert hits == f._counters["hits"]

    def test_the_run_of_the_function_is_in_the_latency(self, make):
        f = make(lambda: time.sleep(0.02), name="f", enable_metrics=True)
        f()
        assert f.metrics.get_stats().avg_latency_ms >= 20

    def test_sampling(self, f):
        silent = f(metrics_sampling_rate=0.0)
        silent(), silent()
        assert silent.metrics.get_stats().total_calls == 0
        assert silent.metrics.get_stats().entry_count == 1

    def test_not_checked_without_metrics(self):
        assert cachier.cachier(metrics_sampling_rate=7)(lambda: 1).metrics is None

    def test_every_recorder(self):
        one = metrics.CacheMetrics()
        one.record_hit(), one.record_hit(), one.record_hit()
        one.record_miss()
        one.record_stale_hit()
        one.record_recalculation()
        one.record_wait_timeout()
        one.record_size_limit_rejection()
        one.record_latency(0.25)
        one.update_size_metrics(2, 300)
        assert one.get_stats() == metrics.MetricSnapshot(
            hits=3,
            misses=1,
            hit_rate=75.0,
            total_calls=4,
            avg_latency_ms=250.0,
            stale_hits=1,
            recalculations=1,
            wait_timeouts=1,
            entry_count=2,
            total_size_bytes=300,
            size_limit_rejections=1,
        )
        one.reset()
        assert one.get_stats() == metrics.MetricSnapshot()

    def test_a_snapshot_is_zero(self):
        fields = dataclasses.fields(metrics.MetricSnapshot)
        assert all(field.default == 0 for field in fields)

    def test_a_window_narrows_the_latency_only(self, monkeypatch):
        clock = [1000.0]
        monkeypatch.setattr(metrics.time, "monotonic", lambda: clock[0])
        one = metrics.CacheMetrics(window_sizes=[timedelta(hours=1)])
        one.record_hit()
        one.record_latency(1)
        clock[0] += 1800
        one.record_latency(3)
        assert one.get_stats().avg_latency_ms == 2000
        recent = one.get_stats(timedelta(minutes=10))
        assert (recent.avg_latency_ms, recent.hits) == (3000, 1)
        assert one.get_stats(timedelta(0)).avg_latency_ms == 2000

    def test_no_latency_is_dropped(self):
        one = metrics.CacheMetrics()
        for _ in range(75_000):
            one.record_latency(1)
            one.record_latency(3)
        assert one.get_stats().avg_latency_ms == pytest.approx(2000)
        assert one.get_stats(timedelta(hours=1)).avg_latency_ms == pytest.approx(2000)

    @pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
    def test_rates(self, rate):
        with pytest.raises(ValueError, match="sampling_rate must be between"):
            cachier.CacheMetrics(sampling_rate=rate)

    def test_the_context(self):
        one = cachier.CacheMetrics()
        with metrics.MetricsContext(one):
            time.sleep(0.01)
        assert one.get_stats().avg_latency_ms >= 10
        with metrics.MetricsContext(None):
            pass
        with pytest.raises(LookupError), metrics.MetricsContext(one):
            raise LookupError


class TestOneCall:
    def test_next_time_hands_out_what_is_too_old_by_any_measure(self, counting):
        f = counting(next_time=True)
        assert f() == 1
        assert f(max_age=timedelta(0)) == 1
        until(lambda: counting.runs == 2)
        until(lambda: f() == 2)
        assert f(max_age=timedelta.min, cachier__stale_after=timedelta(0)) == 2

    def test_an_overwrite_joins_nobody(self, make, recorded):
        inside, out = threading.Event(), threading.Event()

        @make(name="f")
        def f():
            recorded.append(1)
            if recorded.count == 1:
                inside.set()
                out.wait(LONG)
                return "owner"
            return "own"

        with ThreadPoolExecutor(1) as pool:
            owner = pool.submit(f)
            assert inside.wait(LONG)
            assert f(cachier__overwrite_cache=True) == "own"
            out.set()
            assert owner.result(LONG) == "owner"
        assert f() == "own"

    @pytest.mark.parametrize("how", ["on", "off", "skipped"])
    def test_every_kind_of_parameter(self, make, how):
        import functools

        def f(a, /, b, *args, c=3, **more):
            return (a, b, args, c, more)

        cached = make(f)
        options = {"cachier__skip_cache": True} if how == "skipped" else {}
        if how == "off":
            cachier.disable_caching()
        for _ in range(2):
            assert cached(1, 2, **options) == f(1, 2)
            assert cached(1, 2, 3, 4, c=5, d=6, **options) == f(1, 2, 3, 4, c=5, d=6)
            assert cached(1, b=2, **options) == f(1, b=2)
            part = make(functools.partial(f, 1, c=7))
            assert part(2, **options) == f(1, 2, c=7)
            assert part(2, c=8, **options) == f(1, 2, c=8)
            with pytest.raises(TypeError, match="missing"):
                cached(1, **options)


@pytest.mark.pickle
class TestSeparateFiles:
    @pytest.fixture
    def separate(self, cache_dir):
        return lambda function, **options: cachier.cachier(
            cache_dir=cache_dir, separate_files=True, **options
        )(function)

    def test_clear_leaves_functions_of_a_longer_name(self, separate):
        short = separate(lambda x: x, name="f")
        long = separate(lambda x: x, name="f_more")
        short(1), long(1)
        short.clear_cache()
        assert not short.is_cached(1)
        assert long.is_cached(1)

    @pytest.mark.parametrize("key", ["a/b", "../../up", "x" * 5000, "\0", "ä/ö"])
    def test_any_key(self, separate, recorded, key):
        def f(x):
            recorded.append(x)
            return x

        named = separate(f, name="f")
        assert named(key) == named(key) == key
        hashed = separate(f, name="g", hash_func=lambda args, kwds: kwds["x"])
        assert hashed(key) == hashed(key) == key
        assert recorded.count == 2

    def test_a_stale_result_is_kept_while_it_is_refreshed(self, separate, recorded):
        inside, out = threading.Event(), threading.Event()

        def f():
            recorded.append(1)
            if recorded.count == 2:
                inside.set()
                out.wait(LONG)
            return recorded.count

        f = separate(f, name="f", next_time=True)
        assert f() == 1
        assert f(max_age=timedelta(0)) == 1
        assert inside.wait(LONG)
        assert f(max_age=timedelta(0)) == 1
        assert f() == 1
        out.set()
        until(lambda: f() == 2)
        assert recorded.count == 2

    def test_a_result_that_does_not_pickle_is_alone(self, separate):
        f = separate(lambda x: x or (lambda: 1), name="f")
        f(1), f(2)
        with pytest.raises(Exception, match="pickle"):
            f(0)
        assert f.is_cached(1)
        assert f.is_cached(2)


@pytest.mark.pickle
def test_a_result_that_does_not_pickle_leaves_the_others(cache_dir):
    f = cachier.cachier(cache_dir=cache_dir, name="f")(lambda x: x or (lambda: 1))
    f(1), f(2)
    with pytest.raises(Exception, match="pickle"):
        f(0)
    assert f.is_cached(1)
    assert f.is_cached(2)


@pytest.mark.pickle
def test_the_zone_of_the_machine_does_not_matter(cache_dir, run_python):
    source = f"""
        from datetime import timedelta
        import cachier

        @cachier.cachier(cache_dir={cache_dir!r}, name="f")
        def f():
            print("ran")

        f(max_age=timedelta(minutes=30), cachier__allow_none=True)
    """
    runs = [
        run_python(source, env={"TZ": zone}).stdout.split()
        for zone in ("UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago", "UTC+12")
    ]
    assert runs == [["ran"], [], [], []]


@pytest.mark.parametrize(
    ("value", "workers"), [("3", 3), ("0", 1), ("no number", 8), (None, 8)]
)
def test_how_many_refresh(monkeypatch, value, workers):
    from cachier import _background

    if value is None:
        monkeypatch.delenv("CACHIER_MAX_WORKERS", raising=False)
    else:
        monkeypatch.setenv("CACHIER_MAX_WORKERS", value)
    assert _background._max_workers() == workers


def test_4096_threads(make):
    """No exception, and no shortage of file descriptors."""
    f = make(lambda x: x, name="f")
    start = threading.Event()
    failed = []

    def call(n):
        start.wait(LONG)
        try:
            assert f(n % 16) == n % 16
        except BaseException as error:
            failed.append(error)

    size = threading.stack_size(128 << 10)
    try:
        threads = [threading.Thread(target=call, args=(n,)) for n in range(4096)]
        for thread in threads:
            thread.start()
    finally:
        threading.stack_size(size)
    start.set()
    for thread in threads:
        thread.join()
    assert failed == []


@pytest.mark.pickle
def test_the_waiter_of_a_failed_owner_computes(cache_dir, run_python, tmp_path):
    """In another process: within one, it is handed the exception."""
    source = f"""
        import sys, time, os
        from pathlib import Path
        import cachier

        @cachier.cachier(cache_dir={cache_dir!r}, name="f")
        def f():
            if sys.argv[1] == "owner":
                Path({str(tmp_path / "inside")!r}).touch()
                while not Path({str(tmp_path / "out")!r}).exists():
                    time.sleep(0.01)
                raise LookupError("its own")
            return "computed"

        print(f())
    """
    with ThreadPoolExecutor(2) as pool:
        owner = pool.submit(run_python, source, "owner", name="a.py", check=False)
        until((tmp_path / "inside").exists)
        waiter = pool.submit(run_python, source, "waiter", name="b.py")
        time.sleep(0.3)
        (tmp_path / "out").touch()
        assert "its own" in owner.result(LONG).stderr
        assert waiter.result(LONG).stdout == "computed\n"


def test_the_page_names_tests_that_are_there():
    import re

    from conftest import REPOSITORY

    sources = {
        path.stem: path.read_text()
        for path in (REPOSITORY / "python" / "tests").glob("test_*.py")
    }
    page = (REPOSITORY / "docs" / "parity.md").read_text()
    named = re.findall(r"`(?:(test_\w+): )?((?:test_|Test)\w+)\*?`", page)
    assert len(named) > 60
    for file, name in named:
        where = sources[file] if file else "\n".join(sources.values())
        found = name in sources or re.search(rf"(?:def|class) {name}", where)
        assert found, f"{file}: {name}"
