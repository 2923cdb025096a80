"""Claims of this process that end by time, renewed while they are held.

One daemon thread a process, there as long as something is held.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable

__all__ = ["hold", "let_go"]

_log = logging.getLogger("cachier")


class _Held:
    __slots__ = ("due", "every", "renew")

    def __init__(self, renew: Callable[[], bool], every: float) -> None:
        self.renew = renew
        self.every = every
        self.due = time.monotonic() + every


_held: dict[bytes, _Held] = {}
_changed = threading.Condition()
_thread: threading.Thread | None = None


def hold(claim: bytes, renew: Callable[[], bool], every: float) -> None:
    """Call `renew` every so many seconds, until it says that the claim is lost."""
    global _thread
    with _changed:
        _held[claim] = _Held(renew, every)
        if _thread is None:
            _thread = threading.Thread(target=_keep, name="cachier-leases", daemon=True)
            _thread.start()
        elif len(_held) == 1:
            _changed.notify()


def let_go(claim: bytes) -> None:
    """Renew a claim no longer."""
    with _changed:
        _held.pop(claim, None)


def _keep() -> None:
    global _thread
    while True:
        with _changed:
            if not _held and not _changed.wait_for(lambda: _held, timeout=10.0):
                _thread = None
                return
            now = time.monotonic()
            due = [(claim, held) for claim, held in _held.items() if held.due <= now]
            if not due:
                first = min(held.due for held in _held.values())
                _changed.wait(timeout=max(0.01, first - now))
                continue
            for _, held in due:
                held.due = now + held.every
        for claim, held in due:
            if claim in _held:
                _renew(claim, held)


def _renew(claim: bytes, held: _Held) -> None:
    try:
        holds = held.renew()
    except Exception:
        _log.debug("a claim could not be renewed", exc_info=True)
        # It may still hold: soon again.
        held.due = time.monotonic() + held.every / 3
        return
    if not holds:
        let_go(claim)


def _forget() -> None:
    global _changed, _thread
    _held.clear()
    _changed = threading.Condition()
    _thread = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
