"""jitprop's own elementary functions and activations: their errors in ulp, and extremes."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest

from jitprop_kernels import activations, codes, elementary, simd
from jitprop_kernels._types import NARROW, WIDE
from jitprop_kernels.local import entry

mpmath.mp.prec = 170  # with 50 digits


NUMBER = float(np.float32(1.7))
"""The number of the activations that have one: many digits, and the same in both dtypes."""


@entry
def sweep(code, x, out):
    # One compiled loop over all functions, since inner kernels cannot be called from Python.
    for i in range(x.size):
        if code == 0:
            out[i] = elementary.exp_of_negative(x[i])
        elif code == 1:
            out[i] = elementary.expm1_of_negative(x[i])
        elif code == 2:
            out[i] = elementary.log(x[i])
        elif code == 3:
            out[i] = elementary.log1p_of_fraction(x[i])
        elif code == 4:
            out[i], _ = activations.sigmoid(x[i])
        elif code == 5:
            _, out[i] = activations.sigmoid(x[i])
        elif code == 6:
            out[i], _ = activations.tanh(x[i])
        elif code == 8:
            out[i] = elementary.exp(x[i])
        elif code == 15:
            out[i], _ = activations.gelu(x[i])
        elif code == 16:
            _, out[i] = activations.gelu(x[i])
        elif code == 9:
            out[i], _ = activations.selu(x[i])
        elif code == 10:
            _, out[i] = activations.selu(x[i])
        elif code == 11:
            out[i], _ = activations.mish(x[i])
        elif code == 12:
            _, out[i] = activations.mish(x[i])
        elif code == 13:
            out[i], _ = activations.softsign(x[i])
        elif code == 14:
            _, out[i] = activations.softsign(x[i])
        elif code == 17:
            out[i], _ = activations.hard_sigmoid(x[i])
        elif code == 18:
            _, out[i] = activations.hard_sigmoid(x[i])
        elif code == 19:
            out[i], _ = activations.elu(x[i], type(x[i])(NUMBER))
        elif code == 20:
            _, out[i] = activations.elu(x[i], type(x[i])(NUMBER))
        elif code == 21:
            out[i], _ = activations.softplus(x[i], type(x[i])(NUMBER))
        elif code == 22:
            _, out[i] = activations.softplus(x[i], type(x[i])(NUMBER))
        elif code == 23:
            out[i], _ = activations.leaky_relu(x[i], type(x[i])(NUMBER))
        else:
            _, out[i] = activations.tanh(x[i])


def logistic(x):
    return 1 / (1 + mpmath.exp(-x))


# The parameters of SELU to 29 digits, from PyTorch's documentation.
LAMBDA = mpmath.mpf("1.0507009873554804934193349852946")
ALPHA = mpmath.mpf("1.6732632423543772848170429916717")


def selu(x):
    return LAMBDA * (x if x > 0 else ALPHA * mpmath.expm1(x))


def gate(x):
    """tanh(softplus(x)), which times x is mish(x)."""
    return mpmath.tanh(mpmath.log1p(mpmath.exp(x)))


def mish_slope(x):
    return gate(x) + x * (1 - gate(x) ** 2) * logistic(x)


def gelu_slope(x):
    return mpmath.ncdf(x) + x * mpmath.npdf(x)


# name: (code, exact function, range in float64, range in float32, bounds in ulp for both).
# A range has all arguments whose result does not round to a constant. Results below the
# normal numbers come out as 0: see test_results_below_the_normal_numbers.
FUNCTIONS = {
    "exp_of_negative": (0, mpmath.exp, (-708.3, 0.0), (-87.3, 0.0), 1.0, 1.0),
    "exp": (8, mpmath.exp, (-708.3, 709.7), (-87.3, 88.7), 4.0, 4.0),
    "expm1_of_negative": (1, mpmath.expm1, (-745.0, 0.0), (-103.0, 0.0), 1.5, 1.5),
    "log": (2, mpmath.log, (5e-324, 1.7e308), (1e-45, 3.4e38), 1.0, 1.0),
    "log1p_of_fraction": (3, mpmath.log1p, (0.0, 1.0), (0.0, 1.0), 1.5, 1.5),
    "sigmoid": (4, logistic, (-708.3, 40.0), (-87.3, 20.0), 2.5, 2.5),
    "sigmoid_slope": (5, lambda x: logistic(x) * logistic(-x), (-708, 708), (-87, 87), 4.5, 4.5),
    "tanh": (6, mpmath.tanh, (-20.0, 20.0), (-10.0, 10.0), 3.0, 4.5),
    # In float32 it is 1 - a**2, whose absolute error is bounded: see below.
    "tanh_slope": (7, lambda x: mpmath.sech(x) ** 2, (-354.0, 354.0), (-0.5, 0.5), 5.0, 2.0),
    "selu": (9, selu, (-745.0, 1e300), (-103.0, 3e38), 2.5, 2.5),
    "selu_slope": (
        10,
        lambda x: LAMBDA * (1 if x > 0 else ALPHA * mpmath.exp(x)),
        (-708.3, 50.0),
        (-87.3, 50.0),
        2.5,
        2.5,
    ),
    "mish": (11, lambda x: x * gate(x), (-708.3, 1e3), (-87.3, 1e3), 3.5, 3.5),
    # Below -0.5 it changes its sign, and only its absolute error is bounded: see below.
    "mish_slope": (12, mish_slope, (-0.5, 700.0), (-0.5, 80.0), 3.5, 3.5),
    "gelu": (15, lambda x: x * mpmath.ncdf(x), (-37.3, 1e3), (-12.9, 1e3), 7.0, 7.0),
    "gelu_slope": (16, gelu_slope, (0.0, 40.0), (0.0, 20.0), 4.5, 4.5),
    "softsign": (13, lambda x: x / (1 + abs(x)), (-1e300, 1e300), (-3e38, 3e38), 2.0, 2.0),
    "softsign_slope": (
        14,
        lambda x: 1 / (1 + abs(x)) ** 2,
        (-1e150, 1e150),
        (-1e18, 1e18),
        3.5,
        3.5,
    ),
    "elu": (
        19,
        lambda x: x if x > 0 else NUMBER * mpmath.expm1(x),
        (-745.0, 1e300),
        (-103.0, 3e38),
        2.0,
        2.0,
    ),
    "elu_slope": (
        20,
        lambda x: mpmath.mpf(1) if x > 0 else NUMBER * mpmath.exp(x),
        (-708.3, 50.0),
        (-87.3, 50.0),
        2.0,
        2.0,
    ),
    "softplus": (
        21,
        lambda x: mpmath.log1p(mpmath.exp(NUMBER * x)) / NUMBER,
        (-415.0, 1e3),
        (-50.8, 1e3),
        3.0,
        3.0,
    ),
    "softplus_slope": (
        22,
        lambda x: logistic(NUMBER * x),
        (-416.6, 30.0),
        (-51.3, 20.0),
        3.0,
        3.0,
    ),
    "leaky_relu": (
        23,
        lambda x: x if x > 0 else NUMBER * x,
        (-1e300, 1e300),
        (-1e38, 1e38),
        0.5,
        0.5,
    ),
    "hard_sigmoid": (17, lambda x: (x + 3) / 6, (-3.0, 3.0), (-3.0, 3.0), 1.5, 1.5),
    "hard_sigmoid_slope": (
        18,
        lambda x: mpmath.mpf(abs(x) < 3) / 6,
        (-1e300, 1e300),
        (-3e38, 3e38),
        0.5,
        0.5,
    ),
}


def compiled(name, x):
    out = np.empty_like(x)
    sweep(FUNCTIONS[name][0], x, out)
    return out


def points(low, high, dtype, n):
    """Return points spread evenly over the range, evenly around 0, and evenly in magnitude."""
    rng = np.random.default_rng(7)
    even = np.linspace(low, high, n, dtype=np.float64)
    sides = [np.linspace(max(low, -2.0), min(high, 2.0), n)]
    for sign, end in ((1.0, high), (-1.0, -low)):
        if end > 0:
            smallest = math.log(np.finfo(dtype).smallest_subnormal)
            exponents = rng.uniform(smallest, math.log(end), n)
            sides.append(sign * np.exp(exponents))
    x = np.concatenate([even, *sides]).astype(dtype)
    return x[(x >= low) & (x <= high) & (x != 0)]


def ulps(comp, exact, dtype):
    """Return the largest error in units of the last place, subnormal results included."""
    rounded = np.array([dtype(float(e)) for e in exact])
    spacing = np.maximum(np.abs(np.spacing(rounded)), np.finfo(dtype).smallest_subnormal)
    errors = [
        float(abs(mpmath.mpf(float(c)) - e) / mpmath.mpf(float(s)))
        for c, e, s in zip(comp, exact, spacing, strict=True)
    ]
    return max(errors)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n", [1000, pytest.param(6000, marks=pytest.mark.long)])
def test_error_stays_within_the_stated_ulp(name, dtype, n):
    _, function, range64, range32, bound64, bound32 = FUNCTIONS[name]
    low, high = range64 if dtype is np.float64 else range32
    x = points(low, high, dtype, n)
    exact = [function(mpmath.mpf(float(v))) for v in x]
    worst = ulps(compiled(name, x), exact, dtype)
    assert worst <= (bound64 if dtype is np.float64 else bound32)


def test_the_measure_itself_sees_an_error_of_one_part_in_2_to_the_50():
    x = points(-700.0, 700.0, np.float64, 50)
    exact = [mpmath.exp(mpmath.mpf(float(v))) for v in x]
    assert ulps(np.exp(x) * (1 + 2.0**-50), exact, np.float64) > 3.0


@pytest.mark.parametrize(
    ("name", "low", "high", "below", "most"),
    [("mish_slope", -40.0, -0.5, -3.0, 1.0), ("gelu_slope", -12.0, 0.0, -2.0, 2.5)],
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_slopes_where_they_change_their_sign(name, low, high, below, most, dtype):
    x = points(low, high, dtype, 500)
    exact = np.array([float(FUNCTIONS[name][1](mpmath.mpf(float(v)))) for v in x])
    found = compiled(name, x)
    assert np.abs(found - exact).max() <= most * np.finfo(dtype).eps
    steep = x < below
    assert ulps(found[steep], [mpmath.mpf(e) for e in exact[steep]], dtype) <= 4.5


@pytest.fixture(scope="module")
def positive():
    """Every 397th float32 from 0 to 20, and each from 8.5 to 9.5."""
    bits = np.arange(0, np.float32(20).view(np.int32), 397, dtype=np.int32)
    ends = [int(np.float32(x).view(np.int32)) for x in (8.5, 9.5)]
    return np.concatenate([bits, np.arange(*ends, dtype=np.int32)]).view(np.float32)


def test_tanh_in_float32_at_many_points(positive):
    found, exact = compiled("tanh", positive), np.tanh(positive.astype(np.float64))
    errors = np.abs(found - exact) / np.spacing(exact.astype(np.float32))
    assert errors.max() <= 4.5
    assert errors[positive >= 1].max() <= 2.1
    assert found.max() == 1.0  # never above
    assert (found[positive >= 9.1] == 1.0).all()
    assert (found[positive < 2.0**-26] == positive[positive < 2.0**-26]).all()
    slopes = compiled("tanh_slope", positive)
    assert slopes.min() == 0.0
    assert (slopes[positive >= 9.1] == 0.0).all()
    assert np.abs(slopes - (1 - exact**2)).max() <= 2e-7


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_tanh_is_odd(positive, dtype):
    x = positive.astype(dtype)
    np.testing.assert_array_equal(compiled("tanh", -x), -compiled("tanh", x))
    np.testing.assert_array_equal(compiled("tanh_slope", -x), compiled("tanh_slope", x))


def test_tanh_in_float32_keeps_the_sign_of_0():
    np.testing.assert_array_equal(
        np.signbit(compiled("tanh", np.array([0.0, -0.0], np.float32))), [False, True]
    )


@entry
def by_vectors(code, x, out, slopes):
    zero = type(x[0])(0.0)
    for i in range(x.size):
        out[i] = x[i]
    if code == 0:
        activations.activate_by(zero, codes.TANH, 0.0, out, 0, slopes, x.size)
    elif code == 1:
        activations.activate_by(simd.splat(zero), codes.TANH, 0.0, out, 0, slopes, x.size)
    elif code == 2:
        activations.activate_by(simd.zeros(NARROW, x), codes.TANH, 0.0, out, 0, slopes, x.size)
    else:
        activations.activate_by(simd.zeros(WIDE, x), codes.TANH, 0.0, out, 0, slopes, x.size)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_tanh_has_the_same_bits_in_vectors_of_any_width(dtype):
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.normal(size=1016) * 3, EDGE_CASES]).astype(dtype)
    found = np.empty((4, 2 * x.size), dtype)
    for code in range(4):
        by_vectors(code, x, found[code], x.size)
    for other in found[1:]:
        np.testing.assert_array_equal(other.view(np.uint8), found[0].view(np.uint8))
    np.testing.assert_array_equal(found[0, : x.size], compiled("tanh", x))
    np.testing.assert_array_equal(found[0, x.size :], compiled("tanh_slope", x))


INF, NAN = math.inf, math.nan
EDGE_CASES = [0.0, -0.0, INF, -INF, NAN, 1e-45, 1e-40, -1e-38]
EXTREMES = {
    "exp_of_negative": [(-1e4, 0.0), (-INF, 0.0), (NAN, NAN), (0.0, 1.0), (-0.0, 1.0)],
    "exp": [(-1e4, 0.0), (1e4, INF), (-INF, 0.0), (INF, INF), (NAN, NAN), (0.0, 1.0)],
    "expm1_of_negative": [(-1e4, -1.0), (-INF, -1.0), (NAN, NAN), (0.0, 0.0)],
    "log": [(0.0, -INF), (-0.0, -INF), (-1.0, NAN), (-INF, NAN), (INF, INF), (NAN, NAN), (1, 0)],
    "log1p_of_fraction": [(0.0, 0.0), (NAN, NAN)],
    "sigmoid": [(1e4, 1.0), (-1e4, 0.0), (INF, 1.0), (-INF, 0.0), (NAN, NAN), (0.0, 0.5)],
    "sigmoid_slope": [(1e4, 0.0), (-1e4, 0.0), (INF, 0.0), (-INF, 0.0), (NAN, NAN), (0.0, 0.25)],
    "tanh": [(1e4, 1.0), (-1e4, -1.0), (INF, 1.0), (-INF, -1.0), (NAN, NAN), (0.0, 0.0)],
    "tanh_slope": [(1e4, 0.0), (-1e4, 0.0), (INF, 0.0), (-INF, 0.0), (NAN, NAN), (0.0, 1.0)],
    "selu": [(INF, INF), (-1e4, -ALPHA * LAMBDA), (-INF, -ALPHA * LAMBDA), (NAN, NAN), (0.0, 0.0)],
    "selu_slope": [(INF, LAMBDA), (-1e4, 0.0), (-INF, 0.0), (NAN, NAN), (0.0, ALPHA * LAMBDA)],
    "mish": [(1e4, 1e4), (-1e4, 0.0), (INF, INF), (-INF, 0.0), (NAN, NAN), (0.0, 0.0)],
    "mish_slope": [(1e4, 1.0), (-1e4, 0.0), (INF, 1.0), (-INF, 0.0), (NAN, NAN)],
    "gelu": [(1e4, 1e4), (-1e4, 0.0), (INF, INF), (-INF, 0.0), (NAN, NAN), (0.0, 0.0)],
    "gelu_slope": [(1e4, 1.0), (-1e4, 0.0), (INF, 1.0), (-INF, 0.0), (NAN, NAN), (0.0, 0.5)],
    "softsign": [(1e30, 1.0), (INF, 1.0), (-INF, -1.0), (NAN, NAN), (0.0, 0.0), (-3.0, -0.75)],
    "softsign_slope": [(INF, 0.0), (-INF, 0.0), (NAN, NAN), (0.0, 1.0), (-3.0, 0.0625)],
    "elu": [(INF, INF), (-1e4, -NUMBER), (-INF, -NUMBER), (NAN, NAN), (0.0, 0.0)],
    "elu_slope": [(INF, 1.0), (-1e4, 0.0), (-INF, 0.0), (NAN, NAN), (0.0, NUMBER)],
    "softplus": [(1e4, 1e4), (1e30, 1e30), (-1e4, 0.0), (INF, INF), (-INF, 0.0), (NAN, NAN)],
    "softplus_slope": [(1e4, 1.0), (-1e4, 0.0), (INF, 1.0), (-INF, 0.0), (NAN, NAN), (0.0, 0.5)],
    "hard_sigmoid": [
        (INF, 1.0),
        (-INF, 0.0),
        (NAN, NAN),
        (3.0, 1.0),
        (-3.0, 0.0),
        (0.0, 0.5),
        (1.5, 0.75),
    ],
    # At the kinks it is 0, as in PyTorch.
    "hard_sigmoid_slope": [(INF, 0.0), (-INF, 0.0), (3.0, 0.0), (-3.0, 0.0), (0.0, 1 / 6)],
}


@pytest.mark.parametrize("name", EXTREMES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_extremes(name, dtype):
    x, ref = np.array(EXTREMES[name], dtype).T
    np.testing.assert_array_equal(compiled(name, np.ascontiguousarray(x)), ref)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_subnormal_numbers(dtype):
    tiny = np.array([np.finfo(dtype).smallest_subnormal, np.finfo(dtype).tiny / 4], dtype)
    both = np.concatenate([tiny, -tiny])
    ones = np.ones_like(both)
    np.testing.assert_array_equal(compiled("exp_of_negative", -tiny), ones[:2])
    np.testing.assert_array_equal(compiled("tanh", both), both)
    np.testing.assert_array_equal(compiled("sigmoid", both), ones / 2)
    np.testing.assert_array_equal(compiled("expm1_of_negative", -tiny), -tiny)
    np.testing.assert_array_equal(compiled("log1p_of_fraction", tiny), tiny)
    np.testing.assert_array_equal(compiled("softsign", both), both)
    scale = np.where(both > 0, float(LAMBDA), float(LAMBDA * ALPHA)).astype(dtype)
    np.testing.assert_array_equal(compiled("selu", both), scale * both)
    np.testing.assert_array_equal(compiled("mish", both), dtype(0.6) * both)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_results_below_the_normal_numbers_are_0(dtype):
    tiny = float(np.finfo(dtype).tiny)
    x = np.log(tiny) + np.array([-40.0, -1.0, -0.3, 0.01])
    for name, at in (("exp_of_negative", x), ("sigmoid", x), ("tanh_slope", (x - 2.0) / 2)):
        comp = compiled(name, at.astype(dtype))
        assert (comp[:2] == 0.0).all(), name
        assert 0.0 <= comp[2] < tiny * 4, name
    assert compiled("exp_of_negative", x.astype(dtype))[3] >= tiny
