"""Words, arguments and data that people bring from other libraries: errors say what to write."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from jitprop import (
    Adam,
    AdamW,
    CrossEntropy,
    CustomLoss,
    EarlyStopping,
    Fleet,
    ReduceOnPlateau,
    RMSprop,
    Rprop,
    TargetWarning,
    Trainer,
    sweep,
)

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
        (lambda: Trainer([3, 1], qqq=2), "there are layer_sizes, activation, "),
        (lambda: Adam(learning_rate=0.1), r"Adam has no argument 'learning_rate': .* Trainer\("),
        (lambda: RMSprop(lr=0.1), "RMSprop has no argument 'lr'"),
        (lambda: Trainer([3, 1]).fit(X, Y, 1, validation_split=0.1), "validation_fraction of fit"),
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
    ids=range(14),
)
def test_arguments(call, words):
    with pytest.raises(TypeError, match=words):
        call()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"callbacks": EarlyStopping("val_loss"), "validation_fraction": 0.3}, "'validation_loss'"),
        ({"metrics": "acc"}, "it is 'accuracy'"),
    ],
    ids=str,
)
def test_names_of_numbers(arguments, words):
    with pytest.raises(ValueError, match=words):
        Trainer([3, 1]).fit(X, Y, 1, **arguments)


def test_settings_of_a_sweep():
    with pytest.raises(ValueError, match="setting 'lr' is unknown: it is learning_rate"):
        sweep(X, Y, {"lr": [0.1]}, layer_sizes=[3, 1], epochs=1)


FRAME = pd.DataFrame({"area": X[:, 0], "city": ["x"] * 10, "age": X[:, 1]})


@pytest.mark.parametrize(
    ("X", "y", "words"),
    [
        (X, ["a", "b"] * 5, "number text labels by classes, y = numpy.unique"),
        (X[:, 0], Y, r"for one sample X.reshape\(1, -1\), for one input X.reshape\(-1, 1\)"),
        (scipy.sparse.csr_matrix(X), Y, r"got a sparse matrix, of which X.toarray\(\)"),
        (FRAME, Y, "column 'city' holds .*get_dummies"),
    ],
    ids=range(4),
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
    with pytest.raises(ValueError, match="labels count from 0: take y - 1"):
        net.fit(X, [1, 2, 3, 1, 2, 3, 1, 2, 3, 1], 1)


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
    with pytest.warns(TargetWarning, match=rf"y has numbers from {low - 1} to {high}, and") as told:
        net.fit(X, outside, 1)
    assert told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net.fit(X, outside, 1)  # says it once
        net.evaluate(X, outside)


def test_streams_and_partial_fit_warn_once_too():
    net = Trainer([3, 2, 1], seed=0)
    with pytest.warns(TargetWarning, match="output_activation='identity'") as told:
        net.fit([(X, 5 * Y), (X, 7 * Y)], epochs=2)
    assert len(told) == 1
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
    with pytest.warns(TargetWarning, match="y has numbers from") as told:
        sweep(X, 100 * Y, grid, layer_sizes=[3, 2, 1], epochs=1, cv=2)
    assert [(w.category, w.filename) for w in told] == [(TargetWarning, __file__)]


def test_a_warning_made_an_error_is_raised_again():
    net = Trainer([3, 2, 1], seed=0)
    before = net.parameters.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            with pytest.raises(TargetWarning):
                net.fit(X, 5 * Y, 1)
    np.testing.assert_array_equal(net.parameters, before)
