"""Adapters for the conformance suite, by the name of their candidate.

Run by ``python_client.cpp``, which puts the package and the tests' helpers on the path.
"""

import functools
import os
import tempfile

_SQL = {
    "postgresql": ("postgres", "postgresql+psycopg"),
    "postgresql_async": ("postgres", "postgresql+asyncpg"),
    "mysql": ("mysql", "mysql+pymysql"),
}
_kept = {}


def why_not(name):
    """Say why there is no server of it; empty: there is."""
    if name not in _kept:
        try:
            _kept[name] = _OPEN[name]()
        except (ImportError, LookupError) as error:
            if _is_required(name):
                raise
            return str(error)
    return ""


def _is_required(name):
    required = os.environ.get("CACHIER_REQUIRE_SERVICES", "")
    names = {"all", name.removesuffix("_async"), *_SQL.get(name, ())[:1]}
    return bool(names & set(required.replace(",", " ").split()))


def adapter(name):
    """Give a new adapter of the server."""
    return _kept[name].adapter()


def empty(name):
    """Remove all that the server has."""
    _kept[name].empty()


def stop():
    """End what was started."""
    for each in _kept.values():
        each.stop()


class _Redis:
    def __init__(self):
        import redis  # noqa: F401
        from redis_server import RedisServer

        self._server = RedisServer()
        if self._server.why_not:
            raise LookupError(self._server.why_not)

    def adapter(self):
        from cachier.adapters._redis_adapter import RedisAdapter

        return RedisAdapter(self._server.client())

    def empty(self):
        self._server.client().flushall()

    def stop(self):
        self._server.stop()


class _AsyncRedis(_Redis):
    def adapter(self):
        import redis.asyncio

        from cachier.adapters._redis_async_adapter import AsyncRedisAdapter

        return AsyncRedisAdapter(redis.asyncio.Redis(port=self._server.port))


class _Sql:
    def __init__(self, url):
        import sqlalchemy

        self._sqlalchemy = sqlalchemy
        self._engine = sqlalchemy.create_engine(url)
        self._url = url

    def adapter(self):
        from cachier.adapters._sql_adapter import SqlAdapter

        return SqlAdapter(self._sqlalchemy.create_engine(self._url))

    def empty(self):
        with self._engine.begin() as connection:
            for table in ("cachier_entries_1", "cachier_functions_1"):
                if self._sqlalchemy.inspect(connection).has_table(table):
                    connection.execute(self._sqlalchemy.text(f"DELETE FROM {table}"))

    def stop(self):
        self._engine.dispose()


class _AsyncSql(_Sql):
    def __init__(self, url, blocking_url):
        super().__init__(blocking_url)
        self._awaited_url = url

    def adapter(self):
        from sqlalchemy.ext.asyncio import create_async_engine

        from cachier.adapters._sql_adapter import AsyncSqlAdapter

        return AsyncSqlAdapter(create_async_engine(self._awaited_url))


class _Sqlite(_Sql):
    def __init__(self):
        self._directory = tempfile.TemporaryDirectory(prefix="cachier-sqlite-")
        super().__init__(f"sqlite:///{self._directory.name}/cache.db")
        with self._engine.connect() as connection:
            connection.execute(self._sqlalchemy.text("PRAGMA journal_mode = WAL"))

    def stop(self):
        super().stop()
        self._directory.cleanup()


class _AsyncSqlite(_Sqlite):
    def adapter(self):
        from sqlalchemy.ext.asyncio import create_async_engine

        from cachier.adapters._sql_adapter import AsyncSqlAdapter

        url = self._url.replace("sqlite:", "sqlite+aiosqlite:")
        return AsyncSqlAdapter(create_async_engine(url))


class _Mongo:
    def __init__(self):
        import pymongo

        self._client = pymongo.MongoClient(_url_of("mongo"))
        self._database = self._client.get_default_database("cachier")

    def adapter(self):
        from cachier.adapters._mongo_adapter import MongoAdapter

        return MongoAdapter(lambda: self._database["conformance"])

    def empty(self):
        # mongo-java-server closes what it drops under those who are just reading it.
        self._database["conformance"].delete_many({})

    def stop(self):
        self.empty()
        self._client.close()


class _AsyncMongo(_Mongo):
    def adapter(self):
        import pymongo

        from cachier.adapters._mongo_async_adapter import AsyncMongoAdapter

        async def mongetter():
            client = pymongo.AsyncMongoClient(_url_of("mongo"))
            return client.get_default_database("cachier")["conformance"]

        return AsyncMongoAdapter(mongetter)


class _S3:
    def __init__(self):
        import boto3

        self._client = boto3.client("s3", endpoint_url=_variable("S3_ENDPOINT"))
        place = _variable("S3_URL").partition("//")[2].partition("?")[0]
        self._bucket, _, self._prefix = place.partition("/")

    def adapter(self):
        from cachier.adapters._s3_adapter import S3Adapter

        return S3Adapter(self._bucket, self._prefix, lambda: self._client)

    def empty(self):
        while True:
            listed = self._client.list_objects_v2(
                Bucket=self._bucket, Prefix=self._prefix
            )
            found = [{"Key": each["Key"]} for each in listed.get("Contents", ())]
            if not found:
                return
            self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": found})

    def stop(self):
        self.empty()


def _variable(name):
    value = os.environ.get(f"CACHIER_TEST_{name}")
    if value is None:
        raise LookupError("no s3: `scripts/services run -- make test-cpp` starts one")
    return value


def _url_of(kind):
    url = os.environ.get(f"CACHIER_TEST_{kind.upper()}_URL")
    if url is None:
        raise LookupError(
            f"no {kind}: `scripts/services run -- make test-cpp` starts one"
        )
    return url


def _server(name):
    kind, driver = _SQL[name]
    url = _url_of(kind)
    place = url[url.index(":") :]
    if name.endswith("_async"):
        blocking = _SQL[name.removesuffix("_async")][1]
        return _AsyncSql(driver + place, blocking + place)
    return _Sql(driver + place)


_OPEN = {
    "redis": _Redis,
    "redis_async": _AsyncRedis,
    "sqlite": _Sqlite,
    "sqlite_async": _AsyncSqlite,
    **{name: functools.partial(_server, name) for name in _SQL},
    "mongo": _Mongo,
    "mongo_async": _AsyncMongo,
    "s3": _S3,
}
