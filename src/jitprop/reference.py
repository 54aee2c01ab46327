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

from typing import Any

import numpy as np
import numpy.typing as npt

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
from jitprop.net.optimizers import SGD, AdamW, RMSprop, Rprop
from jitprop.net.spec import Spec
from jitprop.net.state import check_trained

SMALLEST = float(np.finfo(np.float64).tiny)
"""Of the sums of weights that have an inverse: smaller ones are subnormal."""

# The output layer.


def output(spec: Spec, z: Array) -> tuple[Array, Array]:
    """a[L] from z[L-1], and the slopes; softmax has none of its own."""
    if spec.activations[-1] == "softmax":
        return functions.softmax(z), np.ones_like(z)
    return functions.activate(spec.activations[-1], z)


def output_delta(spec: Spec, z: Array, y: Array) -> tuple[Array, Array, Array]:
    """Output a[L], each sample's loss, and delta[L-1] = dE/dz[L-1] of each sample."""
    a, slope = output(spec, z)
    if spec.rounded_from < np.inf:  # below it both are the same, up to a rounding error
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


# Dropout: which units have no part in an update.


def splitmix64(seed: npt.ArrayLike, n: npt.ArrayLike) -> npt.NDArray[np.uint64]:
    """
    Number n, counted from 0, of the random sequence that begins with ``seed``; modulo 2**64.

    Source: Steele, Lea and Flood, *Fast Splittable Pseudorandom Number Generators*, OOPSLA 2014;
    constants of Java's SplittableRandom.
    """
    with np.errstate(over="ignore"):
        x = np.asarray(n, np.uint64) + np.uint64(1)
        x = np.asarray(seed, np.uint64) + x * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(x ^ (x >> np.uint64(31)))


def dropout_masks(spec: Spec, key: int, t: int, m: int, dtype: np.dtype[Any]) -> list[Array | None]:
    """
    What update number t multiplies each hidden layer's a by, (m, n); None where nothing is dropped.

    0 with probability p, else 1 / (1 - p). Unit j of sample i takes number i n + j of a sequence of
    its layer's own, which begins with number l of one of its update's own, which begins with number
    t of the key's. So nothing depends on the order in which masks are made.

    Source: Srivastava et al., *Dropout: A Simple Way to Prevent Neural Networks from Overfitting*,
    JMLR 15, 2014, section 10: "inverted", as kept units are scaled here and not when predicting.
    """
    masks: list[Array | None] = []
    for l, (p, n) in enumerate(zip(spec.dropout, spec.layer_sizes[1:-1], strict=True)):
        if p == 0:
            masks.append(None)
            continue
        bits = splitmix64(splitmix64(splitmix64(key, t), l), np.arange(m * n))
        uniform = (bits >> np.uint64(11)) * 2.0**-53
        masks.append(np.where(uniform < p, 0, 1 / (1 - p)).astype(dtype).reshape(m, n))
    return masks


# The net.


def forward(
    spec: Spec,
    weights: list[Array],
    biases: list[Array],
    X: Array,
    masks: list[Array | None] | None = None,
) -> tuple[list[Array], list[Array], Array]:
    """
    a[0] to a[L-1], the slopes f'(z) of the hidden layers, and z of the output layer.

    With dropout, a and slope of a hidden layer come times its mask.
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
    """delta[0] to delta[L-1], from the last of them."""
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
    Summed loss of a batch, and the derivatives of its reduced loss by every W and b.

    With sample weights w the sum is that of w E, and the mean is sum w E / sum w; if all weights
    of the batch are 0, or too small for their sum to have an inverse, so are the derivatives.
    """
    weights, biases = spec.split(params)
    X = counted(X, sample_weights)
    a, slopes, z = forward(spec, weights, biases, X, masks)
    _, losses, delta = output_delta(spec, z, targets(spec, y, z.dtype))
    w = np.ones(len(X), z.dtype) if sample_weights is None else sample_weights
    whole = w.sum(dtype=np.float64) if spec.reduction == "mean" else 1.0
    share = (w / (whole if whole >= SMALLEST else 1.0)).astype(z.dtype)
    delta = np.where(share[:, np.newaxis] > 0, delta * share[:, np.newaxis], 0)

    deltas = backward(weights, slopes, delta)
    d_weights = [a[l].T @ deltas[l] for l in range(len(weights))]
    d_biases = [delta.sum(axis=0) for delta in deltas]
    return summed(losses, w), d_weights, d_biases


def counted(rows: Array, sample_weights: Array | None) -> Array:
    """
    Rows of X; in place of those with weight 0, which may be of any size, one that counts.

    What overflowed in such a sample would spoil every sum, since 0 times inf is nan.
    """
    if sample_weights is None or sample_weights.all():
        return rows
    rows = rows.copy()
    rows[sample_weights == 0] = rows[sample_weights.argmax()] if sample_weights.any() else 0
    return rows


def summed(losses: Array, sample_weights: Array | None) -> float:
    """Sum of w E; samples of weight 0 have no part in it, whatever their loss."""
    if sample_weights is not None:
        losses = np.where(sample_weights > 0, sample_weights * losses, 0)
    return float(losses.sum(dtype=np.float64))


def targets(spec: Spec, y: Array, dtype: np.dtype[Any]) -> Array:
    """Targets as rows: class labels become rows of 0 with one 1; smoothed, if the loss says so."""
    if y.ndim == 1:
        y = np.eye(spec.n_targets, dtype=dtype)[y.astype(np.int64)]
    gain, offset = spec.loss.smoothing(spec.n_targets)
    return y if gain == 1 else gain * y + offset


def clip(spec: Spec, gradients: list[Array]) -> None:
    """
    g <- g min(1, clip_norm / norm) in place, norm = sqrt(sum g**2) being that of all together.

    Source: Pascanu, Mikolov and Bengio, *On the difficulty of training recurrent neural networks*,
    ICML 2013, algorithm 1.
    """
    if spec.clip_norm is None:
        return
    norm = np.sqrt(sum(np.sum(g.astype(np.float64) ** 2) for g in gradients))
    if not norm <= spec.clip_norm:  # nan must be told
        for g in gradients:
            g *= float(spec.clip_norm / norm)


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

HALTED = -1

FIRST_CALL = 2e6
"""Multiply-adds in the first call of `train`: up to 0.1 s, where nets are small."""


def prepare(
    spec: Spec, n_samples: int, dtype: np.dtype[Any], n_threads: int | None, n_updates: int
) -> Spec:
    """What this backend wants to be told of a net: the spec as it is. It has one thread."""
    del n_samples, dtype, n_threads, n_updates
    return spec


def most_alike(spec: Spec, size: int, dtype: np.dtype[Any]) -> int:
    """Of the batches that may share a net prepared for ``size`` samples, the largest: any."""
    del spec, dtype
    return (1 << size.bit_length()) - 1


def halt(net: Spec) -> bool:
    """
    Asked while `train` runs, by a signal's handler, to let it come back soon.

    Returns
    -------
    bool
        Whether it will, within about 0.1 s: with whole batches, or with the number HALTED, which
        means that a batch was left half done and the state is of no use. Here False: NumPy may
        be left between any two operations, by an exception.
    """
    del net
    return False


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
    dropout_key: int,
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
        Each batch's loss, summed over its samples, times their weights, is added to its epoch's;
        and the penalty of its weights, where the spec has one.
    rates : (epochs,) array
        The learning rate of each epoch.
    updates : int
        How many updates came before.
    dropout_key : int
        At least 0: what is dropped depends on it, and on the number of the update.

    Returns
    -------
    int
        ``stop``; or the first batch whose loss is inf or nan, its update not done; or HALTED.
    """
    check_trained(params, slots, X, y, weights)
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
            t = updates + step - start + 1
            x, w = X[rows], None if weights is None else weights[rows]
            masks = dropout_masks(net, dropout_key, t, len(x), x.dtype)
            loss, *gradients = backpropagate(net, params, x, y[rows], w, masks)
            if not np.isfinite(loss):
                return step
            whole = len(x) if w is None else w.sum(dtype=np.float64) or 1.0
            if net.penalty_loss > 0:  # 0 times inf is no number
                squares = sum(np.sum(W.astype(np.float64) ** 2) for W in net.split(params)[0])
                loss += net.penalty_loss * float(squares)
            losses[epoch] += loss * (len(x) / whole if net.even else 1.0)
            decay = net.weight_decay + net.penalty / whole
            clip(net, [d for group in gradients for d in group])
            rate = float(rates[epoch])
            for l, d in enumerate(zip(*gradients, strict=True)):
                for part, of_part in ((0, decay), (1, 0.0)):
                    kept = [slot[l][part] for slot in slot_parts]
                    update(net, parts[l][part], d[part], kept, rate, of_part, t)
    return stop


def evaluate(net: Spec, params: Array, X: Array, y: Array, weights: Array | None) -> float:
    """Summed loss of all samples, each times its weight."""
    X = counted(X, weights)
    with np.errstate(all="ignore"):
        _, _, z = forward(net, *net.split(params), X)
        _, losses, _ = output_delta(net, z, targets(net, y, z.dtype))
        return summed(losses, weights)


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
        out[:] = output(net, z)[0]
