"""Type checkers see original parameters and results, and refuse what is not there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import cachier

pytest.importorskip("mypy")

HERE = Path(__file__).parent


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


def test_the_stub_says_what_the_module_has():
    package = Path(cachier.__file__).parent.parent
    # One that is installed is found, and refused on the path.
    path = {} if package.name == "site-packages" else {"MYPYPATH": str(package)}
    done = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "cachier._core", "--concise"],
        capture_output=True,
        text=True,
        env={**os.environ, **path},
    )
    assert done.returncode == 0, done.stdout + done.stderr
