"""How requests get to a Redis server: through the client that the program brings."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

from .redis import Command, Run, Spread, UnusableClientError

__all__ = ["RedisLine"]

#: More at once than this wait for each other: servers and descriptors are finite.
_MOST_CONNECTIONS = 32

#: Options of a pool's connections that are about that pool itself.
_OF_THE_POOL = ("maint_notifications", "oss_cluster_maint", "orig_")


class RedisLine:
    """Carries requests to the server of the client that a callable gives.

    Where the client is a plain ``redis.Redis``, this keeps connections of its own to
    the same server, made with the client's options: so an operation ends in time
    whatever time-outs and retries the client was made with, and answers are bytes
    also with ``decode_responses=True``. Other clients are called.
    """

    def __init__(self, client: Callable[[], Any]) -> None:
        self._client = client
        self._links: weakref.WeakKeyDictionary[Any, _Connections] = (
            weakref.WeakKeyDictionary()
        )

    def __call__(self, request: Any, timeout: float) -> Any:
        """Send a request and wait for its answer."""
        client = self._client()
        if isinstance(request, Run):
            return self._run(
                client, request.script, request.keys, request.arguments, timeout
            )
        if isinstance(request, Command):
            return self._send(client, request.words, timeout)
        return self._spread(client, request, timeout)

    def location(self) -> str:
        """Say where the server is."""
        try:
            options = self._client().connection_pool.connection_kwargs
            where = options.get("path") or f"{options['host']}:{options['port']}"
            return f"redis://{where}/{options.get('db') or 0}"
        except Exception:
            # A fake, a cluster, or a callable that fails.
            return "redis"

    def _spread(self, client: Any, request: Spread, timeout: float) -> list[Any]:
        groups = request.groups
        if not hasattr(client, "get_node_from_key"):
            groups = [tuple(key for group in groups for key in group)]
        answers: list[Any] = []
        for group in groups:
            answers += self._run(client, request.script, group, (), timeout)
        return answers

    def _run(
        self,
        client: Any,
        script: Any,
        keys: tuple[str, ...],
        arguments: tuple[Any, ...],
        timeout: float,
    ) -> Any:
        try:
            return self._send(
                client, ("EVALSHA", script.sha, len(keys), *keys, *arguments), timeout
            )
        except Exception as error:
            if type(error).__name__ != "NoScriptError" and not str(error).startswith(
                "NOSCRIPT"
            ):
                raise
        return self._send(
            client, ("EVAL", script.source, len(keys), *keys, *arguments), timeout
        )

    def _send(self, client: Any, words: tuple[Any, ...], timeout: float) -> Any:
        links = self._links_of(client)
        if links is not None:
            return links.exchange(words, timeout)
        # Old versions of redis-py trip over the option where they need none.
        options = {"NEVER_DECODE": True} if _decodes(client) else {}
        try:
            return client.execute_command(*words, **options)
        except TypeError as error:
            if "NEVER_DECODE" not in str(error):
                raise
            raise UnusableClientError(
                "cannot use a redis_client with decode_responses=True\n"
                "  cause: this version of redis-py decodes every answer of it\n"
                "  fix: leave decode_responses out, or install a newer redis"
            ) from error

    def _links_of(self, client: Any) -> _Connections | None:
        pool = getattr(client, "connection_pool", None)
        if pool is None:
            return None
        try:
            links = self._links.get(pool)
        except TypeError:
            return None
        if links is None:
            links = _Connections.like(client, pool)
            if links is not None:
                links = self._links.setdefault(pool, links)
        return links


def is_client(given: Any) -> bool:
    """Whether it is a client, not a callable that gives one."""
    return hasattr(given, "execute_command") or hasattr(given, "hgetall")


def is_async(given: Any) -> bool:
    """Whether it is an async client, or a callable that gives one."""
    import inspect

    if not is_client(given):
        return inspect.iscoroutinefunction(given)
    return any(
        inspect.iscoroutinefunction(getattr(given, name, None))
        for name in ("execute_command", "hget", "hgetall", "hset")
    )


def _decodes(client: Any) -> bool:
    """Whether its answers are texts."""
    try:
        return bool(client.get_encoder().decode_responses)
    except AttributeError:
        return False


class _Connections:
    """Connections to one server, kept for the next request."""

    def __init__(self, make: Callable[[], Any], most: int, timeout_error: Any) -> None:
        self._make = make
        self._most = most
        self._timeout_error = timeout_error
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._idle: list[Any] = []
        self._room = threading.BoundedSemaphore(self._most)

    @classmethod
    def like(cls, client: Any, pool: Any) -> _Connections | None:
        """Give connections as those of this client. None: it is not of a known kind."""
        module = sys.modules.get("redis")
        plain = getattr(module, "Redis", None)
        if (
            module is None
            or plain is None
            or not isinstance(client, plain)
            or type(client).execute_command is not plain.execute_command
            or type(pool) not in (module.ConnectionPool, module.BlockingConnectionPool)
        ):
            return None
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        options = {
            name: value
            for name, value in pool.connection_kwargs.items()
            if not name.startswith(_OF_THE_POOL)
        }
        for name in ("socket_timeout", "socket_connect_timeout"):
            options[name] = min(options.get(name) or 1.0, 1.0)
        options.update(
            retry=Retry(NoBackoff(), 0),
            retry_on_timeout=False,
            retry_on_error=[],
            decode_responses=False,
        )
        kind = pool.connection_class
        most = min(_MOST_CONNECTIONS, getattr(pool, "max_connections", 0) or 1)
        return cls(lambda: kind(**options), most, module.TimeoutError)

    def exchange(self, words: tuple[Any, ...], timeout: float) -> Any:
        """Send a command and wait for its answer."""
        if self._process != os.getpid():
            # They are the parent's.
            self._begin()
        room = self._room
        if not room.acquire(timeout=timeout):
            raise self._timeout_error(f"no connection was free for {timeout:.3g} s")
        try:
            while True:
                was_idle = bool(self._idle)
                connection = self._idle.pop() if was_idle else self._make()
                try:
                    return self._exchange_on(connection, words, timeout)
                except Exception as error:
                    # The server has closed it meanwhile, most likely: it was restarted.
                    if not was_idle or type(error).__name__ != "ConnectionError":
                        raise
        finally:
            room.release()

    def _exchange_on(
        self, connection: Any, words: tuple[Any, ...], timeout: float
    ) -> Any:
        ended = False
        try:
            connection.connect()
            connection.send_command(*words, check_health=False)
            if not connection.can_read(timeout):
                raise self._timeout_error(f"no answer within {timeout:.3g} s")
            try:
                answer = connection.read_response(disable_decoding=True)
            except Exception as error:
                # What the server says no to is an answer, too.
                ended = "ResponseError" in {
                    each.__name__ for each in type(error).__mro__
                }
                raise
            ended = True
            return answer
        finally:
            if ended:
                self._idle.append(connection)
            else:
                connection.disconnect()
