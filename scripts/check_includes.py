#!/usr/bin/env python3
"""Fails on an include that runs up the house (ARCHITECTURE.md), or out of it.

Each folder lists what it may include: folders of ours, and headers of third parties or
of the operating system by pattern. C++ standard headers are free to all. What is not
listed is an error that names the file, the line and the rule.
"""

from __future__ import annotations

import fnmatch
import re
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
INCLUDE = re.compile(r'^\s*#\s*include\s+(?:"([^"]+)"|<([^>]+)>)')


class Rule(NamedTuple):
    """What the files of one folder may include besides each other."""

    ours: tuple[str, ...] = ()  # folders, as they are named in RULES
    foreign: tuple[str, ...] = ()  # patterns of other headers


# The public headers, from the bottom up. `door` is what only callers include.
DOORS = ("include/cachier/cached.hpp", "include/cachier/cachier.hpp")

# What a backend shows to operators, that is to the command line, besides its store.
UPKEEP = (
    "src/backends/shared/findings.hpp",
    "src/backends/local/inspect.hpp",
    "src/backends/local/repair.hpp",
    "src/backends/files/inspect.hpp",
    "src/backends/files/repair.hpp",
)

SYSTEM = ("*.h",)  # POSIX and Linux

RULES: dict[str, Rule] = {
    # The words that everything is said in: they need nothing but each other.
    "include": Rule(),
    "door": Rule(ours=("include",)),
    "src/platform": Rule(ours=("include",), foreign=SYSTEM),
    "src/containers": Rule(ours=("include",)),
    "src/cbor": Rule(ours=("include", "src/platform")),
    "src/keys": Rule(
        ours=("include", "src/cbor", "src/platform"),
        foreign=("xxhash.h", "openssl/*.h"),
    ),
    "src/envelope": Rule(ours=("include", "src/cbor", "src/keys", "src/platform")),
    "src/engine": Rule(
        ours=("include", "src/cbor", "src/keys", "src/envelope", "src/platform")
    ),
    # A backend sees what an outsider's would see, and its client library.
    "src/backends/shared": Rule(ours=("include", "src/platform"), foreign=SYSTEM),
    "src/backends/memory": Rule(
        ours=("include", "src/containers", "src/platform", "src/backends/shared"),
        foreign=SYSTEM,
    ),
    "src/backends/local": Rule(
        ours=(
            "include",
            "upkeep",
            "src/containers",
            "src/platform",
            "src/backends/shared",
        ),
        foreign=SYSTEM,
    ),
    "src/backends/files": Rule(
        ours=(
            "include",
            "upkeep",
            "src/containers",
            "src/platform",
            "src/backends/shared",
        ),
        foreign=SYSTEM,
    ),
    "upkeep": Rule(ours=("include",)),
    "src/plugins": Rule(
        ours=(
            "include",
            "src/platform",
            "src/backends/memory",
            "src/backends/local",
            "src/backends/files",
        ),
        foreign=SYSTEM,
    ),
    # The errors, used by all.
    "src": Rule(ours=("include",)),
    # The doors.
    "src/cli": Rule(ours=("include", "door", "upkeep"), foreign=("CLI/*.hpp", *SYSTEM)),
    "python/src": Rule(
        # Its memory store is made of the same table as ours.
        ours=(
            "include",
            "door",
            "src/engine",
            "src/keys",
            "src/cbor",
            "src/platform",
            "src/backends/memory",
            "src/backends/shared",
        ),
        foreign=SYSTEM,
    ),
    # A program of a user has what is installed.
    "examples": Rule(ours=("include", "door"), foreign=SYSTEM),
    "tests/package": Rule(ours=("include", "door")),
    "tests/compile_fail": Rule(ours=("include", "door")),
}

# Tests and benchmarks see everything; nothing sees them.
FREE = ("tests", "benchmarks")


def folder_of(path: str) -> str | None:
    """The rule's name for a file, by the longest folder that has one."""
    if path in DOORS:
        return "door"
    if path in UPKEEP:
        return "upkeep"
    for parent in Path(path).parents:
        name = parent.as_posix()
        if name in RULES or name in FREE:
            return name
    return None


def resolve(name: str, quoted: bool, source: str) -> str | None:
    """The file of ours that an include means; None where it is not ours."""
    if name.startswith("cachier/"):
        return "include/" + name
    if not quoted:
        return None
    for base in ("src", "tests", "benchmarks", "python/src", Path(source).parent):
        candidate = Path(base) / name
        if (ROOT / candidate).exists():
            return candidate.as_posix()
    return name


def complaint(source: str, name: str, quoted: bool) -> str | None:
    """Why a file may not include a header; None where it may."""
    home = folder_of(source)
    if home is None:
        return "its folder has no rule in scripts/check_includes.py"
    target = resolve(name, quoted, source)
    if target is None:
        standard = "." not in name
        if standard or home in FREE:
            return None
        if any(fnmatch.fnmatch(name, pattern) for pattern in RULES[home].foreign):
            return None
        return f"{home} may not use this library or system header"
    if not (ROOT / target).exists():
        return "there is no such file"
    if home in FREE:
        return None
    there = folder_of(target)
    if there == home or there in RULES[home].ours:
        return None
    return f"{home} may include only {', '.join(RULES[home].ours) or 'itself'}"


def main() -> int:
    """Checks every C++ file of the tree."""
    files = sorted(
        path
        for folder in ("include", "src", "python", "tests", "benchmarks", "examples")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".cpp", ".hpp", ".h"}
    )
    errors = 0
    for path in files:
        source = path.relative_to(ROOT).as_posix()
        lines = path.read_text(encoding="utf-8").splitlines()
        if path.suffix != ".cpp" and "#pragma once" not in lines:
            print(f"{source}:1: a header without #pragma once")
            errors += 1
        for number, line in enumerate(lines, start=1):
            match = INCLUDE.match(line)
            if match is None:
                continue
            name = match[1] or match[2]
            reason = complaint(source, name, quoted=match[1] is not None)
            if reason is not None:
                print(f"{source}:{number}: includes {name}: {reason}")
                errors += 1
    print(f"includes: {len(files)} files, {errors or 'no'} errors")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
