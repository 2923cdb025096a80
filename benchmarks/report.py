"""What a row of results is made of: two sides, measured in turn in this process.

The figures are medians of `ROUNDS`.
"""

from __future__ import annotations

import json
import pathlib
import statistics
import time
import timeit
from collections.abc import Callable
from typing import Any

ROUNDS = 9
Work = Callable[[], Any]


class Report:
    """Rows of results.

    Parameters
    ----------
    path : str
        The file they are appended to.
    wanted : str
        Part of the names of the rows to measure.
    """

    def __init__(self, path: str, wanted: str) -> None:
        self._file = pathlib.Path(path).open("a", encoding="ascii")  # noqa: SIM115
        self._wanted = wanted

    def wants(self, name: str) -> bool:
        """Say whether this row is to be measured."""
        return self._wanted in name

    def compare(
        self,
        name: str,
        ours: Work,
        against: str,
        theirs: Work,
        reach: float,
        n: int,
        calls: int = 1,
    ) -> None:
        """Measure both in turn, `n` times a round, and write the row.

        Each of them makes so many `calls`, and the row tells of one.
        """
        if not self.wants(name):
            return
        timers = timeit.Timer(ours), timeit.Timer(theirs)
        times: tuple[list[float], list[float]] = ([], [])
        for timer in timers:
            timer.timeit(max(n // 10, 1))
        for _ in range(ROUNDS):
            for timer, measured in zip(timers, times, strict=True):
                measured.append(timer.timeit(n) / n / calls)
        ours_took, theirs_took = map(statistics.median, times)
        self.write(name, ours_took, against, theirs_took, reach)

    def write(
        self, name: str, ours: float, against: str, theirs: float, reach: float
    ) -> None:
        """Write a row."""
        ratio = ours / theirs
        row = {
            "name": name,
            "ours": float(f"{ours:.4g}"),
            "against": against,
            "theirs": float(f"{theirs:.4g}"),
            "ratio": float(f"{ratio:.4g}"),
            "reach": reach,
            "ok": ratio <= reach,
        }
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()


def spin(seconds: float) -> None:
    """Do nothing for so long: a side that is an amount of time."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass
