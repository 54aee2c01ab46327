"""
What all tests share: a kernel cache of the run's own, and the teaching nets.

The cache is set up before anything imports numba, and handed to the workers of pytest-xdist by
the environment, so that a run leaves no machine code behind and compiles each kernel once. A
folder that the environment names already is used, and kept.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from functools import partial

import numpy as np
import pytest

BACKENDS = ("numpy", "numba")
OWN_CACHE = "JITPROP_TESTS_CACHE"


def pytest_configure(config: pytest.Config) -> None:
    if OWN_CACHE not in os.environ:  # the first process; workers inherit
        folder = tempfile.mkdtemp(prefix="jitprop-")
        os.environ[OWN_CACHE] = os.environ["NUMBA_CACHE_DIR"] = folder
        config.add_cleanup(partial(shutil.rmtree, folder, ignore_errors=True))


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20260101)
