"""The servers that all tests of a clone share: started, kept while needed, ended."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from .builds import install, tidy_up
from .catalog import KINDS, Kind, kind_named
from .failure import Failure, Missing, say
from .notes import Notes, shared_notes
from .processes import Noted
from .server import Server


def reason_variable(kind: Kind) -> str:
    """Where tests find why there is no such server."""
    return f"CACHIER_TEST_{kind.variable.removesuffix('_URL')}_WHY_NOT"


def required(environment: Mapping[str, str]) -> set[str]:
    """Give the servers without which CACHIER_REQUIRE_SERVICES wants an error."""
    said = environment.get("CACHIER_REQUIRE_SERVICES", "").replace(",", " ").split()
    kinds = {name: kind_named(name) for name in said if name != "all"}
    unknown = [name for name, kind in kinds.items() if kind is None]
    if unknown:
        raise Failure(
            "cannot tell what CACHIER_REQUIRE_SERVICES requires",
            f"there is no server {' '.join(unknown)}",
            f"say all, or some of: {' '.join(KINDS)}",
        )
    named = {kind.name for kind in kinds.values() if kind}
    return set(KINDS) if "all" in said else named


def users_own(kind: Kind, notes: Notes) -> str | None:
    """Give what the environment names, where that is none of ours."""
    url = os.environ.get(f"CACHIER_TEST_{kind.variable}")
    return url if url and url not in notes.given else None


class Started(NamedTuple):
    """What came of a start."""

    variables: dict[str, str]
    lacking: set[str]  # of those that are required
    broken: set[str]  # those that could be had, and did not start


def start(names: Sequence[str], user: Noted | None) -> Started:
    """Start what is not there yet; all is kept while `user` lives, or until `stop`."""
    needed = required(os.environ)
    with shared_notes(sweep=True) as notes:
        kinds = [KINDS[name] for name in names if not users_own(KINDS[name], notes)]
        for kind in kinds:
            users = [one for one in notes.users.get(kind.name, ()) if one != user]
            notes.users[kind.name] = [*users, user]
            notes.reasons.pop(kind.name, None)
        new = [kind for kind in kinds if kind.name not in notes.servers]
        lacking = _get(new)
        broken = _start_all([kind for kind in new if kind.name not in lacking], notes)
        notes.reasons |= {name: why.on_one_line for name, why in lacking.items()}
        notes.reasons |= {name: why.on_one_line for name, why in broken.items()}
        urls = [server.url for server in notes.servers.values()]
        notes.given += [url for url in urls if url not in notes.given]
        notes.write()
        for name in [*lacking, *broken]:
            say(f"{name} is left out: {notes.reasons[name]}")
        return Started(
            _variables(notes, kinds),
            needed & {*lacking, *broken},
            {name for name, why in broken.items() if not isinstance(why, Missing)},
        )


def _get(kinds: Sequence[Kind]) -> dict[str, Failure]:
    """Install and build what is not here; gives why some cannot be had."""
    packages = {
        package
        for kind in kinds
        for program, package in kind.programs.items()
        if not _has(kind, program)
    }
    if packages:
        # What lacks then is named kind by kind when it is to start.
        with contextlib.suppress(Missing):
            install(sorted(packages))
    lacking: dict[str, Failure] = {}
    built = False
    for kind in kinds:
        if kind.build is not None and not kind.build.is_there:
            try:
                kind.build.make()
                built = True
            except Missing as why:
                lacking[kind.name] = why
    if built and not lacking:
        tidy_up()
    return lacking


def _has(kind: Kind, program: str) -> bool:
    try:
        kind.program(program)
    except Missing:
        return False
    return True


def _start_all(kinds: Sequence[Kind], notes: Notes) -> dict[str, Failure]:
    failed: dict[str, Failure] = {}

    def begin(kind: Kind) -> None:
        try:
            Server.make(kind, notes.noting(kind.name))
        except Failure as why:
            failed[kind.name] = why

    with ThreadPoolExecutor(max_workers=max(1, len(kinds))) as threads:
        list(threads.map(begin, kinds))
    notes.drop(*(name for name in failed if name in notes.servers))
    return failed


def _variables(notes: Notes, kinds: Sequence[Kind]) -> dict[str, str]:
    variables: dict[str, str] = {}
    for kind in kinds:
        if kind.name in notes.servers:
            variables |= notes.servers[kind.name].variables
        elif kind.name in notes.reasons:
            variables[reason_variable(kind)] = notes.reasons[kind.name]
    return variables


def variables() -> dict[str, str]:
    """Give those of all that is started."""
    with shared_notes(sweep=False) as notes:
        return _variables(notes, list(KINDS.values()))


def leave(user: Noted) -> None:
    """End what nobody but `user` needs."""
    with shared_notes(sweep=False) as notes:
        for users in notes.users.values():
            users[:] = [one for one in users if one != user]
        notes.write()
    with shared_notes(sweep=True):
        pass


def stop(names: Sequence[str]) -> list[str]:
    """End them, whoever needs them; gives which there were."""
    with shared_notes(sweep=True) as notes:
        there = [name for name in names if name in notes.servers]
        notes.drop(*there)
        return there
