"""What programs import from here: ``RecalculationNeeded``."""

from __future__ import annotations

__all__ = ["RecalculationNeeded"]


class RecalculationNeeded(Exception):  # noqa: N818  the name that programs know
    """A result has to be computed anew. Kept for programs that name it; not raised."""
