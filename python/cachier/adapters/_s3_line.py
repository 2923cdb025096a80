"""How requests get to S3: through a client of boto3, on threads of our own.

A client waits and tries again as it was told to, which may be minutes. Who asks waits
no longer than its deadline; what is late is left to its thread.
"""

from __future__ import annotations

import contextlib
import datetime
import email.utils
import io
import os
import queue
import threading
import time
import types
from collections.abc import Callable, Mapping
from typing import Any

from ._s3_objects import (
    ABSENT,
    ANY,
    Delete,
    Get,
    Got,
    List,
    Listing,
    Many,
    Now,
    Put,
    Seen,
)
from .s3 import NoAnswerError

__all__ = ["S3Line"]

_MOST_THREADS = 32
_CHUNK = 1 << 18
_SECOND = 1_000_000
_MISSING = frozenset({"NoSuchKey", "404", "NotFound"})
#: What is there is not what was wanted, or somebody is just changing it.
_REFUSED = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "409"})
_REFUSED |= {"OperationAborted"}
#: What versitygw says when the last object beside it is just being deleted.
_REFUSED |= {"ExistingObjectIsDirectory"}
#: There is no first byte.
_EMPTY = frozenset({"InvalidRange", "416"})
#: What a server says that does not know conditions.
_UNKNOWN = frozenset({"NotImplemented", "501"})
_NO_CONDITION: Mapping[str, str] = types.MappingProxyType({})


class _Process:
    """What lines of a process share."""

    #: Held by who changes something, where the server heeds no conditions.
    turn = threading.Lock()
    #: Whether clients may have connections that are another process's as well.
    is_forked = False

    @classmethod
    def begin(cls) -> None:
        """Begin anew, in a child."""
        cls.turn = threading.Lock()
        cls.is_forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_Process.begin)


class S3Line:
    """Carries requests to a bucket."""

    def __init__(self, bucket: str, client: Callable[[], Any]) -> None:
        self._bucket = bucket
        self._client = client
        self._clock = _Clock()
        #: Whether the server heeds conditions; None: nobody has tried.
        self._is_conditional: bool | None = None
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._shares = _Process.is_forked
        self._threads = _Threads()

    def location(self) -> str:
        """Say where the bucket is."""
        endpoint = ""
        with contextlib.suppress(Exception):
            endpoint = self._client().meta.endpoint_url
        place = f"s3://{self._bucket}"
        if not endpoint or endpoint.endswith(".amazonaws.com"):
            return place
        return f"{place} at {endpoint.rpartition('@')[2]}"

    def __call__(self, request: Any, timeout: float) -> Any:
        """Do a request and wait for its answer."""
        if self._process != os.getpid():
            self._begin()
        if self._shares:
            self._shares = False
            # Idle ones go; there will be others.
            with contextlib.suppress(Exception):
                self._client().close()
        if isinstance(request, Now):
            return self._clock.now()
        requests = request.requests if isinstance(request, Many) else [request]
        jobs = [_Job(self._do, each) for each in requests]
        for job in jobs:
            self._threads.give(job)
        answers = [job.wait(timeout) for job in jobs]
        return answers if isinstance(request, Many) else answers[0]

    def _do(self, job: _Job) -> Any:
        request = job.request
        client = self._client()
        if isinstance(request, Get):
            return self._get(client, request, job)
        if isinstance(request, List):
            return self._list(client, request)
        if isinstance(request, Put):
            return self._put(client, request, job)
        return self._delete(client, request)

    def _call(self, method: Callable[..., Any], **words: Any) -> Any:
        """Call a method of the client; give its answer, or why it was refused."""
        sent_at = _monotonic()
        try:
            answer = method(Bucket=self._bucket, **words)
        except Exception as error:
            answer = getattr(error, "response", None)
            self._clock.learn(answer, sent_at)
            code = str((answer or {}).get("Error", {}).get("Code", ""))
            if code in _MISSING:
                return _Refusal.missing
            if code in _REFUSED:
                return _Refusal.changed
            if code in _EMPTY:
                return _Refusal.empty
            raise
        self._clock.learn(answer, sent_at)
        return answer

    def _get(self, client: Any, request: Get, job: _Job) -> Got | None:
        words: dict[str, Any] = {"Key": request.key}
        if request.first is not None:
            words["Range"] = f"bytes=0-{request.first - 1}"
        answer = self._call(client.get_object, **words)
        if answer is _Refusal.empty:
            answer = self._call(client.get_object, Key=request.key)
        if isinstance(answer, _Refusal):
            return None
        body = job.read_all(answer["Body"])
        size = int(answer.get("ContentLength", len(body)))
        ranged = str(answer.get("ContentRange", "")).rpartition("/")[2]
        if ranged.isdigit():
            size = int(ranged)
        if request.first is None and size != len(body):
            raise NoAnswerError("the answer ended in its middle")
        return Got(answer["ETag"], body, size)

    def _list(self, client: Any, request: List) -> Listing:
        words = {"Prefix": request.prefix}
        if request.after:
            words["StartAfter"] = request.after
        if request.delimiter:
            words["Delimiter"] = request.delimiter
        answer = self._call(client.list_objects_v2, **words)
        found = [
            Seen(
                each["Key"],
                each["ETag"],
                int(each["Size"]),
                _microseconds(each["LastModified"]),
            )
            for each in answer.get("Contents", ())
        ]
        prefixes = [each["Prefix"] for each in answer.get("CommonPrefixes", ())]
        return Listing(found, prefixes, not answer.get("IsTruncated"))

    def _put(self, client: Any, request: Put, job: _Job) -> str | None:
        if request.match == ANY:
            return self._written(client, request, job)
        if self._is_conditional is None:
            with _Process.turn:
                if self._is_conditional is None:
                    return self._try(client, request, job)
        if self._is_conditional:
            return self._written(client, request, job, _condition(request.match))
        with _Process.turn:
            if self._etag_of(client, request.key) != request.match:
                return None
            return self._written(client, request, job)

    def _try(self, client: Any, request: Put, job: _Job) -> str | None:
        """Find out whether the server heeds conditions, with one that is to be met."""
        condition = _condition(request.match)
        try:
            etag = self._written(client, request, job, condition)
        except Exception as error:
            if not _is_unknown(error):
                raise
            self._is_conditional = False
            if self._etag_of(client, request.key) != request.match:
                return None
            return self._written(client, request, job)
        # One that does not takes it again. Somebody may delete it meanwhile; not twice.
        for _ in range(2):
            if etag is None or etag == request.match:
                return etag
            if self._written(client, request, job, condition) is None:
                self._is_conditional = True
                return etag
        self._is_conditional = False
        return etag

    def _written(
        self,
        client: Any,
        request: Put,
        job: _Job,
        condition: Mapping[str, str] = _NO_CONDITION,
    ) -> str | None:
        body = job.shown(request.body)
        answer = self._call(client.put_object, Key=request.key, Body=body, **condition)
        return None if isinstance(answer, _Refusal) else str(answer["ETag"])

    def _delete(self, client: Any, request: Delete) -> bool:
        if request.match == ANY:
            self._call(client.delete_object, Key=request.key)
            return True
        if self._is_conditional is not False:
            try:
                answer = self._call(
                    client.delete_object, Key=request.key, **_condition(request.match)
                )
            except Exception as error:
                if not _is_unknown(error):
                    raise
            else:
                return not isinstance(answer, _Refusal)
        with _Process.turn:
            if self._etag_of(client, request.key) != request.match:
                return False
            self._call(client.delete_object, Key=request.key)
            return True

    def _etag_of(self, client: Any, key: str) -> str:
        answer = self._call(client.head_object, Key=key)
        return ABSENT if answer is _Refusal.missing else str(answer["ETag"])


class _Refusal:
    """Answers that are no failure."""

    missing: _Refusal
    changed: _Refusal
    empty: _Refusal


_Refusal.missing = _Refusal()
_Refusal.changed = _Refusal()
_Refusal.empty = _Refusal()


def _condition(match: str) -> dict[str, str]:
    return {"IfNoneMatch": "*"} if match == ABSENT else {"IfMatch": match}


def _is_unknown(error: Exception) -> bool:
    """Whether the client or the server knows no conditions."""
    response = getattr(error, "response", None) or {}
    code = str(response.get("Error", {}).get("Code", ""))
    words = str(error)
    return (
        code in _UNKNOWN
        or (type(error).__name__ == "ParamValidationError" and "Match" in words)
        or (isinstance(error, TypeError) and "Match" in words)
    )


class _Clock:
    """The server's time, by the second in its answers: kept within what they allow."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bounds: tuple[int, int] | None = None
        self._latest = 0

    def learn(self, answer: Any, sent_at: int) -> None:
        """Take the time of an answer, in microseconds more than the monotonic clock."""
        try:
            text = answer["ResponseMetadata"]["HTTPHeaders"]["date"]
            then = _microseconds(email.utils.parsedate_to_datetime(text))
        except (KeyError, TypeError, ValueError):
            return
        # Servers may make the text once a second.
        earliest, latest = then - _monotonic(), then + 2 * _SECOND - sent_at
        with self._lock:
            if self._bounds is not None:
                low, high = self._bounds
                low, high = max(low, earliest), min(high, latest)
                if low <= high:
                    self._bounds = low, high
                    return
            self._bounds = earliest, latest

    def now(self) -> int:
        """Give the time: this machine's where that may be the server's.

        It does not go back, but where it goes back a lot.
        """
        passed = _monotonic()
        own = time.time_ns() // 1000 - passed
        with self._lock:
            if self._bounds is not None:
                own = min(max(own, self._bounds[0]), self._bounds[1])
            now = own + passed
            if not 0 < self._latest - now < 5 * _SECOND:
                self._latest = now
            return self._latest


class _Job:
    """A request on its way."""

    def __init__(self, do: Callable[[_Job], Any], request: Any) -> None:
        self.request = request
        self._do = do
        self._done = threading.Event()
        self._answer: Any = None
        self._error: BaseException | None = None
        self._moved_at = time.monotonic()

    def run(self) -> None:
        """Do it."""
        try:
            self._answer = self._do(self)
        except BaseException as error:  # handed to who waits
            self._error = error
        self._done.set()

    def wait(self, timeout: float) -> Any:
        """Give its answer, or raise, when it is there or has not moved for so long."""
        begun = time.monotonic()
        while True:
            left = max(begun, self._moved_at) + timeout - time.monotonic()
            if self._done.wait(max(0.0, left)):
                break
            if max(begun, self._moved_at) + timeout <= time.monotonic():
                raise NoAnswerError(
                    f"no answer within {timeout:.3g} s (operation_timeout)"
                )
        if self._error is not None:
            raise self._error
        return self._answer

    def read_all(self, body: Any) -> bytes:
        """Read a body; each piece of it is progress."""
        pieces = []
        try:
            while piece := body.read(_CHUNK):
                pieces.append(piece)
                self._moved_at = time.monotonic()
        finally:
            close = getattr(body, "close", None)
            if close is not None:
                close()
        return b"".join(pieces)

    def shown(self, body: bytes) -> Any:
        """Give a body to send; each piece that is taken is progress."""
        return body if len(body) <= _CHUNK else _Body(body, self)

    def moved(self) -> None:
        """Say that it goes on."""
        self._moved_at = time.monotonic()


class _Body(io.BytesIO):
    def __init__(self, body: bytes, job: _Job) -> None:
        super().__init__(body)
        self._job = job

    def read(self, size: int | None = -1) -> bytes:
        """Give some more of it."""
        self._job.moved()
        return super().read(size)


class _Threads:
    """As many as there is work for; what is late must not keep the interpreter."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._idle = 0
        self._count = 0

    def give(self, job: _Job) -> None:
        """Have a job done."""
        with self._lock:
            begins = self._idle <= self._jobs.qsize() and self._count < _MOST_THREADS
            if begins:
                self._count += 1
        self._jobs.put(job)
        if begins:
            threading.Thread(target=self._run, name="cachier-s3", daemon=True).start()

    def _run(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
            try:
                job: _Job | None = self._jobs.get(timeout=30)
            except queue.Empty:
                job = None
            with self._lock:
                self._idle -= 1
                if job is None and self._jobs.empty():
                    self._count -= 1
                    return
            if job is not None:
                job.run()
                del job


def _microseconds(at: datetime.datetime) -> int:
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    return (at - epoch) // datetime.timedelta(microseconds=1)


def _monotonic() -> int:
    return time.monotonic_ns() // 1000
