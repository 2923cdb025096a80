"""Warnings that are ours alone, so that programs can filter them."""

from __future__ import annotations

# Python imports it with the first warning, which may be that no file can be opened.
import warnings  # noqa: F401


class CachierWarning(UserWarning):
    """Something is not as it should be, but calls go on: a store is out of reach."""
