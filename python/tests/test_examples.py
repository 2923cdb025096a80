"""Each example does what it says, when it first runs and when it runs again."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY

import cachier

EXAMPLES = REPOSITORY / "examples"
#: The programs of a build in the tree; there are none beside an installed package.
BUILT = Path(cachier.__file__).parents[2] / "examples"

#: What is printed by the first run and by the second.
PRINTED = {
    "basic.py": (
        "computing\n[0, 1, 4, 9]\n[0, 1, 4, 9]\n",
        "[0, 1, 4, 9]\n[0, 1, 4, 9]\n",
    ),
    "coroutines.py": (
        "fetching home\n100 <home>\nfetching home\n<home>\n",
        "100 <home>\nfetching home\n<home>\n",
    ),
    "memory.py": (
        "parsing one three\nTrue\nparsing two\nparsing four\nFalse True\n[1]\n",
    )
    * 2,
    "methods.py": (
        "computing the climate\nmonth 7\nmonth 7\n"
        "computing for Oslo\nOslo, day 1\ncomputing for Bergen\nBergen, day 1\n",
        "month 7\nmonth 7\nOslo, day 1\nBergen, day 1\n",
    ),
    "metrics.py": (
        "2 hits, 2 misses, 50 %\n"
        'cachier_cache_hits_total{function="__main__.double"} 2\n',
    )
    * 2,
    # The second run's calls name another file: they are others.
    "processes.py": ("[0, 1, 8, 27, 64]\n50 calls, 5 runs\n",) * 2,
    "staleness.py": ("1 1\n2\n3\n2\n1\n",) * 2,
    "tables.py": (
        "computing\n{'a': 4.0, 'b': 2.0}\n{'a': 4.0, 'b': 2.0}\n"
        "computing\n{'a': 8.0, 'b': 2.0}\n",
        "{'a': 4.0, 'b': 2.0}\n{'a': 4.0, 'b': 2.0}\n{'a': 8.0, 'b': 2.0}\n",
    ),
    "point.cpp": ("computing\n-4 3\n-4 3\n", "-4 3\n-4 3\n"),
    "sum.cpp": ("499999500000\n499999500000\n",) * 2,
}


def run(command, cache):
    done = subprocess.run(
        command,
        env={**os.environ, "XDG_CACHE_HOME": str(cache)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_none_is_forgotten():
    there = {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".cpp")}
    # Those of clients are run where these are: `test_mongo`, ...
    clients = ("mongo", "redis", "s3", "sql")
    of_clients = {f"{client}_example.py" for client in clients}
    assert there == {*PRINTED, "test_with_cachier.py", *of_clients}


@pytest.mark.parametrize("name", PRINTED)
def test_what_it_prints(name, tmp_path):
    path = EXAMPLES / name
    if path.suffix == ".py":
        command = [sys.executable, "-W", "error", str(path)]
    else:
        command = [str(BUILT / f"example_{path.stem}")]
        if not BUILT.exists():
            pytest.skip("there is no build beside the package")
    assert tuple(run(command, tmp_path) for _ in range(2)) == PRINTED[name]


def test_the_tests(tmp_path):
    plugin = ["-p", "cachier.pytest_plugin"]
    try:
        from importlib.metadata import entry_points

        if "cachier.pytest_plugin" in entry_points(group="pytest11").names:
            plugin = []
    except ImportError:
        pass
    path = EXAMPLES / "test_with_cachier.py"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    assert "3 passed" in run([*command, *plugin, str(path)], tmp_path)
