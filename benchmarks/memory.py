"""
Peak memory of a fit, by backend; what the fit itself takes is its peak less the baseline's.

asv reports the peak of the whole process, `setup` included. With numba most of the difference is
the loading of the kernels, about 37 MB. The data take 31 MB, so a copy of them shows.
"""

import numpy as np

from jitprop import Trainer, backends


def trainer(backend):
    """One of the nets of `training`."""
    return Trainer([784, 128, 64, 10], batch_size=128, seed=0, backend=backend)


def data(n_samples):
    """Random X and y."""
    rng = np.random.default_rng(0)
    X = rng.random((n_samples, 784), dtype=np.float32)
    return X, rng.random((n_samples, 10), dtype=np.float32)


class PeakMemory:
    params = ("numba", "numpy")
    param_names = ("backend",)

    def setup_cache(self):
        # Compiling takes more memory than a fit: it is done here, in a process of its own.
        trainer("numba").fit(*data(128), epochs=1)

    def setup(self, backend):
        backends.load(backend)
        self.X, self.y = data(10_000)

    def peakmem_baseline(self, backend):
        """Nothing: the imports and the data."""

    def peakmem_fit(self, backend):
        trainer(backend).fit(self.X, self.y, epochs=1)
