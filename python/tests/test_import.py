"""What `import cachier` brings along, and what it costs."""

import json
import shutil
import subprocess
import sys

import pytest
from conftest import REPOSITORY

#: What takes long to import, and is only needed by some.
SLOW = {
    "asyncio",
    "concurrent.futures",
    "dataclasses",
    "email",
    "enum",
    "inspect",
    "json",
    "logging",
    "multiprocessing",
    "numpy",
    "pathlib",
    "pickle",
    "random",
    "re",
    "socket",
    "threading",
    "typing",
    "weakref",
}


def modules_after(source):
    code = f"import sys, json\n{source}\nprint(json.dumps(sorted(sys.modules)))"
    bare, full = (
        subprocess.run(
            [sys.executable, "-I", "-c", text],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for text in (
            "import sys, json; print(json.dumps(sorted(sys.modules)))",
            f"import sys; sys.path[:0] = {sys.path!r}\n{code}",
        )
    )
    return set(json.loads(full)) - set(json.loads(bare))


def test_importing_brings_nothing_slow():
    assert modules_after("import cachier") & SLOW == set()


def test_decorating_and_calling_brings_nothing_slow():
    source = """
import cachier
@cachier.cachier(backend="memory")
def f(x, y=2):
    return x
f(1), f(1)
"""
    assert modules_after(source) & (SLOW - {"threading", "weakref"}) == set()


#: Runs code in another interpreter of this process, and gives the words of what it
#: raised. Each version of Python has another module for it.
IN_ANOTHER = """
import sys
try:
    import _interpreters as interpreters
    other = interpreters.create("legacy")
    def run(code):
        failed = interpreters.exec(other, code)
        return failed and failed.formatted
except ImportError:
    import _xxsubinterpreters as interpreters
    other = interpreters.create()
    def run(code):
        try:
            interpreters.run_string(other, code)
        except Exception as error:
            return str(error)
path = f"import sys; sys.path[:] = {sys.path!r}; "
"""


@pytest.mark.parametrize("what", ["cachier", "cachier._core"])
@pytest.mark.parametrize("first", ["", "import cachier"])
def test_another_interpreter_is_refused(run_python, what, first):
    source = f"""
{first}
{IN_ANOTHER}
for _ in range(2):
    said = run(path + "import {what}")
    assert "ImportError" in said and "interpreter" in said, said
assert run("import json") is None
interpreters.destroy(other)
import cachier
f = cachier.cachier(backend="memory")(lambda x: [x])
assert f(1) is f(1)
"""
    done = run_python(source)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize(
    "free_threaded", ["sys.abiflags = 't'", "sys._is_gil_enabled = lambda: False"]
)
def test_a_free_threaded_python_is_refused(run_python, free_threaded):
    source = f"""
import sys
{free_threaded}
try:
    import cachier
except ImportError as error:
    assert "cannot import cachier: this Python is free-threaded" in str(error)
    assert "cachier._core" not in sys.modules
else:
    raise AssertionError("it was imported")
"""
    run_python(source)


@pytest.mark.skipif(shutil.which("c++") is None, reason="there is no compiler")
def test_the_module_declares_that_it_needs_the_lock():
    """It is compiled for a free-threaded Python as this one can: to what it refuses."""
    source = (REPOSITORY / "python" / "src" / "module.cpp").read_text("utf-8")
    done = subprocess.run(
        ["c++", "-std=c++20", "-E", "-P", "-x", "c++", "-", "-DPy_GIL_DISABLED=1"],
        input="\n".join(
            line for line in source.splitlines() if not line.startswith("#include")
        ),
        capture_output=True,
        text=True,
        check=True,
    )
    begin = done.stdout.index("int execute(")
    assert "free-threaded" in done.stdout[begin : begin + 200]


def test_importing_twice_is_harmless():
    source = """
import sys
import cachier
first = cachier._core
del sys.modules["cachier"], sys.modules["cachier._core"]
import cachier
f = cachier.cachier(backend="memory")(lambda x: [x])
assert f(1) is f(1)
"""
    subprocess.run([sys.executable, "-c", source], check=True)
