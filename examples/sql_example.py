"""Results in a database: ``python sql_example.py [URL]``.

Any SQLAlchemy URL of PostgreSQL, MySQL, MariaDB or SQLite. Needs ``pip install
SQLAlchemy`` and the driver of the database.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import Any

import sqlalchemy

from cachier import cachier

URL = sys.argv[1] if len(sys.argv) > 1 else "sqlite:///sql_example.db"
ENGINE = sqlalchemy.create_engine(URL)


@cachier(backend="sql", sql_engine=ENGINE, stale_after=timedelta(days=1))
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
