"""What is noted of servers, so that whoever comes next can end them.

Notes are files in one folder: `shared.json`, and one for each process that has servers
of its own, named after it. A file is the old one or the new one, never half.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .builds import REPOSITORY, one_at_a_time
from .processes import Noted
from .server import Server


def notes_folder() -> Path:
    """Where notes are: in the clone, unless CACHIER_SERVICES_NOTES says otherwise."""
    named = os.environ.get("CACHIER_SERVICES_NOTES")
    return Path(named).absolute() if named else REPOSITORY / "build/services"


class Notes:
    """One file of notes: servers by name, and who needs them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.servers: dict[str, Server] = {}
        #: Processes that need a server until they end; None: until it is stopped.
        self.users: dict[str, list[Noted | None]] = {}
        #: Why a server could not be had, the last time.
        self.reasons: dict[str, str] = {}
        #: Addresses that were ever given out from here: they are no user's own.
        self.given: list[str] = []
        self._lock = threading.Lock()
        with contextlib.suppress(FileNotFoundError):
            self._read(json.loads(path.read_text()))

    def _read(self, told: dict[str, Any]) -> None:
        self.reasons = told["reasons"]
        self.given = told["given"]
        for name, one in told["servers"].items():
            self.servers[name] = Server.from_json(one, self.noting(name))
            self.users[name] = [
                None if user is None else Noted(*user) for user in one["users"]
            ]

    def write(self) -> None:
        """Keep all of it."""
        with self._lock:
            self._write()

    def _write(self) -> None:
        whole = {
            "servers": {
                name: {**server.to_json(), "users": self.users.get(name, [])}
                for name, server in self.servers.items()
            },
            "reasons": self.reasons,
            "given": self.given,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_suffix(f".{os.getpid()}.new")
        new.write_text(json.dumps(whole, indent=1) + "\n")
        new.replace(self.path)

    def noting(self, name: str) -> Callable[[Server], None]:
        """Give what notes a server under a name, and what changes of it."""

        def note(server: Server) -> None:
            with self._lock:
                self.servers[name] = server
                self._write()

        return note

    def drop(self, *names: str) -> None:
        """End servers, and forget them."""

        def drop(name: str) -> None:
            self.servers[name].remove()
            with self._lock:
                del self.servers[name]
                self.users.pop(name, None)
                self._write()

        with ThreadPoolExecutor() as threads:
            list(threads.map(drop, names))

    def needed(self, name: str) -> bool:
        """Whether somebody lives who needs it."""
        return any(user is None or user.runs for user in self.users.get(name, ()))


def shared_notes_as_they_are() -> Notes:
    """Give them to look at, without waiting for whoever starts or builds something."""
    return Notes(notes_folder() / "shared.json")


@contextlib.contextmanager
def shared_notes(*, sweep: bool) -> Iterator[Notes]:
    """Give the notes of what all share, to one process at a time.

    `sweep` first ends what nobody needs any more, and what is not whole.
    """
    folder = notes_folder()
    with one_at_a_time(folder / "lock"):
        shared = Notes(folder / "shared.json")
        if sweep:
            _sweep_owned(folder)
            servers = shared.servers.items()
            shared.drop(
                *(
                    name
                    for name, server in list(servers)
                    if not (server.runs and server.complete and shared.needed(name))
                )
            )
        yield shared


def _sweep_owned(folder: Path) -> None:
    for path in folder.glob("own-*.json"):
        _, pid, born, _ = path.stem.split("-")
        if not Noted(int(pid), int(born)).runs:
            left = Notes(path)
            left.drop(*left.servers)
            path.unlink(missing_ok=True)
