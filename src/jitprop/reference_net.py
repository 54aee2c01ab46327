"""
One net in plain NumPy: its outputs, its loss and the derivatives of the loss.

These are the equations of `jitprop.reference` that come before the update. Second-order methods
need them too.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from jitprop import functions
from jitprop._types import Array
from jitprop.net.custom import CustomLoss
from jitprop.net.losses import (
    AbsoluteError,
    BinaryCrossEntropy,
    CrossEntropy,
    GaussianNLL,
    HalfSquaredError,
    Huber,
    Poisson,
    Quantile,
    SquaredError,
)
from jitprop.net.spec import Spec

SMALLEST = float(np.finfo(np.float64).tiny)
"""
The smallest sum of weights by which losses are divided. Smaller sums are subnormal, and their
inverse may overflow.
"""

# The output layer.


def output(spec: Spec, z: Array) -> tuple[Array, Array]:
    """
    Compute a[L] from z[L-1], and the slopes, (m, n_outputs) each.

    The slopes of softmax are given as 1, since cross-entropy's dE/dz contains them.
    """
    if spec.activations[-1] == "softmax":
        return functions.softmax(z), np.ones_like(z)
    return functions.activate(spec.activations[-1], z)


def output_delta(spec: Spec, z: Array, y: Array) -> tuple[Array, Array, Array]:
    """Compute a[L], the loss E of each sample, and delta[L-1] = dE/dz[L-1], one row a sample."""
    a, slope = output(spec, z)
    # Losses below the threshold are reported in the same way here: both forms then agree up to
    # rounding.
    if spec.sklearn.clipped_above < np.inf:
        return a, functions.rounded_cross_entropy(a, y, spec.activations[-1] == "softmax"), a - y
    match spec.loss:
        case BinaryCrossEntropy():
            return a, *functions.binary_cross_entropy(z, y)
        case CrossEntropy():
            return a, *functions.cross_entropy(z, y)
        case Poisson():
            return a, *functions.poisson(z, y)
        case GaussianNLL():
            return a, *functions.gaussian_nll(z, y)
        case HalfSquaredError():
            losses, d_a = functions.half_squared_error(a, y)
        case SquaredError():
            losses, d_a = functions.squared_error(a, y)
        case AbsoluteError():
            losses, d_a = functions.absolute_error(a, y)
        case Huber(delta=delta):
            losses, d_a = functions.huber(a, y, delta)
        case Quantile(q=q):
            losses, d_a = functions.quantile(a, y, q)
        case CustomLoss() as custom:
            losses, d_a = custom.on_arrays(a, y)
    return a, losses, d_a * slope


# The net.


def forward(
    spec: Spec,
    weights: list[Array],
    biases: list[Array],
    X: Array,
    masks: list[Array | None] | None = None,
) -> tuple[list[Array], list[Array], Array]:
    """
    Propagate m samples forward, up to z of the output layer.

    Returns
    -------
    a : list of (m, n_in) arrays
        a[0] to a[L-1], the inputs of each layer. With dropout they are multiplied by the masks.
    slopes : list of (m, n) arrays
        f'(z) of each hidden layer, multiplied by the same masks.
    z : (m, n_outputs) array
        z[L-1], of the output layer.
    """
    a, slopes = [X], []
    for l in range(len(weights) - 1):
        a_next, slope = functions.activate(spec.activations[l], a[l] @ weights[l] + biases[l])
        mask = masks[l] if masks is not None else None
        if mask is not None:
            a_next, slope = a_next * mask, slope * mask
        a.append(a_next)
        slopes.append(slope)
    return a, slopes, a[-1] @ weights[-1] + biases[-1]


def backward(weights: list[Array], slopes: list[Array], delta: Array) -> list[Array]:
    """Propagate delta[L-1] backward, and return delta[0] to delta[L-1]."""
    deltas = [delta]
    for l in reversed(range(len(weights) - 1)):
        deltas.insert(0, (deltas[0] @ weights[l + 1].T) * slopes[l])
    return deltas


def backpropagate(
    spec: Spec,
    params: Array,
    X: Array,
    y: Array,
    sample_weights: Array | None,
    masks: list[Array | None] | None = None,
) -> tuple[float, list[Array], list[Array]]:
    """
    Compute the loss of a batch and its derivatives.

    With sample weights w, the summed loss is sum w E. The reduced loss is sum w E for the reduction
    "sum", and sum w E / sum w for "mean". If sum w is 0, or too small to have an inverse, it is
    replaced by 1. The derivatives are then 0, or about as small as the weights.

    Returns
    -------
    loss : float
        The summed loss.
    d_weights, d_biases : lists of arrays, (n_in, n_out) and (n_out,)
        The derivatives of the reduced loss with respect to every W and every b.
    """
    weights, biases = spec.split(params)
    X = without_weightless(X, sample_weights)
    a, slopes, z = forward(spec, weights, biases, X, masks)
    _, losses, delta = output_delta(spec, z, targets(spec, y, z.dtype))
    w = np.ones(len(X), z.dtype) if sample_weights is None else sample_weights
    total = w.sum(dtype=np.float64) if spec.reduction == "mean" else 1.0
    share = (w / (total if total >= SMALLEST else 1.0)).astype(z.dtype)
    delta = np.where(share[:, np.newaxis] > 0, delta * share[:, np.newaxis], 0)

    deltas = backward(weights, slopes, delta)
    d_weights = [a[l].T @ deltas[l] for l in range(len(weights))]
    d_biases = [delta.sum(axis=0) for delta in deltas]
    return summed(losses, w), d_weights, d_biases


def without_weightless(rows: Array, sample_weights: Array | None) -> Array:
    """
    Return X, with every sample of weight 0 replaced by one that has a weight.

    Numbers in a sample of weight 0 may be so large that they overflow. Then all sums would become
    nan, since 0 times inf is nan.
    """
    if sample_weights is None or sample_weights.all():
        return rows
    rows = rows.copy()
    rows[sample_weights == 0] = rows[sample_weights.argmax()] if sample_weights.any() else 0
    return rows


def summed(losses: Array, sample_weights: Array | None) -> float:
    """Return sum w E. Samples of weight 0 are left out, even if their loss is inf or nan."""
    if sample_weights is not None:
        losses = np.where(sample_weights > 0, sample_weights * losses, 0)
    return float(losses.sum(dtype=np.float64))


def targets(spec: Spec, y: Array, dtype: np.dtype[Any]) -> Array:
    """Return targets as rows: labels one-hot encoded, and smoothed if the loss says so."""
    if y.ndim == 1:
        y = np.eye(spec.n_targets, dtype=dtype)[y.astype(np.int64)]
    gain, offset = spec.loss.smoothing(spec.n_targets)
    return y if gain == 1 else gain * y + offset
