"""What needs no PyTorch: state_dicts of arrays, and messages. The rest is in tests/interop."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from jitprop import Fleet, Trainer
from jitprop.convert import from_torch, to_torch


def state_dict(seed=0, **more):
    rng = np.random.default_rng(seed)
    return {
        "net.0.weight": rng.normal(size=(5, 4)),
        "net.0.bias": rng.normal(size=5),
        "net.2.weight": rng.normal(size=(2, 5)),
        **more,
    }


def test_a_state_dict_of_arrays():
    given = state_dict()
    trainer = from_torch(given, activations=["tanh", "identity"])
    X = np.random.default_rng(1).normal(size=(7, 4))
    hidden = np.tanh(X @ given["net.0.weight"].T + given["net.0.bias"])
    expected = hidden @ given["net.2.weight"].T
    np.testing.assert_allclose(trainer.predict(X), expected, rtol=0, atol=1e-14)
    assert trainer.learning_rate_factors == ((1.0, 1.0), (1.0, 0.0))  # a layer without biases
    given["net.0.weight"][:] = 0
    np.testing.assert_allclose(trainer.predict(X), expected, rtol=0, atol=1e-14)


def test_a_list_becomes_a_fleet():
    given = [state_dict(i) for i in range(3)]
    fleet = from_torch(given, activations=["tanh", "softmax"], batch_size=8)
    assert isinstance(fleet, Fleet)
    assert (len(fleet), fleet.batch_size) == (3, 8)
    assert fleet.loss.name == "cross_entropy"


@pytest.mark.parametrize(
    ("given", "activations", "error", "message"),
    [
        (state_dict(), None, TypeError, "activations must be a list.*got None"),
        (state_dict(), ["tanh"], ValueError, r"each of the 2 layers.*got 1"),
        ({}, [], ValueError, r"each of the 0 layers"),
        (
            state_dict(conv=np.zeros((2, 2, 3, 3))),
            ["tanh", "relu"],
            ValueError,
            r"Linear modules alone; 'conv' has shape \(2, 2, 3, 3\)",
        ),
        (
            {"epoch": 3, "model": state_dict()},
            ["tanh", "relu"],
            ValueError,
            r"Linear modules alone; 'epoch' has 3 \(int\)",
        ),
        ({"0.bias": np.zeros(3)}, ["tanh"], ValueError, r"must have '0\.weight'"),
        (
            {"0.weight": np.zeros((3, 2), np.float16)},
            ["tanh"],
            ValueError,
            r"float32, or all of them in float64; got float16",
        ),
        (3, None, TypeError, r"torch\.nn\.Sequential; got int"),
    ],
)
def test_bad_input(given, activations, error, message):
    with pytest.raises(error, match=message):
        from_torch(given, activations=activations)


def test_a_list_needs_as_many_optimizers():
    with pytest.raises(ValueError, match=r"optimizer must be one for each of the 2 models; got 1"):
        from_torch([state_dict(), state_dict()], activations=["tanh", "tanh"], optimizer=[None])


def test_without_torch_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r"pip install 'jitprop\[torch\]'"):
        to_torch(Trainer([2, 1]))
