"""Options of the backends on servers, checked when ``cachier(...)`` is called.

Nothing of a server's client is imported here: what has been handed in is looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import _core, config

#: Those that work.
READY = frozenset({"mongo", "redis", "s3", "sql"})


def check(backend: str, given: dict[str, Any]) -> None:
    """Check the options of a backend on a server.

    Parameters
    ----------
    backend : str
        ``"mongo"``, ``"sql"``, ``"redis"`` or ``"s3"``.
    given : dict
        The options of the decorator.

    Raises
    ------
    ValueError
        What the backend needs is not given (``MissingMongetter``,
        ``MissingRedisClient``, ``MissingS3Bucket``) or of the wrong type; the backend
        is not in this version yet; a bound is given, which no server keeps.

    """
    _CHECKS[backend](given)
    if backend in READY:
        for option in ("max_entries", "max_bytes"):
            if option in given:
                raise ValueError(
                    f"{option} is not kept by backend {backend!r}\n"
                    "  fix: leave it out, and let stale_after and cleanup_stale remove "
                    "what is old"
                )
        return
    raise ValueError(
        f"backend {backend!r} is not in this version yet\n"
        f"  fix: use one of {', '.join(('pickle', 'memory', *sorted(READY)))}"
    )


def _check_mongo(given: dict[str, Any]) -> None:
    mongetter = given.get("mongetter", config.value_of("mongetter"))
    if not callable(mongetter):
        from .cores.mongo import MissingMongetter

        raise MissingMongetter(
            "backend 'mongo' needs a mongetter\n"
            "  fix: pass mongetter=, a callable that returns a pymongo collection"
        )
    # The global one may be another tomorrow.
    given["mongetter"] = mongetter


def _check_sql(given: dict[str, Any]) -> None:
    engine = given.get("sql_engine")
    if engine is None:
        raise ValueError(
            "backend 'sql' needs a sql_engine\n"
            "  fix: pass sql_engine=, a SQLAlchemy URL, an Engine, or a callable that "
            "returns one"
        )
    if not isinstance(engine, str) and not callable(engine):
        made_by = type(engine).__module__.partition(".")[0]
        if made_by != "sqlalchemy":
            raise ValueError(
                "sql_engine must be a SQLAlchemy URL, an Engine or a callable that "
                f"returns one, not {type(engine).__name__}\n"
                "  fix: give for instance sqlalchemy.create_engine(...)"
            )
    from .adapters._sql_adapter import checked

    # A callable is asked here, once.
    given["sql_engine"] = checked(engine)


class Server:
    """A backend on a server, as one ``cachier(...)`` names it.

    Parameters
    ----------
    backend : str
        One of `READY`.
    given : dict
        The options of the decorator, checked.

    """

    def __init__(self, backend: str, given: dict[str, Any]) -> None:
        self._backend = backend
        self._given = given
        self._stores: dict[bool, _core.Store] = {}

    def store_for(self, called: str, is_coroutine: bool) -> _core.Store:
        """Give the store for a function, which is not asked for anything yet.

        Parameters
        ----------
        called : str
            The function's name.
        is_coroutine : bool
            Whether it is a coroutine function.

        Raises
        ------
        TypeError
            A coroutine function needs an async client, any other a sync one.

        """
        check_kind(self._backend, self._given, called, is_coroutine)
        store = self._stores.get(is_coroutine)
        if store is None:
            adapter = _ADAPTERS[self._backend](self._given, is_coroutine)
            store = _core.open_client_store(adapter, self._backend)
            self._stores[is_coroutine] = store
        return store


def _redis_adapter(given: dict[str, Any], is_coroutine: bool) -> Any:
    client = given["redis_client"]
    if isinstance(client, str):
        from .adapters._redis_client import client_at

        client = client_at(client, is_coroutine)
    if is_coroutine:
        from .adapters._redis_async_adapter import AsyncRedisAdapter

        return AsyncRedisAdapter(client)
    from .adapters._redis_adapter import RedisAdapter

    return RedisAdapter(client)


def _sql_adapter(given: dict[str, Any], is_coroutine: bool) -> Any:
    from .adapters import _sql_adapter

    engine = _sql_adapter.engine_of(given["sql_engine"], is_coroutine)
    if is_coroutine:
        return _sql_adapter.AsyncSqlAdapter(engine)
    return _sql_adapter.SqlAdapter(engine)


def _mongo_adapter(given: dict[str, Any], is_coroutine: bool) -> Any:
    if is_coroutine:
        from .adapters._mongo_async_adapter import AsyncMongoAdapter

        return AsyncMongoAdapter(given["mongetter"])
    from .adapters._mongo_adapter import MongoAdapter

    return MongoAdapter(given["mongetter"])


def _s3_adapter(given: dict[str, Any], is_coroutine: bool) -> Any:
    # There is no async client: what coroutine functions ask is done on threads.
    from .adapters._s3_adapter import S3Adapter, client_of

    return S3Adapter(
        given["s3_bucket"], given.get("s3_prefix", "cachier"), client_of(given)
    )


_ADAPTERS: dict[str, Callable[[dict[str, Any], bool], Any]] = {
    "mongo": _mongo_adapter,
    "redis": _redis_adapter,
    "s3": _s3_adapter,
    "sql": _sql_adapter,
}


def check_kind(
    backend: str, given: dict[str, Any], called: str, is_coroutine: bool
) -> None:
    """Refuse a client of the wrong kind for a function.

    Parameters
    ----------
    backend : str
        One of `READY`.
    given : dict
        The options of the decorator.
    called : str
        The function's name.
    is_coroutine : bool
        Whether it is a coroutine function.

    Raises
    ------
    TypeError
        A coroutine function needs an async client, any other a sync one.

    """
    if backend == "s3":
        return
    if backend == "mongo":
        from .adapters._mongo_client import is_async, is_sync

        option = "mongetter"
        one = "an async callable that returns an async collection"
        other = "a callable that returns a pymongo collection"
    elif backend == "sql":
        from .adapters._sql_adapter import is_async, is_sync

        option = "sql_engine"
        one = "an AsyncEngine, or the URL of a driver like asyncpg or aiosqlite"
        other = "an Engine, or the URL of a driver like psycopg"
    else:
        from .adapters._redis_client import is_async, is_sync

        option = "redis_client"
        one = "a redis.asyncio.Redis, or an async callable that returns one"
        other = "a redis.Redis, or a callable that returns one"
    if is_coroutine and not is_async(given[option]):
        raise TypeError(
            f"{called} is a coroutine function, and {option} is sync\n  fix: pass {one}"
        )
    if not is_coroutine and not is_sync(given[option]):
        raise TypeError(
            f"{called} is a sync function, and {option} is async\n  fix: pass {other}"
        )


def _check_redis(given: dict[str, Any]) -> None:
    client = given.get("redis_client")
    if client is None:
        from .cores.redis import MissingRedisClient

        raise MissingRedisClient(
            "backend 'redis' needs a redis_client\n"
            "  fix: pass redis_client=, a redis.Redis, a URL or a callable that "
            "returns a client"
        )
    from .adapters._redis_client import check_url, is_client

    if isinstance(client, str):
        check_url(client)
    elif not is_client(client) and not callable(client):
        raise ValueError(
            "redis_client must be a redis.Redis, a URL or a callable, not "
            f"{type(client).__name__}\n"
            "  fix: give for instance redis.Redis(host=..., socket_timeout=1)"
        )


def _check_s3(given: dict[str, Any]) -> None:
    bucket = given.get("s3_bucket")
    if not bucket:
        from .cores.s3 import MissingS3Bucket

        raise MissingS3Bucket(
            "backend 's3' needs an s3_bucket\n"
            "  fix: pass s3_bucket=, the name of a bucket that is there"
        )
    for option in ("s3_bucket", "s3_prefix", "s3_region", "s3_endpoint_url"):
        value = given.get(option)
        if value is not None and not isinstance(value, str):
            raise ValueError(
                f"{option} must be a str, not {type(value).__name__}\n"
                "  fix: give it as boto3 takes it"
            )
    client = given.get("s3_client")
    if client is not None and not callable(getattr(client, "put_object", None)):
        raise ValueError(
            f"s3_client must be a client of boto3, not {type(client).__name__}\n"
            '  fix: give for instance boto3.client("s3")'
        )
    factory = given.get("s3_client_factory")
    if factory is not None and not callable(factory):
        raise ValueError(
            "s3_client_factory must be a callable that returns a client of boto3, not "
            f"{type(factory).__name__}\n"
            '  fix: give for instance lambda: boto3.client("s3")'
        )
    config = given.get("s3_config")
    if config is not None and not callable(getattr(config, "merge", None)):
        raise ValueError(
            f"s3_config must be a botocore.config.Config, not {type(config).__name__}"
            "\n  fix: give for instance Config(max_pool_connections=50)"
        )
    if client is None and factory is None:
        import importlib.util

        if importlib.util.find_spec("boto3") is None:
            raise ImportError(
                "backend 's3' needs boto3, which is not installed\n"
                "  fix: pip install boto3"
            )


_CHECKS: dict[str, Callable[[dict[str, Any]], None]] = {
    "mongo": _check_mongo,
    "sql": _check_sql,
    "redis": _check_redis,
    "s3": _check_s3,
}
