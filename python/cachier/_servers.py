"""Options of the backends on servers, checked when ``cachier(...)`` is called.

Nothing of a server's client is imported here: what has been handed in is looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from . import config


def refuse(backend: str, given: dict[str, Any]) -> NoReturn:
    """Say what is wrong with the options of a backend on a server.

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


def _check_sql(given: dict[str, Any]) -> None:
    engine = given.get("sql_engine")
    if engine is None:
        raise ValueError(
            "backend 'sql' needs a sql_engine\n"
            "  fix: pass sql_engine=, a SQLAlchemy URL, an Engine, or a callable that "
            "returns one"
        )
    made_by = type(engine).__module__.partition(".")[0]
    if not (isinstance(engine, str) or callable(engine) or made_by == "sqlalchemy"):
        raise ValueError(
            f"sql_engine must be a SQLAlchemy URL, an Engine or a callable that "
            f"returns one, not {type(engine).__name__}\n"
            "  fix: give for instance sqlalchemy.create_engine(...)"
        )


def _check_redis(given: dict[str, Any]) -> None:
    if given.get("redis_client") is None:
        from .cores.redis import MissingRedisClient

        raise MissingRedisClient(
            "backend 'redis' needs a redis_client\n"
            "  fix: pass redis_client=, a redis.Redis or a callable that returns one"
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
