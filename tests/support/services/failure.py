"""What goes wrong with servers, in words."""

from __future__ import annotations

import sys


class Failure(Exception):  # noqa: N818  # a failure is said, not raised by a fault of ours
    """What failed, why in the system's own words, and what to do."""

    def __init__(self, what: str, cause: str, fix: str) -> None:
        super().__init__(f"{what}\n  cause: {cause}\n  fix:   {fix}")
        self.what = what
        self.cause = cause
        self.fix = fix

    @property
    def on_one_line(self) -> str:
        return f"{self.what}: {self.cause} ({self.fix})"


class Missing(Failure):
    """A server that cannot be had on this machine; tests that need it are skipped."""


def say(words: str) -> None:
    """Tell the one who waits; what is printed on stdout is for a shell to read."""
    print(f"services: {words}", file=sys.stderr, flush=True)
