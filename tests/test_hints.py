"""Errors say what to write in place of other libraries' names, arguments and data."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse

from jitprop import (
    SGD,
    Adam,
    AdamW,
    Cosine,
    CrossEntropy,
    CustomLoss,
    EarlyStopping,
    Fleet,
    LeakyReLU,
    ReduceOnPlateau,
    RMSprop,
    Rprop,
    TargetWarning,
    Trainer,
    sweep,
)
from jitprop.sklearn import MLPClassifier, MLPRegressor

X = np.random.default_rng(0).random((10, 3))
Y = np.random.default_rng(1).random(10)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"loss": "mse"}, "'squared_error', with the factor 1/2 'half_squared_error'"),
        ({"loss": "mae"}, "'absolute_error'"),
        ({"loss": "sparse_categorical_crossentropy"}, "'cross_entropy' with output_activation="),
        ({"loss": "binary_crossentropy"}, "'binary_cross_entropy'"),
        ({"activation": "linear"}, "no activation is 'identity'"),
        ({"output_activation": "logistic"}, "it is 'sigmoid'"),
        ({"activation": ["swish"]}, r"activation\[0\] 'swish' is unknown: it is 'silu'"),
        ({"optimizer": "nesterov"}, r"SGD\(momentum=0.9, nesterov=True\)"),
    ],
    ids=str,
)
@pytest.mark.parametrize("cls", [Trainer, Fleet])
def test_words(cls, settings, words):
    more = {"members": 2} if cls is Fleet else {}
    with pytest.raises(ValueError, match=words):
        cls([3, 2, 1], **settings, **more)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Trainer([3, 1], lr=0.1), "Trainer has no argument 'lr': here it is learning_rate"),
        (lambda: Fleet([3, 1], members=2, random_state=1), "here it is seed"),
        (lambda: Trainer([3, 1], layers=2), "did you mean layer_sizes"),
        (lambda: Trainer([3, 1], hidden=2), r"it is layer_sizes, which includes .* \[4, 16, 1\]"),
        (lambda: Trainer([3, 1], epochs=2), r"write fit\(X, y, epochs=100\)"),
        (lambda: Trainer([3, 1], qqq=2), "its arguments are layer_sizes, activation, "),
        (lambda: Adam(learning_rate=0.1), r"Adam has no argument 'learning_rate': .* Trainer\("),
        (lambda: RMSprop(lr=0.1), r"RMSprop has no argument 'lr': write Trainer\(.*learning_rate="),
        (lambda: RMSprop(eps_in_sqrt=True), "here it is epsilon_in_root"),
        (lambda: RMSprop(alpha=0.9), "here it is rho"),
        (lambda: LeakyReLU(alpha=0.2), "here it is negative_slope"),
        (lambda: SGD(dampening=0.1), "jitprop has no such setting"),
        (lambda: Trainer([3, 1], epsilon_hat=True), r"write optimizer=Adam\(epsilon_hat=True\)"),
        (lambda: Adam(weight_decay=0.1), r"write Trainer\(..., weight_decay=...\)"),
        (lambda: EarlyStopping(restore_best_weights=True), "here it is restore_best"),
        (lambda: ReduceOnPlateau(0.1, min_lr=0.01), "here it is minimum"),
        (
            lambda: Trainer([3, 1], learning_rate=ReduceOnPlateau),
            "write ReduceOnPlateau",
        ),
        (lambda: Trainer([3, 1], output_activation=None), "no activation is 'identity'"),
        (lambda: Trainer([3, 1]).fit(X, Y, 1, validation_split=0.1), "is validation_fraction"),
        (
            lambda: Trainer([3, 1]).fit(X, Y, 1, batch_size=2),
            r"write Trainer\(..., batch_size=...\)",
        ),
        (lambda: Trainer([3, 1]).fit(X, Y, 1, lr=2), r"write Trainer\(..., learning_rate=0.01\)"),
        (
            lambda: Fleet([3, 1], members=2).fit(X, Y, 1, metrics="mse"),
            "write trainer.fit",
        ),
        (lambda: Fleet([3, 1], members=2).fit(X, Y, 1, verbose=1), "progress=True draws a bar"),
        (lambda: Trainer([3, 1], optimizer=Adam), r"got Adam \(type\): write Adam\(\)"),
        (lambda: Trainer([3, 1], loss=CrossEntropy), r"write CrossEntropy\(\)"),
        (lambda: Trainer([3, 1]).fit(X, Y), r"as in fit\(X, y, epochs=100\)"),
        (
            lambda: Trainer([3, 1]).fit(X, Y, 1, callbacks=ReduceOnPlateau),
            "it is a schedule, learning_rate=ReduceOnPlateau",
        ),
        (
            lambda: Trainer([3, 1]).fit(X, Y, 1, callbacks=ReduceOnPlateau(0.1)),
            "it is a schedule, learning_rate=ReduceOnPlateau",
        ),
        (lambda: Trainer([3, 1]).fit(X, Y, 1, callbacks=EarlyStopping), "write EarlyStopping"),
    ],
    ids=range(29),
)
def test_arguments(call, words):
    with pytest.raises(TypeError, match=words):
        call()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"callbacks": EarlyStopping("val_loss"), "validation_fraction": 0.3}, "'validation_loss'"),
        ({"callbacks": EarlyStopping("val_mae"), "metrics": "mae"}, "'validation_mae'"),
        ({"metrics": "acc"}, "it is 'accuracy'"),
        ({"metrics": ["mae", "auc"]}, r"metrics\[1\] .* function of \(y, prediction\)"),
    ],
    ids=str,
)
def test_names_of_numbers(arguments, words):
    with pytest.raises(ValueError, match=words):
        Trainer([3, 1]).fit(X, Y, 1, **arguments)


def test_settings_of_a_sweep():
    with pytest.raises(ValueError, match="setting 'lr' is unknown: it is learning_rate"):
        sweep(X, Y, {"lr": [0.1]}, layer_sizes=[3, 1], epochs=1)
    with pytest.raises(ValueError, match="a sweep holds out folds, as with cv=5, or takes"):
        sweep(X, Y, {"seed": [1]}, layer_sizes=[3, 1], epochs=1, validation_split=0.2)
    with pytest.raises(ValueError, match=r"for one input numpy.reshape\(X, \(-1, 1\)\)"):
        sweep(X[:, 0], Y, {"seed": [1]}, layer_sizes=[1, 1], epochs=1)


@pytest.mark.parametrize("cls", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"lr": 0.1}, "has no argument 'lr': here it is learning_rate_init"),
        ({"epochs": 5}, "here it is max_iter"),
        ({"activation": "linear"}, "no activation is 'identity'"),
        ({"solver": "adamw"}, "Trainer has optimizer='adamw'"),
        ({"learning_rate": 0.01}, "the rate itself is learning_rate_init"),
        ({"callbacks": EarlyStopping}, "write early_stopping=True"),
        ({"callbacks": [EarlyStopping()]}, "write early_stopping=True"),
        ({"callbacks": ReduceOnPlateau(0.1)}, "learning_rate='invscaling' and 'adaptive'"),
        ({"callbacks": Cosine(0.1, 10)}, "learning_rate='invscaling' and 'adaptive'"),
        ({"callbacks": dict}, r"write dict\(\.\.\.\)"),
    ],
    ids=str,
)
def test_parameters_of_estimators(cls, parameters, words):
    with pytest.raises(TypeError, match=words):
        cls(**parameters).fit(X, Y > 0.5)


def test_losses_of_a_regressor():
    with pytest.raises(ValueError, match="loss 'mse' is unknown: it is 'squared_error'; known are"):
        MLPRegressor(loss="mse").fit(X, Y)


FRAME = pd.DataFrame({"area": X[:, 0], "city": ["x"] * 10, "age": X[:, 1]})


@pytest.mark.parametrize(
    ("X", "y", "words"),
    [
        (X, ["a", "b"] * 5, "text labels into numbers by classes, y = numpy"),
        (
            X,
            pd.DataFrame({"t": ["a", "b"] * 5}),
            "text labels into numbers by classes, y = numpy",
        ),
        (X[:, 0], Y, r"one sample use numpy.reshape\(X, \(1, -1\)\), for one input numpy.reshape"),
        (scipy.sparse.csr_matrix(X), Y, r"got a sparse matrix: convert it by X.toarray\(\)"),
        (FRAME, Y, "column 'city' holds text .*pandas.get_dummies"),
        (pl.DataFrame(FRAME.to_dict("list")), Y, "column 'city' holds text .*X.to_dummies"),
        (pa.table(FRAME.to_dict("list")), Y, "column 'city' holds text"),
        (FRAME.assign(city=pd.Timestamp("2020-02-02")), Y, "'city' holds dates .*such as days"),
        (FRAME.assign(city=pd.array([1, None] * 5)), Y, "column 'city' has missing .*fillna"),
        ([["x", 1, 2]] * 10, Y, "got text .*convert it to numbers"),
    ],
    ids=range(10),
)
def test_samples(X, y, words):
    net = Trainer([3, 2, 1], seed=0)
    before = net.parameters.copy()
    with pytest.raises((TypeError, ValueError), match=words):
        net.fit(X, y, 1)
    with pytest.raises((TypeError, ValueError), match=words):
        Fleet([3, 2, 1], members=2, seed=[0, 1]).fit(X, y, 1)
    np.testing.assert_array_equal(net.parameters, before)


def test_labels_from_1():
    net = Trainer([3, 3], output_activation="softmax", loss="cross_entropy")
    with pytest.raises(ValueError, match=r"from 0 to 2 \(use y - 1\); y\[2\] is 3"):
        net.fit(X, [1, 2, 3, 1, 2, 3, 1, 2, 3, 1], 1)
    with pytest.raises(ValueError, match=r"\(classes, y = numpy.unique\(y, return_inverse=True\)"):
        net.fit(X, [10, 20] * 5, 1)


@pytest.mark.parametrize("two", [(-1, 1), (1, 2)])
def test_two_classes_that_are_not_0_and_1(two):
    net = Trainer([3, 1], loss="binary_cross_entropy")
    with pytest.raises(ValueError, match=f"for two classes y is 0 or 1: use y == {two[1]}"):
        net.fit(X, two * 5, 1)


@pytest.mark.parametrize(
    ("optimizer", "rate"),
    [("sgd", 0.1), ("adam", 0.001), (AdamW(), 0.001), (RMSprop(), 0.001), (Rprop(), 0.1)],
    ids=str,
)
def test_the_default_learning_rate_is_the_optimizers(optimizer, rate, tmp_path):
    net = Trainer([3, 1], optimizer=optimizer)
    assert net.learning_rate == rate
    assert Fleet([3, 1], members=2, optimizer=optimizer).learning_rate.tolist() == [rate, rate]
    net.learning_rate = 0.25
    net.save(tmp_path / "net")
    assert Trainer.load(tmp_path / "net").learning_rate == 0.25
    net.learning_rate = None
    assert net.learning_rate == rate


def test_a_sweep_over_optimizers_gives_each_its_own_rate():
    found = sweep(X, Y, {"optimizer": ["sgd", "adam"]}, layer_sizes=[3, 1], epochs=2, cv=2, seed=0)
    rates = {"sgd": 0.1, "adam": 0.001}
    grid = [{"optimizer": name, "learning_rate": rate} for name, rate in rates.items()]
    given = sweep(X, Y, grid, layer_sizes=[3, 1], epochs=2, cv=2, seed=0)
    losses = [result.columns["validation_loss"] for result in (found, given)]
    np.testing.assert_array_equal(*losses)


REACHES = {"sigmoid": (0, 1), "tanh": (-1, 1), "relu": (0, 9), "softplus": (0, 9), "exp": (0, 9)}
REACHES |= {"selu": (-1, 9), "mish": (0, 9), "softsign": (-1, 1), "hard_sigmoid": (0, 1)}


@pytest.mark.parametrize("cls", [Trainer, Fleet])
@pytest.mark.parametrize("output", [*REACHES, "identity", "leaky_relu"])
def test_targets_that_the_output_cannot_reach(output, cls):
    low, high = REACHES.get(output, (-99, 99))
    more = {"members": 2} if cls is Fleet else {}
    make = lambda: cls([3, 2, 1], output_activation=output, seed=0, **more)  # noqa: E731
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make().fit(X, np.linspace(low, high, 10), 1)
    if output not in REACHES:
        return
    outside = np.linspace(low - 1, high, 10)
    net = make()
    with pytest.warns(
        TargetWarning, match=rf"y has numbers from {low - 1} to {high}, and"
    ) as caught:
        net.fit(X, outside, 1)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net.fit(X, outside, 1)  # it warns only once
        net.evaluate(X, outside)


def test_streams_and_partial_fit_warn_once_too():
    net = Trainer([3, 2, 1], seed=0)
    with pytest.warns(TargetWarning, match="output_activation='identity'") as caught:
        net.fit([(X, 5 * Y), (X, 7 * Y)], epochs=2)
    assert len(caught) == 1
    net = Trainer([3, 2, 1], seed=0)
    with pytest.warns(TargetWarning):
        net.partial_fit(X, 5 * Y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net.partial_fit(X, 5 * Y)


def test_scaled_targets_may_round_beyond_the_range():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Trainer([3, 2, 1], seed=0).fit(X, np.linspace(-1e-9, 1 + 1e-9, 10), 1)
        prices = np.linspace(-1e-9, 1e6, 10)
        Trainer([3, 2, 1], output_activation="relu", seed=0).fit(X, prices, 1)


def test_a_loss_of_ones_own_may_mean_other_things_by_targets():
    hinge = CustomLoss(lambda a, y: a * y, lambda a, y: y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Trainer([3, 2, 1], loss=hinge, seed=0, backend="numpy").fit(X, np.where(Y > 0.5, 1, -1), 1)


@pytest.mark.parametrize("cls", [Trainer, Fleet])
def test_targets_that_count_0_need_not_be_reached(cls):
    more = {"members": 2} if cls is Fleet else {}
    y, weights = np.append(Y[:9], -999), np.append(np.ones(9), 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cls([3, 2, 1], seed=0, **more).fit(X, y, 1, sample_weight=weights)
        if cls is Fleet:
            each = np.tile(weights, (2, 1))
            cls([3, 2, 1], seed=0, **more).fit(X, y, 1, sample_weight=each)
            cls([3, 2, 1], seed=0, **more).fit(X, np.tile(y, (2, 1)), 1, sample_weight=weights)
    if cls is Fleet:
        each[1, 9] = 1
        with pytest.warns(TargetWarning, match="from -999"):
            cls([3, 2, 1], seed=0, **more).fit(X, y, 1, sample_weight=each)


def test_a_sweep_warns_once_for_all_settings():
    grid = {"activation": ["tanh", "relu"], "seed": [0, 1]}
    with pytest.warns(TargetWarning, match="y has numbers from") as caught:
        sweep(X, 100 * Y, grid, layer_sizes=[3, 2, 1], epochs=1, cv=2)
    assert [(w.category, w.filename) for w in caught] == [(TargetWarning, __file__)]


def test_a_warning_made_an_error_is_raised_again():
    net = Trainer([3, 2, 1], seed=0)
    before = net.parameters.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            with pytest.raises(TargetWarning):
                net.fit(X, 5 * Y, 1)
    np.testing.assert_array_equal(net.parameters, before)
