"""Stores that fail: what reaches the caller, and what is said."""

import os
import stat
import time
import warnings
from pathlib import Path

import pytest

import cachier
from cachier import _core, _report

pytestmark = pytest.mark.pickle


@pytest.fixture(autouse=True)
def _nothing_said_yet():
    _report._warned.clear()


NOBODY = 65534


def as_nobody_here(run):
    """Give up root's rights, run, and end the process: what a child does."""
    code = 1
    try:
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        run()
        code = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def as_nobody(run):
    """Run in a child that is not root: root may do everything."""
    child = os.fork()
    if child == 0:
        as_nobody_here(run)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def check_that_only_calls_tell(directory):
    """Decorating says nothing, calls compute and warn once, or raise on request."""
    runs = []

    def f(x):
        runs.append(x)
        return x

    cached = cachier.cachier(cache_dir=directory, name="f")(f)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert [cached(1), cached(1), cached(2)] == [1, 1, 2]
    assert runs == [1, 1, 2]
    assert [w.category for w in caught] == [cachier.CachierWarning]
    message = str(caught[0].message)
    assert str(directory) in message
    assert "cause:" in message
    assert "fix:" in message
    assert "said once" in message
    assert cached.precache_value(1, value_to_cache=5) == 5
    with pytest.raises(OSError, match="fix:"):
        cached.clear_cache()
    assert cached._counters["store_errors"] >= 5

    strict = cachier.cachier(cache_dir=directory, on_backend_error="raise")(f)
    with pytest.raises(OSError, match="fix:"):
        strict(1)
    with pytest.raises(OSError, match="fix:"):
        strict.precache_value(1, value_to_cache=5)


def test_a_directory_that_cannot_be_made(tmp_path):
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    check_that_only_calls_tell(in_the_way / "cache")


def test_a_directory_that_others_may_write(tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "v1").mkdir()
    for folder in (shared, shared / "v1"):
        folder.chmod(0o777)
    check_that_only_calls_tell(shared)


def test_a_directory_without_permission(tmp_path):
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents:
        if parent != parent.parent and parent.stat().st_uid == os.getuid():
            parent.chmod(parent.stat().st_mode | stat.S_IXOTH | stat.S_IROTH)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    as_nobody(lambda: check_that_only_calls_tell(closed / "cache"))


def let_others_in(directory):
    """Let other users reach the test's directory, not what is in it."""
    for folder in (directory, *directory.parents):
        if folder != folder.parent and folder.stat().st_uid == os.getuid():
            folder.chmod(folder.stat().st_mode | stat.S_IXOTH | stat.S_IROTH)


def give_to(user, directory):
    """Make a directory and all that is in it this user's."""
    for folder, folders, files in os.walk(directory):
        for path in (folder, *(os.path.join(folder, n) for n in folders + files)):
            os.chown(path, user, user)


@pytest.mark.skipif(os.getuid() != 0, reason="gives directories to other users")
@pytest.mark.parametrize("separate_files", [False, True])
@pytest.mark.parametrize("cause", ["closed", "read-only", "another user's"])
@pytest.mark.parametrize("used_before", [False, True])
def test_caching_resumes_when_the_cause_is_gone(
    tmp_path, separate_files, cause, used_before
):
    """Calls compute and warn once, and are cached again when they may be."""
    let_others_in(tmp_path)
    directory = tmp_path / "cache"
    directory.mkdir(mode=0o700)

    def break_it():
        if cause == "another user's":
            give_to(12345, directory)
        else:
            give_to(NOBODY, directory)
            for folder, _, files in os.walk(directory):
                os.chmod(folder, 0o500 if cause == "read-only" else 0)
                for name in files:
                    os.chmod(os.path.join(folder, name), 0o400)

    def mend_it():
        give_to(NOBODY, directory)
        for folder, _, files in os.walk(directory):
            os.chmod(folder, 0o700)
            for name in files:
                os.chmod(os.path.join(folder, name), 0o600)

    if used_before:

        def fill():
            stored = cachier.cachier(
                cache_dir=directory, name="f", separate_files=separate_files
            )(lambda x: -x)
            assert stored(1) == -1

        mend_it()
        as_nobody(fill)
    break_it()
    told, tell = os.pipe()
    mended, say_mended = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(say_mended)

        def call_it():
            runs = []

            @cachier.cachier(
                cache_dir=directory, name="f", separate_files=separate_files
            )
            def f(x):
                runs.append(x)
                return -x

            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                assert [f(2), f(2), f(3), f(1)] == [-2, -2, -3, -1]
                assert runs[:3] == [2, 2, 3]
                assert [w.category for w in caught] == [cachier.CachierWarning]
                message = str(caught[0].message)
                assert str(directory) in message
                assert "cause:" in message
                assert "fix:" in message
                os.write(tell, b"x")
                assert os.read(mended, 1) == b"x"
                end = time.monotonic() + 20
                while True:
                    runs.clear()
                    assert [f(2), f(2)] == [-2, -2]
                    if not runs or runs == [2]:
                        break
                    assert time.monotonic() < end, "caching does not resume"
                    time.sleep(0.01)
                assert f(2) == -2
                assert len(caught) == 1

        as_nobody_here(call_it)
    os.close(tell)
    os.close(mended)
    broken = os.read(told, 1) == b"x"
    mend_it()
    os.write(say_mended, b"x")
    _, status = os.waitpid(child, 0)
    for end in (told, say_mended):
        os.close(end)
    assert broken
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_directory_that_becomes_usable_is_used(tmp_path):
    directory = tmp_path / "cache"
    directory.write_text("in the way")
    runs = []
    cached = cachier.cachier(cache_dir=directory, name="f")(lambda: runs.append(1) or 7)
    with pytest.warns(cachier.CachierWarning):
        assert cached() == 7
    directory.unlink()
    assert [cached(), cached()] == [7, 7]
    assert len(runs) == 2


def test_caching_that_is_off_touches_no_directory(run_python, tmp_path):
    (tmp_path / "file").touch()
    source = """
        import sys, cachier
        @cachier.cachier(cache_dir=sys.argv[1])
        def f(x):
            return x
        print(f(1))
    """
    done = run_python(
        source,
        str(tmp_path / "file" / "cache"),
        flags=["-Werror"],
        env={"CACHIER_DISABLE": "1"},
    )
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_damaged_files_are_misses(cache_dir, recorded, run_python):
    source = """
        import sys, cachier
        @cachier.cachier(cache_dir=sys.argv[1], name="f")
        def f(x):
            print("runs")
            return {"x": "value" * 5}
        assert f(1) == {"x": "value" * 5}
        assert f(1) == {"x": "value" * 5}
    """
    assert run_python(source, cache_dir).stdout == "runs\n"
    flipped = 0
    for folder, _, files in os.walk(cache_dir):
        for name in files:
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                data = file.read()
            at = data.find(b"valuevaluevalue")
            if at >= 0:
                with open(path, "r+b") as file:
                    file.seek(at)
                    file.write(b"VALUE")
                flipped += 1
    assert flipped
    done = run_python(source, cache_dir)
    assert done.stderr == ""


class TestADamagedDatabase:
    """One warning when it is set aside: the engine's, told by way of Python."""

    @pytest.fixture
    def damaged(self, cache_dir, recorded, run_python):
        """Give a function whose database is garbage, and not open here."""
        run_python(
            """
            import sys, cachier
            cachier.cachier(cache_dir=sys.argv[1], name="f")(lambda x: x)(1)
            """,
            cache_dir,
        )
        for end in ("-wal", "-shm"):
            path = os.path.join(cache_dir, "v1", "c1.db" + end)
            if os.path.exists(path):
                os.unlink(path)
        with open(os.path.join(cache_dir, "v1", "c1.db"), "wb") as file:
            file.write(b"garbage" * 2000)

        @cachier.cachier(cache_dir=cache_dir, name="f")
        def f(x):
            recorded.append(x)
            return x

        return f

    def test_one_warning(self, damaged, recorded):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert [damaged(1), damaged(1), damaged(2)] == [1, 1, 2]
        assert recorded == [1, 2]
        assert [w.category for w in caught] == [cachier.CachierWarning]
        assert "set aside" in str(caught[0].message)
        assert caught[0].filename == __file__

    def test_as_an_error_it_does_not_reach_the_caller(self, damaged, caplog):
        with warnings.catch_warnings(), caplog.at_level("WARNING", logger="cachier"):
            warnings.simplefilter("error")
            assert damaged(1) == 1
        assert "set aside" in caplog.text

    def test_whoever_only_stores_is_told_too(self, damaged):
        with pytest.warns(cachier.CachierWarning, match="set aside"):
            damaged.precache_value(1, value_to_cache=5)

    def test_whoever_only_clears_is_told_too(self, damaged):
        with pytest.warns(cachier.CachierWarning, match="set aside"):
            damaged.clear_cache()

    def test_a_child_does_not_repeat_it(self, damaged):
        pid = []

        @cachier.cachier(cache_dir=damaged.cache_dpath(), name="forks")
        def forks():
            pid.append(os.fork())
            return 1

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            forks()
            if pid[0] == 0:
                os._exit(1 if caught else 0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid[0], 0)[1]) == 0
        # From 3.12 on, Python has something to say of forks beside threads.
        said = [one for one in caught if one.category is cachier.CachierWarning]
        assert len(said) == 1


def test_a_value_that_cannot_be_read_is_a_miss(cache_dir, recorded):
    class Changes:
        broken = False

        def __reduce__(self):
            return _unpickle, ()

    global _unpickle_raises
    _unpickle_raises = False

    @cachier.cachier(cache_dir=cache_dir)
    def f():
        recorded.append(1)
        return Changes()

    f()
    assert f() == "unpickled"
    assert recorded.count == 1
    _unpickle_raises = True
    with pytest.warns(cachier.CachierWarning, match="cannot read a stored result"):
        assert isinstance(f(), Changes)
    assert recorded.count == 2
    assert f._counters["unreadable"] == 1
    _unpickle_raises = False
    assert f() == "unpickled"
    assert recorded.count == 2


_unpickle_raises = False


def _unpickle():
    if _unpickle_raises:
        raise ImportError("gone")
    return "unpickled"


def test_ctrl_c_while_unpickling_is_the_callers(cache_dir, recorded):
    global _interrupt

    @cachier.cachier(cache_dir=cache_dir)
    def f():
        recorded.append(1)
        return _Interrupts()

    _interrupt = False
    f()
    _interrupt = True
    with pytest.raises(KeyboardInterrupt):
        f()
    _interrupt = False
    assert f() == "fine"
    assert recorded.count == 1


def test_ctrl_c_while_measuring_is_the_callers():
    @cachier.cachier(backend="memory", entry_size_limit=1000)
    def f():
        return _InterruptsMeasuring()

    with pytest.raises(KeyboardInterrupt):
        f()
    with pytest.raises(KeyboardInterrupt):
        f.precache_value(value_to_cache=_InterruptsMeasuring())


class _InterruptsMeasuring:
    def __reduce__(self):
        raise KeyboardInterrupt


_interrupt = False


class _Interrupts:
    def __reduce__(self):
        return _maybe_interrupt, ()


def _maybe_interrupt():
    if _interrupt:
        raise KeyboardInterrupt
    return "fine"


class TestOutages:
    """A store that stops working while it is in use."""

    @pytest.fixture
    def broken(self, tmp_path, recorded):
        """Give a function whose store cannot be opened any more."""
        directory = tmp_path / "cache"

        @cachier.cachier(cache_dir=directory)
        def f(x=0):
            recorded.append(x)
            return x

        assert not os.path.exists(directory) or os.path.isdir(directory)
        if directory.exists():
            directory.rmdir()
        directory.write_text("in the way")
        return f

    def test_the_call_gets_its_result_and_one_warning(self, broken, recorded):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert [broken(1), broken(1), broken(2)] == [1, 1, 2]
        assert recorded == [1, 1, 2]
        mine = [w for w in caught if issubclass(w.category, cachier.CachierWarning)]
        assert len(mine) == 1
        assert "said once" in str(mine[0].message)
        assert broken._counters["store_errors"] >= 3

    def test_a_warning_as_an_error_does_not_reach_the_caller(self, broken, caplog):
        with warnings.catch_warnings(), caplog.at_level("WARNING", logger="cachier"):
            warnings.simplefilter("error")
            assert broken(1) == 1
        assert caplog.records

    def test_precached_values_are_given_back(self, broken):
        with pytest.warns(cachier.CachierWarning):
            assert broken.precache_value(1, value_to_cache=5) == 5

    def test_clearing_says_so(self, broken):
        with pytest.raises(OSError, match="cache"):
            broken.clear_cache()

    def test_exceptions_of_the_function_are_its_own(self, tmp_path):
        directory = tmp_path / "cache"

        @cachier.cachier(cache_dir=directory)
        def f():
            raise LookupError("its own")

        if directory.exists():
            directory.rmdir()
        directory.write_text("in the way")
        with pytest.raises(LookupError), pytest.warns(cachier.CachierWarning):
            f()

    def test_raise_on_request(self, tmp_path):
        directory = tmp_path / "cache"

        @cachier.cachier(cache_dir=directory, on_backend_error="raise")
        def f():
            return 1

        if directory.exists():
            directory.rmdir()
        directory.write_text("in the way")
        with pytest.raises(OSError, match="fix:"):
            f()


def test_reports_never_raise():
    _report.unreadable("f", ValueError("x"))
    _report.failed_refresh("f", ValueError("x"))
    _report.long_wait("f", 0)
    _report.long_wait("f", 5)


@pytest.mark.skipif(
    "asan" in os.environ.get("LD_PRELOAD", ""), reason="it needs all addresses"
)
@pytest.mark.parametrize(
    ("call", "left"),
    [
        ("C().f(*many)", 200_000_000),
        # The interpreter itself copies the arguments once.
        ("C().f.precache_value(*many, value_to_cache=1)", 300_000_000),
        ("C.f.precache_value(*many, value_to_cache=1)", 300_000_000),
        ("_core.function_id('', 'x' * 200_000_000, '', None, '')", 300_000_000),
    ],
)
def test_too_little_memory_is_a_memory_error(run_python, call, left):
    source = f"""
        import resource, cachier
        from cachier import _core
        class C:
            @cachier.cachier(
                backend="memory", name="f", allow_non_static_methods=True
            )
            def f(self, *all):
                return 1
        C.f
        many = (None,) * 30_000_000
        pages = int(open("/proc/self/statm").read().split()[0])
        limit = pages * resource.getpagesize() + {left}
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        try:
            {call}
        except MemoryError:
            print("told")
    """
    assert run_python(source).stdout == "told\n"


def test_the_module_refuses_nonsense():
    with pytest.raises(TypeError):
        _core.open_store()
    with pytest.raises(ValueError, match="nonsense"):
        _core.open_store("nonsense", "")
    with pytest.raises(TypeError):
        _core.CachedFunction()
    with pytest.raises(TypeError):
        _core.Store()
    with pytest.raises(TypeError):
        _core.read_timedelta(5, "name")


def test_a_damaged_database_that_is_set_aside_is_told(cache_dir, run_python):
    source = """
        import sys, cachier
        @cachier.cachier(cache_dir=sys.argv[1], name="f")
        def f(x):
            return x
        print(f(1), f(1))
    """
    assert run_python(source, cache_dir).stderr == ""
    database = Path(cache_dir, "v1", "c1.db")
    for beside in ("-wal", "-shm"):
        database.with_name(database.name + beside).unlink(missing_ok=True)
    database.write_bytes(b"garbage " * 1000)
    said = run_python(source, cache_dir)
    assert said.stdout == "1 1\n"
    assert said.stderr.count("CachierWarning") == 1
    assert str(database) in said.stderr
    assert "set aside" in said.stderr
    assert run_python(source, cache_dir).stderr == ""
    # Warnings that are errors are not the caller's.
    database.with_name("c2.db").write_bytes(b"garbage " * 1000)
    assert run_python(source, cache_dir, flags=["-Werror"]).stdout == "1 1\n"


@pytest.mark.skipif(
    "asan" in os.environ.get("LD_PRELOAD", ""),
    reason="UBSan itself needs descriptors to look at types",
)
def test_a_process_without_file_descriptors_is_told(cache_dir, run_python):
    source = """
        import os, resource, sys, cachier
        @cachier.cachier(cache_dir=sys.argv[1])
        def f(x):
            return x
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limit[1]))
        print(f(1), f(1), f(2))
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
        runs = []
        g = cachier.cachier(cache_dir=sys.argv[1])(lambda: runs.append(1) or 7)
        print(g(), g(), len(runs))
    """
    done = run_python(source, cache_dir)
    assert done.stdout == "1 1 2\n7 7 1\n"
    assert done.stderr.count("CachierWarning") == 1
    assert "Too many open files" in done.stderr
