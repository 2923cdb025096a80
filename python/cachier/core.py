"""The decorator."""

from __future__ import annotations

import datetime
import os
import types
from _weakref import ref

from . import _core, _names, config
from .util import parse_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Literal, ParamSpec, TypeVar

    from .metrics import CacheMetrics

    P = ParamSpec("P")
    R = TypeVar("R")

    HashFunc = Callable[[tuple[Any, ...], dict[str, Any]], Any]

__all__ = ["DEFAULT_MAX_WORKERS", "MAX_WORKERS_ENVAR_NAME", "cachier"]

MAX_WORKERS_ENVAR_NAME = "CACHIER_MAX_WORKERS"
DEFAULT_MAX_WORKERS = 8

_LOCAL = ("pickle", "local")
_SERVERS = ("mongo", "sql", "redis", "s3")
_NAMES = ("pickle", "memory", *_SERVERS)
#: Options that `_extras` is for.
_EXTRAS = frozenset(
    {
        "ignore",
        "cache_exceptions",
        "copy",
        "on_code_change",
        "signing_key",
        "codec",
    }
)

_CO_GENERATOR = 0x20
_CO_COROUTINE = 0x80
_CO_ITERABLE_COROUTINE = 0x100
_CO_ASYNC_GENERATOR = 0x200
_CO_VARARGS = 0x04
_CO_VARKEYWORDS = 0x08


def cachier(
    hash_func: HashFunc | None = None,
    hash_params: HashFunc | None = None,
    backend: str | None = None,
    mongetter: Callable[[], Any] | Literal[False] | None = None,
    *,
    sql_engine: Any = None,
    redis_client: Any = None,
    s3_bucket: str | None = None,
    s3_prefix: str = "cachier",
    s3_client: Any = None,
    s3_client_factory: Callable[[], Any] | None = None,
    s3_region: str | None = None,
    s3_endpoint_url: str | None = None,
    s3_config: Any = None,
    key_prefix: str | None = None,
    stale_after: datetime.timedelta | None = None,
    next_time: bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    pickle_reload: bool | None = None,
    separate_files: bool | None = None,
    wait_for_calc_timeout: float | None = None,
    allow_none: bool | None = None,
    cleanup_stale: bool | None = None,
    cleanup_interval: datetime.timedelta | None = None,
    entry_size_limit: int | str | None = None,
    allow_non_static_methods: bool | None = None,
    enable_metrics: bool = False,
    metrics_sampling_rate: float = 1.0,
    name: str | None = None,
    version: str | None = None,
    on_backend_error: Literal["raise", "compute"] | None = None,
    mmap: bool | None = None,
    max_entries: int | None = None,
    max_bytes: int | str | None = None,
    ignore: Sequence[str] | None = None,
    cache_exceptions: (
        bool | type[Exception] | tuple[type[Exception], ...] | None
    ) = None,
    copy: bool | None = None,
    on_code_change: Literal["ignore", "warn", "recompute"] | None = None,
    signing_key: bytes | str | Sequence[bytes | str] | None = None,
    codec: Literal["auto", "safe"] | None = None,
    operation_timeout: float | datetime.timedelta | None = None,
) -> Decorator:
    """Cache the results of a function.

    All arguments are optional. None stands for the global value
    (``set_global_params``).

    Parameters
    ----------
    hash_func : callable
        Called as ``hash_func((), kwds)``, with every argument by name and sorted; what
        it returns is the key of the call.
    hash_params : callable
        Old name of ``hash_func``.
    backend : str
        ``"pickle"`` (this machine's disk, shared by its processes; the default),
        ``"memory"`` (this process, the very objects), ``"redis"`` (a server, through
        ``redis_client``), ``"sql"`` (a database, through ``sql_engine``), ``"mongo"``
        (a collection, through ``mongetter``) or ``"s3"`` (a bucket, ``s3_bucket``).
    mongetter : callable
        Gives a PyMongo collection; for coroutine functions an async callable that gives
        an async one. Called with the first call. Selects backend ``"mongo"``.
    sql_engine : sqlalchemy.Engine, str or callable
        For backend ``"sql"``: an engine, a URL, or a callable that returns one of them,
        called once. Coroutine functions need an async engine, or a URL.
    redis_client : redis.Redis, str or callable
        For backend ``"redis"``: a client, the URL of a server, or a callable that
        returns a client, called for every operation. Coroutine functions need an async
        client.
    s3_bucket, s3_prefix : str
        For backend ``"s3"``: a bucket that is there, and what the keys in it begin
        with. Functions of both kinds use it.
    s3_client, s3_client_factory : Any
        A boto3 client, or a callable that gives one, called for every operation, which
        wins. Without them boto3 is asked for one, with the options below.
    s3_region, s3_endpoint_url : str
        As boto3 takes them; None: what it finds by itself.
    s3_config : botocore.config.Config
        Wins over what cachier asks for.
    key_prefix : str
        Namespace of the stored keys, ``"cachier"`` unless set.
    stale_after : datetime.timedelta
        Age after which a result is stale.
    next_time : bool
        Hand out what is stale, recompute in the background, be fresh the next time.
    cache_dir : str or os.PathLike
        Where the local store lives; ``~`` is expanded.
    pickle_reload : bool
        False: this process may answer from its own memory without looking at the store
        again, and hands out the same object each time. It does not see what others
        clear or store.
    separate_files : bool
        Local store: one file an entry instead of a database, as on network file systems
        anyway.
    wait_for_calc_timeout : float
        Longest wait, in seconds, for somebody else's computation; 0: no limit.
    allow_none : bool
        Whether a stored None is an answer.
    cleanup_stale : bool
        Remove stale entries in the background.
    cleanup_interval : datetime.timedelta
        How often, at most.
    entry_size_limit : int or str
        Larger results are returned and not stored: bytes, or a text like ``"10MB"``.
    allow_non_static_methods : bool
        Allow functions whose first parameter is ``self``; all instances share.
    enable_metrics : bool
        Count what happens to the calls.
    metrics_sampling_rate : float
        The part of the calls that is counted.
    name : str
        Name of the function in the store, instead of module, name and parameters.
    version : str
        Salts the function's id: bump it when results are to be computed anew.
    on_backend_error : {"raise", "compute"}
        What a call does when its store fails; None: compute where it will pass, raise
        where it will not.
    mmap : bool
        Whether arrays and other buffers of results over 1 MiB are handed out mapped: at
        once, the caller's own to write to, copied page by page when he does. Whoever
        shortens files of the cache meanwhile takes such an array from under its user
        (SIGBUS). False: copied. None: true.
    max_entries : int
        How many results of this function are kept: what is beyond is evicted, least
        used first. On disk that is done in the background, and heeded by the processes
        that are told so. On servers there are no bounds.
    max_bytes : int or str
        The same for their bytes, or a text like ``"10MB"``. A result counts for its
        stored bytes and 256.
    ignore : sequence of str
        Parameters that are not part of the key: results do not depend on them. Also
        names of ``*args``, ``**kwargs`` and extra keywords.
    cache_exceptions : bool, type or tuple of types
        Exceptions that are stored as results are, and raised again; True: all that are
        an ``Exception``. None takes the place of a result in the background.
    copy : bool
        Backend ``"memory"``: store a deep copy of each result, and hand out copies.
    on_code_change : {"ignore", "warn", "recompute"}
        What happens to results that the function computed before its code changed:
        they are handed out (None), with one warning, or computed anew. Comments,
        layout, docstrings and decorators are no code, and what the function calls is
        not looked at. Heeded for results that were stored with this option.
    signing_key : bytes, str or sequence of them
        Entries are signed (HMAC-SHA256), and what nobody with a key has signed is
        computed anew without being looked into: for stores that others can write to.
        16 bytes or more, known to your programs only. Of several, the first signs and
        all are taken, so that keys can be changed.
    codec : {"auto", "safe"}
        ``"safe"``: results are never pickled nor unpickled, so that a stored one cannot
        run code; those that are no plain data are not stored, and that is raised where
        it is for what does not pickle. None: pickled where plain data does not do.
    operation_timeout : float or datetime.timedelta
        Longest time, in seconds, that one operation on the store may take; a call goes
        on without the store after it. Listing and clearing may take five times as long.
        None: 1 s where the store is a server, else 5 s.

    Returns
    -------
    Decorator
        To be applied to functions. Applied to the same function again it shares.

    """
    # All of them, in order: `locals()` takes three times as long.
    values = (
        hash_func,
        hash_params,
        backend,
        mongetter,
        sql_engine,
        redis_client,
        s3_bucket,
        s3_prefix,
        s3_client,
        s3_client_factory,
        s3_region,
        s3_endpoint_url,
        s3_config,
        key_prefix,
        stale_after,
        next_time,
        cache_dir,
        pickle_reload,
        separate_files,
        wait_for_calc_timeout,
        allow_none,
        cleanup_stale,
        cleanup_interval,
        entry_size_limit,
        allow_non_static_methods,
        enable_metrics,
        metrics_sampling_rate,
        name,
        version,
        on_backend_error,
        mmap,
        max_entries,
        max_bytes,
        ignore,
        cache_exceptions,
        copy,
        on_code_change,
        signing_key,
        codec,
        operation_timeout,
    )
    return Decorator(_core.given_options(_OPTIONS, values, _SIGNATURE_DEFAULTS))


#: The names of the options, in order.
_OPTIONS = cachier.__code__.co_varnames[: cachier.__code__.co_varnames.index("values")]

#: Options with real defaults.
_SIGNATURE_DEFAULTS = {
    "s3_prefix": "cachier",
    "enable_metrics": False,
    "metrics_sampling_rate": 1.0,
}


class Options:
    """What a function was decorated with, and what follows from it."""

    __slots__ = ("cache_dpath", "given", "is_remote")

    def __init__(
        self, given: dict[str, Any], cache_dpath: str | None, is_remote: bool
    ) -> None:
        self.given = given
        self.cache_dpath = cache_dpath
        self.is_remote = is_remote

    def resolve(
        self,
    ) -> tuple[int | None, bool, int | None, bool, bool, bool, int, int]:
        """Merge with the global parameters, for the engine; times in nanoseconds."""
        given, values = self.given.get, config.values()
        stale_after = _core.read_timedelta(
            given("stale_after", values["stale_after"]), "stale_after"
        )
        interval = _core.read_timedelta(
            given("cleanup_interval", values["cleanup_interval"]), "cleanup_interval"
        )
        return (
            stale_after,
            bool(given("next_time", values["next_time"])),
            _wait_limit(
                given("wait_for_calc_timeout", values["wait_for_calc_timeout"])
            ),
            bool(given("allow_none", values["allow_none"])),
            config.is_caching_on(),
            bool(given("cleanup_stale", values["cleanup_stale"])),
            2**63 - 1 if interval is None else interval,
            _operation_timeout(
                given("operation_timeout", values["operation_timeout"]), self.is_remote
            ),
        )


#: What `Options.resolve` merges.
_MERGED = frozenset(
    {
        "allow_none",
        "cleanup_interval",
        "cleanup_stale",
        "next_time",
        "operation_timeout",
        "stale_after",
        "wait_for_calc_timeout",
    }
)

_TIMES = ("stale_after", "cleanup_interval")

#: Seconds.
_LONGEST_OPERATION = 3600

#: `config.changes` when the global ones of these were last seen to be right.
_right_at = -1


def _check_merged(options: Options) -> None:
    """Raise what is wrong with options that are read at every call."""
    global _right_at
    given = options.given
    if _right_at != config.changes:
        changes = config.changes
        options.resolve()
        if _MERGED.isdisjoint(given):
            _right_at = changes
        return
    for option in _MERGED.intersection(given):
        value = given[option]
        if option in _TIMES:
            _core.read_timedelta(value, option)
        elif option == "wait_for_calc_timeout":
            _wait_limit(value)
        elif option == "operation_timeout":
            _operation_timeout(value, options.is_remote)
        else:
            bool(value)


def _wait_limit(seconds: Any) -> int | None:
    if isinstance(seconds, datetime.timedelta):
        seconds = seconds.total_seconds()
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(
            f"wait_for_calc_timeout must be a number of seconds, not {seconds!r}\n"
            "  fix: give for instance 2.5, or 0 for no limit"
        )
    if not seconds >= 0:
        raise ValueError(
            f"wait_for_calc_timeout must be 0 or more, not {seconds!r}\n"
            "  fix: give a number of seconds, or 0 for no limit"
        )
    if seconds == 0 or seconds > 1e9:
        return None
    return max(1, int(seconds * 1e9))


def _operation_timeout(seconds: Any, is_remote: bool) -> int:
    if seconds is None:
        return 1_000_000_000 if is_remote else 5_000_000_000
    if isinstance(seconds, datetime.timedelta):
        seconds = seconds.total_seconds()
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(
            f"operation_timeout must be a number of seconds, not {seconds!r}\n"
            "  fix: give for instance 2.5"
        )
    if not 0 < seconds <= _LONGEST_OPERATION:
        raise ValueError(
            f"operation_timeout must be above 0 and at most {_LONGEST_OPERATION} "
            f"seconds, not {seconds!r}\n"
            "  fix: give a number of seconds, for instance 2.5"
        )
    return max(1_000_000, int(seconds * 1e9))


_NO_NAMING: tuple[str, str | None, str | None] = ("cachier", None, None)
_NO_BOUNDS: tuple[int | None, int | None] = (None, None)

#: What follows where no option is given: `config.changes` at that time, the function
#: that makes keys, the backend, whether `_extras` is needed, the size limit.
_defaults: tuple[int, HashFunc | None, str, bool, int | None] = (-1, None, "", False, 0)


class Decorator:
    """What ``cachier(...)`` gives: puts one cache on functions.

    Problems with the options are raised here, not at a call.
    """

    __slots__ = (
        "_backend",
        "_bounds",
        "_extras",
        "_first",
        "_given",
        "_hash_func",
        "_naming",
        "_next_serial",
        "_options",
        "_serials",
        "_size_limit",
        "_store",
    )

    def __init__(self, given: dict[str, Any]) -> None:
        global _defaults
        self._given = given
        values = config.values()
        if not given and _defaults[0] == config.changes:
            _, self._hash_func, backend, self._extras, self._size_limit = _defaults
            self._naming, self._bounds = _NO_NAMING, _NO_BOUNDS
        else:
            changes = config.changes
            self._hash_func = _hash_func_of(given, values)
            backend = _backend_of(given, values)
            _check(given)
            signs = values["signing_key"] is not None
            self._extras = signs or not _EXTRAS.isdisjoint(given)
            if self._extras:
                from . import _extras

                _extras.check(given)
            self._size_limit = _bytes(
                "entry_size_limit",
                given.get("entry_size_limit", values["entry_size_limit"]),
            )
            self._naming = (
                given.get("key_prefix", "cachier"),
                given.get("name"),
                given.get("version"),
            )
            self._bounds = _bounds(given)
            if not given:
                _defaults = (
                    *(changes, self._hash_func, backend),
                    *(self._extras, self._size_limit),
                )
        directory: str | None = None
        if backend in _LOCAL:
            directory = _directory(given.get("cache_dir", values["cache_dir"]))
        self._backend = backend
        self._options = Options(given, directory, backend in _SERVERS)
        _check_merged(self._options)
        if backend in _SERVERS:
            from . import _servers

            self._store: _core.Store | _servers.Server = _servers.Server(backend, given)
        else:
            self._store = _core.open_store(
                backend,
                directory or "",
                bool(given.get("separate_files", values["separate_files"])),
            )
        self._first: Any = None
        self._serials: Any = None
        self._next_serial = 0

    def __call__(self, function: Callable[P, R]) -> _core.CachedFunction[P, R]:
        """Put the cache on a function.

        Parameters
        ----------
        function : callable
            A function, method or other callable; ``functools.partial`` shares the cache
            of its function.

        Returns
        -------
        CachedFunction
            To be called in its place.

        Raises
        ------
        TypeError
            If it cannot be cached: not callable, a generator, or a method without
            ``allow_non_static_methods=True``.

        """
        return self._decorate(function)

    def _decorate(
        self, function: Callable[P, R], function_id: str | None = None
    ) -> _core.CachedFunction[P, R]:
        given = self._given
        plain_id = None
        if function_id is None and not self._extras:
            plain_id = _core.plain_function_id(function, *self._naming)
        target: Any = function
        parameters: Any = function
        bound: tuple[Any, ...] | None = None
        keywords: dict[str, Any] | None = None
        is_method = is_coroutine_function = False
        if plain_id is not None:
            is_coroutine_function = bool(function.__code__.co_flags & _CO_COROUTINE)
        else:
            _refuse_what_is_no_function(function)
            target, bound, keywords = _unbound(function)
            is_coroutine_function = _refuse_by_kind(target)
        store: Any = self._store
        if self._backend in _SERVERS:
            store = store.store_for(_called(target), is_coroutine_function)
        if plain_id is not None:
            function_id = plain_id
            if self._backend == "memory":
                function_id += self._serial_of(function)
        else:
            parameters, names = _parameters_of(target)
            is_method = bound is None and names[:1] == ["self"]
            self._check_method(function, is_method)
            _warn_of_shadowed_options(function, names)
            if function_id is None:
                keyed = names[1:] if is_method else names
                function_id = self._id_of(target, keyed)
        metrics = self._metrics() if given else None
        policy = given.get("on_backend_error")
        cached: _core.CachedFunction[P, R] = _core.CachedFunction(
            function,
            store,
            self._options,
            function_id,
            _called(target),
            parameters,
            1 if is_method else 0,
            bound,
            keywords,
            self._hash_func,
            metrics,
            self._size_limit,
            policy == "raise",
            # A directory that cannot be used is no reason for a program to fail; a
            # server that will always refuse is: nobody would notice.
            policy == "raise" or (policy is None and self._backend in _SERVERS),
            bool(given.get("mmap", True)),
            *self._bounds,
        )
        holds = not given.get("pickle_reload", config.values()["pickle_reload"])
        if self._extras or holds:
            from . import _extras

            _extras.configure(cached, target, self._given, holds)
        if metrics is not None:
            metrics._measure = _measure_of(cached)
        _core.look_like(cached, function)
        if is_coroutine_function:
            from ._coroutines import make_coroutine_function

            make_coroutine_function(cached, target)
        return cached

    def _id_of(self, target: Any, keyed: list[str]) -> str:
        if self._extras:
            from . import _extras

            keyed = _extras.keyed(self._given, _called(target), keyed)
        function_id = _names.function_id(
            target,
            ",".join(keyed),
            key_prefix=self._given.get("key_prefix", "cachier"),
            name=self._given.get("name"),
            version=self._given.get("version"),
            shared=self._backend != "memory",
        )
        return function_id + self._serial_of(target)

    def _check_method(self, function: Any, is_method: bool) -> None:
        allowed = self._given.get(
            "allow_non_static_methods", config.value_of("allow_non_static_methods")
        )
        if is_method and not allowed:
            called = getattr(function, "__qualname__", repr(function))
            raise TypeError(
                f"{called} looks like an instance method (its first parameter is "
                "named self), and all instances would share its cache\n"
                "  fix: pass allow_non_static_methods=True if results do not depend on "
                "the instance; else make it a static method or a function"
            )

    def _serial_of(self, target: Any) -> str:
        """Tell functions of one name and code apart: in memory they do not share.

        On disk they do: there, only what outlives the process can tell.
        """
        if self._backend != "memory":
            return ""
        try:
            if self._serials is None:
                first = self._first and self._first()
                if first is None and not self._next_serial:
                    self._first = ref(target)
                    self._next_serial = 1
                    return ""
                if first is target:
                    return ""
                from weakref import WeakKeyDictionary

                self._serials = WeakKeyDictionary()
                if first is not None:
                    self._serials[first] = 0
            known = self._serials.get(target)
            if known is None:
                # Not how many there are: numbers of functions that are gone have
                # entries in the store.
                known = self._serials[target] = self._next_serial
                self._next_serial += 1
        except TypeError:  # cannot be referred to weakly: it is told by its name
            return ""
        return f"/{known}" if known else ""

    def _metrics(self) -> CacheMetrics | None:
        if not self._given.get("enable_metrics"):
            return None
        from .metrics import CacheMetrics

        rate = self._given.get("metrics_sampling_rate", 1.0)
        return CacheMetrics(sampling_rate=rate)


def _hash_func_of(given: dict[str, Any], values: dict[str, Any]) -> HashFunc | None:
    hash_func = given.get("hash_func", values["hash_func"])
    if "hash_params" in given:
        import warnings

        warnings.warn(
            "hash_params will be removed in a future version; use hash_func instead",
            DeprecationWarning,
            stacklevel=5,
        )
        hash_func = given["hash_params"]
    if hash_func is not None and not callable(hash_func):
        raise TypeError(
            f"hash_func must be callable, not {hash_func!r}\n"
            "  fix: give a function of (args, kwds) that returns the key"
        )
    return hash_func  # type: ignore[no-any-return]


def _backend_of(given: dict[str, Any], values: dict[str, Any]) -> str:
    backend = given.get("backend", values["backend"])
    mongetter = given.get("mongetter", values["mongetter"])
    if callable(mongetter):
        backend = "mongo"
    if not isinstance(backend, str):
        raise TypeError(
            f"backend must be a str, not {type(backend).__name__}\n"
            f"  fix: use one of {', '.join(_NAMES)}"
        )
    if backend in _SERVERS:
        from ._servers import check

        check(backend, given)
        return backend
    if backend not in _LOCAL and backend != "memory" and "://" not in backend:
        raise ValueError(
            f"specified an invalid core: {backend}\n"
            f"  fix: use one of {', '.join(_NAMES)}"
        )
    return backend


def _check(given: dict[str, Any]) -> None:
    for option in ("key_prefix", "name", "version"):
        value = given.get(option)
        if value is not None and not isinstance(value, str):
            raise TypeError(
                f"{option} must be a str, not {value!r}\n"
                f"  fix: write for instance {option}={str(value)!r}"
            )
        if value is not None and not _is_utf8(value):
            raise ValueError(
                f"{option} must be a text that UTF-8 can hold, not {value!r}\n"
                "  fix: leave the lone surrogates out"
            )
    if given.get("name") == "":
        raise ValueError(
            "name must not be empty\n  fix: leave it out, or give the name in the store"
        )
    policy = given.get("on_backend_error")
    if policy not in (None, "raise", "compute"):
        raise ValueError(
            f"on_backend_error must be 'raise' or 'compute', not {policy!r}\n"
            "  fix: leave it out, or use one of the two"
        )
    rate = given.get("metrics_sampling_rate", 1.0)
    if given.get("enable_metrics") and not isinstance(rate, (int, float)):
        raise TypeError(
            f"metrics_sampling_rate must be a number, not {rate!r}\n"
            "  fix: give the part of the calls that is to be counted, from 0 to 1"
        )
    if given.get("enable_metrics") and not 0 <= rate <= 1:
        raise ValueError(
            f"metrics_sampling_rate must be between 0 and 1, not {rate!r}\n"
            "  fix: give the part of the calls that is to be counted"
        )


def _bytes(option: str, given: int | str | None) -> int | None:
    if given is None:
        return None
    try:
        size = parse_bytes(given)
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from None
    if size is None:
        return None
    if isinstance(given, bool) or size < 0:
        raise ValueError(
            f"{option} must be 0 or more, not {given!r}\n"
            "  fix: give a number of bytes, or a text like '10MB'"
        )
    return min(size, 2**64 - 2)


def _bounds(given: dict[str, Any]) -> tuple[int | None, int | None]:
    entries = given.get("max_entries")
    if entries is not None and (
        isinstance(entries, bool) or not isinstance(entries, int) or entries < 0
    ):
        raise ValueError(
            f"max_entries must be an int of 0 or more, not {entries!r}\n"
            "  fix: give the number of results to keep"
        )
    size = _bytes("max_bytes", given.get("max_bytes"))
    return None if entries is None else min(entries, 2**64 - 2), size


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_path(text: str) -> bool:
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


def _directory(directory: Any) -> str:
    if type(directory) is config.LazyCacheDir:
        absolute = _core.default_cache_dir()
        if absolute.startswith("/"):
            return absolute
    path: str | bytes | None
    try:
        path = os.fspath(directory)
    except TypeError:
        path = None
    if isinstance(path, bytes):
        path = os.fsdecode(path)
    if path is None or not path or "\0" in path or not _is_path(path):
        raise (TypeError if path is None else ValueError)(
            f"cache_dir must be the path of a directory, not {directory!r}\n"
            "  fix: give a str or a pathlib.Path, or leave it out"
        )
    return os.path.expanduser(path)


def _refuse_what_is_no_function(function: Any) -> None:
    if isinstance(function, (staticmethod, classmethod)):
        kind = type(function).__name__
        raise TypeError(
            f"a {kind} cannot be cached as it is\n"
            f"  fix: write @{kind} above @cachier(...), not below"
        )
    if not callable(function):
        raise TypeError(
            f"only what can be called can be cached, not {function!r}\n"
            "  fix: write @cachier() with its parentheses, above the function"
        )


def _unbound(
    function: Any,
) -> tuple[Any, tuple[Any, ...] | None, dict[str, Any] | None]:
    """Give what is behind a callable, and the arguments that it adds to each call."""
    if isinstance(function, types.FunctionType):
        return function, None, None
    if isinstance(function, types.MethodType):
        return function.__func__, (function.__self__,), None
    if isinstance(function, types.BuiltinMethodType):
        instance = function.__self__
        method = getattr(type(instance), function.__name__, None)
        if isinstance(method, types.MethodDescriptorType):
            return method, (instance,), None
        return function, None, None
    if hasattr(function, "func") and hasattr(function, "keywords"):
        import functools

        if (
            isinstance(function, functools.partial)
            and type(function).__call__ is functools.partial.__call__
        ):
            target, bound, _ = _unbound(function.func)
            return target, (bound or ()) + function.args, function.keywords
    call = getattr(type(function), "__call__", None)  # noqa: B004
    if isinstance(call, types.FunctionType):
        return call, (function,), None
    return function, None, None


def _refuse_by_kind(target: Any) -> bool:
    """Refuse what cannot be cached. True: it is a coroutine function."""
    inner = target
    while hasattr(inner, "__wrapped__"):
        inner = inner.__wrapped__
    code = getattr(inner, "__code__", None)
    flags = getattr(code, "co_flags", 0)
    called = getattr(target, "__qualname__", repr(target))
    if flags & (_CO_GENERATOR | _CO_ASYNC_GENERATOR) and not (
        flags & _CO_ITERABLE_COROUTINE
    ):
        raise TypeError(
            f"{called} is a generator: what it gives is used up by whoever reads it "
            "first, and cannot be cached\n"
            "  fix: cache a function that returns a list of the items"
        )
    if _is_coroutine_function(target, flags if inner is target else 0):
        return True
    if flags & (_CO_COROUTINE | _CO_ITERABLE_COROUTINE):
        raise TypeError(
            f"{called} wraps a coroutine function and is none itself, so that what it "
            "gives would be used up by whoever awaits it first\n"
            "  fix: write @cachier(...) below the wrapper, or make the wrapper an "
            "async def"
        )
    return False


def _is_coroutine_function(target: Any, flags: int) -> bool:
    if flags & (_CO_COROUTINE | _CO_ITERABLE_COROUTINE):
        return True
    if isinstance(target, types.FunctionType) and "__wrapped__" not in vars(target):
        return hasattr(target, "_is_coroutine_mark")
    import inspect

    return inspect.iscoroutinefunction(target)


def _parameters_of(target: Any) -> tuple[Any, list[str]]:
    """Give what the engine reads the parameters from, and their names as in an id."""
    if isinstance(target, types.FunctionType) and "__wrapped__" not in target.__dict__:
        return target, _names_of(target.__code__)
    from ._signature import describe, is_pass_through

    if isinstance(target, types.FunctionType) and not is_pass_through(target):
        return target, _names_of(target.__code__)
    described = describe(target)
    stars = {2: "*", 4: "**"}
    names = [stars.get(kind, "") + name for name, kind, _ in described]
    if isinstance(target, types.FunctionType):
        return (described, target), names
    return described, names


def _names_of(code: types.CodeType) -> list[str]:
    names = list(code.co_varnames)
    positional, keyword_only = code.co_argcount, code.co_kwonlyargcount
    end = positional + keyword_only
    listed = names[:positional]
    if code.co_flags & _CO_VARARGS:
        listed.append("*" + names[end])
        end += 1
    listed += names[positional : positional + keyword_only]
    if code.co_flags & _CO_VARKEYWORDS:
        listed.append("**" + names[end])
    return listed


def _called(target: Any) -> str:
    return getattr(target, "__qualname__", None) or type(target).__qualname__


def _measure_of(cached: Any) -> Callable[[], tuple[int, int] | None]:
    import weakref

    of = weakref.ref(cached)

    def measure() -> tuple[int, int] | None:
        alive = of()
        return None if alive is None else alive._measure()

    return measure


def _warn_of_shadowed_options(function: Any, names: list[str]) -> None:
    shadowed = [name for name in names if _core.is_call_option(name)]
    if not shadowed:
        return
    import warnings

    from ._errors import CachierWarning

    warnings.warn(
        f"{getattr(function, '__qualname__', function)!s}() has a parameter named "
        f"{shadowed[0]!r}, which is an option of a call of cachier's: given by "
        "keyword, it does not reach the function\n"
        "  fix: give it by position, or rename it",
        CachierWarning,
        stacklevel=4,
    )
