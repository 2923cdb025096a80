"""What programs import from here: ``MissingMongetter``."""

from __future__ import annotations

__all__ = ["MissingMongetter"]


class MissingMongetter(ValueError):  # noqa: N818  the name that programs know
    """The backend ``"mongo"`` was asked for without ``mongetter``."""
