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
        ({"max_bytes": "much"}, "Invalid size value"),
        ({"max_entries": 1, "backend": "memory"}, "not for backend 'memory'"),
    ],
)
def test_bounds_that_cannot_be(options, words):
    with pytest.raises(ValueError, match=words):
        cachier.cachier(**options)
