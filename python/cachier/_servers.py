"""Options of the backends on servers, checked when ``cachier(...)`` is called.

Nothing of a server's client is imported here: what has been handed in is looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import _core, config

#: Those that work.
READY = frozenset({"mongo", "redis", "sql"})


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
        ``MissingRedisClient``, ``MissingS3Bucket``) or of the wrong type; else: the
        backend is not in this version yet.

    """
    _CHECKS[backend](given)
    if backend in READY:
        return
    raise ValueError(
        f"backend {backend!r} is not in this version yet\n"
        "  fix: use 'pickle' or 'memory'"
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
    from .adapters._sql_adapter import check_engine, engine_of

    # Made here, once.
    given["sql_engine"] = engine_of(engine)
    check_engine(given["sql_engine"])


def open_store(backend: str, given: dict[str, Any]) -> _core.Store:
    """Give the store of a backend on a server, which is not asked for anything yet.

    Parameters
    ----------
    backend : str
        One of `READY`.
    given : dict
        The options of the decorator, checked.

    """
    if backend == "sql":
        from .adapters._sql_adapter import SqlAdapter

        return _core.open_client_store(SqlAdapter(given["sql_engine"]), backend)
    if backend == "mongo":
        return _open_mongo(given["mongetter"])
    from .adapters._redis_client import is_async

    client = given["redis_client"]
    if is_async(client):
        from .adapters._redis_async_adapter import AsyncRedisAdapter

        return _core.open_client_store(AsyncRedisAdapter(client), backend)
    from .adapters._redis_adapter import RedisAdapter

    return _core.open_client_store(RedisAdapter(client), backend)


def _open_mongo(mongetter: Callable[[], Any]) -> _core.Store:
    from .adapters._mongo_client import is_async

    if is_async(mongetter):
        from .adapters._mongo_async_adapter import AsyncMongoAdapter

        return _core.open_client_store(AsyncMongoAdapter(mongetter), "mongo")
    from .adapters._mongo_adapter import MongoAdapter

    return _core.open_client_store(MongoAdapter(mongetter), "mongo")


def check_kind(given: dict[str, Any], called: str, is_coroutine: bool) -> None:
    """Refuse a client of the wrong kind for a function.

    Parameters
    ----------
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
    is_async: Callable[[Any], bool]
    if callable(given.get("mongetter")):
        from .adapters._mongo_client import is_async

        option = "mongetter"
        one = "an async callable that returns an async collection"
        other = "a callable that returns a pymongo collection"
    elif "sql_engine" in given and given.get("backend") == "sql":
        from .adapters._sql_adapter import is_async

        option, one, other = "sql_engine", "an AsyncEngine", "an Engine or a URL"
    else:
        from .adapters._redis_client import is_async

        option = "redis_client"
        one = "a redis.asyncio.Redis, or an async callable that returns one"
        other = "a redis.Redis, or a callable that returns one"
    is_async_client = is_async(given[option])
    if is_coroutine and not is_async_client:
        raise TypeError(
            f"{called} is a coroutine function, and {option} is sync\n  fix: pass {one}"
        )
    if is_async_client and not is_coroutine:
        raise TypeError(
            f"{called} is a sync function, and {option} is async\n  fix: pass {other}"
        )
    if is_coroutine and option == "sql_engine":
        raise TypeError(
            f"{called} is a coroutine function: backend 'sql' does not cache these in "
            "this version yet\n"
            "  fix: cache a sync function, or use backend 'pickle'"
        )


def _check_redis(given: dict[str, Any]) -> None:
    client = given.get("redis_client")
    if client is None:
        from .cores.redis import MissingRedisClient

        raise MissingRedisClient(
            "backend 'redis' needs a redis_client\n"
            "  fix: pass redis_client=, a redis.Redis or a callable that returns one"
        )
    from .adapters._redis_client import is_client

    if not is_client(client) and not callable(client):
        raise ValueError(
            "redis_client must be a redis.Redis or a callable that returns one, not "
            f"{type(client).__name__}\n"
            "  fix: give for instance redis.Redis(host=..., socket_timeout=1)"
        )


def _check_s3(given: dict[str, Any]) -> None:
    if not given.get("s3_bucket"):
        from .cores.s3 import MissingS3Bucket

        raise MissingS3Bucket(
            "backend 's3' needs an s3_bucket\n"
            "  fix: pass s3_bucket=, the name of a bucket that is there"
        )


_CHECKS: dict[str, Callable[[dict[str, Any]], None]] = {
    "mongo": _check_mongo,
    "sql": _check_sql,
    "redis": _check_redis,
    "s3": _check_s3,
}
