"""Vectors compute what numbers do, lane by lane."""

from __future__ import annotations

import numpy as np
import pytest

from jitprop_kernels import activations, codes, simd
from jitprop_kernels._jit import jit

CODES = [
    codes.SIGMOID, codes.TANH, codes.RELU, codes.LEAKY_RELU, codes.ELU, codes.SOFTPLUS,
    codes.GELU, codes.SILU, codes.IDENTITY,
]  # fmt: skip


@jit(entry=True)
def three(code, one, other, wide, size):
    zero = type(one[0])(0.0)
    activations.activate(code, one, 0, size, size)
    activations.activate_vectors(simd.splat(zero), code, other, 0, size, size)
    activations.activate_vectors(simd.splat_wide(zero), code, wide, 0, size, size)


@jit(entry=True)
def sums(x, out, n):
    v = simd.load(x, 0)
    out[0] = simd.lane_sum(v)
    out[1] = simd.lane_sum(simd.widened(v))
    simd.store(out, 2, simd.first(n, v))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_activations_of_vectors_are_those_of_numbers(dtype):
    z = np.linspace(-50, 50, 1024, dtype=dtype)
    z[:4] = 0.0, np.inf, -np.inf, np.nan
    for code in CODES:
        one, other, wide = (np.concatenate([z, np.zeros_like(z)]) for _ in range(3))
        with np.errstate(all="ignore"):  # as NumPy, where kernels are interpreted
            three(code, one, other, wide, z.size)
        np.testing.assert_allclose(other, one, rtol=8 * np.finfo(dtype).eps, atol=0)
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
