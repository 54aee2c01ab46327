"""
Training in plain NumPy, written to be read beside a textbook.

This module shares no code with the compiled kernels. So it can serve as the oracle that they are
tested against, and as the backend where numba is missing.

The layers are l = 0, 1, ..., L - 1, W[l] has the shape (n_in, n_out), and a[0] = X has one sample
in each row::

    z[l]   = a[l] @ W[l] + b[l]                       forward
    a[l+1] = f_l(z[l])
    E      = loss(a[L], y)

    delta[L-1] = dE/da[L] * f'(z[L-1])                backward
    delta[l]   = (delta[l+1] @ W[l+1].T) * f'(z[l])

    dE/dW[l] = a[l].T @ delta[l]                      gradients
    dE/db[l] = delta[l] summed over the samples

    W[l] <- W[l] - learning_rate * dE/dW[l]           update

`jitprop.reference_net` has the passes forward and backward, and this module the updates.
`jitprop.reference_second_order` has the methods that take another step than these.

Source: Rumelhart, Hinton and Williams, *Learning representations by back-propagating errors*,
Nature 323, 1986.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from jitprop import reference_second_order
from jitprop._types import Array
from jitprop.data.samples import Arrays, Steps
from jitprop.data.watched import Predicted, Validation
from jitprop.net import scales
from jitprop.net.optimizers import SGD, Adam, AdamW, RMSprop, Rprop
from jitprop.net.second_order import is_second_order
from jitprop.net.spec import Scaled, Spec
from jitprop.net.state import State, check_trained
from jitprop.reference_net import SMALLEST
from jitprop.reference_net import backpropagate as backpropagate
from jitprop.reference_net import backward as backward
from jitprop.reference_net import forward as forward
from jitprop.reference_net import output as output
from jitprop.reference_net import output_delta as output_delta
from jitprop.reference_net import summed as summed
from jitprop.reference_net import targets as targets
from jitprop.reference_net import without_weightless as without_weightless

# Dropout.


def splitmix64(seed: npt.ArrayLike, n: npt.ArrayLike) -> npt.NDArray[np.uint64]:
    """
    Return number n, counted from 0, of the random sequence that begins with ``seed``.

    Seeds and numbers count modulo 2**64.

    Source: Steele, Lea and Flood, *Fast Splittable Pseudorandom Number Generators*, OOPSLA 2014,
    with the constants of Java's SplittableRandom.
    """
    with np.errstate(over="ignore"):
        x = np.asarray(n, np.uint64) + np.uint64(1)
        x = np.asarray(seed, np.uint64) + x * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(x ^ (x >> np.uint64(31)))


def dropout_masks(spec: Spec, key: int, t: int, m: int, dtype: np.dtype[Any]) -> list[Array | None]:
    """
    Compute the dropout masks of update number t for m samples.

    The activations of a hidden layer are multiplied by its mask: 0 with probability p, else
    1 / (1 - p). The random number of unit j of sample i, in layer l with n units, is number
    i n + j of a sequence. That sequence belongs to the layer and begins with number l of the
    update's sequence, which begins with number t of the key's sequence. So each mask depends on
    ``key``, t and l alone, and not on the order in which masks are computed.

    Source: Srivastava et al., *Dropout: A Simple Way to Prevent Neural Networks from Overfitting*,
    JMLR 15, 2014, section 10. The form is "inverted" dropout: units are scaled in training, and
    not in prediction.

    Returns
    -------
    list of (m, n) arrays or None
        A mask for each hidden layer; None where nothing is dropped.
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


def clip(spec: Spec, gradients: list[Array]) -> None:
    """
    Clip the norm of all gradients together, in place: g <- g min(1, clip_norm / norm).

    The norm is sqrt(sum g**2), summed over all parameters in float64.

    Source: Pascanu, Mikolov and Bengio, *On the difficulty of training recurrent neural networks*,
    ICML 2013, algorithm 1.
    """
    if spec.clip_norm is None:
        return
    norm = np.sqrt(sum(np.sum(g.astype(np.float64) ** 2) for g in gradients))
    if not norm <= spec.clip_norm:  # written so that a norm of nan makes the gradients nan
        for g in gradients:
            g *= float(spec.clip_norm / norm)


def update(
    spec: Spec,
    p: Array,
    g: Array,
    slots: list[Array],
    rate: float,
    decay: float,
    t: int,
    rose: bool = False,
) -> None:
    """
    Make update number t = 1, 2, ... of one array of parameters.

    The equations are in the docstrings of `jitprop.net.optimizers`. Parameters and slots are
    changed in place.

    Parameters
    ----------
    spec : Spec
    p : array
        Parameters: one W or one b.
    g : array
        The gradient of the loss, of the same shape, without weight decay.
    slots : list of arrays
        What the optimizer keeps for each parameter, of the same shape.
    rate : float
        The learning rate.
    decay : float
        The weight decay: 0 for biases, unless the spec has ``decay_biases``.
    t : int
        The number of the update.
    rose : bool, default False
        Whether the objective has risen since the update before. `Rprop` with backtracking uses it.
    """
    optimizer = spec.optimizer
    if isinstance(optimizer, SGD):
        g = g + decay * p
        if optimizer.momentum == 0.0:
            p -= rate * g
            return
        velocity, momentum = slots[0], optimizer.momentum
        if optimizer.rate_in_velocity:
            velocity[:] = momentum * velocity - rate * g
            p += momentum * velocity - rate * g if optimizer.nesterov else velocity
        else:
            velocity[:] = momentum * velocity + g
            p -= rate * (g + momentum * velocity if optimizer.nesterov else velocity)
        return

    if isinstance(optimizer, RMSprop):
        g = g + decay * p
        mean_square = slots[0]
        mean_square[:] = optimizer.rho * mean_square + (1 - optimizer.rho) * g**2
        if optimizer.epsilon_in_root:
            root = np.sqrt(mean_square + optimizer.epsilon)
        else:
            root = np.sqrt(mean_square) + optimizer.epsilon
        if optimizer.momentum == 0.0:
            p -= rate * g / root
            return
        velocity = slots[1]
        if optimizer.rate_in_velocity:
            velocity[:] = optimizer.momentum * velocity - rate * g / root
            p += velocity
        else:
            velocity[:] = optimizer.momentum * velocity + g / root
            p -= rate * velocity
        return

    if isinstance(optimizer, Rprop):
        step, sign = slots[:2]
        if t == 1:
            step[:] = rate
        new_sign = np.sign(g + decay * p)
        turned = sign * new_sign < 0
        back = sign * step if rose else np.zeros_like(p)  # the last change of p was -sign * step
        step[sign * new_sign > 0] *= optimizer.eta_plus
        step[turned] *= optimizer.eta_minus
        np.clip(step, optimizer.step_min, optimizer.step_max, out=step)
        sign[:] = np.where(turned, 0, new_sign)
        p += np.where(turned, back, -sign * step)
        return

    assert isinstance(optimizer, Adam)
    if isinstance(optimizer, AdamW):
        p *= 1 - rate * decay
    else:
        g = g + decay * p
    mean, mean_square = slots
    mean[:] = optimizer.beta_1 * mean + (1 - optimizer.beta_1) * g
    mean_square[:] = optimizer.beta_2 * mean_square + (1 - optimizer.beta_2) * g**2
    of_mean, of_square = 1 - optimizer.beta_1**t, 1 - optimizer.beta_2**t
    if optimizer.epsilon_hat:
        corrected = float(rate * (np.sqrt(of_square) / of_mean))
        p -= corrected * mean / (np.sqrt(mean_square) + optimizer.epsilon)
    else:
        p -= rate * (mean / of_mean) / (np.sqrt(mean_square / of_square) + optimizer.epsilon)


def update_scaled(
    spec: Spec,
    W: Array,
    g: Array,
    kept: list[Array],
    scaled: Scaled,
    rate: float,
    decay: float,
    t: int,
) -> None:
    """
    Make update number t of the first weights W = diag(s) V of a net with scales of its inputs.

    The gradient g of the loss by W gives those by V and s::

        dE/dV[i, j] = s[i] g[i, j]
        dE/ds[i] = sum over j of V[i, j] g[i, j]

    The optimizer updates V, which decays, and s, which does not. W, V, s and what the optimizer
    keeps are changed in place.
    """
    V, s, kept_of_scales = scaled
    by_V, by_s = s[:, np.newaxis] * g, (V * g).sum(axis=1)
    if spec.factors[0][0] > 0:
        update(spec, V, by_V, kept, spec.factors[0][0] * rate, decay, t)
    assert spec.input_scale_rate is not None
    update(spec, s, by_s, list(kept_of_scales)[: len(kept)], spec.input_scale_rate * rate, 0.0, t)
    W[:] = s[:, np.newaxis] * V


def squares(spec: Spec, params: Array) -> float:
    """Return sum W**2 of all parameters that decay, in float64."""
    weights, biases = spec.split(params)
    decayed = weights + biases if spec.decay_biases else weights
    return sum(float(np.sum(W.astype(np.float64) ** 2)) for W in decayed)


def has_risen(spec: Spec, params: Array, slots: Array, loss: float, decay: float) -> bool:
    """
    Whether the objective is higher than at the update before, for `Rprop` with backtracking.

    The objective is the reduced ``loss`` of the batch plus 1/2 decay sum W**2. It is kept in
    ``slots[2, 0]``, (n_slots, P), for the next update.
    """
    if not (isinstance(spec.optimizer, Rprop) and spec.optimizer.backtracking):
        return False
    before = slots[2, 0]
    penalty = 0.5 * decay * squares(spec, params) if decay > 0 else 0.0
    slots[2, 0] = loss + penalty
    return bool(slots[2, 0] > before)


# The functions that every backend has.

root_of_inverse = reference_second_order.root_of_inverse
variances = reference_second_order.variances

COMPILED = False

HALTED = -1
"""What `train` returns when it was halted in the middle of a batch."""

FIRST_CALL = 2e6
"""How many multiply-adds the first call of `train` gets: up to 0.1 s for small nets."""


def prepare(
    spec: Spec, n_samples: int, dtype: np.dtype[Any], n_threads: int | None, n_updates: int
) -> Spec:
    """Prepare a net for training: here that is the spec itself. This backend has one thread."""
    del n_samples, dtype, n_threads, n_updates
    return spec


def most_alike(spec: Spec, size: int, dtype: np.dtype[Any]) -> int:
    """
    Return the largest batch that may use a net prepared for ``size`` samples.

    In this backend any batch may. The limit 2**k - 1 keeps the number of prepared nets small.
    """
    del spec, dtype
    return (1 << size.bit_length()) - 1


def halt(net: Spec) -> bool:
    """
    Ask a running `train` to return soon. A signal handler calls this.

    Returns
    -------
    bool
        Whether `train` will return within about 0.1 s. It then returns after a complete batch; or
        it returns HALTED, which means that it stopped inside a batch and the state is unusable.
        In this backend False: an exception can leave NumPy between any two operations.
    """
    del net
    return False


def size(net: Spec) -> int:
    """Return the bytes of memory that a prepared net holds: here none."""
    del net
    return 0


def close(net: Spec) -> None:
    """Release what `prepare` took: here nothing."""
    del net


class Single:
    """
    A prepared net, for call after call by one thread.

    Parameters
    ----------
    net : Spec
        As `prepare` or `prepare_pass` returns it.
    """

    def __init__(self, net: Spec) -> None:
        self.net = net
        self._training: Any = None

    def train(
        self, params: Array, slots: Array, steps: Steps, updates: int, dropout_key: int
    ) -> int:
        """Train on some batches: see `train`."""
        self._training = params, slots, steps, dropout_key
        return train(self.net, params, slots, steps, updates, dropout_key)

    def go_on(self, start: int, stop: int, updates: int) -> int:
        """Train on other batches, with the arrays that `train` got last."""
        params, slots, steps, dropout_key = self._training
        steps = steps._replace(start=start, stop=stop)
        return train(self.net, params, slots, steps, updates, dropout_key)

    def evaluate(self, params: Array, samples: Arrays, group: int) -> float:
        """Compute the summed loss: see `evaluate`."""
        return evaluate(self.net, params, samples, group, False)

    def predict(self, params: Array, X: Array, out: Array) -> None:
        """Write the outputs of all samples to ``out``: see `predict`."""
        predict(self.net, params, X, out, False)

    def forget(self) -> None:
        """Let go of the arrays of the last call."""
        self._training = None


def train(
    net: Spec, params: Array, slots: Array, steps: Steps, updates: int, dropout_key: int
) -> int:
    """
    Train on some batches.

    Parameters
    ----------
    net : Spec
        As `prepare` returns it.
    params : (P,) array
        Changed in place.
    slots : (n_slots, P) array
        Changed in place.
    steps : Steps
        The samples, the batches and the learning rates. Its ``losses`` are changed in place.
    updates : int
        The number of updates that were made before.
    dropout_key : int
        At least 0. Together with the number of the update it determines what is dropped.

    Returns
    -------
    int
        ``steps.stop``; or, if the loss of a batch is inf or nan, the number of that batch, whose
        update is not made; or, of a second-order method that has ended, the number of the first
        epoch that it has not done; or HALTED, which this backend never returns.

    Raises
    ------
    ValueError, TypeError
        If ``params`` or ``slots`` are read-only, or the dtypes differ.
    """
    X, y, weights, order, losses, rates, start, stop, _ = steps
    check_trained(params, slots, X, y, weights)
    if is_second_order(net.optimizer):
        with np.errstate(all="ignore"):  # a step that overflows is not taken
            return reference_second_order.train(net, params, slots, steps)
    n, size, rules = len(X), net.batch(len(X)), net.sklearn
    n_batches, by_update = -(-n // size), len(rates) > len(losses)
    parts = list(zip(*net.split(params), strict=True))
    own_slots = slots[: net.optimizer.n_slots]
    slot_parts = [list(zip(*net.split(slot), strict=True)) for slot in own_slots]
    scales.begin(net, params, slots)
    for step in range(start, stop):
        epoch, batch = divmod(step, n_batches)
        rows: Any = slice(batch * size, min((batch + 1) * size, n))
        if order is not None:
            rows = order[epoch, rows]
        with np.errstate(all="ignore"):  # the loss shows that training diverges
            t = updates + step - start + 1
            x, w = X[rows], None if weights is None else weights[rows]
            masks = dropout_masks(net, dropout_key, t, len(x), x.dtype)
            loss, *gradients = backpropagate(net, params, x, y[rows], w, masks)
            if not np.isfinite(loss):
                return step
            total = len(x) if w is None else w.sum(dtype=np.float64) or 1.0
            decay = net.weight_decay + rules.l2 / total
            mean = net.reduction == "mean" and total >= SMALLEST
            rose = has_risen(net, params, slots, loss / (total if mean else 1.0), decay)
            if rules.reported_l2 > 0:  # 0 times inf would be nan
                loss += rules.reported_l2 * squares(net, params)
            losses[epoch] += loss * (len(x) / total if rules.batches_by_size else 1.0)
            clip(net, [d for group in gradients for d in group])
            rate = float(rates[step if by_update else epoch])
            for l, d in enumerate(zip(*gradients, strict=True)):
                for part, part_decay in ((0, decay), (1, decay if net.decay_biases else 0.0)):
                    kept = [slot[l][part] for slot in slot_parts]
                    own = net.factors[l][part] * rate
                    if l == part == 0 and net.input_scale_rate is not None:
                        W, scaled = parts[0][0], net.scaled(slots)
                        update_scaled(net, W, d[0], kept, scaled, rate, decay, t)
                    elif net.factors[l][part] > 0:  # else p stays, though its gradient may be inf
                        update(net, parts[l][part], d[part], kept, own, part_decay, t, rose)
    return stop


def watcher(
    net: Spec,
    n_batches: int,
    divisor: float,
    validation: Validation | None,
    predicted: Sequence[Predicted],
) -> None:
    """Return None: this backend trains one epoch at a time if something follows it."""
    del net, n_batches, divisor, validation, predicted


def brief(spec: Spec, n_samples: int, state: State, bounds: tuple[float, float]) -> None:
    """Return None: this backend has no quick way for few samples."""
    del spec, n_samples, state, bounds


def prepare_pass(
    spec: Spec, n_samples: int, dtype: np.dtype[Any], n_threads: int | None, backward: bool
) -> Spec:
    """
    Prepare a net for passes without updates, of up to ``n_samples`` samples at a time.

    ``backward`` says whether `gradient` will be called too. Here that is the spec itself.
    """
    del n_samples, dtype, n_threads, backward
    return spec


def evaluate(net: Spec, params: Array, samples: Arrays, group: int, look: bool) -> float:
    """
    Return the summed loss sum w E of all samples.

    Parameters
    ----------
    net : Spec
        As `prepare_pass` returns it.
    params : (P,) array
    samples : tuple
        X, y, and weights or None.
    group : int
        Losses of so many samples are added up first, and then the groups. Here all are one group.
    look : bool
        Whether nobody has looked at X yet. If it has inf or nan, the result is nan.
    """
    del group
    X, y, weights = samples
    if look and not np.isfinite(X).all():
        return float("nan")
    X = without_weightless(X, weights)
    with np.errstate(all="ignore"):
        _, _, z = forward(net, *net.split(params), X)
        _, losses, _ = output_delta(net, z, targets(net, y, z.dtype))
        return summed(losses, weights)


def gradient(
    net: Spec, params: Array, X: Array, y: Array, weights: Array | None, out: Array
) -> float:
    """Write the gradient of a batch's reduced loss into ``out``, (P,); return the summed loss."""
    with np.errstate(all="ignore"):
        loss, d_weights, d_biases = backpropagate(net, params, X, y, weights)
    for view, d in zip(net.split(out)[0] + net.split(out)[1], d_weights + d_biases, strict=True):
        view[:] = d
    return loss


def predict(net: Spec, params: Array, X: Array, out: Array, look: bool) -> bool:
    """
    Write the outputs of all samples into ``out``, (n_samples, n_outputs).

    With ``look`` nobody has looked at X yet: if it has inf or nan, return False. Otherwise True.
    """
    if look and not np.isfinite(X).all():
        return False
    with np.errstate(all="ignore"):
        _, _, z = forward(net, *net.split(params), X)
        out[:] = output(net, z)[0]
    return True
