"""
JAX and optax beside jitprop: the same weights, batches and settings end at the same parameters.

A params pytree needs no importer: its arrays are `Trainer`'s ``init``.
"""

from __future__ import annotations

import itertools

import flax.linen
import jax
import numpy as np
import optax
import pytest

from jitprop import SGD, Adam, AdamW, RMSprop, Trainer

jax.config.update("jax_enable_x64", True)

N, SIZES, UPDATES = 24, [4, 5, 6, 3], 20
BATCHES = [slice(0, 8), slice(8, 16), slice(16, 24)]
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, SIZES[0]))
Y = RNG.uniform(size=(N, SIZES[-1]))
LABELS = RNG.integers(0, SIZES[-1], N)


def pytree(seed=0):
    draw = np.random.default_rng(seed)
    shapes = itertools.pairwise(SIZES)
    return [
        {"w": draw.normal(size=shape) / 2, "b": draw.normal(size=shape[1]) / 2} for shape in shapes
    ]


def forward(params, x):
    *hidden, last = params
    for layer in hidden:
        x = jax.numpy.tanh(x @ layer["w"] + layer["b"])
    return x @ last["w"] + last["b"]


def half_squared_error(params, x, y):
    """As `Trainer` has it by default: the sum over outputs, the mean over samples."""
    return 0.5 * ((forward(params, x) - y) ** 2).sum(axis=1).mean()


def mean_squared_error(params, x, y):
    """As optax.l2_loss and most examples have it: a mean over outputs too."""
    return ((forward(params, x) - y) ** 2).mean()


def cross_entropy(params, x, y):
    return optax.softmax_cross_entropy_with_integer_labels(forward(params, x), y).mean()


def in_jax(transform, loss=half_squared_error, y=Y):
    params = pytree()
    state = transform.init(params)
    gradient = jax.grad(loss)
    for i in range(UPDATES):
        rows = BATCHES[i % len(BATCHES)]
        updates, state = transform.update(gradient(params, X[rows], y[rows]), state, params)
        params = optax.apply_updates(params, updates)
    return params


def here(y=Y, rate=None, **settings):
    params = pytree()
    init = [layer["w"] for layer in params], [layer["b"] for layer in params]
    settings = {"output_activation": "identity"} | settings
    trainer = Trainer(SIZES, activation="tanh", init=init, dtype="float64", **settings)
    for i in range(UPDATES):
        rows = BATCHES[i % len(BATCHES)]
        if rate:
            trainer.learning_rate = rate(i)
        trainer.partial_fit(X[rows], y[rows])
    return trainer


def assert_same(trainer, params):
    for l, layer in enumerate(params):
        for mine, theirs in ((trainer.weights[l], layer["w"]), (trainer.biases[l], layer["b"])):
            np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-9)


OUTSIDE = {"rate_in_velocity": False}
ROWS = {
    "sgd": (optax.sgd(0.1), {"optimizer": SGD()}, 0.1),
    "momentum": (optax.sgd(0.1, 0.9), {"optimizer": SGD(0.9, **OUTSIDE)}, 0.1),
    "nesterov": (
        optax.sgd(0.1, 0.9, nesterov=True),
        {"optimizer": SGD(0.9, nesterov=True, **OUTSIDE)},
        0.1,
    ),
    "sgd with decay": (
        optax.chain(optax.add_decayed_weights(0.05), optax.sgd(0.1, 0.9)),
        {"optimizer": SGD(0.9, **OUTSIDE), "weight_decay": 0.05, "decay_biases": True},
        0.1,
    ),
    "adam": (optax.adam(0.02), {"optimizer": Adam()}, 0.02),
    "adam with settings": (
        optax.adam(0.02, 0.8, 0.95, 1e-2),
        {"optimizer": Adam(0.8, 0.95, 1e-2)},
        0.02,
    ),
    "adamw": (
        optax.adamw(0.02, weight_decay=0.05),
        {"optimizer": AdamW(), "weight_decay": 0.05, "decay_biases": True},
        0.02,
    ),
    "rmsprop": (
        optax.rmsprop(0.01, 0.9, 1e-3),
        {"optimizer": RMSprop(0.9, epsilon=1e-3, epsilon_in_root=True)},
        0.01,
    ),
    "rmsprop outside the root": (
        optax.rmsprop(0.01, 0.9, 1e-3, eps_in_sqrt=False),
        {"optimizer": RMSprop(0.9, epsilon=1e-3)},
        0.01,
    ),
    "rmsprop with momentum": (
        optax.rmsprop(0.01, 0.9, 1e-3, momentum=0.7),
        {"optimizer": RMSprop(0.9, 0.7, 1e-3, epsilon_in_root=True)},
        0.01,
    ),
    "clipping": (
        optax.chain(optax.clip_by_global_norm(0.1), optax.adam(0.02, eps=1e-2)),
        {"optimizer": Adam(epsilon=1e-2), "clip_norm": 0.1},
        0.02,
    ),
}
"""optax's transform, our settings, and our learning rate."""


@pytest.mark.parametrize("row", ROWS)
def test_updates_by_each_optimizer(row):
    transform, settings, rate = ROWS[row]
    assert_same(here(learning_rate=rate, **settings), in_jax(transform))


@pytest.mark.parametrize("row", ["momentum", "nesterov", "adam", "rmsprop with momentum"])
def test_a_falling_rate(row):
    make = {
        "momentum": lambda rate: optax.sgd(rate, 0.9),
        "nesterov": lambda rate: optax.sgd(rate, 0.9, nesterov=True),
        "adam": optax.adam,
        "rmsprop with momentum": lambda rate: optax.rmsprop(rate, 0.9, 1e-3, momentum=0.7),
    }[row]

    def rate(i):
        return 0.05 * 0.8**i

    assert_same(here(rate=rate, **ROWS[row][1]), in_jax(make(rate)))


def test_a_mean_over_outputs_is_another_rate():
    """With k outputs, optax's loss is that of "squared_error" divided by k."""
    k = SIZES[-1]
    ours = here(loss="squared_error", learning_rate=0.2 / k)
    assert_same(ours, in_jax(optax.sgd(0.2), mean_squared_error))
    ours = here(loss="squared_error", optimizer=Adam(epsilon=1e-2 * k), learning_rate=0.02)
    assert_same(ours, in_jax(optax.adam(0.02, eps=1e-2), mean_squared_error))


def test_cross_entropy():
    settings = {"loss": "cross_entropy", "output_activation": "softmax"}
    ours = here(LABELS, optimizer=Adam(), learning_rate=0.02, **settings)
    assert_same(ours, in_jax(optax.adam(0.02), cross_entropy, LABELS))


NAMES = {
    "sigmoid": jax.nn.sigmoid,
    "relu": jax.nn.relu,
    "leaky_relu": jax.nn.leaky_relu,
    "elu": jax.nn.elu,
    "selu": jax.nn.selu,
    "softplus": jax.nn.softplus,
    "silu": jax.nn.silu,
    "mish": jax.nn.mish,
    "softsign": jax.nn.soft_sign,
    "hard_sigmoid": jax.nn.hard_sigmoid,
    "gelu_tanh": jax.nn.gelu,
    "gelu": lambda z: jax.nn.gelu(z, approximate=False),
}


@pytest.mark.parametrize("name", NAMES)
def test_activations(name):
    z = np.linspace(-30, 30, 2001)[:, np.newaxis]
    identity = ([np.eye(1)], [np.zeros(1)])
    ours = Trainer([1, 1], output_activation=name, init=identity).predict(z)
    np.testing.assert_allclose(ours, NAMES[name](z), rtol=1e-12, atol=1e-12)


def test_flax_kernels_have_our_shape():
    class Net(flax.linen.Module):
        @flax.linen.compact
        def __call__(self, x):
            x = flax.linen.tanh(flax.linen.Dense(5, param_dtype=np.float64)(x))
            return flax.linen.Dense(3, param_dtype=np.float64)(x)

    net = Net()
    variables = net.init(jax.random.key(0), X)
    layers = variables["params"].values()
    init = [layer["kernel"] for layer in layers], [layer["bias"] for layer in layers]
    trainer = Trainer([4, 5, 3], activation="tanh", output_activation="identity", init=init)
    np.testing.assert_allclose(trainer.predict(X), net.apply(variables, X), rtol=0, atol=1e-12)
