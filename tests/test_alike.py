"""Functions share machine code if their code and values are the same, and only then."""

from __future__ import annotations

import cmath
import functools
import math
import types

import numba
import numpy as np
import pytest

from jitprop import CustomActivation, CustomLoss, Trainer
from jitprop.backends import alike, plans

FACTOR = 1.0
TABLE = np.ones(3)


def helper(x):
    return FACTOR * x


def square(a, y):
    return FACTOR**2 * (a - y) ** 2


def calls(x):
    return helper(x)


def slope(a, y):
    return 2 * FACTOR**2 * (a - y)


def of(k):
    def value(a, y):
        return k * (a - y) ** 2

    def derivative(a, y):
        return 2 * k * (a - y)

    return value, derivative


def net(functions, **settings):
    return Trainer(
        [2, 1],
        loss=CustomLoss(*functions),
        output_activation="identity",
        seed=0,
        backend="numba",
        **settings,
    )


@pytest.fixture
def compilations(monkeypatch):
    """The list of functions that were compiled; none was compiled before."""
    made, compile_loop = [], plans.kernels.compile_loop
    monkeypatch.setattr(plans, "_shared", {})

    def counted(value, *others):
        made.append(value)
        return compile_loop(value, *others)

    monkeypatch.setattr(plans.kernels, "compile_loop", counted)
    return made


def test_a_loss_made_anew_compiles_nothing_anew(compilations):
    X, y = np.ones((4, 2)), np.zeros((4, 1))
    losses = [net(of(k)).fit(X, y, 2).loss.tolist() for k in (0.5, 0.5, 2.0, 0.5, 2.0, 2)]
    assert losses[0] == losses[1] == losses[3] != losses[2] == losses[4] == losses[5]
    assert len(compilations) == 3  # the int 2 differs from 2.0
    net(of(0.5)).fit(X.astype(np.float32), y, 2)
    net(of(0.5), dtype="float32").predict(X)
    assert len(compilations) == 4


def test_a_number_that_changed_is_seen_by_the_next_fit(compilations, monkeypatch):
    X, y = np.ones((4, 2)), np.zeros((4, 1))
    trainer, ref = net((square, slope)), net((square, slope))
    ref._model.backend = "numpy"
    for factor in (1.0, 2.0, 1.0):
        monkeypatch.setitem(globals(), "FACTOR", factor)
        np.testing.assert_allclose(trainer.fit(X, y, 2).loss, ref.fit(X, y, 2).loss, rtol=1e-12)
        np.testing.assert_allclose(trainer.evaluate(X, y), ref.evaluate(X, y), rtol=1e-12)
    assert len(compilations) == 2


def test_functions_of_objects_are_compiled_for_each_loss(compilations):
    def sloped(z):
        return TABLE[0] + 0 * z

    def identity(z):
        return TABLE[0] * z

    X = np.ones((4, 2))
    for _ in range(2):
        activation = CustomActivation(identity, sloped)
        for _ in range(2):
            Trainer([2, 2, 1], activation=activation, seed=0, backend="numba").predict(X)
    assert len(compilations) == 2


def scaled(k=1.0, *, by=2.0):
    return lambda x: k * by * x


def recursive(n):
    return 1 if n < 1 else n * recursive(n - 1)


def test_what_is_alike():
    assert alike.key(of(2.0)[0]) == alike.key(of(2.0)[0])
    assert alike.key(recursive) == alike.key(recursive) is not None
    assert alike.key(scaled()) == alike.key(scaled(1.0))
    assert alike.key(lambda x: math.exp(x)) is not None
    assert alike.key(lambda x: np.exp(x) + cmath.pi) is not None
    assert alike.key(math.exp) == math.exp
    assert alike.key(np.tanh) == np.tanh
    jitted = numba.njit(helper)
    assert alike.key(scaled(jitted)) == alike.key(scaled(jitted)) is not None
    assert alike.key(scaled(jitted)) != alike.key(scaled(numba.njit(helper)))


def relocated(function, **globals_):
    return types.FunctionType(function.__code__, {**function.__globals__, **globals_})


DIFFERENT = {
    "code": (lambda x: x + 1, lambda x: x + 2),
    "a closure": (scaled(1.0), scaled(2.0)),
    "the type of a number": (scaled(1), scaled(1.0)),
    "true": (scaled(1), scaled(True)),
    "the sign of zero": (scaled(0.0), scaled(-0.0)),
    "a number of NumPy": (scaled(np.float32(1)), scaled(np.float64(1))),
    "a tuple": (scaled((1, 2)), scaled((1, 2.0))),
    "a function": (scaled(math.sin), scaled(math.cos)),
    "what a function uses": (scaled(scaled(1.0)), scaled(scaled(2.0))),
    "a global": (square, relocated(square, FACTOR=3.0)),
    "a global of a global": (calls, relocated(calls, helper=relocated(helper, FACTOR=3.0))),
    "a global that is missing": (helper, types.FunctionType(helper.__code__, {})),
}


@pytest.mark.parametrize(("a", "b"), DIFFERENT.values(), ids=DIFFERENT)
def test_what_differs(a, b):
    keys = alike.key(a), alike.key(b)
    assert None not in keys
    assert keys[0] != keys[1]


class Holder:
    k = 1.0


@pytest.mark.parametrize(
    "function",
    [
        scaled(np.ones(3)),
        scaled([1]),
        scaled(Holder()),
        scaled(Holder),
        scaled(types),
        scaled(functools.partial(math.pow, 2)),
        functools.partial(math.pow, 2),
        Holder,
    ],
)
def test_what_nobody_can_tell(function):
    assert alike.key(function) is None


def test_a_variable_that_is_not_set_yet():
    def outer():
        def value(a, y):
            return k * (a - y)

        made = alike.key(value)
        k = 1.0
        return made, alike.key(value), k

    early, late, _ = outer()
    assert early is None
    assert late is not None
