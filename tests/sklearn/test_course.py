"""Errors in a fit, and what a fit shows."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pytest
import scipy.sparse
import sklearn.neural_network as theirs
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

import jitprop.sklearn as ours
from jitprop.training.sources import Arrays

rng = np.random.RandomState(0)
X = rng.randn(60, 5)
Y = X[:, 0] * X[:, 1]

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("activation", "sigmoidal"),
        ("solver", "newton"),
        ("loss", "hinge"),
        ("learning_rate", 0.1),
        ("alpha", -1.0),
        ("alpha", "much"),
        ("learning_rate_init", 0.0),
        ("momentum", 1.5),
        ("validation_fraction", 1.0),
        ("beta_1", 1.0),
        ("epsilon", 0.0),
        ("tol", -1.0),
        ("tol", np.inf),
        ("n_iter_no_change", 0),
        ("n_iter_no_change", 1.5),
        ("batch_size", 0),
        ("batch_size", "all"),
        ("max_iter", 0),
        ("max_fun", 0),
        ("shuffle", "yes"),
        ("verbose", -1),
        ("hidden_layer_sizes", (3, 0)),
        ("hidden_layer_sizes", 2.5),
        ("hidden_layer_sizes", iter([3])),
    ],
)
def test_bad_parameters_are_named(name, value):
    model = ours.MLPRegressor(**{name: value})
    with pytest.raises(ValueError, match=f"MLPRegressor: {name}"):
        model.fit(X, Y)
    with pytest.raises(TypeError, match=name):
        model.fit(X, Y)
    assert not hasattr(model, "coefs_")


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(59), "shape"),
        (np.ones((60, 2)), "1D"),
        (np.zeros(60), "zero"),
        (np.full(60, np.nan), "NaN"),
        (np.linspace(-1, 1, 60), "negative; got -1"),
    ],
)
def test_bad_sample_weights(weights, message):
    with pytest.raises(ValueError, match=message):
        ours.MLPRegressor().fit(X, Y, weights)


def test_a_number_is_the_weight_of_every_sample():
    ref, comp = (
        ours.MLPRegressor(max_iter=3, random_state=0).fit(X, Y, w) for w in (np.full(60, 2.0), 2.0)
    )
    np.testing.assert_array_equal(comp.coefs_[0], ref.coefs_[0])


def test_a_regressor_refuses_text():
    with pytest.raises(ValueError, match=r"y must hold numbers; got <U\d+"):
        ours.MLPRegressor().fit(X, Y.astype(str))


def test_poisson_refuses_negative_targets():
    with pytest.raises(ValueError, match="needs y >= 0"):
        ours.MLPRegressor("poisson").fit(X, Y)


def test_a_batch_without_weight_counts_nothing():
    model = ours.MLPRegressor("poisson", max_iter=2, batch_size=30, shuffle=False, alpha=0.0)
    weights = np.repeat([0.0, 1.0], 30)
    both = clone(model).set_params(random_state=0, solver="sgd").fit(X, Y**2, weights)
    half = clone(model).set_params(random_state=0, solver="sgd").fit(X[30:], Y[30:] ** 2)
    np.testing.assert_allclose(both.loss_curve_[0], half.loss_curve_[0] / 2)
    np.testing.assert_allclose(both.coefs_[0], half.coefs_[0], atol=1e-3)


def test_divergence_names_the_epoch():
    model = ours.MLPRegressor(solver="sgd", learning_rate_init=1e4, random_state=0)
    with pytest.raises(ValueError, match=r"non-finite .* epoch \d+, batch \d+, with learning rate"):
        model.fit(X, 100 * Y)


def test_what_is_printed_is_what_scikit_learn_prints(capsys):
    settings = {"max_iter": 80, "verbose": True, "random_state": 0, "tol": 0.05, "solver": "sgd"}
    printed = []
    for module in (theirs, ours):
        for more in (
            {"verbose": np.True_},
            {"early_stopping": True},
            {"learning_rate": "adaptive"},
        ):
            module.MLPRegressor(**settings | more).fit(X, Y)
        printed.append(capsys.readouterr().out)
    numbers = [re.findall(r"[^\s=]+$", text, flags=re.MULTILINE) for text in printed]
    words = [re.sub(r"[-\d.e]+$", "", text, flags=re.MULTILINE) for text in printed]
    assert words[1] == words[0]
    assert len(numbers[1]) == len(numbers[0]) > 30


def test_interrupted_it_keeps_whole_epochs(monkeypatch):
    train, calls = Arrays.train, []

    def interrupted(self, state, *args):
        calls.append(1)
        if len(calls) == 3:
            state.params[:] = np.nan
            raise KeyboardInterrupt
        return train(self, state, *args)

    settings = {"batch_size": 1, "random_state": 0, "hidden_layer_sizes": (200, 100)}
    monkeypatch.setattr(Arrays, "train", interrupted)
    monkeypatch.setattr("jitprop.sklearn.course.CHEAP_WORK", 0)
    model = ours.MLPRegressor(n_iter_no_change=1, tol=0.0, max_iter=9, **settings)
    with pytest.warns(UserWarning, match="interrupted by user"):
        model.fit(X, Y)
    monkeypatch.undo()
    assert 1 <= model.n_iter_ < 9
    assert len(model.loss_curve_) == model.n_iter_
    ref = ours.MLPRegressor(max_iter=model.n_iter_, **settings).fit(X, Y)
    np.testing.assert_array_equal(model.coefs_[0], ref.coefs_[0])


def test_epochs_are_told_as_they_pass_and_an_interrupt_loses_but_a_tenth_of_a_second(monkeypatch):
    train, calls = Arrays.train, []

    def counted(self, state, losses, *args):
        calls.append(len(losses))
        return train(self, state, losses, *args)

    monkeypatch.setattr(Arrays, "train", counted)
    settings = {"n_iter_no_change": np.inf, "max_iter": 3}
    ours.MLPRegressor(**settings).fit(X, Y)
    ours.MLPRegressor(**settings, verbose=True).fit(X, Y)
    ours.MLPRegressor(hidden_layer_sizes=(2000, 2000), **settings).fit(X.astype(np.float32), Y)
    assert calls == [3] + [1] * 6


def test_epochs_do_not_depend_on_how_many_make_a_call(monkeypatch):
    settings = {"batch_size": 16, "tol": 0.01, "n_iter_no_change": 4, "learning_rate_init": 0.01}
    made = []
    for cheap in (0, 1e7):
        monkeypatch.setattr("jitprop.sklearn.course.CHEAP_WORK", cheap)
        made.append(ours.MLPRegressor(random_state=np.random.RandomState(0), **settings).fit(X, Y))
    ref, comp = made
    assert 5 < comp.n_iter_ == ref.n_iter_ < 200
    assert comp.loss_curve_ == ref.loss_curve_
    np.testing.assert_array_equal(comp.coefs_[0], ref.coefs_[0])
    assert comp.random_state.randint(1 << 30) == ref.random_state.randint(1 << 30)


@pytest.mark.parametrize("convert", [scipy.sparse.csr_matrix, scipy.sparse.csc_array])
def test_sparse_samples(convert):
    ref = ours.MLPRegressor(max_iter=3, random_state=0).fit(X, Y)
    comp = ours.MLPRegressor(max_iter=3, random_state=0).fit(convert(X), Y)
    np.testing.assert_array_equal(comp.predict(convert(X)), ref.predict(X))


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_a_pickled_model_goes_on_to_the_same_bits(solver):
    model = ours.MLPRegressor(solver=solver, random_state=np.random.RandomState(0))
    model.partial_fit(X, Y)
    copy = pickle.loads(pickle.dumps(model))
    for one in (model, copy):
        one.partial_fit(X, Y)
    np.testing.assert_array_equal(copy.coefs_[0], model.coefs_[0])
    assert not hasattr(clone(model), "coefs_")


@pytest.mark.parametrize(
    ("setting", "y"),
    [({"hidden_layer_sizes": (3,)}, Y), ({"hidden_layer_sizes": (9, 9)}, Y), ({}, X[:, :2])],
)
def test_training_goes_on_with_the_same_layers_or_not_at_all(setting, y):
    model = ours.MLPRegressor(
        hidden_layer_sizes=(9,), max_iter=2, random_state=0, warm_start=True
    ).fit(X, Y)
    before = pickle.dumps(model.coefs_)
    model.set_params(**setting)
    for go_on in (model.fit, model.partial_fit):
        with pytest.raises(
            ValueError, match=r"present net, whose layer sizes are \[5, 9, 1\]; .* need \[5, "
        ):
            go_on(X, y)
    assert pickle.dumps(model.coefs_) == before


def test_another_solver_goes_on():
    model = ours.MLPRegressor(
        hidden_layer_sizes=(9,), solver="lbfgs", max_iter=5, random_state=0, warm_start=True
    )
    first = model.fit(X, Y).loss_
    model.set_params(solver="adam").fit(X, Y)
    assert len(model.loss_curve_) == 5
    np.testing.assert_allclose(model.loss_curve_[0], first, rtol=1e-9)
    second = model.loss_
    assert model.set_params(solver="lbfgs").fit(X, Y).loss_ < second


def test_lbfgs_tells_that_it_has_not_converged():
    with pytest.warns(ConvergenceWarning, match="max_iter=2"):
        ours.MLPRegressor(solver="lbfgs", max_iter=2).fit(X, Y)


@pytest.mark.parametrize(
    "setting",
    [
        {"max_iter": 1},
        {"max_iter": 1, "solver": "lbfgs"},
        {"max_iter": 1, "n_members": 2},
        {"batch_size": 99, "tol": 1.0},
        {"batch_size": 99, "tol": 1.0, "n_members": 2},
        {"solver": "sgd", "learning_rate_init": 1e9, "early_stopping": True},
    ],
)
@pytest.mark.filterwarnings("default")
def test_warnings_name_the_line_that_called_fit(setting):
    with pytest.warns(UserWarning, match="converged yet|status=1|clipped|inf or nan") as caught:
        ours.MLPRegressor(**setting).fit(X, Y)
    assert {warning.filename for warning in caught} == {__file__}


def test_there_is_no_partial_fit_with_lbfgs():
    assert not hasattr(ours.MLPRegressor(solver="lbfgs"), "partial_fit")
    assert hasattr(ours.MLPRegressor(), "partial_fit")
    with pytest.raises(ValueError, match="early_stopping"):
        ours.MLPRegressor(early_stopping=True).partial_fit(X, Y)
