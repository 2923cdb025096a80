"""Counts and latencies of one cached function."""

from __future__ import annotations

import dataclasses
import os
import random
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from datetime import timedelta
from types import TracebackType

__all__ = ["CacheMetrics", "MetricSnapshot", "MetricsContext"]

_DEFAULT_WINDOWS = (
    timedelta(minutes=1),
    timedelta(hours=1),
    timedelta(days=1),
)
#: How many slices the longest window is cut into: latencies are summed by slice, so
#: that memory is bounded and nothing is dropped.
_SLICES = 1440


@dataclasses.dataclass(frozen=True)
class MetricSnapshot:
    """The metrics of a function at one moment.

    Parameters
    ----------
    hits : int
        Calls that were answered from the store.
    misses : int
        Calls that found nothing fresh.
    hit_rate : float
        Hits of a hundred calls.
    total_calls : int
        Hits and misses.
    avg_latency_ms : float
        What a call took on the average, in milliseconds, runs of the function included.
    stale_hits : int
        Calls that found an entry too old.
    recalculations : int
        Runs of the function for its result.
    wait_timeouts : int
        Calls that gave up waiting for another's computation.
    entry_count : int
        Entries in the store.
    total_size_bytes : int
        How large they are together.
    size_limit_rejections : int
        Results that were too large to be stored.

    """

    hits: int = 0
    misses: int = 0
    hit_rate: float = 0.0
    total_calls: int = 0
    avg_latency_ms: float = 0.0
    stale_hits: int = 0
    recalculations: int = 0
    wait_timeouts: int = 0
    entry_count: int = 0
    total_size_bytes: int = 0
    size_limit_rejections: int = 0


class CacheMetrics:
    """Counts what happens to the calls of a function. Thread-safe.

    Parameters
    ----------
    sampling_rate : float
        The part of the events that is counted, 0 to 1.
    window_sizes : sequence of datetime.timedelta
        Windows that ``get_stats`` will be asked for; the longest one bounds how long
        latencies are kept.

    """

    def __init__(
        self,
        sampling_rate: float = 1.0,
        window_sizes: Sequence[timedelta] | None = None,
    ) -> None:
        if not 0 <= sampling_rate <= 1:
            raise ValueError(
                f"sampling_rate must be between 0 and 1, not {sampling_rate!r}"
            )
        self._sampling_rate = sampling_rate
        windows = list(window_sizes) if window_sizes else list(_DEFAULT_WINDOWS)
        self._slice = max(max(windows).total_seconds() / _SLICES, 1e-3)
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}
        self._sizes = (0, 0)
        #: Counts what a function has stored; none: nobody does.
        self._measure: Callable[[], tuple[int, int] | None] | None = None
        self._latency = (0.0, 0)
        self._slices: deque[tuple[int, float, int]] = deque(maxlen=_SLICES + 1)
        _all.add(self)

    def _count(self, name: str) -> None:
        if self._is_sampled():
            with self._lock:
                self._counts[name] = self._counts.get(name, 0) + 1

    def _is_sampled(self) -> bool:
        rate = self._sampling_rate
        return rate >= 1 or random.random() < rate  # noqa: S311

    def record_hit(self) -> None:
        """Count a call that was answered from the store."""
        self._count("hits")

    def record_miss(self) -> None:
        """Count a call that found nothing fresh."""
        self._count("misses")

    def record_stale_hit(self) -> None:
        """Count a call that found an entry too old."""
        self._count("stale_hits")

    def record_recalculation(self) -> None:
        """Count a run of the function for its result."""
        self._count("recalculations")

    def record_wait_timeout(self) -> None:
        """Count a call that gave up waiting for another's computation."""
        self._count("wait_timeouts")

    def record_size_limit_rejection(self) -> None:
        """Count a result that was too large to be stored."""
        self._count("size_limit_rejections")

    def record_latency(self, seconds: float) -> None:
        """Count how long a call took, the function's run included.

        Parameters
        ----------
        seconds : float
            How long that was.

        """
        if not self._is_sampled():
            return
        number = int(time.monotonic() / self._slice)
        with self._lock:
            total, count = self._latency
            self._latency = (total + seconds, count + 1)
            if self._slices and self._slices[-1][0] == number:
                _, total, count = self._slices.pop()
                self._slices.append((number, total + seconds, count + 1))
            else:
                self._slices.append((number, seconds, 1))

    def update_size_metrics(self, entry_count: int, total_size_bytes: int) -> None:
        """Set how many entries there are, and how large they are together.

        Parameters
        ----------
        entry_count : int
            How many there are.
        total_size_bytes : int
            How large they are together.

        """
        with self._lock:
            self._sizes = (entry_count, total_size_bytes)

    def _update_sizes(self) -> None:
        if self._measure is None:
            return
        try:
            sizes = self._measure()
        except (OSError, RuntimeError):
            return  # the store cannot be asked now: what was known last
        if sizes is not None:
            self.update_size_metrics(*sizes)

    def get_stats(self, window: timedelta | None = None) -> MetricSnapshot:
        """Give the metrics as they are now.

        Of a cached function, the entries are counted in the store for it.

        Parameters
        ----------
        window : datetime.timedelta
            Averages only latencies of this last while; None or zero: all.

        Returns
        -------
        MetricSnapshot
            The counts, which do not change any more.

        """
        self._update_sizes()
        with self._lock:
            counts = dict(self._counts)
            entries, size = self._sizes
            total, count = self._latency
            if window:
                oldest = (time.monotonic() - window.total_seconds()) / self._slice
                recent = [part for part in self._slices if part[0] >= int(oldest)]
                total = sum(part[1] for part in recent)
                count = sum(part[2] for part in recent)
        hits, misses = counts.get("hits", 0), counts.get("misses", 0)
        calls = hits + misses
        return MetricSnapshot(
            hits=hits,
            misses=misses,
            hit_rate=100.0 * hits / calls if calls else 0.0,
            total_calls=calls,
            avg_latency_ms=1000.0 * total / count if count else 0.0,
            stale_hits=counts.get("stale_hits", 0),
            recalculations=counts.get("recalculations", 0),
            wait_timeouts=counts.get("wait_timeouts", 0),
            entry_count=entries,
            total_size_bytes=size,
            size_limit_rejections=counts.get("size_limit_rejections", 0),
        )

    def reset(self) -> None:
        """Begin anew, sizes included."""
        with self._lock:
            self._counts.clear()
            self._sizes = (0, 0)
            self._latency = (0.0, 0)
            self._slices.clear()


#: Those whose locks a fork must not leave held.
_all: weakref.WeakSet[CacheMetrics] = weakref.WeakSet()


def _free_locks() -> None:
    """In the child of a fork: who held one may not be there."""
    for metrics in _all:
        metrics._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free_locks)


class MetricsContext:
    """Measures the latency of a ``with`` block.

    Parameters
    ----------
    metrics : CacheMetrics or None
        Where it is counted; None: nowhere.

    """

    def __init__(self, metrics: CacheMetrics | None) -> None:
        self.metrics = metrics
        self._began = 0.0

    def __enter__(self) -> MetricsContext:
        """Begin."""
        self._began = time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Count how long it took."""
        if self.metrics is not None:
            self.metrics.record_latency(time.perf_counter() - self._began)
