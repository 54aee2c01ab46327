"""
Training in plain NumPy: to be read beside a textbook.

It shares no code with the compiled kernels. So it serves twice: as the oracle that they are
tested against, and as the backend where numba is missing.

For layers l = 0, 1, ..., L - 1, with W[l] of shape (n_in, n_out) and a[0] = X, one sample a row::

    z[l]   = a[l] @ W[l] + b[l]                       forward
    a[l+1] = f_l(z[l])
    E      = loss(a[L], y)

    delta[L-1] = dE/da[L] * f'(z[L-1])                backward
    delta[l]   = (delta[l+1] @ W[l+1].T) * f'(z[l])

    dE/dW[l] = a[l].T @ delta[l]                      gradients
    dE/db[l] = delta[l] summed over the samples

    W[l] <- W[l] - learning_rate * dE/dW[l]           update

Source: Rumelhart, Hinton and Williams, *Learning representations by back-propagating errors*,
Nature 323, 1986.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from jitprop._types import Array
from jitprop.losses import BinaryCrossEntropy, CrossEntropy, HalfSquaredError
from jitprop.optimizers import SGD, AdamW, RMSprop, Rprop
from jitprop.spec import Spec

# Activations: z -> (a, slope), a = f(z) and slope = f'(z). The slope is not computed from a, as
# a (1 - a) would: 1 - a has no digits left where a unit saturates.


def sigmoid(z: Array) -> tuple[Array, Array]:
    """a = 1 / (1 + exp(-z)), slope = sigmoid(z) sigmoid(-z)."""
    e = np.exp(-np.abs(z))
    a = np.where(z < 0, e, 1) / (1 + e)
    return a, e / (1 + e) ** 2


def tanh(z: Array) -> tuple[Array, Array]:
    """a = tanh(z), slope = 1 - a**2 = 4 / (exp(z) + exp(-z))**2."""
    e = np.exp(-2 * np.abs(z))
    return np.tanh(z), 4 * e / (1 + e) ** 2


def relu(z: Array) -> tuple[Array, Array]:
    """a = max(z, 0)."""
    return np.maximum(z, 0), (z > 0).astype(z.dtype)


def leaky_relu(z: Array) -> tuple[Array, Array]:
    """a = z where z > 0, else 0.01 z."""
    slope = np.where(z > 0, 1, 0.01).astype(z.dtype)
    return z * slope, slope


def elu(z: Array) -> tuple[Array, Array]:
    """a = z where z > 0, else exp(z) - 1."""
    negative = np.minimum(z, 0)
    return np.where(z > 0, z, np.expm1(negative)), np.exp(negative)


def softplus(z: Array) -> tuple[Array, Array]:
    """a = log(1 + exp(z)), slope = sigmoid(z)."""
    return np.logaddexp(z.dtype.type(0), z), sigmoid(z)[0]


def gelu(z: Array) -> tuple[Array, Array]:
    """a = z sigmoid(v) with v = 2 sqrt(2/pi) (z + 0.044715 z**3): the tanh form of GELU."""
    c = z.dtype.type(2 * np.sqrt(2 / np.pi))
    s, s_slope = sigmoid(c * (z + 0.044715 * z**3))
    return z * s, s + z * s_slope * c * (1 + 3 * 0.044715 * z**2)


def silu(z: Array) -> tuple[Array, Array]:
    """a = z sigmoid(z)."""
    s, s_slope = sigmoid(z)
    return z * s, s + z * s_slope


def identity(z: Array) -> tuple[Array, Array]:
    """a = z."""
    return z, np.ones_like(z)


def softmax(z: Array) -> Array:
    """a_j = exp(z_j) / sum_k exp(z_k), over each row."""
    e = np.exp(z - z.max(axis=1, keepdims=True))
    a: Array = e / e.sum(axis=1, keepdims=True)
    return a


ACTIVATIONS: dict[str, Callable[[Array], tuple[Array, Array]]] = {
    "sigmoid": sigmoid,
    "tanh": tanh,
    "relu": relu,
    "leaky_relu": leaky_relu,
    "elu": elu,
    "softplus": softplus,
    "gelu": gelu,
    "silu": silu,
    "identity": identity,
}


# Losses of each sample, (m, n) -> (m,), summed over the outputs, and their derivatives.


def half_squared_error(a: Array, y: Array) -> tuple[Array, Array]:
    """E = 1/2 sum (a - y)**2, dE/da = a - y."""
    return 0.5 * ((a - y) ** 2).sum(axis=1), a - y


def squared_error(a: Array, y: Array) -> tuple[Array, Array]:
    """E = sum (a - y)**2, dE/da = 2 (a - y)."""
    return ((a - y) ** 2).sum(axis=1), 2 * (a - y)


def binary_cross_entropy(z: Array, y: Array) -> tuple[Array, Array, Array]:
    """
    E = -sum [y log a + (1 - y) log(1 - a)] with a = sigmoid(z); dE/dz = a - y.

    From z itself, E = sum [log(1 + exp(z)) - y z], which no saturated unit turns into log(0); and
    with max(z, 0) taken out of the logarithm, so that it cancels y z exactly where y = 1.
    """
    a, _ = sigmoid(z)
    losses = (np.maximum(z, 0) - y * z) + np.log1p(np.exp(-np.abs(z)))
    return a, losses.sum(axis=1), a - y


def cross_entropy(z: Array, y: Array) -> tuple[Array, Array, Array]:
    """E = -sum y log a with a = softmax(z); dE/dz = a - y."""
    a = softmax(z)
    shifted = z - z.max(axis=1, keepdims=True)
    log_a = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return a, -np.where(y == 0, 0, y * log_a).sum(axis=1), a - y


def output_delta(spec: Spec, z: Array, y: Array) -> tuple[Array, Array, Array]:
    """Output a[L], each sample's loss, and delta[L-1] = dE/dz[L-1] of each sample."""
    if isinstance(spec.loss, BinaryCrossEntropy):
        return binary_cross_entropy(z, y)
    if isinstance(spec.loss, CrossEntropy):
        return cross_entropy(z, y)
    a, slope = ACTIVATIONS[spec.activations[-1]](z)
    halved = isinstance(spec.loss, HalfSquaredError)
    losses, d_a = (half_squared_error if halved else squared_error)(a, y)
    return a, losses, d_a * slope


# The net.


def forward(
    spec: Spec, weights: list[Array], biases: list[Array], X: Array
) -> tuple[list[Array], list[Array], Array]:
    """a[0] to a[L-1], the slopes f'(z) of the hidden layers, and z of the output layer."""
    a, slopes = [X], []
    for l in range(len(weights) - 1):
        a_next, slope = ACTIVATIONS[spec.activations[l]](a[l] @ weights[l] + biases[l])
        a.append(a_next)
        slopes.append(slope)
    return a, slopes, a[-1] @ weights[-1] + biases[-1]


def backward(weights: list[Array], slopes: list[Array], delta: Array) -> list[Array]:
    """delta[0] to delta[L-1], from the last of them."""
    deltas = [delta]
    for l in reversed(range(len(weights) - 1)):
        deltas.insert(0, (deltas[0] @ weights[l + 1].T) * slopes[l])
    return deltas


def backpropagate(
    spec: Spec, params: Array, X: Array, y: Array, sample_weights: Array | None
) -> tuple[float, list[Array], list[Array]]:
    """
    Summed loss of a batch, and the derivatives of its reduced loss by every W and b.

    With sample weights w the sum is that of w E, and the mean is sum w E / sum w; if all weights
    of the batch are 0, so are the derivatives.
    """
    weights, biases = spec.split(params)
    a, slopes, z = forward(spec, weights, biases, X)
    _, losses, delta = output_delta(spec, z, targets(spec, y, z.dtype))
    w = np.ones(len(X), z.dtype) if sample_weights is None else sample_weights
    whole = w.sum(dtype=np.float64) if spec.reduction == "mean" else 1.0
    share = (w / (whole or 1.0)).astype(z.dtype)
    delta = delta * share[:, np.newaxis]

    deltas = backward(weights, slopes, delta)
    d_weights = [a[l].T @ deltas[l] for l in range(len(weights))]
    d_biases = [delta.sum(axis=0) for delta in deltas]
    return float((w * losses).sum(dtype=np.float64)), d_weights, d_biases


def targets(spec: Spec, y: Array, dtype: np.dtype[Any]) -> Array:
    """Targets as rows: class labels become rows of 0 with one 1."""
    if y.ndim == 2:
        return y
    return np.eye(spec.layer_sizes[-1], dtype=dtype)[y.astype(np.int64)]


def update(
    spec: Spec, p: Array, g: Array, slots: list[Array], rate: float, decay: float, t: int
) -> None:
    """
    Update number t of the parameters p, in place, from the gradient g of the data.

    slots[0], slots[1], ... are what the optimizer keeps of each parameter; rate is the learning
    rate, decay the weight decay, 0 for biases.
    """
    optimizer = spec.optimizer
    if isinstance(optimizer, SGD):
        g = g + decay * p
        if optimizer.momentum == 0.0:
            p -= rate * g
            return
        velocity = slots[0]
        velocity[:] = optimizer.momentum * velocity - rate * g
        p += optimizer.momentum * velocity - rate * g if optimizer.nesterov else velocity
        return

    if isinstance(optimizer, RMSprop):
        g = g + decay * p
        mean_square = slots[0]
        mean_square[:] = optimizer.rho * mean_square + (1 - optimizer.rho) * g**2
        step = -rate * g / (np.sqrt(mean_square) + optimizer.epsilon)
        if optimizer.momentum != 0.0:
            step += optimizer.momentum * slots[1]
            slots[1][:] = step
        p += step
        return

    if isinstance(optimizer, Rprop):
        step, sign = slots
        if t == 1:
            step[:] = rate
        new_sign = np.sign(g + decay * p)
        step[sign * new_sign > 0] *= optimizer.eta_plus
        step[sign * new_sign < 0] *= optimizer.eta_minus
        np.clip(step, optimizer.step_min, optimizer.step_max, out=step)
        sign[:] = np.where(sign * new_sign < 0, 0, new_sign)
        p -= sign * step
        return

    if isinstance(optimizer, AdamW):
        p *= 1 - rate * decay
    else:
        g = g + decay * p
    mean, mean_square = slots
    mean[:] = optimizer.beta_1 * mean + (1 - optimizer.beta_1) * g
    mean_square[:] = optimizer.beta_2 * mean_square + (1 - optimizer.beta_2) * g**2
    correction = np.sqrt(1 - optimizer.beta_2**t) / (1 - optimizer.beta_1**t)
    p -= float(rate * correction) * mean / (np.sqrt(mean_square) + optimizer.epsilon)


# What the trainer asks of a backend.

FIRST_CALL = 2e6
"""Multiply-adds in the first call of `train`: up to 0.1 s, where nets are small."""


def prepare(
    spec: Spec, n_samples: int, dtype: np.dtype[Any], n_threads: int | None, n_updates: int
) -> Spec:
    """What this backend wants to be told of a net: the spec as it is. It has one thread."""
    del n_samples, dtype, n_threads, n_updates
    return spec


def close(net: Spec) -> None:
    """Give back what `prepare` took: nothing."""
    del net


def train(
    net: Spec,
    params: Array,
    slots: Array,
    X: Array,
    y: Array,
    weights: Array | None,
    order: npt.NDArray[np.int64] | None,
    losses: npt.NDArray[np.float64],
    rates: npt.NDArray[np.float64],
    start: int,
    stop: int,
    updates: int,
) -> int:
    """
    Train on batches ``start`` to ``stop``, counted through the epochs, in place.

    Parameters
    ----------
    params : (P,) array
    slots : (n_slots, P) array
    X : (n_samples, n_inputs) array
    y : (n_samples, n_outputs) array, or (n_samples,) class labels
    weights : (n_samples,) array or None
    order : (epochs, n_samples) array or None
    losses : (epochs,) array
        Each batch's loss, summed over its samples, times their weights, is added to its epoch's.
    rates : (epochs,) array
        The learning rate of each epoch.
    updates : int
        How many updates came before.

    Returns
    -------
    int
        ``stop``; or the first batch whose loss is inf or nan, its update not done.
    """
    n, size = len(X), net.batch(len(X))
    n_batches = -(-n // size)
    parts = list(zip(*net.split(params), strict=True))
    slot_parts = [list(zip(*net.split(slot), strict=True)) for slot in slots]
    for step in range(start, stop):
        epoch, batch = divmod(step, n_batches)
        rows: Any = slice(batch * size, min((batch + 1) * size, n))
        if order is not None:
            rows = order[epoch, rows]
        with np.errstate(all="ignore"):  # divergence is told by the loss
            w = None if weights is None else weights[rows]
            loss, *gradients = backpropagate(net, params, X[rows], y[rows], w)
            if not np.isfinite(loss):
                return step
            losses[epoch] += loss
            rate, t = float(rates[epoch]), updates + step - start + 1
            for l, d in enumerate(zip(*gradients, strict=True)):
                for part, decay in ((0, net.weight_decay), (1, 0.0)):
                    kept = [slot[l][part] for slot in slot_parts]
                    update(net, parts[l][part], d[part], kept, rate, decay, t)
    return stop


def evaluate(net: Spec, params: Array, X: Array, y: Array, weights: Array | None) -> float:
    """Summed loss of all samples, each times its weight."""
    with np.errstate(all="ignore"):
        _, _, z = forward(net, *net.split(params), X)
        _, losses, _ = output_delta(net, z, targets(net, y, z.dtype))
        if weights is not None:
            losses = weights * losses
        return float(losses.sum(dtype=np.float64))


def gradient(
    net: Spec, params: Array, X: Array, y: Array, weights: Array | None, out: Array
) -> float:
    """Gradient of the reduced loss of one batch into ``out``, (P,). Returns the summed loss."""
    with np.errstate(all="ignore"):
        loss, d_weights, d_biases = backpropagate(net, params, X, y, weights)
    for view, d in zip(net.split(out)[0] + net.split(out)[1], d_weights + d_biases, strict=True):
        view[:] = d
    return loss


def predict(net: Spec, params: Array, X: Array, out: Array) -> None:
    """Outputs of all samples into ``out``, (n_samples, n_outputs)."""
    with np.errstate(all="ignore"):
        _, _, z = forward(net, *net.split(params), X)
        last = net.activations[-1]
        out[:] = softmax(z) if last == "softmax" else ACTIVATIONS[last](z)[0]
