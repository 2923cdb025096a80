"""Processes that outlive who started them, and end by the number that was noted then.

A number alone may be another process's by now, so the time of its birth is noted with
it, and both before the program begins: whoever dies in between leaves a shell that
finds its input closed and goes.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

#: Begins when its number is noted: in a directory, with the input and as the program
#: that it is told.
WAIT_FOR_THE_NOTE = 'read -r noted && cd "$0" && in=$1 && shift && exec "$@" <"$in"'


class Noted(NamedTuple):
    """A process, and no later one of the same number."""

    pid: int
    born: int  # in ticks since the system was

    @property
    def runs(self) -> bool:
        fields = _fields(self.pid)
        if not fields or int(fields[19]) != self.born:
            return False
        if fields[0] not in "ZX":
            return True
        # A child of ours that ended stays in the table until it is asked for.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)
        return False


def _fields(pid: int) -> list[str]:
    return _fields_of(Path(f"/proc/{pid}"))


def _fields_of(task: Path) -> list[str]:
    """Fields 3 and up of the system's line about a task; [] where there is none."""
    try:
        line = (task / "stat").read_text(errors="replace")
    except OSError:
        return []
    # The name before may hold blanks and brackets.
    return line.rpartition(")")[2].split()


def noted(pid: int) -> Noted:
    """Give what to note of it."""
    fields = _fields(pid)
    return Noted(pid, int(fields[19]) if fields else 0)


def family(of: Noted) -> list[Noted]:
    """It and what it started, and what that did; [] where it has ended."""
    if not of.runs:
        return []
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := _fields(int(entry))):
            children.setdefault(int(fields[1]), []).append(int(entry))
    pids = [of.pid]
    for pid in pids:
        pids.extend(children.get(pid, ()))
    return [of, *(noted(pid) for pid in pids[1:])]


def send(number: signal.Signals, to: Iterable[Noted]) -> None:
    for process in to:
        if process.runs:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)


def wait_until(true: Callable[[], bool], seconds: float) -> bool:
    """Look every few milliseconds; False when the time is over."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def freeze(processes: Iterable[Noted]) -> None:
    """Stop them; returns when none of their threads runs any more."""
    everyone = [one for process in processes for one in family(process)]
    send(signal.SIGSTOP, everyone)
    wait_until(lambda: all(_stands_still(one.pid) for one in everyone), 10)


def _stands_still(pid: int) -> bool:
    # One thread takes the signal and stops the others.
    threads = Path(f"/proc/{pid}/task").glob("*")
    states = [_fields_of(thread)[:1] for thread in threads]
    return all(state in (["T"], ["t"], ["Z"], ["X"], []) for state in states)


def end(
    processes: Sequence[Noted],
    *,
    by: signal.Signals = signal.SIGTERM,
    tell_all: bool = False,
) -> None:
    """End them and what they started; returns when they are gone.

    `by` is what they are told first; with `tell_all`, so is what they started.
    """
    everyone = [one for process in processes for one in family(process)]

    def gone() -> bool:
        return not any(one.runs for one in everyone)

    if by != signal.SIGKILL:
        send(by, everyone if tell_all else processes)
        send(signal.SIGCONT, everyone)  # a frozen one does not hear
        if wait_until(gone, 5):
            return
    send(signal.SIGKILL, everyone)
    wait_until(gone, 10)


@dataclass(frozen=True)
class Command:
    """A program to start, with all it is told."""

    arguments: Sequence[str]
    environment: Mapping[str, str]
    user: str | None = None  # as whom, where we are root
    input: str = "/dev/null"  # the file that it reads


def launch(
    command: Command, directory: Path, log: Path, note: Callable[[Noted], None]
) -> Noted:
    """Start it in a session of its own; it begins when `note` has returned."""
    arguments = list(command.arguments)
    if command.user is not None:
        group = pwd.getpwnam(command.user).pw_gid
        to_user = [f"--reuid={command.user}", f"--regid={group}", "--clear-groups"]
        arguments = [shutil.which("setpriv") or "setpriv", *to_user, *arguments]
    theirs, ours = os.pipe()
    try:
        shell = [
            "sh",
            "-c",
            WAIT_FOR_THE_NOTE,
            str(directory),
            command.input,
            *arguments,
        ]
        writing = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        pid = os.posix_spawn(
            "/bin/sh",
            shell,
            {"PATH": os.environ.get("PATH", os.defpath), **command.environment},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, theirs, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(log), writing, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
                # Who waits for the end of what we were given would wait for the server.
                *((os.POSIX_SPAWN_CLOSE, fd) for fd in _inherited()),
            ],
            setsid=True,
            setsigmask=[],
            setsigdef=[signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE, signal.SIGTERM],
        )
        process = noted(pid)
        note(process)
        with contextlib.suppress(BrokenPipeError):
            os.write(ours, b"noted\n")
        return process
    finally:
        os.close(theirs)
        os.close(ours)


def result(of: Noted, seconds: float) -> int | None:
    """Wait for one that we launched; gives its exit code, or None: it runs still."""
    code: int | None = None

    def ended() -> bool:
        nonlocal code
        pid, status = os.waitpid(of.pid, os.WNOHANG)
        code = os.waitstatus_to_exitcode(status) if pid else None
        return pid != 0

    wait_until(ended, seconds)
    return code


def _inherited() -> list[int]:
    """What a program that we start would be given besides 0, 1 and 2."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if int(name) > 2 and os.get_inheritable(int(name)):
                found.append(int(name))
    return found


# Below those that the system gives to whoever asks for any: what connects meanwhile
# never sits on the port of a server that was killed and comes back.
_PORTS = range(12_000, 32_000)


def free_port() -> int:
    """Give a port of loopback that nobody has now."""
    while True:
        port = _PORTS[int.from_bytes(os.urandom(4), "little") % len(_PORTS)]
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port


def listens(process: Noted, port: int) -> bool:
    """Whether the one who answers there is it, or one it started."""
    sockets = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError), open(table) as lines:
            next(lines)
            for line in lines:
                fields = line.split()
                if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                    sockets.add(f"socket:[{fields[9]}]")
    for one in family(process):
        with contextlib.suppress(OSError):
            for fd in os.listdir(f"/proc/{one.pid}/fd"):
                with contextlib.suppress(OSError):
                    if os.readlink(f"/proc/{one.pid}/fd/{fd}") in sockets:
                        return True
    return False
