"""
A net on one batch: forward, backward, gradients; and `evaluate`, `gradient`, `predict` of them.

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
from jitprop_kernels.losses import output_delta, softmax, total
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
        # The padding repeats the last sample: it overflows only where a sample does.
        row = first + min(i, m - 1)
        if rows.size > 0:
            row = rows[u(row)]
        for k in range(n):
            x = source[u(row * n + k)]
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
    at: int,
) -> None:
    """Copy the targets to ``memory[at:]``; class numbers become rows of 0 with one 1."""
    if not plan.labels:
        load(gemm, Y, rows, first, m, n, memory, at)
        return
    width = padded(gemm, m)
    for i in range(at, at + n * width):
        memory[u(i)] = 0.0
    for i in range(m):
        row = rows[u(first + i)] if rows.size > 0 else first + i
        label = np.int64(Y[u(row)])
        if gemm is None:
            memory[u(at + label * width + i)] = 1.0
        else:
            memory[u(at + i * n + label)] = 1.0


@jit()
def forward(
    plan: Plan,
    gemm: int | None,
    params: Array,
    X: Array,
    x: int,
    memory: Array,
    skip: int,
    m: int,
) -> None:
    """
    From inputs at ``X[x:]``: a and slope of every hidden layer, and z of the output layer.

    Of m samples, the first of which is number ``skip`` in its block.
    """
    layers, L, width = plan.layers, len(plan.layers), padded(gemm, m)
    for l in range(L):
        n_in, n_out = layers[l, N_IN], layers[l, N_OUT]
        w, b, z = layers[l, WEIGHTS], layers[l, BIASES], layers[l, OUTPUTS] + skip * n_out
        source, at = (X, x) if l == 0 else (memory, layers[l, INPUTS] + skip * n_in)
        if gemm is None:
            lanes.forward_product(params, w, b, n_in, n_out, source, at, memory, z, width)
        else:
            blas.forward_product(gemm, params, w, b, n_in, n_out, source, at, memory, z, m)
        if l < L - 1:
            activate(layers[l, ACTIVATION], memory, z, plan.slopes + z, n_out * width)


@jit()
def backward(
    plan: Plan, gemm: int | None, params: Array, memory: Array, skip: int, m: int, batch: int
) -> float:
    """
    From z of the output layer: its loss and delta, and the deltas of all layers before.

    Of m samples of a batch of ``batch``, the first of which is number ``skip``.
    """
    layers, L, width = plan.layers, len(plan.layers), padded(gemm, m)
    n = layers[L - 1, N_OUT]
    at = skip * n
    z = layers[L - 1, OUTPUTS] + at
    sample_stride, unit_stride = (1, width) if gemm is None else (n, 1)
    scale = type(params[0])(1.0 / batch if plan.mean else 1.0)
    output_delta(
        plan,
        layers[L - 1, ACTIVATION],
        memory,
        z,
        at,
        m,
        n,
        sample_stride,
        unit_stride,
        n * width,
        scale,
    )
    if gemm is None:
        for j in range(n):  # the padding has no part in loss and gradient
            for i in range(j * width + m, (j + 1) * width):
                memory[u(plan.errors + i)] = 0.0
                memory[u(plan.deltas + z + i)] = 0.0
    for l in range(L - 1, 0, -1):
        n_in, n_out, w = layers[l, N_IN], layers[l, N_OUT], layers[l, WEIGHTS]
        back = layers[l, INPUTS] + skip * n_in
        d, e = plan.deltas + layers[l, OUTPUTS] + skip * n_out, plan.deltas + back
        if gemm is None:
            lanes.backward_product(params, w, n_in, n_out, memory, d, e, width)
        else:
            blas.backward_product(gemm, params, w, n_in, n_out, memory, d, e, m)
        for i in range(n_in * width):
            memory[u(e + i)] *= memory[u(plan.slopes + back + i)]
    return total(memory, plan.errors + at, n * width)


@jit()
def weight_gradient(
    plan: Plan,
    gemm: int | None,
    l: int,
    k: int,
    rows: int,
    alpha: float,
    beta: float,
    X: Array,
    x: int,
    memory: Array,
    m: int,
    C: Array,
    c: int,
) -> None:
    """C <- beta C + alpha dE/dW[l], rows k to k + rows of it; C is like the parameters, at c."""
    n_in, n_out = plan.layers[l, N_IN], plan.layers[l, N_OUT]
    w, d = c + plan.layers[l, WEIGHTS] + k * n_out, plan.deltas + plan.layers[l, OUTPUTS]
    source, at = (X, x) if l == 0 else (memory, plan.layers[l, INPUTS])
    if gemm is None:
        width = padded(gemm, m)
        at += k * width
        lanes.weight_product(alpha, beta, source, at, memory, d, C, w, rows, n_out, width)
    else:
        blas.weight_product(
            gemm, alpha, beta, source, at + k, n_in, memory, d, C, w, rows, n_out, m
        )


@jit()
def bias_gradient(
    plan: Plan,
    gemm: int | None,
    l: int,
    alpha: float,
    beta: float,
    memory: Array,
    m: int,
    C: Array,
    c: int,
) -> None:
    """C <- beta C + alpha dE/db[l]."""
    n_out = plan.layers[l, N_OUT]
    b, d = c + plan.layers[l, BIASES], plan.deltas + plan.layers[l, OUTPUTS]
    if gemm is None:
        lanes.bias_product(alpha, beta, memory, d, C, b, n_out, padded(gemm, m))
    else:
        blas.bias_product(gemm, alpha, beta, memory, plan.ones, d, C, b, n_out, m)


@jit()
def whole_tile(
    plan: Plan,
    gemm: int | None,
    params: Array,
    X: Array,
    Y: Array,
    rows: Indices,
    first: int,
    m: int,
    batch: int,
    memory: Array,
) -> float:
    """Load samples ``first`` to ``first + m`` of a batch; forward, backward. Returns their loss."""
    n_inputs, n_outputs, zero = plan.layers[0, N_IN], plan.layers[-1, N_OUT], plan.zero
    load(gemm, X, rows, first, m, n_inputs, memory, zero)
    load_targets(plan, gemm, Y, rows, first, m, n_outputs, memory, plan.targets)
    forward(plan, gemm, params, memory, zero, memory, zero, m)
    return backward(plan, gemm, params, memory, zero, m, batch)


@jit(entry=True)
def evaluate(
    plan: Plan, gemm: int | None, params: Array, X: Array, Y: Array, rows: Indices, memory: Array
) -> float:
    """Summed loss of all samples, in tiles of the plan's batch size. ``rows`` is empty."""
    n_samples = X.size // plan.layers[0, N_IN]
    loss = 0.0
    for first in range(0, n_samples, plan.batch_size):
        m = min(plan.batch_size, n_samples - first)
        loss += whole_tile(plan, gemm, params, X, Y, rows, first, m, n_samples, memory)
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
    """
    Gradient of one batch, all samples, into ``out``, (P,). Returns their summed loss.

    Samples come in tiles of the plan's batch size; the sum over tiles is in their order.
    """
    n_samples = X.size // plan.layers[0, N_IN]
    loss = 0.0
    for first in range(0, n_samples, plan.batch_size):
        m = min(plan.batch_size, n_samples - first)
        loss += whole_tile(plan, gemm, params, X, Y, rows, first, m, n_samples, memory)
        beta = 0.0 if first == 0 else 1.0
        for l in range(len(plan.layers)):
            n_in, zero = plan.layers[l, N_IN], plan.zero
            weight_gradient(
                plan, gemm, l, zero, n_in, 1.0, beta, memory, zero, memory, m, out, zero
            )
            bias_gradient(plan, gemm, l, 1.0, beta, memory, m, out, zero)
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
        load(gemm, X, rows, first, m, n_inputs, memory, plan.zero)
        forward(plan, gemm, params, memory, plan.zero, memory, plan.zero, m)
        sample_stride, unit_stride = (1, width) if gemm is None else (n, 1)
        if activation == codes.SOFTMAX:
            softmax(memory, z, m, n, sample_stride, unit_stride)
        else:
            activate(activation, memory, z, plan.slopes + z, n * width)
        for i in range(m):
            for j in range(n):
                q = z + i * sample_stride + j * unit_stride
                out[u((first + i) * n + j)] = memory[u(q)]
