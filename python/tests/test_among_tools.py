"""Cached functions among what other tools do with functions."""

import inspect
import subprocess
import sys
import textwrap
import typing

import pytest

import cachier


class Shape(typing.Protocol):
    """What has an area."""

    def area(self, scale: int = 1) -> int: ...


@typing.runtime_checkable
class HasArea(typing.Protocol):
    def area(self, scale: int = 1) -> int: ...


class Square:
    side = 3

    @cachier.cachier(backend="memory", allow_non_static_methods=True)
    def area(self, scale: int = 1) -> int:
        """Give the area.

        >>> Square().area(2)
        18
        """
        return self.side * self.side * scale


class Cube(Square):
    @cachier.cachier(backend="memory", allow_non_static_methods=True)
    def area(self, scale: int = 1) -> int:
        return 6 * super().area(scale)


@cachier.cachier(backend="memory")
def twice(n: int) -> int:
    """Give it twice.

    >>> twice(4)
    8
    """
    return 2 * n


def test_it_implements_a_protocol():
    shape: Shape = Square()
    assert isinstance(shape, HasArea)
    assert shape.area() == 9


def test_a_subclass_overrides_it():
    assert Cube().area(2) == 108
    assert Square().area(2) == 18
    assert Cube.area._function_id != Square.area._function_id
    assert Cube().area(2) == 108


def test_signatures():
    assert str(inspect.signature(twice)) == "(n: int) -> int"
    assert str(inspect.signature(Square.area)) == "(self, scale: int = 1) -> int"
    assert str(inspect.signature(Square().area)) == "(scale: int = 1) -> int"
    assert typing.get_type_hints(twice) == {"n": int, "return": int}


def test_help_shows_what_it_does():
    import pydoc

    page = pydoc.render_doc(twice, renderer=pydoc.plaintext)
    assert "twice" in page
    assert "Give it twice." in page


def test_doctest_finds_it():
    import doctest

    module = sys.modules[__name__]
    found = doctest.DocTestFinder(exclude_empty=True).find(module)
    by_name = {test.name.removeprefix(f"{__name__}."): test for test in found}
    assert {"twice", "Square.area"} <= set(by_name)
    for test in by_name.values():
        assert doctest.DocTestRunner(verbose=False).run(test).failed == 0


def test_pytest_collects_it(tmp_path):
    file = tmp_path / "test_collected.py"
    file.write_text(
        textwrap.dedent("""
            import cachier, pytest

            @pytest.fixture
            def three():
                return 3

            @cachier.cachier(backend="memory", ignore=("three",))
            def test_cached(three):
                assert three == 3
        """)
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(file)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
    assert "warning" not in done.stdout


@pytest.mark.pickle
def test_processes_of_loky(run_python, cache_dir):
    """They get functions of `__main__` by value, and these are cached there."""
    pytest.importorskip("joblib")
    source = """
        import os, sys
        from joblib import Parallel, delayed
        import cachier

        @cachier.cachier(cache_dir=sys.argv[1])
        def square(n):
            with open(sys.argv[2], "a") as log:
                log.write(f"{n} {os.getpid()}\\n")
            return n * n

        if __name__ == "__main__":
            jobs = Parallel(n_jobs=2)
            wanted = [n * n for n in range(6)]
            for _ in range(2):
                assert jobs(delayed(square)(n) for n in range(6)) == wanted
            assert [square(n) for n in range(6)] == wanted
            print(os.getpid())
    """
    log = cache_dir + ".log"
    parent = run_python(source, cache_dir, log).stdout.strip()
    with open(log, encoding="ascii") as lines:
        runs = [line.split() for line in lines]
    assert sorted(n for n, _ in runs) == [str(n) for n in range(6)]
    assert parent not in {process for _, process in runs}
