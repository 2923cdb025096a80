"""The fixture for tests of programs that cache."""

import textwrap

import pytest

import cachier

pytest_plugins = ["pytester"]

PROGRAM = """
    import cachier

    runs = []

    @cachier.cachier()
    def local(x):
        runs.append(x)
        return x

    @cachier.cachier(backend="memory")
    def memory(x):
        runs.append(x)
        return x
"""


@pytest.fixture
def program(pytester, monkeypatch):
    monkeypatch.syspath_prepend(str(pytester.path))
    pytester.makepyfile(program=textwrap.dedent(PROGRAM))
    return pytester


def test_each_test_begins_with_nothing(program):
    program.makepyfile(
        """
        import cachier
        import program
        import pytest

        before = program.local.cache_dpath()

        @pytest.mark.parametrize("n", range(2))
        def test_alone(cachier_tmp, n):
            program.runs.clear()
            assert program.local(1) == program.local(1) == 1
            assert program.memory(1) == program.memory(1) == 1
            assert program.runs == [1, 1]
            assert (cachier_tmp / "v1").is_dir()

        def test_what_is_decorated_there(cachier_tmp):
            f = cachier.cachier()(lambda: 1)
            assert f.cache_dpath() == str(cachier_tmp)

        def test_afterwards():
            assert cachier.cachier()(lambda: 1).cache_dpath() == before
            program.runs.clear()
            program.local(2), program.memory(2)

        def test_not_seen(cachier_tmp):
            assert not program.local.is_cached(2)
            assert not program.memory.is_cached(2)

        def test_as_it_was():
            assert program.local.is_cached(2)
            assert program.memory.is_cached(2)
            assert not program.local.is_cached(1)
        """
    )
    done = program.runpytest_subprocess("-p", "cachier.pytest_plugin", "-q")
    done.assert_outcomes(passed=6)


def test_pytest_finds_it():
    """By the entry point of the package, where it is installed."""
    from conftest import REPOSITORY

    project = (REPOSITORY / "pyproject.toml").read_text()
    assert '[project.entry-points.pytest11]\n"cachier.pytest_plugin" =' in project


def test_a_store_is_needed():
    f = cachier.cachier(backend="memory")(lambda: 1)
    with pytest.raises(TypeError, match="a store is needed"):
        f._use_store(5)
