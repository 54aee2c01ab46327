"""Calls with arrays that are already right go a quick way, which does what the usual way does."""

from __future__ import annotations

import copy
import pickle
import signal
import threading
import warnings

import joblib
import numpy as np
import pytest
from sklearn.base import clone

from jitprop import Huber
from jitprop.backends import load, threads
from jitprop.backends.brief import Brief
from jitprop.sklearn import MLPClassifier, MLPRegressor, base, brief, descent, net
from sklearn import config_context

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

CLASSES = {MLPRegressor: {}, MLPClassifier: {"classes": [0, 1]}}
SMALL = {"hidden_layer_sizes": (4,), "random_state": 0}
LIMIT = 60


@pytest.fixture
def taken(monkeypatch):
    """The names of the quick functions that did what they were asked for."""
    if not load("auto").COMPILED:
        pytest.skip("numba is missing, and the NumPy backend has no quick way")
    names = []

    def spied(function):
        def spy(*given):
            made = function(*given)
            if made is not None and made is not False:
                names.append(function.__name__)
            return made

        return spy

    for function in (brief.outputs, brief.update):
        monkeypatch.setattr(brief, function.__name__, spied(function))
    return names


@pytest.fixture
def samples(rng):
    X = rng.normal(size=(8, 3))
    return X, np.tile([0, 1], 4)


def slowly(monkeypatch):
    monkeypatch.setattr(brief, "outputs", lambda *given: None)
    monkeypatch.setattr(brief, "update", lambda *given: False)


def trained(cls, samples, calls=2, **settings):
    model = cls(**SMALL | settings)
    for _ in range(calls):
        model.partial_fit(*samples, **CLASSES[cls])
    return model


def values(model):
    """All that a pickle of the estimator keeps, as bytes."""
    return pickle.dumps(copy.deepcopy(model))


def same(a, b):
    return all(map(np.array_equal, (*a.coefs_, *a.intercepts_), (*b.coefs_, *b.intercepts_)))


SETTINGS = [
    {},
    {"solver": "sgd"},
    {"solver": "sgd", "learning_rate": "invscaling", "momentum": 0.0},
    {"solver": "sgd", "learning_rate": "adaptive", "tol": 1.0, "n_iter_no_change": 2},
    {"tol": 1.0, "n_iter_no_change": 2},
    {"dropout": 0.4, "hidden_layer_sizes": [5, 3], "activation": ["tanh", "relu"]},
    {"hidden_layer_sizes": (64,), "alpha": 0.1},
    {"batch_size": 8, "random_state": np.random.RandomState(3)},
    {"random_state": None, "shuffle": False},
    {"random_state": None},
]


def stream(cls, settings, dtype, y):
    np.random.seed(1)
    rng, model, found = np.random.default_rng(0), clone(cls(**SMALL | settings)), []
    X = rng.normal(size=(8, 3)).astype(dtype)
    for i in range(6):
        model.partial_fit(X, y, **({"classes": np.unique(y)} if cls is MLPClassifier else {}))
        found += [model.predict(X[i : i + 1]), model.predict(X.T.copy().T)]
        if cls is MLPClassifier:
            found += [model.predict_proba(X), model.predict_log_proba(X)]
    found += [np.random.get_state()[1], *model.coefs_, *model.intercepts_, *model._optimizer.slots]
    numbers = (model.t_, model.n_iter_, model.best_loss_, model.loss_, model.stopped_)
    states = (model._no_improvement_count, model._optimizer.learning_rate, len(model.loss_curve_))
    return [*found, model.loss_curve_, numbers, states, model._random_state.get_state()[1]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("settings", SETTINGS, ids=map(str, range(len(SETTINGS))))
@pytest.mark.parametrize(
    ("cls", "y"),
    [
        (MLPRegressor, np.arange(8) % 3),
        (MLPRegressor, np.arange(16).reshape(8, 2) % 5),
        (MLPClassifier, np.tile([0, 1], 4)),
        (MLPClassifier, np.array(list("abcabcab"))),
    ],
)
def test_both_ways_give_the_same_bits(cls, y, settings, dtype, taken, monkeypatch):
    quick = stream(cls, settings, dtype, y)
    updates = 5  # the first call makes the net
    assert taken.count("update") == updates
    assert taken.count("outputs") == 6 * (2 if cls is MLPRegressor else 4)
    slowly(monkeypatch)
    for a, b in zip(quick, stream(cls, settings, dtype, y), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("loss", ["poisson", "huber", "absolute_error", Huber(0.5)], ids=str)
def test_losses_of_a_regressor(loss, taken, monkeypatch):
    y = np.arange(8) % 3
    quick = stream(MLPRegressor, {"loss": loss}, np.float64, y)
    assert taken.count("update") == (0 if loss == "poisson" else 5)
    slowly(monkeypatch)
    for a, b in zip(quick, stream(MLPRegressor, {"loss": loss}, np.float64, y), strict=True):
        np.testing.assert_array_equal(a, b)


UNUSUAL = [
    {"early_stopping": True}, {"callbacks": lambda *logs: None}, {"verbose": True},
    {"keep_optimizer": True}, {"batch_size": 3}, {"batch_size": 9}, {"warm_start": True},
    {"class_weight": {0: 1.0, 1: 2.0}},
]  # fmt: skip


@pytest.mark.parametrize("settings", UNUSUAL, ids=lambda settings: next(iter(settings)))
@pytest.mark.filterwarnings("ignore:Got `batch_size`")
def test_what_else_a_call_does_is_done(settings, samples, taken):
    X, y = samples
    validation = {"X_val": X, "y_val": y} if "early_stopping" in settings else {}
    model = MLPClassifier(**SMALL | settings)
    for _ in range(3):
        model.partial_fit(X, y, classes=[0, 1], **validation)
    model.partial_fit(X, y, sample_weight=np.ones(8), **validation)
    assert "update" not in taken
    assert len(model.loss_curve_) == 4


BAD = {
    "nan": lambda X: np.where(X[1, 1] == X, np.nan, X),
    "inf": lambda X: np.where(X[1, 1] == X, np.inf, X),
    "width": lambda X: X[:, :2],
    "vector": lambda X: X[0],
    "nothing": lambda X: X[:0],
    "text": lambda X: X.astype(str).astype(object) + "x",
    "complex": lambda X: X * 1j,
}


def refused(call):
    with pytest.raises(Exception) as found:
        call()
    return type(found.value), str(found.value)


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("cls", CLASSES)
def test_bad_samples_are_refused_in_the_same_words(cls, bad, samples, taken, monkeypatch):
    model, (X, y) = trained(cls, samples), samples
    before, X = values(model), BAD[bad](X)
    taken.clear()
    calls = (lambda: model.predict(X)), (lambda: model.partial_fit(X, y[: len(X)]))
    quick = [refused(call) for call in calls]
    assert not taken
    assert values(model) == before
    slowly(monkeypatch)
    assert [refused(call) for call in calls] == quick


@pytest.mark.parametrize(
    "y",
    [np.full(8, np.nan), np.arange(7.0), np.arange(8) + 0.5 + 2.0 * (np.arange(8) > 3)],
    ids=["nan", "rows", "unknown"],
)
def test_bad_targets_are_refused_in_the_same_words(y, samples, taken, monkeypatch):
    classifier, (X, _) = trained(MLPClassifier, samples), samples
    models = [classifier] if y.max() == 9.5 else [classifier, trained(MLPRegressor, samples)]
    taken.clear()
    quick = [refused(lambda model=model: model.partial_fit(X, y)) for model in models]
    assert not taken
    slowly(monkeypatch)
    assert [refused(lambda model=model: model.partial_fit(X, y)) for model in models] == quick


def test_other_classes_are_refused(samples):
    model, (X, y) = trained(MLPClassifier, samples), samples
    for classes in ([0, 2], np.array([0, 1, 2]), ["a", "b"]):
        with pytest.raises(ValueError, match="not the same as on last call"):
            model.partial_fit(X, y, classes=classes)


@pytest.mark.parametrize("cls", CLASSES)
def test_an_update_that_diverges_ends_as_usual(cls, samples, taken, monkeypatch):
    X, y = samples
    X = np.full_like(X, 1e300)

    def diverged():
        model = trained(cls, samples, activation="identity", solver="sgd", learning_rate_init=1e9)
        taken.clear()
        return refused(lambda: model.partial_fit(X, y)), values(model)

    quick = diverged()
    assert "non-finite" in quick[0][1]
    assert not taken
    slowly(monkeypatch)
    assert diverged() == quick


def test_names_of_features_are_compared(samples, taken):
    X, y = samples
    pd = pytest.importorskip("pandas")
    model = MLPRegressor(**SMALL).partial_fit(pd.DataFrame(X, columns=["a", "b", "c"]), y)
    for call in (lambda: model.predict(X), lambda: model.partial_fit(X, y)):
        with pytest.warns(UserWarning, match="does not have valid feature names"):
            call()
    assert not taken


@pytest.mark.parametrize("cls", CLASSES)
def test_parameters_are_those_that_the_user_has_put_there(cls, samples, taken):
    X, y = samples
    model = trained(cls, samples)

    def output(X):
        return model.predict_proba(X)[:, 1] if cls is MLPClassifier else model.predict(X)

    own = model.coefs_[1]
    kept, before = own.copy(), output(X)
    own[:] = 0.0
    model.intercepts_[1][:] = 0.25
    constant = 1 / (1 + np.exp(-0.25)) if cls is MLPClassifier else 0.25
    assert np.allclose(output(X), constant)
    model.coefs_[1] = kept  # another array
    assert not np.allclose(output(X), constant)
    kept[:] = 0.0
    assert np.allclose(output(X), constant)
    model.partial_fit(X, y)
    assert model.coefs_[1].any()
    assert not own.any()
    assert not kept.any()
    model.coefs_, model.intercepts_ = [np.ones((3, 1))], [np.zeros(1)]
    expected = X.sum(axis=1)
    expected = 1 / (1 + np.exp(-expected)) if cls is MLPClassifier else expected
    assert np.allclose(output(X), expected)
    assert "outputs" in taken
    assert before.shape == expected.shape


def test_arrays_that_a_user_keeps_do_not_change(samples, taken):
    model = trained(MLPRegressor, samples)
    kept = model.coefs_[0]
    before = kept.copy()
    model.partial_fit(*samples)
    assert taken == ["update"] * 2
    assert np.array_equal(kept, before)
    assert not np.array_equal(model.coefs_[0], before)


def test_parameters_of_an_estimator_may_change_between_calls(samples, taken):
    X, y = samples
    model = trained(MLPRegressor, samples, hidden_layer_sizes=[4])
    model.alpha = -1.0
    before = values(model)
    with pytest.raises(ValueError, match="alpha must be a finite number at least 0"):
        model.partial_fit(X, y)
    assert values(model) == before
    model.set_params(alpha=1e-4)
    model.partial_fit(X, y)
    model.hidden_layer_sizes[0] = 5
    with pytest.raises(ValueError, match="layer sizes"):
        model.partial_fit(X, y)
    model.hidden_layer_sizes[0] = 4.0
    with pytest.raises(TypeError, match="hidden_layer_sizes"):
        model.partial_fit(X, y)
    model.set_params(hidden_layer_sizes=(4,), activation="identity")
    linear = X @ model.coefs_[0] @ model.coefs_[1] + model.intercepts_[0] @ model.coefs_[1]
    assert np.allclose(model.predict(X), linear[:, 0] + model.intercepts_[1])
    model.partial_fit(X, y).set_params(tol=0.5, n_iter_no_change=1)
    taken.clear()
    model.partial_fit(X, y)  # the usual way: it checks them
    model.partial_fit(X, y)
    assert taken == ["update"]


def test_an_unhashable_or_foreign_parameter_goes_the_usual_way(samples, taken):
    model = trained(MLPRegressor, samples, hidden_layer_sizes=np.array([4]))
    model.hidden_layer_sizes[0] = 5
    with pytest.raises(ValueError, match="layer sizes"):
        model.partial_fit(*samples)
    assert not taken


@pytest.mark.parametrize("cls", CLASSES)
def test_copies_are_whole_and_independent(cls, samples, taken, tmp_path):
    X, y = samples
    model = trained(cls, samples)
    attributes, size, digest = dict(vars(model)), len(pickle.dumps(model)), joblib.hash(model)
    expected = model.predict(X)
    assert all(vars(model)[name] is value for name, value in attributes.items())
    assert vars(model).keys() == attributes.keys()
    assert (len(pickle.dumps(model)), joblib.hash(model)) == (size, digest)
    assert "_prepared" not in model.__getstate__()
    assert not hasattr(clone(model), "coefs_")
    joblib.dump(model, tmp_path / "model")
    for other in (
        copy.copy(model),
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
        joblib.load(tmp_path / "model"),
        joblib.load(tmp_path / "model", mmap_mode="r"),
    ):
        taken.clear()
        assert np.array_equal(other.predict(X), expected)
        other.partial_fit(X, y)
        other.partial_fit(X, y)
        assert taken == ["outputs", "update"]
        assert np.array_equal(model.predict(X), expected)
        other.coefs_[1][:] = other.intercepts_[1][:] = 0.0
        assert len(set(other.predict(X).tolist())) == 1
    model.partial_fit(X, y)
    model.partial_fit(X, y)
    assert same(model, trained(cls, samples, calls=4))


def test_arrays_of_any_layout_and_origin(samples, taken):
    X, _ = samples
    model = trained(MLPRegressor, samples)
    expected = model.predict(X)
    taken.clear()
    loaded = pickle.loads(pickle.dumps(X))  # its dtype is equal, but another object
    read_only = X.copy()
    read_only.flags.writeable = False
    for given in (np.asfortranarray(X), np.repeat(X, 2, axis=0)[::2], loaded, read_only):
        assert np.array_equal(model.predict(given), expected)
    assert taken == ["outputs"] * 4
    for given in (X.tolist(), X.astype(">f8"), X.astype(object)):
        assert np.array_equal(model.predict(given), expected)
    assert taken == ["outputs"] * 4


def test_two_threads_never_share_a_prepared_net(samples, monkeypatch):
    X, _ = samples
    model = trained(MLPRegressor, samples)
    expected = model.predict(X), model.predict(X[::-1])
    used, found, barrier = [], {}, threading.Barrier(2)
    predict = Brief.predict

    def together(self, X):
        used.append(self)
        barrier.wait(LIMIT)
        made = predict(self, X)
        barrier.wait(LIMIT)
        return made

    monkeypatch.setattr(Brief, "predict", together)
    threads = [
        threading.Thread(target=lambda i=i: found.update({i: model.predict(X[:: 1 - 2 * i])}))
        for i in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    assert len(set(map(id, used))) == 2
    for i in range(2):
        assert np.array_equal(found[i], expected[i])


def in_a_thread(function):
    found = []

    def run():
        try:
            found.append(function())
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(LIMIT)
    return found[0]


def test_during_a_fit_other_threads_see_the_net_before_it(samples, taken):
    X, y = samples
    model, seen = trained(MLPRegressor, samples), []

    def look(model, epoch, logs):
        seen.append((in_a_thread(lambda: model.predict(X)), model.predict(X)))
        seen.append(in_a_thread(lambda: model.partial_fit(X, y)))

    before = model.predict(X)
    model.set_params(callbacks=look, max_iter=1).fit(X, y)
    (elsewhere, here), error = seen
    assert np.array_equal(elsewhere, before)
    assert np.array_equal(here, model.predict(X))
    assert isinstance(error, RuntimeError)


@pytest.mark.parametrize("cls", CLASSES)
def test_no_update_begins_during_a_fit(cls, samples, monkeypatch):
    model, draw, found = trained(cls, samples), descent.Shuffles.draw, []

    def during_a_fit(*given):
        if not found:
            found.append(in_a_thread(lambda: model.partial_fit(*samples)))
        return draw(*given)

    monkeypatch.setattr(descent.Shuffles, "draw", during_a_fit)
    model.fit(*samples)
    assert isinstance(found[0], RuntimeError)


def test_a_signal_sees_a_whole_update(samples, monkeypatch, taken):
    X, y = samples
    model, unpack = trained(MLPRegressor, samples), net.unpack

    def pressed(*given):
        signal.raise_signal(signal.SIGINT)
        unpack(*given)

    monkeypatch.setattr(net, "unpack", pressed)
    with pytest.raises(KeyboardInterrupt):
        model.partial_fit(X, y)
    monkeypatch.undo()
    assert values(model) == values(trained(MLPRegressor, samples, calls=3))


def test_many_samples_are_shared_among_threads(rng, monkeypatch, taken):
    monkeypatch.setattr(threads, "cores", lambda: 2)
    X = rng.normal(size=(3000, 20))
    model = MLPRegressor(hidden_layer_sizes=(64,), max_iter=1, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X[:50], X[:50, 0])
    used, run = [], threads.Team.run
    monkeypatch.setattr(
        threads.Team, "run", lambda self, n, *given: used.append(n) or run(self, n, *given)
    )
    expected = model.set_params(n_threads=1).predict(X)
    assert used == []
    assert np.array_equal(model.set_params(n_threads=2).predict(X), expected)
    assert used == [2]
    assert taken == ["outputs"] * 2
    X[2999, 0] = np.nan
    with pytest.raises(ValueError, match="Input X contains NaN"):
        model.predict(X)
    model.n_threads = 0
    with pytest.raises(ValueError, match="n_threads must be an integer of at least 1"):
        model.predict(X)


@pytest.mark.parametrize("cls", CLASSES)
def test_fits_check_right_arrays_once(cls, samples, monkeypatch):
    X, y = samples
    checked = cls(**SMALL, max_iter=2).fit(X.tolist(), y.tolist())
    expected = values(checked)
    monkeypatch.setattr(base, "validate_data", None)
    model = cls(**SMALL, max_iter=2).fit(X, y)
    assert values(model) == expected
    model.fit(np.c_[X, X], y.astype(np.uint8))
    assert model.n_features_in_ == 6
    monkeypatch.undo()
    bad = np.where(X[1, 1] == X, np.nan, X)
    before = values(model)
    for refused_samples in ((bad, y), (X[1:], y), (X, y[:, None, None]), (X[:0], y[:0])):
        with pytest.raises(ValueError):
            model.fit(*refused_samples)
    with pytest.raises(ValueError, match="X has 3 features, but"):
        model.partial_fit(X, y)
    assert values(model) == before
    with config_context(assume_finite=True), pytest.raises(ValueError, match="non-finite"):
        model.fit(bad, y)


@pytest.mark.parametrize("seed", [0, None, np.random.RandomState(0)], ids=["int", "none", "state"])
@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_copy_that_another_thread_makes_is_from_before_the_fit(cls, method, seed, samples):
    X, y = samples
    seen = []

    def look(model, epoch, logs):
        seen.append(in_a_thread(lambda: copy.deepcopy(model).coefs_[0]))
        seen.append(in_a_thread(lambda: copy.deepcopy(model)._optimizer.plain()["slots"]))
        seen.append(in_a_thread(lambda: copy.deepcopy(model)._random_state.get_state()[2]))
        seen.append(in_a_thread(lambda: copy.deepcopy(model)._optimizer.learning_rate))

    settings = {"batch_size": 4, "random_state": seed, "max_iter": 1, "solver": "sgd"}
    settings["learning_rate"] = "invscaling"
    model = trained(cls, samples, callbacks=look, **settings)
    seen.clear()
    expected = (
        model.coefs_[0].copy(),
        model._optimizer.slots.copy(),
        model._random_state.get_state()[2],
        model._optimizer.learning_rate,
    )
    getattr(model, method)(X, y)
    for found, before in zip(seen, expected, strict=True):
        np.testing.assert_array_equal(found, before)
