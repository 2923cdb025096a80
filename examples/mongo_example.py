"""Results in MongoDB: ``python mongo_example.py [URL]``.

The URL names the database. Needs ``pip install pymongo``.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import Any

import pymongo
from pymongo.collection import Collection

from cachier import cachier

URL = sys.argv[1] if len(sys.argv) > 1 else "mongodb://localhost/example"
CLIENT: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(URL)


def collection() -> Collection[dict[str, Any]]:
    """Give the collection: called with the first call, not before."""
    return CLIENT.get_default_database()["cache"]


@cachier(mongetter=collection, stale_after=timedelta(days=1))
def report(month: int) -> dict[str, Any]:
    """Stand for an hour of work."""
    print(f"  computing the report of month {month}")
    return {"month": month, "sum": sum(range(month * 1000))}


print("Twice the same:")
print(f"  {report(3)['sum']}")
print(f"  {report(3)['sum']}")

print("One entry is removed:")
report.invalidate(3)
print(f"  {report(3)['sum']}")

print("All of them are:")
report.clear_cache()
print(f"  is there a report? {report.is_cached(3)}")
CLIENT.close()
