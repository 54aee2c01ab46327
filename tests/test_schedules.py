"""Learning rates that change with the epoch: which ones, when, and on going on."""

from __future__ import annotations

import numpy as np
import pytest

from jitprop import DivergenceError, Trainer
from nets import data, limit_calls


def make(backend, **arguments):
    arguments = {"sizes": [3, 6, 2], "batch_size": 4, "seed": 5, "learning_rate": 0.2} | arguments
    return Trainer(arguments.pop("sizes"), backend=backend, **arguments)


def falling(epoch):
    return 0.3 / (1 + epoch)


@pytest.fixture
def samples(rng):
    return data([3, 2], 10, "half_squared_error", False, rng)


@pytest.mark.parametrize("sizes", [[3, 6, 2], [3, 70, 2]], ids=["lanes", "blocks"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("batch_size", [4, None])
def test_each_epoch_has_its_rate(backend, sizes, optimizer, batch_size, samples):
    arguments = {"sizes": sizes, "optimizer": optimizer, "batch_size": batch_size}
    comp = make(backend, learning_rate=falling, **arguments)
    ref = make(backend, **arguments)
    comp.fit(*samples, 6)
    for epoch in range(6):
        ref.learning_rate = falling(epoch)
        ref.fit(*samples, 1)
    np.testing.assert_array_equal(comp.parameters, ref.parameters)


@pytest.mark.parametrize("first_call", [1, 3000, 2e8])
def test_bits_do_not_depend_on_how_epochs_are_cut(backend, first_call, samples, monkeypatch):
    ref, comp = (make(backend, learning_rate=falling) for _ in range(2))
    ref.fit(*samples, 7)
    limit_calls(monkeypatch, first_call)
    comp.fit(*samples, 3)
    comp.fit(*samples, 4)
    np.testing.assert_array_equal(comp.parameters, ref.parameters)


def test_a_function_is_called_once_for_each_epoch_in_turn(backend, samples, monkeypatch):
    limit_calls(monkeypatch, 3000)
    seen = []
    trainer = make(backend, learning_rate=lambda epoch: seen.append(epoch) or 0.1)
    trainer.fit(*samples, 20)
    trainer.fit(*samples, 10)
    assert seen == list(range(30))
    assert {type(epoch) for epoch in seen} == {int}


@pytest.mark.parametrize("first_call", [1, 10_000, 2e8])
def test_divergence_goes_back_over_the_same_rates(backend, first_call, samples, monkeypatch):
    limit_calls(monkeypatch, first_call)
    calls = []

    def growing(epoch):
        calls.append(epoch)
        return 0.01 * 1.5**epoch * (1 + len(calls) % 2)  # another one, were it called again

    trainer = make(
        backend, sizes=[3, 2], output_activation="identity", learning_rate=growing, batch_size=None
    )
    with pytest.raises(DivergenceError) as caught:
        trainer.fit(*samples, 200)
    kept = caught.value.kept_epochs
    calls.clear()
    ref = make(backend, sizes=[3, 2], output_activation="identity", batch_size=None)
    for epoch in range(kept):
        ref.learning_rate = growing(epoch)
        ref.fit(*samples, 1)
    np.testing.assert_array_equal(trainer.parameters, ref.parameters)
    assert f"it was {growing(kept):g}" in str(caught.value)


@pytest.mark.parametrize(
    ("rate", "error"),
    [(np.nan, ValueError), (-0.1, ValueError), (np.inf, ValueError), ("a", TypeError)],
)
@pytest.mark.parametrize("first_call", [1, 2e8])
def test_a_bad_rate_names_its_epoch_and_epochs_before_it_stay(
    backend, rate, error, first_call, samples, monkeypatch
):
    limit_calls(monkeypatch, first_call)
    trainer = make(backend, learning_rate=lambda epoch: rate if epoch == 5 else 0.1)
    ref = make(backend, learning_rate=0.1)
    with pytest.raises(error, match=r"^learning_rate\(5\) must be a finite number at least 0"):
        trainer.fit(*samples, 9)
    kept = trainer.epochs_trained
    assert kept == (5 if first_call == 1 else 0)
    if kept:
        ref.fit(*samples, kept)
    np.testing.assert_array_equal(trainer.parameters, ref.parameters)
    assert trainer._state.rng.bit_generator.state == ref._state.rng.bit_generator.state


def test_a_rate_of_0_learns_nothing(backend, samples):
    trainer = make(backend, learning_rate=lambda epoch: 0)
    before = trainer.parameters.copy()
    trainer.fit(*samples, 2)
    np.testing.assert_array_equal(trainer.parameters, before)
