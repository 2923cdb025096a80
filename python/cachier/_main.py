"""The console script: runs the program that comes with the package."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Become the command line of cachier."""
    program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bin", "cachier")
    if not os.path.exists(program):
        sys.exit(
            "cachier: the command line is not part of this installation\n"
            f"  cause: there is no {program}\n"
            "  fix:   install a wheel of cachier, or build with CACHIER_BUILD_CLI=ON"
        )
    os.execv(program, ["cachier", *sys.argv[1:]])  # noqa: S606
