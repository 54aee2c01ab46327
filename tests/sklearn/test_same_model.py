"""The same model as scikit-learn's: weights, losses and epochs, one combination each."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import sklearn.neural_network as theirs
from sklearn.exceptions import ConvergenceWarning

import jitprop.sklearn as ours

EPOCHS = 20

rng = np.random.RandomState(0)
X = rng.randn(60, 5)
WEIGHTS = rng.rand(60)
TARGETS = {
    "binary": ("MLPClassifier", np.where(X[:, 0] + X[:, 1] > 0, "yes", "no")),
    "multiclass": ("MLPClassifier", np.digitize(X[:, 0] - X[:, 2], [-0.5, 0.5]) * 10),
    "multilabel": ("MLPClassifier", (X[:, :3] + 0.3 * X[:, 1:4] > 0).astype(int)),
    "one output": ("MLPRegressor", X[:, 0] * X[:, 1] + 0.1 * X[:, 2]),
    "three outputs": ("MLPRegressor", np.sin(X[:, :3])),
}


def pair(target, **settings):
    name, y = TARGETS[target]
    made = [getattr(m, name)(**settings) for m in (theirs, ours)]
    return (*made, y)


def assert_same(ref, comp, tolerance=1e-7):
    for name in ("coefs_", "intercepts_"):
        for expected, found in zip(getattr(ref, name), getattr(comp, name), strict=True):
            assert found.shape == expected.shape
            scale = np.abs(expected).max()
            np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * scale)
    assert comp.n_iter_ == ref.n_iter_
    np.testing.assert_allclose(comp.loss_, ref.loss_, rtol=tolerance)
    for name in ("n_layers_", "n_outputs_", "out_activation_", "n_features_in_", "t_"):
        assert getattr(comp, name) == getattr(ref, name)
    for name in ("loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_"):
        assert hasattr(comp, name) == hasattr(ref, name), name
        expected = getattr(ref, name, None)
        if expected is None:
            assert getattr(comp, name, None) is None
        else:
            np.testing.assert_allclose(getattr(comp, name), expected, rtol=tolerance)


@pytest.fixture(autouse=True)
def _epochs_are_few():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


@pytest.mark.parametrize("weighted", [False, True], ids=["equal", "weighted"])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_activations_solvers_targets(activation, solver, target, weighted):
    ref, comp, y = pair(
        target,
        hidden_layer_sizes=(7, 4),
        activation=activation,
        solver=solver,
        alpha=0.1,
        batch_size=16,
        learning_rate_init=0.01,
        max_iter=EPOCHS,
        random_state=3,
    )
    weights = WEIGHTS if weighted else None
    ref.fit(X, y, sample_weight=weights)
    comp.fit(X, y, sample_weight=weights)
    assert_same(ref, comp)
