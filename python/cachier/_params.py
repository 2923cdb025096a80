"""The dataclasses of ``cachier.config``."""

from __future__ import annotations

import dataclasses
import datetime
import os
from collections.abc import Callable
from typing import Any

from . import _core
from .config import DEFAULTS


@dataclasses.dataclass
class Params:
    """Global parameters: what the decorators leave open.

    Assigning to a field takes effect at the next call. ``backend``, ``cache_dir``,
    ``hash_func``, ``mongetter``, ``pickle_reload``, ``separate_files``,
    ``entry_size_limit`` and ``allow_non_static_methods`` are read when a decorator is
    applied, the others at every call.
    """

    caching_enabled: bool = True
    hash_func: Callable[..., Any] | None = None
    backend: str = "pickle"
    mongetter: Callable[[], Any] | None = None
    stale_after: datetime.timedelta = datetime.timedelta.max
    next_time: bool = False
    cache_dir: str | os.PathLike[str] = DEFAULTS["cache_dir"]
    pickle_reload: bool = True
    separate_files: bool = False
    wait_for_calc_timeout: float = 0
    allow_none: bool = False
    cleanup_stale: bool = False
    cleanup_interval: datetime.timedelta = datetime.timedelta(days=1)
    entry_size_limit: int | str | None = None
    allow_non_static_methods: bool = False

    def __setattr__(self, name: str, value: Any) -> None:
        """Assign, and have every function read its settings anew."""
        object.__setattr__(self, name, value)
        from . import config

        if config._live is not self:
            return
        if name == "caching_enabled":
            _core.set_caching_enabled(config.is_caching_on())
        else:
            _core.settings_changed()


Params.__module__ = "cachier.config"


@dataclasses.dataclass
class CacheEntry:
    """One stored result, as programs that speak of entries know it."""

    value: Any
    time: datetime.datetime
    stale: bool
    _processing: bool
    _condition: Any = None
    _completed: bool = False


CacheEntry.__module__ = "cachier.config"
