"""What a call can ask for, and what it gets."""

import warnings
from datetime import timedelta

import pytest

import cachier


@pytest.fixture
def counting(make, recorded):
    """Give a cached function that counts its runs and returns how many there were."""

    @make()
    def f(x=0):
        recorded.append(x)
        return recorded.count

    return f


@pytest.mark.smoke
def test_the_second_call_is_answered_from_the_store(counting, recorded):
    assert [counting(1), counting(1), counting(2), counting(x=1)] == [1, 1, 2, 1]
    assert recorded == [1, 2]


def test_skip_neither_reads_nor_writes(counting):
    assert counting(cachier__skip_cache=True) == 1
    assert counting() == 2
    assert counting(cachier__skip_cache=True) == 3
    assert counting() == 2


def test_overwrite_runs_and_stores(counting):
    assert counting() == 1
    assert counting(cachier__overwrite_cache=True) == 2
    assert counting() == 2


def test_skip_beats_overwrite(counting):
    assert counting() == 1
    assert counting(cachier__skip_cache=True, cachier__overwrite_cache=True) == 2
    assert counting() == 1


@pytest.mark.maxage
def test_max_age(counting):
    assert counting() == 1
    assert counting(max_age=timedelta(hours=1)) == 1
    assert counting(max_age=timedelta(0)) == 2
    assert counting(max_age=timedelta(days=-1)) == 3
    assert counting(max_age=timedelta.max) == 3
    assert counting(max_age=timedelta.min) == 4
    assert counting(max_age=None) == 4


@pytest.mark.maxage
def test_the_strictest_limit_counts(make, recorded):
    @make(stale_after=timedelta(0))
    def f():
        recorded.append(1)
        return recorded.count

    assert [f(), f(), f(max_age=timedelta(hours=1))] == [1, 2, 3]
    assert f(cachier__stale_after=timedelta(hours=1)) == 3
    assert f(cachier__stale_after=timedelta(hours=1), max_age=timedelta(0)) == 4


@pytest.mark.maxage
@pytest.mark.parametrize("wrong", [5, 1.5, "1h"])
@pytest.mark.parametrize("option", ["max_age", "cachier__stale_after"])
def test_limits_are_timedeltas(counting, option, wrong):
    with pytest.raises(TypeError, match=f"{option} must be a datetime.timedelta"):
        counting(**{option: wrong})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("ignore_cache", "cachier__skip_cache"),
        ("overwrite_cache", "cachier__overwrite_cache"),
        ("verbose_cache", "cachier__verbose"),
    ],
)
def test_old_names_warn(counting, old, new):
    for value in (True, False):
        with pytest.warns(
            DeprecationWarning, match=f"`{old}` is deprecated and will be removed"
        ):
            counting(**{old: value})
    runs = counting(cachier__skip_cache=True)
    with pytest.warns(DeprecationWarning, match=old):
        # The new spelling wins.
        counting(**{old: True, new: False}, cachier__allow_none=None)
    assert counting(cachier__skip_cache=True) == runs + 1


def test_a_warning_as_an_error_does_not_reach_the_caller(counting):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert counting(ignore_cache=True) == 1


def test_options_never_reach_the_function(make):
    @make()
    def f(**kwds):
        return kwds

    assert f(
        a=1,
        max_age=timedelta(1),
        cachier__skip_cache=False,
        cachier__overwrite_cache=False,
        cachier__verbose=False,
        cachier__allow_none=None,
        cachier__stale_after=None,
        cachier__next_time=None,
        cachier__cleanup_stale=None,
        cachier__cleanup_interval=None,
    ) == {"a": 1}


class TestNone:
    @pytest.fixture
    def nothing(self, make, recorded):
        def decorate(**options):
            @make(**options)
            def f():
                recorded.append(1)

            return f

        return decorate

    def test_none_is_no_answer_unless_allowed(self, nothing, recorded):
        f = nothing()
        assert f() is None
        assert f() is None
        assert recorded.count == 2
        assert f(cachier__allow_none=True) is None
        assert recorded.count == 2
        assert f() is None
        assert recorded.count == 3

    def test_allowed(self, nothing, recorded):
        f = nothing(allow_none=True)
        f()
        f()
        assert recorded.count == 1
        f(cachier__allow_none=False)
        assert recorded.count == 2

    def test_allowed_by_the_program(self, nothing, recorded):
        f = nothing()
        f()
        cachier.set_global_params(allow_none=True)
        f()
        assert recorded.count == 1
        refusing = nothing(allow_none=False)
        refusing()
        refusing()
        assert recorded.count >= 2


class TestExceptions:
    def test_they_reach_the_caller_and_are_not_stored(self, make, recorded):
        @make(allow_none=True)
        def f():
            recorded.append(1)
            if recorded.count < 3:
                raise LookupError("its own words")
            return "done"

        for _ in range(2):
            with pytest.raises(LookupError, match="its own words"):
                f()
        assert [f(), f()] == ["done", "done"]

    def test_a_failed_recomputation_keeps_the_old_value(self, make, recorded):
        @make()
        def f():
            recorded.append(1)
            if recorded.count == 2:
                raise LookupError
            return recorded.count

        assert f() == 1
        with pytest.raises(LookupError):
            f(max_age=timedelta(0))
        assert f() == 1
        recorded[:] = [1]
        with pytest.raises(LookupError):
            f(cachier__overwrite_cache=True)
        assert f() == 1

    def test_the_traceback_leads_to_the_function(self, make):
        @make()
        def f():
            raise LookupError

        with pytest.raises(LookupError) as caught:
            f()
        assert caught.traceback[-1].name == "f"


class TestSizeLimit:
    @pytest.mark.parametrize("limit", [100, "100", "100B", "0.1 KB"])
    def test_larger_results_are_returned_and_not_stored(self, make, recorded, limit):
        @make(entry_size_limit=limit)
        def f(size):
            recorded.append(size)
            return b"x" * size

        for _ in range(2):
            assert len(f(10)) == 10
            assert len(f(200)) == 200
        assert recorded == [10, 200, 200]

    def test_equal_is_stored(self, make, recorded):
        from cachier import _core

        size = len(_core.encode_value(b"x" * 50)[1])

        for limit, runs in ((size, 1), (size - 1, 2)):

            @make(entry_size_limit=limit, version=str(limit))
            def f():
                recorded.append(1)
                return b"x" * 50

            recorded.clear()
            f()
            f()
            assert recorded.count == runs

    def test_a_refused_overwrite_leaves_the_old_value(self, make, recorded):
        sizes = [10, 500]

        @make(entry_size_limit=100)
        def f():
            return b"x" * sizes.pop(0)

        assert len(f()) == 10
        assert len(f(cachier__overwrite_cache=True)) == 500
        assert len(f()) == 10

    def test_precached_values_too(self, make, recorded):
        @make(entry_size_limit=100)
        def f():
            recorded.append(1)
            return b"own"

        big = b"x" * 500
        assert f.precache_value(value_to_cache=big) is big
        assert f() == b"own"

    def test_a_global_one(self, make, recorded):
        cachier.set_global_params(entry_size_limit="10B")

        @make()
        def f():
            recorded.append(1)
            return b"x" * 100

        f()
        f()
        assert recorded.count == 2

    @pytest.mark.memory
    def test_what_has_no_stored_form_is_kept_in_memory(self, recorded):
        @cachier.cachier(backend="memory", entry_size_limit=10)
        def f():
            recorded.append(1)
            return lambda: 1

        assert f() is f()


class TestPrecache:
    def test_it_is_the_result_of_the_call(self, make, recorded):
        @make()
        def f(a, b=2):
            recorded.append(a)
            return a + b

        value = ["given"]
        assert f.precache_value(1, value_to_cache=value) is value
        assert f(1) == f(a=1, b=2) == ["given"]
        f.precache_value(a=5, b=6, value_to_cache=7)
        assert f(5, 6) == 7
        assert recorded.count == 0

    def test_it_replaces(self, counting):
        assert counting() == 1
        counting.precache_value(value_to_cache=9)
        assert counting() == 9

    def test_also_while_caching_is_off(self, counting):
        cachier.disable_caching()
        counting.precache_value(value_to_cache=9)
        assert counting() == 1
        cachier.enable_caching()
        assert counting() == 9

    def test_arguments_must_fit(self, make):
        @make()
        def f(a):
            return a

        with pytest.raises(TypeError, match="arguments do not fit"):
            f.precache_value(value_to_cache=1)
        with pytest.raises(TypeError, match="value_to_cache"):
            f.precache_value(1)

    def test_none_too(self, make, recorded):
        @make(allow_none=True)
        def f():
            recorded.append(1)
            return 1

        f.precache_value(value_to_cache=None)
        assert f() is None


class TestClearing:
    def test_this_function_alone(self, make, recorded):
        decorator = make()

        @decorator
        def f(x):
            recorded.append(("f", x))
            return x

        @decorator
        def fx(x):
            recorded.append(("fx", x))
            return x

        assert f.clear_cache() is None  # when nothing is there
        for _ in range(2):
            f(1), f(2), fx(1)
        assert recorded.count == 3
        f.clear_cache()
        f(1), f(2), fx(1)
        assert recorded.count == 5

    def test_claims_when_there_are_none(self, counting):
        assert counting.clear_being_calculated() is None
        counting()
        assert counting.clear_being_calculated() is None
        assert counting() == 1

    def test_what_was_running_is_not_stored(self, make, recorded):
        @make()
        def f():
            recorded.append(1)
            if recorded.count == 1:
                f.clear_cache()
            return recorded.count

        assert f() == 1
        assert f() == 2
        assert f() == 2


class TestOnAndOff:
    def test_entries_survive(self, counting):
        assert counting() == 1
        cachier.disable_caching()
        assert counting() == 2
        assert counting() == 3
        cachier.enable_caching()
        assert counting() == 1

    def test_decorated_while_off(self, make, recorded):
        cachier.disable_caching()

        @make()
        def f():
            recorded.append(1)
            return recorded.count

        assert [f(), f()] == [1, 2]
        cachier.enable_caching()
        assert [f(), f()] == [3, 3]

    @pytest.mark.parametrize(
        ("value", "runs"), [("1", 2), ("yes", 2), ("0", 1), ("", 1)]
    )
    def test_by_the_environment(self, run_python, value, runs):
        source = """
            import cachier
            runs = []
            @cachier.cachier(backend="memory")
            def f():
                runs.append(1)
                return 1
            f(), f()
            print(len(runs), cachier.get_global_params().caching_enabled)
            cachier.enable_caching()
            f(), f(), f()
            print(len(runs))
        """
        lines = run_python(source, env={"CACHIER_DISABLE": value}).stdout.split()
        assert lines == [str(runs), str(runs == 1), str(runs + (runs == 2))]


class TestVerbose:
    def test_what_it_says(self, make, capsys):
        @make(stale_after=timedelta(hours=1), entry_size_limit=100)
        def f(size):
            return b"x" * size

        f(1, cachier__verbose=True)
        out = capsys.readouterr().out
        assert "No entry found" in out
        assert "Calling" in out
        f(1, cachier__verbose=True)
        out = capsys.readouterr().out
        assert "Entry found" in out
        assert "Cached result" in out
        f(1, cachier__verbose=True, max_age=timedelta(0))
        out = capsys.readouterr().out
        assert "stale" in out
        assert "Calling" in out
        f(500, cachier__verbose=True)
        assert "too large" in capsys.readouterr().out

    def test_nothing_else_is_ever_printed(self, make, capfd):
        @make()
        def f(x):
            return x

        f(1), f(1), f.clear_cache(), f.precache_value(1, value_to_cache=2)
        assert capfd.readouterr() == ("", "")


@pytest.mark.memory
class TestMemory:
    def test_it_hands_out_the_very_object(self):
        @cachier.cachier(backend="memory")
        def f():
            return object()

        assert f() is f()
        value = object()
        f.precache_value(value_to_cache=value)
        assert f() is value

    def test_two_decorators_never_share(self, recorded):
        def f(x):
            recorded.append(x)
            return object()

        one = cachier.cachier(backend="memory")(f)
        other = cachier.cachier(backend="memory")(f)
        assert one(1) is not other(1)

    def test_one_decorator_on_the_same_function_shares(self):
        def f(x):
            return object()

        decorator = cachier.cachier(backend="memory")
        assert decorator(f)(1) is decorator(f)(1)

    def test_one_decorator_on_several_functions(self, make):
        decorator = make()

        def factory(label, hidden):
            def f(x):
                return (label, hidden[0], x)

            return decorator(f)

        functions = [decorator(lambda x: ("a", x)), decorator(lambda x: ("b", x))]
        assert [f(1) for f in functions] == [("a", 1), ("b", 1)]
        assert [f(1) for f in functions] == [("a", 1), ("b", 1)]
        made = [factory("p", [1]), factory("q", [2])]
        assert [f(1) for f in made] == [("p", 1, 1), ("q", 2, 1)]

    def test_closures_that_only_differ_in_what_is_not_plain(self):
        decorator = cachier.cachier(backend="memory")

        def factory(hidden):
            @decorator
            def f():
                return hidden[0]

            return f

        functions = [factory([n]) for n in range(3)]
        for _ in range(2):
            assert [f() for f in functions] == [0, 1, 2]


@pytest.mark.pickle
class TestLocal:
    def test_each_caller_gets_its_own(self, cache_dir):
        @cachier.cachier(cache_dir=cache_dir)
        def f():
            return {"a": [1]}

        f()
        first = f()
        first["a"].append(2)
        assert f() == {"a": [1]}

    def test_two_decorators_share(self, cache_dir, recorded):
        def f(x):
            recorded.append(x)
            return x

        one = cachier.cachier(cache_dir=cache_dir)(f)
        other = cachier.cachier(cache_dir=cache_dir)(f)
        assert one(1) == other(1)
        assert recorded.count == 1

    def test_namespaces_names_and_versions(self, cache_dir, recorded):
        # Not by its closure, whose values when it is decorated are part of the id.
        def f(x):
            f.recorded.append(x)
            return f.recorded.count

        f.recorded = recorded

        def g(y, z=0):
            return -1

        def on(function, **options):
            return cachier.cachier(cache_dir=cache_dir, **options)(function)(1)

        assert on(f) == 1
        assert on(f, key_prefix="team") == 2
        assert on(f, version="2") == 3
        assert on(f, name="shared") == 4
        assert on(f, name="shared", version="2") == 5
        assert on(f, name="shared") == 4
        assert on(f, key_prefix="team") == 2
        assert on(f, version="2") == 3
        assert on(f) == 1

    def test_what_does_not_pickle_raises(self, cache_dir, recorded):
        @cachier.cachier(cache_dir=cache_dir)
        def f(x):
            recorded.append(x)
            return (lambda: 1) if x else "fine"

        assert f(0) == "fine"
        for _ in range(2):
            with pytest.raises(Exception, match="pickle"):
                f(1)
        assert f(0) == "fine"
        assert recorded == [0, 1, 1]

    def test_it_outlives_the_process(self, run_python, cache_dir):
        source = """
            import sys, cachier
            @cachier.cachier(cache_dir=sys.argv[1])
            def f(x):
                print("runs")
                return {"x": x}
            print(f(1))
        """
        first = run_python(source, cache_dir).stdout
        second = run_python(source, cache_dir).stdout
        assert first == "runs\n{'x': 1}\n"
        assert second == "{'x': 1}\n"


class PicklesByAsking:
    """Whose pickling asks for the call that made it."""

    ask = None

    def __reduce__(self):
        return (type(type(self).ask(1)), ())


def test_a_result_that_asks_for_its_own_call_when_pickled(tmp_path):
    runs = []

    @cachier.cachier(cache_dir=tmp_path, name="asked", wait_for_calc_timeout=1)
    def made(x):
        runs.append(x)
        return PicklesByAsking()

    PicklesByAsking.ask = made
    assert type(made(1)) is PicklesByAsking
    assert made._counters["wait_timeouts"] == 0, "it waited for itself"
    assert runs == [1, 1]
    assert type(made(1)) is PicklesByAsking
    assert runs == [1, 1]
