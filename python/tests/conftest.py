"""What the tests share."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import cachier

# A shell that runs the tests in the background ignores Ctrl-C for them and for all that
# they start; what is told of interrupts is meant for programs that do not.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _global_params(tmp_path_factory, monkeypatch):
    """Leave no trace in the home directory, and none in the global parameters."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("xdg")))
    before = dict(vars(cachier.get_global_params()))
    yield
    cachier.set_global_params(**before)


@pytest.fixture
def patient(_global_params):
    """Give servers time: tests share their machine with others."""
    cachier.set_global_params(operation_timeout=10)


@pytest.fixture
def cache_dir(tmp_path):
    return str(tmp_path / "cache")


@pytest.fixture(
    params=[
        pytest.param(name, marks=getattr(pytest.mark, name))
        for name in ("memory", "pickle")
    ]
)
def backend(request):
    """Every backend that is built."""
    return request.param


@pytest.fixture
def make(backend, tmp_path):
    """Decorate for the backend under test."""

    def decorate(function=None, **options):
        decorator = cachier.cachier(
            backend=backend, cache_dir=str(tmp_path / "cache"), **options
        )
        return decorator if function is None else decorator(function)

    return decorate


@pytest.fixture
def run_python(tmp_path):
    """Run a script in a process of its own."""

    def run(source, *arguments, name="script.py", check=True, **options):
        script = tmp_path / name
        script.write_text(textwrap.dedent(source))
        environment = {**os.environ, **options.pop("env", {})}
        done = subprocess.run(
            [sys.executable, *options.pop("flags", ()), str(script), *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            env=environment,
            **options,
        )
        if check:
            assert done.returncode == 0, done.stderr
        return done

    return run


@pytest.fixture
def recorded():
    """Count runs of functions, whatever thread they are in."""

    class Runs(list):
        @property
        def count(self):
            return len(self)

    return Runs()


def short_repr(value):
    """Give what a test of a value is called by: the same in every process."""
    if isinstance(value, (set, frozenset)):
        return f"{type(value).__name__} of {len(value)}"
    return repr(value).partition(" at 0x")[0][:40]


REPOSITORY = Path(__file__).resolve().parents[2]
