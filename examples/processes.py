"""Worker processes share what is stored, and never compute the same at once."""

import multiprocessing
import os
import tempfile
from pathlib import Path

from cachier import cachier


@cachier()
def cube(n: int, log: str) -> int:
    with Path(log).open("a") as file:
        file.write(f"{n} in {os.getpid()}\n")
    return n**3


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        calls = [(n % 5, str(log)) for n in range(50)]
        with multiprocessing.get_context("spawn").Pool(4) as pool:
            results = pool.starmap(cube, calls, chunksize=1)
        print(sorted(set(results)))
        print(len(results), "calls,", len(log.read_text().splitlines()), "runs")
