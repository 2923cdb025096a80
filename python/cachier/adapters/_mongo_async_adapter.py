"""What coroutine functions ask: a dialect on an async collection."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

from ._awaiting import Awaiting
from ._mongo_client import answer_of, location_of, may_fail, target_of, usable
from ._mongo_documents import Call
from .mongo import MongoDialect

__all__ = ["AsyncMongoAdapter", "AsyncMongoLine"]


class AsyncMongoAdapter(Awaiting):
    """The adapter of an async callable that gives an async collection."""

    def __init__(self, mongetter: Callable[[], Awaitable[Any]]) -> None:
        super().__init__(MongoDialect(), AsyncMongoLine(mongetter))


class AsyncMongoLine:
    """Carries requests through the collection that an async callable gives.

    It is called once for each loop that asks, and for each process: a client belongs to
    one loop.
    """

    #: The callable may give what belongs to another loop.
    is_free = False

    def __init__(self, mongetter: Callable[[], Awaitable[Any]]) -> None:
        self._mongetter = mongetter
        self._last: Any = None
        self._forget()

    def _forget(self) -> None:
        self._process = os.getpid()
        self._collections: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Any] = (
            weakref.WeakKeyDictionary()
        )

    async def __call__(self, request: Call, timeout: float) -> Any:
        """Call a method and await its answer."""
        if self._process != os.getpid():
            # The parent's, which nobody is to close.
            self._left = self._collections
            self._forget()
        loop = asyncio.get_running_loop()
        collection = self._collections.get(loop)
        if collection is None:
            collection = usable(await self._mongetter(), True)
            self._collections[loop] = self._last = collection
        try:
            result = target_of(collection, request)(
                *request.arguments, **request.keywords
            )
            if request.method == "find":
                return await result.to_list(None)
            result = await result
        except Exception as error:
            if may_fail(request, error):
                return None
            raise
        return answer_of(request, result)

    def location(self) -> str:
        """Say where the collection is."""
        return location_of(self._last)
