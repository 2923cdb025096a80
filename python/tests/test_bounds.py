"""Bounds on what is kept of a function."""

import pytest

import cachier


def entries_of(cached):
    return cached._measure()


@pytest.mark.parametrize(
    ("options", "bound"),
    [
        ({"max_entries": 400}, 400),
        ({"max_bytes": 400 * (256 + 7)}, 400),
        ({"max_bytes": "105200B"}, 400),
    ],
)
def test_what_is_beyond_is_evicted(tmp_path, options, bound):
    @cachier.cachier(cache_dir=tmp_path, **options)
    def f(x):
        return f"{x:06}"  # 7 bytes as stored

    for x in range(10 * bound):
        assert f(x) == f"{x:06}"
        if x % 40 == 0:
            assert entries_of(f)[0] <= bound * 1.05
    assert entries_of(f)[0] >= bound * 0.9


def test_what_is_asked_for_stays(tmp_path):
    runs = []

    @cachier.cachier(cache_dir=tmp_path, max_entries=100)
    def f(x):
        runs.append(x)
        return x

    for x in range(1000):
        f(x)
        f(0)
    assert runs.count(0) <= 5


def test_bounds_of_the_whole_store(tmp_path, monkeypatch):
    monkeypatch.setenv("CACHIER_MAX_ENTRIES", "400")

    @cachier.cachier(cache_dir=tmp_path)
    def f(x):
        return x

    @cachier.cachier(cache_dir=tmp_path)
    def g(x):
        return x

    for x in range(1000):
        f(x), g(x)
    assert entries_of(f)[0] + entries_of(g)[0] <= 420


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_entries": -1}, "max_entries must be an int of 0 or more"),
        ({"max_entries": "many"}, "max_entries must be an int of 0 or more"),
        ({"max_bytes": -1}, "max_bytes must be 0 or more"),
        ({"max_bytes": "much"}, "max_bytes: Invalid size value"),
    ],
)
def test_bounds_that_cannot_be(options, words):
    with pytest.raises(ValueError, match=words):
        cachier.cachier(**options)


@pytest.mark.memory
class TestMemory:
    @pytest.fixture
    def f(self, recorded):
        def decorate(**options):
            @cachier.cachier(backend="memory", **options)
            def f(x):
                recorded.append(x)
                return "x" * x if x >= 1000 else x

            return f

        return decorate

    @pytest.mark.parametrize("metrics", [False, True])
    def test_the_least_used_goes(self, f, recorded, metrics):
        f = f(max_entries=3, enable_metrics=metrics)
        f(1), f(2), f(3), f(1), f(4)
        assert entries_of(f)[0] == 3
        assert [f.is_cached(x) for x in (1, 2, 3, 4)] == [True, False, True, True]
        assert recorded == [1, 2, 3, 4]

    def test_bytes(self, f):
        f = f(max_bytes="10KB")
        for x in range(1000, 1100):
            f(x)
        count, size = entries_of(f)
        assert count == (10 << 10) // (1099 + 3 + 256)
        assert size + 256 * count <= 10 << 10
        assert f.is_cached(1099)

    def test_what_is_larger_than_all_drives_nobody_out(self, f, recorded):
        f = f(max_bytes=5000)
        f(1000), f(6000), f(6000)
        assert f.is_cached(1000)
        assert not f.is_cached(6000)
        assert recorded == [1000, 6000, 6000]

    def test_what_is_removed_makes_room(self, f):
        f = f(max_entries=3)
        f(1), f(2), f(3)
        f.invalidate(3)
        f(4)
        assert all(f.is_cached(x) for x in (1, 2, 4))
        f.clear_cache()
        f(5), f(6), f(7)
        assert all(f.is_cached(x) for x in (5, 6, 7))
        f(5, cachier__overwrite_cache=True)
        f.precache_value(8, value_to_cache=8)
        assert [f.is_cached(x) for x in (5, 6, 7, 8)] == [True, False, True, True]

    def test_what_has_no_stored_form_counts_for_its_place(self):
        f = cachier.cachier(backend="memory", max_bytes=1024)(lambda x: lambda: x)
        for x in range(10):
            f(x)
        assert entries_of(f)[0] == 4

    def test_objects_are_let_go(self):
        import gc
        import weakref

        class Big:
            pass

        f = cachier.cachier(backend="memory", max_entries=2)(lambda x: Big())
        made = [weakref.ref(f(x)) for x in range(10)]
        gc.collect()
        assert [one() is not None for one in made] == [False] * 8 + [True] * 2

    def test_functions_of_one_decorator_have_their_own(self, recorded):
        decorator = cachier.cachier(backend="memory", max_entries=1)
        one, other = decorator(lambda x: ("one", x)), decorator(lambda x: ("other", x))
        one(1), other(1)
        assert one.is_cached(1)
        assert other.is_cached(1)
