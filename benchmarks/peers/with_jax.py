"""JAX: the whole training is one compiled call, a scan over epochs of a scan over batches."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

PACKAGES = ("jax", "jaxlib")

jax.config.update("jax_enable_x64", True)


def prepare(work):
    """Return a function: epochs -> weights, biases, loss of each epoch."""
    X, y = (jnp.asarray(array) for array in work.data())
    start = jax.tree.map(jnp.asarray, work.start())
    compiled = jax.jit(partial(fit, work), static_argnames="epochs")

    def train(epochs):
        (weights, biases), losses = compiled(start, X, y, epochs=epochs)
        return [*map(np.asarray, weights)], [*map(np.asarray, biases)], np.asarray(losses)

    return train


def fit(work, params, X, y, *, epochs):
    """Return the parameters after ``epochs`` epochs, and the loss of each epoch."""
    activate = {"sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh}[work.activation]
    init, update = {"sgd": (sgd_init, sgd), "adam": (adam_init, adam)}[work.optimizer]
    scale = 0.5 / work.batch_size if work.reduction == "mean" else 0.5

    def batch_loss(params, x, t):
        for W, b in zip(*params, strict=True):
            x = activate(x @ W + b)
        return scale * jnp.sum((x - t) ** 2)

    def step(state, batch):
        params, slots = state
        loss, gradient = jax.value_and_grad(batch_loss)(params, *batch)
        return update(params, gradient, slots, work.learning_rate), loss

    def epoch(state, _):
        if work.n_batches == 1:
            return step(state, (X, y))
        batches = [array.reshape(work.n_batches, work.batch_size, -1) for array in (X, y)]
        state, losses = jax.lax.scan(step, state, batches)
        return state, losses.mean()

    (params, _), losses = jax.lax.scan(epoch, (params, init(params)), length=epochs)
    return params, losses


def sgd_init(params):
    """Return the state of SGD, which has none."""
    return ()


def sgd(params, gradient, slots, rate):
    """p <- p - rate g."""
    return jax.tree.map(lambda p, g: p - rate * g, params, gradient), slots


def adam_init(params):
    """Return Adam's initial state: the two means, and the number of updates."""
    zeros = jax.tree.map(jnp.zeros_like, params)
    return zeros, zeros, jnp.float32(0)


def adam(params, gradient, slots, rate, beta_1=0.9, beta_2=0.999, epsilon=1e-8):
    """Update by Adam (Kingma and Ba, 2014), in the form at the end of their section 2."""
    mean, mean_square, t = slots
    t = t + 1
    mean = jax.tree.map(lambda m, g: beta_1 * m + (1 - beta_1) * g, mean, gradient)
    mean_square = jax.tree.map(
        lambda v, g: beta_2 * v + (1 - beta_2) * g * g, mean_square, gradient
    )
    size = rate * jnp.sqrt(1 - beta_2**t) / (1 - beta_1**t)
    params = jax.tree.map(
        lambda p, m, v: p - size * m / (jnp.sqrt(v) + epsilon), params, mean, mean_square
    )
    return params, (mean, mean_square, t)


def calls(net):
    """Return the calls of a net, each one compiled call: {name: function}."""
    activate = {"sigmoid": jax.nn.sigmoid, "relu": jax.nn.relu}[net.activation]
    activate_outputs = {"sigmoid": jax.nn.sigmoid, "softmax": jax.nn.softmax}[net.output_activation]

    def scores(params, X):
        *hidden, (W, b) = zip(*params, strict=True)
        for V, c in hidden:
            X = activate(X @ V + c)
        return X @ W + b

    def loss(params, X, y):
        z = scores(params, X)
        if net.loss == "cross_entropy":
            return -jnp.sum(jax.nn.log_softmax(z) * y) / len(X)
        return 0.5 / len(X) * jnp.sum((activate_outputs(z) - y) ** 2)

    @jax.jit
    def outputs(params, X):
        return activate_outputs(scores(params, X))

    @jax.jit
    def updated(params, X, y):
        value, gradient = jax.value_and_grad(loss)(params, X, y)
        return jax.tree.map(lambda p, g: p - net.learning_rate * g, params, gradient), value

    compiled_loss, loss_and_gradient = jax.jit(loss), jax.jit(jax.value_and_grad(loss))
    params = jax.tree.map(jnp.asarray, net.start())

    def predict(X):
        return np.asarray(outputs(params, X))

    def evaluate(X, y):
        return np.asarray(compiled_loss(params, X, y))

    def gradients(X, y):
        value, (weights, biases) = loss_and_gradient(params, X, y)
        return np.asarray(value), [*map(np.asarray, weights)], [*map(np.asarray, biases)]

    def step(X, y):
        nonlocal params
        params, value = updated(params, X, y)
        return np.asarray(value)

    return {
        "predict": predict,
        "evaluate": evaluate,
        "gradients": gradients,
        "partial_fit": step,
        "fit": step,
        "parameters": lambda: [*map(np.asarray, (*params[0], *params[1]))],
    }
