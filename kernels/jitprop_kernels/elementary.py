"""
exp, expm1, log and log1p which LLVM can vectorise.

Numba's wheels call the C library for each element of `np.exp`, one at a time. These are straight
lines of arithmetic (no table, no branch) and run 5 to 10 times faster in a loop. The scheme is
the usual one (W. J. Cody and W. Waite, *Software Manual for the Elementary Functions*, 1980):
reduce the argument, evaluate a polynomial, put the exponent back. The polynomials are our own
minimax fits, by the Remez exchange in 50 digits; the error of each is stated beside it.

Stated errors, in units in the last place, are the largest found against 50-digit arithmetic by
the dense sweep in ``tests/kernels/test_elementary.py``, which holds them.
"""

from __future__ import annotations

import numpy as np

from jitprop_kernels._jit import jit
from jitprop_kernels._types import Scalar
from jitprop_kernels.simd import fma, is_single, power_of_two, reinterpret, select

# ln 2 in two parts: a multiple of up to 11 bits of the first is exact. Figures: fdlibm, e_exp.c
# (float64), and Cephes, expf.c (float32).
LN2_HI64, LN2_LO64 = 6.93147180369123816490e-01, 1.90821492927058770002e-10
LN2_HI32, LN2_LO32 = 0.693359375, -2.12194440e-4
INV_LN2 = 1.4426950408889634
# 1.5 * 2**52 and 1.5 * 2**23: added to a small number they round it to an integer and leave that
# integer in the low bits.
ROUND64, ROUND32 = 6755399441055744.0, 12582912.0


@jit()
def exp_parts(x: Scalar) -> tuple[Scalar, Scalar]:
    """
    Reduce x = k ln 2 + r, abs(r) <= ln(2)/2, for x <= 0.

    Returns
    -------
    p, scale : float
        p = expm1(r) and scale = 2**k; scale is 0 where 2**k would be below the normal numbers.
    """
    T = type(x)
    if is_single(x):
        lowest, big, ln2_hi, ln2_lo = T(-88.0), T(ROUND32), T(LN2_HI32), T(LN2_LO32)
    else:
        lowest, big, ln2_hi, ln2_lo = T(-709.0), T(ROUND64), T(LN2_HI64), T(LN2_LO64)
    # There k is one below the normal exponents, and its bits are those of 0. nan passes.
    x = select(x < lowest, lowest, x)
    t = fma(x, T(INV_LN2), big)
    k = t - big
    r = fma(-k, ln2_lo, fma(-k, ln2_hi, x))
    r2 = r * r
    if is_single(x):
        # (expm1(r) - r) / r**2, relative error in exp 3.1e-9.
        q01 = fma(r, T(0.16666520631709496887), T(0.49999993447796486827))
        q23 = fma(r, T(0.0083687168797281399469), T(0.041668388045313996659))
        q = fma(r2, fma(r2, T(0.0013814598646664034453), q23), q01)
    else:
        # The same, relative error 3.7e-18; pairs (Estrin) shorten the chain of dependent steps.
        r4 = r2 * r2
        q01 = fma(r, T(0.16666666666666412523), T(0.50000000000000106271))
        q23 = fma(r, T(0.0083333333334944616641), T(0.04166666666653015859))
        q45 = fma(r, T(0.00019841269506578687653), T(0.0013888888943630112946))
        q67 = fma(r, T(2.7557586373840163694e-6), T(0.000024801493098906550659))
        q89 = fma(r, T(2.5000061602835666699e-8), T(2.7630248379211443975e-7))
        q = fma(r4, fma(r4, q89, fma(r2, q67, q45)), fma(r2, q23, q01))
    return fma(r2, q, r), power_of_two(t)


@jit()
def exp_of_negative(x: Scalar) -> Scalar:
    """e**x for x <= 0. Error below 1 ulp, but 0 where e**x is below the normal numbers."""
    p, scale = exp_parts(x)
    return fma(scale, p, scale)


@jit()
def exp(x: Scalar) -> Scalar:
    """e**x for every x, as the square of its root; inf and 0 at the ends. Error below 4 ulp."""
    T = type(x)
    root = exp_of_negative(T(-0.5) * abs(x))
    root = select(x > T(0.0), T(1.0) / root, root)
    return root * root


@jit()
def expm1_of_negative(x: Scalar) -> Scalar:
    """e**x - 1 for x <= 0, no digits lost near 0. Error below 1.5 ulp."""
    p, scale = exp_parts(x)
    return fma(scale, p, scale - type(x)(1.0))


@jit()
def _log_reduced(f: Scalar, k: Scalar) -> Scalar:
    # log((1 + f) 2**k), 1 + f from sqrt(1/2) to sqrt(2), with s = f / (2 + f) and
    # log(1 + f) = 2 atanh(s) = f - (f**2/2 - s (f**2/2 + R(s**2))): fdlibm, e_log.c.
    T = type(f)
    s = f / (T(2.0) + f)
    z = s * s
    h = T(0.5) * f * f
    if is_single(f):
        # R(z), relative error in log 8.1e-10.
        r = z * fma(
            z,
            fma(z, T(0.29871862250152361691), T(0.39977536980589432079)),
            T(0.66666776415108612243),
        )
        return fma(k, T(LN2_HI32), f - (h - fma(s, h + r, k * T(LN2_LO32))))
    else:
        # R(z), relative error in log 1.2e-18.
        z2 = z * z
        r01 = fma(z, T(0.39999999999414320878), T(0.66666666666667344604))
        r23 = fma(z, T(0.22222198563483838328), T(0.28571428742474908102))
        r45 = fma(z, T(0.15314035835547095425), T(0.1818356486670316539))
        r = z * fma(z2, fma(z2, fma(z2, T(0.14796105429979660471), r45), r23), r01)
        return fma(k, T(LN2_HI64), f - (h - fma(s, h + r, k * T(LN2_LO64))))


@jit()
def log(x: Scalar) -> Scalar:
    """Natural logarithm for every x; log(0) = -inf, log(x < 0) = nan. Error below 1 ulp."""
    T = type(x)
    if is_single(x):
        tiny = x < T(1.1754943508222875e-38)
        scaled = x * T(33554432.0) if tiny else x  # 2**25: a subnormal becomes normal
        bits = np.int64(reinterpret(np.float32(scaled), np.int32))
        exponent = (bits - 0x3F3504F3) >> 23  # 0x3F3504F3: sqrt(1/2)
        mantissa = T(reinterpret(np.int32(bits - (exponent << 23)), np.float32))
        k = T(exponent) - (T(25.0) if tiny else T(0.0))
    else:
        tiny = x < T(2.2250738585072014e-308)
        scaled = x * T(18014398509481984.0) if tiny else x  # 2**54
        bits = reinterpret(np.float64(scaled), np.int64)
        exponent = (bits - 0x3FE6A09E667F3BCD) >> 52
        # T: a variable has one type, in the code for float32 too.
        mantissa = T(reinterpret(np.int64(bits - (exponent << 52)), np.float64))
        k = T(exponent) - (T(54.0) if tiny else T(0.0))
    y = _log_reduced(mantissa - T(1.0), k)
    y = x if x == T(np.inf) else y
    y = T(-np.inf) if x == T(0.0) else y
    return y if x >= T(0.0) else T(np.nan)


@jit()
def log1p_of_fraction(x: Scalar) -> Scalar:
    """log(1 + x) for 0 <= x <= 1, accurate for small x. Error below 1.5 ulp."""
    T = type(x)
    w = T(1.0) + x
    high = w > T(1.4142135623730951)
    m = select(high, T(0.5) * w, w)
    y = _log_reduced(m - T(1.0), select(high, T(1.0), T(0.0)))
    return y + (x - (w - T(1.0))) / w  # what rounding took from 1 + x


@jit()
def gaussian_parts(x: Scalar) -> tuple[Scalar, Scalar]:
    """
    e = exp(-x**2 / 2) and g = Phi(-x) / e for 0 <= x <= 40, Phi of the normal distribution.

    g falls from 1/2 slowly, about as 0.4 / x. (k + x) g is a polynomial of s = (x - k) / (x + k):
    M. M. Shepherd and J. G. Laframboise, *Chebyshev Approximation of (1 + 2x) exp(x**2) erfc x*,
    Mathematics of Computation 36, 1981. See `activations.gelu` for the errors. g(0) is
    exactly 1/2.
    """
    T = type(x)
    square = x * x
    rest = T(-0.5) * fma(x, x, -square)  # what rounding took from x**2, or e would lose digits
    p, scale = exp_parts(T(-0.5) * square)
    e = fma(scale, fma(rest, p + T(1.0), p), scale)
    if is_single(x):
        # k = 4, relative error in g 7.5e-9.
        t = T(1.0) / (x + T(4.0))
        s = fma(T(-8.0), t, T(1.0))
        s2 = s * s
        q0 = fma(s, T(-0.6078966102997972), T(0.7552851354541043))
        q1 = fma(s, T(-0.18652284224541127), T(0.38713688280395236))
        q2 = fma(s, T(-0.007529126094162279), T(0.060404506918515205))
        q3 = fma(s, T(0.0015754588141825578), T(-0.0035184789548015757))
        q4 = fma(s, T(-0.00012568807251920307), T(0.00019316080076215317))
        s4 = s2 * s2
        q = fma(s4, fma(s4, q4, fma(s2, q3, q2)), fma(s2, q1, q0))
    else:
        # k = 5, relative error in g 1.9e-19.
        t = T(1.0) / (x + T(5.0))
        s = fma(T(-10.0), t, T(1.0))
        s2 = s * s
        q0 = fma(s, T(-0.66538250289005684905), T(0.76919304975006295954))
        q1 = fma(s, T(-0.31353315667128774802), T(0.49530561596997606613))
        q2 = fma(s, T(-0.069118638706868326504), T(0.16502036617040747023))
        q3 = fma(s, T(-0.0029933767620158884033), T(0.020795066799256423393))
        q4 = fma(s, T(0.00054489899397653952817), T(-0.00079786938929704626028))
        q5 = fma(s, T(-0.000049762462228534737946), T(-0.000059375806985768950843))
        q6 = fma(s, T(3.9798236420336540306e-6), T(0.00001668163626525395823))
        q7 = fma(s, T(-3.3460959672905692678e-7), T(-2.770706003289815479e-6))
        q8 = fma(s, T(4.0217133859257850668e-8), T(4.3625687706162138377e-7))
        q9 = fma(s, T(-8.5746103120382926199e-9), T(-7.0090700238100698762e-8))
        q10 = fma(s, T(2.2182190262995858085e-9), T(1.0756945017867782791e-8))
        q11 = fma(s, T(-3.7706343086300372585e-10), T(-1.14756026909289707e-9))
        s4 = s2 * s2
        s8 = s4 * s4
        low = fma(s4, fma(s2, q3, q2), fma(s2, q1, q0))
        middle = fma(s4, fma(s2, q7, q6), fma(s2, q5, q4))
        high = fma(s4, fma(s2, q11, q10), fma(s2, q9, q8))
        q = fma(s8, fma(s8, high, middle), low)
    return e, q * t


@jit()
def power(x: float, n: int) -> float:
    """x**n for n >= 0, by squaring; numba's own compiles for 0.05 s."""
    y = 1.0
    while n > 0:
        if n % 2 == 1:
            y *= x
        x *= x
        n //= 2
    return y


@jit()
def smaller(m: int, n: int) -> int:
    """min(m, n), for which numba would load all it knows: see `_private.contexts`."""
    return m if m < n else n
