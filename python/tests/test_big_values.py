"""Results over 64 KiB: files of their own, and arrays that are mapped."""

import dataclasses
import os
import pathlib

import pytest

from cachier import cachier

np = pytest.importorskip("numpy")

SIZE = 300_000  # of float64: over the 1 MiB from which on they are mapped


@dataclasses.dataclass
class Run:
    name: str
    series: "np.ndarray"


def alone():
    return np.arange(SIZE, dtype="f8")


def in_a_dict():
    return {"first": alone(), "second": [alone() * 2, "text"], "n": 3}


def in_a_dataclass():
    return Run("a", alone())


def in_a_frame():
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame({"x": alone(), "y": alone() * 2, "n": range(SIZE)})


def in_fortran_order():
    return np.asfortranarray(alone().reshape(500, 600))


MAKERS = [alone, in_a_dict, in_a_dataclass, in_a_frame, in_fortran_order]


def arrays_of(result):
    if isinstance(result, np.ndarray):
        return [result]
    if isinstance(result, dict):
        return [result["first"], result["second"][0]]
    if isinstance(result, Run):
        return [result.series]
    return [result["x"].to_numpy(), result["n"].to_numpy()]


def maps():
    return pathlib.Path("/proc/self/maps").read_text().count(".values/")


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("mmap", [None, True, False])
def test_arrays_come_back_equal_and_the_callers_own(tmp_path, make, mmap):
    cached = cachier(cache_dir=tmp_path, mmap=mmap)(make)
    first = [array.copy() for array in arrays_of(cached())]
    stored = arrays_of(cached())
    for array, expected in zip(stored, first, strict=True):
        np.testing.assert_array_equal(array, expected)
        assert array.dtype == expected.dtype
    if make is not in_a_frame:  # pandas says by itself what may be written to
        for array in stored:
            assert array.flags.writeable
            array[...] = -1
    for array, expected in zip(arrays_of(cached()), first, strict=True):
        np.testing.assert_array_equal(array, expected)


def test_mapped_arrays_are_not_copied(tmp_path):
    cached = cachier(cache_dir=tmp_path)(alone)
    cached()
    before = maps()
    array = cached()
    assert maps() > before
    del array


def test_mmap_false_copies(tmp_path):
    cached = cachier(cache_dir=tmp_path, mmap=False)(alone)
    cached()
    array = cached()
    for file in pathlib.Path(tmp_path).rglob("*-*"):
        if ".values" in str(file):
            os.truncate(file, 0)
    assert array.sum() == alone().sum()


def test_read_only_stays_read_only(tmp_path):
    @cachier(cache_dir=tmp_path)
    def frozen():
        array = alone()
        array.flags.writeable = False
        return array

    frozen()
    assert not frozen().flags.writeable


def test_arrays_outlive_what_is_cleared(tmp_path):
    cached = cachier(cache_dir=tmp_path)(alone)
    cached()
    array = cached()
    cached.clear_cache()
    assert array.sum() == alone().sum()


@pytest.mark.parametrize("how", ["shortened", "removed", "changed", "touched"])
@pytest.mark.parametrize("make", [alone, lambda: b"x" * 3_000_000])
def test_a_file_that_changed_is_computed_anew_or_verified(tmp_path, how, make):
    runs = []

    @cachier(cache_dir=tmp_path, name="f")
    def f():
        runs.append(1)
        return make()

    f()
    f()
    (file,) = (p for p in pathlib.Path(tmp_path).rglob("*-*") if ".values" in str(p))
    if how == "shortened":
        os.truncate(file, 5_000)
    elif how == "removed":
        file.unlink()
    elif how == "changed":
        with file.open("r+b") as opened:
            opened.seek(1_500_000)
            opened.write(b"\x01\x02\x03")
    else:
        os.utime(file, (1, 1))
    np.testing.assert_array_equal(f(), make())
    # What this process has already read may count for as long as it is there.
    if make is alone and how in ("shortened", "changed"):
        assert len(runs) == 2
    if how == "touched":
        assert len(runs) == 1
