"""How requests get to MongoDB: through the collection that the program gives."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from typing import Any

from ._mongo_client import answer_of, location_of, may_fail, target_of, usable
from ._mongo_documents import Call

__all__ = ["MongoLine"]


class MongoLine:
    """Carries requests through the collection that a callable gives.

    It is called with the first request, and once more in the child of a fork: the
    threads and connections of a client are its parent's.
    """

    def __init__(self, mongetter: Callable[[], Any]) -> None:
        self._mongetter = mongetter
        self._forget()

    def _forget(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._collection: Any = None
        self._within: Any = None

    def __call__(self, request: Call, timeout: float) -> Any:
        """Call a method and give its answer."""
        if self._process != os.getpid():
            self._left = self._collection
            self._forget()
        collection = self._collection
        if collection is None:
            collection = self._resolve()
        try:
            with self._within(timeout):
                result = target_of(collection, request)(
                    *request.arguments, **request.keywords
                )
                if request.method == "find":
                    return list(result)
        except Exception as error:
            if may_fail(request, error):
                return None
            raise
        return answer_of(request, result)

    def location(self) -> str:
        """Say where the collection is."""
        return location_of(self._collection)

    def _resolve(self) -> Any:
        with self._lock:
            if self._collection is None:
                collection = usable(self._mongetter(), False)
                self._within = _deadline_of(collection)
                self._collection = collection
            return self._collection


def _deadline_of(collection: Any) -> Callable[[float], Any]:
    kinds = {each.__module__.partition(".")[0] for each in type(collection).__mro__}
    if "pymongo" not in kinds:
        return contextlib.nullcontext  # a fake
    import pymongo

    # PyMongo 4.2, which the extra asks for.
    return getattr(pymongo, "timeout", contextlib.nullcontext)
