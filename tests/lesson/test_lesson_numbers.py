"""The numbers of a lesson's page, in Chromium, against `Trainer.trace` and `Trainer.fit`."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neural_network import MLPRegressor

from jitprop import (
    ELU,
    SGD,
    Adam,
    AdamW,
    BinaryCrossEntropy,
    CrossEntropy,
    CustomActivation,
    CustomLoss,
    Huber,
    LeakyReLU,
    LevenbergMarquardt,
    Quantile,
    RMSprop,
    Rprop,
    Softplus,
    Step,
    Trainer,
)
from jitprop.cli.lessons import NOTEBOOKS
from jitprop.convert import from_sklearn
from jitprop.net.spec import HIDDEN_ACTIVATIONS
from jitprop.teaching import lesson

EPOCHS = 10

STEP = """
const [at, sample] = arguments;
const { run } = App.state;
const { z, a, delta, loss, gradient, change } = Engine.step(
    run.net, run.snapshots[at], Data.samples, sample);
return { z, a, delta, loss, gradient, change };
"""

TRAIN = """
const training = App.trainer(App.wanted());
const losses = [];
for (let k = 0; k < arguments[0]; k++) losses.push(training.epoch());
return { params: training.params, losses };
"""


def agree(found, expected, tolerance=1e-12):
    found, expected = np.asarray(found, float), np.asarray(expected, float)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance * max(1.0, np.abs(expected).max())


def flat(weights, biases):
    return np.concatenate([x.ravel() for pair in zip(weights, biases, strict=True) for x in pair])


def same_step(found, trace, with_change=True):
    for name in ("z", "a", "delta"):
        for page, ours in zip(found[name], getattr(trace, name), strict=True):
            agree(page, ours)
    agree(found["loss"], trace.loss)
    agree(found["gradient"], flat(trace.d_weights, trace.d_biases))
    if with_change:
        agree(found["change"], flat(trace.update_weights, trace.update_biases))


def squared(a, y):
    return (a - y) ** 2


OPTIMIZERS = [
    ("sgd", 0.1), (SGD(0.9), 0.02), (SGD(0.8, nesterov=True), 0.02), (Adam(), 0.01),
    (AdamW(0.8, 0.99), 0.01), (RMSprop(), 0.003), (RMSprop(0.9, momentum=0.5), 0.002),
    (Rprop(), 0.02), (Rprop(backtracking=True), 0.02), (Adam(epsilon=0.01, epsilon_hat=True), 0.02),
    (SGD(0.9, rate_in_velocity=False), 0.02),
    (RMSprop(0.9, 0.5, epsilon=1e-3, epsilon_in_root=True, rate_in_velocity=False), 0.002),
    (SGD(0.8, nesterov=True, rate_in_velocity=False), 0.02),
]  # fmt: skip
LOSSES = [
    ("half_squared_error", "sigmoid"), ("squared_error", "tanh"), (Huber(0.4), "identity"),
    ("absolute_error", "identity"), (Quantile(0.3), "identity"), ("poisson", "exp"),
    ("poisson", "identity"), ("gaussian_nll", "identity"), ("binary_cross_entropy", "sigmoid"),
    (BinaryCrossEntropy(label_smoothing=0.1, class_weight={0: 1.0, 1: 2.5}), "sigmoid"),
    ("cross_entropy", "softmax"), (CrossEntropy(class_weight={0: 1.0, 1: 2.0, 2: 0.5}), "softmax"),
]  # fmt: skip


def random_net(number):
    """Return a trainer and data; over 20 numbers every activation, loss and optimizer occurs."""
    rng = np.random.default_rng(number)
    loss, output = LOSSES[number % len(LOSSES)]
    optimizer, rate = OPTIMIZERS[number % len(OPTIMIZERS)]
    n = int(rng.integers(3, 24))
    hidden = [int(rng.integers(1, 8)) for _ in range(number % 4)]
    n_in, n_targets = int(rng.integers(1, 6)), int(rng.integers(1, 4))
    y = rng.random((n, n_targets))
    if output == "softmax":
        n_targets, y = 3, rng.integers(0, 3, n)
        y[:3] = 0, 1, 2
    elif isinstance(loss, BinaryCrossEntropy):
        n_targets, y = 1, np.arange(n) % 2
    full = isinstance(optimizer, Rprop)
    names = np.roll(HIDDEN_ACTIVATIONS, -number)
    trainer = Trainer(
        [n_in, *hidden, 2 * n_targets if loss == "gaussian_nll" else n_targets],
        activation=[str(name) for name in names[: len(hidden)]],
        output_activation=output,
        loss=loss,
        reduction=("mean", "sum")[number // 2 % 2],
        optimizer=optimizer,
        learning_rate=rate / 4,
        weight_decay=(0.0, 0.01)[number // 3 % 2],
        decay_biases=number // 3 % 4 == 3,
        dropout=0.3 if number % 7 == 6 else 0.0,
        clip_norm=0.5 if number % 5 == 4 else None,
        batch_size=None if full else (None, 1, 4, 7)[number // 5 % 4],
        learning_rate_factors=None if full or number % 6 < 5 else [0.5] * (len(hidden) + 1),
        seed=number,
    )
    return trainer, rng.normal(size=(n, n_in)), y


def check(browser, trainer, X, y):
    browser.open(lesson(trainer, X, y, EPOCHS))
    for epoch in range(EPOCHS + 1):
        same_step(browser.run(STEP, epoch, -1), trainer.trace(X, y))
        for sample in {0, len(X) - 1}:
            one = slice(sample, sample + 1)
            same_step(browser.run(STEP, epoch, sample), trainer.trace(X[one], y[one]))
        if epoch < EPOCHS:
            trainer.fit(X, y, 1)
    trained = browser.run(TRAIN, EPOCHS)
    agree(trained["params"], trainer.parameters)
    agree(trained["losses"], trainer.history.loss)


@pytest.mark.parametrize("number", range(20))
def test_random_nets_have_the_numbers_of_the_trainer(browser, number):
    check(browser, *random_net(number))


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_have_the_numbers_of_the_trainer(browser, name):
    trainer, X, y = NOTEBOOKS[name]().parts
    check(browser, trainer, np.array(X), np.array(y))


@pytest.mark.parametrize(
    "activation", [*HIDDEN_ACTIVATIONS, LeakyReLU(0.3), ELU(0.5), Softplus(2.0)], ids=str
)
def test_activations_far_from_0_and_near_it(browser, activation):
    z = np.array(
        [[-80.0], [-9.0], [-2.1], [-0.3], [0.0], [1e-9], [0.4], [1.7], [3.1], [8.0], [60.0]]
    )
    trainer = Trainer([1, 1], output_activation=activation, init=([[[1.0]]], [[0.0]]))
    browser.open(lesson(trainer, z, 0 * z, 1))
    same_step(browser.run(STEP, 0, -1), trainer.trace(z, 0 * z))


def custom():
    square = CustomActivation(lambda z: z * z / 4, lambda z: z / 2, name="square")
    loss = CustomLoss(squared, lambda a, y: 2 * (a - y))
    return [
        Trainer([2, 3, 2, 1], activation=["tanh", square], loss=loss, seed=1, backend="numpy"),
        Trainer(
            [2, 3, 1], activation=square, output_activation="identity", seed=1, backend="numpy"
        ),
        Trainer([2, 3, 1], optimizer=LevenbergMarquardt(), seed=1, backend="numpy"),
        Trainer([2, 3, 1], input_scale_rate=2.0, optimizer="adam", seed=1, backend="numpy"),
        with_alpha(),
    ]


def with_alpha():
    theirs = MLPRegressor(hidden_layer_sizes=[3], alpha=0.5, random_state=0)
    theirs.partial_fit(np.eye(2), [0.0, 1.0])
    return from_sklearn(theirs, batch_size=None, seed=1, backend="numpy")


@pytest.mark.parametrize("number", range(5))
def test_what_the_page_cannot_compute_is_shown_as_recorded(browser, number):
    trainer = custom()[number]
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(6, 2)), rng.random((6, 1))
    browser.open(lesson(trainer, X, y, 3))
    for epoch in range(3):
        found = browser.run(STEP, epoch, -1)
        same_step(found, trainer.trace(X, y))
        same_step(browser.run(STEP, epoch, 2), trainer.trace(X[2:3], y[2:3]), number < 2)
        trainer.fit(X, y, epochs_total=epoch + 1)
    assert not browser.find("#rate").is_enabled()
    assert "recorded" in browser.text("#status")


def test_a_schedule_has_its_rates_and_no_switches(browser):
    trainer = Trainer([2, 2, 1], learning_rate=Step(0.5, every=2, factor=0.5), seed=0)
    X, y = np.eye(2), np.array([[0.0], [1.0]])
    browser.open(lesson(trainer, X, y, 5))
    trainer.fit(X, y, 5)
    same_step(browser.run(STEP, 5, -1), trainer.trace(X, y))
    assert not browser.find("#rate").is_enabled()


def test_a_method_that_has_ended_has_no_more_snapshots(browser):
    X, y = np.array([[0.0], [1.0], [2.0]]), np.array([[1.0], [3.0], [5.0]])
    settings = {"output_activation": "identity", "optimizer": "lm", "backend": "numpy"}
    trainer = Trainer([1, 1], seed=0, **settings)
    trainer.fit(X, y, 100)
    assert trainer.history.ended
    page = lesson(trainer, X, y, 5)
    browser.open(page)
    same_step(browser.run(STEP, 0, -1), trainer.trace(X, y))


def test_a_lesson_goes_on_where_a_trainer_is(browser):
    trainer, X, y = random_net(4)
    trainer.fit(X, y, 7)
    before = trainer.parameters.copy()
    page = lesson(trainer, X, y, 2)
    assert np.array_equal(trainer.parameters, before)
    browser.open(page)
    same_step(browser.run(STEP, 0, -1), trainer.trace(X, y))
    assert browser.text("#where").startswith("Epoch 7 of 9")
