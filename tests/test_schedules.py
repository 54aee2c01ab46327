"""Learning rate schedules: their rates in each epoch, also in a resumed fit."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest

from jitprop import Cosine, DivergenceError, Exponential, InverseScaling, OneCycle, Step, Trainer
from jitprop.net import schedules
from nets import data, limit_calls


def make(backend, **arguments):
    arguments = {"sizes": [3, 6, 2], "batch_size": 4, "seed": 5, "learning_rate": 0.2} | arguments
    return Trainer(arguments.pop("sizes"), backend=backend, **arguments)


def falling(epoch):
    return 0.3 / (1 + epoch)


@pytest.fixture
def samples(rng):
    return data([3, 2], 10, "half_squared_error", False, rng)


# The rates of each schedule by hand, with the known cosines of 0, 30, 45, 60, ... degrees.
R2, R3 = 2**0.5 / 2, 3**0.5 / 2
CASES = [
    (Step(0.5, every=2), [0.5, 0.5, 0.05, 0.05, 0.005]),
    (Step(1.0, every=3, factor=0.5), [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25]),
    (Exponential(0.5, 0.9), [0.5, 0.45, 0.405, 0.3645]),
    (InverseScaling(0.3), [0.3, 0.3 * R2, 0.3 / 3**0.5, 0.15]),
    (InverseScaling(0.3, power=1.0), [0.3, 0.15, 0.1, 0.075]),
    (Cosine(1.0, epochs=4), [1.0, (1 + R2) / 2, 0.5, (1 - R2) / 2, 0.0, 0.0, 0.0]),
    (Cosine(1.0, epochs=3, final=0.2), [1.0, 0.8, 0.4, 0.2, 0.2]),
    (Cosine(0.6, epochs=5, warmup=2), [0.2, 0.4, 0.6, 0.45, 0.15, 0.0, 0.0]),
    # It rises in epochs 0 to 3, in thirds of half a wave, and falls in epochs 3 to 9, in sixths.
    (
        OneCycle(1.0, epochs=10, rise=0.4, initial_divisor=5.0, final_divisor=2.0),
        [0.2, 0.4, 0.8, 1.0, *(0.55 + 0.45 * c for c in (R3, 0.5, 0.0, -0.5, -R3)), 0.1, 0.1],
    ),
    (OneCycle(1.0, epochs=2), [1.0, 4e-6, 4e-6]),  # too short to rise
]


@pytest.mark.parametrize(("schedule", "expected"), CASES, ids=[str(s) for s, _ in CASES])
def test_schedules_by_hand(schedule, expected):
    np.testing.assert_allclose(schedule.rates(0, len(expected)), expected, rtol=1e-15, atol=1e-16)


@pytest.mark.parametrize("schedule", [s for s, _ in CASES], ids=str)
def test_a_rate_has_the_same_bits_however_it_is_asked_for(schedule):
    n = 2 * schedules.EPOCHS_AT_ONCE + 99
    whole = schedule.rates(0, n)
    cuts = [0, 1, 4, 11, 100, 4097, n]
    pieces = [schedule.rates(*cut) for cut in itertools.pairwise(cuts)]
    np.testing.assert_array_equal(np.concatenate(pieces), whole)
    filled = np.empty(n - 7)
    schedules.fill(filled, schedule, 7)
    np.testing.assert_array_equal(filled, whole[7:])
    assert [schedule(epoch) for epoch in range(50)] == whole[:50].tolist()


@pytest.mark.parametrize("schedule", [s for s, _ in CASES], ids=str)
def test_schedules_train_as_rates_set_by_hand(backend, schedule, samples):
    comp, ref = make(backend, learning_rate=schedule), make(backend)
    comp.fit(*samples, 3)
    twin = pickle.loads(pickle.dumps(comp))
    for trainer in (comp, twin):
        trainer.fit(*samples, 4)
    for epoch in range(7):
        rate = schedule(epoch)
        ref.learning_rate = lambda _, rate=rate: rate  # the rate may be 0
        ref.fit(*samples, 1)
    np.testing.assert_array_equal(comp.parameters, ref.parameters)
    np.testing.assert_array_equal(twin.parameters, ref.parameters)
    assert repr(schedule) in repr(comp)


def test_a_schedule_that_overflows_names_the_epoch(samples):
    trainer = make("numpy", learning_rate=Exponential(1e-9, 1e200))
    with pytest.raises(ValueError, match=r"^learning_rate\(2\) must be a finite number; got inf"):
        trainer.fit(*samples, 9)
    assert trainer.epochs_trained == 0


@pytest.mark.parametrize(
    ("make_it", "words"),
    [
        (lambda: Step(0.0, 3), "initial must be a finite number above 0; got 0.0"),
        (lambda: Step(0.1, 0), "every must be an integer of at least 1; got 0"),
        (lambda: Step(0.1, 1, -1), "factor must be a finite number above 0; got -1"),
        (lambda: Exponential(0.1, 0), "factor must be a finite number above 0; got 0"),
        (lambda: InverseScaling(0.1, 0), "power must be a finite number above 0; got 0"),
        (lambda: Cosine(0.1, 0), "epochs must be an integer of at least 1; got 0"),
        (lambda: Cosine(0.1, 5, warmup=5), "epochs must be an integer of at least 6; got 5"),
        (lambda: Cosine(0.1, 5, warmup=-1), "warmup must be an integer of at least 0; got -1"),
        (lambda: Cosine(0.1, 5, final=-1), "final must be a finite number at least 0; got -1"),
        (lambda: OneCycle(0.1, 1), "epochs must be an integer of at least 2; got 1"),
        (lambda: OneCycle(0.1, 9, 1.0), "rise must be a finite number above 0 and below 1"),
        (lambda: OneCycle(0.1, 9, final_divisor=0), "final_divisor must be a finite number above"),
    ],
)
def test_bad_settings(make_it, words):
    with pytest.raises(ValueError, match=f"^{words}"):
        make_it()


@pytest.mark.parametrize("bad", ["cosine", Cosine, [0.1]])
def test_what_is_no_learning_rate(bad):
    words = (
        "^learning_rate must be a finite number above 0, a schedule or a function of the epoch; got"
    )
    with pytest.raises(TypeError, match=words):
        make("numpy", learning_rate=bad)
    with pytest.raises(TypeError, match=words):
        make("numpy").learning_rate = bad


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
        return 0.01 * 1.5**epoch * (1 + len(calls) % 2)  # a second call would give another rate

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
    assert trainer._model.state.rng.bit_generator.state == ref._model.state.rng.bit_generator.state


def test_a_rate_of_0_learns_nothing(backend, samples):
    trainer = make(backend, learning_rate=lambda epoch: 0)
    before = trainer.parameters.copy()
    trainer.fit(*samples, 2)
    np.testing.assert_array_equal(trainer.parameters, before)
