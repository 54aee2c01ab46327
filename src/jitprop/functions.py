"""
Every activation and every loss in plain NumPy, with its derivative, for `jitprop.reference`.

Activations take z and return a = f(z) and the slope f'(z), all arrays of the same shape. Losses
take arrays of the shape (m, n), with a row for each of m samples. They return each sample's loss
E, (m,), summed over its n outputs, and a derivative of E, (m, n).

Sources of activations: sigmoid, tanh and softmax are in every textbook, such as Goodfellow, Bengio
and Courville, *Deep Learning*, 2016. relu: Glorot, Bordes and Bengio, *Deep Sparse Rectifier Neural
Networks*, AISTATS 2011, with softplus. leaky_relu: Maas, Hannun and Ng, *Rectifier Nonlinearities
Improve Neural Network Acoustic Models*, 2013. elu: Clevert, Unterthiner and Hochreiter,
arXiv:1511.07289, with alpha = 1. selu: Klambauer, Unterthiner, Mayr and Hochreiter,
arXiv:1706.02515. mish: Misra, arXiv:1908.08681. softsign: Glorot and Bengio, *Understanding the
Difficulty of Training Deep Feedforward Neural Networks*, AISTATS 2010. gelu: Hendrycks and Gimpel,
arXiv:1606.08415. silu: the same, and Elfwing, Uchibe and Doya, arXiv:1702.03118. hard_sigmoid: as
in PyTorch, Keras 3 and JAX. Sources of losses: see `jitprop.net.losses`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from jitprop._types import Array
from jitprop.net.activations import Activation
from jitprop.net.custom import CustomActivation

# Activations. The slope is computed from z and not from a, as in a (1 - a): where a unit saturates,
# 1 - a has lost its digits.


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
    """a = max(z, 0), slope = 1 where z > 0, else 0."""
    return np.maximum(z, 0), (z > 0).astype(z.dtype)


def leaky_relu(z: Array, negative_slope: float = 0.01) -> tuple[Array, Array]:
    """a = z where z > 0, else negative_slope z; slope = 1 or negative_slope."""
    slope = np.where(z > 0, 1, negative_slope).astype(z.dtype)
    return z * slope, slope


def elu(z: Array, alpha: float = 1.0) -> tuple[Array, Array]:
    """a = z where z > 0, else alpha (exp(z) - 1); slope = 1 or alpha exp(z)."""
    scale, negative = z.dtype.type(alpha), np.minimum(z, 0)
    a = np.where(z > 0, z, scale * np.expm1(negative))
    return a, np.where(z > 0, z.dtype.type(1), scale * np.exp(negative))


def softplus(z: Array, beta: float = 1.0) -> tuple[Array, Array]:
    """a = log(1 + exp(beta z)) / beta, slope = sigmoid(beta z)."""
    scale = z.dtype.type(beta)
    return np.logaddexp(z.dtype.type(0), scale * z) / scale, sigmoid(scale * z)[0]


def gelu(z: Array) -> tuple[Array, Array]:
    """a = z Phi(z), slope = Phi(z) + z phi(z): the normal distribution and its density."""
    x = np.clip(z, -40, 40).astype(np.float64)  # beyond that Phi is 0 or 1; inf * 0 would be nan
    tails = [0.5 * math.erfc(-v * math.sqrt(0.5)) for v in x.ravel().tolist()]
    normal = np.array(tails).reshape(x.shape)
    slope = normal + x * np.exp(-0.5 * x**2) / math.sqrt(2 * math.pi)
    return (np.maximum(z, x) * normal).astype(z.dtype), slope.astype(z.dtype)


def gelu_tanh(z: Array) -> tuple[Array, Array]:
    """a = z sigmoid(v) with v = 2 sqrt(2/pi) (z + 0.044715 z**3): the tanh form of GELU."""
    c = z.dtype.type(2 * np.sqrt(2 / np.pi))
    s, s_slope = sigmoid(c * (z + 0.044715 * z**3))
    return z * s, s + z * s_slope * c * (1 + 3 * 0.044715 * z**2)


def silu(z: Array) -> tuple[Array, Array]:
    """a = z sigmoid(z), slope = sigmoid(z) + z sigmoid'(z)."""
    s, s_slope = sigmoid(z)
    return z * s, s + z * s_slope


def selu(z: Array) -> tuple[Array, Array]:
    """
    a = lambda z where z > 0, else lambda alpha (exp(z) - 1); slope = lambda or lambda alpha exp(z).

    lambda and alpha keep the mean 0 and the variance 1 of a layer's inputs.
    """
    scale, alpha = z.dtype.type(1.0507009873554805), z.dtype.type(1.6732632423543772)
    negative = np.minimum(z, 0)
    a = np.where(z > 0, scale * z, scale * alpha * np.expm1(negative))
    return a, np.where(z > 0, scale, scale * alpha * np.exp(negative))


def mish(z: Array) -> tuple[Array, Array]:
    """a = z t with t = tanh(softplus(z)), slope = t + z (1 - t**2) sigmoid(z)."""
    x = np.clip(z, -1e4, 1e4)  # beyond that t is 0 or 1; infinity times 0 would be nan
    s, s_slope = softplus(x)
    t, t_slope = tanh(s)
    return np.maximum(z, x) * t, t + x * t_slope * s_slope


def softsign(z: Array) -> tuple[Array, Array]:
    """a = z / (1 + abs(z)), slope = 1 / (1 + abs(z))**2."""
    size = np.abs(z)
    large = np.minimum(size, z.dtype.type(1e30))  # inf / inf would be nan
    return np.copysign(large / (1 + large), z), (1 / (1 + size)) ** 2


def hard_sigmoid(z: Array) -> tuple[Array, Array]:
    """a = z/6 + 1/2, clipped to 0 ... 1; slope = 1/6 where -3 < z < 3, else 0."""
    a = np.clip(z + 3, 0, 6) / 6
    return a, np.where(np.abs(z) < 3, 1 / 6, 0).astype(z.dtype)


def exp(z: Array) -> tuple[Array, Array]:
    """a = exp(z), slope = exp(z)."""
    a = np.exp(z)
    return a, a


def identity(z: Array) -> tuple[Array, Array]:
    """a = z, slope = 1."""
    return z, np.ones_like(z)


def softmax(z: Array) -> Array:
    """a_j = exp(z_j) / sum_k exp(z_k), in each row of z, (m, n)."""
    e = np.exp(z - z.max(axis=1, keepdims=True))
    a: Array = e / e.sum(axis=1, keepdims=True)
    return a


ACTIVATIONS: dict[str, Callable[..., tuple[Array, Array]]] = {
    "sigmoid": sigmoid,
    "tanh": tanh,
    "relu": relu,
    "leaky_relu": leaky_relu,
    "elu": elu,
    "softplus": softplus,
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "silu": silu,
    "selu": selu,
    "mish": mish,
    "softsign": softsign,
    "hard_sigmoid": hard_sigmoid,
    "exp": exp,
    "identity": identity,
}


def activate(activation: Activation, z: Array) -> tuple[Array, Array]:
    """The value and the slope of an activation, given by its name or as an object."""
    if isinstance(activation, CustomActivation):
        return activation.on_arrays(z)
    if isinstance(activation, str):
        return ACTIVATIONS[activation](z)
    return ACTIVATIONS[activation.name](z, activation.number)


# Losses of the outputs a, which return E and dE/da.


def half_squared_error(a: Array, y: Array) -> tuple[Array, Array]:
    """E = 1/2 sum (a - y)**2, dE/da = a - y."""
    return 0.5 * ((a - y) ** 2).sum(axis=1), a - y


def squared_error(a: Array, y: Array) -> tuple[Array, Array]:
    """E = sum (a - y)**2, dE/da = 2 (a - y)."""
    return ((a - y) ** 2).sum(axis=1), 2 * (a - y)


def absolute_error(a: Array, y: Array) -> tuple[Array, Array]:
    """E = sum abs(a - y), dE/da = -1, 0 or 1: the sign of a - y."""
    return np.abs(a - y).sum(axis=1), np.sign(a - y)


def huber(a: Array, y: Array, delta: float) -> tuple[Array, Array]:
    """
    E = sum of (a - y)**2 / 2 where abs(a - y) <= delta, else delta (abs(a - y) - delta / 2).

    dE/da = a - y, clipped to -delta ... delta.
    """
    size = np.abs(a - y)
    losses = np.where(size <= delta, 0.5 * size**2, delta * (size - 0.5 * delta))
    return losses.sum(axis=1), np.clip(a - y, -delta, delta)


def quantile(a: Array, y: Array, q: float) -> tuple[Array, Array]:
    """
    E = sum of q (y - a) where y > a, else (1 - q) (a - y).

    dE/da = -q where y > a, 1 - q where y < a, and 0 where both are equal.
    """
    losses = np.where(y > a, q * (y - a), (1 - q) * (a - y))
    return losses.sum(axis=1), np.where(y > a, -q, np.where(y < a, 1 - q, 0)).astype(a.dtype)


# Losses of z, the input of the output activation, which return E and dE/dz.


def binary_cross_entropy(z: Array, y: Array) -> tuple[Array, Array]:
    """
    E = -sum [y log a + (1 - y) log(1 - a)] with a = sigmoid(z); dE/dz = a - y.

    E is computed from z as sum [log(1 + exp(z)) - y z], so a saturated unit never gives log(0).
    max(z, 0) is taken out of the logarithm: where y = 1 and z > 0 it then cancels y z exactly.
    """
    losses = (np.maximum(z, 0) - y * z) + np.log1p(np.exp(-np.abs(z)))
    return losses.sum(axis=1), sigmoid(z)[0] - y


def cross_entropy(z: Array, y: Array) -> tuple[Array, Array]:
    """E = -sum y log a with a = softmax(z); dE/dz = a - y. Each row of y sums to 1."""
    shifted = z - z.max(axis=1, keepdims=True)
    log_a = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -np.where(y == 0, 0, y * log_a).sum(axis=1), softmax(z) - y


def rounded_cross_entropy(a: Array, y: Array, softmax: bool) -> Array:
    """
    Cross-entropy of outputs a as scikit-learn reports it; y is 0 or 1.

    E = -sum y log a for softmax outputs, else E = -sum [y log a + (1 - y) log(1 - a)]. Before the
    logarithm a is clipped to epsilon ... 1 - epsilon, with the epsilon of its dtype. nan stays nan.
    """
    epsilon = np.finfo(a.dtype).eps
    p = np.clip(a, epsilon, 1 - epsilon)
    miss = np.zeros_like(p) if softmax else np.log(1 - p)
    losses: Array = -np.where(y > 0.5, np.log(p), miss).sum(axis=1)
    return losses


def poisson(z: Array, y: Array) -> tuple[Array, Array]:
    """E = sum [exp(z) - y z], dE/dz = exp(z) - y, with z = log(rate)."""
    rate = np.exp(z)
    return (rate - y * z).sum(axis=1), rate - y


def gaussian_nll(z: Array, y: Array) -> tuple[Array, Array]:
    """
    E = 1/2 sum [s + (y - mean)**2 exp(-s)], with s = log(variance).

    Each row of z, (m, 2 n), holds n means and then n log-variances s; y has the shape (m, n).
    dE/dmean = (mean - y) exp(-s), dE/ds = 1/2 (1 - (y - mean)**2 exp(-s)).
    """
    mean, s = np.split(z, 2, axis=1)
    precision = np.exp(-s)
    r = mean - y
    losses = 0.5 * (s + r**2 * precision).sum(axis=1)
    return losses, np.hstack([r * precision, 0.5 * (1 - r**2 * precision)])
