"""
The output layer: activation, loss and delta in one place, since some pairs need z itself.

A sample's loss is the sum over its outputs. With targets t,

====================  ==================================  ==================================
loss                  of one output                       delta
====================  ==================================  ==================================
half_squared_error    (a - t)**2 / 2                      scale (a - t) slope
squared_error         (a - t)**2                          scale 2 (a - t) slope
piecewise             `piecewise_delta`                   scale g slope
the user's own        value(a, t)                         scale derivative(a, t) slope
binary_cross_entropy  log(1 + exp(z)) - t z               scale (a - t)
cross_entropy         t (log(sum exp(z)) - z)             scale (a - t)
poisson               exp(z) - t z                        scale (exp(z) - t)
gaussian_nll, mean    (z - t)**2 exp(-s) / 2              scale (z - t) exp(-s)
gaussian_nll, s       s / 2                               scale (1 - (z - t)**2 exp(-s)) / 2
====================  ==================================  ==================================

Deltas carry ``scale``, 1/m for the mean over the
batch's m samples and 1 for their sum; losses do not.
"""

from __future__ import annotations

import numpy as np

from jitprop_kernels import codes, simd
from jitprop_kernels._jit import jit
from jitprop_kernels._types import Array, Scalar
from jitprop_kernels.activations import exponentials, sigmoid
from jitprop_kernels.custom import call
from jitprop_kernels.elementary import exp_of_negative, log, log1p_of_fraction, smaller
from jitprop_kernels.plan import Plan
from jitprop_kernels.records import Outputs
from jitprop_kernels.simd import fma, select


@jit(apart=True)
def subtract_maximum(
    memory: Array, z: int, m: int, n: int, sample_stride: int, unit_stride: int
) -> None:
    """
    z_j <- z_j - max z, for each of m samples of n units: exp of it cannot overflow.

    Unit j of sample i stands at ``z + i * sample_stride + j * unit_stride``.
    """
    for i in range(z, z + m * sample_stride, sample_stride):
        top = memory[i]
        for j in range(i, i + n * unit_stride, unit_stride):
            top = memory[j] if memory[j] > top else top
        for j in range(i, i + n * unit_stride, unit_stride):
            memory[j] -= top


@jit(apart=True)
def softmax(memory: Array, z: int, m: int, n: int, sample_stride: int, unit_stride: int) -> None:
    """a_j = exp(z_j) / sum_k exp(z_k) in place of z, for each of m samples of n units."""
    subtract_maximum(memory, z, m, n, sample_stride, unit_stride)
    for i in range(z, z + m * sample_stride, sample_stride):
        total = type(memory[0])(0.0)
        for j in range(i, i + n * unit_stride, unit_stride):
            memory[j] = exp_of_negative(memory[j])
            total += memory[j]
        share = type(memory[0])(1.0) / total
        for j in range(i, i + n * unit_stride, unit_stride):
            memory[j] *= share


@jit(apart=True)
def softmax_delta(plan: Plan, memory: Array, outputs: Outputs, scale: Scalar) -> None:
    """
    a_j = exp(z_j) / sum_k exp(z_k) in place of z; cross-entropy and delta beside.

    The loss is sum_j t_j (log(sum_k exp(z_k)) - z_j), in which no log(0) can come up.
    """
    z, targets, errors = outputs.z, outputs.targets, outputs.errors
    m, n = outputs.m, outputs.n
    sample_stride, unit_stride = outputs.sample_stride, outputs.unit_stride
    T, deltas, slopes = type(scale), plan.deltas + z, plan.slopes + z
    subtract_maximum(memory, z, m, n, sample_stride, unit_stride)
    size = (m - 1) * sample_stride + (n - 1) * unit_stride + 1
    for q in range(size):
        memory[errors + q] = memory[z + q]
        memory[z + q] = exp_of_negative(memory[z + q])
    # LLVM makes vectors of what stands side by side: so do the samples' sums first, and then,
    # beside its outputs, what each sample needs. It takes two thirds of one sample at a time.
    for i in range(m):
        total = T(0.0)
        for j in range(n):
            total += memory[z + i * sample_stride + j * unit_stride]
        memory[deltas + i] = total
    for i in range(m):
        memory[slopes + i] = log(memory[deltas + i])
        memory[deltas + i] = T(1.0) / memory[deltas + i]
    for i in range(m - 1, -1, -1):  # upwards, a sample's would overwrite others'
        log_total, share = memory[slopes + i], memory[deltas + i]
        for j in range(n):
            q = i * sample_stride + j * unit_stride
            memory[slopes + q], memory[deltas + q] = log_total, share
    for q in range(size):
        a, t = memory[z + q] * memory[deltas + q], memory[targets + q]
        memory[z + q] = a
        e = t * (memory[slopes + q] - memory[errors + q])
        memory[errors + q] = e if t != T(0.0) else T(0.0)  # not 0 * inf
        memory[deltas + q] = scale * (a - t)


@jit(apart=True)
def gaussian_delta(plan: Plan, memory: Array, outputs: Outputs, scale: Scalar) -> None:
    """
    Error and delta of n/2 means and, behind them, n/2 log-variances s.

    The loss of each pair is (s + (t - mean)**2 exp(-s)) / 2; each of the two has its term.
    """
    z, targets, errors = outputs.z, outputs.targets, outputs.errors
    m, n = outputs.m, outputs.n
    sample_stride, unit_stride = outputs.sample_stride, outputs.unit_stride
    T, k, deltas = type(scale), n // 2, plan.deltas + z
    half, to_s = T(0.5), k * unit_stride
    exponentials(memory, z, deltas, (m - 1) * sample_stride + (n - 1) * unit_stride + 1, -1.0)
    target_stride = smaller(sample_stride, k)  # row by row k; 1 where samples are neighbours
    for i in range(m):
        for j in range(k):
            q = i * sample_stride + j * unit_stride
            t = memory[targets + i * target_stride + j * unit_stride]
            e, s = memory[z + q] - t, memory[z + q + to_s]
            precision = memory[deltas + q + to_s]
            square = e * e * precision
            memory[errors + q] = half * square
            memory[errors + q + to_s] = half * s
            memory[deltas + q] = scale * (e * precision)
            memory[deltas + q + to_s] = scale * fma(-half, square, half)


@jit()
def squared_delta(
    a: Scalar, slope: Scalar, t: Scalar, factor: Scalar, scale: Scalar
) -> tuple[Scalar, Scalar]:
    """Error and delta of one output: factor (a - t)**2 and scale 2 factor (a - t) slope."""
    e = a - t
    return factor * e * e, (scale * (factor + factor) * slope) * e


@jit()
def binary_delta(z: Scalar, t: Scalar, scale: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """A, error and delta: sigmoid(z), log(1 + exp(z)) - t z and scale (a - t)."""
    zero = type(z)(0.0)
    a, _ = sigmoid(z)
    error = fma(-t, z, select(z < zero, zero, z)) + log1p_of_fraction(exp_of_negative(-abs(z)))
    return a, error, scale * (a - t)


@jit()
def piecewise_delta(
    a: Scalar, slope: Scalar, t: Scalar, edge: Scalar, below: Scalar, above: Scalar, scale: Scalar
) -> tuple[Scalar, Scalar]:
    """
    Error and delta of one output for absolute_error, huber and quantile.

    With r = a - t the derivative of the error is g(r) = -below, r or above: for r under -edge,
    from there to edge, and over it. The error is its integral from 0.

    ==============  =====  =====  =====
    loss            edge   below  above
    ==============  =====  =====  =====
    absolute_error  0      1      1
    huber           delta  delta  delta
    quantile        0      q      1 - q
    ==============  =====  =====  =====
    """
    T = type(a)
    r = a - t
    g = select(r > edge, above, select(-r > edge, -below, r))
    corner = select(edge > T(0.0), T(0.5), T(0.0)) * g
    return g * (r - corner), scale * g * slope


@jit()
def other_delta(plan: Plan, memory: Array, outputs: Outputs, scale: Scalar) -> None:
    """`output_delta` of the losses which are not handled by vectors, in either layout."""
    z, targets, errors, size = outputs.z, outputs.targets, outputs.errors, outputs.size
    T, deltas = type(scale), plan.deltas + z
    if plan.loss == codes.CROSS_ENTROPY:
        softmax_delta(plan, memory, outputs, scale)
    elif plan.loss == codes.GAUSSIAN_NLL:
        gaussian_delta(plan, memory, outputs, scale)
    elif plan.loss == codes.POISSON:
        exponentials(memory, z, deltas, size, 1.0)
        for i in range(size):
            rate, t = memory[deltas + i], memory[targets + i]
            memory[errors + i] = fma(-t, memory[z + i], rate)
            memory[deltas + i] = scale * (rate - t)
    elif plan.loss == codes.PIECEWISE:
        edge, below, above = T(plan.edge), T(plan.below), T(plan.above)
        for i in range(size):
            slope, t = memory[plan.slopes + z + i], memory[targets + i]
            e, d = piecewise_delta(memory[z + i], slope, t, edge, below, above, scale)
            memory[errors + i], memory[deltas + i] = e, d
    else:
        call(plan.loss, memory, z, targets, errors, deltas, size)
        for i in range(size):
            memory[deltas + i] *= scale * memory[plan.slopes + z + i]


@jit(apart=True)
def clip_errors(plan: Plan, memory: Array, outputs: Outputs) -> None:
    """
    Cross-entropies above ``clipped_above`` anew, of probabilities rounded and clipped.

    To epsilon ... 1 - epsilon, epsilon being the distance from 1 to the next number of the dtype.
    Targets are 0 or 1; what is not finite stays.
    """
    z, targets, errors, size = outputs.z, outputs.targets, outputs.errors, outputs.size
    T = type(memory[0])
    epsilon, one = T(plan.sklearn.epsilon), T(1.0)
    limit = T(plan.sklearn.clipped_above)
    n_over = 0
    for i in range(errors, errors + size):
        n_over += 1 if memory[i] > limit else 0
    if n_over == 0:  # as nearly always; LLVM would compute the rest for all, and then select
        return
    for i in range(size):
        if not memory[errors + i] > limit:
            continue
        x, hit = memory[z + i], memory[targets + i] > T(0.5)
        p = x
        if plan.loss == codes.BINARY_CROSS_ENTROPY:
            e = exp_of_negative(-abs(x))
            p = one / (one + e) if x >= T(0.0) else e / (one + e)
            p = p if hit else one - p
        p = epsilon if p < epsilon else (one - epsilon if p > one - epsilon else p)
        if np.isfinite(memory[errors + i]):
            memory[errors + i] = -log(p) if hit or plan.loss != codes.CROSS_ENTROPY else T(0.0)


@jit()
def output_delta(plan: Plan, memory: Array, outputs: Outputs, scale: Scalar) -> None:
    """
    Delta and each output's loss, of m samples with n outputs.

    From the targets and from what stands at ``outputs.z``, which is a, with its slopes, or z for
    the losses of z.
    """
    z, targets, errors, size = outputs.z, outputs.targets, outputs.errors, outputs.size
    T, deltas = type(scale), plan.deltas + z
    if plan.loss == codes.BINARY_CROSS_ENTROPY:
        for i in range(size):
            _, e, d = binary_delta(memory[z + i], memory[targets + i], scale)
            memory[errors + i], memory[deltas + i] = e, d
    elif plan.loss == codes.HALF_SQUARED_ERROR or plan.loss == codes.SQUARED_ERROR:
        factor = T(0.5) if plan.loss == codes.HALF_SQUARED_ERROR else T(1.0)
        # LLVM makes no vectors of this loop: it would have to find out that no two blocks overlap.
        side = simd.lanes(memory)
        factors, scales = simd.splat(factor), simd.splat(scale)
        for i in range(0, size - side + 1, side):
            slopes, ts = simd.load(memory, plan.slopes + z + i), simd.load(memory, targets + i)
            es, ds = squared_delta(simd.load(memory, z + i), slopes, ts, factors, scales)
            simd.store(memory, errors + i, es)
            simd.store(memory, deltas + i, ds)
        for i in range(size // side * side, size):
            slope, t = memory[plan.slopes + z + i], memory[targets + i]
            e, d = squared_delta(memory[z + i], slope, t, factor, scale)
            memory[errors + i], memory[deltas + i] = e, d
    else:
        other_delta(plan, memory, outputs, scale)
    if plan.sklearn.epsilon > 0.0:
        clip_errors(plan, memory, outputs)


@jit()
def total(memory: Array, start: int, size: int) -> float:
    """Sum in float64, in four interleaved sums; the order is always the same."""
    s0 = s1 = s2 = s3 = 0.0
    rest = start + size - size % 4
    for i in range(start, rest, 4):
        s0 += memory[i]
        s1 += memory[i + 1]
        s2 += memory[i + 2]
        s3 += memory[i + 3]
    for i in range(rest, start + size):
        s0 += memory[i]
    return (s0 + s1) + (s2 + s3)
