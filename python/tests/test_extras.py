"""Options that the published package does not have."""

import importlib
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

import cachier


class TestIgnore:
    def test_what_is_ignored_is_not_part_of_the_key(self, make, recorded):
        @make(ignore=("verbose", "session"))
        def f(x, session, *, verbose=False):
            recorded.append(x)
            return x

        assert f(1, object()) == f(1, object(), verbose=True) == f(x=1, session=None)
        assert f(2, object(), verbose=True) == 2
        assert recorded == [1, 2]

    def test_the_function_gets_it(self, make):
        @make(ignore=["b"])
        def f(a, b):
            return (a, b)

        assert f(1, 2) == (1, 2)
        assert f(1, 3) == (1, 2)
        assert f(2, 3) == (2, 3)

    def test_surplus_and_extra(self, make, recorded):
        @make(ignore=("*args", "debug"))
        def f(x, *args, **options):
            recorded.append(x)
            return x

        f(1), f(1, 2, 3), f(1, debug=True), f(1, debug=False)
        assert recorded.count == 1
        f(1, other=1)
        assert recorded.count == 2

        @make(ignore=("options",), name="all")
        def g(x, **options):
            recorded.append(x)
            return x

        recorded.clear()
        g(1), g(1, a=1), g(1, b=object())
        assert recorded.count == 1

    def test_it_is_no_argument_of_a_hash_func(self, make):
        seen = []

        @make(ignore=("b",), hash_func=lambda args, kwds: seen.append(kwds) or 1)
        def f(a, b, **more):
            return a

        f(1, 2, c=3)
        assert seen == [{"a": 1, "c": 3}]

    def test_other_ignored_parameters_are_another_function(self, make):
        def f(a, b):
            return (a, b)

        assert make(f, ignore=("a",))(1, 2) == (1, 2)
        assert make(f, ignore=("b",))(2, 5) == (2, 5)

    def test_methods(self, make, recorded):
        class A:
            @make(ignore=("log",), allow_non_static_methods=True)
            def f(self, x, log=None):
                recorded.append(x)
                return x

        assert A().f(1, object()) == A().f(1) == 1
        assert recorded == [1]

    def test_defaults_without_a_key(self, make):
        @make(ignore=("token",))
        def f(x, token=object()):  # noqa: B008
            return x

        assert f(1) == f(1) == 1

    @pytest.mark.parametrize(
        "wrong", ["verbose", [1], (None,), 5, b"verbose", (name for name in "ab")]
    )
    def test_wrong_ones(self, wrong):
        with pytest.raises(TypeError, match="ignore must be the names of parameters"):
            cachier.cachier(ignore=wrong)

    def test_what_is_no_parameter(self, make):
        with pytest.raises(ValueError, match="'c', which is no parameter of"):
            make(lambda a, b: 1, ignore=("c",))


class TestExceptions:
    def test_they_are_stored_and_raised_again(self, make, recorded):
        @make(cache_exceptions=(LookupError,))
        def f(x):
            recorded.append(x)
            raise KeyError(x, "its own words")

        for _ in range(3):
            with pytest.raises(KeyError) as caught:
                f(1)
            assert caught.value.args == (1, "its own words")
        assert recorded == [1]
        assert "raise the stored exception" in f.explain(1)
        with pytest.raises(KeyError):
            f.peek(1)

    def test_others_are_not(self, make, recorded):
        @make(cache_exceptions=LookupError)
        def f():
            recorded.append(1)
            raise ValueError("x")

        for _ in range(2):
            with pytest.raises(ValueError, match="x"):
                f()
        assert recorded.count == 2

    def test_all(self, make, recorded):
        @make(cache_exceptions=True)
        def f(error):
            recorded.append(1)
            raise error("x")

        for error in (OSError, KeyboardInterrupt):
            for _ in range(2):
                with pytest.raises(error):
                    f(error)
        assert recorded.count == 3

    def test_they_get_stale(self, make, recorded):
        @make(cache_exceptions=True)
        def f():
            recorded.append(1)
            if recorded.count == 1:
                raise OSError("x")
            return "well"

        with pytest.raises(OSError, match="x"):
            f()
        assert f(max_age=timedelta(0)) == "well"
        assert f() == "well"

    def test_none_takes_the_place_of_a_result_in_the_background(
        self, make, recorded, caplog
    ):
        failed = threading.Event()

        @make(cache_exceptions=True, next_time=True, name="f")
        def f():
            recorded.append(1)
            if recorded.count > 1:
                failed.set()
                raise OSError
            return "well"

        assert f() == "well"
        with caplog.at_level("CRITICAL", logger="cachier"):
            assert f(max_age=timedelta(0)) == "well"
            assert failed.wait(30)
        assert f() == "well"

    @pytest.mark.pickle
    def test_to_others_they_are_misses(self, cache_dir):
        def f():
            raise OSError("once")

        with pytest.raises(OSError, match="once"):
            cachier.cachier(cache_dir=cache_dir, name="f", cache_exceptions=True)(f)()
        plain = cachier.cachier(cache_dir=cache_dir, name="f")(lambda: 5)
        assert not plain.is_cached()
        assert "does not count" in plain.explain()
        assert plain() == 5

    @pytest.mark.pickle
    def test_what_does_not_pickle_is_the_callers(self, cache_dir, recorded):
        class Local(Exception):
            pass

        @cachier.cachier(cache_dir=cache_dir, cache_exceptions=True)
        def f():
            recorded.append(1)
            raise Local("own")

        for _ in range(2):
            with pytest.raises(Local, match="own"):
                f()
        assert recorded.count == 2

    @pytest.mark.memory
    def test_they_hold_no_frames(self):
        import gc
        import weakref

        class Big:
            pass

        made = []

        @cachier.cachier(backend="memory", cache_exceptions=True)
        def f():
            big = Big()
            made.append(weakref.ref(big))
            raise OSError("x")

        for _ in range(2):
            with pytest.raises(OSError, match="x"):
                f()
        gc.collect()
        assert len(made) == 1
        assert made[0]() is None

    def test_those_who_wait_get_it_too(self, make, recorded):
        inside, out = threading.Event(), threading.Event()

        @make(cache_exceptions=True, name="f")
        def f():
            recorded.append(1)
            inside.set()
            out.wait(30)
            raise OSError("shared")

        with ThreadPoolExecutor(4) as pool:
            calls = [pool.submit(f)]
            assert inside.wait(30)
            calls += [pool.submit(f) for _ in range(3)]
            out.set()
            assert [str(call.exception(30)) for call in calls] == ["shared"] * 4
        assert recorded.count == 1

    @pytest.mark.parametrize("wrong", [5, (int,), KeyboardInterrupt, "OSError"])
    def test_wrong_ones(self, wrong):
        with pytest.raises(TypeError, match="cache_exceptions must be types"):
            cachier.cachier(cache_exceptions=wrong)


@pytest.mark.memory
class TestCopy:
    @pytest.fixture
    def listing(self):
        @cachier.cachier(backend="memory", copy=True)
        def f(x=0):
            return {"a": [x]}

        return f

    def test_each_caller_has_its_own(self, listing):
        first = listing()
        first["a"].append("changed")
        second = listing()
        assert second == {"a": [0]}
        second["a"].append("changed")
        assert listing() == {"a": [0]}
        assert listing.peek() == {"a": [0]}
        listing.peek()["a"].append("changed")
        assert listing() == {"a": [0]}

    def test_precached_values(self, listing):
        value = {"a": [5]}
        assert listing.precache_value(5, value_to_cache=value) is value
        value["a"].append("changed")
        assert listing(5) == {"a": [5]}

    def test_those_who_wait(self):
        inside, out = threading.Event(), threading.Event()

        @cachier.cachier(backend="memory", copy=True)
        def f():
            inside.set()
            out.wait(30)
            return []

        with ThreadPoolExecutor(4) as pool:
            calls = [pool.submit(f)]
            assert inside.wait(30)
            calls += [pool.submit(f) for _ in range(3)]
            out.set()
            results = [call.result(30) for call in calls]
        assert len({id(result) for result in results}) == 4

    def test_what_does_not_copy(self):
        @cachier.cachier(backend="memory", copy=True)
        def f():
            return threading.Lock()

        with pytest.raises(TypeError, match="pickle"):
            f()


class TestPickleReload:
    pytestmark = pytest.mark.pickle

    @pytest.fixture
    def holding(self, cache_dir, recorded):
        def decorate(**options):
            @cachier.cachier(
                cache_dir=cache_dir, name="f", pickle_reload=False, **options
            )
            def f(x=0):
                recorded.append(x)
                return [x]

            return f

        return decorate

    @pytest.mark.parametrize("options", [{}, {"enable_metrics": True}])
    def test_the_same_object_each_time(self, holding, recorded, options):
        f = holding(**options)
        assert f() is f() is f.peek()
        assert f(cachier__verbose=True) is f()
        assert recorded == [0]
        again = holding(**options)
        assert again() is again()
        assert again() == [0]
        assert recorded == [0]

    def test_by_the_program(self, cache_dir):
        cachier.set_global_params(pickle_reload=False)
        f = cachier.cachier(cache_dir=cache_dir)(lambda: [1])
        assert f() is f()
        reloading = cachier.cachier(cache_dir=cache_dir, pickle_reload=True)(
            lambda: [2]
        )
        assert reloading() is not reloading()

    def test_metrics_count_it(self, holding):
        f = holding(enable_metrics=True)
        f(), f(), f()
        stats = f.metrics.get_stats()
        assert (stats.hits, stats.misses) == (2, 1)

    def test_what_the_process_itself_does_is_seen(self, holding, recorded):
        f = holding()
        f()
        f.clear_cache()
        f()
        assert recorded.count == 2
        f.invalidate()
        f()
        assert recorded.count == 3
        f.precache_value(value_to_cache="given")
        assert f() == "given"
        assert f(cachier__overwrite_cache=True) == [0]
        assert f() == [0]
        assert recorded.count == 4

    @pytest.mark.maxage
    def test_age_counts(self, holding, recorded):
        f = holding()
        f()
        assert f(max_age=timedelta(0)) == [0]
        assert recorded.count == 2
        # As old as the entry is, not as the process's knowledge of it.
        other = holding()
        other()
        before = other._counters["hits"]
        other(max_age=timedelta(hours=1))
        assert other._counters["hits"] == before + 1

    def test_a_refresh_of_its_own_is_seen(self, cache_dir, recorded):
        @cachier.cachier(
            cache_dir=cache_dir, name="f", pickle_reload=False, next_time=True
        )
        def f():
            recorded.append(1)
            return recorded.count

        assert [f(), f()] == [1, 1]
        assert f(max_age=timedelta(0)) == 1
        deadline = time.monotonic() + 30
        while f() != 2:
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def test_none_counts_where_it_does(self, cache_dir, recorded):
        @cachier.cachier(cache_dir=cache_dir, pickle_reload=False)
        def f():
            recorded.append(1)

        f(), f()
        assert recorded.count == 2
        f(cachier__allow_none=True)
        assert recorded.count == 2


class TestCodeChange:
    @pytest.fixture
    def module(self, tmp_path, monkeypatch):
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.setattr(sys, "dont_write_bytecode", True)

        def load(body, **options):
            given = ", ".join(f"{name}={value!r}" for name, value in options.items())
            text = f"""
import cachier

runs = []

@cachier.cachier(cache_dir={str(tmp_path / "cache")!r}, {given})
"""
            (tmp_path / "changing.py").write_text(text + textwrap.dedent(body))
            sys.modules.pop("changing", None)
            importlib.invalidate_caches()
            return importlib.import_module("changing")

        yield load
        sys.modules.pop("changing", None)

    ONE = """
        def f(x):
            '''What it does.'''
            runs.append(x)  # counts
            return x + 1
    """
    SAME = """
        def f(
            x,
        ):
            # Other words, in another form.
            '''It does that.'''

            runs.append(x)
            return (x + 1)
    """
    OTHER = """
        def f(x):
            runs.append(x)
            return x + 2
    """

    def test_by_default_nobody_looks(self, module):
        assert module(self.ONE).f(1) == 2
        assert module(self.OTHER).f(1) == 2

    def test_recompute(self, module):
        policy = {"on_code_change": "recompute"}
        assert module(self.ONE, **policy).f(1) == 2
        same = module(self.SAME, **policy)
        assert same.f(1) == 2
        assert same.runs == []
        other = module(self.OTHER, **policy)
        assert not other.f.is_cached(1)
        assert "the function's code has changed" in other.f.explain(1)
        assert other.f.peek(1) is None
        assert [other.f(1), other.f(1)] == [3, 3]
        assert other.runs == [1]

    def test_other_options_are_no_other_code(self, module):
        module(self.ONE, on_code_change="recompute").f(1)
        same = module(self.ONE, on_code_change="recompute", next_time=True)
        assert same.f(1) == 2
        assert same.runs == []

    def test_what_nobody_noted_is_computed_anew(self, module):
        assert module(self.ONE).f(1) == 2
        assert module(self.OTHER, on_code_change="recompute").f(1) == 3

    def test_warn(self, module):
        from cachier import _report

        _report._warned.clear()
        policy = {"on_code_change": "warn"}
        assert module(self.ONE, **policy).f(1) == 2
        assert module(self.SAME, **policy).f(1) == 2
        other = module(self.OTHER, **policy)
        with pytest.warns(cachier.CachierWarning, match="computed by other code"):
            assert other.f(1) == 2
        assert other.f(1) == 2  # said once
        assert "though the function's code has changed" in other.f.explain(1)
        assert other.f.is_cached(1)

    def test_without_a_source(self):
        from cachier import _code

        digests = []
        for body in ("x + 1", "x + 1", "x + 2"):
            names = {}
            exec(f"def f(x): return {body}", names)
            digests.append(_code.digest(names["f"]))
        assert digests[0] == digests[1] != digests[2]

    def test_lambdas_and_what_is_indented(self):
        from cachier import _code

        # fmt: off
        one = lambda x: x + 1  # noqa: E731
        same = lambda x: (x + 1)  # noqa: E731
        other = lambda x: x + 2  # noqa: E731
        # fmt: on
        assert _code.digest(one) == _code.digest(same) != _code.digest(other)

        def text():
            return """
not indented"""

        assert _code.digest(text) == _code.digest(text)

    def test_wrapped_functions_count(self):
        import functools

        from cachier import _code

        def wrap(function):
            @functools.wraps(function)
            def f(*args):
                return function(*args)

            return f

        def one(x):
            return x + 1

        def other(x):
            return x + 2

        assert _code.digest(wrap(one)) == _code.digest(wrap(one))
        assert _code.digest(wrap(one)) != _code.digest(wrap(other))

    def test_wrong_ones(self):
        with pytest.raises(ValueError, match="on_code_change must be"):
            cachier.cachier(on_code_change="forget")


class TestCachingDisabled:
    @pytest.fixture
    def counting(self, make, recorded):
        @make()
        def f():
            recorded.append(1)
            return recorded.count

        return f

    def test_for_a_block(self, counting):
        assert counting() == 1
        with cachier.caching_disabled():
            assert [counting(), counting()] == [2, 3]
            assert cachier.get_global_params().caching_enabled
        assert counting() == 1

    def test_blocks_nest(self, counting):
        assert counting() == 1
        with cachier.caching_disabled():
            with cachier.caching_disabled():
                assert counting() == 2
            assert counting() == 3
        assert counting() == 1

    def test_an_exception_ends_it(self, counting):
        assert counting() == 1
        with pytest.raises(LookupError), cachier.caching_disabled():
            raise LookupError
        assert counting() == 1

    def test_what_is_off_stays_off(self, counting):
        cachier.disable_caching()
        with cachier.caching_disabled():
            pass
        assert [counting(), counting()] == [1, 2]
        with cachier.caching_disabled():
            cachier.enable_caching()
            assert counting() == 3
        assert [counting(), counting()] == [4, 4]

    def test_in_all_threads(self, counting):
        counting()
        with cachier.caching_disabled(), ThreadPoolExecutor(1) as pool:
            assert pool.submit(counting).result(30) == 2
