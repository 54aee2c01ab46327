"""
A net on one batch, by either route; and `evaluate`, `gradient`, `predict` of it.

``route`` is BLOCKS or LANES: see `_types.Switch`. So each pair of dtype and route compiles once,
and holds no code of the other route.

Layers follow a[l + 1] = f_l(a[l] @ W[l] + b[l]); delta[l] is the derivative of the batch's loss
with respect to z[l]. The derivation, line by line: ``jitprop.reference``.
"""

from __future__ import annotations

import numpy as np

from jitprop_kernels import blocks, codes, lanes, simd
from jitprop_kernels._jit import jit
from jitprop_kernels._types import OFF, ON, Array, Indices, Route, Switch
from jitprop_kernels.activations import activate
from jitprop_kernels.elementary import smaller
from jitprop_kernels.losses import softmax, total
from jitprop_kernels.plan import ACTIVATION, N_IN, N_OUT, OUTPUTS, SMALLEST, Plan
from jitprop_kernels.records import Part, Samples, Sink

CACHE_LINE = 64
AHEAD = 16
"""Samples. In a random order each waits for the memory; asked for so far ahead, they come in
time."""


@jit()
def padded(route: Route, memory: Array, m: int) -> int:
    """Samples in a block: with the lanes route's padding."""
    if len(route) == 0:
        n = simd.lanes(memory)
        return (m + n - 1) // n * n
    else:
        return m


@jit()
def load(
    route: Route, source: Array, rows: Indices, first: int, m: int, n: int, memory: Array, at: int
) -> None:
    """
    Copy m samples of n numbers into the block at ``memory[at:]``, in the route's layout.

    ``rows[first:first + m]`` names the samples; with no rows they stand one after the other.
    """
    width = padded(route, memory, m)
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
            if len(route) == 0:
                memory[at + k * width + i] = x
            else:
                memory[at + i * n + k] = x


@jit(apart=True)
def load_targets(plan: Plan, route: Route, samples: Samples, part: Part, at: int) -> None:
    """Copy the targets to ``memory[at:]``; class numbers become rows of 0 with one 1."""
    Y, rows, memory = samples.Y, samples.rows, part.memory
    first, m, n = part.first, part.size, plan.n_targets
    if not plan.labels:
        load(route, Y, rows, first, m, n, memory, at)
        return
    width = padded(route, memory, m)
    for i in range(at, at + n * width):
        memory[i] = 0.0
    for i in range(m):
        row = rows[first + i] if rows.size > 0 else first + i
        label = np.int64(Y[row])
        if len(route) == 0:
            memory[at + label * width + i] = 1.0
        else:
            memory[at + i * n + label] = 1.0


@jit()
def replace(
    route: Route, source: Array, row: int, memory: Array, at: int, i: int, m: int, n: int
) -> None:
    """Make sample i of m, in the block at ``memory[at:]``, that of a ``row``, or zeros for -1."""
    width = padded(route, memory, m)
    for k in range(n):
        x = source[row * n + k] if row >= 0 else type(memory[0])(0.0)
        if len(route) == 0:
            memory[at + k * width + i] = x
        else:
            memory[at + i * n + k] = x


@jit()
def sum_of_weights(plan: Plan, samples: Samples, first: int, m: int) -> float:
    """
    What the weights of a batch's m samples are divided by: for their mean, their sum.

    1 for their sum, without weights, and where all weights are 0. A sum too small to have an
    inverse counts as 0.
    """
    weights, rows = samples.weights, samples.rows
    weight_sum = 0.0
    if plan.weighted and plan.mean:
        for i in range(first, first + m):
            weight_sum += weights[rows[i] if rows.size > 0 else i]
    return weight_sum if weight_sum >= SMALLEST else 1.0


@jit(apart=True)
def load_batch(
    plan: Plan, route: Route, samples: Samples, part: Part, weight_sum: float, in_place: bool
) -> None:
    """
    Copy the inputs and targets of some samples to their places in the blocks.

    And each sample's share, its weight by the ``weight_sum`` of the batch. Inputs are left out
    where products read X in its place. A sample of weight 0 is replaced by one that counts: what
    overflowed in it would have a part in sums, since 0 times inf is nan.
    """
    X, Y, weights, rows = samples.X, samples.Y, samples.weights, samples.rows
    memory, skip, m, first = part.memory, part.skip, part.size, part.first
    n_inputs, n_targets = plan.layers[0, N_IN], plan.n_targets
    if not in_place:
        load(route, X, rows, first, m, n_inputs, memory, skip * n_inputs)
    at = plan.targets + skip * n_targets
    load_targets(plan, route, samples, part, at)
    if plan.weighted:
        for i in range(padded(route, memory, m)):
            sample = first + (i if i < m else m - 1)  # the padding repeats the last sample
            weight = weights[rows[sample] if rows.size > 0 else sample]
            if i < m:
                memory[plan.shares + skip + i] = weight / weight_sum
            if weight == 0.0:
                row = plan.stand_in
                replace(route, X, row, memory, skip * n_inputs, i, m, n_inputs)
                # Of labels, zeros: no class counts.
                replace(route, Y, -1 if plan.labels else row, memory, at, i, m, n_targets)
    if plan.gain != 1.0:
        T = type(memory[0])
        for i in range(at, at + n_targets * padded(route, memory, m)):
            memory[i] = T(plan.gain) * memory[i] + T(plan.offset)


@jit()
def loss_of(plan: Plan, route: Route, params: Array, part: Part) -> float:
    """
    Forward of some samples, to their deltas; returns their summed loss.

    With weights, the loss is the sum of each sample's times its share.
    """
    memory, m = part.memory, part.size
    if len(route) == 0:
        width = padded(route, memory, m)
        lanes.forward(plan, params, memory, lanes.output_activation(plan), m, width, part.t)
        return lanes.output(plan, memory, m, width, part.batch_size)
    else:
        blocks.forward(plan, params, part)
        blocks.output(plan, part)
        return total(memory, plan.errors, m * plan.layers[len(plan.layers) - 1, N_OUT])


@jit()
def add_gradients(plan: Plan, route: Route, params: Array, part: Part, sink: Sink) -> None:
    """Put the gradient of some samples, from their output deltas, into the sink."""
    memory = part.memory
    width = padded(route, memory, part.size)
    if len(route) == 0:
        lanes.backward(plan, params, memory, width)
    else:
        blocks.backward(plan, part)
    for l in range(len(plan.layers)):
        if len(route) == 0:
            lanes.weight_gradient(plan, l, memory, width, sink)
            lanes.bias_gradient(plan, l, memory, width, sink)
        else:
            blocks.weight_gradient(plan, l, 0, plan.layers[l, N_IN], part, sink, 0)
            blocks.bias_gradient(plan, l, part, sink)


@jit()
def pack_weights(plan: Plan, route: Route, params: Array, memory: Array, transposed: bool) -> None:
    """Copy all weights to where products read them; see `blocks.pack_weights`."""
    if len(route) > 0:
        for l in range(len(plan.layers)):
            blocks.pack_weights(plan, l, 0, plan.layers[l, N_IN], params, memory, transposed)


@jit()
def tile_of(first: int, m: int, n_samples: int, memory: Array) -> Part:
    """Of all samples m, from ``first`` on, which go through the net together from ``memory``."""
    return Part(
        first=first,
        position=0,
        skip=0,
        size=m,
        batch_size=n_samples,
        t=0,
        inputs=memory,
        at=0,
        memory=memory,
    )


@jit()
def pass_tiles(
    plan: Plan,
    route: Route,
    backward: Switch,
    params: Array,
    samples: Samples,
    out: Array,
    memory: Array,
) -> float:
    """
    Summed loss of all samples, in tiles of the plan's batch size; there are no ``rows``.

    And with the switch on, the gradient of the batch that they are, into ``out``, (P,): the sum
    over tiles is in their order.
    """
    n_samples = samples.X.size // plan.layers[0, N_IN]
    weight_sum = sum_of_weights(plan, samples, 0, n_samples)
    pack_weights(plan, route, params, memory, len(backward) > 0)
    loss = 0.0
    for first in range(0, n_samples, plan.batch_size):
        part = tile_of(first, smaller(plan.batch_size, n_samples - first), n_samples, memory)
        load_batch(plan, route, samples, part, weight_sum, False)
        loss += loss_of(plan, route, params, part)
        if len(backward) > 0:
            beta = 0.0 if first == 0 else 1.0
            add_gradients(plan, route, params, part, Sink(out, 0, 1.0, beta, beta))
    return loss * weight_sum


@jit()
def evaluate(plan: Plan, route: Route, params: Array, samples: Samples, memory: Array) -> float:
    """Summed loss of all samples."""
    return pass_tiles(plan, route, OFF, params, samples, memory, memory)


@jit()
def gradient(
    plan: Plan, route: Route, params: Array, samples: Samples, out: Array, memory: Array
) -> float:
    """Gradient of one batch, all samples, into ``out``, (P,). Returns their summed loss."""
    return pass_tiles(plan, route, ON, params, samples, out, memory)


@jit()
def predict(
    plan: Plan, route: Route, params: Array, X: Array, rows: Indices, out: Array, memory: Array
) -> None:
    """Outputs of all samples into ``out``, (n_samples * n_outputs,). ``rows`` is empty."""
    n_inputs = plan.layers[0, N_IN]
    n_samples = X.size // n_inputs
    n, z = plan.layers[len(plan.layers) - 1, N_OUT], plan.layers[len(plan.layers) - 1, OUTPUTS]
    activation = plan.layers[len(plan.layers) - 1, ACTIVATION]
    pack_weights(plan, route, params, memory, False)
    for first in range(0, n_samples, plan.batch_size):
        m = smaller(plan.batch_size, n_samples - first)
        width = padded(route, memory, m)
        load(route, X, rows, first, m, n_inputs, memory, 0)
        if len(route) == 0:
            lanes.forward(plan, params, memory, activation, m, width, 0)
        else:
            blocks.forward(plan, params, tile_of(first, m, n_samples, memory))
            activate(activation, memory, z, plan.slopes + z, n * width)
        sample_stride, unit_stride = (1, width) if len(route) == 0 else (n, 1)
        if activation == codes.SOFTMAX:
            softmax(memory, z, m, n, sample_stride, unit_stride)
        for i in range(m):
            for j in range(n):
                q = z + i * sample_stride + j * unit_stride
                out[(first + i) * n + j] = memory[q]
