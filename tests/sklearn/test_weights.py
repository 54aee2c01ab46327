"""Sample weights and class weights whose sum is not usable."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from jitprop.sklearn import MLPClassifier

X = np.random.default_rng(0).normal(size=(12, 2))
Y = np.arange(12) % 2


def fitted(model, X=X, sample_weight=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two epochs do not converge
        return model.fit(X, Y, sample_weight)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "extra",
    [{}, {"solver": "lbfgs"}, {"solver": "lm"}, {"n_members": 2}, {"early_stopping": True}],
)
@pytest.mark.parametrize(
    ("class_weight", "sample_weight", "total"),
    [
        ({0: 0.0, 1: 0.0}, None, "0"),
        ({0: 0.0, 1: 1.0}, 1.0 - Y, "0"),
        ({0: 1.0, 1: np.nan}, None, "nan"),
        ({0: 1e300, 1: 1e300}, np.full(12, 1e30), "inf"),
        (None, np.full(12, 5e-324), "5.9"),
    ],
)
def test_all_weights_together_need_a_sum(class_weight, sample_weight, total, extra, dtype):
    if sample_weight is not None and sample_weight.max() < 1e-300 and dtype == "float32":
        sample_weight = np.full(12, 1e-45)  # the smallest float32
        total = "1.68"
    model = MLPClassifier(
        hidden_layer_sizes=(3,), class_weight=class_weight, max_iter=2, random_state=0, **extra
    )
    with pytest.raises(ValueError, match=f"must have a finite sum above 0, .* sum to {total}"):
        model.fit(X.astype(dtype), Y, sample_weight)
    assert not hasattr(model, "coefs_")


def test_each_member_draws_a_sample_that_counts():
    weights = np.zeros(12)
    weights[5] = 1.0
    model = MLPClassifier(
        hidden_layer_sizes=(3,), n_members=12, bootstrap=True, max_iter=2, random_state=0
    )
    fitted(model, sample_weight=weights)
    assert np.isfinite(model.predict_proba(X)).all()
