"""Real servers for tests: those that `scripts/services` has started, and a test's own.

``docs/services.md`` says how they come to be there.
"""

import os
import sys
from pathlib import Path

import pytest

_REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(_REPOSITORY / "tests/support"))

from services.builds import cache_root  # noqa: E402
from services.catalog import kind_named  # noqa: E402
from services.failure import Missing  # noqa: E402
from services.own import Own  # noqa: E402
from services.processes import noted  # noqa: E402
from services.shared import reason_variable, required  # noqa: E402
from services.toxics import Proxy  # noqa: E402

# What was built stays where it is; tests have a cache directory of their own.
os.environ.setdefault("CACHIER_SERVICES_CACHE", str(cache_root()))

__all__ = ["Own", "Proxy", "noted", "own", "required", "server_url"]


def server_url(name):
    """Give the address of a server; without it, skip, or fail where it is required.

    `name` is as ``scripts/services start`` takes it; the address is that of the user's
    own server where the environment has one.
    """
    kind = _kind(name)
    url = os.environ.get(f"CACHIER_TEST_{kind.variable}")
    if not url:
        why = os.environ.get(reason_variable(kind), "it has not been started")
        _lack(kind.name, why)
    return url


def own(name, servers):
    """Start a server of the test's own, to kill and freeze; else as `server_url`."""
    kind = _kind(name)
    try:
        return servers.start(kind)
    except Missing as why:
        return _lack(kind.name, why.on_one_line)


def _kind(name):
    kind = kind_named(name)
    assert kind is not None, f"there is no server {name}"
    return kind


def _lack(name, why):
    words = f"no {name}: {why} (`scripts/services run {name} -- COMMAND` starts it)"
    if name in required(os.environ):
        pytest.fail(words, pytrace=False)
    pytest.skip(words)
