"""An event loop of our own, on a thread: for what blocks, of clients that are awaited.

Made when first needed, and closed when the interpreter exits.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading

__all__ = ["own_loop"]

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_thread: threading.Thread | None = None
_process = os.getpid()
#: Of the parent of a fork: nobody closes what is not ours.
_left: list[object] = []


def own_loop() -> asyncio.AbstractEventLoop:
    """Give the loop, which runs."""
    global _loop, _thread
    if _process != os.getpid():
        _forget_thread()
    with _lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            _thread = threading.Thread(
                target=_run, args=(_loop,), name="cachier-loop", daemon=True
            )
            _thread.start()
            atexit.register(_close)
        return _loop


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


def _close() -> None:
    global _loop
    if _process != os.getpid():
        return
    with _lock:
        loop, thread = _loop, _thread
        _loop = None
    if loop is not None and thread is not None:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)


def _forget_thread() -> None:
    """In the child of a fork: its parent's thread is not there."""
    global _lock, _loop, _thread, _process
    _process = os.getpid()
    _lock = threading.Lock()
    _left.append((_loop, _thread))
    _loop = _thread = None
