"""The engine of cachier, as Python sees it."""

import os
from collections.abc import Callable
from datetime import timedelta
from typing import (
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    TypeVar,
    final,
    overload,
)

from .core import Options
from .metrics import CacheMetrics

_P = ParamSpec("_P")
_Q = ParamSpec("_Q")
_R = TypeVar("_R")
_R_co = TypeVar("_R_co", covariant=True)
_Self = TypeVar("_Self")

class _Calls(Generic[_P, _R_co]):
    # As the function itself; then once for each option of a call, given at least that.
    @overload
    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R_co: ...
    @overload
    def __call__(
        self, *args: Any, max_age: timedelta | None, **kwargs: Any
    ) -> _R_co: ...
    @overload
    def __call__(
        self, *args: Any, cachier__skip_cache: bool, **kwargs: Any
    ) -> _R_co: ...
    @overload
    def __call__(
        self, *args: Any, cachier__overwrite_cache: bool, **kwargs: Any
    ) -> _R_co: ...
    @overload
    def __call__(self, *args: Any, cachier__verbose: bool, **kwargs: Any) -> _R_co: ...
    @overload
    def __call__(
        self, *args: Any, cachier__allow_none: bool | None, **kwargs: Any
    ) -> _R_co: ...
    @overload
    def __call__(
        self, *args: Any, cachier__stale_after: timedelta | None, **kwargs: Any
    ) -> _R_co: ...
    @overload
    def __call__(
        self, *args: Any, cachier__next_time: bool | None, **kwargs: Any
    ) -> _R_co: ...
    @overload
    def __call__(
        self, *args: Any, cachier__cleanup_stale: bool | None, **kwargs: Any
    ) -> _R_co: ...
    @overload
    def __call__(
        self, *args: Any, cachier__cleanup_interval: timedelta | None, **kwargs: Any
    ) -> _R_co: ...
    def precache_value(self, *args: Any, value_to_cache: _R, **kwds: Any) -> _R: ...
    def key(self, *args: _P.args, **kwargs: _P.kwargs) -> str: ...
    def invalidate(self, *args: _P.args, **kwargs: _P.kwargs) -> bool: ...
    @overload
    def is_cached(self, *args: _P.args, **kwargs: _P.kwargs) -> bool: ...
    @overload
    def is_cached(
        self, *args: Any, max_age: timedelta | None, **kwargs: Any
    ) -> bool: ...
    @overload
    def peek(self, *args: _P.args, **kwargs: _P.kwargs) -> _R_co | None: ...
    @overload
    def peek(
        self, *args: Any, max_age: timedelta | None, **kwargs: Any
    ) -> _R_co | None: ...
    def explain(self, *args: Any, **kwargs: Any) -> str: ...
    def clear_cache(self) -> None: ...
    def clear_being_calculated(self) -> None: ...
    def cache_dpath(self) -> str | None: ...
    def _measure(self) -> tuple[int, int]: ...
    def _configure(
        self,
        ignore: tuple[str, ...],
        exceptions: tuple[type[Exception], ...],
        copies: bool,
        holds: bool,
        code: int,
        other_code: int,
        /,
    ) -> None: ...
    def _use_store(self, store: Store, /) -> None: ...
    @property
    def _store(self) -> Store: ...
    @property
    def metrics(self) -> CacheMetrics | None: ...
    @property
    def _function_id(self) -> str: ...
    @property
    def _options(self) -> Options: ...
    @property
    def _counters(self) -> dict[str, int]: ...
    __name__: str
    __qualname__: str
    __module__: str
    __wrapped__: Callable[..., _R_co]

@final
class BoundCachedFunction(_Calls[_P, _R_co]):
    def __new__(
        cls, function: CachedFunction[..., _R_co], instance: object, /
    ) -> BoundCachedFunction[_P, _R_co]: ...
    @property
    def __func__(self) -> CachedFunction[..., _R_co]: ...
    @property
    def __self__(self) -> object: ...

@final
class CachedFunction(_Calls[_P, _R_co]):
    def __new__(
        cls,
        function: Callable[_P, _R_co],
        store: Store,
        options: Options,
        function_id: str,
        name: str,
        parameters: (
            Callable[..., Any]
            | list[tuple[str, int, Any]]
            | tuple[list[tuple[str, int, Any]], Callable[..., Any]]
        ),
        unkeyed: int,
        bound_arguments: tuple[Any, ...] | None,
        bound_keywords: dict[str, Any] | None,
        hash_func: Callable[..., Any] | None,
        metrics: CacheMetrics | None,
        size_limit: int | None,
        raise_outages: bool,
        raise_refusals: bool,
        mapped: bool,
        max_entries: int | None,
        max_bytes: int | None,
    ) -> CachedFunction[_P, _R_co]: ...
    @overload
    def __get__(self, instance: None, owner: type, /) -> CachedFunction[_P, _R_co]: ...
    @overload
    def __get__(
        self: CachedFunction[Concatenate[_Self, _Q], _R],
        instance: _Self,
        owner: type | None = None,
        /,
    ) -> BoundCachedFunction[_Q, _R]: ...

@final
class Store:
    @property
    def location(self) -> str: ...

@final
class FileBuffer:
    def __buffer__(self, flags: int, /) -> memoryview: ...

def open_store(
    backend: str,
    cache_dir: str | bytes | os.PathLike[str],
    separate_files: bool = False,
    /,
) -> Store: ...
def settings_changed() -> None: ...
def caching_enabled() -> bool: ...
def set_caching_enabled(enabled: object, /) -> None: ...
def default_cache_dir() -> str: ...
def is_call_option(name: object, /) -> bool: ...
def read_timedelta(value: object, option: str, /) -> int | None: ...
def function_id(
    key_prefix: str, name: str, code: str, parameters: str | None, version: str, /
) -> str: ...
def code_digest(
    functions: tuple[object, ...], tell_apart: Callable[[Any], str] | None = None, /
) -> str: ...
def encode_key(value: object, /) -> bytes: ...
def call_key(
    function: CachedFunction[..., Any], /, *args: object, **kwds: object
) -> bytes: ...
def digest(function_id: str, key: bytes, /) -> str: ...
def encode_value(value: object, /) -> tuple[int, bytes]: ...
def decode_value(
    codec: int, data: bytes | bytearray | memoryview, fingerprint: int = 0, /
) -> Any: ...
def after_fork_in_child() -> None: ...
