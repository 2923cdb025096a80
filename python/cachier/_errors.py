"""Warnings that are ours alone, so that programs can filter them."""

from __future__ import annotations


class CachierWarning(UserWarning):
    """Something is not as it should be, but calls go on: a store is out of reach."""
