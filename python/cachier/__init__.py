"""Persistent, stale-free caching of function results.

>>> from datetime import timedelta
>>> from cachier import cachier
>>> @cachier(stale_after=timedelta(days=3))
... def forecast(model: str, step: int) -> float:
...     ...

The first call with given arguments computes, and its result is stored; later calls are
answered from the store, in every process of this machine, until the result is stale.
"""

from __future__ import annotations

import atexit as _atexit
import os as _os
import sys as _sys

if (
    "t" in getattr(_sys, "abiflags", "")
    or not getattr(_sys, "_is_gil_enabled", lambda: True)()
):
    raise ImportError(
        "cannot import cachier: this Python is free-threaded\n"
        "  cause: its engine relies on the global interpreter lock\n"
        "  fix:   use the build of Python that has the lock (python3, not python3t)"
    )

from . import _core
from ._errors import CachierWarning
from ._version import __version__
from .config import (
    caching_disabled,
    disable_caching,
    enable_caching,
    get_default_params,
    get_global_params,
    set_default_params,
    set_global_params,
)
from .core import cachier
from .util import parse_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._reporting import report
    from .metrics import CacheMetrics, MetricSnapshot

__all__ = [
    "CacheMetrics",
    "CachierWarning",
    "MetricSnapshot",
    "__version__",
    "cachier",
    "caching_disabled",
    "disable_caching",
    "enable_caching",
    "get_default_params",
    "get_global_params",
    "parse_bytes",
    "report",
    "set_default_params",
    "set_global_params",
]

# The engine's own threads: none calls into an interpreter that is going. Refreshes are
# over by then.
_atexit.register(_core.shutdown)
if hasattr(_os, "register_at_fork"):
    _os.register_at_fork(after_in_child=_core.after_fork_in_child)


def __getattr__(name: str) -> Any:
    """Import what few programs need when it is first asked for."""
    if name in ("CacheMetrics", "MetricSnapshot"):
        from . import metrics

        return getattr(metrics, name)
    if name == "report":
        from ._reporting import report

        return report
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
