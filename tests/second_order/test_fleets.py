"""Fleets of second-order methods: each member has its own damping, and ends by itself."""

from __future__ import annotations

import pickle
import signal
import threading
import warnings

import numpy as np
import pytest

from jitprop import EarlyStopping, Fleet, LevenbergMarquardt, Trainer, backends, sweep
from jitprop.fleet import engines
from jitprop.net.second_order import REASONS

NET = {"activation": "tanh", "output_activation": "identity", "optimizer": "lm"}
BY_GRADIENT, BY_STEP, BY_TOLERANCE = REASONS[1:]
K = 5


def curve(n=9):
    X = np.linspace(-1, 1, n)[:, None]
    return X, np.sin(3 * X)


def fleet_and_trainers(backend, hidden=6, k=K, **more):
    """Return a fleet, and a trainer for each of its members."""
    shared = NET | more | {"backend": backend}
    made = Fleet([1, hidden, 1], members=k, seed=7, **shared)
    decays = np.broadcast_to(more.get("weight_decay", 0.0), k).tolist()
    alone = [
        Trainer([1, hidden, 1], seed=7 + i, **shared | {"weight_decay": decays[i]})
        for i in range(k)
    ]
    return made, alone


def check_same(fleet, trainers, history):
    """Check that members are their trainers, bit for bit, with the same course."""
    for i, trainer in enumerate(trainers):
        n = len(trainer.history.loss)
        np.testing.assert_array_equal(fleet.parameters[i], trainer.parameters)
        np.testing.assert_array_equal(fleet._model.state.slots[i], trainer._model.state.slots)
        np.testing.assert_array_equal(history.loss[:n, i], trainer.history.loss)
        assert np.isnan(history.loss[n:, i]).all()
        assert history.epochs[i] == fleet.epochs_trained[i] == trainer.epochs_trained == n
        assert history.ended[i] == trainer.history.ended == fleet[i].history.ended


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_members_are_trainers_bit_for_bit(dtype, n_threads, backend):
    X, y = curve()
    more = {"dtype": dtype, "n_threads": n_threads, "weight_decay": [0.0, 1e-4, 0.0, 1e-2, 0.0]}
    fleet, trainers = fleet_and_trainers(backend, **more)
    history = fleet.fit(X, y, 400)
    for trainer in trainers:
        trainer.fit(X, y, 400)
    check_same(fleet, trainers, history)
    if dtype == "float64":
        assert len(set(history.epochs.tolist())) > 2
        assert BY_GRADIENT in history.ended
    assert not history.diverged


@pytest.mark.parametrize("weighted", [False, True])
def test_one_net_trains_neighbours_one_by_one(weighted, backend, monkeypatch, rng):
    """A thread takes all of them at once. Each has its own samples, two nets serve them."""
    monkeypatch.setattr(engines, "TRAINING_SHARES", 1)
    X = rng.uniform(-1, 1, (K, 9, 1))
    y = np.sin(3 * X) + np.arange(K)[:, None, None]
    weights = rng.uniform(0, 2, (K, 9)) if weighted else None
    decays = [0.0, 0.0, 1e-4, 0.0, 0.0]
    fleet, trainers = fleet_and_trainers(backend, n_threads=1, weight_decay=decays)
    history = fleet.fit(X, y, 30, sample_weight=weights)
    for i, trainer in enumerate(trainers):
        trainer.fit(X[i], y[i], 30, sample_weight=weights[i] if weighted else None)
    check_same(fleet, trainers, history)


def test_ctrl_c_comes_between_two_neighbours(monkeypatch):
    monkeypatch.setattr(engines, "TRAINING_SHARES", 1)
    monkeypatch.setattr(engines, "THREAD_WORK", 1.0)  # the work is another thread's
    X, y = curve()
    fleet, _ = fleet_and_trainers("numba", n_threads=1)
    before, backend = fleet.parameters.copy(), backends.load("numba")
    trained, main, halting = [], threading.main_thread().ident, threading.Event()
    train, halt = backend.Single.train, backend.halt

    def slow(self, *given):
        trained.append(0)
        if len(trained) == 3:
            signal.pthread_kill(main, signal.SIGINT)
            halting.wait(10)
        return train(self, *given)

    def halted(net):
        halting.set()
        return halt(net)

    monkeypatch.setattr(backend, "halt", halted)
    monkeypatch.setattr(backend.Single, "train", slow)
    with pytest.raises(KeyboardInterrupt):
        fleet.fit(X, y, 30)
    assert len(trained) == 3
    np.testing.assert_array_equal(fleet.parameters, before)


def test_short_blocks_and_validation_change_nothing(backend, monkeypatch):
    from jitprop.fleet import course

    X, y = curve()
    fleet, trainers = fleet_and_trainers(backend)
    monkeypatch.setattr(course, "BLOCK_SECONDS", 1e-9)
    history = fleet.fit(X, y, 400, validation_data=(X + 0.1, y))
    for i, trainer in enumerate(trainers):
        found = trainer.fit(X, y, 400, validation_data=(X + 0.1, y))
        n = len(found.loss)
        np.testing.assert_array_equal(history.validation_loss[:n, i], found.validation_loss)
        assert np.isnan(history.validation_loss[n:, i]).all()
    check_same(fleet, trainers, history)


def test_early_stopping_and_ends_go_together(backend):
    X, y = curve()
    held_out = X + 0.1, y + 0.1
    fleet, trainers = fleet_and_trainers(backend, optimizer=LevenbergMarquardt(tolerance=1e-3))
    how = {"monitor": "validation_loss", "patience": 4, "restore_best": True}
    history = fleet.fit(X, y, 300, validation_data=held_out, callbacks=EarlyStopping(**how))
    for i, trainer in enumerate(trainers):
        stopping = EarlyStopping(**how)
        trainer.fit(X, y, 300, validation_data=held_out, callbacks=stopping)
        assert history.best_epoch[i] == stopping.best_epoch
    check_same(fleet, trainers, history)
    assert (history.epochs < 300).all()


def test_ended_members_begin_anew_or_stay_so(backend):
    X, y = curve()
    fleet, _ = fleet_and_trainers(backend)
    first = fleet.fit(X, y, 400)
    ended = np.array([bool(reason) for reason in first.ended])
    assert 0 < ended.sum() < K
    before = fleet.parameters.copy()
    resumed = fleet.fit(X, y, epochs_total=402)
    assert (resumed.epochs[ended] == 0).all()
    assert (resumed.epochs[~ended] > 0).all()
    assert all(np.array(resumed.ended)[ended] == np.array(first.ended)[ended])
    np.testing.assert_array_equal(fleet.parameters[ended], before[ended])
    again = fleet.fit(X, y + 1.0, 3)
    assert (again.epochs > 0).all()


def test_two_fits_are_one_and_files_keep_all(backend, tmp_path):
    X, y = curve()
    one, _ = fleet_and_trainers(backend)
    two, _ = fleet_and_trainers(backend)
    expected = one.fit(X, y, 20)
    two.fit(X, y, 8)
    two.save(tmp_path / "fleet")
    two = pickle.loads(pickle.dumps(Fleet.load(tmp_path / "fleet")))
    found = two.fit(X, y, 12)
    np.testing.assert_array_equal(two.parameters, one.parameters)
    np.testing.assert_array_equal(found.loss, expected.loss[8:])
    np.testing.assert_array_equal(two._model.state.slots, one._model.state.slots)


def test_callbacks_see_epochs_that_some_member_has_done(backend):
    X, y = curve()
    seen = []

    def see(fleet, epoch, logs):
        seen.append((epoch, logs["loss"]))

    fleet, _ = fleet_and_trainers(backend, k=2)
    history = fleet.fit(X, y, 2000, callbacks=see)
    assert all(history.ended)
    assert [epoch for epoch, _ in seen] == list(range(history.epochs.max()))
    np.testing.assert_array_equal([losses for _, losses in seen], history.loss)


def test_a_member_that_overflows_diverges_and_others_go_on(backend):
    X, y = curve()
    fleet, trainers = fleet_and_trainers(backend, k=2, activation="identity")
    fleet.parameters[0] = 1e200
    with pytest.warns(RuntimeWarning, match=r"1 of 2 members diverged.* Try inputs and targets"):
        history = fleet.fit(X, y, 100)
    assert history.diverged == {0: 0}
    assert history.epochs[0] == 0
    assert history.ended[0] == ""
    assert (fleet.parameters[0] == 1e200).all()
    trainers[1].fit(X, y, 100)
    np.testing.assert_array_equal(fleet.parameters[1], trainers[1].parameters)
    assert repr(history).endswith(" epochs, 1 ended, 1 diverged)")


def test_best_is_the_winner_of_the_last_fit(backend):
    X, y = curve(30)
    fleet, _ = fleet_and_trainers(backend)
    with pytest.raises(ValueError, match=r"^X and y must be given: this fleet has no losses"):
        fleet.best()
    history = fleet.fit(X, y, 60)
    last = history.loss[history.epochs - 1, np.arange(K)]
    order = np.argsort(last)
    np.testing.assert_array_equal(fleet.best(n=3).parameters, fleet.parameters[order[:3]])
    winner = fleet.best()[0]
    np.testing.assert_array_equal(winner.parameters, fleet.parameters[order[0]])
    assert winner.evaluate(X, y) == pytest.approx(last.min(), rel=1e-9)
    np.testing.assert_array_equal(fleet.best(X, y).parameters, fleet.best().parameters)
    np.testing.assert_array_equal(fleet[order[::-1]].best().parameters[0], winner.parameters)
    with pytest.raises(TypeError, match=r"^X and y must be given together"):
        fleet.best(X)


def test_best_of_other_fits(backend):
    X, y = curve(8)
    make = {"activation": "tanh", "output_activation": "identity", "backend": backend}
    fleet = Fleet([1, 2, 1], members=4, learning_rate=[0.1, 0.2, 0.01, 0.05], seed=1, **make)
    fleet.fit(X, y, 1)
    history = fleet.fit(X, y, 1)  # this one takes the brief way, where there is one
    at = int(history.loss[-1].argmin())
    np.testing.assert_array_equal(fleet.best().parameters[0], fleet.parameters[at])
    how = EarlyStopping(monitor="validation_loss", patience=1, restore_best=True)
    history = fleet.fit(X, y, 40, validation_data=(X + 1, y), callbacks=how)
    losses = history.loss[np.maximum(history.best_epoch, 0), np.arange(4)]
    np.testing.assert_array_equal(
        fleet.best().parameters[0], fleet.parameters[int(losses.argmin())]
    )
    bad = fleet[[0, 1]]
    bad.parameters[0] = 1e200
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        bad.fit(X, y, 2)
    np.testing.assert_array_equal(bad.best().parameters[0], bad.parameters[1])


def test_a_callback_may_ask_for_the_best(backend):
    X, y = curve(30)
    seen = []

    def see(fleet, epoch, logs):
        at = int(np.nanargmin(logs["loss"]))
        seen.append((fleet.best().parameters[0] == fleet.parameters[at]).all())

    fleet, _ = fleet_and_trainers(backend, k=3)
    fleet.fit(X, y, 4, callbacks=see)
    assert seen == [True] * 4


def test_sweeps_try_settings_of_the_method(backend):
    X, y = curve(30)
    ways = [LevenbergMarquardt(damping=10.0), LevenbergMarquardt(), "adam"]
    found = sweep(
        X, y, {"optimizer": ways, "layer_sizes": [[1, 3, 1], [1, 6, 1]]}, cv=3, epochs=40, seed=0,
        activation="tanh", output_activation="identity", backend=backend,
        early_stopping=EarlyStopping(monitor="validation_loss", patience=10),
    )  # fmt: skip
    assert isinstance(found.best["optimizer"], LevenbergMarquardt)
    assert np.isfinite(found.measured["validation_loss"]).all()
    assert found.trainer.history.metrics["damping"].size > 0
