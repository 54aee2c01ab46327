"""
Time an epoch on data many times larger than the processor's cache, shuffled and in order.

The difference is the cost of shuffling: drawing an order, and reading samples all over memory.
"""

import numpy as np

from jitprop import Trainer


class Epoch:
    """1,000,000 samples of 100 float32 inputs: 400 MB."""

    params = (True, False)
    param_names = ("shuffle",)
    number = 1
    repeat = 3

    def setup(self, shuffle):
        rng = np.random.default_rng(0)
        self.X = rng.random((1_000_000, 100), dtype=np.float32)
        self.y = rng.random((1_000_000, 1), dtype=np.float32)
        self.trainer = Trainer(
            [100, 64, 1],
            batch_size=128,
            shuffle=shuffle,
            seed=0,
            backend="numba",
        )
        self.trainer.fit(self.X[:256], self.y[:256], epochs=1)

    def time_epoch(self, shuffle):
        self.trainer.fit(self.X, self.y, epochs=1)
