"""
Time the start of a new process: the import, and XOR with an empty and with a full kernel cache.

Each sample is a new process. The times of XOR include the start of Python; the import's does not.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from tempfile import TemporaryDirectory

XOR = """
from jitprop import Trainer
X, y = [[0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]], [0, 1, 1, 0]
Trainer([3, 4, 1], learning_rate=1, seed=0, backend="{backend}").fit(X, y, epochs=10_000)
"""

BY_HAND = """
import numpy as np
X = np.array([[0.0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]])
y = np.array([[0.0], [1], [1], [0]])
rng = np.random.default_rng(0)
W1, W2 = rng.standard_normal((3, 4)), rng.standard_normal((4, 1))
for _ in range(10_000):
    hidden = 1 / (1 + np.exp(-(X @ W1)))
    output = 1 / (1 + np.exp(-(hidden @ W2)))
    delta = (y - output) * output * (1 - output)
    before = (delta @ W2.T) * hidden * (1 - hidden)
    W2 += hidden.T @ delta
    W1 += X.T @ before
"""


def train_xor(backend, kernels, **env):
    """Train XOR in a new process with its kernel cache in the given folder; wait for its end."""
    subprocess.run(
        [sys.executable, "-c", XOR.format(backend=backend)],
        env={**os.environ, "NUMBA_CACHE_DIR": kernels, **env},
        check=True,
    )


def copy_packages(folder):
    """Copy jitprop's packages without the kernels and the bytecode that lie beside them."""
    for package in ("jitprop", "jitprop_kernels"):
        (source,) = importlib.util.find_spec(package).submodule_search_locations
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, os.path.join(folder, package), ignore=ignored)


class Import:
    def timeraw_import(self):
        return "import jitprop"


class ColdXor:
    """XOR with an empty cache, so that numba compiles the kernels."""

    number = 1
    rounds = 1
    repeat = 3
    warmup_time = 0

    def time_process(self):
        # Kernels are also read from beside the sources and from the user's cache folder.
        with TemporaryDirectory() as folder:
            copy_packages(folder)
            train_xor("numba", folder, PYTHONPATH=folder, HOME=folder, XDG_CACHE_HOME=folder)


class CachedXor:
    """XOR with a cache that another process has filled, so that nothing is compiled."""

    params = ("numba", "numpy")
    param_names = ("backend",)
    repeat = 3

    def setup_cache(self):
        folder = os.path.abspath("kernels")
        train_xor("numba", folder)
        return folder

    def time_process(self, folder, backend):
        train_xor(backend, folder)


class XorByHand:
    """XOR by the ten lines of NumPy that jitprop replaces."""

    repeat = 3

    def time_process(self):
        subprocess.run([sys.executable, "-c", BY_HAND], check=True)
