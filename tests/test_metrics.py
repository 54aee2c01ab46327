"""The metrics agree with scikit-learn's."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
import sklearn.metrics

from jitprop import Trainer, metrics, sweep

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


# Metrics take every form of arrays that `fit` takes, with the same result.

COLUMN = np.array([[0.0], [1.0], [1.0], [0.0], [1.0]])
ONE_OUTPUT = np.array([[0.25], [0.75], [0.5], [0.625], [0.875]])


def frame(array):
    return pytest.importorskip("pandas").DataFrame(array)


def series(array):
    return pytest.importorskip("pandas").Series(np.ravel(array), index=range(90, 95))


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def flat(array):
    return array.ravel()


FORMS = {
    "column": np.array,
    "flat": flat,
    "list": lambda array: flat(array).tolist(),
    "list of rows": np.ndarray.tolist,
    "frame": frame,
    "series": series,
    "read-only": read_only,
    "Fortran": np.asfortranarray,
    "float32": np.float32,
}


@pytest.mark.parametrize("name", metrics.NAMED)
@pytest.mark.parametrize("of_prediction", FORMS)
@pytest.mark.parametrize("of_y", [*FORMS, "int", "bool"])
def test_any_form_of_one_output_is_the_same(name, of_y, of_prediction):
    metric = metrics.NAMED[name]
    expected = {"mse": 0.15625, "mae": 0.35, "accuracy": 0.8}
    ref = metric(COLUMN, ONE_OUTPUT)
    assert ref == expected.get(name, ref)
    y = flat(COLUMN).astype(of_y) if of_y in ("int", "bool") else FORMS[of_y](COLUMN)
    assert metric(y, FORMS[of_prediction](ONE_OUTPUT)) == ref


def test_zeros_are_zeros():
    assert metrics.mse(np.zeros(100, int), np.zeros((100, 1))) == 0.0
    assert metrics.accuracy(np.ones(100), np.ones((100, 1))) == 1.0
    assert metrics.mse([1, 2], [1, 4]) == 2.0, "integers"
    assert metrics.mse(np.array([250], np.uint8), np.array([5], np.uint8)) == 245.0**2


@pytest.mark.parametrize("name", ["accuracy", "log_loss"])
@pytest.mark.parametrize("of_labels", [list, np.array, np.float32, np.uint8, series, frame])
def test_any_form_of_labels_is_the_same(name, of_labels, rng):
    p, labels = probabilities(rng, 5, 3), np.array([2, 0, 1, 1, 0])
    ref = metrics.NAMED[name](np.eye(3)[labels], p)
    assert metrics.NAMED[name](of_labels(labels), p) == ref
    assert metrics.NAMED[name](labels.reshape(-1, 1), p.tolist()) == ref


@pytest.mark.parametrize("name", metrics.NAMED)
@pytest.mark.parametrize(
    ("y", "prediction"),
    [
        ((5,), (4,)),
        ((5, 1), (1, 5)),
        ((5, 3), (5,)),
        ((5, 3), (5, 2)),
        ((5, 1), (5, 1, 1)),
        ((), (5, 1)),
        ((0,), (0, 1)),
        ((0, 3), (0, 3)),
        ((5, 0), (5, 0)),
    ],
)
def test_other_pairs_of_shapes_are_refused(name, y, prediction):
    message = re.escape(f"got y of shape {y} and prediction of shape {prediction}")
    with pytest.raises(ValueError, match=message):
        metrics.NAMED[name](np.zeros(y), np.zeros(prediction))


@pytest.mark.parametrize("name", ["mse", "mae", "r2"])
def test_a_column_is_no_labels_of_a_regression(name):
    with pytest.raises(ValueError, match=r"y of shape \(5, 1\) and prediction of shape \(5, 3\)"):
        metrics.NAMED[name](np.zeros((5, 1)), np.zeros((5, 3)))


@pytest.mark.parametrize("name", ["accuracy", "log_loss"])
def test_classes_have_no_variances(name):
    with pytest.raises(ValueError, match=r"y of shape \(5, 2\) and prediction of shape \(5, 4\)"):
        metrics.NAMED[name](np.zeros((5, 2)), np.zeros((5, 4)))


@pytest.mark.parametrize("name", metrics.NAMED)
@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        ([0, 1, 0.5], ValueError, r"integers from 0 to 1; y\[2\] is 0.5: y of shape \(3,\) is"),
        ([0, 1, 2], ValueError, r"y\[2\] is 2: .* prediction has shape \(3, 2\)"),
        ([0, 1, -1], ValueError, r"y\[2\] is -1"),
        ([0, 1, np.nan], ValueError, r"y must be finite; y\[2\] is nan"),
        (["a", "b", "a"], TypeError, "y must be an array of real numbers; got text"),
        ([[0], [1, 2], [3]], ValueError, "y must be an array of numbers"),
    ],
)
def test_bad_targets_are_refused(name, y, error, message):
    with pytest.raises(error, match=message):
        metrics.NAMED[name](y, [[0.5, 0.5]] * 3)


@pytest.mark.parametrize("name", metrics.NAMED)
def test_nothing_is_worth_of_a_prediction_with_nan(name):
    y = np.array([[1.0, 0.0]] * 3)  # all targets are equal
    p = np.array([[0.5, 0.5], [np.nan, 0.5], [0.5, 0.5]])
    assert np.isnan(metrics.NAMED[name](y, p))
    assert np.isnan(metrics.NAMED[name](y[:, :1], p[:, :1]))


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
        (["mse", "mse"], ValueError, r"metrics\[1\] has the name 'mse', which another"),
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

    with pytest.raises(ValueError, match="'loss', which another number of an epoch has"):
        Trainer([2, 1]).fit([[0, 1]], [0], 1, metrics=loss)


def test_no_metric_changes_what_the_next_one_gets(backend):
    def sorts(y, prediction):
        prediction.sort(axis=0)
        return 0.0

    trainer = Trainer([2, 1], seed=0, backend=backend)
    with pytest.raises(ValueError, match="read-only"):
        trainer.fit([[0, 1], [1, 0]], [0, 1], 1, metrics=[sorts, "r2"])
    with pytest.raises(ValueError, match="read-only"):
        sweep([[0, 1]] * 6, [0, 1] * 3, {"seed": [0]}, layer_sizes=[2, 1], epochs=1, cv=2,
              metrics=[sorts, "r2"], backend=backend)  # fmt: skip


@pytest.mark.parametrize(
    ("value", "came"),
    [
        ("0.5", "got '0.5'"),
        (None, "got None"),
        (1j, "got 1j"),
        (np.zeros(3), r"got an array of shape \(3,\)"),
        (np.zeros((2, 0)), r"got an array of shape \(2, 0\)"),
        ([0.5], r"got \[0.5\]"),
    ],
)
def test_what_is_no_number_is_named(value, came):
    def mine(y, prediction):
        return value

    with pytest.raises(TypeError, match=f"metric 'mine' must return a number; {came}"):
        Trainer([2, 1], backend="numpy").fit([[0, 1]], [0], 1, metrics=mine)


@pytest.mark.parametrize("value", [1, True, np.float32(1), np.array(1.0), np.array([[1.0]])])
def test_one_number_is_a_number(value):
    def mine(y, prediction):
        return value

    history = Trainer([2, 1], backend="numpy").fit([[0, 1]], [0], 1, metrics=mine)
    assert history.metrics["mine"].tolist() == [1.0]


def test_what_is_no_number_is_refused_and_the_trainer_is_as_before(backend):
    def wrong(y, prediction):
        return "good"

    trainer = Trainer([2, 1], seed=0, backend=backend)
    before = trainer.parameters.copy()
    with pytest.raises(TypeError, match="metric 'wrong' must return a number; got 'good'"):
        trainer.fit([[0, 1]], [0], 1, metrics=wrong)
    np.testing.assert_array_equal(trainer.parameters, before)
    assert trainer.epochs_trained == len(trainer.history.loss) == 0


def test_a_metric_of_the_validation_data_alone(backend, rng):
    X, labels = rng.normal(size=(40, 3)), rng.integers(0, 4, size=40)
    arguments = {"loss": "cross_entropy", "output_activation": "softmax", "backend": backend}
    both, alone, mixed = (Trainer([3, 5, 4], seed=0, **arguments) for _ in range(3))
    given = {"validation_data": (X[:8], labels[:8])}
    columns = [
        trainer.fit(X, labels, 3, metrics=names, **given).metrics
        for trainer, names in (
            (both, ["accuracy", "mse"]),
            (alone, "validation_accuracy"),
            (mixed, ["validation_accuracy", "mse"]),
        )
    ]
    assert [list(found) for found in columns[1:]] == [
        ["validation_accuracy"],
        ["mse", "validation_accuracy", "validation_mse"],
    ]
    for found in columns[1:]:
        for name, column in found.items():
            np.testing.assert_array_equal(column, columns[0][name])
    assert alone.history.columns.keys() >= {"validation_accuracy"}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("validation_accuracy", r"^metrics has 'validation_accuracy', which needs validation"),
        ("validation_acuracy", r"^metrics\[0\] 'validation_acuracy' is unknown: did you mean"),
        (["accuracy", "validation_accuracy"], r"^metrics\[1\] has the name 'validation_acc"),
        (["validation_accuracy", "accuracy"], r"^metrics\[1\] has the name 'accuracy', which"),
    ],
)
def test_bad_metrics_of_the_validation_data_alone(given, words):
    trainer = Trainer([1, 1], seed=0)
    with pytest.raises(ValueError, match=words):
        trainer.fit([[0.0], [1.0]], [0.0, 1.0], 2, metrics=given)
    assert trainer.epochs_trained == 0
    with pytest.raises(ValueError, match=r"^metrics\[0\] 'validation_mse' is unknown"):
        sweep([[0.0], [1.0]], [0.0, 1.0], {"layer_sizes": [[1, 1]]}, metrics="validation_mse")
