"""
Time single calls, as a control loop, a stream or a server makes them, by backend.

These are the calls of the table that `benchmarks/peers/calls.py` prints, except the start of a
process, which `startup.py` has. asv calls `setup` before each sample and does not time it. It
compiles the kernels or loads them.
"""

import numpy as np

from benchmarks.peers.work import BIG, SMALL
from jitprop import EarlyStopping, Fleet, Trainer
from jitprop.sklearn import MLPClassifier, MLPRegressor

BACKENDS = ["numba", "numpy"]
WATCHED = {"layer_sizes": [20, 32, 1], "batch_size": 32, "seed": 0}


def trainer(net, backend):
    """Return a trainer for a net of `peers/work.py`."""
    return Trainer(
        net.sizes,
        activation=net.activation,
        output_activation=net.output_activation,
        loss=net.loss,
        learning_rate=net.learning_rate,
        dtype=net.dtype,
        init=net.start(),
        backend=backend,
    )


class Small:
    """Calls on few rows of the net 3-4-1 in float64."""

    params = (BACKENDS,)
    param_names = ("backend",)

    def setup(self, backend):
        self.X, self.y = SMALL.data(4)
        self.row = self.X[:1].copy()
        self.trainer = trainer(SMALL, backend)
        self.trainer.partial_fit(self.X, self.y)
        self.trainer.predict(self.row)
        self.trainer.evaluate(self.X, self.y)
        self.trainer.gradients(self.X, self.y)

    def time_predict_1_row(self, backend):
        self.trainer.predict(self.row)

    def time_partial_fit_4_rows(self, backend):
        self.trainer.partial_fit(self.X, self.y)

    def time_fit_1_epoch_4_rows(self, backend):
        self.trainer.fit(self.X, self.y, 1)

    def time_evaluate_4_rows(self, backend):
        self.trainer.evaluate(self.X, self.y)

    def time_gradients_4_rows(self, backend):
        self.trainer.gradients(self.X, self.y)


class SmallFleet:
    """The same calls of 16 such nets at once."""

    def setup(self):
        self.X, self.y = SMALL.data(4)
        self.row = self.X[:1].copy()
        self.fleet = Fleet(SMALL.sizes, members=16, learning_rate=0.1, seed=0, backend="numba")
        self.fleet.fit(self.X, self.y, 1)
        self.fleet.predict(self.row)
        self.fleet.evaluate(self.X, self.y)

    def time_predict_1_row(self):
        self.fleet.predict(self.row)

    def time_fit_1_epoch_4_rows(self):
        self.fleet.fit(self.X, self.y, 1)

    def time_evaluate_4_rows(self):
        self.fleet.evaluate(self.X, self.y)


class Estimators:
    """Calls on few rows of estimators of the same size. They use numba where it is installed."""

    def setup(self):
        self.X, self.y = SMALL.data(4)
        self.y = self.y[:, 0]
        self.row = self.X[:1].copy()
        settings = {"hidden_layer_sizes": (4,), "activation": "logistic", "random_state": 0}
        self.regressor = MLPRegressor(**settings)
        self.labels = np.array([0, 1, 1, 0])
        self.classifier = MLPClassifier(**settings)
        for _ in range(2):
            self.regressor.partial_fit(self.X, self.y)
            self.classifier.partial_fit(self.X, self.labels, classes=[0, 1])
        self.regressor.predict(self.row)
        self.classifier.predict_proba(self.row)

    def time_regressor_predict_1_row(self):
        self.regressor.predict(self.row)

    def time_classifier_predict_proba_1_row(self):
        self.classifier.predict_proba(self.row)

    def time_regressor_partial_fit_4_rows(self):
        self.regressor.partial_fit(self.X, self.y)

    def time_classifier_partial_fit_4_rows(self):
        self.classifier.partial_fit(self.X, self.labels)


class Big:
    """Calls on 100,000 rows of 784-128-64-10, relu and softmax, in float32."""

    params = (BACKENDS,)
    param_names = ("backend",)
    number = 1

    def setup(self, backend):
        self.X, self.y = BIG.data(100_000)
        self.trainer = trainer(BIG, backend)
        self.trainer.evaluate(self.X[:256], self.y[:256])

    def time_predict_100_000_rows(self, backend):
        self.trainer.predict(self.X)

    def time_evaluate_100_000_rows(self, backend):
        self.trainer.evaluate(self.X, self.y)


class Watched:
    """
    Fits of 100 epochs, 20-32-1 on 1,600 rows, alone and watched.

    A watched fit has 400 rows of validation data and EarlyStopping, which never stops it.
    """

    params = ([False, True], BACKENDS)
    param_names = ("watched", "backend")

    def setup(self, watched, backend):
        rng = np.random.default_rng(0)
        self.X, X = rng.random((1600, 20)), rng.random((400, 20))
        self.y, y = self.X.mean(axis=1), X.mean(axis=1)
        self.watch = {}
        if watched:
            self.watch = {"validation_data": (X, y), "callbacks": EarlyStopping(patience=100)}
        self.model = self.make(backend)
        self.model.fit(self.X, self.y, 1, **self.watch)

    def make(self, backend):
        return Trainer(**WATCHED, backend=backend)

    def time_fit_100_epochs(self, watched, backend):
        self.model.fit(self.X, self.y, 100, **self.watch)


class WatchedFleet(Watched):
    """The same fits of 16 nets at once. NumPy would need seconds for each."""

    params = ([False, True], ["numba"])

    def make(self, backend):
        return Fleet(**WATCHED, members=16, backend=backend)
