"""What an adapter of a client is, whatever the client.

The native module's store (``client_store.hpp``) keeps all that is the same everywhere:
envelopes, checksums, versions, claims' tokens, the server's clock, and what happens in
an outage. An adapter moves bytes. It is in two halves:

- A *dialect* says what is to be sent and reads what comes back: one generator a verb,
  which yields requests, is sent the answers, and returns the result. It never waits.
- A *line* carries one request to the server and gives the answer. One that blocks is
  driven by `Blocking`; one that is awaited, by ``_awaiting.Awaiting``, for coroutine
  functions: on the caller's own loop.

Times are microseconds since 1970 by the server's clock, versions and claims 16 bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Protocol, TypeVar

__all__ = [
    "LASTS",
    "OUTAGE",
    "PASSES",
    "AsyncLine",
    "Blocking",
    "Dialect",
    "Line",
    "Listed",
    "Listener",
    "Seen",
    "Talk",
    "Wrote",
]

T = TypeVar("T")
Talk = Generator[Any, Any, T]

#: What a look saw: the bytes that hold the envelope (None: there is no entry) and where
#: it begins in them; when it was stored; the version, zeros if there is none; the
#: epoch; whether the entry counts and is young enough; 0 no claim, 1 granted, 2 busy;
#: the outcome (0 none, 1 failed, 2 not storable); the server's time, 0 where the answer
#: did not bring it; whether there was something that is no entry.
Seen = tuple[bytes | None, int, int, bytes, int, bool, int, int, int, bool]

#: What became of a change: 0 done, 1 what it was based on no longer holds, 2 the
#: server's clock is behind the time it was stamped with; and the server's time.
Wrote = tuple[int, int]

#: An entry of a listing: function, digest, when it was stored, the beginning of its
#: envelope, and the size of all of it.
Listed = tuple[str, bytes, int, bytes, int]

OUTAGE, PASSES, LASTS = 0, 1, 2


class Dialect(Protocol):
    """The verbs of a store. Each says what to send and reads the answers."""

    def look(
        self,
        function: str,
        digest: bytes,
        max_age: int | None,
        allow_none: bool,
        unreadable: bytes | None,
        claim: bytes | None,
        lease: int,
    ) -> Talk[Seen]:
        """Find an entry; take the claim where there is no fresh one and it is free.

        Parameters
        ----------
        function, digest : str, bytes
            The entry.
        max_age : int or None
            In microseconds; None: no limit, 0 or less: nothing is fresh.
        allow_none : bool
            Whether an empty answer counts.
        unreadable : bytes or None
            A version that counts as none.
        claim : bytes or None
            What to claim with; None: do not.
        lease : int
            Milliseconds that the claim holds.

        """
        ...

    def put(
        self,
        function: str,
        digest: bytes,
        envelope: bytes,
        stored_at: int,
        version: bytes,
        is_none: bool,
        claim: bytes | None,
        epoch: int | None,
        base: bytes | None,
    ) -> Talk[Wrote]:
        """Store an entry, if what it is based on holds.

        With `claim`: it is held, and of this epoch; then it ends, done or lost. Else
        with `base`: epoch and version are these. Else with `epoch`: it is this. Else
        always.
        """
        ...

    def erase(self, function: str, digest: bytes, version: bytes) -> Talk[Wrote]:
        """Remove an entry. What somebody is computing will not be stored."""
        ...

    def release(
        self,
        function: str,
        digest: bytes,
        claim: bytes,
        epoch: int,
        base: bytes,
        outcome: int,
    ) -> Talk[bool]:
        """End a claim and leave an outcome. False: it was not held any more."""
        ...

    def renew(
        self,
        function: str,
        digest: bytes,
        claim: bytes,
        epoch: int,
        base: bytes,
        lease: int,
    ) -> Talk[bool]:
        """Let a claim hold for another lease. False: it is lost."""
        ...

    def scan(
        self, function: str | None, before: int | None, cursor: bytes
    ) -> Talk[tuple[list[Listed], bytes]]:
        """List some entries, and where to go on; nowhere: the end."""
        ...

    def clear(self, function: str | None, before: int | None) -> Talk[int]:
        """Remove all entries, or those stored before a time. Gives how many."""
        ...

    def free_claims(self, function: str | None) -> Talk[None]:
        """Free every claim; owners may store as long as nobody else has claimed."""
        ...

    def clock(self) -> Talk[int]:
        """Ask for the server's time."""
        ...

    def judge(self, exception: BaseException) -> tuple[int, str]:
        """Say what an exception of the client means, and its words without passwords.

        `OUTAGE`: there was no answer. `PASSES`: the server said no, and may say yes the
        next time. `LASTS`: it will say no again; callers are to know.
        """
        ...


class Listener(Protocol):
    """What an adapter is as well if its server tells when an entry may have changed.

    Without it, and whenever it fails, those who wait look again every 50 ms.
    """

    def listen(
        self, function: str, digest: bytes, wake: Callable[[bytes], object]
    ) -> None:
        """Begin to call `wake` with the digest when this entry may have changed.

        On any thread; also as soon as it is sure to be heard: what came before is
        found by the look that follows. Never waits for the server.
        """
        ...

    def forget(self, function: str, digest: bytes) -> None:
        """End what one `listen` has begun."""
        ...


class Line(Protocol):
    """Carries requests to a server, one at a time a thread."""

    def __call__(self, request: Any, timeout: float) -> Any:
        """Send a request and wait for its answer, at most `timeout` seconds."""
        ...

    def location(self) -> str:
        """Say where the server is, for people, without a password."""
        ...


class AsyncLine(Protocol):
    """Carries requests to a server, any number at a time, on any number of loops."""

    @property
    def is_free(self) -> bool:
        """Whether any loop may use it, whichever others do.

        Then what must block, as renewals do, is done on a loop of our own. Else it is
        done on the loop that has used it last, if that runs.
        """
        ...

    async def __call__(self, request: Any, timeout: float) -> Any:
        """Send a request and await its answer.

        Its driver cancels it after `timeout` seconds. Cancelled, it leaves nothing
        behind that the next request could meet: a connection that owes an answer, say.
        """
        ...

    def location(self) -> str:
        """Say where the server is, for people, without a password."""
        ...


class Blocking:
    """A dialect on a line that blocks: what the native module calls."""

    def __init__(self, dialect: Dialect, line: Line) -> None:
        self._line = line
        self.dialect = dialect
        self.judge = dialect.judge
        self.location = line.location

    def ask(self, verb: str, timeout: float, *arguments: Any) -> Any:
        """Do a verb of the dialect."""
        talk = getattr(self.dialect, verb)(*arguments)
        line = self._line
        answer = None
        try:
            while True:
                answer = line(talk.send(answer), timeout)
        except StopIteration as end:
            return end.value
