"""What works on this tree, as far as it has decisions of its own."""

import os
import re
import subprocess

import pytest
from conftest import REPOSITORY

BACKENDS = {"mongo": "mongodb", "redis": "redis", "sql": "postgres", "s3": "s3"}

pytestmark = pytest.mark.skipif(
    not (REPOSITORY / "build/dev/python/cachier").exists(),
    reason="build/dev is not there (make build)",
)


@pytest.fixture
def test_local(tmp_path):
    """Run scripts/test-local.sh on what is built already."""
    make = tmp_path / "make"
    make.write_text("#!/bin/sh\n")
    make.chmod(0o755)

    def run(*arguments, **environment):
        return subprocess.run(
            [REPOSITORY / "scripts/test-local.sh", *arguments],
            env={
                **os.environ,
                "PATH": f"{tmp_path}:{os.environ['PATH']}",
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "no core is named"),
        (["redis", "oracle"], "there is no core 'oracle'"),
        (["-x", "memory"], "there is no option -x"),
        (["memory", "-f"], "-f needs a file"),
        (["memory", "-f", "test_no.py"], "there is no test file 'test_no.py'"),
    ],
)
def test_what_test_local_does_not_know(test_local, arguments, words):
    done = test_local(*arguments, CACHIER_TEST_CORES="")
    assert done.returncode == 1
    assert words in done.stderr
    assert "usage: scripts/test-local.sh" in done.stderr


def _passed(done):
    assert done.returncode == 0, done.stdout + done.stderr
    names = re.findall(r"::(\w+)\S* PASSED", done.stdout)
    return set(names), set(re.findall(r"\[(memory|pickle)\b", done.stdout))


def test_the_tests_of_a_core(test_local):
    """Those with its marker; with both local ones, those without any."""
    file = ("-v", "-f", "test_hash_func.py")
    memory, backends = _passed(test_local(*file, "memory"))
    assert backends == {"memory"}
    both, backends = _passed(test_local(*file, CACHIER_TEST_CORES="local"))
    assert backends == {"memory", "pickle"}
    assert memory < both


def test_the_requirements_of_a_backend_are_those_of_its_extra():
    """At least, and at the versions of all tests once these have them."""
    project = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    for extra, file in BACKENDS.items():
        (listed,) = re.findall(rf"^{extra} = \[(.*)\]$", project, re.MULTILINE)
        needed = set(re.findall(r'"([A-Za-z0-9_-]+)', listed))
        assert needed
        path = REPOSITORY / f"tests/requirements_{file}.txt"
        lines = path.read_text(encoding="utf-8").splitlines()
        assert "-c ../scripts/requirements-dev.txt" in lines
        assert needed <= set(lines)


def test_every_core_has_a_marker(pytestconfig):
    known = {line.partition(":")[0] for line in pytestconfig.getini("markers")}
    assert {"memory", "pickle", *BACKENDS} <= known
