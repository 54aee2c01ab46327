"""Logarithms of probabilities that round to 0 or 1."""

from __future__ import annotations

from decimal import Decimal, localcontext

import numpy as np
import pytest

from jitprop.sklearn import MLPClassifier

SURE = 40.0
"""A weight so large that probabilities round to 0 and 1."""


def classifier(y, dtype=np.float64, **settings):
    """Return a fitted net of one layer whose weights are set so that z = SURE * X."""
    X = np.random.default_rng(0).normal(size=(len(y), 3)).astype(dtype)
    model = MLPClassifier((), solver="lbfgs", max_iter=1000, random_state=0, **settings).fit(X, y)
    model.coefs_[0][...] = SURE * np.eye(*model.coefs_[0].shape)
    model.intercepts_[0][...] = 0.0
    return model


def exact(z):
    """Return log softmax, computed with 400 digits."""
    with localcontext(prec=400):
        powers = [Decimal(float(value)).exp() for value in z]
        return [float((power / sum(powers)).ln()) for power in powers]


X = np.array([[1.0, 0.0, -1.0], [20.0, 0.0, 3.0], [0.0, 0.0, 0.0]])


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-14), (np.float32, 1e-6)])
def test_softmax(dtype, tolerance):
    model = classifier(np.arange(30) % 3, dtype)
    found = model.predict_log_proba(X.astype(dtype))
    assert model.predict_proba(X.astype(dtype)).min() == 0.0  # its logarithm would be -inf
    # The logarithm of a probability that rounds to 1 is 0, as in scikit-learn, and not -4e-18.
    expected = [exact(SURE * x) for x in X]
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=1e-16)


def test_two_classes():
    model = classifier(np.arange(30) % 2)
    expected = [exact([0.0, SURE * x[0]]) for x in X]
    assert model.predict_proba(X)[1].tolist() == [0.0, 1.0]
    np.testing.assert_allclose(model.predict_log_proba(X), expected, rtol=1e-14, atol=1e-16)


def test_several_labels():
    y = np.random.default_rng(1).integers(0, 2, (30, 3))
    expected = [[exact([0.0, SURE * z])[1] for z in x] for x in X]
    np.testing.assert_allclose(classifier(y).predict_log_proba(X), expected, rtol=1e-14, atol=1e-16)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_members_have_the_logarithm_of_their_mean_probability(n_classes):
    y = np.arange(60) % n_classes
    samples = np.random.default_rng(0).normal(size=(60, 3))
    settings = {"n_members": 3, "max_iter": 5, "n_iter_no_change": np.inf, "random_state": 0}
    with pytest.warns(UserWarning, match="Maximum iterations"):
        model = MLPClassifier((4,), **settings).fit(samples, y)
    expected = np.log(model.predict_proba(samples))
    np.testing.assert_allclose(model.predict_log_proba(samples), expected, rtol=1e-12)
    np.testing.assert_allclose(model._log_proba(samples), expected, rtol=1e-12)
    with np.errstate(divide="raise"):
        far = model.predict_log_proba(1e5 * samples)
    assert model.predict_proba(1e5 * samples).min() == 0.0
    assert np.isfinite(far).all()


def test_rows_sum_to_one_and_agree_with_predict_proba(rng):
    samples = rng.normal(size=(90, 3))
    model = MLPClassifier((8,), solver="lbfgs", max_iter=2000, random_state=0)
    model.fit(samples, np.arange(90) % 3)
    logs = model.predict_log_proba(X / 10)
    np.testing.assert_allclose(np.exp(logs).sum(axis=1), 1, rtol=1e-13)
    np.testing.assert_allclose(np.exp(logs), model.predict_proba(X / 10), rtol=1e-10)
