"""What trials are made of: processes, the places where they work, and rows of results.

Nothing here waits for longer than `PATIENCE`: what hangs is a trial that failed, and
its processes are killed with the place that they were started in.
"""

from __future__ import annotations

import json
import os
import pathlib
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

PATIENCE = 60.0


class WrongError(Exception):
    """A trial went wrong in a way that is not a count."""


class Lines:
    """Reads lines from a file descriptor, and never waits for too long.

    Parameters
    ----------
    fd : int
        A pipe; it stays the caller's.
    whose : str
        What to call it in messages.
    """

    def __init__(self, fd: int, whose: str) -> None:
        self._fd = fd
        self._whose = whose
        self._rest = b""
        os.set_blocking(fd, False)

    def next(self, patience: float = PATIENCE) -> str | None:
        """Return the next whole line, or None at the end."""
        end = time.monotonic() + patience
        while b"\n" not in self._rest:
            ready, _, _ = select.select([self._fd], [], [], end - time.monotonic())
            if not ready:
                raise WrongError(f"{self._whose} hangs: no line in {patience:g} s")
            more = os.read(self._fd, 65536)
            if not more:
                return None
            self._rest += more
        line, self._rest = self._rest.split(b"\n", 1)
        return line.decode()

    def at_hand(self) -> Iterator[str]:
        """Return the lines that are there already."""
        while b"\n" in self._rest or select.select([self._fd], [], [], 0)[0]:
            line = self.next()
            if line is None:
                return
            yield line


class Door:
    """A language's way in.

    Parameters
    ----------
    name : str
        The prefix of its rows.
    commands : list of list of str
        How to start its worker; with more than one, processes of a crowd take turns.
    """

    def __init__(self, name: str, *commands: list[str]) -> None:
        self.name = name
        self.commands = commands

    def command(self, turn: int = 0) -> list[str]:
        """Return how to start the worker of a crowd's process."""
        return self.commands[turn % len(self.commands)]


class Worker:
    """A process of `worker.py` or `worker.cpp`.

    Parameters
    ----------
    place : Place
        Whose cache it uses.
    command : list of str
        How to start it, with its trial and the trial's arguments.
    """

    def __init__(self, place: Place, command: list[str]) -> None:
        self._name = " ".join(command[1:])
        self._errors = place.folder / f"stderr-{len(place.workers)}"
        with self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                command,
                env=place.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                bufsize=0,
            )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._in = self.process.stdin
        self._lines = Lines(self.process.stdout.fileno(), self._name)

    def say(self, line: str = "") -> Worker:
        """Write a line to it; the first one lets it begin."""
        self._in.write(line.encode() + b"\n")
        return self

    def hear(self) -> Any:
        """Wait for the next thing that it tells."""
        line = self._lines.next()
        if line is None:
            raise WrongError(f"{self._name} ended early: {self._end()}")
        return json.loads(line)

    def ready(self) -> Worker:
        """Wait until it has loaded everything."""
        if self.hear() != {"ready": True}:
            raise WrongError(f"{self._name} is not ready")
        return self

    def told(self, may_warn: bool = False) -> list[Any]:
        """Wait for its end, as it should be, and return what it told."""
        self._in.close()
        told = self._all()
        status, errors = self._end()
        if status != 0 or (errors and not may_warn):
            raise WrongError(f"{self._name} ended with {status}: {errors}")
        return told

    def kill(self, how: signal.Signals = signal.SIGKILL) -> list[Any]:
        """Kill it, and return what it had told until then."""
        self.process.send_signal(how)
        told = self._all()
        self._end()
        return told

    def kill_at(self, moment: float) -> float:
        """Kill it then, as `time.monotonic` counts, and return when that was."""
        time.sleep(max(0.0, moment - time.monotonic()))
        died = time.monotonic()
        self.kill()
        return died

    def stop(self) -> None:
        """Leave nothing of it, however it fared."""
        self.process.kill()
        self.process.wait()
        for file in (self.process.stdin, self.process.stdout):
            if file is not None:
                file.close()

    def _all(self) -> list[Any]:
        told = []
        while (line := self._lines.next()) is not None:
            told.append(json.loads(line))
        return told

    def _end(self) -> tuple[int, str]:
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise WrongError(f"{self._name} hangs at its end") from None
        return status, self._errors.read_text(errors="replace")


class Place:
    """An empty cache, and a pipe by which functions note their runs.

    Parameters
    ----------
    folder : pathlib.Path
        An empty directory.
    settings : dict of str to str
        Environment variables of the workers.
    """

    def __init__(self, folder: pathlib.Path, settings: dict[str, str]) -> None:
        self.folder = folder
        self.workers: list[Worker] = []
        notes = folder / "runs"
        os.mkfifo(notes)
        self._notes = os.open(notes, os.O_RDWR)
        self._lines = Lines(self._notes, "the function")
        self._runs: list[tuple[int, float]] = []
        self.environment = {
            **os.environ,
            **settings,
            "XDG_CACHE_HOME": str(folder),
            "TRIAL_RUNS": str(notes),
        }

    def worker(self, command: list[str], *arguments: object) -> Worker:
        """Start a process, and wait until it is ready."""
        return self._start(command, *arguments).ready()

    def crowd(self, door: Door, count: int, *arguments: object) -> list[Worker]:
        """Start several processes, and wait until all of them are ready."""
        crowd = [self._start(door.command(turn), *arguments) for turn in range(count)]
        return [worker.ready() for worker in crowd]

    def together(self, door: Door, count: int, *arguments: object) -> list[Any]:
        """Let several processes do the same at once, and return what they told."""
        crowd = self.crowd(door, count, *arguments)
        for worker in crowd:
            worker.say()
        return [told for worker in crowd for told in worker.told()]

    def runs(self) -> list[tuple[int, float]]:
        """Return the process and the begin of each run until now."""
        self._runs += map(_run, self._lines.at_hand())
        return self._runs

    def await_runs(self, count: int) -> tuple[int, float]:
        """Wait until so many runs have begun, and return the last of them."""
        while len(self._runs) < count:
            line = self._lines.next()
            assert line is not None
            self._runs.append(_run(line))
        return self._runs[count - 1]

    def _start(self, command: list[str], *arguments: object) -> Worker:
        worker = Worker(self, [*command, *map(str, arguments)])
        self.workers.append(worker)
        return worker

    def close(self) -> None:
        """Stop what still runs."""
        for worker in self.workers:
            worker.stop()
        os.close(self._notes)


def _run(line: str) -> tuple[int, float]:
    process, begin = line.split()
    return int(process), float(begin)


@contextmanager
def place(**settings: object) -> Iterator[Place]:
    """Make a place for one round; `work=0.2` sets `TRIAL_WORK` for its workers."""
    environment = {f"TRIAL_{name.upper()}": str(of) for name, of in settings.items()}
    with tempfile.TemporaryDirectory(
        prefix="cachier-trial-", ignore_cleanup_errors=True
    ) as folder:
        here = Place(pathlib.Path(folder), environment)
        try:
            yield here
        finally:
            here.close()


class Checker:
    """A process that says what is stored.

    Parameters
    ----------
    here : Place
        Where.
    door : Door
        By which door.
    """

    def __init__(self, here: Place, door: Door) -> None:
        self._worker = here.worker(door.command(), "check")

    def count(self, keys: Iterable[int]) -> tuple[int, int]:
        """Count the keys whose value was there, and those whose value was not right.

        Those that were not there are stored by this.
        """
        asked = list(keys)
        self._worker.say(" ".join(map(str, asked)))
        told = self._worker.hear()
        if told["raised"]:
            raise WrongError(f"a call raised: {told['raised']}")
        return len(asked) - told["ran"], told["wrong"]

    def close(self, may_warn: bool) -> None:
        """Let it end, as it should."""
        self._worker.told(may_warn)


class Report:
    """Rows of results, and the seconds that they took.

    Parameters
    ----------
    path : pathlib.Path
        Where they are written, one JSON object a line.
    """

    def __init__(self, path: pathlib.Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w", encoding="ascii")
        self._since = time.monotonic()
        self.prefix = ""
        self.wrong: list[str] = []
        self.missed: list[str] = []
        head = _columns("trial", "value", "reach", "", "took")
        print(f"{head}\n{'-' * len(head)}")

    def exactly(self, name: str, value: float, due: float) -> None:
        """Report a count that has to be right."""
        self._count(name, value, f"= {due:g}", value == due)

    def at_most(self, name: str, value: float, due: float) -> None:
        """Report a count that must not be larger."""
        self._count(name, value, f"<= {due:g}", value <= due)

    def seconds(self, name: str, value: float, due: float) -> None:
        """Report seconds, which depend on the machine as well."""
        if not self._row(name, value, f"<= {due:g} s", value <= due):
            self.missed.append(self.prefix + name)

    def usually(self, name: str, value: float, due: float) -> None:
        """Report a count that is aimed at, where another one does no harm."""
        if not self._row(name, value, f"~ {due:g}", value == due):
            self.missed.append(self.prefix + name)

    def failed(self, name: str) -> None:
        """Report a trial that did not come to its end."""
        self._count(name, 1, "= 0", False)

    def _count(self, name: str, value: float, reach: str, ok: bool) -> None:
        if not self._row(name, value, reach, ok):
            self.wrong.append(self.prefix + name)

    def _row(self, name: str, value: float, reach: str, ok: bool) -> bool:
        name = self.prefix + name
        row = {"name": name, "value": round(value, 6), "reach": reach, "ok": ok}
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        now = time.monotonic()
        took, self._since = now - self._since, now
        said = "ok" if ok else "NOT OK"
        shown = f"{took:.1f} s" if took >= 0.05 else ""
        print(_columns(name, f"{value:.4g}", reach, said, shown), flush=True)
        return ok


def _columns(name: str, value: str, reach: str, said: str, took: str) -> str:
    return f"{name:<46}{value:>9}  {reach:<11}{said:<7}{took:>8}"
