"""Products of the blocks route: right at every edge, and the same bits however they are cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jitprop_kernels import blocks
from jitprop_kernels._jit import jit
from jitprop_kernels._microkernel import block_columns
from jitprop_kernels.plan import BIASES, N_OUT, OUTPUTS, Plan

GUARD = 100
"""Numbers before and after an output that must stay."""

EDGES = [1, 2, 3, 4, 7, 8, 9, 11, 12, 13, 15, 16, 17, 24, 25, 31, 32, 33, 47, 48, 49, 63, 64, 65]
SIZES = st.one_of(st.sampled_from(EDGES), st.integers(1, 150))
SETTINGS = settings(max_examples=150, deadline=None, derandomize=True, database=None)

both_dtypes = pytest.mark.parametrize("dtype", [np.float64, np.float32])


@jit(entry=True)
def columns(array):
    return block_columns(array)


@jit(entry=True)
def multiply(height, width, depth, alpha, A, row, step, B, packed, beta, D, d, ldd, C, c, outside):
    blocks.multiply(
        height, width, depth, alpha, A, 0, row, step, B, 0, packed, beta, D, d, ldd, C, c, outside
    )


@jit(entry=True)
def copy(transposed, W, n_in, n_out, k, rows, memory, at):
    if transposed:
        blocks.pack_transposed(W, 0, n_in, n_out, k, rows, memory, at)
    else:
        blocks.pack(W, 0, n_in, n_out, k, rows, memory, at)


@jit(entry=True)
def bias_gradient(plan, alpha, beta, memory, m, C, c):
    blocks.bias_gradient(plan, 0, alpha, beta, memory, m, C, c)


def guarded(size, dtype):
    return np.full(size + 2 * GUARD, 7, dtype)


def inside(memory):
    """What stands between the guards, which are as they were."""
    np.testing.assert_array_equal(memory[:GUARD], 7)
    np.testing.assert_array_equal(memory[-GUARD:], 7)
    return memory[GUARD:-GUARD]


def panels(B):
    """B in panels of so many columns, one after the other."""
    n = columns(B)
    return np.concatenate([B[:, j : j + n].ravel() for j in range(0, B.shape[1], n)])


def product(A, B, C, alpha, beta, *, transposed=False, packed=False, outside=False):
    """alpha A B + beta C, by the kernel; C of one dimension stands for each row."""
    (height, depth), width = A.shape, B.shape[1]
    row, step = (1, height) if transposed else (depth, 1)
    out = guarded(height * width, A.dtype)
    out[GUARD:-GUARD] = C.ravel() if C.ndim == 2 else np.nan
    kept = (out, GUARD, width) if C.ndim == 2 else (C, 0, 0)
    multiply(
        height, width, depth, alpha, (A.T if transposed else A).ravel(), row, step,
        panels(B) if packed else B.ravel(), packed, beta, *kept, out, GUARD, outside,
    )  # fmt: skip
    return inside(out).reshape(height, width)


def matrices(height, width, depth, dtype):
    rng = np.random.default_rng([height, width, depth])
    shapes = (height, depth), (depth, width), (height, width)
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


def assert_close(found, alpha, A, B, beta, C):
    """Found is alpha A B + beta C but for rounding, once for each term."""
    A, B = (X.astype(np.longdouble) for X in (A, B))
    rest = beta * C if beta != 0.0 else np.zeros_like(C)
    size = np.abs(alpha) * (np.abs(A) @ np.abs(B)) + np.abs(rest)
    error = np.abs(found - (alpha * (A @ B) + rest))
    assert (error <= (len(B) + 4) * np.finfo(found.dtype).eps * size).all()


@both_dtypes
@SETTINGS
@given(
    height=SIZES, width=SIZES, depth=SIZES,
    factors=st.sampled_from([(1.0, 0.0), (1.0, 1.0), (-0.3, 0.9), (-0.3, 1.0)]),
    transposed=st.booleans(), packed=st.booleans(), outside=st.booleans(),
)  # fmt: skip
def test_products(dtype, height, width, depth, factors, transposed, packed, outside):
    A, B, C = matrices(height, width, depth, dtype)
    alpha, beta = factors
    if beta == 0.0:
        C[:] = np.nan
    how = {"transposed": transposed, "packed": packed, "outside": outside}
    for kept in (C, C[0]):
        assert_close(product(A, B, kept, alpha, beta, **how), alpha, A, B, beta, kept)


@both_dtypes
@SETTINGS
@given(height=SIZES, width=SIZES, depth=SIZES, draw=st.data())
def test_bits_do_not_depend_on_the_cut(dtype, height, width, depth, draw):
    A, B, C = matrices(height, width, depth, dtype)
    for alpha, beta in ((1.0, 0.0), (-0.3, 0.9)):
        whole = product(A, B, C, alpha, beta)
        for _ in range(4):
            top, left = (draw.draw(st.integers(0, n - 1)) for n in (height, width))
            rows = slice(top, draw.draw(st.integers(top + 1, height)))
            some = slice(left, draw.draw(st.integers(left + 1, width)))
            how = {name: draw.draw(st.booleans()) for name in ("transposed", "packed", "outside")}
            found = product(A[rows], B[:, some], C[rows, some], alpha, beta, **how)
            np.testing.assert_array_equal(found, whole[rows, some])


@both_dtypes
@pytest.mark.parametrize("transposed", [False, True])
@SETTINGS
@given(n_in=SIZES, n_out=SIZES)
def test_copies_of_weights(dtype, transposed, n_in, n_out):
    W = np.arange(n_in * n_out, dtype=dtype).reshape(n_in, n_out)
    memory = guarded(W.size, dtype)
    for k in range(0, n_in, blocks.TILE):  # as threads share it
        rows = min(blocks.TILE, n_in - k)
        copy(transposed, W.ravel(), n_in, n_out, k, rows, memory, GUARD)
    np.testing.assert_array_equal(inside(memory), panels(W.T if transposed else W))


@both_dtypes
@SETTINGS
@given(m=SIZES, n=SIZES, factors=st.sampled_from([(1.0, 0.0), (-0.3, 1.0)]))
def test_bias_gradients(dtype, m, n, factors):
    alpha, beta = factors
    layers = np.zeros((1, 9), np.int64)
    layers[0, [N_OUT, BIASES, OUTPUTS]] = n, 3, 5
    plan = Plan(layers, *[0] * (len(Plan._fields) - 1))._replace(
        deltas=7
    )  # 5 + 7 numbers before them
    ones, delta, _ = matrices(1, n, m, dtype)
    ones[:] = 1
    b = np.arange(n, dtype=dtype)
    if beta == 0.0:
        b[:] = np.nan
    out = guarded(n, dtype)
    out[GUARD:-GUARD] = b
    memory = np.concatenate([np.full(5 + 7, np.nan, dtype), delta.ravel()])
    bias_gradient(plan, alpha, beta, memory, m, out, GUARD - 3)
    assert_close(inside(out), alpha, ones, delta, beta, b)
