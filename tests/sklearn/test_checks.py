"""scikit-learn's own checks of an estimator."""

from __future__ import annotations

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from jitprop.sklearn import MLPClassifier, MLPRegressor


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks(
    [
        MLPClassifier(max_iter=100),
        MLPRegressor(max_iter=100),
        MLPRegressor(max_iter=20, n_members=2),
        MLPClassifier(max_iter=20, solver="lm"),
        MLPRegressor(max_iter=20, solver="lm"),
        MLPRegressor(activation="tanh", max_iter=20, solver="lm", n_members=2),
    ],
    expected_failed_checks=None,
)
def test_estimator(estimator, check):
    check(estimator)
