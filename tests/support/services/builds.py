"""The servers that no package has: built once, kept outside of the tree.

What was built lies in `${XDG_CACHE_HOME:-~/.cache}/cachier-services`, or in
`CACHIER_SERVICES_CACHE`, under the name of the server, its version and what its sources
are; so what is there is what is asked for.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from .failure import Missing, say

REPOSITORY = Path(__file__).resolve().parents[3]
SOURCES = REPOSITORY / "tests/support/servers"

#: Debian's go is older than what these servers want. It can fetch a newer one, which is
#: a module like others, and checked against the same public list of sums.
GO_WANTED = (1, 25)
GO_FETCHED = "go1.26.8"


def cache_root() -> Path:
    if named := os.environ.get("CACHIER_SERVICES_CACHE"):
        return Path(named).absolute()
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches).absolute() / "cachier-services"


@contextlib.contextmanager
def one_at_a_time(lock: Path) -> Iterator[None]:
    """Hold the lock of a file; the system lets go of it for whoever dies."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with open(lock, "w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for the other one that holds {lock}")
            fcntl.flock(held, fcntl.LOCK_EX)
        yield


def install(packages: Sequence[str]) -> None:
    """Install Debian packages, as what building needs is installed."""
    done = subprocess.run(
        [REPOSITORY / "scripts/setup.sh", "packages", *packages],
        stdin=None
        if sys.stdin is not None and sys.stdin.isatty()
        else subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    if done.returncode == 0:
        return
    lines = dict(
        line.strip().split(":", 1) for line in done.stderr.splitlines() if ":" in line
    )
    raise Missing(
        f"cannot install {' '.join(packages)}",
        lines.get("cause", done.stderr).strip(),
        lines.get("fix", f"install {' '.join(packages)}").strip(),
    )


class Build:
    """One thing to build: where it is kept, and how it is made."""

    def __init__(
        self,
        name: str,
        version: str,
        make: Callable[[Path, Path], None],
        *,
        sources: str | None = None,
        programs: Mapping[str, str],
    ) -> None:
        self.name = name
        self.sources = SOURCES / sources if sources else None
        self.programs = programs  # each that makes it, and the package that has it
        self._version = version
        self._make = make

    @property
    def directory(self) -> Path:
        """Where it is, or will be."""
        sums = hashlib.sha256()
        if self.sources is not None:
            for source in sorted(self.sources.iterdir()):
                sums.update(source.name.encode() + b"\0" + source.read_bytes())
        kept = f"{self.name}-{self._version}-{sums.hexdigest()[:8]}"
        return cache_root() / kept

    @property
    def is_there(self) -> bool:
        return self.directory.is_dir()

    def make(self) -> None:
        """Build it if nobody has; all of it is there or nothing."""
        root = cache_root()
        with one_at_a_time(root / "lock"):
            if self.is_there:
                return
            lacking = [p for p in self.programs if shutil.which(p) is None]
            if lacking:
                install(sorted({self.programs[p] for p in lacking}))
            say(f"building {self.name} {self._version}, once")
            begun = time.monotonic()
            # Whoever holds the lock is the only one who builds: these were killed.
            for left in root.glob("making-*"):
                shutil.rmtree(left, ignore_errors=True)
            made = Path(tempfile.mkdtemp(prefix="making-", dir=root))
            try:
                self._make(made, _workshop())
                made.chmod(0o755)
                made.rename(self.directory)
            finally:
                shutil.rmtree(made, ignore_errors=True)
            say(f"built {self.name} in {time.monotonic() - begun:.0f} s")


def _workshop() -> Path:
    """Where what is fetched and half made lies until all is built."""
    return cache_root() / "workshop"


def tidy_up() -> None:
    """Remove what only building needed: more than all that was built."""
    with one_at_a_time(cache_root() / "lock"):
        shutil.rmtree(_workshop(), ignore_errors=True)


def _run(command: Sequence[str | Path], *, at: Path, **environment: str) -> str:
    """Run a step of a build; what it says is the cause if it fails."""
    at.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(
            ["nice", *map(str, command)],
            cwd=at,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=1800,
        )
    except subprocess.TimeoutExpired:
        raise Missing(
            f"cannot build with {Path(command[0]).name}",
            "it has not ended after half an hour",
            "try again with a faster network",
        ) from None
    if done.returncode != 0:
        said = [s for s in (done.stderr + done.stdout).splitlines() if s.strip()]
        raise Missing(
            f"cannot build with {Path(command[0]).name}",
            " ".join(said[-3:]) or f"it ended with {done.returncode}",
            "behind a proxy set HTTPS_PROXY, or GOPROXY, or a mirror in Maven's "
            f"settings; by hand, in {at}: {' '.join(map(str, command))}",
        )
    return done.stdout


def _go(workshop: Path) -> tuple[str, dict[str, str]]:
    """Give a go that is new enough, and the environment that it is to run in."""
    environment = {
        "GOPATH": str(workshop / "go"),
        "GOCACHE": str(workshop / "go-cache"),
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-modcacherw -trimpath",
        "CGO_ENABLED": "0",
        "GOBIN": "",
    }
    go = shutil.which("go") or "go"
    found = _run([go, "env", "GOVERSION", "GOOS", "GOARCH"], at=workshop, **environment)
    version, system, machine = found.split()
    numbers = re.match(r"go(\d+)\.(\d+)", version)
    if numbers and (int(numbers[1]), int(numbers[2])) >= GO_WANTED:
        return go, environment
    toolchain = f"golang.org/toolchain@v0.0.1-{GO_FETCHED}.{system}-{machine}"
    told = _run([go, "mod", "download", "-json", toolchain], at=workshop, **environment)
    root = Path(json.loads(told)["Dir"])
    # Modules keep no execute permissions.
    for program in [*root.glob("bin/*"), *root.glob("pkg/tool/*/*")]:
        program.chmod(0o755)
    return str(root / "bin/go"), {**environment, "GOROOT": str(root)}


def go_install(package: str) -> Callable[[Path, Path], None]:
    """Give how to build a command as its makers publish it."""

    def make(made: Path, workshop: Path) -> None:
        go, environment = _go(workshop)
        environment["GOBIN"] = str(made)
        _run([go, "install", "-ldflags=-s -w", package], at=workshop, **environment)

    return make


def go_program(sources: Path) -> Callable[[Path, Path], None]:
    """Give how to build a program of ours, with what its go.sum lists."""

    def make(made: Path, workshop: Path) -> None:
        go, environment = _go(workshop)
        program = made / sources.name
        build = [
            go,
            "build",
            "-mod=readonly",
            "-ldflags=-s -w",
            "-o",
            str(program),
            ".",
        ]
        _run(build, at=sources, **environment)

    return make


def java_program(sources: Path) -> Callable[[Path, Path], None]:
    """Give how to compile a program of ours, beside what its pom.xml names."""

    def make(made: Path, workshop: Path) -> None:
        maven = [
            *("mvn", "--batch-mode", "--quiet", "--file", str(sources / "pom.xml")),
            f"-Dmaven.repo.local={workshop / 'm2'}",
            "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies",
            f"-DoutputDirectory={made}",
        ]
        _run(maven, at=workshop)
        programs = map(str, sources.glob("*.java"))
        javac = ["javac", "-Werror", "-Xlint:all", "-cp", f"{made}/*", "-d", str(made)]
        _run([*javac, *programs], at=workshop)

    return make
