"""The threads that refresh results behind the calls.

Made when first needed, and joined before the interpreter exits, with all that was
handed to them by then.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .core import DEFAULT_MAX_WORKERS, MAX_WORKERS_ENVAR_NAME

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None


def _max_workers() -> int:
    try:
        return max(1, int(os.environ[MAX_WORKERS_ENVAR_NAME]))
    except (KeyError, ValueError):
        return DEFAULT_MAX_WORKERS


def submit(task: Callable[[], Any]) -> bool:
    """Have a thread run a task. False: the interpreter is on its way out."""
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(_max_workers(), thread_name_prefix="cachier")
        pool = _pool
    try:
        pool.submit(task)
    except RuntimeError:
        return False
    return True


def _forget_threads() -> None:
    """In the child of a fork: its parent's threads are not there."""
    global _lock, _pool
    _lock = threading.Lock()
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
