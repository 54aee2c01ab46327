"""
Time fits by full-batch methods, with the data of `peers/fitting.py`.

Each fit begins with a new net at the same weights, since a method that goes on may end by itself.
"""

import numpy as np

from benchmarks.peers.fitting import borehole, made, problems
from jitprop import Fleet, Trainer

LARGE = made("", 60, 3000, 8, borehole, 0.2)
# 8-100-1 has 1,001 parameters: with 200 rows the smaller system is solved.
FEW = made("", 100, 200, 8, borehole, 0.2)
EPOCHS = {"W10": 50, "W11": 50, "W12": 20}
FITS = {
    **{f"{p.name} {p}, {EPOCHS[p.name]} epochs": (p, EPOCHS[p.name]) for p in problems()},
    f"{LARGE}, 2 epochs": (LARGE, 2),
    f"{FEW}, 5 epochs": (FEW, 5),
}
SETTINGS = {"activation": "tanh", "output_activation": "identity", "dtype": "float64"}


class LevenbergMarquardt:
    """Fits by Levenberg-Marquardt, by backend."""

    params = (list(FITS), ["numba", "numpy"])
    param_names = ("fit", "backend")
    optimizer = "lm"

    def setup(self, name, backend):
        self.problem, self.epochs = FITS[name]
        self.settings = SETTINGS | {"optimizer": self.optimizer, "backend": backend}
        self.fit(1)

    def fit(self, epochs):
        trainer = Trainer(self.problem.sizes, init=self.problem.start(0), **self.settings)
        trainer.fit(self.problem.X, self.problem.y, epochs)

    def time_fit(self, name, backend):
        self.fit(self.epochs)


class BayesianRegularization(LevenbergMarquardt):
    """The same by Bayesian regularization, which inverts a matrix in each epoch."""

    params = ([name for name in FITS if name[:3] in EPOCHS], ["numba"])
    optimizer = "bayesian"


class ByGradients:
    """10 epochs of a net that is too large for the methods above: 64-64-10 on 5,000 samples."""

    params = (["scg", "lbfgs"], ["numba", "numpy"])
    param_names = ("optimizer", "backend")

    def setup(self, optimizer, backend):
        rng = np.random.default_rng(0)
        self.X, self.y = rng.random((5000, 64), np.float32), rng.integers(0, 10, 5000)
        self.settings = {
            "output_activation": "softmax", "loss": "cross_entropy", "activation": "tanh",
            "optimizer": optimizer, "seed": 0, "dtype": "float32", "backend": backend,
        }  # fmt: skip
        self.fit(1)

    def fit(self, epochs):
        Trainer([64, 64, 10], **self.settings).fit(self.X, self.y, epochs)

    def time_fit(self, optimizer, backend):
        self.fit(10)


class Starts:
    """20 epochs of 200 starts of W10, as a fleet and as a loop over Trainer."""

    def setup(self):
        problem = problems()[0]
        self.X, self.y, self.sizes = problem.X, problem.y, problem.sizes
        self.settings = SETTINGS | {"optimizer": "lm"}
        self.fleet(1)
        self.trainer(0, 1)

    def fleet(self, epochs):
        Fleet(self.sizes, members=200, seed=0, **self.settings).fit(self.X, self.y, epochs)

    def trainer(self, seed, epochs):
        Trainer(self.sizes, seed=seed, **self.settings).fit(self.X, self.y, epochs)

    def time_fleet(self):
        self.fleet(20)

    def time_trainers(self):
        for seed in range(200):
            self.trainer(seed, 20)
