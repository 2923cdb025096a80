"""The most used words of a folder of Python sources, cached.

    python words.py FOLDER TOP [--twice]

Prints one line of JSON: what came out and how many seconds each call took.
"""

from __future__ import annotations

import collections
import json
import os
import pathlib
import re
import sys
import time

from cachier import cachier

_WORD = re.compile(rb"[A-Za-z_][A-Za-z0-9_]*")


@cachier(name="demo.most_used_words")
def most_used_words(folder: str, top: int) -> list[tuple[str, int]]:
    """Count every word of every source below `folder`.

    Parameters
    ----------
    folder : str
        Where the sources are; installed packages below it are left out.
    top : int
        How many words to give.

    Returns
    -------
    list of (str, int)
        Word and count, the most used first.
    """
    _tell_that_it_runs()
    count: collections.Counter[bytes] = collections.Counter()
    for source in sorted(pathlib.Path(folder).rglob("*.py")):
        if "site-packages" not in source.parts and "dist-packages" not in source.parts:
            count.update(_WORD.findall(source.read_bytes()))
    ranked = sorted(count.items(), key=lambda item: (-item[1], item[0]))
    return [(word.decode(), n) for word, n in ranked[:top]]


def _tell_that_it_runs() -> None:
    """Let the demo count the runs: a line in the file that it names."""
    if runs := os.environ.get("DEMO_RUNS"):
        with open(runs, "a", encoding="ascii") as file:
            file.write(f"{time.time():.6f}\n")


def main() -> None:
    """Answer the command line."""
    folder, top = sys.argv[1], int(sys.argv[2])
    seconds = []
    for _ in range(2 if "--twice" in sys.argv else 1):
        begin = time.perf_counter()
        words = most_used_words(folder, top)
        seconds.append(time.perf_counter() - begin)
    print(json.dumps({"words": words, "seconds": seconds, "ended": time.time()}))


if __name__ == "__main__":
    main()
