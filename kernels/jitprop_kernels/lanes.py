"""
A small net, forward and back: samples in the lanes of a vector.

A layer's block is (units, samples), so that neighbouring samples share one weight. Sums run over
units or samples in a fixed order. ``width`` is m samples with their padding, which repeats the
last one: a multiple of `simd.lanes`.
"""

from __future__ import annotations

from jitprop_kernels import codes
from jitprop_kernels._jit import jit
from jitprop_kernels._types import Array
from jitprop_kernels.activations import activate_by
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
from jitprop_kernels.simd import first, lane_sum, lanes, load, splat, store, widened


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
    layers, L = plan.layers, len(plan.layers)
    for l in range(L):
        n_in, n_out = layers[l, N_IN], layers[l, N_OUT]
        w, b = layers[l, WEIGHTS], layers[l, BIASES]
        a, z = layers[l, INPUTS], layers[l, OUTPUTS]
        activation = layers[l, ACTIVATION] if l < L - 1 else last
        for j in range(n_out):
            bias = splat(params[b + j])
            for s in range(0, width, lanes(memory)):
                x = bias
                for k in range(n_in):
                    x += splat(params[w + k * n_out + j]) * load(memory, a + k * width + s)
                store(memory, z + j * width + s, x)
        like = splat(type(memory[0])(0.0))
        activate_by(like, activation, memory, z, plan.slopes + z, n_out * width)
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
    for j in range(n):
        for s in range(0, width, lanes(memory)):
            i = j * width + s
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
    loss_sum: float = lane_sum(loss)
    return loss_sum


@jit()
def backward(plan: Plan, params: Array, memory: Array, width: int) -> None:
    """From delta of the output layer: the deltas of all layers before."""
    T, layers = type(memory[0]), plan.layers
    for l in range(len(layers) - 1, 0, -1):
        n_in, n_out, w = layers[l, N_IN], layers[l, N_OUT], layers[l, WEIGHTS]
        a, d = layers[l, INPUTS], plan.deltas + layers[l, OUTPUTS]
        for k in range(n_in):
            for s in range(0, width, lanes(memory)):
                x = splat(T(0.0))
                for j in range(n_out):
                    x += splat(params[w + k * n_out + j]) * load(memory, d + j * width + s)
                i = a + k * width + s
                store(memory, plan.deltas + i, x * load(memory, plan.slopes + i))


@jit()
def weight_gradient(plan: Plan, l: int, memory: Array, width: int, sink: Sink) -> None:
    """Put dE/dW[l] into the sink."""
    C, alpha, beta = sink.array, sink.alpha, sink.beta
    T = type(memory[0])
    n_in, n_out = plan.layers[l, N_IN], plan.layers[l, N_OUT]
    a, d = plan.layers[l, INPUTS], plan.deltas + plan.layers[l, OUTPUTS]
    w = sink.at + plan.layers[l, WEIGHTS]
    for k in range(n_in):
        for j in range(n_out):
            x = splat(T(0.0))
            for s in range(0, width, lanes(memory)):
                x += load(memory, a + k * width + s) * load(memory, d + j * width + s)
            i = w + k * n_out + j
            kept = T(beta) * C[i] if beta != 0.0 else T(0.0)
            C[i] = kept + T(alpha) * lane_sum(x)


@jit()
def bias_gradient(plan: Plan, l: int, memory: Array, width: int, sink: Sink) -> None:
    """Put dE/db[l] into the sink."""
    C, alpha, beta = sink.array, sink.alpha, sink.beta_bias
    T = type(memory[0])
    d, b = plan.deltas + plan.layers[l, OUTPUTS], sink.at + plan.layers[l, BIASES]
    for j in range(plan.layers[l, N_OUT]):
        x = splat(T(0.0))
        for s in range(0, width, lanes(memory)):
            x += load(memory, d + j * width + s)
        i = b + j
        kept = T(beta) * C[i] if beta != 0.0 else T(0.0)
        C[i] = kept + T(alpha) * lane_sum(x)
