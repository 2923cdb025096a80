"""The dataclasses of ``cachier.config``."""

from __future__ import annotations

import dataclasses
import datetime
import os
from collections.abc import Callable, Sequence
from typing import Any

from . import _core
from .config import DEFAULTS


@dataclasses.dataclass
class Params:
    """Global parameters: what the decorators leave open.

    Assigning to a field takes effect at the next call. ``backend``, ``cache_dir``,
    ``hash_func``, ``mongetter``, ``pickle_reload``, ``separate_files``,
    ``entry_size_limit``, ``allow_non_static_methods`` and ``signing_key`` are read when
    a decorator is applied, the others at every call.

    Parameters
    ----------
    caching_enabled : bool
        Whether calls are answered from stores.
    hash_func : callable or None
        Makes the key of a call.
    backend : str
        Where results are stored.
    mongetter : callable or None
        Gives a MongoDB collection.
    stale_after : datetime.timedelta
        How old a result may be.
    next_time : bool
        Hand out what is too old, and compute anew in the background.
    cache_dir : str or path-like
        The directory of the local store.
    pickle_reload : bool
        Whether each call asks the store, or the process answers from what it has read.
    separate_files : bool
        Keep one file an entry.
    wait_for_calc_timeout : float
        Seconds to wait for another's computation; 0: as long as it takes.
    allow_none : bool
        Whether None is stored.
    cleanup_stale : bool
        Remove what is too old, in the background.
    cleanup_interval : datetime.timedelta
        How often that is done at most.
    entry_size_limit : int, str or None
        What is larger is not stored.
    allow_non_static_methods : bool
        Whether methods may be decorated.
    signing_key : bytes, str, sequence of them or None
        What entries are signed with. Not shown by ``repr``.
    operation_timeout : float, datetime.timedelta or None
        Seconds that one operation on a store may take.

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
    signing_key: bytes | str | Sequence[bytes | str] | None = dataclasses.field(
        default=None, repr=False
    )
    operation_timeout: float | datetime.timedelta | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        """Assign, and have every function read its settings anew."""
        object.__setattr__(self, name, value)
        from . import config

        if config._live is not self:
            return
        config.changes += 1
        if name == "caching_enabled":
            _core.set_caching_enabled(config.is_caching_on())
        else:
            _core.settings_changed()


Params.__module__ = "cachier.config"


@dataclasses.dataclass
class CacheEntry:
    """One stored result, as programs that speak of entries know it.

    Parameters
    ----------
    value : Any
        The result.
    time : datetime.datetime
        When it was stored.
    stale : bool
        Whether it is to be computed anew.
    _processing : bool
        Whether it is being computed.
    _condition : Any
        Not used.
    _completed : bool
        Whether it has been computed.

    """

    value: Any
    time: datetime.datetime
    stale: bool
    _processing: bool
    _condition: Any = None
    _completed: bool = False


CacheEntry.__module__ = "cachier.config"
