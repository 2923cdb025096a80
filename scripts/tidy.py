#!/usr/bin/env python3
"""Runs clang-tidy over the library's sources, on all processors.

A file that was found clean is not looked at again until it, a header that it includes,
its compiler flags or the configuration have changed: what the preprocessor makes of it
is hashed, and the hashes of clean files are kept in build/tidy.

usage: scripts/tidy.py BUILD-DIRECTORY
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CLEAN = ROOT / "build" / "tidy"
SOURCES = (str(ROOT / "src") + "/", str(ROOT / "python" / "src") + "/")


def fingerprint(command: dict[str, str]) -> str | None:
    """What a verdict depends on; None if the file does not even preprocess."""
    words = shlex.split(command["command"])
    output = words.index("-o")
    del words[output : output + 2]
    # With comments: NOLINT is one.
    words[words.index("-c")] = "-E"
    done = subprocess.run(
        [*words, "-C", "-P"], cwd=command["directory"], capture_output=True, check=False
    )
    if done.returncode != 0:
        return None
    digest = hashlib.sha256((ROOT / ".clang-tidy").read_bytes())
    digest.update(" ".join(words).encode())
    digest.update(done.stdout)
    return digest.hexdigest()


def check(command: dict[str, str], database: Path) -> tuple[str, str] | None:
    """A file's name and what is wrong with it; None if nothing is."""
    mark = fingerprint(command)
    if mark is not None and (CLEAN / mark).exists():
        return None
    done = subprocess.run(
        ["clang-tidy-14", "--quiet", "-p", str(database), command["file"]],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        name = os.path.relpath(command["file"], ROOT)
        return name, done.stdout or done.stderr
    if mark is not None:
        (CLEAN / mark).touch()
    return None


def main() -> int:
    """Checks every source of ours that the build directory compiles."""
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    database = Path(sys.argv[1])
    commands = [
        command
        for command in json.loads((database / "compile_commands.json").read_text())
        if command["file"].startswith(SOURCES)
    ]
    if not commands:
        print(f"tidy: {database} compiles nothing of ours", file=sys.stderr)
        return 1
    CLEAN.mkdir(parents=True, exist_ok=True)
    jobs = int(os.environ.get("JOBS") or os.cpu_count() or 1)
    with ThreadPoolExecutor(jobs) as pool:
        verdicts = list(pool.map(lambda command: check(command, database), commands))
    faults = [verdict for verdict in verdicts if verdict is not None]
    for name, text in faults:
        print(f"-- {name}\n{text}")
    print(f"clang-tidy: {len(commands)} files, {len(faults) or 'none'} with faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
