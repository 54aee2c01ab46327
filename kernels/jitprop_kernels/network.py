"""
A net on one batch, by either route; and `evaluate`, `gradient`, `predict` of it.

``blocked`` chooses the route: BLOCKS or LANES. It does so by its length, while compiling, so that
each pair of dtype and route compiles once and holds no code of the other.

Layers follow a[l + 1] = f_l(a[l] @ W[l] + b[l]); delta[l] is the derivative of the batch's loss
with respect to z[l]. The derivation, line by line: ``jitprop.reference``.
"""

from __future__ import annotations

import numpy as np

from jitprop_kernels import blocks, codes, lanes, simd
from jitprop_kernels._jit import jit
from jitprop_kernels._types import Array, Indices, Route
from jitprop_kernels.activations import activate
from jitprop_kernels.elementary import smaller
from jitprop_kernels.losses import softmax, total
from jitprop_kernels.plan import ACTIVATION, N_IN, N_OUT, OUTPUTS, SMALLEST, Plan

CACHE_LINE = 64
AHEAD = 16
"""Samples. In a random order each waits for the memory; asked for so far ahead, they come in
time."""


@jit()
def padded(blocked: Route, memory: Array, m: int) -> int:
    """Samples in a block: with the lanes route's padding."""
    if len(blocked) == 0:
        n = simd.lanes(memory)
        return (m + n - 1) // n * n
    else:
        return m


@jit()
def load(
    blocked: Route,
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
    width = padded(blocked, memory, m)
    line = CACHE_LINE // memory.itemsize
    for i in range(width):
        # The padding repeats the last sample: it overflows only where a sample does.
        row = first + (i if i < m else m - 1)
        if rows.size > 0:
            row = rows[row]
            ahead = first + i + AHEAD
            if ahead < rows.size:
                for k in range(0, n + line - 1, line):
                    simd.prefetch(source, rows[ahead] * n + (k if k < n else n - 1))
        for k in range(n):
            x = source[row * n + k]
            if len(blocked) == 0:
                memory[at + k * width + i] = x
            else:
                memory[at + i * n + k] = x


@jit(apart=True)
def load_targets(
    plan: Plan,
    blocked: Route,
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
        load(blocked, Y, rows, first, m, n, memory, at)
        return
    width = padded(blocked, memory, m)
    for i in range(at, at + n * width):
        memory[i] = 0.0
    for i in range(m):
        row = rows[first + i] if rows.size > 0 else first + i
        label = np.int64(Y[row])
        if len(blocked) == 0:
            memory[at + label * width + i] = 1.0
        else:
            memory[at + i * n + label] = 1.0


@jit()
def replace(
    blocked: Route, source: Array, row: int, memory: Array, at: int, i: int, m: int, n: int
) -> None:
    """Make sample i of m, in the block at ``memory[at:]``, that of a ``row``, or zeros for -1."""
    width = padded(blocked, memory, m)
    for k in range(n):
        x = source[row * n + k] if row >= 0 else type(memory[0])(0.0)
        if len(blocked) == 0:
            memory[at + k * width + i] = x
        else:
            memory[at + i * n + k] = x


@jit()
def whole_of(plan: Plan, weights: Array, rows: Indices, first: int, m: int) -> float:
    """
    What the shares of a batch's m samples are parts of: for their mean, the sum of their weights.

    1 for their sum, without weights, and where all weights are 0: then so are the shares. A sum
    too small to have an inverse counts as 0.
    """
    whole = 0.0
    if plan.weighted and plan.mean:
        for i in range(first, first + m):
            whole += weights[rows[i] if rows.size > 0 else i]
    return whole if whole >= SMALLEST else 1.0


@jit(apart=True)
def load_batch(
    plan: Plan,
    blocked: Route,
    X: Array,
    Y: Array,
    weights: Array,
    whole: float,
    rows: Indices,
    first: int,
    m: int,
    direct: bool,
    memory: Array,
    skip: int,
) -> None:
    """
    Copy the inputs and targets of m samples, from ``first`` on, to number ``skip`` in their blocks.

    And each sample's share, its weight by the ``whole`` of the batch. Inputs are left out where
    ``direct`` says that products read X itself. A sample of weight 0 is replaced by one that
    counts: what overflowed in it would have a part in sums, since 0 times inf is nan.
    """
    n_inputs, n_targets = plan.layers[0, N_IN], plan.n_targets
    if not direct:
        load(blocked, X, rows, first, m, n_inputs, memory, skip * n_inputs)
    at = plan.targets + skip * n_targets
    load_targets(plan, blocked, Y, rows, first, m, n_targets, memory, at)
    if plan.weighted:
        for i in range(padded(blocked, memory, m)):
            place = first + (i if i < m else m - 1)  # the padding repeats the last sample
            weight = weights[rows[place] if rows.size > 0 else place]
            if i < m:
                memory[plan.shares + skip + i] = weight / whole
            if weight == 0.0:
                row = plan.stand_in
                replace(blocked, X, row, memory, skip * n_inputs, i, m, n_inputs)
                # Of labels, zeros: no class counts.
                replace(blocked, Y, -1 if plan.labels else row, memory, at, i, m, n_targets)
    if plan.gain != 1.0:
        T = type(memory[0])
        for i in range(at, at + n_targets * padded(blocked, memory, m)):
            memory[i] = T(plan.gain) * memory[i] + T(plan.offset)


@jit()
def loss_of(
    plan: Plan,
    blocked: Route,
    params: Array,
    X: Array,
    x: int,
    memory: Array,
    m: int,
    batch: int,
    place: int,
    t: int,
) -> float:
    """
    Forward of m samples of a batch of ``batch``, to their deltas; returns their summed loss.

    With weights, the loss is the sum of each sample's times its share. ``place`` and ``t`` are for
    dropout: see `blocks.forward`.
    """
    if len(blocked) == 0:
        width = padded(blocked, memory, m)
        lanes.forward(plan, params, memory, lanes.output_activation(plan), m, width, t)
        return lanes.output(plan, memory, m, width, batch)
    else:
        blocks.forward(plan, params, X, x, memory, 0, m, place, t)
        blocks.output(plan, params, memory, 0, m, batch)
        return total(memory, plan.errors, m * plan.layers[len(plan.layers) - 1, N_OUT])


@jit()
def add_gradients(
    plan: Plan,
    blocked: Route,
    params: Array,
    beta: float,
    X: Array,
    x: int,
    memory: Array,
    m: int,
    C: Array,
    c: int,
) -> None:
    """
    C <- beta C + the gradient of m samples, from their output deltas.

    C is like the parameters, at c.
    """
    width = padded(blocked, memory, m)
    if len(blocked) == 0:
        lanes.backward(plan, params, memory, width)
    else:
        blocks.backward(plan, memory, 0, m)
    for l in range(len(plan.layers)):
        if len(blocked) == 0:
            lanes.weight_gradient(plan, l, 1.0, beta, memory, width, C, c)
            lanes.bias_gradient(plan, l, 1.0, beta, memory, width, C, c)
        else:
            n_in = plan.layers[l, N_IN]
            blocks.weight_gradient(plan, l, 0, n_in, 1.0, beta, X, x, memory, 0, m, C, c, 0)
            blocks.bias_gradient(plan, l, 1.0, beta, memory, m, C, c)


@jit()
def refresh(plan: Plan, blocked: Route, params: Array, memory: Array, back: bool) -> None:
    """Copy all weights to where products read them; ``back``: those of the way back too."""
    if len(blocked) > 0:
        for l in range(len(plan.layers)):
            blocks.refresh(plan, l, 0, plan.layers[l, N_IN], params, memory, back)


@jit()
def load_loss(
    plan: Plan,
    blocked: Route,
    params: Array,
    X: Array,
    Y: Array,
    weights: Array,
    whole: float,
    rows: Indices,
    first: int,
    m: int,
    batch: int,
    memory: Array,
) -> float:
    """Load samples ``first`` to ``first + m``; the rest as `loss_of`."""
    load_batch(plan, blocked, X, Y, weights, whole, rows, first, m, False, memory, 0)
    return loss_of(plan, blocked, params, memory, 0, memory, m, batch, 0, 0)


@jit(entry=True)
def evaluate(
    plan: Plan,
    blocked: Route,
    params: Array,
    X: Array,
    Y: Array,
    weights: Array,
    rows: Indices,
    memory: Array,
) -> float:
    """Summed loss of all samples, in tiles of the plan's batch size. ``rows`` is empty."""
    n_samples = X.size // plan.layers[0, N_IN]
    whole = whole_of(plan, weights, rows, 0, n_samples)
    refresh(plan, blocked, params, memory, False)
    loss = 0.0
    for first in range(0, n_samples, plan.batch_size):
        m = smaller(plan.batch_size, n_samples - first)
        loss += load_loss(
            plan, blocked, params, X, Y, weights, whole, rows, first, m, n_samples, memory
        )
    return loss * whole


@jit(entry=True)
def gradient(
    plan: Plan,
    blocked: Route,
    params: Array,
    X: Array,
    Y: Array,
    weights: Array,
    rows: Indices,
    out: Array,
    memory: Array,
) -> float:
    """
    Gradient of one batch, all samples, into ``out``, (P,). Returns their summed loss.

    Samples come in tiles of the plan's batch size; the sum over tiles is in their order.
    """
    n_samples = X.size // plan.layers[0, N_IN]
    whole = whole_of(plan, weights, rows, 0, n_samples)
    refresh(plan, blocked, params, memory, True)
    loss = 0.0
    for first in range(0, n_samples, plan.batch_size):
        m = smaller(plan.batch_size, n_samples - first)
        loss += load_loss(
            plan, blocked, params, X, Y, weights, whole, rows, first, m, n_samples, memory
        )
        beta = 0.0 if first == 0 else 1.0
        add_gradients(plan, blocked, params, beta, memory, 0, memory, m, out, 0)
    return loss * whole


@jit(entry=True)
def predict(
    plan: Plan,
    blocked: Route,
    params: Array,
    X: Array,
    out: Array,
    rows: Indices,
    memory: Array,
) -> None:
    """Outputs of all samples into ``out``, (n_samples * n_outputs,). ``rows`` is empty."""
    n_inputs = plan.layers[0, N_IN]
    n_samples = X.size // n_inputs
    n, z = plan.layers[len(plan.layers) - 1, N_OUT], plan.layers[len(plan.layers) - 1, OUTPUTS]
    activation = plan.layers[len(plan.layers) - 1, ACTIVATION]
    refresh(plan, blocked, params, memory, False)
    for first in range(0, n_samples, plan.batch_size):
        m = smaller(plan.batch_size, n_samples - first)
        width = padded(blocked, memory, m)
        load(blocked, X, rows, first, m, n_inputs, memory, 0)
        if len(blocked) == 0:
            lanes.forward(plan, params, memory, activation, m, width, 0)
        else:
            blocks.forward(plan, params, memory, 0, memory, 0, m, 0, 0)
            activate(activation, memory, z, plan.slopes + z, n * width)
        sample_stride, unit_stride = (1, width) if len(blocked) == 0 else (n, 1)
        if activation == codes.SOFTMAX:
            softmax(memory, z, m, n, sample_stride, unit_stride)
        for i in range(m):
            for j in range(n):
                q = z + i * sample_stride + j * unit_stride
                out[(first + i) * n + j] = memory[q]
