"""``cachier.report()``."""

import gc
import pathlib
import time

import pytest

import cachier
from cachier import _reporting


def of(function: object) -> _reporting.FunctionReport:
    name = f"{function.__module__}.{function.__qualname__}"  # type: ignore[attr-defined]
    gc.collect()  # other tests have functions of this name
    found = [
        one
        for one in cachier.report().functions
        if (one.name, one.location) == (name, function._store.location)  # type: ignore[attr-defined]
    ]
    assert len(found) == 1, cachier.report()
    return found[0]


@pytest.mark.parametrize("backend", ["pickle", "memory"])
def test_counts_and_sizes(backend: str, tmp_path: pathlib.Path) -> None:
    @cachier.cachier(backend=backend, cache_dir=tmp_path)
    def slow(n: int) -> bytes:
        time.sleep(0.02)
        return bytes(n)

    for n in (1000, 2000, 1000, 1000):
        slow(n)

    told = of(slow)
    assert (told.entries, told.hits, told.misses, told.waits) == (2, 2, 2, 0)
    assert told.bytes is not None
    assert told.bytes > 3000 or backend == "memory"
    assert told.hit_rate == 50
    assert told.run_time.total_seconds() >= 0.04
    assert told.time_saved == told.run_time


def test_what_stores_say(tmp_path: pathlib.Path) -> None:
    @cachier.cachier(cache_dir=tmp_path)
    def one(n: int) -> int:
        return n

    @cachier.cachier(cache_dir=tmp_path)
    def other(n: int) -> None:
        return None

    for _ in range(4):
        one(1)
    other(1)
    other(1)
    stores = [
        store for store in cachier.report().stores if store.location == str(tmp_path)
    ]
    assert len(stores) == 1, "one for both functions"
    assert stores[0].near_hits + stores[0].store_hits == 3
    assert (stores[0].absent, stores[0].empty) == (2, 1)
    assert stores[0].misses == 3


def test_evictions_are_told(tmp_path: pathlib.Path) -> None:
    @cachier.cachier(backend="memory", max_entries=5)
    def f(n: int) -> int:
        return n

    before = sum(store.evictions for store in cachier.report().stores)
    for n in range(12):
        f(n)
    assert sum(store.evictions for store in cachier.report().stores) == before + 7


def test_it_is_a_table_of_text_and_of_html(tmp_path: pathlib.Path) -> None:
    @cachier.cachier(cache_dir=tmp_path / "<here>")
    def told(n: int) -> int:
        return n

    told(1)
    report = cachier.report()
    lines = str(report).splitlines()
    assert lines[0].split()[:3] == ["function", "entries", "size"]
    assert any("told" in line and "<here>" in line for line in lines)
    shown = report._repr_html_()
    assert shown.count("<table>") == 2
    assert "&lt;here&gt;" in shown
    assert "<here>" not in shown


def test_without_functions_it_says_so() -> None:
    report = _reporting.Report((), ())
    assert str(report) == "No function of this process is cached."
    assert report._repr_html_().startswith("<p>")


def test_a_store_that_cannot_be_asked_is_told_of(tmp_path: pathlib.Path) -> None:
    place = tmp_path / "a file"
    place.write_text("in the way")

    @cachier.cachier(cache_dir=place / "below")
    def homeless(n: int) -> int:
        return n

    told = of(homeless)
    assert told.entries is None
    assert told.hits == 0
