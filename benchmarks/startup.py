"""
What a new process waits for: the import; and a trained XOR, with and without compiled kernels.

Each sample is a process of its own. The start of Python itself is in the time of XOR, and not in
that of the import.
"""

import os
import subprocess
import sys
from tempfile import TemporaryDirectory

XOR = """
from jitprop import Trainer
X, y = [[0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]], [0, 1, 1, 0]
Trainer([3, 4, 1], learning_rate=1, seed=0, backend="{backend}").fit(X, y, epochs=10_000)
"""


def train_xor(backend, kernels):
    """Train in a new process, which keeps its kernels in this folder; return when it has ended."""
    subprocess.run(
        [sys.executable, "-c", XOR.format(backend=backend)],
        env={**os.environ, "NUMBA_CACHE_DIR": kernels},
        check=True,
    )


class Import:
    def timeraw_import(self):
        return "import jitprop"


class ColdXor:
    """With compiling: numba finds its cache empty."""

    number = 1
    rounds = 1
    repeat = 3
    warmup_time = 0

    def time_process(self):
        with TemporaryDirectory() as folder:
            train_xor("numba", folder)


class CachedXor:
    """Without compiling: a process before this one filled the cache."""

    params = ("numba", "numpy")
    param_names = ("backend",)
    repeat = 3

    def setup_cache(self):
        folder = os.path.abspath("kernels")
        train_xor("numba", folder)
        return folder

    def time_process(self, folder, backend):
        train_xor(backend, folder)
