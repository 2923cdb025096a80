"""What is to be known of a client of Redis, whether it blocks or is awaited."""

from __future__ import annotations

from typing import Any

from ._base import Talk
from .redis import Command, Run, Spread, UnusableClientError

__all__ = [
    "check_url",
    "client_at",
    "is_answer",
    "is_async",
    "is_client",
    "is_plain_pool",
    "is_sync",
    "limited",
    "location_of",
    "most_like",
    "name_of",
    "options_like",
    "refuse_decoding",
    "undecoded",
    "words_of",
]

#: More at once than this wait for each other: servers and descriptors are finite.
_MOST_CONNECTIONS = 32

#: Options of a pool's connections that are about that pool itself.
_OF_THE_POOL = ("maint_notifications", "oss_cluster_maint", "orig_")


def words_of(request: Any, is_cluster: bool) -> Talk[Any]:
    """Give the commands of a request, be sent what they are answered, and read it."""
    if isinstance(request, Run):
        return (yield from _run(request.script, request.keys, request.arguments))
    if isinstance(request, Command):
        return (yield request.words)
    spread: Spread = request
    groups = spread.groups
    if not is_cluster:
        groups = [tuple(key for group in groups for key in group)]
    answers: list[Any] = []
    for group in groups:
        answers += yield from _run(spread.script, group, ())
    return answers


def _run(script: Any, keys: tuple[str, ...], arguments: tuple[Any, ...]) -> Talk[Any]:
    try:
        return (yield ("EVALSHA", script.sha, len(keys), *keys, *arguments))
    except Exception as error:
        if type(error).__name__ != "NoScriptError" and not str(error).startswith(
            "NOSCRIPT"
        ):
            raise
    return (yield ("EVAL", script.source, len(keys), *keys, *arguments))


def is_client(given: Any) -> bool:
    """Whether it is a client, not a callable that gives one."""
    return hasattr(given, "execute_command") or hasattr(given, "hgetall")


def is_async(given: Any) -> bool:
    """Whether it is an async client, a callable that gives one, or a URL."""
    return isinstance(given, str) or _is_awaited(given)


def is_sync(given: Any) -> bool:
    """Whether it is a client that blocks, a callable that gives one, or a URL."""
    return isinstance(given, str) or not _is_awaited(given)


def _is_awaited(given: Any) -> bool:
    import inspect

    if not is_client(given):
        return inspect.iscoroutinefunction(given)
    return any(
        inspect.iscoroutinefunction(getattr(given, name, None))
        for name in ("execute_command", "hget", "hgetall", "hset")
    )


def check_url(url: str) -> None:
    """Check the URL of a server.

    Raises
    ------
    ValueError
        It is none that the client understands, or there is no client.

    """
    try:
        from redis.connection import parse_url
    except ImportError as error:
        raise ValueError(
            "a URL of Redis needs its client, which is not installed\n"
            "  fix: pip install 'cachier[redis]'"
        ) from error
    try:
        parse_url(url)  # type: ignore[no-untyped-call]
    except ValueError as error:
        raise ValueError(
            f"redis_client is no URL of a Redis server: {error}\n"
            "  fix: write for instance redis://host:6379/0, or rediss:// for TLS"
        ) from error


def client_at(url: str, is_awaited: bool) -> Any:
    """Give a client of the server at a URL."""
    if is_awaited:
        from redis.asyncio import Redis as AsyncRedis

        return AsyncRedis.from_url(url)
    from redis import Redis

    return Redis.from_url(url)


def location_of(client: Any) -> str:
    """Say where the server of a client is."""
    try:
        options = client.connection_pool.connection_kwargs
        where = options.get("path") or f"{options['host']}:{options['port']}"
        return f"redis://{where}/{options.get('db') or 0}"
    except Exception:
        # A fake, or a cluster.
        return "redis"


def is_answer(error: BaseException) -> bool:
    """Whether the server has said that: what it says no to is an answer, too."""
    return "ResponseError" in {each.__name__ for each in type(error).__mro__}


def is_plain_pool(pool: Any) -> bool:
    """Whether its connections are redis-py's own, of either kind."""
    made_by = getattr(getattr(pool, "connection_class", None), "__module__", "")
    options = getattr(pool, "connection_kwargs", {})
    return (
        made_by in ("redis.connection", "redis.asyncio.connection")
        and options.get("redis_connect_func") is None
    )


def name_of(pool: Any) -> Any:
    """Give what pools that lead to one server in one way have in common."""
    options = tuple(sorted(pool.connection_kwargs.items(), key=lambda item: item[0]))
    name = (pool.connection_class, options)
    try:
        hash(name)
    except TypeError:
        return pool
    return name


def options_like(pool: Any, retry: Any) -> dict[str, Any]:
    """Give the options of connections as those of a pool, which try once.

    `retry` is redis-py's class of that name for this kind of connections. How long they
    wait is `limited`.
    """
    from redis.backoff import NoBackoff

    options = {
        name: value
        for name, value in pool.connection_kwargs.items()
        if not name.startswith(_OF_THE_POOL)
    }
    options.update(
        retry=retry(NoBackoff(), 0),
        retry_on_timeout=False,
        retry_on_error=[],
        decode_responses=False,
    )
    return options


def limited(options: dict[str, Any], seconds: float | None) -> dict[str, Any]:
    """Give the options of connections that wait no longer than so many seconds.

    None: whoever drives them keeps the time.
    """
    limits = {}
    for name in ("socket_timeout", "socket_connect_timeout"):
        limits[name] = seconds and min(options.get(name) or seconds, seconds)
    return {**options, **limits}


def most_like(pool: Any) -> int:
    """Give how many connections to have at once, as this pool or fewer."""
    return min(_MOST_CONNECTIONS, getattr(pool, "max_connections", 0) or 1)


def undecoded(client: Any) -> dict[str, Any]:
    """Give the options of a command whose answer is to be bytes."""
    # Old versions of redis-py trip over the option where they need none.
    try:
        decodes = bool(client.get_encoder().decode_responses)
    except AttributeError:
        decodes = False
    return {"NEVER_DECODE": True} if decodes else {}


def refuse_decoding(error: TypeError) -> None:
    """Say in words that a client cannot but decode, if that is what it said."""
    if "NEVER_DECODE" in str(error):
        raise UnusableClientError(
            "cannot use a redis_client with decode_responses=True\n"
            "  cause: this version of redis-py decodes every answer of it\n"
            "  fix: leave decode_responses out, or install a newer redis"
        ) from error
