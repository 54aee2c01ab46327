"""
What a new process waits for: the import, and the first fit with and without compiled kernels.

Each sample is a process of its own; the start of Python itself is not in it.
"""

import os
import subprocess
import sys

FIRST_FIT = """
from jitprop import Trainer
Trainer([3, 4, 1], seed=0, backend="{backend}").fit([[0, 0, 1], [0, 1, 1]], [0, 1], epochs=1)
"""


class Import:
    def timeraw_import(self):
        return "import jitprop"


class ColdFirstFit:
    """With compiling: numba finds its cache empty."""

    rounds = 1
    repeat = 3
    warmup_time = 0

    def timeraw_import_and_fit(self):
        empty_cache = """
        import os, tempfile
        folder = tempfile.TemporaryDirectory()
        os.environ["NUMBA_CACHE_DIR"] = folder.name
        """
        return FIRST_FIT.format(backend="numba"), empty_cache


class CachedFirstFit:
    """Without compiling: a process before this one filled the cache."""

    params = ("numba", "numpy")
    param_names = ("backend",)

    def setup_cache(self):
        folder = os.path.abspath("numba_cache")
        subprocess.run(
            [sys.executable, "-c", FIRST_FIT.format(backend="numba")],
            env={**os.environ, "NUMBA_CACHE_DIR": folder},
            check=True,
        )
        return folder

    def timeraw_import_and_fit(self, folder, backend):
        full_cache = f"import os; os.environ['NUMBA_CACHE_DIR'] = {folder!r}"
        return FIRST_FIT.format(backend=backend), full_cache
