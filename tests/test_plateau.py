"""ReduceOnPlateau: when the rate falls, and that a resumed fit continues its count."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from jitprop import DivergenceError, Fleet, ReduceOnPlateau, Trainer
from nets import data


@pytest.fixture
def samples(rng):
    return data([3, 2], 10, "half_squared_error", False, rng)


def rates(losses, **settings):
    schedule, plateau, found = ReduceOnPlateau(1.0, **settings), (), []
    for loss in losses:
        found.append(schedule.rate(plateau))
        plateau = schedule.after(plateau, loss)
    return [*found, schedule.rate(plateau)]


def test_the_rate_falls_after_patience_epochs_that_are_not_better():
    found = rates([5, 4, 4, 4, 3, 3, 3, 3, 3], factor=0.5, patience=2)
    assert found == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125]


def test_better_is_lower_by_more_than_min_delta():
    assert rates([1.0, 0.95, 0.85], patience=1, min_delta=0.1) == [1, 1, 0.1, 0.1]


def test_the_rate_stops_at_its_minimum_and_is_never_raised_to_it():
    assert rates([1] * 5, patience=1, minimum=0.05) == [1, 1, 0.1, 0.05, 0.05, 0.05]
    assert rates([1] * 3, patience=1, minimum=7.0) == [1, 1, 1, 1]


def test_what_is_not_finite_is_not_better():
    assert rates([np.nan, np.inf, 1.0, 2.0], patience=2) == [1, 1, 0.1, 0.1, 0.1]


def make(backend, monitor="validation_loss", **settings):
    schedule = ReduceOnPlateau(0.5, factor=0.5, patience=2, min_delta=1e-2, monitor=monitor)
    settings |= {"learning_rate": schedule, "batch_size": 4, "seed": 0, "backend": backend}
    return Trainer([3, 6, 2], **settings)


def test_a_finite_loss_after_the_rate_has_fallen_takes_no_warning_back(backend):
    """The rate falls in the second epoch, after two losses of inf; the third is finite."""
    X, y = np.ones((1, 1)), np.zeros((1, 1))
    trainer = Trainer(
        [1, 1], output_activation="identity", backend=backend, init=([[[1.3e154]]], [[0.0]]),
        learning_rate=ReduceOnPlateau(0.25, factor=0.9, patience=2),
    )  # fmt: skip
    with pytest.warns(RuntimeWarning, match=r"falls from 0\.25 to 0\.225"):
        history = trainer.fit(X, y, 30, validation_data=(3 * X, y))
    assert np.isinf(history.validation_loss[:2]).all()
    assert np.isfinite(history.validation_loss[-1])


@pytest.mark.parametrize("worth", [np.nan, np.inf])
def test_a_rate_that_falls_for_nan_is_told_once(backend, worth, samples):
    X, y = samples
    # Squares of large targets are inf. Of large inputs units are inf, and their difference is nan.
    others = (np.full_like(X, 1.7e308), y) if np.isnan(worth) else (X, 1e200 * y)
    weights = np.full((3, 6), 2.0), np.tile([[0.1], [-0.1]], (3, 2))
    trainer = make(backend, activation="relu", init=(weights, (np.zeros(6), np.zeros(2))))
    with pytest.warns(RuntimeWarning, match="monitors 'validation_loss', which was nan") as caught:
        history = trainer.fit(*samples, 6, validation_data=others)
    np.testing.assert_array_equal(history.validation_loss, worth)
    assert [warning.filename for warning in caught] == [__file__]
    assert history.learning_rate.tolist() == [0.5, 0.5, 0.25, 0.25, 0.125, 0.125]
    trainer.fit(*samples, 2, validation_data=others)


@pytest.mark.parametrize("monitor", ["loss", "validation_loss"])
def test_a_fit_follows_it_and_goes_on(backend, monitor, samples, tmp_path):
    trainer, twin = make(backend, monitor=monitor), make(backend, monitor=monitor)
    watched = {"validation_fraction": 0.3} if monitor == "validation_loss" else {}
    history = trainer.fit(*samples, 40, **watched)
    expected = ReduceOnPlateau(0.5, factor=0.5, patience=2, min_delta=1e-2)
    plateau = ()
    for rate, loss in zip(history.learning_rate, history.columns[monitor], strict=True):
        assert rate == expected.rate(plateau)
        plateau = expected.after(plateau, loss)
    assert history.learning_rate[-1] < 0.1

    for epochs in (7, 14):
        twin.fit(*samples, epochs, **watched)
        twin.save(tmp_path / "net.safetensors")
        twin = Trainer.load(tmp_path / "net.safetensors")
    copy.deepcopy(twin).fit(*samples, 19, **watched)
    twin.fit(*samples, 19, **watched)
    np.testing.assert_array_equal(twin.parameters, trainer.parameters)
    np.testing.assert_array_equal(twin.history.learning_rate, history.learning_rate)


def test_a_new_rate_begins_anew(samples):
    trainer = make("numpy", monitor="loss")
    trainer.fit(*samples, 40)
    trainer.learning_rate = ReduceOnPlateau(0.3, monitor="loss")
    assert trainer.fit(*samples, 1).learning_rate[0] == 0.3


def test_divergence_goes_back_before_the_rate_fell(backend, samples):
    trainer = Trainer(
        [3, 2], output_activation="identity", backend=backend, seed=0,
        learning_rate=ReduceOnPlateau(300.0, factor=0.9, patience=5, monitor="loss"),
    )  # fmt: skip
    with pytest.raises(DivergenceError) as caught:
        trainer.fit(*samples, 1000)
    rate = trainer._model.spec.learning_rate
    plateau = ()
    for loss in caught.value.history.loss[: caught.value.kept_epochs]:
        plateau = rate.after(plateau, loss)
    assert trainer._model.state.plateau == plateau


def test_without_validation_data_it_is_refused(backend, samples):
    trainer = make(backend)
    before = trainer.parameters.copy()
    with pytest.raises(ValueError, match="a ReduceOnPlateau, monitors 'validation_loss'"):
        trainer.fit(*samples, 1)
    np.testing.assert_array_equal(trainer.parameters, before)


def test_rprop_refuses_it():
    with pytest.raises(ValueError, match="must be a number with the optimizer Rprop"):
        Trainer([3, 2], optimizer="rprop", learning_rate=ReduceOnPlateau(0.1))


def test_a_fleet_refuses_it():
    with pytest.raises(TypeError, match="learning_rate cannot be a ReduceOnPlateau"):
        Fleet([3, 2], members=2, learning_rate=ReduceOnPlateau(0.1))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"initial": 0.0}, ValueError, "initial must be a finite number above 0"),
        ({"factor": 1.0}, ValueError, "factor must be .* below 1"),
        ({"patience": 0}, ValueError, "patience must be an integer of at least 1"),
        ({"min_delta": -1}, ValueError, "min_delta must be .* at least 0"),
        ({"minimum": "a"}, TypeError, "minimum must be a finite number"),
        ({"monitor": "mse"}, ValueError, "monitor 'mse' is unknown"),
    ],
)
def test_bad_settings_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        ReduceOnPlateau(**{"initial": 1.0, **settings})
