"""Ends what waits on a socket for too long, for drivers that know no deadline."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator

__all__ = ["deadline"]

#: How late it may come.
_SLICE = 0.02


class _Watcher:
    """One thread a process, which sleeps while nobody waits."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.lock = threading.Lock()
        self.waiting: dict[object, tuple[float, int]] = {}
        self._somebody = threading.Event()
        self._runs = False

    def add(self, key: object, until: float, descriptor: int) -> None:
        with self.lock:
            self.waiting[key] = (until, descriptor)
            if not self._runs:
                self._runs = True
                threading.Thread(
                    target=self._watch, name="cachier-deadlines", daemon=True
                ).start()
        self._somebody.set()

    def remove(self, key: object) -> bool:
        """Give whether it was still there: its time is not over."""
        with self.lock:
            return self.waiting.pop(key, None) is not None

    def _watch(self) -> None:
        while True:
            self._somebody.wait()
            with self.lock:
                now = time.monotonic()
                for key, (until, descriptor) in list(self.waiting.items()):
                    if now >= until:
                        del self.waiting[key]
                        _shut_down(descriptor)
                if not self.waiting:
                    self._somebody.clear()
            time.sleep(_SLICE)


def _shut_down(descriptor: int) -> None:
    # Who waits on it is told that the other side has gone.
    with contextlib.suppress(OSError):
        ours = socket.socket(fileno=os.dup(descriptor))
        with ours:
            ours.shutdown(socket.SHUT_RDWR)


_watcher = _Watcher()


@contextlib.contextmanager
def deadline(descriptor: int, seconds: float) -> Iterator[None]:
    """Shut the socket of a descriptor down if the block takes longer.

    Raises
    ------
    TimeoutError
        It did.

    """
    global _watcher
    watcher = _watcher
    if watcher.process != os.getpid():
        # The thread is the parent's.
        watcher = _watcher = _Watcher()
    key = object()
    watcher.add(key, time.monotonic() + seconds, descriptor)
    try:
        yield
    except BaseException as error:
        if not watcher.remove(key) and isinstance(error, Exception):
            raise TimeoutError(
                f"no answer within {seconds:.3g} s (operation_timeout)"
            ) from error
        raise
    if not watcher.remove(key):
        raise TimeoutError(f"no answer within {seconds:.3g} s (operation_timeout)")
