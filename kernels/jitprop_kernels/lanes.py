"""
A small net, forward and back: samples in the lanes of a vector.

A layer's block is (units, samples), so that neighbouring samples share one weight. Sums run over
units or samples in a fixed order. ``width`` is m samples with their padding, which repeats the
last one: a multiple of `simd.lanes`.
"""

from __future__ import annotations

from jitprop_kernels import codes
from jitprop_kernels._jit import jit
from jitprop_kernels._types import Array, Scalar
from jitprop_kernels.activations import activate_by, sigmoid
from jitprop_kernels.dropout import drop_lanes
from jitprop_kernels.losses import binary_delta, other_delta, output_delta, squared_delta
from jitprop_kernels.plan import (
    ACTIVATION,
    BIASES,
    DROPPED,
    INPUTS,
    N_IN,
    N_OUT,
    OUTPUTS,
    WEIGHTS,
    Plan,
)
from jitprop_kernels.records import Outputs, Sink
from jitprop_kernels.simd import (
    first,
    fma,
    four_beside,
    four_sums,
    lane_sum,
    lanes,
    load,
    load_four,
    load_like,
    splat,
    store,
    store_four,
    widened,
)

FOUR = 4
"""Units at a time, while there are so many: what they share is read once, and none waits for the
others."""


@jit()
def output_activation(plan: Plan) -> int:
    """The output layer's activation in training: none where the loss is one of z."""
    activation: int = codes.IDENTITY
    if plan.loss >= codes.HALF_SQUARED_ERROR:
        activation = plan.layers[len(plan.layers) - 1, ACTIVATION]
    return activation


@jit()
def forward(
    plan: Plan, params: Array, memory: Array, last: int, m: int, width: int, t: int
) -> None:
    """
    From inputs at ``memory[0:]``: a and slope of every layer, (n_out, width) each.

    ``last`` is the output layer's activation; t the number of the update, of which dropout
    depends, and 0 outside of training, where nothing is dropped.
    """
    layers, L, slopes, side = plan.layers, len(plan.layers), plan.slopes, lanes(memory)
    for l in range(L):
        n_in, n_out = layers[l, N_IN], layers[l, N_OUT]
        b, z = layers[l, BIASES], layers[l, OUTPUTS]
        activation = layers[l, ACTIVATION] if l < L - 1 else last
        j, last_four = 0, n_out - FOUR
        while j < n_out:
            s = 0
            while s < width:
                i, k, q = layers[l, WEIGHTS] + j, layers[l, INPUTS] + s, n_in
                at = z + j * width + s
                x0 = splat(params[b + j])
                if j <= last_four:
                    x1, x2 = splat(params[b + j + 1]), splat(params[b + j + 2])
                    x3 = splat(params[b + j + 3])
                    while q > 0:
                        x = load(memory, k)
                        x0 = fma(splat(params[i]), x, x0)
                        x1 = fma(splat(params[i + 1]), x, x1)
                        x2 = fma(splat(params[i + 2]), x, x2)
                        x3 = fma(splat(params[i + 3]), x, x3)
                        i += n_out
                        k += width
                        q -= 1
                    y = four_beside(x0, x1, x2, x3)
                    if activation == codes.SIGMOID:
                        y, slope = sigmoid(y)
                        store_four(memory, slopes + at, width, slope)
                    store_four(memory, at, width, y)
                else:
                    while q > 0:
                        x0 = fma(splat(params[i]), load(memory, k), x0)
                        i += n_out
                        k += width
                        q -= 1
                    if activation == codes.SIGMOID:
                        x0, slope0 = sigmoid(x0)
                        store(memory, slopes + at, slope0)
                    store(memory, at, x0)
                s += side
            j += FOUR if j <= last_four else 1
        if activation != codes.SIGMOID:
            like = splat(type(memory[0])(0.0))
            number = plan.numbers[l]
            activate_by(like, activation, number, memory, z, slopes + z, n_out * width)
        if layers[l, DROPPED] > 0 and t > 0:
            drop_lanes(plan, l, memory, z, m, width, t)


@jit()
def output(plan: Plan, memory: Array, m: int, width: int, batch: int) -> float:
    """
    From the output layer's a and slope, or z where the loss wants it: a and delta.

    Of m samples of a batch of ``batch``; returns their loss. The padding has no part in it. With
    weights, each sample's loss and delta come times its share.
    """
    T, last = type(memory[0]), len(plan.layers) - 1
    z, n = plan.layers[last, OUTPUTS], plan.layers[last, N_OUT]
    scale = T(1.0 / batch if plan.mean and not plan.weighted else 1.0)
    binary = plan.loss == codes.BINARY_CROSS_ENTROPY
    squared = plan.loss == codes.HALF_SQUARED_ERROR or plan.loss == codes.SQUARED_ERROR
    if plan.sklearn.epsilon > 0.0 or not (binary or squared):
        outputs = Outputs(z, plan.targets, plan.errors, m, n, 1, width, n * width)
        if plan.sklearn.epsilon > 0.0:
            output_delta(plan, memory, outputs, scale)
            binary = squared = False
        else:
            other_delta(plan, memory, outputs, scale)
    factor = T(0.5) if plan.loss == codes.HALF_SQUARED_ERROR else T(1.0)
    loss = widened(splat(T(0.0)))
    row = 0
    while row < n * width:
        s = 0
        while s < width:
            i = row + s
            x, t = load(memory, z + i), load(memory, plan.targets + i)
            if binary:
                a, error, delta = binary_delta(x, t, splat(scale))
                store(memory, z + i, a)
            elif squared:
                slope = load(memory, plan.slopes + z + i)
                error, delta = squared_delta(x, slope, t, splat(factor), splat(scale))
            else:
                error, delta = load(memory, plan.errors + i), load(memory, plan.deltas + z + i)
            if plan.weighted:
                share = load(memory, plan.shares + s)
                error, delta = share * error, share * delta
            loss += widened(first(m - s, error))
            store(memory, plan.deltas + z + i, first(m - s, delta))
            s += lanes(memory)
        row += width
    loss_sum: float = lane_sum(loss)
    return loss_sum


@jit()
def backward(plan: Plan, params: Array, memory: Array, width: int) -> None:
    """From delta of the output layer: the deltas of all layers before."""
    layers = plan.layers
    slopes, deltas, side = plan.slopes, plan.deltas, lanes(memory)
    l = len(layers) - 1
    while l > 0:
        n_in, n_out, w0 = layers[l, N_IN], layers[l, N_OUT], layers[l, WEIGHTS]
        a, d = layers[l, INPUTS], deltas + layers[l, OUTPUTS]
        k = n_in
        while k > 0:
            s = 0
            while s < width:
                x, i = load(memory, d + s), a + s
                x0 = splat(params[w0]) * x
                j = 1
                if k >= FOUR:
                    w1, w2, w3 = w0 + n_out, w0 + 2 * n_out, w0 + 3 * n_out
                    x1, x2 = splat(params[w1]) * x, splat(params[w2]) * x
                    x3 = splat(params[w3]) * x
                    while j < n_out:
                        x = load(memory, d + j * width + s)
                        x0 = fma(splat(params[w0 + j]), x, x0)
                        x1 = fma(splat(params[w1 + j]), x, x1)
                        x2 = fma(splat(params[w2 + j]), x, x2)
                        x3 = fma(splat(params[w3 + j]), x, x3)
                        j += 1
                    y = four_beside(x0, x1, x2, x3) * load_four(memory, slopes + i, width)
                    store_four(memory, deltas + i, width, y)
                else:
                    while j < n_out:
                        x0 = fma(splat(params[w0 + j]), load(memory, d + j * width + s), x0)
                        j += 1
                    store(memory, deltas + i, x0 * load(memory, slopes + i))
                s += side
            n = FOUR if k >= FOUR else 1
            a += n * width
            w0 += n * n_out
            k -= n
        l -= 1


@jit()
def put_four(C: Array, i: int, x: Scalar, alpha: float, beta: float) -> None:
    """``C[i:i + 4]`` <- beta C + alpha x."""
    T = type(x)
    kept = T(beta) * load_like(x, C, i) if beta != 0.0 else T(0.0)
    store(C, i, fma(T(alpha), x, kept))


@jit()
def put(C: Array, i: int, x: Scalar, alpha: float, beta: float) -> None:
    """``C[i]`` <- beta C + alpha x."""
    T = type(x)
    kept = T(beta) * C[i] if beta != 0.0 else T(0.0)
    C[i] = fma(T(alpha), x, kept)


@jit()
def weight_gradient(plan: Plan, l: int, memory: Array, width: int, sink: Sink) -> None:
    """Put dE/dW[l] into the sink."""
    C, alpha, beta, side = sink.array, sink.alpha, sink.beta, lanes(memory)
    n_in, n_out = plan.layers[l, N_IN], plan.layers[l, N_OUT]
    a, d = plan.layers[l, INPUTS], plan.deltas + plan.layers[l, OUTPUTS]
    i = sink.at + plan.layers[l, WEIGHTS]
    if n_out == 1:
        n_in, n_out, a, d = n_out, n_in, d, a
    while n_in > 0:
        at, j = d, n_out
        while j > 0:
            x, s = load(memory, a), side
            x0 = x * load(memory, at)
            if j >= FOUR:
                x1, x2 = x * load(memory, at + width), x * load(memory, at + 2 * width)
                x3 = x * load(memory, at + 3 * width)
                while s < width:
                    x = load(memory, a + s)
                    x0 = fma(x, load(memory, at + s), x0)
                    x1 = fma(x, load(memory, at + width + s), x1)
                    x2 = fma(x, load(memory, at + 2 * width + s), x2)
                    x3 = fma(x, load(memory, at + 3 * width + s), x3)
                    s += side
                put_four(C, i, four_sums(x0, x1, x2, x3), alpha, beta)
            else:
                while s < width:
                    x0 = fma(load(memory, a + s), load(memory, at + s), x0)
                    s += side
                put(C, i, lane_sum(x0), alpha, beta)
            n = FOUR if j >= FOUR else 1
            i += n
            at += n * width
            j -= n
        a += width
        n_in -= 1


@jit()
def bias_gradient(plan: Plan, l: int, memory: Array, width: int, sink: Sink) -> None:
    """Put dE/db[l] into the sink."""
    C, alpha, beta, side = sink.array, sink.alpha_bias, sink.beta_bias, lanes(memory)
    at, i = plan.deltas + plan.layers[l, OUTPUTS], sink.at + plan.layers[l, BIASES]
    j = plan.layers[l, N_OUT]
    while j > 0:
        x0, s = load(memory, at), side
        if j >= FOUR:
            x1, x2 = load(memory, at + width), load(memory, at + 2 * width)
            x3 = load(memory, at + 3 * width)
            while s < width:
                x0 += load(memory, at + s)
                x1 += load(memory, at + width + s)
                x2 += load(memory, at + 2 * width + s)
                x3 += load(memory, at + 3 * width + s)
                s += side
            put_four(C, i, four_sums(x0, x1, x2, x3), alpha, beta)
        else:
            while s < width:
                x0 += load(memory, at + s)
                s += side
            put(C, i, lane_sum(x0), alpha, beta)
        n = FOUR if j >= FOUR else 1
        i += n
        at += n * width
        j -= n
