"""A member that diverges keeps the same epochs as a Trainer; the others train on."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest

from jitprop import SGD, Adam, DivergenceError, EarlyStopping, Fleet, Step, Trainer
from jitprop.fleet import course
from nets import data

NETS = {"lanes": [3, 4, 2], "loop": [5, 48, 3]}
PRESENTED = {
    "whole": {},
    "shuffled": {"batch_size": 5},
    "in order": {"batch_size": 4, "shuffle": False},
}
RATES = {
    "sgd": (SGD(), [0.01, 2.0, 50.0, 1e5, 1e100, 1e300]),
    "momentum": (SGD(momentum=0.9), [0.01, 0.5, 50.0, 1e5, 1e100, 1e300]),
    "adam": (Adam(), [0.01, 1e50, 1e100, 1e155, 1e200, 1e300]),
}


def quietly(fleet, *arguments, **more):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return fleet.fit(*arguments, **more)


def go_on_alike(ref, comp, X, y):
    assert comp.epochs_trained == ref.epochs_trained
    losses = []
    for one in (comp, ref):
        one.learning_rate = 0.001
        losses.append(one.fit(X, y, 2).loss)
    np.testing.assert_allclose(*losses, rtol=1e-6)


@pytest.mark.parametrize("presented", PRESENTED)
@pytest.mark.parametrize("optimizer", RATES)
@pytest.mark.parametrize("kind", NETS)
def test_a_member_goes_back_as_far_as_a_trainer(kind, optimizer, presented, backend, rng):
    how, rates = RATES[optimizer]
    X, y = data(NETS[kind], 12, "half_squared_error", False, rng)
    arguments = {
        "activation": "relu", "output_activation": "identity", "optimizer": how,
        "backend": backend, **PRESENTED[presented],
    }  # fmt: skip
    fleets = [Fleet(NETS[kind], members=6, seed=0, learning_rate=rates, **arguments) for _ in "12"]
    history = quietly(fleets[0], X, y, 60)
    assert 2 <= len(history.diverged) < 6
    if presented == "whole":
        assert np.isfinite(fleets[0].predict(X)).all()
    # A callback makes each epoch a block. The result is the same.
    again = quietly(fleets[1], X, y, 60, callbacks=lambda fleet, epoch, logs: None)
    np.testing.assert_array_equal(again.loss, history.loss)
    assert again.diverged == history.diverged
    assert pickle.dumps(fleets[0]._model.state) == pickle.dumps(fleets[1]._model.state)
    for i, rate in enumerate(rates):
        trainer = Trainer(NETS[kind], seed=i, learning_rate=rate, **arguments)
        if i in history.diverged:
            with pytest.raises(DivergenceError) as caught:
                trainer.fit(X, y, 60)
            assert history.diverged[i] == caught.value.epoch
            assert history.epochs[i] == caught.value.kept_epochs
            n = caught.value.epoch
        else:
            trainer.fit(X, y, 60)
            n = 60
        assert np.isfinite(history.loss[:n, i]).all()
        assert np.isnan(history.loss[n:, i]).all()
        scale = np.abs(trainer.parameters).max()
        np.testing.assert_allclose(
            fleets[0].parameters[i], trainer.parameters, rtol=1e-6, atol=1e-9 * scale
        )
        # Training resumes alike.
        if scale < 3:
            go_on_alike(trainer, fleets[0][i], X, y)


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("kind", NETS)
def test_one_that_diverges_in_the_first_batch_of_a_block(kind, shuffle, rng):
    """It goes back to an epoch in the block before. The updates of two batches make it overflow."""
    X, y = data(NETS[kind], 12, "half_squared_error", False, rng)
    arguments = {
        "activation": "relu", "output_activation": "identity", "batch_size": 6, "dropout": 0.2,
        "learning_rate": Step(0.01, factor=1e52, every=30), "shuffle": shuffle,
    }  # fmt: skip
    fleet = Fleet(NETS[kind], members=3, seed=0, **arguments)
    trainer = Trainer(NETS[kind], seed=1, **arguments)
    with pytest.raises(DivergenceError) as caught:
        trainer.fit(X, y, 60)
    assert (caught.value.epoch, caught.value.kept_epochs) == (31, 30)
    for most in (1, 10, 31, 60):
        one = pickle.loads(pickle.dumps(fleet))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(course.Course, "_most", lambda self, most=most: most)
            patch.setattr(course, "BLOCK_SECONDS", np.inf)
            history = quietly(one, X, y, 60)
        assert history.diverged[1] == caught.value.epoch
        assert history.epochs[1] == caught.value.kept_epochs
        np.testing.assert_allclose(one.parameters[1], trainer.parameters, rtol=1e-8)
        go_on_alike(pickle.loads(pickle.dumps(trainer)), one[1], X, y)


@pytest.mark.parametrize("kind", NETS)
def test_the_others_do_not_notice(kind, rng):
    X, y = data(NETS[kind], 12, "half_squared_error", False, rng)
    rates = np.full(19, 0.01)
    rates[[4, 17]] = 30.0, 1e200
    arguments = {"activation": "relu", "output_activation": "identity", "batch_size": 4}
    fleet = Fleet(NETS[kind], members=19, seed=0, learning_rate=rates, **arguments)
    with pytest.warns(RuntimeWarning, match="2 of 19 members diverged, the first in epoch 0"):
        history = fleet.fit(X, y, 40)
    assert set(history.diverged) == {4, 17}
    assert repr(history) == "FleetHistory(19 members, up to 40 epochs, 2 diverged)"
    for i in (3, 18):
        alone = Fleet(NETS[kind], members=1, seed=i, learning_rate=0.01, **arguments)
        alone.fit(X, y, 40)
        np.testing.assert_array_equal(alone.parameters[0], fleet.parameters[i])


def test_all_diverge_beside_early_stopping(tmp_path, rng):
    X, y = data([3, 4, 2], 12, "half_squared_error", False, rng)
    fleet = Fleet([3, 4, 2], members=3, seed=0, learning_rate=1e200, output_activation="identity")
    before = fleet.parameters.copy()
    history = quietly(fleet, X, y, 9, validation_data=(X, y), callbacks=EarlyStopping(patience=3))
    assert history.diverged == {0: 1, 1: 1, 2: 1}
    assert history.epochs.tolist() == fleet.epochs_trained.tolist() == [0, 0, 0]
    assert history.best_epoch.tolist() == [-1, -1, -1]
    assert history.loss.shape == history.validation_loss.shape == (1, 3)
    np.testing.assert_array_equal(fleet.parameters, before)
    fleet.save(tmp_path / "fleet")
    np.testing.assert_array_equal(Fleet.load(tmp_path / "fleet").parameters, before)


def test_what_fills_a_block_up_does_not_diverge_by_itself():
    """Two samples overflow only if dropout keeps both units. Two more are padding of the vector."""
    X, y, k = np.ones((2, 1)), np.zeros((2, 1)), 40
    init = [np.ones((1, 2)), np.full((2, 1), 1e308), np.zeros((1, 1))], [*map(np.zeros, (2, 1, 1))]
    arguments = {
        "activation": ["identity", "relu"], "output_activation": "identity", "init": init,
        "dropout": [0.5, 0.0], "learning_rate": 1e-300, "backend": "numba",
    }  # fmt: skip
    fleet = Fleet([1, 2, 1, 1], members=k, seed=0, **{**arguments, "dropout": [[0.5, 0.0]] * k})
    found = quietly(fleet, X, y, 1).diverged
    ref = set()
    for i in range(k):
        try:
            Trainer([1, 2, 1, 1], seed=i, **arguments).fit(X, y, 1)
        except DivergenceError:
            ref.add(i)
    assert set(found) == ref
    assert 0 < len(ref) < k
