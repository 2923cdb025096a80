"""One server that was started: what is noted of it, and what can be done to it."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import signal
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .catalog import KINDS, Kind, Place
from .failure import Failure, Missing
from .processes import (
    Command,
    Noted,
    end,
    family,
    free_port,
    freeze,
    launch,
    listens,
    result,
    send,
    wait_until,
)

SECONDS_TO_ANSWER = 60
SECONDS_TO_PREPARE = 120
TRIES = 3


@dataclass
class Server:
    """A server of a kind, in a directory of its own.

    `note` is called whenever what `to_json` gives has changed, before anything is done
    that would be lost without.
    """

    kind: Kind
    directory: Path
    ports: list[int]
    note: Callable[[Server], None]
    processes: list[Noted] = field(default_factory=list)
    complete: bool = False  # or somebody died while it was made

    @classmethod
    def make(cls, kind: Kind, note: Callable[[Server], None]) -> Server:
        """Prepare and start one; returns when it answers."""
        if kind.build is not None and not kind.build.is_there:
            raise Missing(
                f"cannot start {kind.name}",
                f"{kind.build.name} has not been built",
                f"scripts/services start {kind.name}",
            )
        for name in kind.programs:
            kind.program(name)
        for left in reversed(range(TRIES)):
            name = f"cachier-service-{kind.name}-{secrets.token_hex(6)}"
            directory = Path(tempfile.gettempdir(), name)
            server = cls(
                kind, directory, [free_port() for _ in range(kind.ports)], note
            )
            try:
                server._begin()
                return server
            except BaseException as cause:
                # Another one may have taken its port between our look and its start.
                if left and isinstance(cause, Failure) and server._was_pushed_out():
                    server.remove()
                    continue
                server.remove()
                raise
        raise AssertionError

    def _begin(self) -> None:
        self.note(self)
        self.directory.mkdir()
        # Servers that run as someone else reach what is theirs below.
        self.directory.chmod(0o711)
        for command in self.kind.prepare(self.place):
            self._do(command)
        self.start()
        for command in self.kind.settle(self.place):
            self._do(command)
        self._wait_until(self.kind.is_whole)
        self.complete = True
        self.note(self)

    def _do(self, command: Command) -> None:
        """Run a program that makes a part of it; it ends with us, as servers do."""
        process = launch(command, self.directory, self.log, self._add)
        code = result(process, SECONDS_TO_PREPARE)
        if code != 0:
            program = Path(command.arguments[0]).name
            cause = f"it ended with {code}"
            if code is None:
                cause = f"it has not ended in {SECONDS_TO_PREPARE} s"
            raise Failure(
                f"{self.kind.name} cannot be prepared: {program} failed",
                f"{cause}; its last words: {self._last_words}",
                f"by hand: {' '.join(command.arguments)}",
            )
        self.processes.remove(process)

    @property
    def place(self) -> Place:
        return Place(self.directory, self.ports)

    @property
    def log(self) -> Path:
        return self.directory / "log"

    @property
    def variables(self) -> dict[str, str]:
        """What programs are told, by the whole names."""
        return {
            name if name.startswith("AWS_") else f"CACHIER_TEST_{name}": value
            for name, value in self.kind.variables(self.place).items()
        }

    @property
    def url(self) -> str:
        return self.variables[f"CACHIER_TEST_{self.kind.variable}"]

    @property
    def port(self) -> int:
        return self.ports[0]

    @property
    def runs(self) -> bool:
        """Whether all its processes are there; they may be frozen."""
        return bool(self.processes) and all(one.runs for one in self.processes)

    def start(self) -> None:
        """Start it, on its ports and with what data it has; returns when it answers."""
        self.processes = []
        for command in self.kind.commands(self.place):
            launch(command, self.directory, self.log, self._add)
        self._wait_until(self._answers)
        if self.complete:
            self._wait_until(self.kind.is_whole)

    def _add(self, process: Noted) -> None:
        self.processes.append(process)
        self.note(self)

    def _answers(self, place: Place) -> bool:
        return self.kind.answers(place) and all(
            listens(*both) for both in zip(self.processes, self.ports, strict=False)
        )

    def _wait_until(self, good: Callable[[Place], bool]) -> None:
        def over() -> bool:
            if not self.runs:
                return True
            with contextlib.suppress(OSError):
                return good(self.place)
            return False

        if not wait_until(over, SECONDS_TO_ANSWER):
            cause = f"it runs, and has not answered for {SECONDS_TO_ANSWER} s"
        elif not self.runs:
            cause = "it has ended"
        else:
            return
        raise Failure(
            f"{self.kind.name} does not start",
            f"{cause}; its last words: {self._last_words}",
            "scripts/services stop, then start it alone",
        )

    @property
    def _last_words(self) -> str:
        if not self.log.exists():
            return "none"
        lines = self.log.read_text(errors="replace").splitlines()[-5:]
        return " / ".join(line.strip() for line in lines if line.strip()) or "none"

    def _was_pushed_out(self) -> bool:
        said = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "in use" in said.lower()

    def kill(self) -> None:
        """End it at once, as a crash of its machine does; its data stays."""
        end(self.processes, by=signal.SIGKILL)

    def freeze(self) -> None:
        """Let it accept what the system accepts for it, and never answer."""
        freeze(self.processes)

    def thaw(self) -> None:
        """Let it go on."""
        everyone = [one for process in self.processes for one in family(process)]
        send(signal.SIGCONT, everyone)

    def restart(self) -> None:
        """End it as an operator does, and start it again."""
        end(self.processes, by=self.kind.ends_by)
        self.start()

    def remove(self) -> None:
        """End it, and remove what it left."""
        if self.complete:
            end(self.processes, by=self.kind.ends_by)
        else:
            end(self.processes, tell_all=True)
        shutil.rmtree(self.directory, ignore_errors=True)

    def to_json(self) -> dict[str, Any]:
        """What to note."""
        return {
            "kind": self.kind.name,
            "directory": str(self.directory),
            "ports": self.ports,
            "processes": self.processes,
            "complete": self.complete,
        }

    @classmethod
    def from_json(cls, told: dict[str, Any], note: Callable[[Server], None]) -> Server:
        return cls(
            KINDS[told["kind"]],
            Path(told["directory"]),
            told["ports"],
            note,
            [Noted(*one) for one in told["processes"]],
            told["complete"],
        )
