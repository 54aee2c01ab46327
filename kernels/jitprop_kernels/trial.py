"""
A small kernel that tells whether a compiler works: it uses what kernels use.

That is vectors, records handed on and made, tables, tuples, divisions of integers, functions that
stay apart and that are inlined.
"""

from __future__ import annotations

import numpy as np

from jitprop_kernels import simd
from jitprop_kernels._jit import jit
from jitprop_kernels._types import Array, Indices, Route
from jitprop_kernels.records import Matrix

ARGUMENTS = (
    Matrix(np.arange(24, dtype=np.float64), 4, 8, 1),
    (0,),
    np.array([[1, 2, 3], [4, 5, 6]]),
    np.zeros(2),
    0.5,
)
RESULT = 824.0


@jit()
def quotient(n: int, by: int) -> tuple[int, int]:
    """Return n by some number, and the rest."""
    return n // by, n % by


@jit(inlined=True)
def place(A: Matrix, i: int) -> int:
    """Where row i begins."""
    return A.at + i * A.row


@jit(apart=True)
def row_product(A: Matrix, i: int, j: int) -> float:
    """Product of two rows, of 4 numbers."""
    array = A.array
    x, y = simd.load(array, place(A, i)), simd.load(array, place(A, j))
    T = type(x)
    total = simd.lane_sum(simd.fma(x, y, T(0.5)))
    return float(simd.select(total > 0.0, total, -total))


@jit()
def trial(A: Matrix, route: Route, table: Indices, out: Array, share: float) -> float:
    """Compute what is known: see `RESULT`."""
    whole, rest = quotient(len(table) * 7 + table[1, 2], 8)
    moved = Matrix(A.array, A.at + rest, A.row, 1)
    total = row_product(A, 0, 1)
    shares = share, total
    for i in range(whole):
        total += row_product(moved, i % 2, 0) * shares[0]
    if len(route) == 0:
        total = 0.0
    else:
        out[0] = total
        out[1] += np.sqrt(4.0) * abs(-out[0])
    return out[0] + 0.0 * out[1] if np.isfinite(out[1]) else 0.0
