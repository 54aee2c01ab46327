"""
Each library is handed jitprop's estimators and scikit-learn's own, and gives the same numbers.

The libraries warn of one another's versions, so warnings are no errors here.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.datasets import make_classification

from jitprop import sklearn
from sklearn import neural_network

SETTINGS = {"hidden_layer_sizes": (8,), "max_iter": 30, "random_state": 0}


def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.filterwarnings("ignore"))


@pytest.fixture(scope="session")
def data():
    """Samples X with classes (two) and numbers y."""
    X, two = make_classification(120, 5, random_state=0)
    y = X[:, 0] * X[:, 1] + X[:, 2]
    return SimpleNamespace(X=X, y=y, two=two)


def made(module, kind, settings):
    name = {"classifier": "MLPClassifier", "regressor": "MLPRegressor"}[kind]
    return getattr(module, name)(**SETTINGS | settings)


@pytest.fixture
def same():
    """Return a function that runs a task with both estimators and compares what it returns."""

    def run(task, kind, rtol=1e-7, **settings):
        ref, comp = (
            np.asarray(task(made(module, kind, settings)), np.float64)
            for module in (neural_network, sklearn)
        )
        assert ref.size
        assert np.ptp(ref) > 0 or ref.size == 1
        np.testing.assert_allclose(comp, ref, rtol=rtol, atol=1e-9)
        return comp

    return run


@pytest.fixture
def ours():
    """Return a function that makes an estimator of jitprop."""
    return lambda kind, **settings: made(sklearn, kind, settings)
