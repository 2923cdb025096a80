"""Trials of event loops: none of our callbacks keeps its loop for long."""

from __future__ import annotations

import collections
import pathlib
import statistics
import sys

from harness import Door, Report, WrongError, place

WORKER = [sys.executable, str(pathlib.Path(__file__).with_name("loop_worker.py"))]
DOES = ("one_cold_key", "cold_keys", "hits", "next_time", "clear", "big_values")

REACH = 0.005


def callbacks(report: Report, door: Door, small: bool) -> None:
    """The longest callbacks, of several processes one after another."""
    rounds, count = (3, 200) if small else (9, 1000)
    for name, settings in (("", {}), ("memory_", {"backend": "memory"})):
        for does in DOES:
            longest = collections.defaultdict(list)
            for _ in range(rounds):
                with place(**settings) as here:
                    (told,) = here.worker(WORKER, does, count).say().told()
                if told["callbacks"] < count // 50:
                    raise WrongError(f"{does} had {told['callbacks']} callbacks")
                for what in ("worked", "waited", "longest"):
                    longest[what].append(told[what])
                if told["worked"] > REACH:
                    print(f"    {told['worked']:.4f} s: {told['what']}", flush=True)
            prefix = f"callback_{name}{does}"
            report.seconds(f"{prefix}_worked", max(longest["worked"]), REACH)
            report.seconds(f"{prefix}_waited", max(longest["waited"]), REACH)
            # This one may have been interrupted by other programs.
            median = statistics.median(longest["longest"])
            report.seconds(f"{prefix}_longest", median, REACH)
