"""What `import cachier` brings along, and what it costs."""

import json
import subprocess
import sys

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


def test_another_interpreter_is_refused():
    import pytest

    interpreters = pytest.importorskip("_xxsubinterpreters")
    other = interpreters.create()
    try:
        with pytest.raises(Exception, match="interpreter"):
            interpreters.run_string(
                other,
                f"import sys; sys.path[:] = {sys.path!r}; import cachier._core",
            )
    finally:
        interpreters.destroy(other)


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
