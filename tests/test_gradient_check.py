"""Gradient checks: correct gradients pass, and wrong ones are located."""

from __future__ import annotations

import numpy as np
import pytest

from jitprop import Trainer, check_gradients, functions, reference
from jitprop.backends import compiled
from nets import CORE_LOSSES, HIDDEN, OUTPUTS, data

BACKENDS = {"numpy": reference, "numba": compiled}


def net(backend, sizes=(3, 5, 4, 3), **arguments):
    trainer = Trainer(sizes, backend=backend, **arguments)
    p = trainer.parameters
    p[:] = np.random.default_rng(1).normal(scale=0.6, size=p.size)
    return trainer


@pytest.mark.parametrize("loss", OUTPUTS)
def test_right_gradients_pass(loss, backend, rng):
    for activation in HIDDEN if loss in CORE_LOSSES else ("tanh",):
        for reduction in ("mean", "sum"):
            output = OUTPUTS[loss][0]
            X, y = data([3, 4], 7, loss, False, rng)
            trainer = net(
                backend,
                (3, 5, 4, 4),
                activation=activation,
                output_activation=output,
                loss=loss,
                reduction=reduction,
            )
            found = check_gradients(trainer, X, y)
            assert len(found.weights) == len(found.biases) == 3
            assert 0 < found.largest < 1e-7


def test_a_wrong_slope_is_found(monkeypatch, rng):
    X, y = data([3, 3], 7, "half_squared_error", False, rng)
    trainer = net("numpy", activation=["tanh", "sigmoid"])

    def halved(z):
        a, slope = functions.tanh(z)
        return a, 0.5 * slope

    monkeypatch.setitem(functions.ACTIVATIONS, "tanh", halved)
    found = check_gradients(trainer, X, y)
    # Only the first layer's gradient passes through tanh. It is half of the difference quotient.
    assert found.weights[0] == pytest.approx(0.5, rel=1e-6)
    assert found.biases[0] == pytest.approx(0.5, rel=1e-6)
    assert max(found.weights[1:] + found.biases[1:]) < 1e-7


@pytest.mark.parametrize("index", [0, 17, 20, 43, 54])
def test_one_wrong_number_is_found(index, backend, monkeypatch, rng):
    X, y = data([3, 3], 7, "half_squared_error", False, rng)
    trainer = net(backend)
    right = BACKENDS[backend].gradient

    def wrong(net, params, *arguments):
        loss = right(net, params, *arguments)
        out = arguments[-1]
        out[index] += 0.01 * np.abs(out).max()
        return loss

    monkeypatch.setattr(BACKENDS[backend], "gradient", wrong)
    found = check_gradients(trainer, X, y)
    marks = np.zeros(trainer.parameters.size, bool)
    marks[index] = True
    for values, parts in zip(found, trainer._model.spec.split(marks), strict=True):
        for value, part in zip(values, parts, strict=True):
            assert value > 0.005 if part.any() else value < 1e-7


def test_the_opposite_sign_gives_two(monkeypatch, rng):
    X, y = data([3, 3], 7, "half_squared_error", False, rng)
    right = reference.gradient

    def opposite(net, params, *arguments):
        loss = right(net, params, *arguments)
        arguments[-1][:] *= -1
        return loss

    monkeypatch.setattr(reference, "gradient", opposite)
    assert check_gradients(net("numpy"), X, y).largest == pytest.approx(2, rel=1e-6)


def test_float32_is_checked_in_float64(backend, rng):
    X, y = data([3, 3], 7, "half_squared_error", False, rng)
    trainer = net(backend, dtype="float32")
    assert check_gradients(trainer, X.astype(np.float32), y.astype(np.float32)).largest < 1e-7
    assert trainer.parameters.dtype == np.float32


def test_the_trainer_is_not_changed(backend, rng):
    X, y = data([3, 3], 7, "half_squared_error", False, rng)
    checked, other = (net(backend, optimizer="adam", batch_size=2, seed=0) for _ in range(2))
    own = checked.parameters
    for trainer in (checked, other):
        trainer.fit(X, y, 2)
    check_gradients(checked, X, y)
    with pytest.raises(ValueError, match="y must have shape"):
        check_gradients(checked, X, y[:2])
    for trainer in (checked, other):
        trainer.fit(X, y, 2)
    np.testing.assert_array_equal(checked.parameters, other.parameters)
    assert checked.parameters is own


def test_the_step_matters(rng):
    X, y = data([3, 3], 7, "half_squared_error", False, rng)
    trainer = net("numpy", activation="tanh")
    found = {
        step: check_gradients(trainer, X, y, step=step).largest for step in (1e-1, 1e-5, 1e-13)
    }
    assert found[1e-5] < 1e-8 < 1e-4 < min(found[1e-1], found[1e-13])


def test_vanishing_gradients_are_not_all_rounding(backend, rng):
    sizes = [4] + [8] * 12 + [2]
    X, y = data(sizes, 20, "half_squared_error", False, rng)
    trainer = Trainer(sizes, seed=1, backend=backend)
    assert np.abs(trainer.gradients(X, y).weights[0]).max() < 1e-6
    assert check_gradients(trainer, X, y).largest < 1e-4


def test_no_gradient_at_all_is_no_difference(backend):
    trainer = Trainer([1, 1], output_activation="identity", init=([[[1.0]]], [[0.0]]))
    found = check_gradients(trainer, [[0.0]], [[0.0]])
    assert found.weights == [0.0]


def test_bad_arguments():
    with pytest.raises(TypeError, match="trainer must be a Trainer; got 3"):
        check_gradients(3, [[0.0]], [[0.0]])
    trainer = Trainer([1, 1], backend="numpy")
    with pytest.raises(TypeError, match="step must be a finite number above 0"):
        check_gradients(trainer, [[0.0]], [[0.0]], step="small")
    with pytest.raises(ValueError, match="step must be a finite number above 0"):
        check_gradients(trainer, [[0.0]], [[0.0]], step=0)
