"""Metrics for Prometheus, by a small HTTP server of their own."""

from __future__ import annotations

import http.server
import importlib
import threading
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from ..metrics import CacheMetrics, MetricSnapshot
from .base import MetricsExporter

__all__ = ["PrometheusExporter"]

#: Name, type and meaning of each metric, and the field of the snapshot.
_METRICS = (
    ("cachier_cache_hits_total", "counter", "Calls answered from the store.", "hits"),
    (
        "cachier_cache_misses_total",
        "counter",
        "Calls that found nothing fresh.",
        "misses",
    ),
    ("cachier_cache_hit_rate", "gauge", "Hits per hundred calls.", "hit_rate"),
    (
        "cachier_stale_hits_total",
        "counter",
        "Calls that found an entry too old.",
        "stale_hits",
    ),
    (
        "cachier_recalculations_total",
        "counter",
        "Runs of the function for its result.",
        "recalculations",
    ),
    (
        "cachier_wait_timeouts_total",
        "counter",
        "Calls that gave up waiting for another's computation.",
        "wait_timeouts",
    ),
    (
        "cachier_avg_latency_ms",
        "gauge",
        "Average latency of a call in milliseconds.",
        "avg_latency_ms",
    ),
    (
        "cachier_size_limit_rejections_total",
        "counter",
        "Results that were too large to be stored.",
        "size_limit_rejections",
    ),
    ("cachier_entry_count", "gauge", "Entries in the store.", "entry_count"),
    (
        "cachier_cache_size_bytes",
        "gauge",
        "Bytes of the entries in the store.",
        "total_size_bytes",
    ),
)

_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class PrometheusExporter(MetricsExporter):
    """Serves the metrics of cached functions at ``/metrics``.

    Nothing is bound until ``start``. The metrics are read when they are asked for.

    Parameters
    ----------
    port : int
        Where the server listens; 0: at a free port, which ``port`` then is.
    use_prometheus_client : bool
        Also offer the metrics as ``registry``, a ``CollectorRegistry`` of its own, if
        ``prometheus_client`` is installed. Else ``registry`` is None.
    host : str
        The address that the server listens at.

    """

    def __init__(
        self,
        port: int = 9090,
        use_prometheus_client: bool = True,
        host: str = "127.0.0.1",
    ) -> None:
        self.port = port
        self.host = host
        self.registry: Any = None
        self._lock = threading.Lock()
        self._metrics: dict[str, CacheMetrics] = {}
        self._server: http.server.ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        if use_prometheus_client:
            self.registry = _registry_of(self)

    def register_function(self, func: Callable[..., Any]) -> None:
        """Have the metrics of a cached function exported, as ``module.name``.

        Parameters
        ----------
        func : callable
            A function that was decorated with ``enable_metrics=True``.

        Raises
        ------
        ValueError
            If the function has no metrics.

        """
        metrics = getattr(func, "metrics", None)
        called = f"{func.__module__}.{getattr(func, '__name__', repr(func))}"
        if not isinstance(metrics, CacheMetrics):
            raise ValueError(
                f"{called} does not have metrics enabled\n"
                "  fix: decorate it with @cachier(enable_metrics=True)"
            )
        self.export_metrics(called, metrics)

    def export_metrics(self, func_name: str, metrics: CacheMetrics) -> None:
        """Have metrics exported under a name; an earlier one of it is replaced.

        Parameters
        ----------
        func_name : str
            The label ``function``.
        metrics : CacheMetrics
            The metrics, read whenever somebody asks for them.

        """
        with self._lock:
            self._metrics[func_name] = metrics

    def start(self) -> None:
        """Listen, and answer in a thread. Harmless a second time."""
        with self._lock:
            if self._server is not None:
                return

            class Handler(_Handler):
                exporter = self

            server = http.server.ThreadingHTTPServer((self.host, self.port), Handler)
            server.daemon_threads = True
            self._server = server
            self.port = server.server_address[1]
            self._thread = threading.Thread(
                target=server.serve_forever,
                kwargs={"poll_interval": 0.05},
                name="cachier-prometheus",
                daemon=True,
            )
            self._thread.start()

    def stop(self) -> None:
        """Cease to listen. Harmless before ``start`` and a second time."""
        with self._lock:
            server, self._server = self._server, None
            thread, self._thread = self._thread, None
        if server is not None and thread is not None:
            server.shutdown()
            thread.join()
            server.server_close()

    def _snapshots(self) -> list[tuple[str, MetricSnapshot]]:
        with self._lock:
            metrics = sorted(self._metrics.items())
        return [(name, one.get_stats()) for name, one in metrics]

    def _text(self) -> str:
        """Give all metrics in the text format of Prometheus."""
        snapshots = self._snapshots()
        lines = []
        for name, kind, meaning, field in _METRICS:
            lines.append(f"# HELP {name} {meaning}")
            lines.append(f"# TYPE {name} {kind}")
            lines.extend(
                f'{name}{{function="{_escaped(function)}"}} {getattr(stats, field)}'
                for function, stats in snapshots
            )
        return "\n".join(lines) + "\n"


class _Handler(http.server.BaseHTTPRequestHandler):
    exporter: ClassVar[PrometheusExporter]

    def do_GET(self) -> None:
        """Answer a scrape."""
        if self.path.partition("?")[0] != "/metrics":
            self.send_error(404)
            return
        body = self.exporter._text().encode()
        self.send_response(200)
        self.send_header("Content-Type", _CONTENT_TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing: a library does not print."""


def _escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


class _Collector:
    """What `prometheus_client` asks for metrics."""

    def __init__(self, exporter: PrometheusExporter, core: Any) -> None:
        self._exporter = exporter
        self._core = core

    def collect(self) -> Iterator[Any]:
        """Give the metrics of all functions, as they are now."""
        snapshots = self._exporter._snapshots()
        for name, kind, meaning, field in _METRICS:
            of = getattr(self._core, f"{kind.capitalize()}MetricFamily")
            family = of(name, meaning, labels=["function"])
            for function, stats in snapshots:
                family.add_metric([function], getattr(stats, field))
            yield family


def _registry_of(exporter: PrometheusExporter) -> Any:
    """Give a registry with the metrics of an exporter; None: no `prometheus_client`."""
    try:
        client = importlib.import_module("prometheus_client")
        core = importlib.import_module("prometheus_client.core")
    except ImportError:
        return None
    registry = client.CollectorRegistry(auto_describe=False)
    registry.register(_Collector(exporter, core))
    return registry
