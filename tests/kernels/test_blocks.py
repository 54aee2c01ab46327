"""Products of the blocks route: correct at every edge, and the same bits for any split."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jitprop_kernels import blocks, by_target, loading
from jitprop_kernels._microkernel import block_columns
from jitprop_kernels.by_target.shape import Shape
from jitprop_kernels.emitting import emitted
from jitprop_kernels.entry import _code
from jitprop_kernels.local import entry
from jitprop_kernels.plan import BIASES, N_IN, N_OUT, OUTPUTS, PACKED, Plan
from jitprop_kernels.records import Matrix, Part, Product, Sink
from jitprop_kernels.sizes import TILE
from jitprop_kernels.target import INTERPRETED, host

GUARD = 100
"""How many numbers before and after an output must stay unchanged."""

EDGES = [1, 2, 3, 4, 7, 8, 9, 11, 12, 13, 15, 16, 17, 24, 25, 31, 32, 33, 47, 48, 49, 63, 64, 65]
SIZES = st.one_of(st.sampled_from(EDGES), st.integers(1, 150))
SETTINGS = settings(max_examples=150, deadline=None, derandomize=True, database=None)

both_dtypes = pytest.mark.parametrize("dtype", [np.float64, np.float32])


@entry
def columns(array):
    return block_columns(array)


@entry
def multiply(
    height, width, depth, alpha, A, row, step, B, ldb, beta, times, D, d, ldd, C, c, outside
):
    left, right = Matrix(A, 0, row, step), Matrix(B, 0, ldb, 1)
    kept, target = Matrix(D, d, ldd, 1), Matrix(C, c, width, 1)
    blocks.multiply(
        Product(height, width, depth, left, right, target, kept, alpha, beta, times, outside)
    )


@entry
def copy(transposed, W, n_in, n_out, k, rows, memory, at):
    if transposed:
        blocks.pack_transposed(W, 0, n_in, n_out, k, rows, memory, at)
    else:
        blocks.pack(W, 0, n_in, n_out, k, rows, memory, at)


@entry
def weight_gradient(plan, k, rows, alpha, beta, X, memory, m, C):
    part = Part(0, 0, 0, m, m, 1, X, 0, memory)
    blocks.weight_gradient(plan, 0, k, rows, part, Sink(C, 0, alpha, beta, 0.0, 0.0), 0)


@entry
def bias_gradient(plan, alpha, beta, memory, m, C, c):
    part = Part(0, 0, 0, m, m, 1, memory, 0, memory)
    blocks.bias_gradient(plan, 0, part, Sink(C, c, 0.0, 0.0, alpha, beta))


def guarded(size, dtype):
    return np.full(size + 2 * GUARD, 7, dtype)


def inside(memory):
    """Return the numbers between the guards; check that the guards are unchanged."""
    np.testing.assert_array_equal(memory[:GUARD], 7)
    np.testing.assert_array_equal(memory[-GUARD:], 7)
    return memory[GUARD:-GUARD]


def panels(B):
    """Return B packed in panels of the kernel's number of columns."""
    n = columns(B.ravel())
    return np.concatenate([B[:, j : j + n].ravel() for j in range(0, B.shape[1], n)])


def product(A, B, C, alpha, beta, *, times=False, transposed=False, packed=False, outside=False):
    """Compute alpha A B + beta C, or A B times C, by the kernel; C may be one row for all."""
    (height, depth), width = A.shape, B.shape[1]
    row, step = (1, height) if transposed else (depth, 1)
    out = guarded(height * width, A.dtype)
    out[GUARD:-GUARD] = C.ravel() if C.ndim == 2 else np.nan
    kept = (out, GUARD, width) if C.ndim == 2 else (C, 0, 0)
    B, ldb = (panels(B), 0) if packed else (B.ravel(), width)
    multiply(
        height, width, depth, alpha, (A.T if transposed else A).ravel(), row, step,
        B, ldb, beta, times, *kept, out, GUARD, outside,
    )  # fmt: skip
    return inside(out).reshape(height, width)


def matrices(height, width, depth, dtype):
    rng = np.random.default_rng([height, width, depth])
    shapes = (height, depth), (depth, width), (height, width)
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


def assert_close(found, alpha, A, B, beta, C):
    """Check that found is alpha A B + beta C, up to one rounding error per term."""
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
@given(height=SIZES, width=SIZES, depth=SIZES, packed=st.booleans())
def test_products_times_numbers(dtype, height, width, depth, packed):
    A, B, C = matrices(height, width, depth, dtype)
    found = product(A, B, C, 1.0, 0.0, times=True, packed=packed)
    np.testing.assert_array_equal(found, product(A, B, C, 1.0, 0.0, packed=packed) * C)


@both_dtypes
@pytest.mark.parametrize("times", [False, True])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("depth", [4, 20])
def test_rows_that_share_vectors_have_the_bits_of_single_ones(dtype, times, packed, width, depth):
    A, B, C = matrices(35, width, depth, dtype)
    factors = (1.0, 0.0) if times else (-0.3, 0.9)
    how = {"times": times, "packed": packed}
    whole = product(A, B, C, *factors, **how)
    for i in range(len(A)):
        row = slice(i, i + 1)
        np.testing.assert_array_equal(whole[row], product(A[row], B, C[row], *factors, **how))


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
    for k in range(0, n_in, TILE):  # as threads share it
        rows = min(TILE, n_in - k)
        copy(transposed, W.ravel(), n_in, n_out, k, rows, memory, GUARD)
    np.testing.assert_array_equal(inside(memory), panels(W.T if transposed else W))


@both_dtypes
@SETTINGS
@given(
    n_in=SIZES, n_out=SIZES, m=SIZES, packed=st.booleans(),
    factors=st.sampled_from([(1.0, 0.0), (-0.3, 0.9)]),
)  # fmt: skip
def test_weight_gradients(dtype, n_in, n_out, m, packed, factors):
    X, delta, W = matrices(m, n_out, n_in, dtype)[0], *matrices(n_in, n_out, m, dtype)[1:]
    layers = np.zeros((1, 10), np.int64)
    layers[0, [N_IN, N_OUT, PACKED]] = n_in, n_out, 0 if packed else -1
    plan = Plan(layers, *[0] * (len(Plan._fields) - 1))._replace(panels=delta.size)
    memory = guarded(delta.size * 2 + 32 * n_in, dtype)
    whole = product(X.T, delta, W, *factors)
    for tile in (n_in, TILE):  # as threads share it
        out, memory[GUARD : GUARD + delta.size] = W.copy(), delta.ravel()
        for k in range(0, n_in, tile):
            rows = min(tile, n_in - k)
            weight_gradient(
                plan, k, rows, *factors, X.ravel(), memory[GUARD:-GUARD], m, out.ravel()
            )
        inside(memory)
        np.testing.assert_array_equal(out, whole)


@both_dtypes
@SETTINGS
@given(m=SIZES, n=SIZES, factors=st.sampled_from([(1.0, 0.0), (-0.3, 1.0)]))
def test_bias_gradients(dtype, m, n, factors):
    alpha, beta = factors
    layers = np.zeros((1, 9), np.int64)
    layers[0, [N_OUT, BIASES, OUTPUTS]] = n, 3, 5
    plan = Plan(layers, *[0] * (len(Plan._fields) - 1))._replace(
        deltas=7
    )  # the deltas begin after 5 + 7 numbers
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


SHAPES = {
    "SSE": (16, Shape(6, 0, masks=False, by_lane=False)),
    "AVX2": (32, Shape(6, 0, masks=True, by_lane=False)),
    "AVX-512": (64, Shape(12, 0, masks=True, by_lane=False)),
    "NEON": (16, Shape(12, 0, masks=False, by_lane=True)),
}
"""The bytes of a vector, and the shape of blocks, lanes aside."""


def all_results(dtype):
    """Return what the functions of `by_target` compute, for many sizes."""
    rng = np.random.default_rng(0)
    found = [columns(np.empty(1, dtype))]
    for i, size in enumerate(rng.choice(EDGES, (60, 3))):
        A, B, C = matrices(*size, dtype)
        how = {"transposed": i % 2 > 0, "packed": i % 3 > 0}
        found.append(product(A, B, C, 1.0, 0.0, **how))
        found.append(product(A, B, C, -0.3, 0.9, **how))
        found.append(product(A, B, C[0], 1.0, 1.0, **how))
        found.append(product(A, B, C, 1.0, 0.0, times=True, **how))
        memory = np.zeros(A.size, dtype)
        copy(i % 2, A.ravel(), *A.shape, 0, A.shape[0], memory, 0)
        found.append(np.sort(memory))  # where a number stands depends on the columns of a block
        layers = np.zeros((1, 9), np.int64)
        layers[0, N_OUT] = A.shape[1]
        plan = Plan(layers, *[0] * (len(Plan._fields) - 1))
        for factors in ((1.0, 0.0), (-0.3, 0.9)):
            b = B[0, 0] + np.arange(A.shape[1], dtype=dtype)
            bias_gradient(plan, *factors, A.ravel(), A.shape[0], b, 0)
            found.append(b)
    return found


@both_dtypes
@pytest.mark.skipif(INTERPRETED, reason="interpreted kernels have no blocks of processors")
@pytest.mark.parametrize("name", SHAPES)
def test_bits_do_not_depend_on_the_blocks_of_the_processor(name, dtype, monkeypatch):
    """The code of other processors' blocks runs on this one, if slowly."""
    from jitprop_kernels._private.entering import linked

    _, *expected = all_results(dtype)
    size, shape = SHAPES[name]
    monkeypatch.setattr(
        by_target, "shape_of", lambda target, bits: shape._replace(lanes=8 * size // bits)
    )
    definitions = by_target.definitions.__wrapped__
    monkeypatch.setattr(by_target, "definitions", definitions)
    for kernel in (columns, multiply, copy, bias_gradient):
        for kind in list(kernel.codes):
            if f"f{np.dtype(dtype).itemsize}" in str(kind):
                code = loading.load(emitted(linked(kernel.function(), kind), host()))
                monkeypatch.setitem(kernel.codes, kind, _code(code, "compiled", None))
    n, *found = all_results(dtype)
    assert n == 2 * size // np.dtype(dtype).itemsize
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
