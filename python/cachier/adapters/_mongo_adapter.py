"""What the native module asks: a dialect on a collection."""

from __future__ import annotations

from typing import Any

from ._base import Blocking
from ._mongo_line import MongoLine
from .mongo import MongoDialect

__all__ = ["MongoAdapter"]


class MongoAdapter(Blocking):
    """The adapter of a callable that gives a collection."""

    def __init__(self, mongetter: Any) -> None:
        super().__init__(MongoDialect(), MongoLine(mongetter))
