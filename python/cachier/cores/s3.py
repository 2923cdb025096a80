"""What programs import from here: ``MissingS3Bucket``."""

from __future__ import annotations

__all__ = ["MissingS3Bucket"]


class MissingS3Bucket(ValueError):  # noqa: N818  the name that programs know
    """The backend ``"s3"`` was asked for without ``s3_bucket``."""
