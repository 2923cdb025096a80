"""Results on a Redis server: ``python redis_example.py [PORT]``.

Basic caching, staleness, a client that is made when it is needed, and looking after
what is stored. Needs ``pip install redis`` and a server: ``redis-server --port 6379``.
"""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from typing import Any

import redis

from cachier import cachier

PORT = int(sys.argv[1]) if len(sys.argv) > 1 else 6379
CLIENT = redis.Redis(host="localhost", port=PORT)


@cachier(backend="redis", redis_client=CLIENT)
def report(month: int) -> dict[str, Any]:
    """Stand for an hour of work."""
    print(f"  computing the report of month {month}")
    return {"month": month, "sum": sum(range(month * 1000))}


@cachier(backend="redis", redis_client=CLIENT, stale_after=timedelta(milliseconds=200))
def rate(currency: str) -> float:
    """Stand for what changes outside."""
    print(f"  asking for the rate of {currency}")
    return 1.25


def connect() -> redis.Redis:
    """Give a client; called for every operation."""
    return CLIENT


@cachier(backend="redis", redis_client=connect)
def length(text: str) -> int:
    """Stand for a function of a service that reads its settings late."""
    print(f"  measuring {text!r}")
    return len(text)


def main() -> None:
    """Show each of them."""
    print("Basic caching: computed once, for all processes that use this server")
    report(3)
    report(3)

    print("Staleness: computed again when it is too old")
    rate("EUR")
    rate("EUR")
    time.sleep(0.25)
    rate("EUR")

    print("A callable client")
    length("redis")
    length("redis")

    print("Cache management")
    report.precache_value(4, value_to_cache={"month": 4, "sum": 0})
    print("  stored beforehand:", report(4))
    report(3, cachier__overwrite_cache=True)
    report.clear_cache()
    report(3)
    for function in (report, rate, length):
        function.clear_cache()


if __name__ == "__main__":
    main()
