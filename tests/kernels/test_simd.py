"""Functions of vectors compute the same as those of numbers, lane by lane."""

from __future__ import annotations

import numpy as np
import pytest

from jitprop_kernels import activations, codes, simd
from jitprop_kernels._types import NARROW, WIDE
from jitprop_kernels.local import entry

CODES = [
    codes.SIGMOID, codes.TANH, codes.RELU, codes.LEAKY_RELU, codes.ELU, codes.SOFTPLUS,
    codes.GELU, codes.GELU_TANH, codes.SILU, codes.SELU, codes.MISH, codes.SOFTSIGN,
    codes.HARD_SIGMOID, codes.IDENTITY,
]  # fmt: skip


@entry
def three(code, number, one, other, wide, size):
    zero = type(one[0])(0.0)
    activations.activate(code, number, one, 0, size, size)
    activations.activate_by(simd.splat(zero), code, number, other, 0, size, size)
    activations.activate_by(simd.zeros(WIDE, wide), code, number, wide, 0, size, size)


@entry
def sums(x, out, n):
    v = simd.load(x, 0)
    out[0] = simd.lane_sum(v)
    out[1] = simd.lane_sum(simd.widened(v))
    simd.store(out, 2, simd.first(n, v))


@entry
def fours(few, x, out):
    none = simd.zeros(few, x)
    V, one = simd.size_of(none), simd.load_like(none, x, 0)
    four = simd.four_of(one)
    simd.store(out, 0, four)
    four = simd.load_like(four, x, V)
    simd.store(out, 4 * V, simd.folded(one, four))
    simd.store(out, 5 * V, simd.folded(one, one) + none)
    simd.store(out, 11 * V, simd.folded_product(one, four, four))
    simd.store(out, 12 * V, simd.folded_product(one, one, one))
    simd.store(out, 6 * V, simd.spread(one, one))
    simd.store(out, 7 * V, four + simd.spread(four, one))
    rest = simd.skipped(x, V + 1)
    out[13 * V], out[13 * V + 1] = rest[0], rest.size


@entry
def quarters(x, out, step):
    n = simd.lanes(x)
    four = simd.load_four(x, 1, step)
    simd.store_four(out, 0, 2 * n, four)
    x0, x1 = simd.load(x, 1), simd.load(x, 1 + step)
    x2, x3 = simd.load(x, 1 + 2 * step), simd.load(x, 1 + 3 * step)
    simd.store_four(out, n, 2 * n, four - simd.four_beside(x0, x1, x2, x3))
    each = simd.four_sums(x0, x1, x2, x3)
    simd.store(out, 8 * n, each)
    simd.store(out, 8 * n + 4, simd.fma(each, each, each))
    for i in range(4):
        out[8 * n + 8 + i] = simd.lane_sum(simd.load(x, 1 + i * step))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_activations_of_vectors_are_those_of_numbers(dtype):
    z = np.linspace(-50, 50, 1024, dtype=dtype)
    z[:4] = 0.0, np.inf, -np.inf, np.nan
    for code in CODES:
        one, other, wide = (np.concatenate([z, np.zeros_like(z)]) for _ in range(3))
        with np.errstate(all="ignore"):  # interpreted kernels warn as NumPy does
            three(code, 1.7, one, other, wide, z.size)
        np.testing.assert_array_equal(other, one)  # bit for bit
        np.testing.assert_array_equal(wide, other)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_sums_and_masks(dtype):
    lanes = 32 // np.dtype(dtype).itemsize
    x = np.arange(1, lanes + 1, dtype=dtype)
    for n in (-1, 0, 1, lanes - 1, lanes, lanes + 3):
        out = np.zeros(2 + lanes, dtype)
        sums(x, out, n)
        assert out[0] == out[1] == lanes * (lanes + 1) / 2
        np.testing.assert_array_equal(out[2:], np.where(np.arange(lanes) < n, x, 0))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("few", "size"), [(WIDE, 64), (NARROW, 16)])
def test_four_vectors_side_by_side(few, size, dtype):
    lanes = size // np.dtype(dtype).itemsize
    x = np.arange(5 * lanes, dtype=dtype)
    out = np.zeros(13 * lanes + 2, dtype)
    fours(few, x, out)
    one, four = x[:lanes], x[lanes:].reshape(4, lanes)
    np.testing.assert_array_equal(out[: 4 * lanes].reshape(4, lanes), [one] * 4)
    np.testing.assert_array_equal(out[4 * lanes : 5 * lanes], four.sum(axis=0))
    np.testing.assert_array_equal(out[5 * lanes : 7 * lanes].reshape(2, lanes), [one] * 2)
    np.testing.assert_array_equal(out[7 * lanes : 11 * lanes].reshape(4, lanes), four + one)
    np.testing.assert_array_equal(out[11 * lanes : 12 * lanes], (four * four).sum(axis=0))
    np.testing.assert_array_equal(out[12 * lanes : 13 * lanes], one * one)
    np.testing.assert_array_equal(out[13 * lanes :], [lanes + 1, 4 * lanes - 1])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_four_vectors_at_a_step_and_their_sums(dtype):
    lanes = 32 // np.dtype(dtype).itemsize
    step = lanes + 3
    x = np.random.default_rng(0).normal(size=4 * step + 1).astype(dtype)
    out = np.full(8 * lanes + 12, 7, dtype)
    quarters(x, out, step)
    four = np.stack([x[1 + i * step :][:lanes] for i in range(4)])
    there, beside = out[: 8 * lanes].reshape(4, 2, lanes).swapaxes(0, 1)
    np.testing.assert_array_equal(there, four)
    np.testing.assert_array_equal(beside, np.zeros_like(four))
    sums, products, single = out[8 * lanes :].reshape(3, 4)
    np.testing.assert_array_equal(sums, single)  # bit for bit
    np.testing.assert_allclose(sums, four.sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(products, sums + sums * sums, rtol=1e-5)
