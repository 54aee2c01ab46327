"""
A wide net, forward and back, and its gradient: matrix products, block by block.

A layer's block is (samples, units), row by row. Every number of a product is one sum in the order
of its terms, so bits depend neither on how the product is cut nor on who computes which part.
"""

from __future__ import annotations

from jitprop_kernels import codes, simd
from jitprop_kernels._jit import jit
from jitprop_kernels._microkernel import (
    block_columns,
    largest_block,
    multiply_block,
    scaled_sum,
    transpose_block,
)
from jitprop_kernels._types import Array
from jitprop_kernels.activations import activate
from jitprop_kernels.dropout import drop
from jitprop_kernels.elementary import smaller
from jitprop_kernels.losses import output_delta
from jitprop_kernels.plan import (
    ACTIVATION,
    BIASES,
    DROPPED,
    INPUTS,
    N_IN,
    N_OUT,
    OUTPUTS,
    PACKED,
    TRANSPOSED,
    WEIGHTS,
    Plan,
)

TILE = 32
"""Samples of a batch, and rows of weights, that are not divided among threads: a multiple of
`block_columns`."""

DEPTH = 256
"""Samples of whose deltas a gradient is computed at a time: they stay in the cache."""

REACH = 64
"""Samples that go through all layers together, their numbers still in the cache."""


@jit()
def multiply(
    height: int,
    width: int,
    depth: int,
    alpha: float,
    A: Array,
    a: int,
    row: int,
    step: int,
    B: Array,
    b: int,
    ldb: int,
    beta: float,
    times: bool,
    D: Array,
    d: int,
    ldd: int,
    C: Array,
    c: int,
    ldc: int,
    rows_outside: bool,
) -> None:
    """
    C <- alpha A B + beta D, for C (height, width) and B (depth, width).

    A[i, q] stands at ``A[a + i * row + q * step]``; row i of B, C and D at ``B[b + i * ldb:]`` and
    so on, but with ``ldb`` of 0 B is packed as by `pack`. With ``times``, and beta 0, each number
    of D stands in the place of alpha. ``rows_outside`` goes through C row by row, and else column
    by column, which reads B once.
    """
    i = j = 0
    while i < height and j < width:
        rows, columns = largest_block(C, height - i), smaller(block_columns(C), width - j)
        multiply_block(
            rows,
            columns,
            depth,
            alpha,
            A,
            a + i * row,
            row,
            step,
            B,
            b + j * depth if ldb == 0 else b + j,
            columns if ldb == 0 else ldb,
            beta,
            times,
            D,
            d + i * ldd + j,
            ldd,
            C,
            c + i * ldc + j,
            ldc,
        )
        if rows_outside:
            j += columns
            if j == width:
                i, j = i + rows, 0
        else:
            i += rows
            if i == height:
                i, j = 0, j + columns


@jit()
def pack(
    params: Array, w: int, n_in: int, n_out: int, k: int, rows: int, memory: Array, at: int
) -> None:
    """
    Copy rows k to k + rows of W into panels of `block_columns` columns, one after the other.

    A panel is read in the order in which it stands in memory. Rows of 4 KB, each in a page of its
    own, cost half the speed of a product.
    """
    for j in range(0, n_out, block_columns(memory)):
        columns = smaller(block_columns(memory), n_out - j)
        for i in range(k, k + rows):
            target, source = at + j * n_in + i * columns, w + i * n_out + j
            for q in range(columns):
                memory[target + q] = params[source + q]


@jit()
def pack_transposed(
    params: Array, w: int, n_in: int, n_out: int, k: int, rows: int, memory: Array, at: int
) -> None:
    """Copy rows k to k + rows of W, k a multiple of TILE, into the columns of packed W^T."""
    lanes = block_columns(memory) // 2
    for i in range(k, k + rows, 2 * lanes):
        columns = smaller(2 * lanes, n_in - i)
        for q in range(0, columns, lanes):
            for j in range(0, n_out, lanes):
                source, target = w + (i + q) * n_out + j, at + i * n_out + j * columns + q
                if q + lanes <= columns and j + lanes <= n_out:
                    transpose_block(params, source, n_out, memory, target, columns)
                else:
                    for r in range(smaller(lanes, columns - q)):
                        for c in range(smaller(lanes, n_out - j)):
                            memory[target + c * columns + r] = params[source + r * n_out + c]


@jit()
def refresh(
    plan: Plan, l: int, k: int, rows: int, params: Array, memory: Array, back: bool
) -> None:
    """
    Copy rows k to k + rows of W[l], k a multiple of TILE, to where products read them.

    ``back``: those of the way back too.
    """
    n_in, n_out, w = plan.layers[l, N_IN], plan.layers[l, N_OUT], plan.layers[l, WEIGHTS]
    packed, transposed = plan.layers[l, PACKED], plan.layers[l, TRANSPOSED]
    if packed >= 0:
        pack(params, w, n_in, n_out, k, rows, memory, packed)
    if back and transposed >= 0:
        pack_transposed(params, w, n_in, n_out, k, rows, memory, transposed)


@jit()
def forward(
    plan: Plan,
    params: Array,
    X: Array,
    x: int,
    memory: Array,
    skip: int,
    m: int,
    place: int,
    t: int,
) -> None:
    """
    From inputs at ``X[x:]``: a and slope of every hidden layer, and z of the output layer.

    Of m samples, the first of which is number ``skip`` in its block and ``place`` in its batch.
    Dropout depends on this place and on the update's number t; with 0 nothing is dropped.
    """
    layers, L = plan.layers, len(plan.layers)
    for l in range(L):
        n_in, n_out = layers[l, N_IN], layers[l, N_OUT]
        b, z = layers[l, BIASES], layers[l, OUTPUTS] + skip * n_out
        A, a = (X, x) if l == 0 else (memory, layers[l, INPUTS] + skip * n_in)
        packed = layers[l, PACKED] >= 0
        W, w = (memory, layers[l, PACKED]) if packed else (params, layers[l, WEIGHTS])
        multiply(
            m,
            n_out,
            n_in,
            1.0,
            A,
            a,
            n_in,
            1,
            W,
            w,
            0 if packed else n_out,
            1.0,
            False,
            params,
            b,
            0,
            memory,
            z,
            n_out,
            False,
        )
        if l < L - 1:
            activate(layers[l, ACTIVATION], memory, z, plan.slopes + z, n_out * m)
            if layers[l, DROPPED] > 0 and t > 0:
                drop(plan, l, memory, z, place, m, t)


@jit()
def output(plan: Plan, params: Array, memory: Array, skip: int, m: int, batch: int) -> None:
    """
    From z of the output layer: a, losses and delta.

    Of m samples of a batch of ``batch``, the first of which is number ``skip``. With weights,
    each sample's losses and delta come times its share.
    """
    last = len(plan.layers) - 1
    n = plan.layers[last, N_OUT]
    z, size = plan.layers[last, OUTPUTS] + skip * n, n * m
    targets, errors = plan.targets + skip * plan.n_targets, plan.errors + skip * n
    if plan.loss >= codes.HALF_SQUARED_ERROR:
        activate(plan.layers[last, ACTIVATION], memory, z, plan.slopes + z, size)
    scale = type(params[0])(1.0 / batch if plan.mean and not plan.weighted else 1.0)
    output_delta(plan, memory, z, targets, errors, m, n, n, 1, size, scale)
    if plan.weighted:
        for i in range(m):
            share = memory[plan.shares + skip + i]
            for q in range(i * n, (i + 1) * n):
                memory[errors + q] *= share
                memory[plan.deltas + z + q] *= share


@jit()
def backward(plan: Plan, memory: Array, skip: int, m: int) -> None:
    """From delta of the output layer: the deltas of all layers before, of m samples."""
    layers = plan.layers
    for l in range(len(layers) - 1, 0, -1):
        n_in, n_out, transposed = layers[l, N_IN], layers[l, N_OUT], layers[l, TRANSPOSED]
        a = layers[l, INPUTS] + skip * n_in
        d, e = plan.deltas + layers[l, OUTPUTS] + skip * n_out, plan.deltas + a
        multiply(
            m,
            n_in,
            n_out,
            1.0,
            memory,
            d,
            n_out,
            1,
            memory,
            transposed,
            0,
            0.0,
            True,
            memory,
            plan.slopes + a,
            n_in,
            memory,
            e,
            n_in,
            False,
        )


@jit()
def columns_across(C: Array, height: int, width: int, depth: int) -> int:
    """
    How many columns of C = A B, the last ones, had better be computed as rows of B^T A^T.

    Those that do not fill their vectors, where this saves more than moving their numbers costs.
    """
    n, lanes = width % block_columns(C), block_columns(C) // 2
    down, across = height * ((n + lanes - 1) // lanes), n * ((height + lanes - 1) // lanes)
    return n if (down - across) * depth > 2 * height * n else 0


@jit()
def add_transposed(
    height: int,
    width: int,
    alpha: float,
    memory: Array,
    at: int,
    beta: float,
    C: Array,
    c: int,
    ldc: int,
) -> None:
    """C <- alpha A^T + beta C; A (height, width) stands at ``memory[at:]``."""
    T = type(C[0])
    for i in range(height):
        for j in range(width):
            old = C[c + j * ldc + i] if beta != 0.0 else T(0.0)
            C[c + j * ldc + i] = scaled_sum(T(alpha), memory[at + i * width + j], T(beta), old)


@jit()
def weight_gradient(
    plan: Plan,
    l: int,
    k: int,
    rows: int,
    alpha: float,
    beta: float,
    X: Array,
    x: int,
    memory: Array,
    skip: int,
    m: int,
    C: Array,
    c: int,
    rank: int,
) -> None:
    """
    C <- beta C + alpha dE/dW[l], rows k to k + rows of it; C is like the parameters, at c.

    Of m samples, at most DEPTH, the first of which is number ``skip`` in its block. Where W stands
    packed, so do the deltas, each rank's at a place of its own.
    """
    n_in, n_out = plan.layers[l, N_IN], plan.layers[l, N_OUT]
    d, w = plan.deltas + plan.layers[l, OUTPUTS], c + plan.layers[l, WEIGHTS] + k * n_out
    A, a = (X, x) if l == 0 else (memory, plan.layers[l, INPUTS])
    packed, panels = plan.layers[l, PACKED] >= 0, plan.panels + rank * plan.panel_size
    a, b = a + skip * n_in + k, d + skip * n_out
    if packed:
        pack(memory, b, m, n_out, 0, m, memory, panels)
        b, panels = panels, panels + n_out * m
    across = columns_across(C, rows, n_out, m)
    rest = n_out - across
    if across > 0:
        multiply(
            across,
            rows,
            m,
            1.0,
            memory,
            b + rest * m if packed else b + rest,
            1,
            across if packed else n_out,
            A,
            a,
            n_in,
            0.0,
            False,
            memory,
            panels,
            rows,
            memory,
            panels,
            rows,
            False,
        )
        add_transposed(across, rows, alpha, memory, panels, beta, C, w + rest, n_out)
    multiply(
        rows,
        rest,
        m,
        alpha,
        A,
        a,
        1,
        n_in,
        memory,
        b,
        0 if packed else n_out,
        beta,
        False,
        C,
        w,
        n_out,
        C,
        w,
        n_out,
        True,
    )


@jit()
def bias_gradient(
    plan: Plan, l: int, alpha: float, beta: float, memory: Array, m: int, C: Array, c: int
) -> None:
    """C <- beta C + alpha dE/db[l], by four sums that take turns: one would wait for itself."""
    T = type(memory[0])
    n, d = plan.layers[l, N_OUT], plan.deltas + plan.layers[l, OUTPUTS]
    b = c + plan.layers[l, BIASES]
    whole, side = d + m // 4 * 4 * n, simd.lanes(memory)
    for j in range(0, n - side + 1, side):
        v0 = v1 = v2 = v3 = simd.splat(T(0.0))
        for i in range(d + j, whole + j, 4 * n):
            v0 += simd.load(memory, i)
            v1 += simd.load(memory, i + n)
            v2 += simd.load(memory, i + 2 * n)
            v3 += simd.load(memory, i + 3 * n)
        for i in range(whole + j, d + m * n + j, n):
            v0 += simd.load(memory, i)
        total = simd.splat(T(alpha)) * ((v0 + v1) + (v2 + v3))
        if beta != 0.0:
            total += simd.splat(T(beta)) * simd.load(C, b + j)
        simd.store(C, b + j, total)
    for j in range(n // side * side, n):
        s0 = s1 = s2 = s3 = T(0.0)
        for i in range(d + j, whole + j, 4 * n):
            s0 += memory[i]
            s1 += memory[i + n]
            s2 += memory[i + 2 * n]
            s3 += memory[i + 3 * n]
        for i in range(whole + j, d + m * n + j, n):
            s0 += memory[i]
        kept = T(beta) * C[b + j] if beta != 0.0 else T(0.0)
        C[b + j] = kept + T(alpha) * ((s0 + s1) + (s2 + s3))
