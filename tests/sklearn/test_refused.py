"""Refused calls change nothing, parameters are returned as given, and pickles are plain."""

from __future__ import annotations

import copy
import pickle
import pickletools
import warnings

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from jitprop import _version
from jitprop.files import pickles
from jitprop.sklearn import MLPClassifier, MLPRegressor


@pytest.fixture
def samples(rng):
    X = rng.normal(size=(60, 3))
    return X, (X[:, 0] > 0).astype(int)


def fitted(cls, samples, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it does not converge
        return cls(
            **{"hidden_layer_sizes": (4,), "max_iter": 3, "random_state": 0, **settings}
        ).fit(*samples)


REFUSED = [
    {"alpha": -1.0},
    {"batch_size": 0},
    {"early_stopping": True},  # without X_val
    {"class_weight": "balanced"},
    {"callbacks": 3},
]


@pytest.mark.parametrize("settings", REFUSED, ids=str)
def test_a_refused_partial_fit_leaves_no_attribute(samples, settings):
    X, y = samples
    model = MLPClassifier(**settings)
    before = dict(vars(model))
    with pytest.raises((TypeError, ValueError)):
        model.partial_fit(X, y, classes=[0, 1])
    assert vars(model) == before
    model.set_params(**{name: getattr(MLPClassifier(), name) for name in settings})
    model.partial_fit(X, y + 5, classes=[5, 6])  # not the classes of the refused call
    assert model.classes_.tolist() == [5, 6]


@pytest.mark.parametrize("cls", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize("bad", ["nan", "rows", "weights"])
def test_a_refused_first_fit_leaves_the_estimator_unfitted(cls, bad, samples):
    X, y = samples
    model = cls()
    before = dict(vars(model))
    weights = None
    if bad == "nan":
        X = np.where(np.arange(3) == 1, np.nan, X)
    elif bad == "rows":
        y = y[1:]
    else:
        weights = -np.ones(len(X))
    with pytest.raises(ValueError, match=r"NaN|inconsistent|negative"):
        model.fit(X, y, sample_weight=weights)
    assert vars(model) == before
    with pytest.raises(NotFittedError):
        model.predict(X)


@pytest.mark.parametrize("cls", [MLPClassifier, MLPRegressor])
def test_a_refused_second_fit_leaves_the_first(cls, samples):
    X, y = samples
    model = fitted(cls, samples)
    expected, curve = model.predict(X), list(model.loss_curve_)
    with pytest.raises(ValueError, match="features"):
        model.partial_fit(X[:, :2], y)
    with pytest.raises(ValueError, match="NaN"):
        model.fit(np.full((60, 5), np.nan), y)
    np.testing.assert_array_equal(model.predict(X), expected)
    assert model.loss_curve_ == curve
    assert model.n_features_in_ == 3


@pytest.mark.parametrize("cls", [MLPClassifier, MLPRegressor])
def test_lbfgs_keeps_no_optimizer(cls, samples):
    with pytest.raises(ValueError, match="keep_optimizer needs solver 'sgd' or 'adam'"):
        cls(solver="lbfgs", warm_start=True, keep_optimizer=True).fit(*samples)


NULLABLE = ["Int64", "UInt8", "boolean", "int64[pyarrow]", "bool[pyarrow]"]


@pytest.mark.parametrize("dtype", NULLABLE)
def test_labels_of_a_nullable_dtype_come_back_as_they_were(dtype, samples):
    pd, _ = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    X, y = samples
    y = pd.Series(y.astype(bool) if dtype.startswith("bool") else y).astype(dtype)
    model = fitted(MLPClassifier, (X, y))
    assert model.classes_.dtype == y.dtype.numpy_dtype
    assert model.predict(X).dtype == y.dtype.numpy_dtype
    assert set(model.predict(X)) <= set(y)
    assert 0 <= model.score(X, y) <= 1
    online = MLPClassifier(random_state=0).partial_fit(X, y, classes=pd.array([0, 1], dtype="Int8"))
    assert online.classes_.dtype == np.int8


def test_a_missing_label_is_an_error(samples):
    pd = pytest.importorskip("pandas")
    y = pd.Series(samples[1]).astype("Int64")
    y[3] = pd.NA
    with pytest.raises(ValueError, match="NaN"):
        MLPClassifier().fit(samples[0], y)


@pytest.mark.parametrize("dtype", [np.longdouble, np.float16, np.int64, np.int8, bool])
@pytest.mark.parametrize("trained_in", [np.float32, np.float64])
def test_samples_of_any_real_dtype_are_predicted(dtype, trained_in, samples):
    X, y = samples
    samples = (X.astype(trained_in), y)
    X = X.round().astype(dtype)
    classifier, regressor = fitted(MLPClassifier, samples), fitted(MLPRegressor, samples)
    for method in (
        classifier.predict,
        classifier.predict_proba,
        classifier.predict_log_proba,
        regressor.predict,
        lambda X: regressor.hidden_activations(X)[0],
    ):
        np.testing.assert_allclose(method(X), method(X.astype(np.float64)), rtol=1e-5)


@pytest.mark.parametrize("cls", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs", "lm"])
def test_a_pickle_names_no_class_of_ours_but_the_estimator(cls, solver, samples):
    pickled = pickle.dumps(fitted(cls, samples, solver=solver), protocol=2)
    named = {name for op, name, _ in pickletools.genops(pickled) if op.name == "GLOBAL"}
    ours = {name for name in named if name.startswith("jitprop")}
    assert ours == {f"{cls.__module__} {cls.__name__}"}


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_a_pickled_estimator_goes_on_to_the_same_bits(solver, samples):
    model = fitted(MLPRegressor, samples, solver=solver)
    for twin in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        one = copy.deepcopy(model)
        for _ in range(3):
            one.partial_fit(*samples)
            twin.partial_fit(*samples)
        assert one.loss_curve_ == twin.loss_curve_
        assert one._optimizer.optimizer == twin._optimizer.optimizer


@pytest.mark.parametrize("made", ["0.0.9", None])
def test_a_pickle_of_another_version_says_so(made, samples, monkeypatch):
    model = fitted(MLPRegressor, samples)
    state = model.__getstate__()
    assert state[pickles.KEY] == _version.__version__
    if made is None:
        del state[pickles.KEY]
    else:
        state[pickles.KEY] = made
    with pytest.warns(UserWarning, match=made or "an earlier jitprop"):
        MLPRegressor().__setstate__(state)
