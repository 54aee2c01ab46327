"""The solver "lm": Levenberg-Marquardt for the estimators, from one start or several."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from jitprop import Fleet, Huber, LevenbergMarquardt
from jitprop.sklearn import MLPClassifier, MLPRegressor

RNG = np.random.default_rng(1)
X = RNG.normal(size=(60, 3))
Y = np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2]
TWO = Y > 0
THREE = np.digitize(Y, [-0.7, 0.7])
SMALL = {"hidden_layer_sizes": (4,), "activation": "tanh", "solver": "lm", "random_state": 0}

SAMPLES = [
    (MLPRegressor(), Y),
    (MLPRegressor(), np.c_[Y, X[:, 0] ** 2]),
    (MLPRegressor("poisson"), np.exp(Y)),
    (MLPRegressor(Huber(0.5)), Y),
    (MLPClassifier(), TWO),
    (MLPClassifier(), THREE),
    (MLPClassifier(), np.c_[TWO, X[:, 0] > 0]),
]
IDS = ["one target", "two targets", "poisson", "huber", "two classes", "three", "multilabel"]


def fitted(model, y, weights=None, **settings):
    model = clone(model).set_params(**{**SMALL, "alpha": 0.1, "tol": 1e-9, "max_iter": 500})
    return model.set_params(**settings).fit(X, y, weights)


@pytest.mark.parametrize("weights", [None, RNG.integers(0, 4, 60).astype(float)])
@pytest.mark.parametrize(("model", "y"), SAMPLES, ids=IDS)
def test_a_convex_fit_is_the_one_of_lbfgs(model, y, weights):
    """Without hidden layers there is one minimum: objective, penalty and weights are the same."""
    if isinstance(model, MLPRegressor) and y.ndim == 2:
        y = y @ [1.0, 0.5]  # scikit-learn's loss of two targets is not the one it minimises
    linear = {"hidden_layer_sizes": (), "alpha": 2.0}
    lm = fitted(model, y, weights, **linear)
    lbfgs = fitted(model, y, weights, **linear, solver="lbfgs", max_iter=5000)
    np.testing.assert_allclose(lm.coefs_[0], lbfgs.coefs_[0], rtol=1e-3, atol=1e-4)
    assert lm.loss_ == pytest.approx(lbfgs.loss_, rel=1e-6)


@pytest.mark.parametrize(("model", "y"), SAMPLES, ids=IDS)
def test_it_reaches_a_smaller_objective_than_adam(model, y):
    lm = fitted(model, y)
    with pytest.warns(ConvergenceWarning):
        adam = fitted(model, y, solver="adam", max_iter=200, tol=0.0)
    assert lm.loss_ < adam.loss_
    assert lm.n_iter_ == len(lm.loss_curve_) < 500
    assert lm.stopped_
    assert lm.t_ == 60 * lm.n_iter_
    assert lm.score(X, y) > adam.score(X, y) - 0.05


def test_alpha_is_divided_by_the_weights_as_in_scikit_learn():
    weights = RNG.uniform(0.5, 2, 60)
    model = fitted(MLPRegressor(), Y, weights)
    loss = 0.5 * np.average((model.predict(X) - Y) ** 2, weights=weights)
    penalty = 0.1 / 2 * sum((W**2).sum() for W in model.coefs_) / weights.sum()
    assert model.loss_ == pytest.approx(loss + penalty, rel=1e-9)
    assert model.loss_curve_[-1] == pytest.approx(loss, rel=1e-9)
    assert model.best_loss_ == min(model.loss_curve_)


def test_the_best_of_several_starts_is_the_model():
    one = fitted(MLPRegressor(), Y)
    many = fitted(MLPRegressor(), Y, n_members=8)
    assert many.loss_ < one.loss_
    assert not hasattr(many, "fleet_")
    assert many.coefs_[0].shape == (3, 4)
    assert many.predict(X).shape == (60,)
    assert [a.shape for a in many.hidden_activations(X)] == [(60, 4)]
    with pytest.raises(ValueError, match="return_std"):
        many.predict(X, return_std=True)
    with pytest.warns(ConvergenceWarning):
        averaged = MLPRegressor(n_members=2, max_iter=3).fit(X, Y)
    assert hasattr(averaged, "fleet_")
    assert not hasattr(averaged.set_params(**SMALL, max_iter=200).fit(X, Y), "fleet_")


def test_starts_are_a_fleet_with_the_same_settings():
    model = fitted(MLPClassifier(), THREE, n_members=3)
    random = np.random.RandomState(0)
    starts = []
    for _ in range(3):
        layers = []
        for n_in, n_out in ((3, 4), (4, 3)):
            bound = np.sqrt(6 / (n_in + n_out))
            layers += [random.uniform(-bound, bound, shape) for shape in ((n_in, n_out), n_out)]
        starts.append(layers)
    W0, b0, W1, b1 = (np.stack(arrays) for arrays in zip(*starts, strict=True))
    fleet = Fleet(
        [3, 4, 3], members=3, activation="tanh", output_activation="softmax",
        loss="cross_entropy", optimizer=LevenbergMarquardt(tolerance=1e-9),
        weight_decay=0.1 / 60, init=([W0, W1], [b0, b1]), seed=0,
    )  # fmt: skip
    history = fleet.fit(X, THREE, 500)
    penalty = 0.1 / 120 * sum((W**2).sum(axis=(1, 2)) for W in fleet.weights)
    objective = fleet.evaluate(X, THREE) + penalty
    best = int(objective.argmin())
    assert model.loss_ == pytest.approx(objective[best], rel=1e-6)
    assert model.n_iter_ == history.epochs[best]
    np.testing.assert_allclose(model.predict_proba(X), fleet.predict(X)[best], atol=1e-5)


def test_early_stopping_watches_the_validation_loss():
    noisy = Y + RNG.normal(0, 0.7, 60)
    settings = {"hidden_layer_sizes": (12,), "alpha": 0.0, "early_stopping": True, "tol": 1e-6}
    model = fitted(MLPRegressor(), noisy, **settings, validation_fraction=0.3, n_members=3)
    assert model.n_iter_ == len(model.validation_scores_) == len(model.validation_loss_curve_)
    assert model.best_validation_score_ == max(model.validation_scores_)
    assert model.best_loss_ is None
    assert model.stopped_
    given = MLPRegressor().set_params(**SMALL | settings)
    given.fit(X[:40], noisy[:40], X_val=X[40:], y_val=noisy[40:])
    loss = 0.5 * ((given.predict(X[40:]) - noisy[40:]) ** 2).mean()
    assert loss == pytest.approx(min(given.validation_loss_curve_), rel=1e-9)  # of the best epoch
    assert given.validation_loss_curve_[-1] > loss
    plain = MLPRegressor().set_params(**SMALL).fit(X, Y, X_val=X, y_val=Y)
    assert plain.validation_loss_curve_ == pytest.approx(plain.loss_curve_)


def test_early_stopping_with_infinite_patience_keeps_the_best_weights():
    model = MLPRegressor().set_params(
        **SMALL, max_iter=30, tol=0.0, early_stopping=True, n_iter_no_change=np.inf
    )
    with pytest.warns(ConvergenceWarning, match="Levenberg-Marquardt: Maximum iterations"):
        model.fit(X, Y)
    assert model.n_iter_ == 30


def test_a_warm_start_begins_with_the_present_net():
    with pytest.warns(ConvergenceWarning):
        model = fitted(MLPRegressor(), Y, max_iter=5, warm_start=True, n_members=2)
    before = model.loss_
    model.set_params(max_iter=500).fit(X, Y)
    assert model.loss_ < before
    assert model.fit(X, Y).loss_ <= model.loss_
    with pytest.warns(ConvergenceWarning):
        adam = MLPRegressor(hidden_layer_sizes=(4,), max_iter=3, warm_start=True).fit(X, Y)
    before = adam.loss_
    assert adam.set_params(solver="lm", max_iter=200).fit(X, Y).loss_ < before


def test_class_weights_and_sample_weights():
    balanced = fitted(MLPClassifier(), THREE, class_weight="balanced")
    counts = np.bincount(THREE)
    by_hand = fitted(MLPClassifier(), THREE, (60 / (3 * counts))[THREE])
    np.testing.assert_array_equal(balanced.coefs_[0], by_hand.coefs_[0])
    plain = fitted(MLPClassifier(), THREE)
    assert not np.array_equal(balanced.coefs_[0], plain.coefs_[0])


@pytest.mark.parametrize("n_threads", [1, 2])
def test_float32_samples_are_computed_in_float64(n_threads):
    model = MLPRegressor(
        hidden_layer_sizes=(), solver="lm", random_state=0, tol=0.0, n_threads=n_threads
    )
    single = model.fit(X.astype(np.float32), Y).coefs_
    assert single[0].dtype == np.float32
    double = clone(model).fit(X.astype(np.float32).astype(float), Y.astype(np.float32)).coefs_
    np.testing.assert_allclose(single[0], double[0], rtol=1e-5)


def test_the_same_bits_on_any_number_of_threads():
    one = fitted(MLPClassifier(), THREE, n_members=5, n_threads=1)
    for n_threads in (2, None):
        other = fitted(MLPClassifier(), THREE, n_members=5, n_threads=n_threads)
        for ours, theirs in zip(one.coefs_, other.coefs_, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        assert one.loss_curve_ == other.loss_curve_


def test_clone_pickle_search_and_pipeline():
    model = MLPRegressor().set_params(**SMALL, n_members=2)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), model),
        {"mlpregressor__hidden_layer_sizes": [(1,), (6,)]},
        cv=3,
    ).fit(X, Y)
    assert search.best_params_ == {"mlpregressor__hidden_layer_sizes": (6,)}
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    np.testing.assert_array_equal(again.predict(X), search.predict(X))
    assert clone(again[-1]).solver == "lm"


def test_verbose_and_convergence_warning(capsys):
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(3\) reached"):
        fitted(MLPRegressor(), Y, max_iter=3, verbose=True)
    assert capsys.readouterr().out.count("Iteration") == 3


def test_there_is_no_partial_fit():
    assert not hasattr(MLPRegressor(solver="lm"), "partial_fit")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (MLPRegressor(solver="lm", dropout=0.5), "dropout needs solver 'sgd' or 'adam'; got 'lm'"),
        (MLPRegressor(solver="lm", callbacks=print), "callbacks needs solver"),
        (MLPRegressor(solver="lm", keep_optimizer=True), "keep_optimizer needs solver"),
        (MLPRegressor(solver="lm", bootstrap=True, n_members=2), "bootstrap needs solver"),
        (MLPRegressor(solver="lbfgs", n_members=2), "n_members needs solver 'sgd' or 'adam' or"),
        (MLPRegressor("quantile", solver="lm"), "loss must be one of squared_error, poisson, hub"),
        (MLPClassifier(solver="lm", early_stopping=True, scoring="f1"), "scoring must be None or"),
        (
            MLPRegressor(hidden_layer_sizes=(5000,), solver="lm"),
            "hidden_layer_sizes must make a net of at most",
        ),
        (MLPRegressor(solver="levenberg"), "solver 'levenberg' is unknown"),
    ],
)
def test_bad_parameters_are_named_and_nothing_changes(model, message):
    before = dict(vars(model))
    with pytest.raises(ValueError, match=message):
        model.fit(X, Y)
    assert vars(model).keys() <= before.keys() | {"_prepared"}


def test_ctrl_c_ends_it_with_an_error(monkeypatch):
    def interrupts(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr("jitprop.sklearn.levenberg.print_losses", interrupts)
    with pytest.raises(KeyboardInterrupt):
        fitted(MLPRegressor(), Y, verbose=True)
