"""Callbacks of a fleet: what they see after each epoch, and what they may change."""

from __future__ import annotations

import copy
import pickle
import threading

import numpy as np
import pytest

from jitprop import Callback, Checkpoint, Cosine, EarlyStopping, Fleet, Trainer
from nets import data

RATES = [0.01, 0.1, 0.5]
ARGUMENTS = {"batch_size": 5, "activation": "tanh"}


@pytest.fixture
def samples(rng):
    return data([3, 4, 2], 12, "half_squared_error", False, rng)


def test_the_learning_rate_may_be_set(samples):
    def halve(net, epoch, logs):
        net.learning_rate = net.learning_rate / 2

    fleet = Fleet([3, 4, 2], members=3, seed=0, learning_rate=RATES, **ARGUMENTS)
    fleet.fit(*samples, 3, callbacks=halve)
    np.testing.assert_allclose(fleet.learning_rate, np.array(RATES) / 8, rtol=1e-15)
    fleet.learning_rate[0] = 7.0  # changes a copy only
    some = fleet[:2]
    some.learning_rate = 0.3
    fleet.learning_rate = Cosine(0.2, 9)
    fleet.fit(*samples, 2)
    for i, rate in enumerate(RATES):
        trainer = Trainer([3, 4, 2], seed=i, learning_rate=rate, **ARGUMENTS)
        trainer.fit(*samples, 3, callbacks=halve)
        trainer.learning_rate = Cosine(0.2, 9)
        trainer.fit(*samples, 2)
        np.testing.assert_allclose(fleet.parameters[i], trainer.parameters, rtol=1e-10)
    assert some.learning_rate.tolist() == [0.3, 0.3]
    with pytest.raises(ValueError, match="one for each of the 3 members; got 2 values"):
        fleet.learning_rate = [0.1, 0.2]
    assert fleet.learning_rate == Cosine(0.2, 9)


def test_what_callbacks_are_told(samples):
    seen = []

    class Sees(Callback):
        def on_fit_begin(self, fleet):
            seen.append("begin")

        def on_epoch_end(self, fleet, epoch, logs):
            seen.append((epoch, {name: values.tolist() for name, values in logs.items()}))
            for values in logs.values():
                values[:] = -1.0  # changes copies only
            if epoch == 2:
                fleet.stop()
            return True  # is ignored

        def on_fit_end(self, fleet):
            seen.append("end")

    fleet = Fleet([3, 4, 2], members=3, seed=0, learning_rate=RATES, **ARGUMENTS)
    fleet.fit(*samples, 1)
    history = fleet.fit(*samples, 9, validation_data=samples, callbacks=Sees())
    assert seen[0] == "begin"
    assert seen[-1] == "end"
    assert [epoch for epoch, _ in seen[1:-1]] == [0, 1, 2], "counted in this call"
    for epoch, logs in seen[1:-1]:
        assert logs == {
            "loss": history.loss[epoch].tolist(),
            "validation_loss": history.validation_loss[epoch].tolist(),
        }


def test_a_fleet_is_stopped_from_outside_and_not_when_it_trains_nothing(samples):
    fleet = Fleet([3, 4, 2], members=3, seed=0, learning_rate=0.1, **ARGUMENTS)
    fleet.stop()
    assert fleet.fit(*samples, 2).epochs.tolist() == [2, 2, 2]

    def rate(epoch):
        if epoch == 2:
            thread = threading.Thread(target=fleet.stop)
            thread.start()
            thread.join(timeout=60)
        return 0.1

    fleet.learning_rate = rate
    history = fleet.fit(*samples, 10**6)  # no callback after each epoch
    n = len(history.loss)
    assert 1 <= n < 10**6
    assert history.epochs.tolist() == [n] * 3
    ref = Fleet([3, 4, 2], members=3, seed=0, learning_rate=0.1, **ARGUMENTS)
    ref.fit(*samples, n + 2)
    np.testing.assert_array_equal(fleet.parameters, ref.parameters)

    class Stops(Callback):
        def on_fit_begin(self, fleet):
            fleet.stop()

    history = fleet.fit(*samples, 3, callbacks=Stops())
    assert history.loss.shape == (0, 3)
    assert fleet.epochs_trained.tolist() == [n + 2] * 3


def test_a_number_that_nobody_takes_is_refused(samples):
    class Wants(Callback):
        monitor = "validation_accuracy"

    message = "Wants monitors 'validation_accuracy', which this fit does not have; it needs"
    with pytest.raises(ValueError, match=message):
        Fleet([3, 4, 2], members=3, seed=0).fit(*samples, 1, callbacks=Wants())


@pytest.mark.parametrize(
    "how",
    [
        EarlyStopping("loss", patience=2, min_delta=0.002),
        EarlyStopping("loss", patience=2, mode="max"),
        EarlyStopping(patience=3, restore_best=False),
        EarlyStopping(patience=4, min_delta=1e-4),
    ],
)
def test_each_stops_as_a_trainer_would(how, samples):
    before = vars(how).copy()
    fleet = Fleet([3, 4, 2], members=3, seed=0, learning_rate=RATES, **ARGUMENTS)
    X, y = samples
    fit = {"validation_data": (X[:6], 1 - y[:6])}
    history = fleet.fit(X, y, 60, callbacks=how, **fit)
    assert vars(how) == before
    for i, rate in enumerate(RATES):
        trainer = Trainer([3, 4, 2], seed=i, learning_rate=rate, **ARGUMENTS)
        ref = trainer.fit(X, y, 60, callbacks=how, **fit)
        assert history.epochs[i] == len(ref.loss)
        assert history.best_epoch[i] == how.best_epoch
        np.testing.assert_allclose(fleet.parameters[i], trainer.parameters, rtol=1e-9)
    assert history.epochs.min() < 60


@pytest.mark.parametrize("restore_best", [True, False])
def test_members_without_a_number_keep_their_last_epoch_and_are_told_of(samples, restore_best):
    X, y = samples
    held_out = np.stack([X, X, X])
    arguments = {"seed": 0, "learning_rate": RATES, **ARGUMENTS}
    arguments |= {"activation": "identity", "output_activation": "identity"}
    held_out[1] = 1e250  # the squared outputs are inf
    fleet, ref = (Fleet([3, 4, 2], members=3, **arguments) for _ in range(2))
    how = EarlyStopping(patience=4, restore_best=restore_best)
    with pytest.warns(
        RuntimeWarning, match="monitors 'validation_loss', .* of 1 of 3 members"
    ) as caught:
        history = fleet.fit(X, y, 9, validation_data=(held_out, y), callbacks=how)
    assert [warning.filename for warning in caught] == [__file__]
    assert history.best_epoch[1] == -1
    assert history.epochs[1] == 4
    ref.fit(X, y, 4)
    np.testing.assert_array_equal(fleet.parameters[1], ref.parameters[1])
    with pytest.raises(
        ValueError, match="n must be at most the 2 of 3 members whose loss on these"
    ):
        fleet.best(held_out, np.stack([y] * 3), n=3)
    best = fleet.best(held_out, np.stack([y] * 3), n=2)
    assert sorted(best.seeds) == [0, 2]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_validation_and_stopping_do_not_show_in_what_goes_on(samples, dtype):
    """fit(2) then fit(3) is fit(5), with callbacks and without, if nothing is restored."""
    arguments = {"seed": 0, "learning_rate": RATES, "dropout": 0.2, "dtype": dtype, **ARGUMENTS}
    ref = Fleet([3, 4, 2], members=3, **arguments)
    losses = ref.fit(*samples, 5).loss
    watching = {
        "validation_data": samples,
        "callbacks": EarlyStopping(patience=9, restore_best=False),
    }
    for watched in ({}, watching):
        comp = Fleet([3, 4, 2], members=3, **arguments)
        parts = [comp.fit(*samples, n, **watched) for n in (2, 3)]
        np.testing.assert_array_equal(np.concatenate([part.loss for part in parts]), losses)
        np.testing.assert_array_equal(comp.parameters, ref.parameters)
    for made in (copy.deepcopy(parts[1]), pickle.loads(pickle.dumps(parts[1]))):
        np.testing.assert_array_equal(made.validation_loss, parts[1].validation_loss)
        np.testing.assert_array_equal(made.best_epoch, parts[1].best_epoch)


def test_a_checkpoint_holds_the_fleet(samples, tmp_path):
    path = tmp_path / "fleet"
    fleet = Fleet([3, 4, 2], members=3, seed=0, learning_rate=RATES, **ARGUMENTS)
    found = []

    def look(fleet, epoch, logs):
        if path.exists():
            found.append(Fleet.load(path).epochs_trained.tolist())

    stopping = EarlyStopping("loss", patience=1, min_delta=1e9)
    fleet.fit(*samples, 5, callbacks=[Checkpoint(path, every=2), look])
    assert found == [[2, 2, 2]] * 2 + [[4, 4, 4]] * 2
    fleet.fit(*samples, 5, callbacks=[Checkpoint(path), stopping])
    loaded = Fleet.load(path)
    np.testing.assert_array_equal(loaded.parameters, fleet.parameters)
    assert loaded.epochs_trained.tolist() == fleet.epochs_trained.tolist() == [7, 7, 7]
