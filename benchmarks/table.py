"""Prints the rows of results as a table: table.py RESULTS.jsonl."""

from __future__ import annotations

import json
import pathlib
import sys
from typing import Any


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    for unit, size in (("s ", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def shown(row: dict[str, Any], side: str) -> str:
    """Return one side's figure in its unit."""
    if row.get("unit") == "bytes":
        return f"{row[side]:.4g} B "
    return duration(row[side])


def main() -> None:
    """Print the table."""
    lines = pathlib.Path(sys.argv[1]).read_text("ascii").splitlines()
    print(f"{'':34}{'ours':>10}{'theirs':>11}  {'ratio':>8} {'reach':>7}")
    for row in map(json.loads, lines):
        print(
            f"{row['name']:34}{shown(row, 'ours'):>10}{shown(row, 'theirs'):>11}"
            f"  {row['ratio']:8.3g} {row['reach']:7.3g}  "
            f"{'ok ' if row['ok'] else 'NO '} {row['against']}"
        )


if __name__ == "__main__":
    main()
