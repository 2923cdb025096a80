"""What the whole program sets: defaults of every decorated function.

``Params`` and ``CacheEntry`` are made when they are first asked for, because
``dataclasses`` takes longer to import than all of this package.
"""

from __future__ import annotations

import datetime
import os

from . import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ._params import CacheEntry, Params

__all__ = [
    "CacheEntry",
    "LazyCacheDir",
    "Params",
    "caching_disabled",
    "disable_caching",
    "enable_caching",
    "get_default_params",
    "get_global_params",
    "set_default_params",
    "set_global_params",
]


class LazyCacheDir(os.PathLike[str]):
    """The default cache directory, looked up each time it is needed.

    ``$XDG_CACHE_HOME/cachier``, else ``~/.cachier``.
    """

    def __fspath__(self) -> str:
        """Give the directory as the environment has it now."""
        return _core.default_cache_dir()

    def __str__(self) -> str:
        """Give the directory as text."""
        return self.__fspath__()

    def __repr__(self) -> str:
        """Say what it is and where it leads."""
        return f"LazyCacheDir({self.__fspath__()!r})"

    def __eq__(self, other: object) -> bool:
        """Compare as the path that it is."""
        if isinstance(other, (str, os.PathLike)):
            return self.__fspath__() == os.fspath(other)
        return NotImplemented

    def __hash__(self) -> int:
        """Hash as the path that it is."""
        return hash(self.__fspath__())


#: The default of each field of ``Params``.
DEFAULTS: dict[str, Any] = {
    "caching_enabled": _core.caching_enabled(),
    "hash_func": None,
    "backend": "pickle",
    "mongetter": None,
    "stale_after": datetime.timedelta.max,
    "next_time": False,
    "cache_dir": LazyCacheDir(),
    "pickle_reload": True,
    "separate_files": False,
    "wait_for_calc_timeout": 0,
    "allow_none": False,
    "cleanup_stale": False,
    "cleanup_interval": datetime.timedelta(days=1),
    "entry_size_limit": None,
    "allow_non_static_methods": False,
    "signing_key": None,
    "operation_timeout": None,
}

#: The live object, once somebody asked for it.
_live: Params | None = None

#: How often one of its fields was assigned to.
changes = 0


def value_of(name: str) -> Any:
    """Give the global value of an option."""
    if _live is None:
        return DEFAULTS[name]
    return getattr(_live, name)


def values() -> dict[str, Any]:
    """Give the global values of all options, by name; to be read only."""
    return DEFAULTS if _live is None else vars(_live)


def get_global_params() -> Params:
    """Give the live global parameters: assigning to its fields takes effect.

    Returns
    -------
    Params
        The object itself, not a copy.

    """
    global _live
    if _live is None:
        from ._params import Params

        _live = Params(**DEFAULTS)
    return _live


def set_global_params(**params: Any) -> None:
    """Set global parameters, for all that the decorators leave open.

    Parameters
    ----------
    **params : Any
        Fields of ``Params``. Names that it does not have are ignored, and nothing is
        checked here.

    """
    live = get_global_params()
    for name, value in params.items():
        if name in DEFAULTS:
            setattr(live, name, value)


def _warn_of_old_name(old: str, new: Callable[..., Any]) -> None:
    import warnings

    warnings.warn(
        f"{old}() is deprecated and will be removed; use {new.__name__}() instead",
        DeprecationWarning,
        stacklevel=3,
    )


def get_default_params() -> Params:
    """Give the global parameters (old name of ``get_global_params``).

    Returns
    -------
    Params
        The object itself, not a copy.

    """
    _warn_of_old_name("get_default_params", get_global_params)
    return get_global_params()


def set_default_params(**params: Any) -> None:
    """Set global parameters (old name of ``set_global_params``).

    Parameters
    ----------
    **params : Any
        Fields of ``Params``.

    """
    _warn_of_old_name("set_default_params", set_global_params)
    set_global_params(**params)


def enable_caching() -> None:
    """Turn caching on for the whole program, entries and all as they were."""
    get_global_params().caching_enabled = True


def disable_caching() -> None:
    """Turn caching off for the whole program: calls run their functions."""
    get_global_params().caching_enabled = False


#: One item for each block of `caching_disabled` that goes on.
_blocks: list[None] = []


def is_caching_on() -> bool:
    """Tell whether calls are answered from stores."""
    return not _blocks and bool(value_of("caching_enabled"))


class caching_disabled:  # noqa: N801  used as a statement, as what contextlib has
    """Turn caching off for the whole program while a ``with`` block goes on.

    >>> with caching_disabled():
    ...     forecast("gfs", 3)  # runs the function, and stores nothing

    All threads are meant, as with ``disable_caching``. Blocks nest, and may overlap in
    several threads: caching is on again when the last one ends, unless it is turned off
    otherwise.
    """

    def __enter__(self) -> None:
        """Turn it off."""
        _blocks.append(None)
        _core.set_caching_enabled(False)

    def __exit__(self, *error: object) -> None:
        """Turn it on again, if nobody else wants it off."""
        _blocks.pop()
        _core.set_caching_enabled(is_caching_on())


def __getattr__(name: str) -> Any:
    """Make the dataclasses when they are first asked for."""
    if name in ("CacheEntry", "Params"):
        from . import _params

        return getattr(_params, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
