"""A net keeps its dtype, whatever the dtype of the samples in later calls."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from jitprop.sklearn import MLPClassifier, MLPRegressor

CASES = [
    (MLPClassifier, {}),
    (MLPRegressor, {"solver": "sgd"}),
    (MLPRegressor, {"warm_start": True}),
    (MLPRegressor, {"warm_start": True, "keep_optimizer": True}),
    (MLPClassifier, {"warm_start": True, "keep_optimizer": True, "solver": "sgd"}),
]


def train(model, X, y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it does not converge
        return model.fit(X, y) if model.warm_start else model.partial_fit(X, y)


@pytest.fixture
def samples(rng):
    X = rng.normal(size=(40, 3)).astype(np.float32)  # both dtypes hold these exactly
    return X, (X[:, 0] > 0).astype(int)


@pytest.mark.parametrize(("cls", "settings"), CASES)
@pytest.mark.parametrize("first", [np.float32, np.float64])
def test_going_on_with_samples_of_another_dtype(cls, settings, first, samples):
    X, y = samples
    if cls is MLPClassifier and "warm_start" not in settings:
        start = lambda m: m.partial_fit(X.astype(first), y, classes=[0, 1])  # noqa: E731
    else:
        start = lambda m: train(m, X.astype(first), y)  # noqa: E731
    ref, comp = (cls(hidden_layer_sizes=(4,), max_iter=3, random_state=0, **settings) for _ in "ab")
    start(ref), start(comp)
    train(ref, X.astype(first), y)
    train(comp, X.astype(np.float64 if first == np.float32 else np.float32), y)
    for a, b in zip(comp.coefs_ + comp.intercepts_, ref.coefs_ + ref.intercepts_, strict=True):
        assert a.dtype == first
        np.testing.assert_array_equal(a, b)
    assert comp._optimizer.slots.dtype == first


@pytest.mark.parametrize("name", ["X", "y"])
def test_numbers_beyond_float32_are_refused(name, samples):
    X, y = samples
    model = MLPRegressor(hidden_layer_sizes=(4,), random_state=0).partial_fit(X, y)
    before = [a.copy() for a in model.coefs_]
    X, y = X.astype(np.float64), y.astype(np.float64)
    (X if name == "X" else y)[3] = 1e300
    with pytest.raises(ValueError, match=f"{name} must be finite in float32"):
        model.partial_fit(X, y)
    for a, b in zip(model.coefs_, before, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("cls", [MLPClassifier, MLPRegressor])
def test_weights_of_0_on_one_side_of_early_stopping(cls, samples):
    X, y = samples
    weights = np.zeros(len(X))
    weights[0] = 1.0
    model = cls(early_stopping=True, random_state=0)
    with pytest.raises(ValueError, match="validation_fraction must leave samples with a weight"):
        model.fit(X, y, sample_weight=weights)
    assert not hasattr(model, "coefs_")
