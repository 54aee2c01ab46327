"""scikit-learn's MLPRegressor, with an output activation added."""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.neural_network._base import DERIVATIVES
from threadpoolctl import ThreadpoolController

PACKAGES = ("scikit-learn",)


class Regressor(MLPRegressor):
    """
    MLPRegressor with given initial parameters, and its hidden activation on the outputs too.

    scikit-learn's outputs are linear, with delta = a - y. Here delta is multiplied by f'(a).
    """

    def begin(self, weights, biases):
        """Set the initial parameters."""
        self._given = iter(zip(weights, biases, strict=True))
        return self

    def _init_coef(self, fan_in, fan_out, dtype):
        return next(self._given)

    def _initialize(self, *args):
        super()._initialize(*args)
        self.out_activation_ = self.activation

    def _compute_loss_grad(self, layer, sw_sum, activations, deltas, *gradients):
        if layer == self.n_layers_ - 2:
            DERIVATIVES[self.activation](activations[-1], deltas[-1])
        super()._compute_loss_grad(layer, sw_sum, activations, deltas, *gradients)


def prepare(work, n_threads=None):
    """
    Return a function: epochs -> weights, biases, loss of each epoch.

    ``n_threads`` is the number of BLAS threads; None means the default, all.
    """
    limited = ThreadpoolController().wrap(limits=n_threads, user_api="blas")
    X, y = work.data()
    targets = y.ravel() if y.shape[1] == 1 else y
    # The gradient of MLPRegressor is the mean over samples, its loss that over outputs too.
    samples = 1 if work.reduction == "mean" else work.batch_size
    options = {
        "hidden_layer_sizes": work.sizes[1:-1],
        "activation": {"sigmoid": "logistic", "tanh": "tanh"}[work.activation],
        "solver": work.optimizer,
        "alpha": 0.0,
        "batch_size": work.batch_size,
        "learning_rate_init": work.learning_rate * samples,
        "momentum": 0.0,
        "nesterovs_momentum": False,
        "shuffle": False,
        "tol": 0.0,
        "n_iter_no_change": float("inf"),
    }

    @limited
    def train(epochs):
        model = Regressor(max_iter=epochs, **options).begin(*work.start())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # all epochs are intended
            model.fit(X, targets)
        losses = [loss * y.shape[1] * samples for loss in model.loss_curve_]
        return model.coefs_, model.intercepts_, losses

    return train


def calls(net):
    """Return the calls of a net that scikit-learn has: {name: function}."""
    settings = {
        "hidden_layer_sizes": net.sizes[1:-1],
        "activation": {"sigmoid": "logistic", "relu": "relu"}[net.activation],
        "solver": "sgd",
        "alpha": 0.0,
        "learning_rate_init": net.learning_rate,
        "momentum": 0.0,
    }
    X, y = net.data(net.sizes[-1])
    weights, biases = net.start()
    if net.loss == "cross_entropy":
        labels = range(len(X))
        model = MLPClassifier(**settings).partial_fit(X, labels, classes=labels)
    else:
        # It overwrites the parameters that it gets.
        model = Regressor(**settings).begin(*net.start()).partial_fit(X, y.ravel())
    for mine, start in zip([*model.coefs_, *model.intercepts_], [*weights, *biases], strict=True):
        np.copyto(mine, start)
    if net.loss == "cross_entropy":
        return {"predict": model.predict_proba}
    return {
        "predict": model.predict,
        "partial_fit": lambda X, y: model.partial_fit(X, y.ravel()),
        "parameters": lambda: [*model.coefs_, *model.intercepts_],
    }
