"""Results in a bucket: ``python s3_example.py [BUCKET [ENDPOINT_URL]]``.

Needs ``pip install boto3``, and credentials where boto3 looks for them.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import Any

from cachier import cachier

BUCKET = sys.argv[1] if len(sys.argv) > 1 else "my-bucket"
ENDPOINT = sys.argv[2] if len(sys.argv) > 2 else None


@cachier(
    backend="s3",
    s3_bucket=BUCKET,
    s3_endpoint_url=ENDPOINT,  # of MinIO and others; None is AWS
    stale_after=timedelta(days=1),
)
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
