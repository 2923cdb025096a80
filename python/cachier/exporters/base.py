"""What every exporter of metrics is."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any

from ..metrics import CacheMetrics

__all__ = ["MetricsExporter"]


class MetricsExporter(abc.ABC):
    """Hands the metrics of cached functions to a monitoring system."""

    @abc.abstractmethod
    def register_function(self, func: Callable[..., Any]) -> None:
        """Have the metrics of a cached function exported.

        Parameters
        ----------
        func : callable
            A function that was decorated with ``enable_metrics=True``.

        Raises
        ------
        ValueError
            If the function has no metrics.

        """

    @abc.abstractmethod
    def export_metrics(self, func_name: str, metrics: CacheMetrics) -> None:
        """Have metrics exported under a name.

        Parameters
        ----------
        func_name : str
            What they are called.
        metrics : CacheMetrics
            The metrics, read whenever somebody asks for them.

        """

    @abc.abstractmethod
    def start(self) -> None:
        """Begin to export."""

    @abc.abstractmethod
    def stop(self) -> None:
        """Cease to export. Harmless before ``start`` and a second time."""
