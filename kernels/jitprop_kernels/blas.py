"""
The same products for wide nets: the gemm of the BLAS that scipy ships, called by its address.

A layer's block is (samples, units), row by row. BLAS counts column by column; a matrix row by
row is its transpose, so C = A B is asked for as C^T = B^T A^T and nothing is copied.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import get_cython_function_address, intrinsic

from jitprop_kernels._jit import INTERPRETED, jit, u
from jitprop_kernels._types import Array

TILE = 64
"""Samples, and rows of weights, in a tile. A tile is the work that threads share out, and since
bits may depend on a product's shape, it is the same for any number of threads. Smaller ones lose
speed in BLAS (float32, 784 to 512 units: 71 GFLOP/s with 32, 86 with 64, 96 with 128), larger
ones leave threads idle at the usual batch sizes."""


def gemm_address(dtype: np.dtype[Any]) -> int:
    """Where scipy's sgemm (float32) or dgemm (float64) stands in memory."""
    name = "sgemm" if dtype == np.float32 else "dgemm"
    return int(get_cython_function_address("scipy.linalg.cython_blas", name))


@intrinsic  # type: ignore[untyped-decorator]
def _call(
    typing_context: Any,
    address: Any,
    transpose_a: Any,
    transpose_b: Any,
    m: Any,
    n: Any,
    k: Any,
    alpha: Any,
    a: Any,
    lda: Any,
    b: Any,
    ldb: Any,
    beta: Any,
    c: Any,
    ldc: Any,
) -> Any:
    # Fortran takes all by reference: each number goes to the stack, matrices come as addresses.
    signature = types.void(
        types.int64,
        types.boolean,
        types.boolean,
        types.int64,
        types.int64,
        types.int64,
        alpha,
        types.int64,
        types.int64,
        types.int64,
        types.int64,
        beta,
        types.int64,
        types.int64,
    )

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        int32 = ir.IntType(32)
        pointer = ir.IntType(8).as_pointer()

        def reference(value: Any) -> Any:
            return builder.bitcast(cgutils.alloca_once_value(builder, value), pointer)

        def integer(value: Any) -> Any:
            return reference(builder.trunc(value, int32))

        def letter(flag: Any) -> Any:
            t, n = (ir.Constant(ir.IntType(8), ord(c)) for c in "TN")
            return reference(builder.select(builder.trunc(flag, ir.IntType(1)), t, n))

        def matrix(value: Any) -> Any:
            return builder.inttoptr(value, pointer)

        routine, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc = args
        kind = ir.FunctionType(ir.VoidType(), [pointer] * 13)
        builder.call(
            builder.inttoptr(routine, kind.as_pointer()),
            [
                letter(ta),
                letter(tb),
                *(integer(size) for size in (m, n, k)),
                reference(alpha),
                matrix(a),
                integer(lda),
                matrix(b),
                integer(ldb),
                reference(beta),
                matrix(c),
                integer(ldc),
            ],
        )
        return context.get_dummy_value()

    return signature, codegen


if INTERPRETED:  # an intrinsic has no Python body
    _FORTRAN = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 13)

    def _call(address, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc):  # type: ignore
        real = ctypes.c_float if isinstance(alpha, np.float32) else ctypes.c_double
        byref, integer = ctypes.byref, ctypes.c_int
        letters = [byref(ctypes.c_char(b"T" if flag else b"N")) for flag in (ta, tb)]
        _FORTRAN(address)(
            *letters,
            *(byref(integer(size)) for size in (m, n, k)),
            byref(real(alpha)),
            int(a),
            byref(integer(lda)),
            int(b),
            byref(integer(ldb)),
            byref(real(beta)),
            int(c),
            byref(integer(ldc)),
        )


@jit()
def multiply(
    gemm: int,
    rows: int,
    columns: int,
    depth: int,
    alpha: float,
    A: Array,
    a: int,
    transpose_a: bool,
    stride: int,
    B: Array,
    b: int,
    transpose_b: bool,
    beta: float,
    C: Array,
    c: int,
) -> None:
    """
    C <- alpha op(A) op(B) + beta C, matrices row by row at A[a:], B[b:], C[c:].

    op(A) is (rows, depth), op(B) (depth, columns), C (rows, columns); A may be some columns of a
    wider matrix, whose rows stand ``stride`` apart.
    """
    T = type(C[0])
    _call(
        gemm,
        transpose_b,
        transpose_a,
        columns,
        rows,
        depth,
        T(alpha),
        B.ctypes.data + b * B.itemsize,
        depth if transpose_b else columns,
        A.ctypes.data + a * A.itemsize,
        stride,
        T(beta),
        C.ctypes.data + c * C.itemsize,
        columns,
    )


@jit()
def forward_product(
    gemm: int,
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
    """Z = A W + b: (m, n_out) at ``Z[z:]`` from (m, n_in) at ``A[a:]``."""
    for i in range(m):
        for j in range(n_out):
            Z[u(z + i * n_out + j)] = params[u(b + j)]
    multiply(gemm, m, n_out, n_in, 1.0, A, a, False, n_in, params, w, False, 1.0, Z, z)


@jit()
def backward_product(
    gemm: int, params: Array, w: int, n_in: int, n_out: int, D: Array, d: int, e: int, m: int
) -> None:
    """D W^T: (m, n_in) at ``D[e:]`` from (m, n_out) at ``D[d:]``."""
    multiply(gemm, m, n_in, n_out, 1.0, D, d, False, n_out, params, w, True, 0.0, D, e)


@jit()
def weight_product(
    gemm: int,
    alpha: float,
    beta: float,
    A: Array,
    a: int,
    n_in: int,
    D: Array,
    d: int,
    C: Array,
    w: int,
    rows: int,
    n_out: int,
    m: int,
) -> None:
    """
    C <- beta C + alpha A^T D: (rows, n_out) at ``C[w:]``; with beta 0, C is not read.

    A is ``rows`` columns of (m, n_in), from ``A[a:]`` on.
    """
    multiply(gemm, rows, n_out, m, alpha, A, a, True, n_in, D, d, False, beta, C, w)


@jit()
def bias_product(
    gemm: int,
    alpha: float,
    beta: float,
    D: Array,
    ones: int,
    d: int,
    C: Array,
    b: int,
    n_out: int,
    m: int,
) -> None:
    """
    C <- beta C + alpha (sum of D over samples): (n_out,) at ``C[b:]``.

    At ``D[ones:]`` stand m ones: the sum is a product with them.
    """
    multiply(gemm, 1, n_out, m, alpha, D, ones, False, m, D, d, False, beta, C, b)
