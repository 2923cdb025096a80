"""Trials of memory: what is done again and again takes no more of it.

Each kind of call is made in a process of its own: to warm up, then in two halves. What
is allocated after the second half is what was after the first. Objects of Python and
bytes of malloc are counted, not pages, which belong to the machine; what is left
behind by each call would be at least an object or 32 bytes.
"""

from __future__ import annotations

from harness import Door, Report, place

MILLION = 1_000_000

#: The calls of full and of small counts. Fewer of what waits for disks or threads.
CALLS = {
    ("memory", "sync"): {
        "hit": (MILLION, 40_000),
        "miss": (MILLION, 40_000),
        "throw": (MILLION, 40_000),
        "clear": (MILLION, 40_000),
    },
    ("memory", "async"): {
        "hit": (MILLION, 40_000),
        "miss": (MILLION, 20_000),
        "throw": (MILLION, 20_000),
        "clear": (100_000, 8_000),
    },
    ("pickle", "sync"): {
        "hit": (MILLION, 40_000),
        "miss": (100_000, 8_000),
        "throw": (MILLION, 20_000),
        "clear": (100_000, 8_000),
    },
    ("pickle", "async"): {
        "hit": (MILLION, 40_000),
        "miss": (50_000, 8_000),
        "throw": (50_000, 8_000),
        "clear": (50_000, 8_000),
    },
}


def leaks(report: Report, door: Door, small: bool) -> None:
    """Hits, misses, exceptions and clears, of functions and coroutine functions."""
    for (backend, how), kinds in CALLS.items():
        for kind, counts in kinds.items():
            calls = counts[small]
            with place(backend=backend) as here:
                told = here.together(door, 1, "leaks", kind, how, calls)[-1]
            name = f"leaks_{backend}_{how}_{kind}"
            report.at_most(f"{name}_objects", told["objects"] / (calls / 2), 0.25)
            report.at_most(f"{name}_bytes", told["bytes"] / (calls / 2), 16)
