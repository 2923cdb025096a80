"""What is known of a call, asked without making it."""

from datetime import timedelta

import pytest

import cachier


@pytest.fixture
def counting(make, recorded):
    @make()
    def f(x=0, *, y=1):
        recorded.append(x)
        return [x, y]

    return f


class Shop:
    runs = 0

    @cachier.cachier(backend="memory", allow_non_static_methods=True)
    def price(self, item):
        Shop.runs += 1
        return len(item)


class TestKey:
    def test_calls_that_mean_the_same_have_one(self, counting):
        key = counting.key(1)
        assert len(key) == 32
        assert int(key, 16) >= 0
        assert key == counting.key(x=1) == counting.key(1, y=1)
        assert key != counting.key(2)

    def test_it_is_what_the_command_line_shows(self, cache_dir, run_python):
        import subprocess
        from pathlib import Path

        program = Path(cachier.__file__).parent / "bin" / "cachier"
        if not program.exists():
            pytest.skip("the command line is not built")
        f = cachier.cachier(cache_dir=cache_dir, name="f")(lambda x: x)
        f(5)
        shown = subprocess.run(
            [program, "show", f.key(5), "--raw", "--dir", cache_dir],
            capture_output=True,
            check=True,
        )
        assert shown.stdout == b"\x05"

    def test_options_are_not_part_of_it(self, counting):
        assert counting.key(1, max_age=timedelta(1)) == counting.key(1)


class TestIsCached:
    def test_before_and_after(self, counting, recorded):
        assert counting.is_cached(1) is False
        counting(1)
        assert counting.is_cached(1) is True
        assert counting.is_cached(x=1, y=1) is True
        assert counting.is_cached(2) is False
        assert recorded == [1]
        counting.clear_cache()
        assert counting.is_cached(1) is False

    @pytest.mark.maxage
    def test_what_is_stale_is_not(self, counting):
        counting(1)
        assert counting.is_cached(1, max_age=timedelta(hours=1))
        assert not counting.is_cached(1, max_age=timedelta(0))
        assert not counting.is_cached(1, cachier__stale_after=timedelta(0))

    def test_none_where_it_counts(self, make):
        f = make()(lambda: None)
        f()
        assert not f.is_cached()
        assert f.is_cached(cachier__allow_none=True)

    def test_it_claims_nothing(self, counting, recorded):
        assert not counting.is_cached(1)
        assert counting(1) == [1, 1]
        assert recorded == [1]

    def test_while_caching_is_off(self, counting):
        counting(1)
        with cachier.caching_disabled():
            assert counting.is_cached(1)


class TestPeek:
    def test_it_gives_what_is_stored_and_fresh(self, counting, recorded):
        assert counting.peek(1) is None
        counting(1)
        assert counting.peek(1) == [1, 1]
        assert counting.peek(1, max_age=timedelta(0)) is None
        assert recorded == [1]
        counting.precache_value(7, value_to_cache="given")
        assert counting.peek(7) == "given"

    @pytest.mark.memory
    def test_the_very_object(self):
        f = cachier.cachier(backend="memory")(lambda: object())
        assert f() is f.peek()

    def test_a_value_that_cannot_be_read_is_none(self, cache_dir):
        import cachier._core

        f = cachier.cachier(cache_dir=cache_dir)(Unreadable)
        f()
        assert f.peek() is None


class Unreadable:
    def __reduce__(self):
        return int, ("not a number",)


class TestInvalidate:
    def test_one_entry(self, counting, recorded):
        counting(1), counting(2)
        assert counting.invalidate(1) is True
        assert counting.invalidate(1) is False
        assert not counting.is_cached(1)
        assert counting.is_cached(2)
        counting(1), counting(2)
        assert recorded == [1, 2, 1]

    def test_what_is_running_is_not_stored(self, make, recorded):
        @make()
        def f():
            recorded.append(1)
            if recorded.count == 1:
                f.invalidate()
            return recorded.count

        assert [f(), f(), f()] == [1, 2, 2]


@pytest.mark.memory
def test_methods_know_their_object():
    shop = Shop()
    shop.price("tea")
    assert shop.price.is_cached("tea")
    assert Shop.price.is_cached(shop, "tea")
    assert shop.price.peek("tea") == 3
    assert shop.price.key("tea") == Shop.price.key(shop, "tea")
    assert "fresh entry" in shop.price.explain("tea")
    assert shop.price.invalidate("tea")
    assert not shop.price.is_cached("tea")
    assert Shop.runs == 1


@pytest.mark.parametrize("ask", ["key", "is_cached", "peek", "invalidate", "explain"])
def test_arguments_must_fit(counting, ask):
    with pytest.raises(TypeError, match="the arguments do not fit"):
        getattr(counting, ask)(1, 2, 3)
    with pytest.raises(TypeError, match="cannot make a key"):
        getattr(counting, ask)(object())


@pytest.mark.pickle
def test_a_store_that_fails(tmp_path, recwarn):
    import warnings

    (tmp_path / "file").touch()
    f = cachier.cachier(cache_dir=tmp_path / "file")(lambda: 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert not f.is_cached()
        assert f.peek() is None
    assert "the store fails" in f.explain()
    with pytest.raises(OSError, match="file"):
        f.invalidate()
    loud = cachier.cachier(cache_dir=tmp_path / "file", on_backend_error="raise")(
        lambda: 1
    )
    with pytest.raises(OSError, match="file"):
        loud.is_cached()


class TestExplain:
    def test_a_miss_and_a_hit(self, counting, recorded):
        said = counting.explain(1)
        assert "would run the function" in said
        assert "nothing is stored" in said
        assert counting.key(1) in said
        counting(1)
        said = counting.explain(1)
        assert "would be answered from the store" in said
        assert "ago" in said
        assert recorded == [1]

    def test_what_is_stale(self, counting):
        counting(1)
        said = counting.explain(1, max_age=timedelta(0))
        assert "run the function" in said
        assert "stale" in said
        said = counting.explain(1, max_age=timedelta(0), cachier__next_time=True)
        assert "in the background" in said
        assert "fresh for 1.5 hours" in counting.explain(
            1, max_age=timedelta(minutes=90)
        )

    def test_what_is_told(self, counting):
        assert "cachier__skip_cache" in counting.explain(1, cachier__skip_cache=True)
        assert "cachier__overwrite_cache" in counting.explain(
            1, cachier__overwrite_cache=True
        )
        with cachier.caching_disabled():
            assert "caching is turned off" in counting.explain(1)

    def test_none(self, make):
        f = make()(lambda: None)
        f()
        assert "does not count (allow_none)" in f.explain()

    def test_waiting(self, make):
        f = make(wait_for_calc_timeout=90)(lambda: 1)
        assert "wait up to 1.5 minutes" in f.explain()

    @pytest.mark.pickle
    def test_where_it_is(self, cache_dir):
        f = cachier.cachier(cache_dir=cache_dir, name="here")(lambda: 1)
        assert cache_dir in f.explain()
        assert "cachier:here" in f.explain()
