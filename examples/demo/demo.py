"""Shows cachier at work on real files: the sources of Python's standard library.

Run by `make demo`, as: demo.py C++-PROGRAM CACHIER-COMMAND. Everything is kept in a
directory of its own, which is removed at the end.
"""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from typing import Any

HERE = pathlib.Path(__file__).parent
LIBRARY = sysconfig.get_path("stdlib")
COLOURS = sys.stdout.isatty() and "NO_COLOR" not in os.environ


def bold(text: str) -> str:
    """Return the text as terminals show it in bold."""
    return f"\033[1m{text}\033[0m" if COLOURS else text


def dim(text: str) -> str:
    """Return the text as terminals show it in grey."""
    return f"\033[2m{text}\033[0m" if COLOURS else text


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    for unit, size in (("s ", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:7.1f} {unit}"
    return f"{seconds * 1e9:7.1f} ns"


def row(what: str, seconds: float, remark: str = "") -> None:
    """Print one line of the story."""
    print(f"  {what:<46}{bold(duration(seconds))}   {dim(remark)}", flush=True)


def heading(text: str) -> None:
    """Print the beginning of an act."""
    print(f"\n{bold(text)}", flush=True)


class Stage:
    """Starts the programs of the demo, and counts how often their function ran.

    Parameters
    ----------
    scratch : pathlib.Path
        Where cache and notes go.
    cpp : str
        The C++ program.
    """

    def __init__(self, scratch: pathlib.Path, cpp: str) -> None:
        self._runs = scratch / "runs"
        self._cpp = cpp
        self.environment = {
            **os.environ,
            "XDG_CACHE_HOME": str(scratch),
            "DEMO_RUNS": str(self._runs),
        }

    def runs(self) -> list[float]:
        """Return when each run of the function began."""
        if not self._runs.exists():
            return []
        return [float(line) for line in self._runs.read_text("ascii").splitlines()]

    def start(self, top: int, *more: str) -> subprocess.Popen[str]:
        """Start a Python process that asks for `top` words."""
        command = [sys.executable, str(HERE / "words.py"), LIBRARY, str(top), *more]
        return self._start(command)

    def start_cpp(self, top: int) -> subprocess.Popen[str]:
        """Start the C++ program with the same question."""
        return self._start([self._cpp, LIBRARY, str(top)])

    def _start(self, command: list[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command, env=self.environment, stdout=subprocess.PIPE, text=True
        )


def answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for a process and read what it printed."""
    printed, _ = process.communicate(timeout=300)
    if process.returncode != 0:
        raise SystemExit(f"the demo failed: {process.args} gave {process.returncode}")
    result: dict[str, Any] = json.loads(printed)
    return result


def warm_and_cold(stage: Stage) -> None:
    """Act one: the first call, the second, a restart, another language."""
    files = [
        path
        for path in pathlib.Path(LIBRARY).rglob("*.py")
        if not {"site-packages", "dist-packages"} & set(path.parts)
    ]
    size = sum(path.stat().st_size for path in files) / 1e6
    heading("The words of Python's standard library")
    print(dim(f"  {len(files):,} files, {size:.0f} MB: {LIBRARY}"))
    first = answer(stage.start(10, "--twice"))
    row("Python, first call", first["seconds"][0], "reads and counts")
    row("Python, again", first["seconds"][1], "the same process")
    second = answer(stage.start(10))
    row("Python, after a restart", second["seconds"][0], "from disk")
    third = answer(stage.start_cpp(10))
    row("C++, what Python stored", third["seconds"][0], "found by the same name")
    assert first["words"] == second["words"] == third["words"]
    assert len(stage.runs()) == 1 and third["runs"] == 0
    words = ", ".join(f"{word} {n:,}" for word, n in first["words"][:5])
    print(dim(f"  all agree: {words}, ..."))


def together(stage: Stage) -> None:
    """Act two: eight processes ask at once."""
    heading("Eight processes ask the same at once")
    before = len(stage.runs())
    answers = [answer(one) for one in [stage.start(20) for _ in range(8)]]
    took = sorted(one["seconds"][0] for one in answers)
    ended = [one["ended"] for one in answers]
    row("the quickest and ...", took[0], "came late, waited less")
    row("... the slowest of the eight", took[-1], "one computed, seven waited")
    row("first to last of the answers", max(ended) - min(ended))
    ran = len(stage.runs()) - before
    print(f"  the function ran {bold(str(ran))} time{'s' if ran > 1 else ''}")
    assert ran == 1


def killed(stage: Stage) -> None:
    """Act three: who computes is killed, who waits takes over."""
    heading("The one who computes is killed, another one waits")
    before = len(stage.runs())
    owner = stage.start(30)
    while len(stage.runs()) == before:
        time.sleep(0.001)
    waiter = stage.start(30)
    time.sleep(0.4)  # for show: it has begun to wait
    owner.send_signal(signal.SIGKILL)
    when = time.time()
    owner.wait()
    result = answer(waiter)
    runs = stage.runs()[before:]
    assert len(runs) == 2
    row("killed, until the waiter has taken over", runs[1] - when)
    row("and answered", result["ended"] - when, f"{len(result['words'])} words")
    assert answer(stage.start(30))["words"] == result["words"]


def listed(stage: Stage, command: str) -> None:
    """Act four: what is in the cache."""
    heading("What is stored, and for which calls")
    print(dim("  $ cachier ls --entries"), flush=True)
    subprocess.run([command, "ls", "--entries"], env=stage.environment, check=True)


def main() -> None:
    """Tell the whole story."""
    cpp, command = sys.argv[1:3]
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="cachier-demo-") as scratch:
        stage = Stage(pathlib.Path(scratch), cpp)
        warm_and_cold(stage)
        together(stage)
        killed(stage)
        listed(stage, command)
    print(dim(f"\n  {time.perf_counter() - begin:.0f} s in all"))


if __name__ == "__main__":
    main()
