"""What the native module asks: a dialect on a client of boto3."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from typing import Any

from ._base import Blocking
from ._s3_line import S3Line
from .s3 import S3Dialect

__all__ = ["S3Adapter", "client_of"]


class S3Adapter(Blocking):
    """The adapter of a bucket."""

    def __init__(self, bucket: str, prefix: str, client: Callable[[], Any]) -> None:
        super().__init__(S3Dialect(prefix), S3Line(bucket, client))


def client_of(given: dict[str, Any]) -> Callable[[], Any]:
    """Give what gives the client: the program's, or one that is made when needed."""
    factory = given.get("s3_client_factory")
    if factory is not None:
        return factory  # type: ignore[no-any-return]
    client = given.get("s3_client")
    if client is not None:
        return lambda: client
    return _Made(given)


class _Made:
    """A client of our own, one a process."""

    def __init__(self, given: dict[str, Any]) -> None:
        self._given = given
        self._lock = threading.Lock()
        self._client: Any = None
        self._process = os.getpid()

    def __call__(self) -> Any:
        if self._process != os.getpid():
            self._lock = threading.Lock()
            self._left, self._client = self._client, None
            self._process = os.getpid()
        client = self._client
        if client is None:
            with self._lock:
                client = self._client
                if client is None:
                    client = self._client = self._make()
        return client

    def _make(self) -> Any:
        import boto3  # type: ignore[import-untyped]
        from botocore.config import Config  # type: ignore[import-untyped]

        config = Config(
            connect_timeout=5,
            read_timeout=30,
            retries={"mode": "standard", "total_max_attempts": 2},
            max_pool_connections=32,
        )
        # Entries have checksums; not all servers know these. botocore 1.36 and later.
        with contextlib.suppress(TypeError):
            config = config.merge(
                Config(
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                )
            )
        theirs = self._given.get("s3_config")
        if theirs is not None:
            config = config.merge(theirs)
        return boto3.session.Session().client(
            "s3",
            region_name=self._given.get("s3_region"),
            endpoint_url=self._given.get("s3_endpoint_url"),
            config=config,
        )
