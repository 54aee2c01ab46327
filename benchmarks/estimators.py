"""
Time an estimator's whole fit, checks included, as `benchmarks/peers/drop_in.py` does.

asv calls `setup` before each sample and does not time it. It compiles the kernels or loads them.
"""

import warnings

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

from jitprop.sklearn import MLPClassifier

FITS = {
    "digits, 64-100-10, Adam, 20 epochs": {"max_iter": 20},
    "digits, 64-32-10, batch 32, Adam, 10 epochs": {
        "hidden_layer_sizes": (32,),
        "batch_size": 32,
        "max_iter": 10,
    },
    "XOR, 2-4-1, SGD, 2,000 epochs": {
        "hidden_layer_sizes": (4,),
        "activation": "logistic",
        "solver": "sgd",
        "max_iter": 2000,
        "tol": 0.0,
        "n_iter_no_change": 2000,
    },
    "XOR, 2-4-1, SGD, an epoch: what a fit costs beside": {
        "hidden_layer_sizes": (4,),
        "solver": "sgd",
        "max_iter": 1,
    },
}


class Fit:
    params = (list(FITS), ["float32", "float64"])
    param_names = ("fit", "dtype")

    def setup(self, name, dtype):
        warnings.simplefilter("ignore", ConvergenceWarning)
        if name.startswith("digits"):
            X, self.y = load_digits(return_X_y=True)
            X /= 16
        else:
            X, self.y = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0])
        self.X = np.ascontiguousarray(X, dtype)
        self.model = MLPClassifier(random_state=0, **FITS[name])
        self.model.fit(self.X, self.y)

    def time_fit(self, name, dtype):
        self.model.fit(self.X, self.y)
