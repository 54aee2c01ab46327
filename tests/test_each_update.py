"""Schedules that are asked before each update: the rates, the fits that use them, and files."""

from __future__ import annotations

import copy
import math
import pickle
import warnings

import numpy as np
import pytest

from jitprop import (
    Cosine,
    CosineLog,
    DivergenceError,
    EachUpdate,
    EarlyStopping,
    Exponential,
    Fleet,
    OneCycle,
    ReduceOnPlateau,
    Step,
    Trainer,
)
from jitprop.fleet import course
from jitprop.net import schedules
from nets import data, limit_calls

SIZES = {"lanes": [3, 6, 2], "blocks": [3, 70, 2]}
FLEETS = {"lanes": [3, 4, 2], "loop": [5, 48, 2]}


def falling(epoch):
    return 0.3 / (1 + epoch)


def make(backend="numba", sizes=SIZES["lanes"], **arguments):
    return Trainer(sizes, backend=backend, **{"batch_size": 4, "seed": 5} | arguments)


@pytest.fixture
def samples(rng):
    return data([3, 2], 10, "half_squared_error", False, rng)


@pytest.mark.parametrize("cycles", [1, 2, 4, 50])
def test_cosine_log_is_its_formula(cycles):
    schedule = CosineLog(0.3, epochs=40, cycles=cycles)
    for t in np.arange(0, 40, 0.25):
        wave = math.log2(1 + (2**cycles - 1) * t / 40)
        expected = 0.3 / 2 * (1 - math.cos(2 * math.pi * wave))
        assert schedule(t) == pytest.approx(expected, rel=0, abs=1e-14 * cycles)
    assert schedule.rates(40, 44).tolist() == [0.0] * 4
    assert schedule(0) == 0.0


def test_cosine_log_goes_from_0_to_0_in_waves_that_double():
    schedule = CosineLog(1.0, epochs=15)
    assert [schedule(epoch) for epoch in (0, 1, 3, 7, 15)] == pytest.approx([0] * 5, abs=1e-15)
    middles = [2**0.5 * 2**k - 1 for k in range(4)]
    assert [schedule(epoch) for epoch in middles] == pytest.approx([1] * 4)


@pytest.mark.parametrize(
    ("make_it", "words"),
    [
        (lambda: CosineLog(0, 3), "initial must be a finite number above 0; got 0"),
        (lambda: CosineLog(0.1, 0), "epochs must be an integer of at least 1; got 0"),
        (lambda: CosineLog(0.1, 3, 0), "cycles must be an integer of at least 1; got 0"),
        (lambda: CosineLog(0.1, 3, 51), "cycles must be an integer of at most 50; got 51"),
        (lambda: EachUpdate(ReduceOnPlateau(0.1)), "schedule cannot be a ReduceOnPlateau"),
        (lambda: EachUpdate(0.1), "schedule must be a schedule such as .* got 0.1"),
        (lambda: EachUpdate(Cosine), "schedule must be a schedule .*: write the class with its"),
        (lambda: EachUpdate(EachUpdate(falling)), "schedule must be a schedule such as"),
    ],
)
def test_bad_settings(make_it, words):
    with pytest.raises((TypeError, ValueError), match=f"^{words}"):
        make_it()


@pytest.mark.parametrize(
    "schedule",
    [Cosine(0.5, 4), CosineLog(0.5, 4), OneCycle(0.5, 4), Step(0.5, 1), Exponential(0.5, 0.7)],
    ids=str,
)
def test_rates_are_those_of_the_fractions(schedule, monkeypatch):
    made = np.empty(4)
    rates = schedules.of_updates(made, EachUpdate(schedule), 1, 3)
    expected = [schedule(epoch + batch / 3) for epoch in (1, 2, 3, 4) for batch in range(3)]
    assert rates.tolist() == expected
    assert made.tolist() == [schedule(epoch) for epoch in (1, 2, 3, 4)]
    monkeypatch.setattr(schedules, "EPOCHS_AT_ONCE", 5)
    assert schedules.of_updates(made, EachUpdate(schedule), 1, 3).tolist() == expected


@pytest.mark.parametrize("kind", SIZES)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("given", [Cosine(0.5, 4), falling], ids=["Cosine", "falling"])
def test_each_update_has_its_rate(kind, optimizer, given, backend, samples):
    X, y = samples
    arguments = {"sizes": SIZES[kind], "optimizer": optimizer, "shuffle": False}
    comp = make(backend, learning_rate=EachUpdate(given), **arguments)
    ref = make(backend, **arguments | {"batch_size": None})
    history = comp.fit(X, y, 3)
    twin = pickle.loads(pickle.dumps(comp))
    for trainer in (comp, twin):  # a fit that goes on asks for the next fractions
        trainer.fit(X, y, 1)
    for epoch in range(4):
        for batch in range(3):
            rate = float(given(epoch + batch / 3))
            ref.learning_rate = lambda _, rate=rate: rate
            some = slice(4 * batch, 4 * batch + 4)
            ref.fit(X[some], y[some], 1)
    np.testing.assert_array_equal(comp.parameters, ref.parameters)
    np.testing.assert_array_equal(twin.parameters, ref.parameters)
    assert history.learning_rate.tolist() == [given(epoch) for epoch in range(3)]


def test_with_one_batch_it_is_the_schedule_itself(backend, samples):
    one, other = (
        make(backend, learning_rate=rate, batch_size=None)
        for rate in (Cosine(0.5, 9), EachUpdate(Cosine(0.5, 9)))
    )
    for _ in range(3):
        for trainer in (one, other):
            trainer.fit(*samples, 2)
            trainer.partial_fit(*samples)
    np.testing.assert_array_equal(one.parameters, other.parameters)
    np.testing.assert_array_equal(one.history.learning_rate, other.history.learning_rate)


@pytest.mark.parametrize("first_call", [1, 3000, 2e8])
@pytest.mark.parametrize("kind", SIZES)
def test_bits_do_not_depend_on_how_epochs_are_cut(kind, first_call, backend, samples, monkeypatch):
    rate = EachUpdate(CosineLog(0.5, 7))
    ref, comp = (make(backend, SIZES[kind], learning_rate=rate) for _ in range(2))
    ref.fit(*samples, 7)
    limit_calls(monkeypatch, first_call)
    comp.fit(*samples, 3)
    comp.fit(*samples, 4)
    np.testing.assert_array_equal(comp.parameters, ref.parameters)


def test_a_watched_fit_is_the_same_in_blocks_and_epoch_by_epoch(backend, samples):
    X, y = samples
    seen, stopping = [], EarlyStopping(patience=8)
    rate = EachUpdate(Cosine(0.5, 60))
    one, other = (make(backend, learning_rate=rate, dtype="float32") for _ in range(2))
    histories = [
        one.fit(X, y, 60, validation_data=(X[:4], y[:4]), callbacks=stopping),
        other.fit(
            X, y, 60, validation_data=(X[:4], y[:4]),
            callbacks=[EarlyStopping(patience=8), lambda _t, _e, logs: seen.append(logs)],
        ),
    ]  # fmt: skip
    np.testing.assert_array_equal(histories[0].validation_loss, histories[1].validation_loss)
    np.testing.assert_array_equal(one.parameters, other.parameters)
    assert [logs["learning_rate"] for logs in seen] == histories[0].learning_rate.tolist()


def test_a_function_is_asked_once_for_each_update(backend, samples, monkeypatch):
    limit_calls(monkeypatch, 3000)
    seen = []
    rate = EachUpdate(lambda epoch: seen.append(epoch) or 0.1)
    trainer = make(backend, learning_rate=rate)
    trainer.fit(*samples, 4)
    trainer.fit(*samples, 3, validation_data=samples, callbacks=EarlyStopping())
    assert seen == [epoch + batch / 3 for epoch in range(7) for batch in range(3)]
    assert {type(epoch) for epoch in seen} == {float}


def test_a_bad_rate_names_the_epoch_and_its_fraction(backend, samples):
    trainer = make(backend, learning_rate=EachUpdate(lambda epoch: 0.1 if epoch < 2.5 else -1))
    words = r"^learning_rate\(2\.66666666666667\) must be a finite number at least 0; got -1"
    with pytest.raises(ValueError, match=words):
        trainer.fit(*samples, 5)
    trainer.learning_rate = EachUpdate(Exponential(0.1, 1e250))
    with pytest.raises(ValueError, match=r"^learning_rate\(1\.33333333333333\) must be a finite"):
        trainer.fit(*samples, 5)
    assert trainer.epochs_trained == 0


@pytest.mark.parametrize("first_call", [1, 2e8])
@pytest.mark.parametrize("kind", SIZES)
def test_divergence_goes_back_over_the_same_rates(kind, first_call, backend, samples, monkeypatch):
    limit_calls(monkeypatch, first_call)
    calls = []

    def growing(epoch):
        calls.append(epoch)
        return 0.01 * 1.5**epoch * (1 + len(calls) % 2)  # a second call would give another rate

    arguments = {"sizes": [*SIZES[kind][:2], 2], "activation": "relu", "shuffle": False}
    arguments["output_activation"] = "identity"
    trainer = make(backend, learning_rate=EachUpdate(growing), **arguments)
    with pytest.raises(DivergenceError) as caught:
        trainer.fit(*samples, 200)
    kept = caught.value.kept_epochs
    calls.clear()
    ref = make(backend, learning_rate=EachUpdate(growing), **arguments)
    ref.fit(*samples, kept)
    np.testing.assert_array_equal(trainer.parameters, ref.parameters)
    largest = max(growing(kept + batch / 3) for batch in range(3))
    assert f"it was {largest:g}" in str(caught.value)


def test_samples_in_files_have_the_same_rates(tmp_path, monkeypatch, rng):
    from jitprop.data import mapped

    monkeypatch.setattr(mapped, "CHUNK", 100)
    arrays = rng.random((90, 3)), rng.random((90, 2))
    for name, array in zip("Xy", arrays, strict=True):
        np.save(tmp_path / f"{name}.npy", array)
    in_files = [np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in "Xy"]
    ref, comp = (make(learning_rate=EachUpdate(Cosine(0.5, 3)), batch_size=7) for _ in "12")
    ref.fit(*arrays, 3)
    comp.fit(*in_files, 3)
    np.testing.assert_array_equal(comp.parameters, ref.parameters)


def test_a_fit_from_batches_refuses_it(backend, samples):
    X, y = samples
    trainer = make(backend, learning_rate=EachUpdate(Cosine(0.5, 9)), batch_size=None)
    words = r"^learning_rate cannot be an EachUpdate in a fit from batches: .* Pass Cosine\("
    before = trainer.parameters.copy()
    with pytest.raises(ValueError, match=words):
        trainer.fit(lambda: iter([(X[:4], y[:4]), (X[4:], y[4:])]), epochs=2)
    np.testing.assert_array_equal(trainer.parameters, before)
    assert trainer.epochs_trained == 0
    trainer.learning_rate = Cosine(0.5, 9)
    trainer.fit(lambda: iter([(X[:4], y[:4]), (X[4:], y[4:])]), epochs=2)


@pytest.mark.parametrize("optimizer", ["lm", "scg", "lbfgs", "rprop"])
def test_methods_without_a_rate_refuse_it(optimizer):
    with pytest.raises(ValueError, match=r"^learning_rate must be .* got EachUpdate\("):
        make(optimizer=optimizer, learning_rate=EachUpdate(Cosine(0.5, 9)), batch_size=None)
    with pytest.raises(ValueError, match=r"^learning_rate must be .* got EachUpdate\("):
        Fleet(
            [2, 3, 1], members=2, optimizer=optimizer,
            learning_rate=EachUpdate(Cosine(0.5, 9)), batch_size=None,
        )  # fmt: skip


@pytest.mark.parametrize("given", [CosineLog(0.5, 9), falling], ids=["CosineLog", "falling"])
def test_files_and_copies_keep_it(given, samples, tmp_path):
    custom = {"falling": falling}
    trainer = make(learning_rate=EachUpdate(given))
    fleet = Fleet([3, 4, 2], members=3, learning_rate=EachUpdate(given), batch_size=4, seed=0)
    for net, cls in ((trainer, Trainer), (fleet, Fleet)):
        net.fit(*samples, 3)
        net.save(tmp_path / "net")
        loaded = cls.load(tmp_path / "net", custom_objects=custom)
        assert loaded.learning_rate == EachUpdate(given)
        others = loaded, copy.deepcopy(net), pickle.loads(pickle.dumps(net))
        net.fit(*samples, 3)
        for other in others:
            other.fit(*samples, 3)
            np.testing.assert_array_equal(other.parameters, net.parameters)
    if given is falling:
        with pytest.raises(ValueError, match="saved with 'falling', a custom function"):
            Fleet.load(tmp_path / "net")


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
@pytest.mark.parametrize("kind", FLEETS)
def test_members_of_a_fleet_have_the_rates_of_a_trainer(kind, optimizer, backend, rng):
    X, y = data(FLEETS[kind], 10, "half_squared_error", False, rng)
    arguments = {"learning_rate": EachUpdate(CosineLog(0.1, 9)), "batch_size": 4}
    arguments |= {"optimizer": optimizer, "backend": backend}
    fleet = Fleet(FLEETS[kind], members=5, seed=0, **arguments)
    parts = pickle.loads(pickle.dumps(fleet))
    fleet.fit(X, y, 9)
    for epochs, more in (
        (2, {}), (3, {"validation_data": (X, y)}), (4, {"callbacks": lambda *_: None}),
    ):  # fmt: skip
        parts.fit(X, y, epochs, **more)
    np.testing.assert_array_equal(parts.parameters, fleet.parameters)
    for i in range(3):
        trainer = Trainer(FLEETS[kind], seed=i, **arguments)
        trainer.fit(X, y, 9)
        np.testing.assert_allclose(fleet.parameters[i], trainer.parameters, rtol=1e-9)
        assert fleet[i].learning_rate == trainer.learning_rate


@pytest.mark.parametrize("kind", FLEETS)
def test_each_member_of_a_fleet_has_the_rates_of_its_own_epoch(kind, rng):
    X, y = data(FLEETS[kind], 10, "half_squared_error", False, rng)
    validation = data(FLEETS[kind], 10, "half_squared_error", False, rng)
    arguments = {"learning_rate": EachUpdate(Cosine(1.0, 60)), "batch_size": 4, "optimizer": "adam"}
    fleet = Fleet(FLEETS[kind], members=6, seed=0, **arguments)
    stopping = EarlyStopping(patience=3, restore_best=False)
    fleet.fit(X, y, 40, validation_data=validation, callbacks=stopping)
    done = fleet.epochs_trained.copy()
    assert len(np.unique(done)) > 1
    fleet.fit(X, y, 3)
    for i in range(6):
        trainer = Trainer(FLEETS[kind], seed=i, **arguments)
        trainer.fit(X, y, int(done[i]) + 3)
        np.testing.assert_allclose(fleet.parameters[i], trainer.parameters, rtol=1e-7)


@pytest.mark.parametrize("most", [1, 3, 60])
@pytest.mark.parametrize("kind", FLEETS)
def test_a_member_that_diverges_goes_back_as_a_trainer_does(kind, most, rng, monkeypatch):
    X, y = data(FLEETS[kind], 12, "half_squared_error", False, rng)
    arguments = {
        "activation": "relu", "output_activation": "identity", "batch_size": 5,
        "learning_rate": EachUpdate(Exponential(0.01, 1.7)),
    }  # fmt: skip
    monkeypatch.setattr(course.Course, "_most", lambda self: most)
    monkeypatch.setattr(course, "BLOCK_SECONDS", np.inf)
    fleet = Fleet(FLEETS[kind], members=3, seed=0, **arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        history = fleet.fit(X, y, 60)
    assert len(history.diverged) == 3
    for i in range(3):
        trainer = Trainer(FLEETS[kind], seed=i, **arguments)
        with pytest.raises(DivergenceError) as caught:
            trainer.fit(X, y, 60)
        assert history.diverged[i] == caught.value.epoch
        assert history.epochs[i] == caught.value.kept_epochs
        scale = np.abs(trainer.parameters).max()
        np.testing.assert_allclose(
            fleet.parameters[i], trainer.parameters, rtol=1e-6, atol=1e-9 * scale
        )
