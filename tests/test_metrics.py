"""Metrics, against scikit-learn's."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import sklearn.metrics

from jitprop import Trainer, metrics

SKLEARN = {
    "mse": sklearn.metrics.mean_squared_error,
    "mae": sklearn.metrics.mean_absolute_error,
    "r2": sklearn.metrics.r2_score,
}


def probabilities(rng, n, k):
    p = rng.uniform(0.01, 1.0, size=(n, k))
    return p / p.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("name", SKLEARN)
@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_regression(name, n_outputs, dtype, rng):
    y, prediction = (rng.normal(size=(50, n_outputs)).astype(dtype) for _ in range(2))
    expected = SKLEARN[name](y.astype(float), prediction.astype(float))
    assert metrics.NAMED[name](y, prediction) == pytest.approx(expected, rel=1e-12)


def test_r2_of_targets_that_are_all_equal():
    y = np.array([[2.0, 1.0], [2.0, 1.0], [2.0, 1.0]])
    prediction = y + np.array([0.0, 0.5])
    expected = sklearn.metrics.r2_score(y, prediction)
    assert metrics.r2(y, prediction) == expected == 0.5


@pytest.mark.parametrize("rows", [True, False])
def test_classification(rows, rng):
    prediction = probabilities(rng, 60, 4)
    labels = rng.integers(0, 4, size=60)
    y = np.eye(4)[labels] if rows else labels
    expected = sklearn.metrics.accuracy_score(labels, prediction.argmax(axis=1))
    assert metrics.accuracy(y, prediction) == expected
    expected = sklearn.metrics.log_loss(labels, prediction, labels=range(4))
    assert metrics.log_loss(y, prediction) == pytest.approx(expected, rel=1e-12)


def test_two_classes_by_one_output(rng):
    p = rng.uniform(size=(60, 1))
    y = rng.integers(0, 2, size=(60, 1)).astype(float)
    expected = sklearn.metrics.accuracy_score(y.ravel(), p.ravel() >= 0.5)
    assert metrics.accuracy(y, p) == expected
    expected = sklearn.metrics.log_loss(y.ravel(), p.ravel())
    assert metrics.log_loss(y, p) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_what_is_certainly_no_class_is_refused(n_outputs, rng):
    y, p = rng.normal(size=(20, n_outputs)), rng.uniform(0.1, 0.9, size=(20, n_outputs))
    for metric in (metrics.accuracy, metrics.log_loss):
        message = f"{metric.__name__} needs labels, or targets from 0 to 1; these are from -.* to"
        with pytest.raises(ValueError, match=message):
            metric(y, p)
        assert np.isfinite(metric(np.clip(y, 0, 1), p)), "they may be probabilities"
    signs = np.where(y == y.max(axis=1, keepdims=True), 1.0, -1.0)
    signs[0] *= -1
    assert 0 <= metrics.accuracy(signs, p) <= 1, "and these may be classes"
    with pytest.raises(ValueError, match="log_loss needs labels"):
        metrics.log_loss(signs, p)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_log_loss_of_certainty_is_finite(dtype):
    p = np.array([[0.0, 1.0], [1.0, 0.0]], dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = sklearn.metrics.log_loss([0, 0], p, labels=[0, 1])
    assert metrics.log_loss(np.array([0, 0]), p) == pytest.approx(expected, rel=1e-5)


def test_means_alone_count_where_variances_stand_behind_them(rng):
    y, prediction = rng.normal(size=(20, 2)), rng.normal(size=(20, 4))
    assert metrics.mse(y, prediction) == metrics.mse(y, prediction[:, :2])


def test_functions_get_predictions_and_labels(backend, rng):
    X, labels = rng.normal(size=(40, 3)), rng.integers(0, 4, size=40)
    seen = []

    def hits(y, prediction):
        seen.append((y, prediction))
        return (prediction.argmax(axis=1) == y).sum()

    trainer = Trainer(
        [3, 5, 4], loss="cross_entropy", output_activation="softmax", seed=0, backend=backend
    )
    history = trainer.fit(
        X, labels, 3, metrics=[hits, "accuracy"], validation_data=(X[:8], labels[:8])
    )
    assert len(seen) == 6
    y, prediction = seen[-2]
    np.testing.assert_array_equal(y, labels)
    assert y.dtype == np.int64
    np.testing.assert_array_equal(prediction, trainer.predict(X))
    with pytest.raises(ValueError, match="read-only"):
        y[0] = 1
    np.testing.assert_array_equal(history.metrics["hits"], history.metrics["accuracy"] * 40)
    last = history.metrics["validation_hits"][-1]
    assert last == (trainer.predict(X[:8]).argmax(axis=1) == labels[:8]).sum()


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("acuracy", ValueError, r"metrics\[0\] 'acuracy' is unknown: did you mean 'accuracy'"),
        (["mse", "mse"], ValueError, r"metrics\[1\] is called 'mse', a name that another"),
        ([3], TypeError, r"metrics\[0\] must be a name"),
        (3, TypeError, "metrics must be a list of names or functions"),
    ],
)
def test_bad_metrics_are_refused(given, error, message):
    with pytest.raises(error, match=message):
        Trainer([2, 1]).fit([[0, 1]], [0], 1, metrics=given)


def test_names_of_other_numbers_are_refused():
    def loss(y, prediction):
        return 0.0

    with pytest.raises(ValueError, match="'loss', a name that another number has"):
        Trainer([2, 1]).fit([[0, 1]], [0], 1, metrics=loss)


def test_what_is_no_number_is_refused_and_the_trainer_is_as_before(backend):
    def wrong(y, prediction):
        return "good"

    trainer = Trainer([2, 1], seed=0, backend=backend)
    before = trainer.parameters.copy()
    with pytest.raises(TypeError, match="metric 'wrong' must return a number; got 'good'"):
        trainer.fit([[0, 1]], [0], 1, metrics=wrong)
    np.testing.assert_array_equal(trainer.parameters, before)
    assert trainer.epochs_trained == len(trainer.history.loss) == 0
