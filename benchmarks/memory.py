"""
Measure the peak memory of a fit, by backend.

asv reports the peak of the whole process, `setup` included. So the fit itself needs its peak minus
the baseline's. With numba, most of that is the loaded kernels, about 37 MB. The data take 31 MB, so
a copy of them is visible.
"""

import numpy as np

from jitprop import Trainer, backends


def trainer(backend):
    """Return a trainer for one of the nets in `training`."""
    return Trainer([784, 128, 64, 10], batch_size=128, seed=0, backend=backend)


def data(n_samples):
    """Return random X and y."""
    rng = np.random.default_rng(0)
    X = rng.random((n_samples, 784), dtype=np.float32)
    return X, rng.random((n_samples, 10), dtype=np.float32)


class PeakMemory:
    params = ("numba", "numpy")
    param_names = ("backend",)

    def setup_cache(self):
        # Compiling takes more memory than a fit. asv calls this method in another process.
        trainer("numba").fit(*data(128), epochs=1)

    def setup(self, backend):
        backends.load(backend)
        self.X, self.y = data(10_000)

    def peakmem_baseline(self, backend):
        """Do nothing, so that the peak is that of the imports and the data."""

    def peakmem_fit(self, backend):
        trainer(backend).fit(self.X, self.y, epochs=1)


class PeakMemoryOfLevenbergMarquardt:
    """
    The peak of a fit of 8-100-1, 1,001 parameters, on 20,000 samples.

    The matrix takes 8 MB. All rows of the Jacobian at once would take 160 MB.
    """

    def setup_cache(self):
        self.fit(*self.data(128))

    def setup(self):
        backends.load("numba")
        self.X, self.y = self.data(20_000)

    def data(self, n_samples):
        rng = np.random.default_rng(0)
        return rng.random((n_samples, 8)), rng.random((n_samples, 1))

    def fit(self, X, y):
        settings = {"output_activation": "identity", "dtype": "float64", "backend": "numba"}
        Trainer([8, 100, 1], optimizer="lm", seed=0, **settings).fit(X, y, epochs=1)

    def peakmem_baseline(self):
        """Do nothing, so that the peak is that of the imports and the data."""

    def peakmem_fit(self):
        self.fit(self.X, self.y)
