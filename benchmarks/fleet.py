"""Time a fleet's fit and a loop over Trainer, on W7 and W8 of `benchmarks/peers/fleets.py`."""

import numpy as np

from jitprop import Fleet, Trainer

NETS = {
    "W7 2,048 nets 3-4-1, batch 4, 500 epochs": ([3, 4, 1], 2048, 4, 4, 500),
    "W8 64 nets 16-32-32-1, batch 32, 2 epochs": ([16, 32, 32, 1], 64, 1024, 32, 2),
}


class Fit:
    params = (list(NETS),)
    param_names = ("fleet",)

    def setup(self, name):
        sizes, k, n, batch, self.epochs = NETS[name]
        rng = np.random.default_rng(0)
        self.X, self.y = (rng.random((n, width), np.float32) for width in (sizes[0], sizes[-1]))
        arguments = {"batch_size": batch, "shuffle": False, "dtype": "float32"}
        self.fleet = Fleet(sizes, members=k, seed=0, **arguments)
        # One net in 32, so the time of a loop over all is 32 times as long. One thread each, since
        # more would not make such small nets faster.
        self.trainers = [Trainer(sizes, seed=i, n_threads=1, **arguments) for i in range(k // 32)]
        self.fleet.fit(self.X, self.y, 1)
        self.trainers[0].fit(self.X, self.y, 1)

    def time_fleet(self, name):
        self.fleet.fit(self.X, self.y, self.epochs)

    def time_a_32nd_of_them_by_trainer(self, name):
        for trainer in self.trainers:
            trainer.fit(self.X, self.y, self.epochs)
