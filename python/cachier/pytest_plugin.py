"""A fixture for tests of programs that cache: ``cachier_tmp``.

Installed with the package, pytest finds it by itself.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import _core, config


@pytest.fixture
def cachier_tmp(tmp_path: Path) -> Iterator[Path]:
    """Let every cached function begin with nothing, in a directory of this test.

    Functions that are decorated already store there as well, those in memory anew;
    so do those that the test decorates without a ``cache_dir``. Afterwards all are as
    they were, and so are the global parameters.

    Yields
    ------
    pathlib.Path
        The directory.

    """
    directory = tmp_path / "cachier"
    stores: dict[int, _core.Store] = {}
    moved: list[tuple[_core.CachedFunction[..., object], _core.Store]] = []
    for found in gc.get_objects():
        if not isinstance(found, _core.CachedFunction):
            continue
        before = found._store
        if id(before) not in stores:
            stores[id(before)] = _core.open_store(
                "memory" if found.cache_dpath() is None else "pickle", str(directory)
            )
        found._use_store(stores[id(before)])
        moved.append((found, before))
    params = config.get_global_params()
    kept = dict(vars(params))
    config.set_global_params(cache_dir=directory)
    try:
        yield directory
    finally:
        config.set_global_params(**kept)
        for function, before in moved:
            function._use_store(before)
