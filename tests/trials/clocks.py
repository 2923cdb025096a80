"""Trial of clocks: the wall clock is set forth and back under a running program.

The program has `set_clock.cpp` preloaded and sets its own clock. An entry is to be used
while its age is within `stale_after`, and not when it is from the future; a call never
raises or hangs, and what was computed last is used.
"""

from __future__ import annotations

import datetime
import faulthandler
import json
import os
import pathlib
import random
import sys
import tempfile
from typing import Any

from harness import PATIENCE, Door, Report
from powercut import run_python

#: A file of so many bytes is the real time (`set_clock.cpp`).
ZERO = 10**9
LIFE = 3600
HOURS = (0, 2, -2, 26, -26, 24 * 300, -24 * 300, 24 * 3650, -24 * 3650)


def clock_set(report: Report, door: Door, small: bool) -> None:
    """The clock jumps by hours to years: right answers, as often computed as due."""
    jumps = 50 if small else 2_000
    for store in ("local", "files"):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
            offset = pathlib.Path(scratch) / "offset"
            offset.touch()
            built = pathlib.Path(os.environ["TRIALS_BUILD"])
            told = json.loads(
                run_python(
                    __file__,
                    str(pathlib.Path(scratch) / "cache"),
                    store,
                    str(jumps),
                    str(random.randrange(10**6)),
                    LD_PRELOAD=str(built / "tests/trials/trials_set_clock.so"),
                    CLOCK_OFFSET=str(offset),
                )
            )
        report.exactly(f"clock_set_{store}_{jumps}_jumps_wrong", told["wrong"], 0)
        report.exactly(f"clock_set_{store}_runs", told["runs"], told["due"])
        report.exactly(f"clock_set_{store}_raised", len(told["raised"]), 0)
        if told["raised"]:
            print(f"    {told['raised'][:3]}")


def jump(folder: str, store: str, jumps: str, seed: str) -> None:
    """Set the clock and call, again and again."""
    from cachier import cachier

    faulthandler.dump_traceback_later(4 * PATIENCE, exit=True)
    random.seed(int(seed))
    told: dict[str, Any] = {"wrong": 0, "runs": 0, "due": 0, "raised": []}
    separate = store == "files"
    life = datetime.timedelta(seconds=LIFE)

    @cachier(cache_dir=folder, name="c", separate_files=separate, stale_after=life)
    def value(key: int) -> int:
        told["runs"] += 1
        return key

    @cachier(
        cache_dir=folder,
        name="n",
        separate_files=separate,
        stale_after=life,
        next_time=True,
        cleanup_stale=True,
        cleanup_interval=datetime.timedelta(0),
    )
    def refreshed(key: int) -> int:
        return key

    stored: dict[int, int] = {}
    for _ in range(int(jumps)):
        now = random.choice(HOURS) * 3600
        os.truncate(os.environ["CLOCK_OFFSET"], ZERO + now)
        for key in random.choices(range(8), k=4):
            if not 0 <= now - stored.get(key, now + 1) < LIFE:
                told["due"] += 1
                stored[key] = now
            for function in (value, value, refreshed):
                try:
                    told["wrong"] += function(key) != key
                except Exception as error:
                    told["raised"].append(repr(error))
    print(json.dumps(told))


if __name__ == "__main__":
    jump(*sys.argv[1:])
