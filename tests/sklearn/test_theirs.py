"""scikit-learn's tests of its estimators, run on jitprop's."""

from __future__ import annotations

from importlib import util
from unittest import mock

import pytest
import sklearn.neural_network

from jitprop.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("default", "ignore::sklearn.exceptions.ConvergenceWarning")

PRIVATE = {
    "test_gradient": "calls _loss_grad_lbfgs with scratch arrays of its own",
}


@pytest.fixture
def global_random_seed():
    """The fixture of scikit-learn's conftest."""
    return 42


def _tests():
    """Import scikit-learn's tests with jitprop's estimators in place of its own."""
    spec = util.find_spec("sklearn.neural_network.tests.test_mlp")
    module = util.module_from_spec(spec)
    with mock.patch.multiple(
        sklearn.neural_network, MLPClassifier=MLPClassifier, MLPRegressor=MLPRegressor
    ):
        spec.loader.exec_module(module)
    assert module.MLPClassifier is MLPClassifier
    return {name: test for name, test in vars(module).items() if name.startswith("test_")}


_found = _tests()
assert set(_found) >= PRIVATE.keys()
globals().update({name: test for name, test in _found.items() if name not in PRIVATE})
