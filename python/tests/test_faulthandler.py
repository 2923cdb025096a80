"""Our handler of SIGBUS beside Python's faulthandler: each answers for its own."""

import signal

import pytest

pytestmark = pytest.mark.pickle

#: The shared table is shortened under the process, then used.
SHORTENED = """
import os, pathlib, sys
{first}
import cachier
@cachier.cachier(cache_dir=sys.argv[1])
def f(x):
    return [x]
assert [f(x) for x in range(50)] == [[x] for x in range(50)]
(table,) = pathlib.Path(sys.argv[1]).rglob("table")
assert table.stat().st_size > 0
os.truncate(table, 0)
assert [f(x) for x in range(50)] == [[x] for x in range(50)]
"""

#: A mapped file of the program's own is shortened and read.
OF_THE_PROGRAM = """
import mmap, pathlib
mine = pathlib.Path(sys.argv[1]) / "mine"
mine.write_bytes(bytes(8192))
with mine.open("r+b") as file:
    mapped = mmap.mmap(file.fileno(), 8192)
    file.truncate(0)
    print("before", flush=True)
    mapped[4096]
"""

ENABLED = "import faulthandler; faulthandler.enable()"


@pytest.mark.parametrize("first", ["", ENABLED], ids=["alone", "faulthandler"])
def test_a_shortened_table_ends_nobody(run_python, cache_dir, first):
    done = run_python(SHORTENED.format(first=first), cache_dir)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize("first", ["", ENABLED], ids=["alone", "faulthandler"])
def test_faults_of_the_program_are_told_as_ever(run_python, cache_dir, first):
    source = SHORTENED.format(first=first) + OF_THE_PROGRAM
    done = run_python(source, cache_dir, check=False)
    assert done.returncode == -signal.SIGBUS
    assert done.stdout == "before\n"
    if first:
        assert "Fatal Python error: Bus error" in done.stderr
        assert "script.py" in done.stderr
    else:
        assert done.stderr == ""
