"""The models equal scikit-learn's: weights, losses and epochs, for many settings."""

from __future__ import annotations

import warnings
from inspect import Parameter, signature

import numpy as np
import pytest
import sklearn.neural_network as theirs
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.fixes import parse_version

import jitprop.sklearn as ours
import sklearn

EPOCHS = 20

rng = np.random.RandomState(0)
X = rng.randn(60, 5)
WEIGHTS = rng.rand(60)
before_1_7, before_1_9 = (
    parse_version(release) > parse_version(sklearn.__version__) for release in ("1.7", "1.9")
)
since_1_7 = pytest.mark.skipif(before_1_7, reason="before, it had no sample weights and no losses")
WEIGHTED = pytest.mark.parametrize(
    "weights",
    [{}, pytest.param({"sample_weight": WEIGHTS}, marks=since_1_7)],
    ids=["equal", "weighted"],
)
TARGETS = {
    "binary": ("MLPClassifier", np.where(X[:, 0] + X[:, 1] > 0, "yes", "no")),
    "multiclass": ("MLPClassifier", np.digitize(X[:, 0] - X[:, 2], [-0.5, 0.5]) * 10),
    "multilabel": ("MLPClassifier", (X[:, :3] + 0.3 * X[:, 1:4] > 0).astype(int)),
    "one output": ("MLPRegressor", X[:, 0] * X[:, 1] + 0.1 * X[:, 2]),
    "three outputs": ("MLPRegressor", np.sin(X[:, :3])),
}


def pair(target, **settings):
    name, y = TARGETS[target]
    if y.dtype.kind == "U" and settings.get("early_stopping") and before_1_9:
        y = (y == "yes").astype(int)  # scikit-learn called isnan on text
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


@WEIGHTED
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_activations_solvers_targets(activation, solver, target, weights):
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
    ref.fit(X, y, **weights)
    comp.fit(X, y, **weights)
    assert_same(ref, comp)


SETTINGS = {
    "invscaling": {"learning_rate": "invscaling"},
    "power_t": {"learning_rate": "invscaling", "power_t": 0.2},
    "adaptive": {"learning_rate": "adaptive", "n_iter_no_change": 2, "tol": 0.1},
    "no momentum": {"momentum": 0.0},
    "half momentum": {"momentum": 0.5, "nesterovs_momentum": False},
    "whole momentum": {"momentum": 1.0, "learning_rate_init": 0.001},
    "no nesterov": {"nesterovs_momentum": False},
    "betas": {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3},
    "stops soon": {"n_iter_no_change": 3, "tol": 0.1},
    "never stops": {"n_iter_no_change": np.inf, "tol": 0.0},
    "no order": {"shuffle": False},
    "validation": {"early_stopping": True, "validation_fraction": 0.2, "n_iter_no_change": 4},
    "strict validation": {"early_stopping": True, "n_iter_no_change": 2, "tol": 0.5},
    "no alpha": {"alpha": 0.0},
    "large alpha": {"alpha": 10.0},
    "batches of 1": {"batch_size": 1, "max_iter": 3},
    "batches of 7": {"batch_size": 7},
    "one batch": {"batch_size": 60},
    "auto": {"batch_size": "auto"},
    "no hidden layer": {"hidden_layer_sizes": ()},
    "wide": {"hidden_layer_sizes": [64, 33]},
    "one number": {"hidden_layer_sizes": 9},
}


@WEIGHTED
@pytest.mark.parametrize("target", ["binary", "multiclass", "three outputs"])
@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("name", SETTINGS)
def test_settings(name, solver, target, weights):
    settings = {"batch_size": 16, "learning_rate_init": 0.01, "max_iter": EPOCHS}
    ref, comp, y = pair(target, solver=solver, random_state=1, **{**settings, **SETTINGS[name]})
    ref.fit(X, y, **weights)
    comp.fit(X, y, **weights)
    assert_same(ref, comp)


@since_1_7
@WEIGHTED
@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
@pytest.mark.parametrize("n_outputs", [1, 2])
def test_poisson(n_outputs, solver, weights):
    y = np.random.RandomState(5).poisson(1.5, (60, n_outputs)).astype(float)
    settings = {"loss": "poisson", "solver": solver, "batch_size": 16, "learning_rate_init": 0.01}
    ref, comp = (
        m.MLPRegressor(max_iter=EPOCHS, random_state=2, **settings).fit(X, y.squeeze(), **weights)
        for m in (theirs, ours)
    )
    assert_same(ref, comp)


@pytest.mark.parametrize("random", ["number", "generator"])
@pytest.mark.parametrize("batch_size", [16, "auto"])
@pytest.mark.parametrize("schedule", ["constant", "invscaling", "adaptive"])
@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("target", ["binary", "three outputs"])
def test_warm_start_and_partial_fit(target, solver, schedule, batch_size, random):
    settings = {
        "solver": solver,
        "learning_rate": schedule,
        "batch_size": batch_size,
        "learning_rate_init": 0.01,
        "max_iter": 6,
        "n_iter_no_change": 2,
        "tol": 0.05,
        "warm_start": True,
    }
    ref, comp, y = pair(target, **settings)
    for model in (ref, comp):
        model.set_params(random_state=4 if random == "number" else np.random.RandomState(4))
        model.fit(X, y).fit(X[:50], y[:50])
        for start in (0, 20, 0, 30):
            model.partial_fit(X[start : start + 25], y[start : start + 25])
        model.fit(X, y)
    assert_same(ref, comp)
    if random == "generator":
        assert comp.random_state.randint(1 << 30) == ref.random_state.randint(1 << 30)


def test_a_fit_that_stops_leaves_the_generator_where_scikit_learn_does():
    settings = {"max_iter": 500, "tol": 1.0, "n_iter_no_change": 3, "batch_size": 16}
    ref, comp, y = pair("binary", **settings)
    for model in (ref, comp):
        model.set_params(random_state=np.random.RandomState(4)).fit(X, y)
    assert_same(ref, comp)
    assert ref.n_iter_ == 5
    assert comp.random_state.randint(1 << 30) == ref.random_state.randint(1 << 30)


@since_1_7
@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("target", TARGETS)
def test_partial_fit_of_weighted_samples(target, solver):
    ref, comp, y = pair(target, solver=solver, batch_size=16, random_state=0)
    classes = {"classes": np.unique(y)} if hasattr(ref, "predict_proba") else {}
    if target == "multilabel":
        classes = {"classes": [0, 1, 2]}
    for model in (ref, comp):
        for some in (slice(0, 60), slice(0, 25), slice(20, 60)):
            model.partial_fit(X[some], y[some], WEIGHTS[some], **classes)
    assert_same(ref, comp)


@pytest.mark.parametrize("target", TARGETS)
def test_early_stopping_and_warm_start(target):
    ref, comp, y = pair(target, early_stopping=True, warm_start=True, random_state=0, max_iter=5)
    for model in (ref, comp):
        model.fit(X, y).fit(X, y)
    assert_same(ref, comp)


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
@pytest.mark.parametrize("target", ["binary", "multiclass", "multilabel"])
def test_probabilities_near_1_are_rounded_and_clipped_in_the_loss(target, solver):
    settings = {"solver": solver, "activation": "identity", "learning_rate_init": 1e-4}
    ref, comp, y = pair(target, max_iter=4, batch_size=20, random_state=6, **settings)
    for model in (ref, comp):
        model.fit(X * 50, y)
    assert_same(ref, comp)


@pytest.mark.parametrize("target", TARGETS)
def test_predictions(target):
    ref, comp, y = pair(target, max_iter=EPOCHS, random_state=1)
    for model in (ref, comp):
        model.fit(X, y)
    for method in ("predict", "predict_proba", "predict_log_proba"):
        if hasattr(ref, method):
            expected, found = getattr(ref, method)(X), getattr(comp, method)(X)
            assert found.dtype == expected.dtype
            assert found.shape == expected.shape
            if expected.dtype.kind == "f":
                np.testing.assert_allclose(found, expected, rtol=1e-7)
            else:
                np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(comp.score(X, y), ref.score(X, y), rtol=1e-7)


def test_predictions_are_made_from_coefs():
    _, comp, y = pair("one output", max_iter=2, random_state=1)
    comp.fit(X, y)
    comp.coefs_ = [np.zeros_like(W) for W in comp.coefs_]
    comp.intercepts_[-1][:] = 7.0
    np.testing.assert_array_equal(comp.predict(X), np.full(60, 7.0))


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
@pytest.mark.parametrize("target", TARGETS)
def test_float32_stays_float32(target, solver):
    ref, comp, y = pair(target, max_iter=5, solver=solver, random_state=1)
    small = X.astype(np.float32)
    comp.fit(small, y)
    ref.fit(small, y)
    assert {a.dtype for a in (*comp.coefs_, *comp.intercepts_)} == {np.dtype(np.float32)}
    assert getattr(comp, "predict_proba", comp.predict)(small).dtype == np.float32
    np.testing.assert_allclose(comp.loss_, ref.loss_, rtol=1e-3)


def test_defaults_and_parameters_are_theirs():
    for name in ("MLPClassifier", "MLPRegressor"):
        comp, ref = (signature(getattr(module, name)).parameters for module in (ours, theirs))
        more = ["n_threads", "dropout", "keep_optimizer", "scoring", "callbacks", "n_members"]
        more += ["bootstrap"] + ["class_weight"] * (name == "MLPClassifier")
        both = [p for p in comp if p not in more and (p in ref or not before_1_7)]
        assert [comp[p].replace(annotation=Parameter.empty) for p in both] == list(ref.values())
        assert set(comp) - set(both) - {"loss"} == set(more)
