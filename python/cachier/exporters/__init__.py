"""Metrics of cached functions, for monitoring systems."""

from __future__ import annotations

from .base import MetricsExporter
from .prometheus import PrometheusExporter

__all__ = ["MetricsExporter", "PrometheusExporter"]
