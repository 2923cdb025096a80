"""What programs import from here: ``MissingRedisClient``."""

from __future__ import annotations

__all__ = ["MissingRedisClient"]


class MissingRedisClient(ValueError):  # noqa: N818  the name that programs know
    """The backend ``"redis"`` was asked for without ``redis_client``."""
