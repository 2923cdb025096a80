"""What a function's cache is worth: counted, and served to Prometheus."""

import urllib.request

from cachier import cachier
from cachier.exporters import PrometheusExporter


@cachier(backend="memory", enable_metrics=True)
def double(n: int) -> int:
    return 2 * n


for n in (1, 2, 1, 1):
    double(n)

assert double.metrics is not None
stats = double.metrics.get_stats()
print(f"{stats.hits} hits, {stats.misses} misses, {stats.hit_rate:.0f} %")

exporter = PrometheusExporter(port=0)  # any port that is free
exporter.register_function(double)
exporter.start()
with urllib.request.urlopen(f"http://127.0.0.1:{exporter.port}/metrics") as page:
    for line in page.read().decode().splitlines():
        if line.startswith("cachier_cache_hits_total"):
            print(line)
exporter.stop()
