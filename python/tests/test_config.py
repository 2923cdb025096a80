"""Global parameters, options of the decorator, and how wrong ones are refused."""

import dataclasses
import datetime
import inspect
import pathlib
import pickle

import pytest

import cachier
from cachier import config, core, metrics, util
from cachier.cores import base, mongo, redis, s3

FIELDS = [
    "caching_enabled",
    "hash_func",
    "backend",
    "mongetter",
    "stale_after",
    "next_time",
    "cache_dir",
    "pickle_reload",
    "separate_files",
    "wait_for_calc_timeout",
    "allow_none",
    "cleanup_stale",
    "cleanup_interval",
    "entry_size_limit",
    "allow_non_static_methods",
    "signing_key",  # ours, and
    "operation_timeout",
]


def test_params_are_a_plain_dataclass():
    params = cachier.get_global_params()
    assert isinstance(params, config.Params)
    assert dataclasses.is_dataclass(params)
    assert [field.name for field in dataclasses.fields(params)] == FIELDS
    assert list(vars(params)) == FIELDS
    assert dataclasses.replace(params, next_time=True).next_time
    assert params.next_time is False
    assert cachier.get_global_params() is params
    assert params == pickle.loads(pickle.dumps(params))


def test_everything_can_be_imported_from_where_it_was():
    assert config.get_global_params is cachier.get_global_params
    assert config.set_global_params is cachier.set_global_params
    assert config.enable_caching is cachier.enable_caching
    assert config.disable_caching is cachier.disable_caching
    assert core.cachier is cachier.cachier
    assert core.MAX_WORKERS_ENVAR_NAME == "CACHIER_MAX_WORKERS"
    assert core.DEFAULT_MAX_WORKERS == 8
    assert util.parse_bytes is cachier.parse_bytes
    assert metrics.CacheMetrics is cachier.CacheMetrics
    assert metrics.MetricSnapshot is cachier.MetricSnapshot
    assert issubclass(mongo.MissingMongetter, ValueError)
    assert issubclass(redis.MissingRedisClient, ValueError)
    assert issubclass(s3.MissingS3Bucket, ValueError)
    assert issubclass(base.RecalculationNeeded, Exception)
    entry = config.CacheEntry(
        value=1, time=datetime.datetime.now(), stale=False, _processing=False
    )
    assert entry.value == 1
    with pytest.raises(AttributeError):
        _ = cachier.unknown
    with pytest.raises(AttributeError):
        _ = config.unknown


def test_setting_everything_to_what_it_is_loses_nothing(monkeypatch, tmp_path):
    cachier.set_global_params(**vars(cachier.get_global_params()))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    f = cachier.cachier()(lambda: 1)
    assert f.cache_dpath() == str(tmp_path / "elsewhere" / "cachier")


def test_unknown_names_are_ignored_and_nothing_is_checked():
    cachier.set_global_params(unknown=1, backend="no such thing")
    assert not hasattr(cachier.get_global_params(), "unknown")
    with pytest.raises(ValueError, match="specified an invalid core: no such thing"):
        cachier.cachier()


def test_assignment_takes_effect_at_the_next_call(make, recorded):
    @make()
    def f():
        recorded.append(1)
        return recorded.count

    assert [f(), f()] == [1, 1]
    cachier.get_global_params().stale_after = datetime.timedelta(0)
    assert [f(), f()] == [2, 3]
    cachier.set_global_params(stale_after=datetime.timedelta(days=1))
    assert f() == 3
    cachier.get_global_params().caching_enabled = False
    assert f() == 4


def test_what_the_decorator_says_beats_the_program(make, recorded):
    @make(stale_after=datetime.timedelta(days=1), allow_none=False)
    def f():
        recorded.append(1)
        return recorded.count

    cachier.set_global_params(stale_after=datetime.timedelta(0))
    assert [f(), f()] == [1, 1]


@pytest.mark.parametrize("name", ["get_default_params", "set_default_params"])
def test_old_names(name):
    with pytest.warns(DeprecationWarning, match=name.replace("default", "global")):
        getattr(cachier, name)()


def test_cache_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for given, expected in [
        (str(tmp_path / "a"), tmp_path / "a"),
        (tmp_path / "b", tmp_path / "b"),
        ("~/c", tmp_path / "c"),
        (pathlib.Path("~/d"), tmp_path / "d"),
    ]:
        f = cachier.cachier(cache_dir=given)(lambda: 1)
        assert f.cache_dpath() == str(expected)
        assert not expected.exists() or expected.is_dir()
        f()
        assert expected.is_dir()


def test_an_existing_wrapper_keeps_its_directory(tmp_path):
    cachier.set_global_params(cache_dir=tmp_path / "one")
    f = cachier.cachier()(lambda: 1)
    cachier.set_global_params(cache_dir=tmp_path / "two")
    f()
    assert f.cache_dpath() == str(tmp_path / "one")
    assert not (tmp_path / "two").exists()


@pytest.mark.parametrize("unset", [None, ""])
def test_the_default_directory(monkeypatch, tmp_path, unset):
    monkeypatch.setenv("HOME", str(tmp_path))
    if unset is None:
        monkeypatch.delenv("XDG_CACHE_HOME")
    else:
        monkeypatch.setenv("XDG_CACHE_HOME", unset)
    assert cachier.cachier()(lambda: 1).cache_dpath() == str(tmp_path / ".cachier")
    lazy = config.LazyCacheDir()
    assert str(lazy) == str(tmp_path / ".cachier")
    assert lazy == str(lazy)
    assert pathlib.Path(lazy) == tmp_path / ".cachier"


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"backend": "nonsense"}, ValueError, "specified an invalid core: nonsense"),
        ({"backend": 5}, TypeError, "backend must be a str"),
        ({"backend": "mongo"}, mongo.MissingMongetter, "needs a mongetter"),
        (
            {"backend": "mongo", "mongetter": False},
            mongo.MissingMongetter,
            "needs a mongetter",
        ),
        ({"backend": "sql"}, ValueError, "needs a sql_engine"),
        ({"backend": "sql", "sql_engine": 5}, ValueError, "sql_engine must be"),
        ({"backend": "sql", "sql_engine": "no url"}, ValueError, "no URL"),
        ({"backend": "redis"}, redis.MissingRedisClient, "needs a redis_client"),
        ({"backend": "redis", "redis_client": object()}, ValueError, "must be a redis"),
        ({"backend": "s3"}, s3.MissingS3Bucket, "needs an s3_bucket"),
        ({"backend": "s3", "s3_bucket": ""}, s3.MissingS3Bucket, "needs an s3_bucket"),
        ({"backend": "s3", "s3_bucket": 5}, ValueError, "s3_bucket must be a str"),
        ({"backend": "redis://host"}, ValueError, "redis"),
        ({"backend": "nobody://host"}, ValueError, "nobody"),
        ({"entry_size_limit": "huge"}, ValueError, "entry_size_limit: Invalid size"),
        ({"entry_size_limit": True}, ValueError, "entry_size_limit must be 0 or more"),
        ({"entry_size_limit": -1}, ValueError, "entry_size_limit must be 0 or more"),
        ({"wait_for_calc_timeout": -1}, ValueError, "wait_for_calc_timeout"),
        ({"wait_for_calc_timeout": float("nan")}, ValueError, "wait_for_calc_timeout"),
        ({"wait_for_calc_timeout": "5"}, TypeError, "wait_for_calc_timeout"),
        ({"operation_timeout": 0}, ValueError, "operation_timeout must be above 0"),
        ({"operation_timeout": float("nan")}, ValueError, "operation_timeout must be"),
        ({"operation_timeout": 3601}, ValueError, "operation_timeout must be above 0"),
        ({"operation_timeout": "5"}, TypeError, "operation_timeout must be a number"),
        ({"operation_timeout": True}, TypeError, "operation_timeout must be a number"),
        ({"stale_after": 5}, TypeError, "stale_after must be a datetime.timedelta"),
        ({"cleanup_interval": 5}, TypeError, "cleanup_interval must be"),
        ({"cache_dir": 5}, TypeError, "cache_dir must be the path"),
        ({"cache_dir": ""}, ValueError, "cache_dir must be the path"),
        ({"cache_dir": "a\0b"}, ValueError, "cache_dir must be the path"),
        ({"cache_dir": "a\ud800"}, ValueError, "cache_dir must be the path"),
        ({"key_prefix": 5}, TypeError, "key_prefix must be a str"),
        ({"name": 5}, TypeError, "name must be a str"),
        ({"name": ""}, ValueError, "name must not be empty"),
        ({"version": 2}, TypeError, "version must be a str"),
        ({"key_prefix": "\ud800"}, ValueError, r"'\ud800'"),
        ({"name": "\ud800"}, ValueError, "name must be a text that UTF-8 can"),
        ({"version": "\udcff"}, ValueError, "version must be a text that UTF-8 can"),
        ({"signing_key": "\ud800" * 16}, ValueError, "each signing_key must be"),
        ({"hash_func": 5}, TypeError, "hash_func must be callable"),
        ({"on_backend_error": "ignore"}, ValueError, "on_backend_error must be"),
        (
            {"enable_metrics": True, "metrics_sampling_rate": 2},
            ValueError,
            "sampling_rate must be between",
        ),
        (
            {"enable_metrics": True, "metrics_sampling_rate": "all"},
            TypeError,
            "metrics_sampling_rate must be a number",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_wrong_options_are_refused_at_once(options, error, words):
    with pytest.raises(error) as caught:
        cachier.cachier(**options)
    assert words in str(caught.value)
    if "://" not in str(options):
        assert "fix:" in str(caught.value)


def test_a_callable_mongetter_selects_its_backend(cache_dir):
    cachier.set_global_params(mongetter=lambda: None)
    for options in ({}, {"backend": "memory"}, {"mongetter": None}):
        f = cachier.cachier(cache_dir=cache_dir, **options)(lambda: 1)
        with pytest.raises(TypeError, match="the mongetter gave no collection"):
            f()
    assert cachier.cachier(cache_dir=cache_dir, mongetter=False)(lambda: 1)() == 1


@pytest.mark.parametrize(
    ("backend", "options"),
    [
        ("sql", {"sql_engine": "sqlite://"}),
        ("redis", {"redis_client": lambda: None, "sql_engine": "sqlite://"}),
    ],
)
def test_a_global_backend_on_a_server_finds_its_own_client(backend, options):
    cachier.set_global_params(backend=backend)
    cachier.cachier(**options)(lambda x: x)

    async def coroutine(x):
        return x

    option = next(iter(options))
    with pytest.raises(TypeError, match=f"is a coroutine function, and {option} is"):
        cachier.cachier(**options)(coroutine)


@pytest.mark.parametrize("bound", [{"max_entries": 2}, {"max_bytes": "1MB"}])
@pytest.mark.parametrize(
    "options",
    [
        {"backend": "sql", "sql_engine": "sqlite://"},
        {"backend": "redis", "redis_client": lambda: None},
    ],
    ids=lambda options: options["backend"],
)
def test_bounds_that_a_server_does_not_keep_are_refused(options, bound):
    name = next(iter(bound))
    with pytest.raises(ValueError, match=f"{name} is not kept by backend") as caught:
        cachier.cachier(**options, **bound)
    assert "fix:" in str(caught.value)


def test_unknown_options_are_pythons_business():
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        cachier.cachier(stale_afterr=1)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (None, None),
        (0, 0),
        (17, 17),
        ("17", 17),
        ("1B", 1),
        ("1 KB", 1024),
        ("1.5kb", 1536),
        (" 10MB ", 10 << 20),
        ("2gb", 2 << 30),
        ("1TB", 1 << 40),
        ("0.5", 0),
    ],
)
def test_parse_bytes(text, size):
    assert cachier.parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "MB", "1XB", "1e5", "nan", "-1", "1 2", 1.5, []])
def test_parse_bytes_refuses(text):
    with pytest.raises(ValueError, match="Invalid size value"):
        cachier.parse_bytes(text)


def test_none_is_not_given(cache_dir):
    f = cachier.cachier(
        hash_func=None,
        hash_params=None,
        backend=None,
        mongetter=None,
        stale_after=None,
        next_time=None,
        cache_dir=cache_dir,
        pickle_reload=None,
        separate_files=None,
        wait_for_calc_timeout=None,
        allow_none=None,
        cleanup_stale=None,
        cleanup_interval=None,
        entry_size_limit=None,
        allow_non_static_methods=None,
        key_prefix=None,
        name=None,
        version=None,
    )(lambda: 1)
    assert f() == f() == 1


@pytest.mark.pickle
@pytest.mark.parametrize("globally", [False, True])
def test_separate_files_are_one_an_entry(cache_dir, globally):
    runs = []

    def f(x):
        runs.append(x)
        return {"x": x}

    if globally:
        cachier.set_global_params(separate_files=True)
        f = cachier.cachier(cache_dir=cache_dir, name="f")(f)
    else:
        f = cachier.cachier(cache_dir=cache_dir, separate_files=True, name="f")(f)
    assert f(1) == f(1) == {"x": 1}
    assert f(2) == {"x": 2}
    assert runs == [1, 2]
    entries = list(pathlib.Path(cache_dir).glob("v1-files/f/*/e/*"))
    assert len(entries) == 2
    assert not (pathlib.Path(cache_dir) / "v1").exists()
    f.clear_cache()
    assert f(1) == {"x": 1}
    assert runs == [1, 2, 1]


@pytest.mark.pickle
def test_separate_files_are_shared_by_processes(cache_dir, run_python):
    source = f"""
        import cachier

        @cachier.cachier(cache_dir={cache_dir!r}, separate_files=True, name="f")
        def f(x):
            print("ran")
            return x + 1

        print(f(1))
    """
    assert run_python(source).stdout.split() == ["ran", "2"]
    assert run_python(source).stdout.split() == ["2"]


def test_version():
    assert cachier.__version__.startswith("5.0.0")


def test_every_option_is_taken(monkeypatch):
    options = list(inspect.signature(cachier.cachier).parameters)
    given = {option: object() for option in options}
    monkeypatch.setattr(core, "Decorator", lambda taken: taken)
    assert core.cachier(**given) == given
    assert core.cachier() == {}
    assert core.cachier(**dict.fromkeys(options)) == {}


def test_wrong_global_values_are_told_when_decorating(cache_dir):
    for _ in range(2):
        cachier.set_global_params(stale_after="long")
        with pytest.raises(TypeError, match="stale_after"):
            cachier.cachier(cache_dir=cache_dir)
        # What is given counts instead.
        cachier.cachier(cache_dir=cache_dir, stale_after=datetime.timedelta(1))
        with pytest.raises(TypeError, match="stale_after"):
            cachier.cachier(cache_dir=cache_dir, next_time=True)
        cachier.set_global_params(stale_after=datetime.timedelta.max)
        cachier.cachier(cache_dir=cache_dir)
