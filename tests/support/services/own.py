"""Servers of one process alone, for it to kill, freeze and start again."""

from __future__ import annotations

import itertools
import os

from .catalog import Kind
from .notes import Notes, notes_folder
from .processes import noted
from .server import Server

_counted = itertools.count()


class Own:
    """They end with `end`; if nobody comes to that, with the next `services start`."""

    def __init__(self) -> None:
        owner = noted(os.getpid())
        name = f"own-{owner.pid}-{owner.born}-{next(_counted)}.json"
        self._notes = Notes(notes_folder() / name)

    def start(self, kind: Kind) -> Server:
        """Start one, of what is built and installed; returns when it answers."""
        name = f"{kind.name}-{next(_counted)}"
        return Server.make(kind, self._notes.noting(name))

    def end(self) -> None:
        """End them all, and remove what they left."""
        self._notes.drop(*list(self._notes.servers))
        self._notes.path.unlink(missing_ok=True)
