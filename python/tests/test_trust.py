"""Stores that others can write to: signed entries, and values that run no code."""

import datetime
import pickle
import secrets
import subprocess
import sys
import textwrap

import pytest

import cachier

KEY = "a key that only our programs have"

# What a pickle can do to whoever loads it.
FORGER = """
    import pathlib, sys
    import cachier

    class Payload:
        def __reduce__(self):
            return (pathlib.Path.touch, (pathlib.Path(sys.argv[2]),))

    @cachier.cachier(cache_dir=sys.argv[1], name=sys.argv[3], {options})
    def f(x):
        return Payload()

    f.precache_value(1, value_to_cache=Payload())
"""


@pytest.fixture(params=[False, True], ids=["database", "separate_files"])
def shared(request, cache_dir, tmp_path):
    """Options of a directory that somebody else has written to, and the trace."""
    trace = tmp_path / "trace"
    name = request.node.name  # keys stay with a name as long as the process lives

    def forge(options=""):
        source = FORGER.format(options=f"separate_files={request.param}, {options}")
        subprocess.run(
            [sys.executable, "-c", textwrap.dedent(source), cache_dir, trace, name],
            check=True,
        )

    options = {
        "cache_dir": cache_dir,
        "separate_files": request.param,
        "name": name,
    }
    return options, forge, trace


class TestSigning:
    def test_what_is_forged_runs_nowhere(self, shared):
        options, forge, trace = shared
        forge()

        @cachier.cachier(**options, signing_key=KEY)
        def f(x):
            return "ours"

        assert f(1) == "ours"
        assert f(1) == "ours"
        assert not trace.exists()
        assert f._counters["untrusted"] == 1
        assert f._counters["recalculations"] == 1

    def test_without_a_key_it_does(self, shared):
        # Else the test above says nothing.
        options, forge, trace = shared
        forge()
        cachier.cachier(**options)(lambda x: "ours")(1)
        assert trace.exists()

    def test_a_key_of_others_is_no_key(self, shared):
        options, forge, trace = shared
        forge(f"signing_key={secrets.token_bytes(32)!r}")
        assert (
            cachier.cachier(**options, signing_key=KEY)(lambda x: "ours")(1) == "ours"
        )
        assert not trace.exists()

    def test_other_processes_with_the_key_share(self, shared, recorded):
        options, forge, trace = shared
        forge(f"signing_key={KEY!r}")

        @cachier.cachier(**options, signing_key=KEY.encode())
        def f(x):
            recorded.append(x)

        f(1)
        assert trace.exists()
        assert recorded == []

    def test_questions_do_not_look_into_it(self, shared):
        options, forge, trace = shared
        forge()
        f = cachier.cachier(**options, signing_key=KEY)(lambda x: "ours")
        assert not f.is_cached(1)
        assert f.peek(1) is None
        assert "not signed by a key of ours" in f.explain(1)
        assert not trace.exists()

    def test_stale_entries_are_not_handed_out_either(self, shared):
        options, forge, trace = shared
        forge()
        f = cachier.cachier(
            **options,
            signing_key=KEY,
            stale_after=datetime.timedelta(0),
            next_time=True,
        )(lambda x: "ours")
        assert f(1) == "ours"
        assert not trace.exists()

    def test_keys_are_changed_one_after_the_other(self, cache_dir, recorded):
        new, old = "the new key of May 2030", "the old key of 2029"

        def program(keys):
            @cachier.cachier(cache_dir=cache_dir, name="rotated", signing_key=keys)
            def f(x):
                recorded.append(x)
                return x

            return f

        program(old)(1)
        program([new, old])(1)
        program([new, old])(2)
        assert recorded == [1, 2]
        program([new])(2)
        assert recorded == [1, 2]
        program([new])(1)
        assert recorded == [1, 2, 1], "what the old key signed"

    def test_it_can_be_set_for_all(self, cache_dir, shared):
        options, forge, trace = shared
        forge()
        cachier.set_global_params(signing_key=KEY)
        assert cachier.cachier(**options)(lambda x: "ours")(1) == "ours"
        assert not trace.exists()

    def test_memory_needs_none(self, recorded):
        @cachier.cachier(backend="memory", signing_key=KEY)
        def f(x):
            recorded.append(x)
            return object()

        assert f(1) is f(1)
        assert recorded == [1]

    def test_large_values_in_files_of_their_own(self, shared, recorded):
        options, _, _ = shared
        large = b"x" * 3_000_000
        f = cachier.cachier(**options, signing_key=KEY)(lambda: large)
        assert f() == f() == large
        assert f._counters["recalculations"] == 1

    @pytest.mark.parametrize(
        ("key", "error"),
        [
            (5, TypeError),
            ([b"x" * 16, None], TypeError),
            ("short", ValueError),
            (b"x" * 15, ValueError),
            ([], ValueError),
            ([b"x" * 16, "short"], ValueError),
        ],
    )
    def test_bad_keys(self, key, error):
        with pytest.raises(error, match="signing_key") as caught:
            cachier.cachier(signing_key=key)
        assert "xxx" not in str(caught.value), "keys are secrets"
        assert "secrets.token_bytes(32)" in str(caught.value)

    def test_keys_are_not_shown(self):
        cachier.set_global_params(signing_key=KEY)
        assert KEY not in repr(cachier.get_global_params())


class TestSafeCodec:
    def test_plain_data_is_stored(self, cache_dir, recorded):
        plain = {
            "a": [1, 2.5, None, True, 2**70, 1j],
            "b": (b"x", bytearray(b"y"), {1}, frozenset([2])),
        }

        @cachier.cachier(cache_dir=cache_dir, codec="safe")
        def f():
            recorded.append(1)
            return plain

        assert f() == f() == plain
        assert recorded == [1]

    def test_a_pickle_is_a_miss(self, shared, recorded):
        options, forge, trace = shared
        forge()

        def f(x):
            return "ours"

        f.__qualname__ = options["name"]  # warned of once a name
        f = cachier.cachier(**options, codec="safe")(f)
        with pytest.warns(match="codec='safe' refuses"):
            assert f(1) == "ours"
        assert f(1) == "ours"
        assert not trace.exists()
        assert f._counters["unreadable"] == 1

    def test_what_needs_pickle_is_refused(self, cache_dir):
        class Thing:
            pass

        f = cachier.cachier(cache_dir=cache_dir, codec="safe")(lambda: Thing())
        with pytest.raises(TypeError, match="codec='safe' stores plain data") as caught:
            f()
        assert "Thing" in str(caught.value)

    def test_nothing_is_pickled(self, cache_dir, monkeypatch):
        def refuse(*args, **options):
            raise AssertionError("pickled")

        monkeypatch.setattr(pickle, "dumps", refuse)
        f = cachier.cachier(cache_dir=cache_dir, codec="safe")(lambda: object())
        with pytest.raises(TypeError, match="plain data"):
            f()

    @pytest.mark.parametrize("value", [datetime.date(2026, 3, 1), [datetime.time(1)]])
    def test_dates_are_no_plain_data(self, value, cache_dir):
        f = cachier.cachier(cache_dir=cache_dir, codec="safe")(lambda: value)
        with pytest.raises(TypeError, match="texts, bytes, and lists"):
            f()

    def test_bad_codec(self):
        with pytest.raises(ValueError, match="codec must be 'auto' or 'safe'"):
            cachier.cachier(codec="json")
