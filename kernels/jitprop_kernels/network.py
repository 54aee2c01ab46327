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
from jitprop_kernels._types import Array, Indices, Route
from jitprop_kernels.activations import activate
from jitprop_kernels.elementary import smaller
from jitprop_kernels.losses import softmax, total
from jitprop_kernels.meeting import agree, halted, meet
from jitprop_kernels.plan import ACTIVATION, N_IN, N_OUT, OUTPUTS, SMALLEST, Plan
from jitprop_kernels.records import Part, Pass, Samples, Seat, Sink
from jitprop_kernels.sizes import AGREED, LOOK_AT_INPUTS, LOOK_AT_NOTHING, REFUSED

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
    line = CACHE_LINE // simd.item_size(memory)
    if len(route) > 0 and rows.size == 0:
        for i in range(m * n):
            memory[at + i] = source[first * n + i]
        return
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
def all_finite(array: Array, start: int, stop: int) -> bool:
    """Whether ``array[start:stop]`` has neither inf nor nan."""
    if start == stop:  # interpreted, an empty array has no first number to ask for its type
        return True
    n = simd.lanes(array)
    rest = start + (stop - start) // (2 * n) * (2 * n)
    T = type(array[0])
    # 0 times a number is 0, and 0 times inf or nan is nan.
    v0 = v1 = simd.splat(T(0.0))
    for i in range(start, rest, 2 * n):
        v0 += simd.load(array, i) * simd.splat(T(0.0))
        v1 += simd.load(array, i + n) * simd.splat(T(0.0))
    total = simd.lane_sum(v0 + v1)
    for i in range(rest, stop):
        total += array[i] * T(0.0)
    return bool(total == T(0.0))


@jit()
def all_within(array: Array, start: int, stop: int, plan: Plan) -> bool:
    """Whether ``array[start:stop]`` are targets as the plan allows them: see `Plan.low`."""
    for i in range(start, stop):
        y = float(array[i])
        if not (plan.low <= y <= plan.high) or (plan.labels and float(np.int64(y)) != y):
            return False
    return True


@jit(apart=True)
def are_refused(plan: Plan, samples: Samples, first: int, m: int) -> bool:
    """Look at m samples, as far as the plan asks for it (`Plan.look`)."""
    if plan.look == LOOK_AT_NOTHING:
        return False
    n_in, n_targets = plan.layers[0, N_IN], 1 if plan.labels else plan.n_targets
    if not all_finite(samples.X, first * n_in, (first + m) * n_in):
        return True
    if plan.look == LOOK_AT_INPUTS:
        return False
    return not all_within(samples.Y, first * n_targets, (first + m) * n_targets, plan)


@jit()
def tile_of(
    plan: Plan, X: Array, first: int, m: int, n_samples: int, in_place: bool, memory: Array
) -> Part:
    """Of all samples m, from ``first`` on, which go through the net together."""
    return Part(
        first=first,
        position=0,
        skip=0,
        size=m,
        batch_size=n_samples,
        t=0,
        inputs=X if in_place else memory,
        at=first * plan.layers[0, N_IN] if in_place else 0,
        memory=memory,
    )


@jit()
def weight_sum_of(plan: Plan, work: Pass, tile: int) -> float:
    """`sum_of_weights` of the group that a tile is in."""
    n_samples, size = work.samples.X.size // plan.layers[0, N_IN], work.group * plan.batch_size
    first = tile // work.group * size
    return sum_of_weights(plan, work.samples, first, smaller(size, n_samples - first))


@jit()
def pass_tile(
    plan: Plan, route: Route, work: Pass, seat: Seat, tile: int, weight_sum: float
) -> Part:
    """Take a tile of samples forward, to their deltas; their loss is put to ``work.parts``."""
    samples = work.samples
    n_samples = samples.X.size // plan.layers[0, N_IN]
    in_place = len(route) > 0 and not plan.weighted
    first = tile * plan.batch_size
    m = smaller(plan.batch_size, n_samples - first)
    part = tile_of(plan, samples.X, first, m, n_samples, in_place, work.memory)
    if are_refused(plan, samples, first, m):
        seat.gate[REFUSED] = 1
        work.parts[tile] = 0.0
    else:
        load_batch(plan, route, samples, part, weight_sum, in_place)
        work.parts[tile] = loss_of(plan, route, work.params, part)
    return part


@jit()
def total_loss(plan: Plan, work: Pass, n_tiles: int) -> float:
    """Summed loss of all samples: of each group the tiles in their order, and then the groups."""
    total = 0.0
    for begin in range(0, n_tiles, work.group):
        loss = 0.0
        for tile in range(begin, smaller(begin + work.group, n_tiles)):
            loss += work.parts[tile]
        total += loss * weight_sum_of(plan, work, begin)
    return total


@jit()
def evaluate(plan: Plan, route: Route, work: Pass, seat: Seat) -> float:
    """
    Summed loss of all samples, in tiles of the plan's batch size; there are no ``rows``.

    Several threads may run it at once on the same arrays, each with its own ``seat`` and memory.
    The one with rank 0 returns the loss. A sample that is refused makes ``gate[REFUSED]`` 1. Then,
    or if they were halted, what is returned is of no use.
    """
    n_samples = work.samples.X.size // plan.layers[0, N_IN]
    n_tiles = (n_samples + plan.batch_size - 1) // plan.batch_size
    pack_weights(plan, route, work.params, work.memory, False)
    for tile in range(seat.rank, n_tiles, seat.ranks):
        if halted(seat.gate):
            break
        pass_tile(plan, route, work, seat, tile, weight_sum_of(plan, work, tile))
    meet(seat.gate, seat.ranks)
    return total_loss(plan, work, n_tiles) if seat.rank == 0 else 0.0


@jit()
def gradient(
    plan: Plan, route: Route, work: Pass, out: Array, gradients: Array, seat: Seat
) -> float:
    """
    Gradient of one batch, all samples, into ``out``, (P,). Returns their summed loss.

    As `evaluate`, with all tiles in one group. The gradients of tiles are added in the order of the
    tiles: several threads put theirs into ``gradients``, (ranks * P,), first.
    """
    gate, rank, ranks = seat.gate, seat.rank, seat.ranks
    n_samples, P = work.samples.X.size // plan.layers[0, N_IN], work.params.size
    n_tiles = (n_samples + plan.batch_size - 1) // plan.batch_size
    weight_sum = weight_sum_of(plan, work, 0)
    pack_weights(plan, route, work.params, work.memory, True)
    low, high = P * rank // ranks, P * (rank + 1) // ranks
    for first in range(0, n_tiles, ranks):
        tile = first + rank
        if tile < n_tiles:
            part = pass_tile(plan, route, work, seat, tile, weight_sum)
            beta = 1.0 if ranks == 1 and tile > 0 else 0.0
            target = out if ranks == 1 else gradients
            sink = Sink(target, 0 if ranks == 1 else rank * P, 1.0, beta, 1.0, beta)
            add_gradients(plan, route, work.params, part, sink)
        agree(gate, rank)
        meet(gate, ranks)
        if gate[AGREED] != 0:
            break
        if ranks > 1:
            for other in range(smaller(ranks, n_tiles - first)):
                for i in range(low, high):
                    before = type(out[0])(0.0) if first + other == 0 else out[i]
                    out[i] = before + gradients[other * P + i]
            meet(gate, ranks)
    return total_loss(plan, work, n_tiles) if rank == 0 else 0.0


@jit()
def predict(plan: Plan, route: Route, work: Pass, out: Array, seat: Seat) -> None:
    """Outputs of all samples into ``out``, (n_samples * n_outputs,). As `evaluate`."""
    samples, params, memory = work.samples, work.params, work.memory
    n_inputs = plan.layers[0, N_IN]
    n_samples = samples.X.size // n_inputs
    last = len(plan.layers) - 1
    n, z, activation = (
        plan.layers[last, N_OUT],
        plan.layers[last, OUTPUTS],
        plan.layers[last, ACTIVATION],
    )
    in_place = len(route) > 0
    pack_weights(plan, route, params, memory, False)
    stride = seat.ranks * plan.batch_size
    for first in range(seat.rank * plan.batch_size, n_samples, stride):
        if halted(seat.gate):
            break
        m = smaller(plan.batch_size, n_samples - first)
        if are_refused(plan, samples, first, m):
            seat.gate[REFUSED] = 1
            break
        width = padded(route, memory, m)
        part = tile_of(plan, samples.X, first, m, n_samples, in_place, memory)
        if len(route) == 0:
            load(route, samples.X, samples.rows, first, m, n_inputs, memory, 0)
            lanes.forward(plan, params, memory, activation, m, width, 0)
        else:
            blocks.forward(plan, params, part)
            activate(activation, plan.numbers[last], memory, z, plan.slopes + z, n * width)
        sample_stride, unit_stride = (1, width) if len(route) == 0 else (n, 1)
        if activation == codes.SOFTMAX:
            softmax(memory, z, m, n, sample_stride, unit_stride)
        for i in range(m):
            for j in range(n):
                q = z + i * sample_stride + j * unit_stride
                out[(first + i) * n + j] = memory[q]
