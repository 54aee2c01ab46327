"""
Keras: its optimizers, called with the same gradients.

`Model.fit` computes parts in float32, even with floatx "float64". So its courses agree to 1e-7.
"""

import numpy as np
import pytest

from interop.coming_from.course import UPDATES, Problem, difference
from jitprop import SGD, Adam, AdamW, Exponential, RMSprop, Trainer

jax = pytest.importorskip("jax")
jax.config.update("jax_enable_x64", True)
keras = pytest.importorskip("keras")

# Keras 3.15 makes NumPy arrays of its variables in a way that NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def course(problem, optimizer, **settings):
    """Return the parameters after updates by Keras; the gradients are those of NumPy's backend."""
    variables = [keras.Variable(a, dtype="float64") for a in (*problem.weights, *problem.biases)]
    optimizer.build(variables)
    for _ in range(UPDATES):
        arrays = [keras.ops.convert_to_numpy(v.value) for v in variables]
        net = trainer((arrays[:2], arrays[2:]), backend="numpy", **settings)
        gradients = net.gradients(problem.X, problem.y)
        given = [*gradients.weights, *gradients.biases]
        optimizer.apply([keras.ops.convert_to_tensor(g, dtype="float64") for g in given])
    return [keras.ops.convert_to_numpy(v.value) for v in variables]


def trainer(init, **settings):
    return Trainer(
        [3, 5, 2],
        activation="tanh",
        output_activation="identity",
        dtype="float64",
        init=init,
        **settings,
    )


optimizers = keras.optimizers
# Constants that float32 holds: Keras casts them.
RATE, MOMENTUM = 0.125, 0.75
ROWS = {
    "SGD": (lambda: optimizers.SGD(RATE), {"learning_rate": RATE}),
    "momentum": (
        lambda: optimizers.SGD(RATE, momentum=MOMENTUM),
        {"learning_rate": RATE, "optimizer": SGD(momentum=MOMENTUM)},
    ),
    "Nesterov": (
        lambda: optimizers.SGD(RATE, momentum=MOMENTUM, nesterov=True),
        {"learning_rate": RATE, "optimizer": SGD(momentum=MOMENTUM, nesterov=True)},
    ),
    "momentum with a falling rate": (
        lambda: optimizers.SGD(
            optimizers.schedules.ExponentialDecay(RATE, 1, 0.5), momentum=MOMENTUM
        ),
        {"learning_rate": Exponential(RATE, 0.5), "optimizer": SGD(momentum=MOMENTUM)},
    ),
    "Adam": (
        lambda: optimizers.Adam(RATE, 0.75, 0.875, 2.0**-20),
        {
            "learning_rate": RATE,
            "optimizer": Adam(0.75, 0.875, 2.0**-20, epsilon_hat=True),
        },
    ),
    "AdamW": (
        lambda: optimizers.AdamW(RATE, 0.0625, 0.75, 0.875, 2.0**-20),
        {
            "learning_rate": RATE,
            "weight_decay": 0.0625,
            "decay_biases": True,
            "optimizer": AdamW(0.75, 0.875, 2.0**-20, epsilon_hat=True),
        },
    ),
    "RMSprop": (
        lambda: optimizers.RMSprop(RATE, 0.875, epsilon=2.0**-20),
        {
            "learning_rate": RATE,
            "optimizer": RMSprop(0.875, epsilon=2.0**-20, epsilon_in_root=True),
        },
    ),
    "RMSprop with momentum": (
        lambda: optimizers.RMSprop(RATE, 0.875, MOMENTUM, 2.0**-20),
        {
            "learning_rate": RATE,
            "optimizer": RMSprop(0.875, MOMENTUM, 2.0**-20, epsilon_in_root=True),
        },
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_optimizers(row):
    make, settings = ROWS[row]
    problem = Problem()
    peer = course(problem, make())
    net = trainer(problem.init, **settings)
    net.fit(problem.X, problem.y, UPDATES)
    start = [*problem.weights, *problem.biases]
    assert difference([*net.weights, *net.biases], peer, start) < 1e-12


def test_global_clipnorm():
    problem = Problem()
    peer = course(problem, optimizers.SGD(RATE, global_clipnorm=0.5))
    net = trainer(problem.init, learning_rate=RATE, clip_norm=0.5)
    net.fit(problem.X, problem.y, UPDATES)
    start = [*problem.weights, *problem.biases]
    assert difference([*net.weights, *net.biases], peer, start) < 1e-6  # its norm is float32


def test_initial_weights_are_those_of_glorot():
    layer = keras.layers.Dense(300)
    layer.build((None, 400))
    kernel, bias = (keras.ops.convert_to_numpy(v.value) for v in layer.weights)
    bound = np.sqrt(6 / 700)
    assert 0.98 * bound < np.abs(kernel).max() <= bound + 1e-7
    assert not bias.any()
