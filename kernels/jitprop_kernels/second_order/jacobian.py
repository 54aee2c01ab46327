"""
The rows of a least-squares form of the loss: R and r, so that g = R^T r and H = R^T R.

g is the gradient of the batch's loss and H its curvature: the Gauss-Newton matrix, or the
generalised one. Sample i has a row for each output k, the derivative by all parameters of

====================  =====================================  =========================
loss                  row of R                               r
====================  =====================================  =========================
half_squared_error    sqrt(s) da_k                           sqrt(s) (a_k - t_k)
squared_error         sqrt(2 s) da_k                         sqrt(2 s) (a_k - t_k)
huber                 sqrt(s c) da_k                         sqrt(s c) (a_k - t_k)
binary_cross_entropy  sqrt(s h) dz_k, with h = a_k(1 - a_k)  sqrt(s / h) (a_k - t_k)
poisson               sqrt(s h) dz_k, with h = exp(z_k)      sqrt(s / h) (h - t_k)
cross_entropy         sqrt(s a_k) (dz_k - sum a_j dz_j)      sqrt(s / a_k) (a_k - t_k)
====================  =====================================  =========================

s is the sample's share of the batch. c is 1, or delta / abs(a_k - t_k) where that is smaller: the
parabola of this curvature touches the Huber loss and lies above it.

Here R stands transposed: a row for each parameter, in which samples are neighbours, and behind
them r. So every layout of a net's blocks serves, and products of rows are sums over neighbours.
One pass back serves one output of all samples of a tile.
"""

from __future__ import annotations

from typing import NamedTuple

from jitprop_kernels import blocks, codes, lanes
from jitprop_kernels._jit import jit
from jitprop_kernels._types import Array, Route, Scalar
from jitprop_kernels.activations import activate, sigmoid
from jitprop_kernels.elementary import exp
from jitprop_kernels.losses import softmax
from jitprop_kernels.network import padded
from jitprop_kernels.plan import ACTIVATION, BIASES, INPUTS, N_IN, N_OUT, OUTPUTS, WEIGHTS, Plan
from jitprop_kernels.records import Descent, Outputs, Part, Seat
from jitprop_kernels.second_order.passes import load_tile, stays, tile_to_load
from jitprop_kernels.simd import lanes as lanes_of
from jitprop_kernels.simd import load, splat, square_root, store, widened

FLOOR = 1e-30
"""The smallest curvature h: where a unit is saturated, R gets sqrt(h) and r gets 1 / sqrt(h)."""


class Rows(NamedTuple):
    """Where R of some samples and an output stands, transposed, and behind it r."""

    array: Array
    """float64."""
    at: int
    n: int
    """P, the number of parameters."""
    width: int
    """Samples, padded with zeros to a whole number of vectors."""
    stride: int
    """Numbers from one parameter's row to the next one's."""


@jit()
def width_of(memory: Array, m: int) -> int:
    """m samples, padded to a whole number of vectors."""
    n = lanes_of(memory)
    return (m + n - 1) // n * n


@jit()
def outputs_of(plan: Plan, route: Route, memory: Array, m: int) -> Outputs:
    """Where the numbers of the output layer stand, in the route's layout."""
    last = len(plan.layers) - 1
    z, n = plan.layers[last, OUTPUTS], plan.layers[last, N_OUT]
    if len(route) == 0:
        width = padded(route, memory, m)
        return Outputs(z, plan.targets, plan.errors, m, n, 1, width, n * width)
    else:
        return Outputs(z, plan.targets, plan.errors, m, n, n, 1, n * m)


@jit()
def pass_forward(
    plan: Plan, route: Route, work: Descent, tile: int, weight_sum: float, seat: Seat
) -> tuple[Part, Outputs]:
    """
    Take a tile of samples to its outputs: a with slopes for losses of a, a for cross-entropy, z
    for the other losses of z.

    Where the tile stays in memory, the last loss was that of the same parameters: it left a there.
    """
    memory, of_a = work.memory, plan.loss >= codes.HALF_SQUARED_ERROR
    if stays(plan, work, seat):
        part = tile_to_load(plan, route, work, tile)
        if of_a:
            return part, outputs_of(plan, route, memory, part.size)
    else:
        part = load_tile(plan, route, work, tile, weight_sum)
    m, outputs = part.size, outputs_of(plan, route, memory, part.size)
    if len(route) == 0:
        lanes.forward(plan, work.params, memory, codes.IDENTITY, m, padded(route, memory, m), 0)
    else:
        blocks.forward(plan, work.params, part)
    if of_a:
        last = len(plan.layers) - 1
        activation, number = plan.layers[last, ACTIVATION], plan.numbers[last]
        activate(activation, number, memory, outputs.z, plan.slopes + outputs.z, outputs.size)
    elif plan.loss == codes.CROSS_ENTROPY:
        softmax(memory, outputs.z, m, outputs.n, outputs.sample_stride, outputs.unit_stride)
    return part, outputs


@jit()
def root_of_output(
    plan: Plan, x: Scalar, slope: Scalar, t: Scalar, share: Scalar
) -> tuple[Scalar, Scalar]:
    """What da_k or dz_k is multiplied by in a row of R, times the slope; and r."""
    T = type(x)
    if plan.loss == codes.HALF_SQUARED_ERROR:
        root = square_root(share)
        return root * slope, root * (x - t)
    if plan.loss == codes.SQUARED_ERROR:
        root = square_root(T(2.0) * share)
        return root * slope, root * (x - t)
    if plan.loss == codes.PIECEWISE:
        e, edge = x - t, T(plan.edge)
        root = square_root(share * edge / abs(e) if abs(e) > edge else share)
        return root * slope, root * e
    if plan.loss == codes.BINARY_CROSS_ENTROPY:
        a, h = sigmoid(x)
    elif plan.loss == codes.CROSS_ENTROPY:
        a = h = x
    else:
        a = h = exp(x)
    h = T(FLOOR) if h < T(FLOOR) else h
    root, shared = square_root(h), square_root(share)
    return shared * root, shared * (a - t) / root


@jit()
def put_roots_of_squares(
    plan: Plan, memory: Array, outputs: Outputs, k: int, share: Scalar, rows: Rows
) -> int:
    """
    Do what `put_roots` does for squared errors without weights, where samples are neighbours.

    The root is then the same for all samples. Return how many were done: whole vectors of them.
    """
    T, side = type(memory[0]), lanes_of(memory)
    of_half = plan.loss == codes.HALF_SQUARED_ERROR
    root = splat(square_root(share if of_half else T(2.0) * share))
    unit = k * outputs.unit_stride
    z, targets = outputs.z + unit, outputs.targets + unit
    at = rows.at + rows.n * rows.stride
    whole: int = outputs.m // side * side
    for i in range(0, whole, side):
        x, t = load(memory, z + i), load(memory, targets + i)
        store(rows.array, at + i, widened(root * (x - t)))
        store(memory, plan.deltas + z + i, root * load(memory, plan.slopes + z + i))
    return whole


@jit()
def put_roots(
    plan: Plan, memory: Array, outputs: Outputs, k: int, share: Scalar, rows: Rows
) -> None:
    """
    Write the deltas of output k's rows of R to the deltas of the output layer, and r behind R.

    ``share`` is each sample's, where samples have no weights.
    """
    T, n, m = type(memory[0]), outputs.n, outputs.m
    deltas = plan.deltas + outputs.z
    at = rows.at + rows.n * rows.stride
    for q in range(deltas, deltas + outputs.size):
        memory[q] = T(0.0)
    for i in range(at + m, at + rows.width):
        rows.array[i] = 0.0
    squared = plan.loss == codes.HALF_SQUARED_ERROR or plan.loss == codes.SQUARED_ERROR
    done = 0
    if squared and not plan.weighted and outputs.sample_stride == 1:
        done = put_roots_of_squares(plan, memory, outputs, k, share, rows)
    for i in range(done, m):
        if plan.weighted:
            share = memory[plan.shares + i]
        first = i * outputs.sample_stride
        q = first + k * outputs.unit_stride
        x, t = memory[outputs.z + q], memory[outputs.targets + q]
        root, residual = root_of_output(plan, x, memory[plan.slopes + outputs.z + q], t, share)
        rows.array[at + i] = residual
        if plan.loss == codes.CROSS_ENTROPY:
            for p in range(first, first + n * outputs.unit_stride, outputs.unit_stride):
                one = T(1.0) if p == q else T(0.0)
                memory[deltas + p] = root * (one - memory[outputs.z + p])
        else:
            memory[deltas + q] = root


@jit()
def turn(source: Array, at: int, m: int, n: int, memory: Array, to: int) -> None:
    """Copy m rows of n numbers to n rows of m, padded with zeros."""
    width, T = width_of(memory, m), type(memory[0])
    for j in range(n):
        for i in range(m):
            memory[to + j * width + i] = source[at + i * n + j]
        for i in range(m, width):
            memory[to + j * width + i] = T(0.0)


@jit()
def put_layer(plan: Plan, l: int, memory: Array, a: int, d: int, rows: Rows) -> None:
    """Rows of R of a layer: a_k d_j for each weight and d_j for each bias."""
    n_in, n_out = plan.layers[l, N_IN], plan.layers[l, N_OUT]
    array, width, stride, side = rows.array, rows.width, rows.stride, lanes_of(memory)
    at = rows.at + plan.layers[l, WEIGHTS] * stride
    for k in range(a, a + n_in * width, width):
        for j in range(d, d + n_out * width, width):
            for s in range(0, width, side):
                x = widened(load(memory, k + s))
                store(array, at + s, x * widened(load(memory, j + s)))
            at += stride
    at = rows.at + plan.layers[l, BIASES] * stride
    for j in range(d, d + n_out * width, width):
        for s in range(0, width, side):
            store(array, at + s, widened(load(memory, j + s)))
        at += stride


@jit()
def put_rows(plan: Plan, route: Route, work: Descent, part: Part, rows: Rows, turned: int) -> None:
    """
    Take the deltas of the output layer back, and write the rows of R of a tile.

    At ``memory[turned:]`` there is room for a layer's inputs and outputs of a tile.
    """
    memory, m = work.memory, part.size
    if len(route) == 0:
        lanes.backward(plan, work.params, memory, padded(route, memory, m))
    else:
        blocks.backward(plan, part)
    for l in range(len(plan.layers)):
        n_in, n_out = plan.layers[l, N_IN], plan.layers[l, N_OUT]
        a, d = plan.layers[l, INPUTS], plan.deltas + plan.layers[l, OUTPUTS]
        if len(route) == 0:
            put_layer(plan, l, memory, a, d, rows)
        else:
            if l == 0:
                turn(part.inputs, part.at, m, n_in, memory, turned)
            else:
                turn(memory, a, m, n_in, memory, turned)
            turn(memory, d, m, n_out, memory, turned + n_in * rows.width)
            put_layer(plan, l, memory, turned, turned + n_in * rows.width, rows)
