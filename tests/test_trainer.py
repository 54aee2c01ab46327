"""Trainer: repeated fits, the order of samples, divergence, dtypes and return values."""

from __future__ import annotations

import copy
import itertools
import pickle

import numpy as np
import pytest

from jitprop import DivergenceError, Gradients, History, Trainer
from nets import OPTIMIZERS, data, limit_calls


def make(backend, **arguments):
    arguments = {"batch_size": 4, "seed": 5, "learning_rate": 0.2, **arguments}
    return Trainer(arguments.pop("sizes", [3, 6, 2]), backend=backend, **arguments)


@pytest.fixture
def samples(rng):
    return data([3, 2], 10, "half_squared_error", False, rng)


# Repeated fits.


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_fit_3_then_2_gives_the_bits_of_fit_5(backend, optimizer, samples):
    ref, comp = (make(backend, optimizer=OPTIMIZERS[optimizer]) for _ in range(2))
    expected = ref.fit(*samples, 5).loss
    found = np.concatenate([comp.fit(*samples, 3).loss, comp.fit(*samples, 2).loss])
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(comp.parameters, ref.parameters)
    assert comp.epochs_trained == ref.epochs_trained == 5


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("first_call", [1, 3000])
def test_bits_do_not_depend_on_how_often_python_is_visited(
    backend, optimizer, first_call, samples, monkeypatch
):
    ref, comp = (make(backend, optimizer=OPTIMIZERS[optimizer]) for _ in range(2))
    expected = ref.fit(*samples, 7).loss
    limit_calls(monkeypatch, first_call)  # one batch per call, or a few
    np.testing.assert_array_equal(comp.fit(*samples, 7).loss, expected)
    np.testing.assert_array_equal(comp.parameters, ref.parameters)


def test_setting_parameters_keeps_the_views(backend, samples):
    trainer = make(backend)
    weights = trainer.weights
    trainer.set_parameters([np.ones((3, 6)), np.ones((6, 2))], [np.zeros(6), np.zeros(2)])
    assert (weights[0] == 1).all()
    trainer.fit(*samples, 1)
    assert (weights[0] != 1).any()
    np.testing.assert_array_equal(trainer.parameters[:18].reshape(3, 6), weights[0])


# The order of samples.


def test_a_seed_gives_the_same_bits_and_another_does_not(backend, samples):
    one, same, other = (make(backend, seed=seed) for seed in (1, 1, 2))
    for trainer in (one, same, other):
        trainer.fit(*samples, 3)
    np.testing.assert_array_equal(one.parameters, same.parameters)
    assert (one.parameters != other.parameters).any()


def test_both_backends_shuffle_alike(samples):
    ref, comp = (make(backend) for backend in ("numpy", "numba"))
    np.testing.assert_allclose(comp.fit(*samples, 4).loss, ref.fit(*samples, 4).loss, rtol=1e-12)


def test_order_is_that_of_presentation(backend, samples):
    X, y = samples
    order = np.array([[3, 1, 4, 0, 5, 9, 2, 6, 8, 7], [2, 7, 1, 8, 0, 4, 5, 9, 3, 6]])
    comp, called, ref = (make(backend) for _ in range(3))
    comp.fit(X, y, 2, order=order)
    called.fit(X, y, 1, order=lambda epoch: order[epoch])
    called.fit(X, y, 1, order=lambda epoch: order[epoch])  # epochs are counted over all calls
    plain = make(backend, shuffle=False)
    for rows in order:
        plain.fit(X[rows], y[rows], 1)
    np.testing.assert_array_equal(comp.parameters, plain.parameters)
    np.testing.assert_array_equal(called.parameters, plain.parameters)
    ref.fit(X, y, 2)
    assert (ref.parameters != plain.parameters).any()


def test_each_epoch_presents_every_sample_once(backend):
    # With targets 2**i, the bias of a linear net shows the order of batches of one sample.
    X, y = np.zeros((6, 1)), 2.0 ** np.arange(6)
    trainer = Trainer(
        [1, 1], output_activation="identity", batch_size=1, learning_rate=0.5, seed=0,
        init=([[[0.0]]], [[0.0]]), backend=backend,
    )  # fmt: skip
    loss = trainer.fit(X, y, 1).loss
    seen = trainer.biases[0][0]
    orders = set()
    for shuffled in itertools.permutations(range(6)):
        b = 0.0
        for i in shuffled:
            b -= 0.5 * (b - y[i])
        if b == seen:
            orders.add(shuffled)
    assert loss.shape == (1,)
    assert orders, "no permutation of the samples leads to the bias found"


def test_full_batches_are_not_shuffled(backend, samples):
    shuffled, plain = make(backend, batch_size=None), make(backend, batch_size=None, shuffle=False)
    shuffled.fit(*samples, 3)
    plain.fit(*samples, 3)
    np.testing.assert_array_equal(shuffled.parameters, plain.parameters)


# Losses.


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_history_is_of_all_samples_each_batch_before_its_update(backend, reduction, samples):
    X, y = samples
    trainer = make(backend, reduction=reduction, shuffle=False)
    follower = make(backend, reduction=reduction, shuffle=False)
    expected = 0.0
    for rows in (slice(0, 4), slice(4, 8), slice(8, 10)):  # the last batch is short
        loss = follower.evaluate(X[rows], y[rows])
        expected += loss * len(X[rows]) / 10 if reduction == "mean" else loss
        follower.fit(X[rows], y[rows], 1)
    found = trainer.fit(X, y, 1)
    np.testing.assert_allclose(found.loss, [expected], rtol=1e-14)
    np.testing.assert_array_equal(trainer.parameters, follower.parameters)


def test_full_batch_history_begins_with_the_initial_loss(backend, samples):
    trainer = make(backend, batch_size=None)
    before = trainer.evaluate(*samples)
    history = trainer.fit(*samples, 2)
    assert isinstance(history, History)
    np.testing.assert_allclose(history.loss[0], before, rtol=1e-15)
    assert history.loss.dtype == np.float64
    assert "2 epochs" in repr(history)


def test_weight_decay_is_in_the_update_and_not_in_the_loss(backend, samples):
    plain, decayed = (
        make(backend, batch_size=None),
        make(backend, batch_size=None, weight_decay=0.5),
    )
    start = plain.parameters.copy()
    assert decayed.evaluate(*samples) == plain.evaluate(*samples)
    for a, b in zip(
        decayed.gradients(*samples).weights, plain.gradients(*samples).weights, strict=True
    ):
        np.testing.assert_array_equal(a, b)
    plain.fit(*samples, 1)
    decayed.fit(*samples, 1)
    pulled = np.concatenate(
        [np.r_[np.full(18, 1.0), np.zeros(6)], np.r_[np.full(12, 1.0), np.zeros(2)]]
    )
    np.testing.assert_allclose(
        plain.parameters - decayed.parameters, 0.2 * 0.5 * start * pulled, atol=1e-15
    )


def test_gradients_change_nothing_and_are_plain_arrays(backend, samples):
    trainer = make(backend)
    before = trainer.parameters.copy()
    gradients = trainer.gradients(*samples)
    assert isinstance(gradients, Gradients)
    np.testing.assert_array_equal(trainer.parameters, before)
    assert [w.shape for w in gradients.weights] == [(3, 6), (6, 2)]
    assert [b.shape for b in gradients.biases] == [(6,), (2,)]
    step = make(backend, batch_size=None, learning_rate=1.0)
    step.fit(*samples, 1)
    np.testing.assert_allclose(
        step.weights[0], trainer.weights[0] - gradients.weights[0], atol=1e-15
    )


def test_many_samples_are_predicted_and_evaluated_in_tiles(backend, rng):
    trainer = make(backend)
    X, y = data([3, 2], 1000, "half_squared_error", False, rng)
    whole = trainer.predict(X)
    assert whole.shape == (1000, 2)
    np.testing.assert_allclose(whole[300:310], trainer.predict(X[300:310]), rtol=1e-14)
    by_hand = 0.5 * ((whole - y) ** 2).sum(axis=1).mean()
    np.testing.assert_allclose(trainer.evaluate(X, y), by_hand, rtol=1e-13)


# Dtypes and initial values.


def test_dtype_is_settled_by_the_first_fit(backend, samples):
    X, y = samples
    for given, expected in ((np.float32, np.float32), (np.float64, np.float64), (int, np.float64)):
        trainer = make(backend)
        trainer.fit(X.astype(given), y, 1)
        assert trainer.parameters.dtype == trainer.predict(X).dtype == expected
    trainer = make(backend, dtype="float32")
    assert trainer.parameters.dtype == np.float32
    trainer.fit(X, y, 1)
    assert trainer.parameters.dtype == trainer.gradients(X, y).weights[0].dtype == np.float32


SPREAD = {
    "glorot_uniform": (6 / (300 + 200)) ** 0.5 / 3**0.5,
    "glorot_normal": (2 / (300 + 200)) ** 0.5,
    "he_uniform": (6 / 300) ** 0.5 / 3**0.5,
    "he_normal": (2 / 300) ** 0.5,
    "lecun_normal": (1 / 300) ** 0.5,
    "uniform": (1 / 12) ** 0.5,
}


@pytest.mark.parametrize("init", SPREAD)
def test_initial_weights_spread_as_their_papers_say(init):
    trainer = Trainer([300, 200, 1], init=init, seed=0)
    w, b = trainer.weights[0], trainer.biases[0]
    centre = 0.5 if init == "uniform" else 0.0
    assert abs(w.std() / SPREAD[init] - 1) < 0.01
    assert abs(w.mean() - centre) < 4 * SPREAD[init] / w.size**0.5
    if init.endswith("uniform"):
        assert np.abs(w - centre).max() <= SPREAD[init] * 3**0.5
    assert (b.std() > 0.2) if init == "uniform" else (b == 0).all()
    single = Trainer([300, 200, 1], init=init, seed=0, dtype="float32")
    np.testing.assert_array_equal(single.parameters, trainer.parameters.astype(np.float32))


# Divergence.


@pytest.mark.parametrize("batch_size", [None, 4])
@pytest.mark.parametrize("first_call", [1, 10_000, 2e8])
@pytest.mark.parametrize("optimizer", ["sgd", "momentum"])
def test_divergence_is_told_and_the_last_good_epoch_kept(
    backend, batch_size, first_call, optimizer, samples, monkeypatch
):
    limit_calls(monkeypatch, first_call)
    X, y = samples
    arguments = {
        "sizes": [3, 2], "output_activation": "identity", "learning_rate": 30.0,
        "batch_size": batch_size, "optimizer": OPTIMIZERS[optimizer],
    }  # fmt: skip
    trainer = make(backend, **arguments)
    with pytest.raises(DivergenceError, match=r"epoch \d+.*smaller learning_rate") as caught:
        trainer.fit(X, y, 2000)
    error = caught.value
    assert f"epoch {error.epoch} " in str(error)
    assert len(error.history.loss) == error.epoch > 1
    assert np.isfinite(error.history.loss).all()
    assert error.epoch - 1 <= error.kept_epochs <= error.epoch
    assert trainer.epochs_trained == error.kept_epochs
    assert np.isfinite(trainer.parameters).all()
    if batch_size is None:
        assert np.isfinite(trainer.evaluate(X, y))

    ref = make(backend, **arguments)
    expected = ref.fit(X, y, error.kept_epochs).loss
    np.testing.assert_array_equal(trainer.parameters, ref.parameters)
    np.testing.assert_array_equal(error.history.loss[: error.kept_epochs], expected)
    # and training resumes from there, with the same shuffles and velocity
    trainer.learning_rate = ref.learning_rate = 1e-9
    np.testing.assert_array_equal(trainer.fit(X, y, 3).loss, ref.fit(X, y, 3).loss)


def test_large_weights_have_a_finite_loss(backend):
    """A penalty would square them to inf, but there is none."""
    net = Trainer([1, 1], output_activation="identity", init=([[[1e160]]], [[0]]), backend=backend)
    assert net.fit([[1e-100]], [0.0], 1).loss == pytest.approx([5e119], rel=1e-9)


def test_the_error_travels_between_processes():
    numbers = np.array([2.0, 1.0, 4.0])
    history = History(numbers, numbers, {"mse": numbers}, numbers, numbers)
    error = DivergenceError(3, history, 2, 0.5)
    twin = pickle.loads(pickle.dumps(error))
    assert str(twin) == str(error)
    assert (twin.epoch, twin.kept_epochs) == (3, 2)
    np.testing.assert_array_equal(twin.history.loss, error.history.loss)


def test_divergence_in_the_first_epoch_changes_nothing(backend):
    trainer = Trainer(
        [1, 1], output_activation="identity", init=([[[1e200]]], [[0]]), backend=backend
    )
    with pytest.raises(DivergenceError, match="epoch 0 ") as caught:
        trainer.fit([[1e200]], [0.0], 3)
    assert len(caught.value.history.loss) == 0
    np.testing.assert_array_equal(trainer.parameters, [1e200, 0.0])


def test_parameters_that_overflow_in_the_last_update_are_told_too(backend):
    trainer = Trainer(
        [1, 1],
        output_activation="identity",
        learning_rate=1e308,
        init=([[[1.0]]], [[0]]),
        backend=backend,
    )
    with pytest.raises(DivergenceError, match="epoch 0 "):
        trainer.fit([[1e3]], [0.0], 1)
    np.testing.assert_array_equal(trainer.parameters, [1.0, 0.0])


def test_and_in_a_later_one(backend):
    # b <- b - rate (w x + b) is 0, then -1e145 with a loss of 1e290 / 2, then overflows.
    trainer = Trainer(
        [1, 1], output_activation="identity", learning_rate=1e175, init=([[[1.0]]], [[0]]),
        backend=backend,
    )  # fmt: skip
    with pytest.raises(DivergenceError, match="epoch 1 ") as caught:
        trainer.fit([[1e-30]], [0.0], 2)
    assert caught.value.kept_epochs == 1
    assert np.isfinite(trainer.evaluate([[1e-30]], [0.0]))


@pytest.mark.parametrize("work", [1, 2e8])
def test_an_overflow_behind_a_saturated_unit_is_found(backend, work, monkeypatch):
    # The first update overflows, but sigmoid(-inf) is 0, so the loss stays finite.
    limit_calls(monkeypatch, work)
    trainer = Trainer(
        [1, 1], reduction="sum", learning_rate=1e308, init=([[[1e-3]]], [[0.0]]), backend=backend
    )
    with pytest.raises(DivergenceError, match="epoch 0 ") as caught:
        trainer.fit([[1e3], [2e3]], [0, 0], 3000)
    assert caught.value.kept_epochs == 0
    np.testing.assert_array_equal(trainer.parameters, [1e-3, 0.0])


def test_an_overflow_in_the_optimizers_state_is_found(backend):
    # Adam's mean square is inf in float32. So every step is 0, and the loss does not change.
    trainer = Trainer(
        [1, 1], output_activation="identity", optimizer="adam", dtype="float32",
        init=([[[1.0]]], [[0.0]]), backend=backend,
    )  # fmt: skip
    with pytest.raises(DivergenceError, match="optimizer's state"):
        trainer.fit([[1e10], [2e10]], [0.0, 3.0], 1000)
    np.testing.assert_array_equal(trainer.parameters, [1.0, 0.0])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_a_copy_goes_on_to_the_same_bits(backend, optimizer, copied, samples):
    trainer = make(backend, optimizer=OPTIMIZERS[optimizer])
    trainer.fit(*samples, 3)
    twin = copied(trainer)
    assert not np.shares_memory(twin.parameters, trainer.parameters)
    np.testing.assert_array_equal(twin.fit(*samples, 3).loss, trainer.fit(*samples, 3).loss)
    np.testing.assert_array_equal(twin.parameters, trainer.parameters)


def test_an_interrupted_fit_leaves_whole_epochs(backend, samples, monkeypatch):
    limit_calls(monkeypatch, 1)
    orders = np.array([np.random.default_rng(e).permutation(10) for e in range(9)])

    def order(epoch):
        if epoch == 4:
            raise KeyboardInterrupt
        return orders[epoch]

    trainer, ref = make(backend), make(backend)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(*samples, 9, order=order)
    ref.fit(*samples, 4, order=orders[:4])
    assert trainer.epochs_trained == 4
    np.testing.assert_array_equal(trainer.parameters, ref.parameters)
