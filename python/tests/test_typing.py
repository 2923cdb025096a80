"""Type checkers see original parameters and results, and refuse what is not there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import cachier

pytest.importorskip("mypy")

HERE = Path(__file__).parent
PACKAGE = HERE.parent / "cachier"


def mypy(*arguments, tmp_path):
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--warn-unused-ignores",
            "--cache-dir",
            str(tmp_path / "mypy"),
            *arguments,
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(HERE.parent)},
    )


def test_what_programs_write(tmp_path):
    done = mypy(str(HERE / "typing_sample.py"), tmp_path=tmp_path)
    assert done.returncode == 0, done.stdout


def test_the_package_itself(tmp_path):
    done = mypy("-p", "cachier", tmp_path=tmp_path)
    assert done.returncode == 0, done.stdout


def test_the_stub_has_what_the_module_has():
    stub = (PACKAGE / "_core.pyi").read_text()
    for name in dir(cachier._core):
        if not name.startswith("__"):
            assert f"def {name}(" in stub or f"class {name}" in stub, name
    for kind in (cachier._core.CachedFunction, cachier._core.BoundCachedFunction):
        for name in vars(kind):
            if not name.startswith("__"):
                assert f"def {name}(" in stub, name
