"""
A wide net, forward and back, and its gradient: matrix products, block by block.

A layer's block is (samples, units), row by row. Every number of a product is one sum in the order
of its terms, so bits depend neither on how the product is cut nor on who computes which part.
"""

from __future__ import annotations

from jitprop_kernels import codes
from jitprop_kernels._jit import jit
from jitprop_kernels._microkernel import (
    block_columns,
    largest_block,
    multiply_block,
    sum_columns,
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
from jitprop_kernels.records import Matrix, Outputs, Part, Product, Sink
from jitprop_kernels.simd import fma


@jit(inlined=True)
def multiply(product: Product) -> None:
    """C <- alpha A B + beta D: see `Product`."""
    C, height, width = product.C.array, product.height, product.width
    rows_outside = product.rows_outside
    i = j = 0
    while i < height and j < width:
        rows, columns = largest_block(product, height - i), smaller(block_columns(C), width - j)
        multiply_block(product, i, j, rows, columns)
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
def pack_weights(
    plan: Plan, l: int, k: int, rows: int, params: Array, memory: Array, transposed: bool
) -> None:
    """
    Copy rows k to k + rows of W[l], k a multiple of TILE, to where products read them.

    ``transposed``: and those of W^T, which `backward` reads.
    """
    n_in, n_out, w = plan.layers[l, N_IN], plan.layers[l, N_OUT], plan.layers[l, WEIGHTS]
    at, at_transposed = plan.layers[l, PACKED], plan.layers[l, TRANSPOSED]
    if at >= 0:
        pack(params, w, n_in, n_out, k, rows, memory, at)
    if transposed and at_transposed >= 0:
        pack_transposed(params, w, n_in, n_out, k, rows, memory, at_transposed)


@jit()
def forward(plan: Plan, params: Array, part: Part) -> None:
    """From its inputs: a and slope of every hidden layer, and z of the output layer."""
    layers, L = plan.layers, len(plan.layers)
    memory, skip, m = part.memory, part.skip, part.size
    for l in range(L):
        n_in, n_out = layers[l, N_IN], layers[l, N_OUT]
        b, z = layers[l, BIASES], layers[l, OUTPUTS] + skip * n_out
        A, a = (part.inputs, part.at) if l == 0 else (memory, layers[l, INPUTS])
        packed = layers[l, PACKED] >= 0
        W, w = (memory, layers[l, PACKED]) if packed else (params, layers[l, WEIGHTS])
        multiply(
            Product(
                height=m,
                width=n_out,
                depth=n_in,
                A=Matrix(A, a + skip * n_in, n_in, 1),
                B=Matrix(W, w, 0 if packed else n_out, 1),
                C=Matrix(memory, z, n_out, 1),
                D=Matrix(params, b, 0, 1),
                alpha=1.0,
                beta=1.0,
                times=False,
                rows_outside=False,
            )
        )
        if l < L - 1:
            activate(layers[l, ACTIVATION], plan.numbers[l], memory, z, plan.slopes + z, n_out * m)
            if layers[l, DROPPED] > 0 and part.t > 0:
                drop(plan, l, memory, z, part.position, m, part.t)


@jit()
def output(plan: Plan, part: Part) -> None:
    """
    From z of the output layer: a, losses and delta.

    With weights, each sample's losses and delta come times its share.
    """
    last, memory, skip, m = len(plan.layers) - 1, part.memory, part.skip, part.size
    n = plan.layers[last, N_OUT]
    z, size = plan.layers[last, OUTPUTS] + skip * n, n * m
    targets, errors = plan.targets + skip * plan.n_targets, plan.errors + skip * n
    if plan.loss >= codes.HALF_SQUARED_ERROR:
        activation, number = plan.layers[last, ACTIVATION], plan.numbers[last]
        activate(activation, number, memory, z, plan.slopes + z, size)
    scale = type(memory[0])(1.0 / part.batch_size if plan.mean and not plan.weighted else 1.0)
    output_delta(plan, memory, Outputs(z, targets, errors, m, n, n, 1, size), scale)
    if plan.weighted:
        for i in range(m):
            share = memory[plan.shares + skip + i]
            for q in range(i * n, (i + 1) * n):
                memory[errors + q] *= share
                memory[plan.deltas + z + q] *= share


@jit()
def backward(plan: Plan, part: Part) -> None:
    """From delta of the output layer: the deltas of all layers before."""
    layers, memory, skip = plan.layers, part.memory, part.skip
    for l in range(len(layers) - 1, 0, -1):
        n_in, n_out, transposed = layers[l, N_IN], layers[l, N_OUT], layers[l, TRANSPOSED]
        a = layers[l, INPUTS] + skip * n_in
        d, e = plan.deltas + layers[l, OUTPUTS] + skip * n_out, plan.deltas + a
        multiply(
            Product(
                height=part.size,
                width=n_in,
                depth=n_out,
                A=Matrix(memory, d, n_out, 1),
                B=Matrix(memory, transposed, 0, 1),
                C=Matrix(memory, e, n_in, 1),
                D=Matrix(memory, plan.slopes + a, n_in, 1),
                alpha=1.0,
                beta=0.0,
                times=True,
                rows_outside=False,
            )
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
def add_transposed(height: int, width: int, A: Matrix, sink: Sink, c: int, row: int) -> None:
    """C <- alpha A^T + beta C; A is (height, width), row i of C stands at ``C[c + i * row:]``."""
    C, source, at, alpha, beta = sink.array, A.array, A.at, sink.alpha, sink.beta
    T = type(C[0])
    for i in range(height):
        for j in range(width):
            old = C[c + j * row + i] if beta != 0.0 else T(0.0)
            C[c + j * row + i] = fma(T(alpha), source[at + i * width + j], T(beta) * old)


@jit()
def weight_gradient(
    plan: Plan, l: int, k: int, rows: int, part: Part, sink: Sink, rank: int
) -> None:
    """
    Put dE/dW[l], rows k to k + rows of it, into the sink, of at most DEPTH samples.

    Where W stands packed, so do the deltas, each rank's at a place of its own.
    """
    n_in, n_out = plan.layers[l, N_IN], plan.layers[l, N_OUT]
    memory, skip, m, C = part.memory, part.skip, part.size, sink.array
    d, w = plan.deltas + plan.layers[l, OUTPUTS], sink.at + plan.layers[l, WEIGHTS] + k * n_out
    A, a = (part.inputs, part.at) if l == 0 else (memory, plan.layers[l, INPUTS])
    packed, panels = plan.layers[l, PACKED] >= 0, plan.panels + rank * plan.panel_size
    a, b = a + skip * n_in + k, d + skip * n_out
    if packed:
        pack(memory, b, m, n_out, 0, m, memory, panels)
        b, panels = panels, panels + n_out * m
    across = columns_across(C, rows, n_out, m)
    rest = n_out - across
    if across > 0:
        transposed = Matrix(memory, panels, rows, 1)
        at, columns = (b + rest * m, across) if packed else (b + rest, n_out)
        multiply(
            Product(
                height=across,
                width=rows,
                depth=m,
                A=Matrix(memory, at, 1, columns),
                B=Matrix(A, a, n_in, 1),
                C=transposed,
                D=transposed,
                alpha=1.0,
                beta=0.0,
                times=False,
                rows_outside=False,
            )
        )
        add_transposed(across, rows, transposed, sink, w + rest, n_out)
    target = Matrix(C, w, n_out, 1)
    multiply(
        Product(
            height=rows,
            width=rest,
            depth=m,
            A=Matrix(A, a, 1, n_in),
            B=Matrix(memory, b, 0 if packed else n_out, 1),
            C=target,
            D=target,
            alpha=sink.alpha,
            beta=sink.beta,
            times=False,
            rows_outside=True,
        )
    )


@jit()
def bias_gradient(plan: Plan, l: int, part: Part, sink: Sink) -> None:
    """Put dE/db[l] into the sink."""
    n, b = plan.layers[l, N_OUT], plan.layers[l, BIASES]
    d = plan.deltas + plan.layers[l, OUTPUTS] + part.skip * n
    step = block_columns(part.memory) // 2
    for j in range(0, n, step):
        sum_columns(part, d + j, n, smaller(step, n - j), sink, b + j)
