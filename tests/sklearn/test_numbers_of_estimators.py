"""Numbers that estimators compute in Python: the same bits on every machine."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from jitprop.net.losses import Poisson
from jitprop.net.optimizers import SGD
from jitprop.net.spec import make_spec
from jitprop.sklearn import MLPClassifier, classifier, descent, ensemble, losses, net
from jitprop.sklearn.course import Course
from nets import digest


def untrained(**settings):
    model = MLPClassifier((4,), solver="sgd", **settings)
    model._random_state = np.random.RandomState(3)
    return model


def initial(activation):
    """Return the weights before the first update."""
    model = untrained(activation=activation)
    net.initialize(model, [5, 4, 3], np.float64)
    return [*model.coefs_, *model.intercepts_]


def rates():
    made = descent.Descent(SGD(), "invscaling", 0.3, 0.37, 0.3, np.zeros((0, 1)))
    return made.rates(500, 97, 97)


def keys():
    spec = make_spec(layer_sizes=(5, 4, 3), dropout=0.5)
    return descent.begin(untrained(), spec, np.dtype(np.float64)).dropout_key


def draws():
    """Return a bootstrap sample, and seeds of members, from one generator."""
    random = np.random.RandomState(3)
    return [ensemble._bootstrap_counts(random, np.ones(97, bool)), ensemble._seeds(random, 5)]


def mean_constants():
    """Return the constants of the Poisson loss in an epoch of weighted batches."""
    y = np.random.default_rng(1).integers(0, 9, (97, 2))
    constants = losses.constants(SimpleNamespace(loss=Poisson()), y)
    course = SimpleNamespace(
        weights=np.random.default_rng(2).random(97), n=97, source=SimpleNamespace(batch=10)
    )
    order = np.random.default_rng(3).permutation(97)[None]
    return constants, Course._mean_constants(course, constants, order, 1)


CASES = {
    "weights relu": lambda: initial("relu"),
    "weights logistic": lambda: initial("logistic"),
    "rates": lambda: [rates()],
    "dropout key": lambda: [keys()],
    "orders": lambda: [descent.Shuffles(np.random.RandomState(3), 97, True, True, None).draw(3)],
    "draws": draws,
    "constants": mean_constants,
    "log sum exp": lambda: [
        classifier._log_sum_exp(90 * np.random.default_rng(0).random((40, 3)), axis=-1)
    ],
}
BITS = {
    "weights relu": "60d1755850fb99ea",
    "weights logistic": "f08987d06de2e674",
    "rates": "8f82c843dec7be35",
    "dropout key": "93a6f7b003d1d16e",
    "orders": "bdd73fb57d05c553",
    "draws": "ce65a4d12d1569d7",
    "constants": "0faf5bf5c7f0fbf8",
    "log sum exp": "17fcdaa99bd59188",
}


@pytest.mark.parametrize("name", CASES)
def test_bits(name):
    assert digest(*CASES[name]()) == BITS[name]
