"""What the README and the pages of docs/ show works as it stands there."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language: str, pages: list[pathlib.Path]) -> list[str]:
    """Return the code blocks of one language."""
    text = "\n".join(page.read_text("utf-8") for page in pages)
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("code", blocks("python", PAGES))
def test_python_runs(code: str, tmp_path: pathlib.Path) -> None:
    """Each Python block is a program that ends well, twice, and prints nothing."""
    program = tmp_path / "readme.py"
    program.write_text(code, "utf-8")
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    for _ in range(2):
        ran = subprocess.run(
            [sys.executable, "-W", "error", str(program)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_cpp_is_the_example_that_is_built() -> None:
    """The C++ block is `examples/sum.cpp`, which every build compiles."""
    (code,) = blocks("cpp", PAGES[:1])
    assert code == (ROOT / "examples" / "sum.cpp").read_text("utf-8")
