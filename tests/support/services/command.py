"""What `scripts/services` does."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence

from . import shared
from .catalog import KINDS, kind_named
from .failure import Failure, say
from .notes import shared_notes_as_they_are
from .processes import noted

USAGE = """scripts/services start [NAME...]     start them; lines for `eval "$(...)"`
       scripts/services stop [NAME...]      end them
       scripts/services status              what runs, and what cannot be had, and why
       scripts/services env                 the lines of `start` again
       scripts/services logs [NAME...]      the last lines that they wrote
       scripts/services run [NAME...] -- COMMAND...
                                            run a command with them, then end those
                                            that nobody else needs"""


def _exports(variables: dict[str, str]) -> None:
    for name, value in variables.items():
        print(f"export {name}={shlex.quote(value)}")


def _start(names: Sequence[str]) -> int:
    started = shared.start(names, None)
    _exports(started.variables)
    return 1 if started.lacking or started.broken else 0


def _run(names: Sequence[str], command: Sequence[str]) -> int:
    me = noted(os.getpid())
    # What ends us ends the command first, then the servers.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        started = shared.start(names, me)
        if started.lacking:
            return 1
        # It is given what we were given: make's files, for one.
        process = subprocess.Popen(
            command, env={**os.environ, **started.variables}, close_fds=False
        )
        try:
            return _wait(process)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    finally:
        shared.leave(me)


def _wait(process: subprocess.Popen[bytes]) -> int:
    while True:
        try:
            code = process.wait()
            return 128 - code if code < 0 else code
        except KeyboardInterrupt:
            continue  # it was told as well


def _stop(names: Sequence[str]) -> int:
    ended = shared.stop(names)
    say(f"ended: {' '.join(ended) or 'none, none was started'}")
    return 0


def _status() -> int:
    notes = shared_notes_as_they_are()
    for name, kind in KINDS.items():
        server = notes.servers.get(name)
        if own := shared.users_own(kind, notes):
            state = f"yours       {own}"
        elif server is not None and server.runs and server.complete:
            pids = " ".join(str(process.pid) for process in server.processes)
            state = f"runs        {server.url} (process {pids})"
        elif server is not None and server.complete:
            state = f"has ended   {server.log}"
        elif server is not None:
            state = f"starts      {kind.about}"
        elif name in notes.reasons:
            state = f"left out    {notes.reasons[name]}"
        elif kind.build is not None and not kind.build.is_there:
            state = f"not built   {kind.about}"
        else:
            state = f"not started {kind.about}"
        print(f"{name:14}{state}")
    return 0


def _logs(names: Sequence[str]) -> int:
    notes = shared_notes_as_they_are()
    for name in names:
        if name in notes.servers and notes.servers[name].log.exists():
            log = notes.servers[name].log
            print(f"== {name}: {log}")
            print("\n".join(log.read_text(errors="replace").splitlines()[-40:]))
    return 0


def _do(verb: str, names: Sequence[str], command: Sequence[str]) -> int:
    match verb:
        case "start":
            return _start(names)
        case "run":
            return _run(names, command)
        case "stop":
            return _stop(names)
        case "logs":
            return _logs(names)
        case "status":
            return _status()
        case _:
            _exports(shared.variables())
            return 0


def main(arguments: Sequence[str]) -> int:
    """Do what is asked; 0 done, 1 not, 2 usage."""
    parser = argparse.ArgumentParser("scripts/services", usage=USAGE)
    parser.add_argument(
        "verb", choices=["start", "stop", "status", "env", "logs", "run"]
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=" ".join(KINDS))
    own, command = list(arguments), []
    if "--" in own:
        own, command = own[: own.index("--")], own[own.index("--") + 1 :]
    asked = parser.parse_args(own)
    unknown = [name for name in asked.names if kind_named(name) is None]
    if unknown:
        parser.error(f"no server {' '.join(unknown)}; there are {' '.join(KINDS)}")
    kinds = [kind for name in asked.names if (kind := kind_named(name))]
    if (asked.verb == "run") != bool(command):
        parser.error("run, and nothing else, has a command after --")
    names = list(dict.fromkeys(kind.name for kind in kinds)) or list(KINDS)
    try:
        code = _do(asked.verb, names, command)
        sys.stdout.flush()
        return code
    except Failure as failure:
        say(str(failure))
        return 1
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
