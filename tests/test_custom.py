"""Custom activations and losses: they equal jitprop's, are checked, and compile separately."""

from __future__ import annotations

import gc
import math
import os
import pickle
import subprocess
import sys
import weakref

import numpy as np
import pytest

from jitprop import CustomActivation, CustomLoss, DivergenceError, Fleet, Trainer, sweep
from jitprop.backends import plans
from jitprop.sklearn import MLPRegressor
from test_compiled import CountCompiles, numba_events

ROUTES = {"lanes": [3, 4, 4, 2], "blocks": [30, 40, 20, 2]}


def swish(z):
    return z / (1 + np.exp(-z))


def swish_slope(z):
    s = 1 / (1 + np.exp(-z))
    return s + z * s * (1 - s)


def leaky(z):
    return z if z > 0 else 0.01 * z


def leaky_slope(z):
    return 1 if z > 0 else 0.01


def bent(a, y):
    r = abs(a - y)
    return 0.5 * r**2 if r <= 1 else r - 0.5


def bent_slope(a, y):
    return min(max(a - y, -1.0), 1.0)


OWN = {
    "silu": CustomActivation(swish, swish_slope),
    "leaky_relu": CustomActivation(leaky, leaky_slope),
    "huber": CustomLoss(bent, bent_slope),
}


def test_they_are_shown_by_the_names_of_their_functions():
    assert repr(OWN["huber"]) == "CustomLoss(bent, bent_slope, name='bent')"
    trainer = Trainer(
        [2, 3, 1], activation=OWN["silu"], loss=OWN["huber"], learning_rate=lambda epoch: 0.1
    )
    assert "CustomActivation(swish, swish_slope, name='swish')" in repr(trainer)
    assert " at 0x" not in repr(trainer)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("route", ROUTES)
def test_the_same_as_jitprops(route, dtype, backend, rng):
    sizes = ROUTES[route]
    X, y = rng.normal(size=(600, sizes[0])), np.abs(rng.normal(size=(600, 2))) * 2
    own, known = (
        Trainer(
            sizes, activation=[f("silu"), f("leaky_relu")], output_activation=f("silu"),
            loss=f("huber"), dtype=dtype, backend=backend, seed=1, batch_size=550,
        )
        for f in (OWN.get, str)
    )  # fmt: skip
    tolerance = 1e-12 if dtype == "float64" else 2e-4
    np.testing.assert_allclose(own.fit(X, y, 2).loss, known.fit(X, y, 2).loss, rtol=tolerance)
    for comp, ref in (
        (own.parameters, known.parameters),
        (own.predict(X), known.predict(X)),
        (own.evaluate(X, y), known.evaluate(X, y)),
        (own.gradients(X, y).weights[0], known.gradients(X, y).weights[0]),
    ):
        np.testing.assert_allclose(comp, ref, rtol=tolerance, atol=tolerance)


def test_threads_change_no_bit(rng):
    sizes = ROUTES["blocks"]
    X, y = rng.normal(size=(256, 30)), rng.normal(size=(256, 2))
    found = set()
    for n_threads in (1, 2, 3):
        trainer = Trainer(
            sizes, activation=OWN["silu"], loss=OWN["huber"], seed=1, n_threads=n_threads
        )
        trainer.fit(X, y, 3)
        found.add(trainer.parameters.tobytes())
    assert len(found) == 1


def test_only_the_functions_are_compiled_and_only_once():
    def square(z):
        return z * z

    def twice(z):
        return 2 * z

    X, y = np.ones((2, 2)), np.ones((2, 1))

    def use(activation):
        trainer = Trainer([2, 3, 1], activation=activation, seed=0, backend="numba")
        trainer.fit(X, y, 1)
        trainer.predict(X)
        trainer.evaluate(X, y)
        trainer.gradients(X, y)

    use("relu")
    own = CustomActivation(square, twice)
    with numba_events.install_listener("numba:compile", CountCompiles()) as compiles:
        use(own)
        assert (
            compiles.count == 2
        )  # the two functions; the loop around them is compiled without this event
        use(own)
        use(CustomActivation(square, twice))
    assert compiles.count == 2


def test_what_was_compiled_lives_as_long_as_it_is_used():
    k = np.ones(1)  # functions that use an array never share their machine code

    def cube(z):
        return k[0] * z**3

    def slope(z):
        return k[0] * 3 * z**2

    trainer = Trainer([1, 2, 1], activation=CustomActivation(cube, slope), seed=0, backend="numba")
    del cube, slope
    trainer.fit([[1.0]], [0.5], 2)
    gc.collect()
    trainer.fit([[1.0]], [0.5], 2)
    own = weakref.ref(trainer._model.spec.activations[0])
    assert own() in plans._loops
    del trainer
    gc.collect()
    assert own() is None


def test_the_gradient_is_the_central_difference(backend, rng):
    # jitprop has no such activation or loss.
    activation = CustomActivation(math.atan, lambda z: 1 / (1 + z * z))
    loss = CustomLoss(lambda a, y: math.log(math.cosh(a - y)), lambda a, y: math.tanh(a - y))
    trainer = Trainer([3, 4, 2], activation=activation, loss=loss, seed=1, backend=backend)
    X, y = rng.normal(size=(5, 3)), rng.normal(size=(5, 2))
    gradient, weight, h = trainer.gradients(X, y).weights[0], trainer.weights[0], 1e-5
    for i in range(3):
        at = weight[i, 1]
        weight[i, 1] = at + h
        above = trainer.evaluate(X, y)
        weight[i, 1] = at - h
        difference = (above - trainer.evaluate(X, y)) / (2 * h)
        weight[i, 1] = at
        assert gradient[i, 1] == pytest.approx(difference, rel=1e-6)


def test_it_is_shown_by_its_name(backend):
    trainer = Trainer(
        [1, 2, 1],
        activation=CustomActivation(swish, swish_slope, name="my swish"),
        loss=OWN["huber"],
        backend=backend,
    )
    formulas = trainer.trace([1.0], [2.0]).formulas
    assert formulas["a[1]"] == "my swish(z[0])"
    assert formulas["loss"] == "sum(bent(a[2], y))"
    assert OWN["silu"].name == "swish"


def test_it_is_saved_by_its_name(tmp_path, backend):
    path = tmp_path / "model.safetensors"
    trainer = Trainer([1, 2, 1], activation=OWN["silu"], loss=OWN["huber"], backend=backend, seed=0)
    trainer.fit([[1.0]], [2.0], 2)
    trainer.save(path)
    loaded = Trainer.load(path, custom_objects={"swish": OWN["silu"], "bent": OWN["huber"]})
    for t in (trainer, loaded):
        t.fit([[1.0]], [2.0], 2)
    np.testing.assert_array_equal(loaded.parameters, trainer.parameters)
    with pytest.raises(ValueError, match="custom_objects"):
        Trainer.load(path)


def constant(z):
    return 1.0


def partly(a, y):
    return a - y * math.log(a)  # undefined for a below 0


@pytest.mark.parametrize(
    ("value", "derivative"),
    [
        (lambda z: max(z, 0.0), lambda z: 1.0 if z > 0 else 0.0),
        (lambda z: max(z, 0.0), lambda z: 1.0 if z >= 0 else 0.0),
        (lambda z: abs(z), lambda z: 0.0 if z == 0 else math.copysign(1, z)),
        (lambda z: z**3, lambda z: 3 * z**2),
        (lambda z: math.sin(1000 * z), lambda z: 1000 * math.cos(1000 * z)),
        (lambda z: 1e-9 * z, lambda z: 1e-9),
        (lambda z: 1e9 * z + 1e9, lambda z: 1e9),
        (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
        (math.exp, math.exp),
    ],
)
def test_right_derivatives_pass(value, derivative):
    CustomActivation(value, derivative)


def test_a_loss_need_not_be_defined_everywhere():
    CustomLoss(partly, lambda a, y: 1 - y / a)
    with pytest.raises(ValueError, match=r"at a = 0\.0137, y = 1"):
        CustomLoss(partly, lambda a, y: 1 - y / a**2)


@pytest.mark.parametrize(
    ("value", "derivative", "words"),
    [
        (math.tanh, lambda z: 1 - math.tanh(z), "at z = 0.0137 it gives 0.986.*give 0.9998"),
        (lambda z: z**3, lambda z: 2 * z**2, "at z = 0.0137 it gives"),
        (lambda z: max(z, 0.0), lambda z: 1.0, "at z = -0.0137 it gives 1, .* give 0"),
        (lambda z: max(z, 0.0), lambda z: 1.5 if z >= 0 else 0.0, "at z = 0 it gives 1.5"),
        (lambda z: 1e-9 * z, lambda z: 2e-9, "at z = 0 it gives 2e-09, .* give 1e-09"),
        (math.sin, lambda z: math.nan, "at z = 0 it gives nan"),
        (math.exp, lambda z: 1.00002 * math.exp(z), "at z = 0"),
    ],
)
def test_wrong_derivatives_are_refused_with_the_numbers(value, derivative, words):
    with pytest.raises(ValueError, match=f"derivative must be that of value: {words}"):
        CustomActivation(value, derivative)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((1, math.cos), TypeError, r"value must be a function; got 1 \(int\)"),
        ((math.sin, None), TypeError, "derivative must be a function; got None"),
        ((math.sin, math.cos, 3), TypeError, r"name must be text; got 3 \(int\)"),
        ((lambda z: "one", math.cos), TypeError, "value must return a number; .* got|gives 'one'"),
        ((math.sin, lambda z: 1j), TypeError, "derivative must return a number"),
        ((lambda: 1.0, math.cos), TypeError, "value must be a function of 1 number; .* raises"),
        ((lambda z: math.nan, constant), ValueError, "value must be finite somewhere"),
    ],
)
def test_bad_functions(arguments, error, words):
    with pytest.raises(error, match=words):
        CustomActivation(*arguments)


def test_what_numba_cannot_compile():
    notes = []

    def noted(z):
        notes.append(str(z))
        return z

    own = CustomActivation(noted, lambda z: 1.0)
    assert Trainer([1, 2, 1], activation=own, backend="numpy").predict([[1.0]]).shape == (1, 1)
    trainer = Trainer([1, 2, 1], activation=own, backend="numba", seed=0)
    before = trainer.parameters.copy()
    with pytest.raises(TypeError, match=r"numba cannot compile 'noted'.*backend='numpy'"):
        trainer.fit([[1.0]], [1.0], 1)
    np.testing.assert_array_equal(trainer.parameters, before)


def test_interpreted_kernels_call_them_too():
    code = """
import math
import numpy as np
from jitprop import CustomActivation, CustomLoss, Trainer
atan = CustomActivation(math.atan, lambda z: 1 / (1 + z * z))
square = CustomLoss(lambda a, y: (a - y) ** 2, lambda a, y: 2 * (a - y))
found = []
for backend in ("numpy", "numba"):
    trainer = Trainer([2, 3, 1], activation=atan, loss=square, seed=0, backend=backend)
    trainer.fit(np.ones((3, 2)), np.zeros((3, 1)), 3)
    found.append(trainer.parameters)
np.testing.assert_allclose(*found, rtol=1e-12)
"""
    interpreted = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, env=interpreted, timeout=300)


def limited(z):
    if z > 3:
        raise ValueError("beyond 3")
    return z


def limited_slope(z):
    return 1.0


def off(a, y):
    if a > 3:
        raise ArithmeticError("beyond 3")
    return a - y


def off_slope(a, y):
    return 1.0


RAISES = {
    "activation": {"activation": CustomActivation(limited, limited_slope)},
    "output": {"output_activation": CustomActivation(limited, limited_slope)},
    "loss": {"loss": CustomLoss(off, off_slope), "output_activation": "identity"},
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("which", RAISES)
def test_a_function_that_raises_ends_in_a_divergence_that_names_it(
    which, route, dtype, backend, capfd
):
    sizes = ROUTES[route]
    net = Trainer(
        sizes, **{"output_activation": "identity", "activation": "relu"} | RAISES[which],
        dtype=dtype, backend=backend, seed=0,
    )  # fmt: skip
    for W in net.weights:
        W[:] = 1.0
    X, y = np.full((5, sizes[0]), -1.0), np.zeros((5, 2))
    net.predict(X)
    X[2] = 1.0  # here z is above 3
    before = net.parameters.copy()
    with pytest.raises(DivergenceError, match=f"see where {'off' if which == 'loss' else 'limit'}"):
        net.fit(X, y, 2)
    np.testing.assert_array_equal(net.parameters, before)
    assert np.isnan(net.evaluate(X, y))
    if which != "loss":
        assert np.isnan(net.predict(X)).any(axis=1).tolist() == [False, False, True, False, False]
    assert "Traceback" not in capfd.readouterr().err


def raises_beyond_20(z):
    if z > 20:
        raise RuntimeError("of my own")
    return z


def one(z):
    return 1.0


BEYOND_20 = CustomActivation(raises_beyond_20, one)


def test_any_error_is_a_divergence_in_both_backends(backend):
    net = Trainer([1, 1], output_activation=BEYOND_20, backend=backend, seed=0)
    net.parameters[:] = 1.0
    with pytest.raises(DivergenceError, match="see where raises_beyond_20 raises an error"):
        net.fit([[100.0]], [1.0], 1)
    assert net.predict([[1.0], [100.0]]).ravel().tolist() == pytest.approx(
        [2.0, np.nan], nan_ok=True
    )


def test_fleets_and_sweeps_name_it(backend):
    settings = {"output_activation": BEYOND_20, "backend": backend, "seed": 0}
    fleet = Fleet([1, 1], members=2, init=([[[1.0]]], [[0.0]]), **settings)
    X, y = np.full((4, 1), 100.0), np.ones(4)
    with pytest.warns(RuntimeWarning, match="or see where raises_beyond_20 raises an error"):
        fleet.fit(X, y, 2)
    with pytest.warns(RuntimeWarning, match="or see where raises_beyond_20 raises an error"):
        sweep(
            X, y, {"layer_sizes": [[1, 1]]}, cv=2, epochs=1, init=([[[1.0]]], [[0.0]]), **settings
        )


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_estimators_name_it(solver):
    model = MLPRegressor(
        hidden_layer_sizes=(2,), activation=BEYOND_20, solver=solver, random_state=0
    )
    X = np.array([[1e3], [-1e3]])
    with pytest.raises(ValueError, match="See where raises_beyond_20 raises an error"):
        model.fit(X, [0.0, 1.0])


def test_a_divergence_with_own_functions_can_be_pickled():
    error = DivergenceError(0, Trainer([1, 1]).history, 0, 0.1, ["mine"])
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert "mine" in str(error)
