"""Who waits for somebody else's computation is told of its end, by pub/sub.

One connection a server and process, on a thread that is there while somebody waits.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

from ._redis_client import is_plain_pool, limited, name_of, options_like

__all__ = ["listener_of"]

#: How long the connection is kept that nobody needs, in seconds.
_IDLE = 10.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0

_Wake = Callable[[bytes], object]

_listeners: dict[Any, _Listener] = {}
_lock = threading.Lock()
_process = os.getpid()
#: Of the parent of a fork: to close its connections would be to end the parent's.
_left: list[object] = []


class _Listener:
    """Listens for what the functions of a process wait for."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._lock = threading.Lock()
        #: By channel: how many wait, for which digest, and whom to tell.
        self._channels: dict[str, tuple[int, bytes, _Wake]] = {}
        self._connection: Any = None
        self._is_running = False

    def listen(self, channel: str, digest: bytes, wake: _Wake) -> None:
        """Begin to listen to a channel, once more."""
        with self._lock:
            count, _, _ = self._channels.get(channel, (0, b"", wake))
            self._channels[channel] = (count + 1, digest, wake)
            if not self._is_running:
                self._is_running = True
                threading.Thread(
                    target=self._run, name="cachier-listener", daemon=True
                ).start()
            elif count == 0:
                self._say("SUBSCRIBE", channel)

    def forget(self, channel: str) -> None:
        """End what one `listen` has begun."""
        with self._lock:
            count, digest, wake = self._channels.pop(channel, (1, b"", None))
            if count > 1 and wake is not None:
                self._channels[channel] = (count - 1, digest, wake)
            else:
                self._say("UNSUBSCRIBE", channel)

    def _say(self, *words: str) -> None:
        if self._connection is None:
            return
        try:
            self._connection.send_command(*words, check_health=False)
        except Exception:
            # Whoever reads from it meets that as well, and connects anew.
            self._connection.disconnect()

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            connection = None
            try:
                connection = self._make()
                connection.connect()
                self._begin(connection)
                pause = _FIRST_PAUSE
                while connection.can_read(_IDLE) or self._is_needed():
                    if connection.can_read(0):
                        self._hear(connection.read_response(disable_decoding=True))
            except Exception:
                # An outage, which the calls tell of. They poll.
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            finally:
                with self._lock:
                    self._connection = None
                if connection is not None:
                    connection.disconnect()
            with self._lock:
                if not self._channels:
                    self._is_running = False
                    return

    def _begin(self, connection: Any) -> None:
        with self._lock:
            self._connection = connection
            if self._channels:
                self._say("SUBSCRIBE", *self._channels)

    def _is_needed(self) -> bool:
        with self._lock:
            return bool(self._channels)

    def _hear(self, told: Any) -> None:
        # A subscription that begins is news, too: nothing is missed from then on.
        if told[0] not in (b"message", b"subscribe"):
            return
        with self._lock:
            _, digest, wake = self._channels.get(told[1].decode(), (0, b"", None))
        if wake is not None:
            wake(digest)


def listener_of(client: Any) -> _Listener | None:
    """Give who listens to the server of a client. None: there is no way to."""
    global _lock, _listeners, _process
    if _process != os.getpid():
        _left.append(_listeners)
        _lock, _listeners, _process = threading.Lock(), {}, os.getpid()
    if hasattr(client, "get_default_node"):
        # A message in a cluster reaches all of its servers.
        node = client.get_default_node()
        client = getattr(node, "redis_connection", None) or node
    pool = getattr(client, "connection_pool", client)
    if not is_plain_pool(pool):
        return None
    name = name_of(pool)
    with _lock:
        listener = _listeners.get(name)
        if listener is None:
            listener = _listeners[name] = _Listener(_maker(pool))
    return listener


def _maker(pool: Any) -> Callable[[], Any]:
    """Give what makes a connection that blocks, as those of a pool of either kind."""
    from redis import connection as blocking
    from redis.retry import Retry

    options = options_like(pool, Retry)
    options.pop("parser_class", None)
    # Where messages are answers.
    options["protocol"] = 2
    kind = getattr(blocking, pool.connection_class.__name__)
    return lambda: kind(**limited(options, 1.0))
