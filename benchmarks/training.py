"""
Time of a fit, by backend.

asv calls `setup` before each sample, untimed: it compiles the kernels or loads them from disk, so
no time here holds any compiling. Both backends do the same work, NumPy on one thread.
"""

import numpy as np

from jitprop import Trainer

BACKENDS = ("numba", "numpy")

# As many epochs as keep a call's fixed cost, about 0.1 ms, below 1 %.
NETS = {
    "64-32-10, batch 32, 50 epochs": ([64, 32, 10], 32, 50),
    "784-30-10, batch 10, 10 epochs": ([784, 30, 10], 10, 10),
    "784-128-64-10, batch 128, 5 epochs": ([784, 128, 64, 10], 128, 5),
    "784-512-512-10, batch 128, 1 epoch": ([784, 512, 512, 10], 128, 1),
}


class Xor:
    params = BACKENDS
    param_names = ("backend",)

    def setup(self, backend):
        self.X = np.array([[0.0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]])
        self.y = np.array([0.0, 1, 1, 0])
        self.trainer = Trainer([3, 4, 1], seed=0, backend=backend)
        self.trainer.fit(self.X, self.y, epochs=1)

    def time_10_000_epochs(self, backend):
        self.trainer.fit(self.X, self.y, epochs=10_000)


class RandomMlp:
    """Sigmoid nets on 2,560 random samples: a whole number of batches of 10, 32 and 128."""

    params = (list(NETS), ["float32", "float64"], BACKENDS)
    param_names = ("net", "dtype", "backend")

    def setup(self, net, dtype, backend):
        sizes, batch_size, self.epochs = NETS[net]
        rng = np.random.default_rng(0)
        self.X = rng.random((2560, sizes[0]), dtype=dtype)
        self.y = rng.random((2560, sizes[-1]), dtype=dtype)
        self.trainer = Trainer(
            sizes,
            batch_size=batch_size,
            seed=0,
            backend=backend,
        )
        self.trainer.fit(self.X, self.y, epochs=1)

    def time_fit(self, net, dtype, backend):
        self.trainer.fit(self.X, self.y, self.epochs)
