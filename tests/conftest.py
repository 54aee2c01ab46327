"""
Fixtures of all tests: a kernel cache for this run, and the backends.

The cache is set up before anything imports numba. The workers of pytest-xdist and the processes
that tests start get it by the environment. It is a folder of this run, which is removed at the end.
A folder that JITPROP_TESTS_CACHE names is used instead and kept, as in `make test`.
"""

from __future__ import annotations

import faulthandler
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from functools import partial
from typing import TextIO

import numpy as np
import pytest

from jitprop_kernels import compilers, stored

BACKENDS = ("numpy", "numba")
OWN_CACHE = "JITPROP_TESTS_CACHE"

LIMIT = 900
"""Seconds after which a test is taken to hang, and the run ends."""


def pytest_configure(config: pytest.Config) -> None:
    if OWN_CACHE not in os.environ:  # the first process; workers inherit it
        os.environ[OWN_CACHE] = folder = tempfile.mkdtemp(prefix="jitprop-")
        config.add_cleanup(partial(shutil.rmtree, folder, ignore_errors=True))
    os.environ["NUMBA_CACHE_DIR"] = os.environ[OWN_CACHE]
    if not compilers.tested(stored.numba_version()):  # else each process would warn
        os.environ.setdefault("JITPROP_COMPILER", "plain")
    if getattr(config.option, "numprocesses", None):  # this process will start workers
        warm_up()
    config.stash[STDERR] = os.fdopen(os.dup(sys.__stderr__.fileno()), "w")  # not captured by pytest


def warm_up() -> None:
    """
    Compile the kernels that most tests use, in one process for each dtype.

    Otherwise each worker compiles them, and each process that a test starts. Errors are ignored
    here, since the tests of the kernels report them.
    """
    script = "from jitprop.cli.warmup import warm_up; warm_up([{!r}])"
    processes = [
        subprocess.Popen([sys.executable, "-c", script.format(dtype)], stderr=subprocess.DEVNULL)
        for dtype in ("float32", "float64")
    ]
    for process in processes:
        process.wait(LIMIT)


STDERR = pytest.StashKey[TextIO]()


@pytest.fixture(autouse=True)
def no_test_goes_on_for_ever(request: pytest.FixtureRequest) -> Iterator[None]:
    """End the run if a test hangs, and make Ctrl-C work even under nohup."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)
    faulthandler.dump_traceback_later(LIMIT, exit=True, file=request.config.stash[STDERR])
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20260101)
