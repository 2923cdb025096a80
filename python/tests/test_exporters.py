"""Metrics for monitoring systems."""

import socket
import urllib.error
import urllib.request

import pytest

import cachier
from cachier.exporters import MetricsExporter, PrometheusExporter, base, prometheus

NAMES = {
    "cachier_cache_hits_total": 1,
    "cachier_cache_misses_total": 1,
    "cachier_cache_hit_rate": 50.0,
    "cachier_stale_hits_total": 0,
    "cachier_recalculations_total": 1,
    "cachier_wait_timeouts_total": 0,
    "cachier_avg_latency_ms": None,
    "cachier_size_limit_rejections_total": 0,
    "cachier_entry_count": 1,
    "cachier_cache_size_bytes": None,
}


@pytest.fixture
def measured():
    @cachier.cachier(backend="memory", enable_metrics=True)
    def f(x):
        return x

    f(1), f(1)
    return f


@pytest.fixture
def exporter():
    made = PrometheusExporter(port=0, use_prometheus_client=False)
    yield made
    made.stop()


def scrape(exporter, path="/metrics"):
    url = f"http://{exporter.host}:{exporter.port}{path}"
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.status, answer.read().decode()


def samples(text):
    return dict(
        line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")
    )


def test_import_paths():
    assert base.MetricsExporter is MetricsExporter
    assert prometheus.PrometheusExporter is PrometheusExporter
    assert issubclass(PrometheusExporter, MetricsExporter)
    with pytest.raises(TypeError):
        MetricsExporter()


def test_metrics_are_served(exporter, measured):
    exporter.register_function(measured)
    exporter.start()
    assert exporter.port != 0
    status, text = scrape(exporter)
    assert status == 200
    found = samples(text)
    label = f"{measured.__module__}.f"
    assert set(found) == {f'{name}{{function="{label}"}}' for name in NAMES}
    for name, value in NAMES.items():
        if value is not None:
            assert float(found[f'{name}{{function="{label}"}}']) == value
        assert f"# TYPE {name} " in text


def test_they_are_read_when_asked_for(exporter, measured):
    exporter.register_function(measured)
    exporter.start()
    measured(1), measured(1)
    assert 'cachier_cache_hits_total{function="' in scrape(exporter)[1]
    hits = [
        value
        for name, value in samples(scrape(exporter)[1]).items()
        if name.startswith("cachier_cache_hits_total")
    ]
    assert hits == ["3"]


def test_names_are_given_and_escaped(exporter):
    metrics = cachier.CacheMetrics()
    metrics.record_miss()
    exporter.export_metrics('a"b\\c\nd', metrics)
    exporter.start()
    text = scrape(exporter)[1]
    assert 'cachier_cache_misses_total{function="a\\"b\\\\c\\nd"} 1' in text


@pytest.mark.parametrize("path", ["/", "/metric", "/metrics/more"])
def test_anything_else_is_not_found(exporter, path):
    exporter.start()
    with pytest.raises(urllib.error.HTTPError) as caught:
        scrape(exporter, path)
    assert caught.value.code == 404
    caught.value.close()


def test_functions_without_metrics_are_refused(exporter):
    f = cachier.cachier(backend="memory")(lambda: 1)
    with pytest.raises(ValueError, match="does not have metrics enabled"):
        exporter.register_function(f)
    with pytest.raises(ValueError, match="does not have metrics enabled"):
        exporter.register_function(len)


def test_nothing_is_bound_before_it_starts():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        exporter = PrometheusExporter(port=port)
        exporter.stop()
        with pytest.raises(OSError, match="in use"):
            exporter.start()
        exporter.stop()


def test_starting_and_stopping_twice(exporter, capfd):
    exporter.stop()
    exporter.start()
    exporter.start()
    scrape(exporter)
    exporter.stop()
    exporter.stop()
    with pytest.raises(urllib.error.URLError):
        scrape(exporter)
    assert capfd.readouterr() == ("", "")


def test_a_registry_of_its_own(measured):
    client = pytest.importorskip("prometheus_client")
    exporter = PrometheusExporter(port=0)
    exporter.register_function(measured)
    assert exporter.registry is not client.REGISTRY
    text = client.generate_latest(exporter.registry).decode()
    for name in NAMES:
        assert name in text
    assert PrometheusExporter(port=0).registry is not exporter.registry


def test_without_prometheus_client(monkeypatch, measured):
    monkeypatch.setitem(__import__("sys").modules, "prometheus_client", None)
    exporter = PrometheusExporter(port=0)
    assert exporter.registry is None
    exporter.register_function(measured)
    exporter.start()
    try:
        assert "cachier_entry_count" in scrape(exporter)[1]
    finally:
        exporter.stop()
