"""optax: its transformations, with gradients by JAX in float64."""

import numpy as np
import pytest

from interop.coming_from.course import UPDATES, Problem, difference
from jitprop import SGD, Adam, AdamW, Exponential, RMSprop, Trainer

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def loss(parameters, X, y, activation):
    (W, V), (b, c) = parameters
    return 0.5 * ((activation(X @ W + b) @ V + c - y) ** 2).sum(axis=1).mean()


def course(problem, transformation, activation=None):
    activation = jax.numpy.tanh if activation is None else activation
    parameters = jax.tree.map(jax.numpy.asarray, problem.init)
    state = transformation.init(parameters)
    for _ in range(UPDATES):
        gradients = jax.grad(loss)(parameters, problem.X, problem.y, activation)
        updates, state = transformation.update(gradients, state, parameters)
        parameters = optax.apply_updates(parameters, updates)
    return [np.asarray(array) for arrays in parameters for array in arrays]


def compared(problem, peer, **settings):
    settings = {"activation": "tanh", "learning_rate": 0.1, **settings}
    net = Trainer(
        [3, 5, 2], output_activation="identity", dtype="float64", init=problem.init, **settings
    )
    net.fit(problem.X, problem.y, UPDATES)
    start = [*problem.weights, *problem.biases]
    return difference([*net.weights, *net.biases], peer, start)


OUTSIDE = {"momentum": 0.9, "rate_in_velocity": False}
ROWS = {
    "sgd": (lambda: optax.sgd(0.1), {}),
    "momentum": (lambda: optax.sgd(0.1, 0.9), {"optimizer": SGD(**OUTSIDE)}),
    "Nesterov": (
        lambda: optax.sgd(0.1, 0.9, nesterov=True),
        {"optimizer": SGD(nesterov=True, **OUTSIDE)},
    ),
    "momentum with a falling rate": (
        # optax computes rates in float32, which holds these.
        lambda: optax.sgd(optax.exponential_decay(0.125, 1, 0.5), 0.9),
        {"optimizer": SGD(**OUTSIDE), "learning_rate": Exponential(0.125, 0.5)},
    ),
    "adam": (lambda: optax.adam(0.1), {"optimizer": Adam()}),
    "adamw": (
        lambda: optax.adamw(0.1),
        {"optimizer": AdamW(), "weight_decay": 1e-4, "decay_biases": True},
    ),
    "rmsprop": (lambda: optax.rmsprop(0.1), {"optimizer": RMSprop(epsilon_in_root=True)}),
    "rmsprop, epsilon outside": (
        lambda: optax.rmsprop(0.1, eps_in_sqrt=False),
        {"optimizer": RMSprop()},
    ),
    "rmsprop with momentum": (
        lambda: optax.rmsprop(0.1, momentum=0.9),
        {"optimizer": RMSprop(momentum=0.9, epsilon_in_root=True)},
    ),
    "clip_by_global_norm": (
        lambda: optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(0.1)),
        {"clip_norm": 0.5},
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_optimizers(row):
    make, settings = ROWS[row]
    problem = Problem()
    assert compared(problem, course(problem, make()), **settings) < 1e-13


ACTIVATIONS = {
    "gelu": (lambda z: jax.nn.gelu(z), "gelu_tanh"),
    "gelu, exact": (lambda z: jax.nn.gelu(z, approximate=False), "gelu"),
    "silu": (lambda z: jax.nn.silu(z), "silu"),
    "hard_sigmoid": (lambda z: jax.nn.hard_sigmoid(z), "hard_sigmoid"),
    "mish": (lambda z: jax.nn.mish(z), "mish"),
    "selu": (lambda z: jax.nn.selu(z), "selu"),
    "soft_sign": (lambda z: jax.nn.soft_sign(z), "softsign"),
    "softplus": (lambda z: jax.nn.softplus(z), "softplus"),
    "leaky_relu": (lambda z: jax.nn.leaky_relu(z), "leaky_relu"),
}


@pytest.mark.parametrize("row", ACTIVATIONS)
def test_activations(row):
    activation, name = ACTIVATIONS[row]
    problem = Problem()
    peer = course(problem, optax.sgd(0.1), activation)
    assert compared(problem, peer, activation=name) < 1e-13
