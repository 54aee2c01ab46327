"""scikit-learn's own checks of the estimators for tables."""

from __future__ import annotations

from sklearn.utils.estimator_checks import parametrize_with_checks

from jitprop.tabular import TabularClassifier, TabularRegressor


@parametrize_with_checks(
    [
        TabularClassifier((32, 32), epochs=100, n_members=2),
        TabularRegressor((32, 32), epochs=100),
    ],
    expected_failed_checks=None,
)
def test_estimator(estimator, check):
    check(estimator)
