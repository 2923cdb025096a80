"""The trials: races, kills and forks of real processes, counted.

    run.py [--small] [--build DIR] [--door DOOR] RESULTS.jsonl [NAME...]

Prints a table and writes one JSON object a line: `name`, `value`, `reach`, `ok`. Ends
with 1 if something was wrong: a function that ran too often, a lost or a wrong value, a
process that hung. A time that was not reached is only reported, and so is a count
that does no harm (`~`).

TRIALS_SEED makes the random moments those of an earlier run, as far as a machine can.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable

import clocks
import damage
import leaks
import lives
import loops
import losses
import powercut
import together
from harness import Door, Report, WrongError

HERE = pathlib.Path(__file__).parent
Trial = Callable[[Report, Door, bool], None]

#: Each with the doors by which it is done.
TRIALS: dict[Trial, tuple[str, ...]] = {
    together.cold_key: ("python", "cpp", "both"),
    together.cold_key_in_memory: ("python", "cpp"),
    together.owner_killed: ("python", "cpp", "both"),
    together.owner_killed_storing: ("python", "cpp"),
    together.woken: ("python", "cpp"),
    together.unstorable: ("python", "cpp"),
    together.throws: ("python", "cpp"),
    loops.callbacks: ("python",),
    losses.bounds: ("python",),
    losses.inserts: ("python", "cpp", "both"),
    losses.writers_killed: ("python", "cpp"),
    losses.makers_killed: ("python", "cpp"),
    losses.bit_flips_in_entries: ("python", "cpp"),
    losses.bit_flips_in_columns: ("python", "cpp"),
    losses.bit_flips_in_files: ("python", "cpp"),
    powercut.power_cuts: ("python",),
    clocks.clock_set: ("python",),
    damage.damage_matrix: ("python", "cpp"),
    damage.every_bit: ("python", "cpp"),
    damage.every_bit_of_files: ("python", "cpp"),
    lives.forks: ("python", "cpp"),
    lives.forks_inside: ("python", "cpp"),
    lives.pools: ("python",),
    lives.interrupts: ("python", "cpp"),
    lives.interrupts_beside_threads: ("python",),
    lives.exits: ("python", "cpp"),
    lives.recursion: ("python", "cpp"),
    leaks.leaks: ("python",),
}


def doors(build: pathlib.Path) -> dict[str, Door]:
    """Return the ways in."""
    python = [sys.executable, str(HERE / "worker.py")]
    cpp = [str(build / "tests" / "trials" / "trials_worker")]
    return {
        "python": Door("python", python),
        "cpp": Door("cpp", cpp),
        "both": Door("both", python, cpp),
    }


def model(report: Report, build: pathlib.Path) -> None:
    """Search the model of the call machine with all faults together."""
    done = subprocess.run(
        [build / "tests/model/call_model_test", "--gtest_filter=*AllFaults"],
        env={**os.environ, "CACHIER_MODEL_ALL": "1"},
        capture_output=True,
        text=True,
    )
    if "[  PASSED  ] 1 test" not in done.stdout:
        print(done.stdout + done.stderr, file=sys.stderr)
    report.exactly("model_all_faults", "[  PASSED  ] 1 test" in done.stdout, True)


def coherence(report: Report, build: pathlib.Path, small: bool) -> None:
    """Hold each read against every finished store and clear and every earlier read."""
    reads = 20_000_000 if small else 1_000_000_000
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [build / "tests/trials/trials_coherence", folder, str(reads), "900"],
            capture_output=True,
            text=True,
        )
    told = json.loads(done.stdout) if done.returncode in (0, 1) else {}
    report.exactly("coherence_done", bool(told), True)
    if told:
        # A violation ends it, and so it may have read less.
        report.exactly("coherence_all_read", told["reads"] >= reads, True)
        for wrong in ("older", "missing", "restless"):
            report.exactly(f"coherence_{reads}_reads_{wrong}", told[wrong], 0)


def main() -> int:
    """Run the trials."""
    # A shell that runs this in the background ignores Ctrl-C, for workers as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    names = [trial.__name__ for trial in TRIALS] + ["coherence", "model"]
    parser = argparse.ArgumentParser(description="Races, kills and forks, counted.")
    parser.add_argument("results", type=pathlib.Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(names))
    parser.add_argument("--small", action="store_true", help="small counts, for CI")
    parser.add_argument("--build", type=pathlib.Path, default="build/dev")
    parser.add_argument("--door", choices=["python", "cpp", "both"])
    arguments = parser.parse_intermixed_args()
    unknown = set(arguments.names) - set(names)
    if unknown:
        parser.error(f"no trial is named {', '.join(sorted(unknown))}")
    chosen = arguments.names or names[: -1 if arguments.small else None]

    # What is started here ends with the places, also when this is told to end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    seed = os.environ.get("TRIALS_SEED") or str(random.SystemRandom().randrange(10**6))
    random.seed(seed)
    print(f"trials, {'small' if arguments.small else 'full'} counts, seed {seed}")

    os.environ["TRIALS_BUILD"] = str(arguments.build.resolve())
    begin = time.monotonic()
    report = Report(arguments.results)
    took = collections.Counter[str]()
    ways = doors(arguments.build.resolve())
    for trial, by in TRIALS.items():
        for name in by:
            if trial.__name__ not in chosen or arguments.door not in (None, name):
                continue
            since = time.monotonic()
            report.prefix = f"{name}_"
            try:
                trial(report, ways[name], arguments.small)
            except WrongError as error:
                report.failed(trial.__name__)
                print(f"    {error}", flush=True)
            except Exception:
                report.failed(trial.__name__)
                traceback.print_exc()
            took[trial.__name__] += time.monotonic() - since
    if "coherence" in chosen:
        report.prefix = ""
        since = time.monotonic()
        coherence(report, arguments.build.resolve(), arguments.small)
        took["coherence"] += time.monotonic() - since
    if "model" in chosen:
        report.prefix = ""
        model(report, arguments.build.resolve())

    print(f"\n{time.monotonic() - begin:.0f} s in all, most of them for")
    for name, seconds in took.most_common(6):
        print(f"  {seconds:6.1f} s  {name}")
    if report.missed:
        print("not reached (reported only): " + ", ".join(report.missed))
    print("WRONG: " + ", ".join(report.wrong) if report.wrong else "nothing went wrong")
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
