"""
The three products of a layer for small nets: samples in the lanes of a vector.

A layer's block is (units, samples), so that LANES neighbouring samples share one weight. Written
with LANES separate sums, which LLVM joins to one vector; sums run over units or samples in a
fixed order.
"""

from __future__ import annotations

from jitprop_kernels._jit import jit, u
from jitprop_kernels._types import Array

LANES = 4


@jit()
def forward_product(
    params: Array,
    w: int,
    b: int,
    n_in: int,
    n_out: int,
    A: Array,
    a: int,
    Z: Array,
    z: int,
    m: int,
) -> None:
    """Z = W^T A + b: (n_out, m) at ``Z[z:]`` from (n_in, m) at ``A[a:]``; m a multiple of LANES."""
    for j in range(n_out):
        bias = params[u(b + j)]
        for s in range(0, m, LANES):
            c0 = c1 = c2 = c3 = bias
            for k in range(n_in):
                weight = params[u(w + k * n_out + j)]
                i = a + k * m + s
                c0 += weight * A[u(i)]
                c1 += weight * A[u(i + 1)]
                c2 += weight * A[u(i + 2)]
                c3 += weight * A[u(i + 3)]
            i = z + j * m + s
            Z[u(i)] = c0
            Z[u(i + 1)] = c1
            Z[u(i + 2)] = c2
            Z[u(i + 3)] = c3


@jit()
def backward_product(
    params: Array, w: int, n_in: int, n_out: int, D: Array, d: int, e: int, m: int
) -> None:
    """W D: (n_in, m) at ``D[e:]`` from (n_out, m) at ``D[d:]``."""
    zero = type(D[0])(0.0)
    for k in range(n_in):
        for s in range(0, m, LANES):
            c0 = c1 = c2 = c3 = zero
            for j in range(n_out):
                weight = params[u(w + k * n_out + j)]
                i = d + j * m + s
                c0 += weight * D[u(i)]
                c1 += weight * D[u(i + 1)]
                c2 += weight * D[u(i + 2)]
                c3 += weight * D[u(i + 3)]
            i = e + k * m + s
            D[u(i)] = c0
            D[u(i + 1)] = c1
            D[u(i + 2)] = c2
            D[u(i + 3)] = c3


@jit()
def weight_product(
    alpha: float,
    beta: float,
    A: Array,
    a: int,
    D: Array,
    d: int,
    C: Array,
    w: int,
    n_in: int,
    n_out: int,
    m: int,
) -> None:
    """C <- beta C + alpha A D^T: (n_in, n_out) at ``C[w:]``; with beta 0, C is not read."""
    T = type(D[0])
    for k in range(n_in):
        for j in range(n_out):
            c0 = c1 = c2 = c3 = T(0.0)
            for s in range(0, m, LANES):
                x = a + k * m + s
                y = d + j * m + s
                c0 += A[u(x)] * D[u(y)]
                c1 += A[u(x + 1)] * D[u(y + 1)]
                c2 += A[u(x + 2)] * D[u(y + 2)]
                c3 += A[u(x + 3)] * D[u(y + 3)]
            i = w + k * n_out + j
            kept = T(beta) * C[u(i)] if beta != 0.0 else T(0.0)
            C[u(i)] = kept + T(alpha) * ((c0 + c1) + (c2 + c3))


@jit()
def bias_product(
    alpha: float, beta: float, D: Array, d: int, C: Array, b: int, n_out: int, m: int
) -> None:
    """C <- beta C + alpha (sum of D over samples): (n_out,) at ``C[b:]``."""
    T = type(D[0])
    for j in range(n_out):
        c0 = c1 = c2 = c3 = T(0.0)
        for s in range(d + j * m, d + j * m + m, LANES):
            c0 += D[u(s)]
            c1 += D[u(s + 1)]
            c2 += D[u(s + 2)]
            c3 += D[u(s + 3)]
        kept = T(beta) * C[u(b + j)] if beta != 0.0 else T(0.0)
        C[u(b + j)] = kept + T(alpha) * ((c0 + c1) + (c2 + c3))
