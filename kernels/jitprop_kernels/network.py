"""
The four things a net does: `train`, `evaluate`, `gradient`, `predict`.

Written once for both routes. ``gemm`` is the address of a BLAS routine, or None for the lanes
route: its type chooses the route while compiling, so each pair of dtype and route compiles once
and holds no code of the other.

Layers follow a[l + 1] = f_l(a[l] @ W[l] + b[l]); delta[l] is the derivative of the batch's loss
with respect to z[l]. The derivation, line by line: ``jitprop.reference``.
"""

from __future__ import annotations

import numpy as np

from jitprop_kernels import blas, codes, lanes
from jitprop_kernels._jit import jit, u
from jitprop_kernels._types import Array, Indices
from jitprop_kernels.activations import activate
from jitprop_kernels.elementary import exp
from jitprop_kernels.losses import output_delta, subtract_maximum, total
from jitprop_kernels.optimizers import update
from jitprop_kernels.plan import (
    ACTIVATION,
    BIASES,
    INPUTS,
    N_IN,
    N_OUT,
    OUTPUTS,
    WEIGHTS,
    Plan,
)


@jit()
def padded(gemm: int | None, m: int) -> int:
    """Samples in a block: with the lanes route's padding."""
    if gemm is None:
        return (m + lanes.LANES - 1) // lanes.LANES * lanes.LANES
    else:
        return m


@jit()
def load(
    gemm: int | None,
    source: Array,
    rows: Indices,
    first: int,
    m: int,
    n: int,
    memory: Array,
    at: int,
) -> None:
    """
    Copy m samples of n numbers into the block at ``memory[at:]``, in the route's layout.

    ``rows[first:first + m]`` names the samples; with no rows they stand one after the other.
    """
    width = padded(gemm, m)
    for i in range(width):
        row = first + i
        if rows.size > 0 and i < m:
            row = rows[u(row)]
        for k in range(n):
            x = source[u(row * n + k)] if i < m else type(source[0])(0.0)
            if gemm is None:
                memory[u(at + k * width + i)] = x
            else:
                memory[u(at + i * n + k)] = x


@jit()
def load_targets(
    plan: Plan,
    gemm: int | None,
    Y: Array,
    rows: Indices,
    first: int,
    m: int,
    n: int,
    memory: Array,
) -> None:
    """Copy the targets; class numbers become rows of 0 with one 1."""
    if not plan.labels:
        load(gemm, Y, rows, first, m, n, memory, plan.targets)
        return
    width = padded(gemm, m)
    for i in range(plan.targets, plan.targets + n * width):
        memory[u(i)] = 0.0
    for i in range(m):
        row = rows[u(first + i)] if rows.size > 0 else first + i
        label = np.int64(Y[u(row)])
        if gemm is None:
            memory[u(plan.targets + label * width + i)] = 1.0
        else:
            memory[u(plan.targets + i * n + label)] = 1.0


@jit()
def forward(
    plan: Plan, gemm: int | None, params: Array, X: Array, x: int, memory: Array, m: int
) -> None:
    """From inputs at ``X[x:]``: a and slope of every hidden layer, and z of the output layer."""
    layers, L, width = plan.layers, len(plan.layers), padded(gemm, m)
    for l in range(L):
        n_in, n_out, z = layers[l, N_IN], layers[l, N_OUT], layers[l, OUTPUTS]
        source, at = (X, x) if l == 0 else (memory, layers[l, INPUTS])
        if gemm is None:
            lanes.forward_product(
                params,
                layers[l, WEIGHTS],
                layers[l, BIASES],
                n_in,
                n_out,
                source,
                at,
                memory,
                z,
                width,
            )
        else:
            blas.forward_product(
                gemm,
                params,
                layers[l, WEIGHTS],
                layers[l, BIASES],
                n_in,
                n_out,
                source,
                at,
                memory,
                z,
                m,
            )
        if l < L - 1:
            activate(layers[l, ACTIVATION], memory, z, plan.slopes + z, n_out * width)


@jit()
def backward(plan: Plan, gemm: int | None, params: Array, memory: Array, m: int) -> float:
    """From z of the output layer: its loss and delta, and the deltas of all layers before."""
    layers, L, width = plan.layers, len(plan.layers), padded(gemm, m)
    n, z = plan.layers[L - 1, N_OUT], plan.layers[L - 1, OUTPUTS]
    sample_stride, unit_stride = (1, width) if gemm is None else (n, 1)
    scale = type(params[0])(1.0 / m if plan.mean else 1.0)
    output_delta(
        plan,
        plan.layers[L - 1, ACTIVATION],
        memory,
        z,
        m,
        n,
        sample_stride,
        unit_stride,
        n * width,
        scale,
    )
    for j in range(n):  # the padding has no part in loss and gradient
        for i in range(j * width + m, (j + 1) * width):
            memory[u(plan.errors + i)] = 0.0
            memory[u(plan.deltas + z + i)] = 0.0
    for l in range(L - 1, 0, -1):
        n_in, n_out, back = layers[l, N_IN], layers[l, N_OUT], layers[l, INPUTS]
        d, e = plan.deltas + layers[l, OUTPUTS], plan.deltas + back
        if gemm is None:
            lanes.backward_product(params, layers[l, WEIGHTS], n_in, n_out, memory, d, e, width)
        else:
            blas.backward_product(gemm, params, layers[l, WEIGHTS], n_in, n_out, memory, d, e, m)
        for i in range(n_in * width):
            memory[u(e + i)] *= memory[u(plan.slopes + back + i)]
    return total(memory, plan.errors, n * width)


@jit()
def add_gradients(
    plan: Plan,
    gemm: int | None,
    alpha: float,
    beta_weights: float,
    beta_biases: float,
    X: Array,
    x: int,
    memory: Array,
    m: int,
    C: Array,
    c: int,
) -> None:
    """C <- beta C + alpha dE/dparameters, at ``C[c:]``; what beta 0 multiplies is not read."""
    layers = plan.layers
    for l in range(len(plan.layers)):
        n_in, n_out = layers[l, N_IN], layers[l, N_OUT]
        w, b, d = c + layers[l, WEIGHTS], c + layers[l, BIASES], plan.deltas + layers[l, OUTPUTS]
        source, at = (X, x) if l == 0 else (memory, layers[l, INPUTS])
        if gemm is None:
            width = padded(gemm, m)
            lanes.weight_product(
                alpha, beta_weights, source, at, memory, d, C, w, n_in, n_out, width
            )
            lanes.bias_product(alpha, beta_biases, memory, d, C, b, n_out, width)
        else:
            blas.weight_product(
                gemm, alpha, beta_weights, source, at, memory, d, C, w, n_in, n_out, m
            )
            blas.bias_product(gemm, alpha, beta_biases, memory, plan.ones, d, C, b, n_out, m)


@jit()
def descend(
    plan: Plan,
    gemm: int | None,
    params: Array,
    slots: Array,
    X: Array,
    x: int,
    memory: Array,
    m: int,
    t: int,
) -> None:
    """Update number t of all parameters, from the deltas of a batch."""
    rate, decay = plan.learning_rate, plan.weight_decay
    if plan.optimizer == codes.SGD:
        # W <- (1 - rate decay) W - rate A^T delta, in the product that forms the gradient.
        add_gradients(
            plan, gemm, -rate, 1.0 - rate * decay, 1.0, X, x, memory, m, params, plan.inputs
        )
    else:
        add_gradients(plan, gemm, 1.0, 0.0, 0.0, X, x, memory, m, memory, plan.gradient)
        for l in range(len(plan.layers)):
            w, b = plan.layers[l, WEIGHTS], plan.layers[l, BIASES]
            update(plan, params, slots, memory, w, b, decay, t)
            update(plan, params, slots, memory, b, b + plan.layers[l, N_OUT], 0.0, t)


@jit(entry=True)
def train(
    plan: Plan,
    gemm: int | None,
    params: Array,
    slots: Array,
    X: Array,
    Y: Array,
    rows: Indices,
    losses: Array,
    start: int,
    stop: int,
    updates: int,
    memory: Array,
) -> int:
    """
    Train on batches ``start`` to ``stop``, counted through the epochs.

    Parameters
    ----------
    params, slots : (P,) and (n_slots * P,) arrays
        The net and its optimizer's state; both change in place.
    X : (n_samples * n_inputs,) array
    Y : (n_samples * n_outputs,) array, or (n_samples,) labels
    rows : (epochs * n_samples,) int64 array
        Order of presentation, epoch after epoch; empty for the order of X.
    losses : (epochs,) float64 array
        Each batch's summed loss is added to its epoch's.
    updates : int
        How many updates came before, for Adam.

    Returns
    -------
    int
        ``stop``; or the first batch whose loss is inf or nan, its update not done.
    """
    n_inputs, n_outputs = plan.layers[0, N_IN], plan.layers[-1, N_OUT]
    n_samples = X.size // n_inputs
    n_batches = (n_samples + plan.batch_size - 1) // plan.batch_size
    same = n_batches == 1 and rows.size == 0  # every step sees the same batch: load it once
    for step in range(start, stop):
        epoch = step // n_batches
        first = (step - epoch * n_batches) * plan.batch_size
        m = min(plan.batch_size, n_samples - first)
        at = first + (epoch * n_samples if rows.size > 0 else 0)
        source, x = memory, plan.inputs
        if gemm is not None and rows.size == 0:
            source, x = X, first * n_inputs  # BLAS reads X itself
        elif step == start or not same:
            load(gemm, X, rows, at, m, n_inputs, memory, plan.inputs)
        if step == start or not same:
            load_targets(plan, gemm, Y, rows, at, m, n_outputs, memory)
        forward(plan, gemm, params, source, x, memory, m)
        loss = backward(plan, gemm, params, memory, m)
        if not np.isfinite(loss):
            return step
        losses[u(epoch)] += loss
        descend(plan, gemm, params, slots, source, x, memory, m, updates + step - start + 1)
    return stop


@jit(entry=True)
def evaluate(
    plan: Plan, gemm: int | None, params: Array, X: Array, Y: Array, rows: Indices, memory: Array
) -> float:
    """Summed loss of all samples. ``rows`` is empty; the batch size is only that of the scratch."""
    n_inputs, n_outputs = plan.layers[0, N_IN], plan.layers[-1, N_OUT]
    n_samples = X.size // n_inputs
    loss = 0.0
    for first in range(0, n_samples, plan.batch_size):
        m = min(plan.batch_size, n_samples - first)
        load(gemm, X, rows, first, m, n_inputs, memory, plan.inputs)
        load_targets(plan, gemm, Y, rows, first, m, n_outputs, memory)
        forward(plan, gemm, params, memory, plan.inputs, memory, m)
        loss += backward(plan, gemm, params, memory, m)
    return loss


@jit(entry=True)
def gradient(
    plan: Plan,
    gemm: int | None,
    params: Array,
    X: Array,
    Y: Array,
    rows: Indices,
    out: Array,
    memory: Array,
) -> float:
    """Gradient of one batch, all samples, into ``out``, (P,). Returns their summed loss."""
    n_inputs, n_outputs = plan.layers[0, N_IN], plan.layers[-1, N_OUT]
    m = X.size // n_inputs
    load(gemm, X, rows, 0, m, n_inputs, memory, plan.inputs)
    load_targets(plan, gemm, Y, rows, 0, m, n_outputs, memory)
    forward(plan, gemm, params, memory, plan.inputs, memory, m)
    loss = backward(plan, gemm, params, memory, m)
    add_gradients(plan, gemm, 1.0, 0.0, 0.0, memory, plan.inputs, memory, m, out, plan.inputs)
    return loss


@jit(entry=True)
def predict(
    plan: Plan, gemm: int | None, params: Array, X: Array, out: Array, rows: Indices, memory: Array
) -> None:
    """Outputs of all samples into ``out``, (n_samples * n_outputs,). ``rows`` is empty."""
    n_inputs = plan.layers[0, N_IN]
    n_samples = X.size // n_inputs
    L = len(plan.layers)
    n, z = plan.layers[L - 1, N_OUT], plan.layers[L - 1, OUTPUTS]
    activation = plan.layers[L - 1, ACTIVATION]
    for first in range(0, n_samples, plan.batch_size):
        m = min(plan.batch_size, n_samples - first)
        width = padded(gemm, m)
        load(gemm, X, rows, first, m, n_inputs, memory, plan.inputs)
        forward(plan, gemm, params, memory, plan.inputs, memory, m)
        sample_stride, unit_stride = (1, width) if gemm is None else (n, 1)
        softmax = activation == codes.SOFTMAX
        if softmax:
            subtract_maximum(memory, z, m, n, sample_stride, unit_stride)
        else:
            activate(activation, memory, z, plan.slopes + z, n * width)
        for i in range(m):
            total = type(memory[0])(1.0)
            if softmax:
                total = type(memory[0])(0.0)
                for j in range(n):
                    q = u(z + i * sample_stride + j * unit_stride)
                    memory[q] = exp(memory[q])
                    total += memory[q]
            for j in range(n):
                q = u(z + i * sample_stride + j * unit_stride)
                out[u((first + i) * n + j)] = memory[q] / total
