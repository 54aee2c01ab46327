"""
exp, log, powers and cosines of float64 numbers, with the same bits on every machine.

`numpy.exp` and ``math.exp`` call the C library or code for one kind of processor, and each of them
has other last digits. Here each function is a series of NumPy calls that add, subtract, multiply or
divide. IEEE 754 defines the result of each of these to the last bit. Two of them in one call could
be fused by a compiler, so each is a call of its own.

The scheme is the usual one (W. J. Cody and W. Waite, *Software Manual for the Elementary
Functions*, 1980): reduce the argument, evaluate a polynomial, put the exponent back. The
polynomials are our own: Chebyshev fits in 75 digits, and for `log` that of the kernels. Errors are
in units in the last place (ulp). ``tests/test_elementary_functions.py`` holds them by comparing
with 60 digits.

Everything that decides a number outside the kernels uses these functions: initial weights,
learning rates, metrics and what estimators report.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Numbers: TypeAlias = npt.NDArray[np.float64]
Double: TypeAlias = tuple[Any, Any]
"""A number in two parts, their sum: the first is the sum rounded to float64."""

MOST = 1e20
"""With a larger exponent a power is 0, 1 or inf, as it is with this one."""

BLOCK = 4096
"""Numbers that a function computes at once, so that its temporary arrays stay in the cache."""

# ln 2 and pi in two parts. A multiple of the first part of ln 2 by up to 11 bits is exact (fdlibm,
# e_exp.c).
LN2_HI, LN2_LO = 6.93147180369123816490e-01, 1.9082149292705877e-10
INV_LN2 = 1.4426950408889634
PI_HI, PI_LO = 3.141592653589793, 1.2246467991473532e-16
SQRT_HALF, SQRT_HALF_BITS = 0.7071067811865476, 0x3FE6A09E667F3BCD
ROUND = 6755399441055744.0
"""1.5 * 2**52: added to a number below 2**51 and subtracted again, it rounds it to an integer."""


def _in_blocks(f: Callable[[Any], Any]) -> Callable[[npt.ArrayLike], Any]:
    """Take a number or an array of any shape, and compute it block by block."""

    @wraps(f)
    def wrapped(x: npt.ArrayLike) -> Any:
        array = np.asarray(x, np.float64)
        flat, made = array.reshape(-1), np.empty(array.size)
        for first in range(0, len(flat), BLOCK):
            made[first : first + BLOCK] = f(flat[first : first + BLOCK])
        return made.reshape(array.shape) if array.ndim else float(made[0])

    return wrapped


def _polynomial(x: Any, *coefficients: float) -> Any:
    """Return c[0] + c[1] x + c[2] x**2 + ..., by Horner's scheme."""
    made: Any = coefficients[-1]
    for c in coefficients[-2::-1]:
        made = made * x + c
    return made


def _sum(a: Any, b: Any) -> Double:
    """Return a + b in two parts, exactly (D. E. Knuth, *TAOCP* 2, section 4.2.2)."""
    s = a + b
    rest = s - a
    return s, (a - (s - rest)) + (b - rest)


def _halves(a: Any) -> Double:
    """Split a number into two of at most 26 bits (G. W. Veltkamp)."""
    big = 134217729.0 * a  # 2**27 + 1
    high = big - (big - a)
    return high, a - high


def _product(a: Any, b: Any) -> Double:
    """Return a b in two parts, exactly (T. J. Dekker, *Numerische Mathematik* 18, 1971)."""
    p = a * b
    (a1, a2), (b1, b2) = _halves(a), _halves(b)
    return p, ((a1 * b1 - p) + a1 * b2 + a2 * b1) + a2 * b2


def _times(a: Double, b: Double) -> Double:
    """Return the product of two numbers in two parts, to about 100 bits."""
    p, rest = _product(a[0], b[0])
    return _sum(p, rest + (a[0] * b[1] + a[1] * b[0]))


def _mantissa(x: Any) -> tuple[Any, Any]:
    """Return m from sqrt(1/2) to sqrt(2) and a whole k with x = m 2**k, for finite x above 0."""
    if isinstance(x, float):
        m, k = math.frexp(x)
        return (2.0 * m, k - 1.0) if m < SQRT_HALF else (m, float(k))
    tiny = x < 2.2250738585072014e-308  # below the normal numbers
    bits = (x * np.where(tiny, 18014398509481984.0, 1.0)).view(np.int64)  # 2**54
    whole = (bits - SQRT_HALF_BITS) >> 52
    return (bits - (whole << 52)).view(np.float64), whole - np.where(tiny, 54.0, 0.0)


def _scaled(x: Any, k: Any) -> Any:
    """Return x 2**k for abs(k) < 2000, in two steps: 2**k alone may be outside the range."""
    if isinstance(x, float):
        half = int(k) >> 1
        return x * math.ldexp(1.0, half) * math.ldexp(1.0, int(k) - half)
    whole = k.astype(np.int64)
    half = whole >> 1
    for part in (half, whole - half):
        x = x * ((part + 1023) << 52).view(np.float64)
    return x


def _exp(high: Any, low: Any) -> Any:
    """e**(high + low), for high from -800 to 800; low is far smaller."""
    k = (high * INV_LN2 + ROUND) - ROUND
    product, rest = _product(k, LN2_LO)
    r, error = _sum(high - k * LN2_HI, -product)
    r, error = _sum(r, error + (low - rest))
    square, beyond = _product(r, r)
    # (e**r - 1 - r - r**2 / 2) / r**3, relative error in e**r 4e-19.
    q = _polynomial(
        r, 0.16666666666666667453, 0.041666666666666667228, 0.0083333333333300618325,
        0.0013888888888886552517, 0.00019841269863053616878, 0.000024801587317144498984,
        2.7557268459997064772e-6, 2.7557282969549952704e-7, 2.5100385495510319078e-8,
        2.0911236630261544486e-9,
    )  # fmt: skip
    tail = ((error + r * error) + 0.5 * beyond) + (r * square) * q
    a, a_rest = _sum(1.0, r)
    b, b_rest = _sum(a, 0.5 * square)
    return _scaled(b + ((a_rest + b_rest) + tail), k)


@_in_blocks
def exp(x: Any) -> Any:
    """
    Compute e**x.

    Parameters
    ----------
    x : float or array
        Any numbers.

    Returns
    -------
    float or float64 array
        0 or inf where e**x is outside the range of float64. Error below 0.6 ulp, or 1 ulp below the
        normal numbers.

    Examples
    --------
    >>> from jitprop import elementary
    >>> elementary.exp(1.0)
    2.718281828459045
    """
    with np.errstate(over="ignore", under="ignore"):
        made = _exp(np.where(np.isnan(x), 0.0, np.clip(x, -800.0, 800.0)), 0.0)
    return np.where(np.isnan(x), x, made)


@_in_blocks
def log(x: Any) -> Any:
    """
    Compute the natural logarithm.

    Parameters
    ----------
    x : float or array
        Any numbers.

    Returns
    -------
    float or float64 array
        -inf for 0, nan for x < 0. Error below 1 ulp.

    Examples
    --------
    >>> from jitprop import elementary
    >>> elementary.log(2.0)
    0.6931471805599453
    """
    usual = (x > 0.0) & (x < np.inf)
    m, k = _mantissa(np.where(usual, x, 1.0))
    # With f = m - 1 and s = f / (2 + f) it is 2 atanh(s) = f - (f**2 / 2 - s (f**2 / 2 + R(s**2))):
    # fdlibm, e_log.c. R(z) has a relative error in log of 1.2e-18.
    f = m - 1.0
    s = f / (2.0 + f)
    z, h = s * s, 0.5 * f * f
    r = z * _polynomial(
        z, 0.66666666666667344604, 0.39999999999414320878, 0.28571428742474908102,
        0.22222198563483838328, 0.1818356486670316539, 0.15314035835547095425,
        0.14796105429979660471,
    )  # fmt: skip
    made = k * LN2_HI - ((h - (s * (h + r) + k * LN2_LO)) - f)
    return np.where(usual, made, np.where(x == 0.0, -np.inf, np.where(x > 0.0, x, np.nan)))


def _log(x: Any) -> Double:
    """log x in two parts, for finite x above 0: its relative error is below 2**-65."""
    m, k = _mantissa(x)
    f = m - 1.0
    d, d_rest = _sum(m, 1.0)
    s = f / d
    p, p_rest = _product(s, d)
    root = s, (((f - p) - p_rest) - s * d_rest) / d  # (m - 1) / (m + 1)
    z = _times(root, root)
    # log m = 2 s (1 + z (1/3 + z (1/5 + z T(z)))); T(z) has a relative error of 6e-18.
    t = _polynomial(
        z[0], 0.14285714285714285631, 0.11111111111111474258, 0.090909090906503341639,
        0.076923077624741865215, 0.066666573362870230054, 0.058830251424610533858,
        0.052364477071773860357, 0.053085721705861711381,
    )  # fmt: skip
    fifth, rest = _sum(0.2, z[0] * t)
    made = _times(z, (fifth, rest - 1.1102230246251566e-17))  # the rest of 1/5
    third, rest = _sum(0.3333333333333333, made[0])
    made = _times(z, (third, rest + (made[1] + 1.850371707708594e-17)))  # the rest of 1/3
    made = _times(root, made)
    log_m, rest = _sum(root[0], made[0])
    log_m, rest = 2.0 * log_m, 2.0 * (rest + (root[1] + made[1]))
    low, low_rest = _product(k, LN2_LO)
    high, high_rest = _sum(k * LN2_HI, log_m)
    high, more = _sum(high, low)
    return _sum(high, (high_rest + more) + (low_rest + rest))


def power(x: npt.ArrayLike, y: npt.ArrayLike) -> Any:
    """
    Compute x**y for positive x.

    Parameters
    ----------
    x : float or array
        Finite numbers above 0.
    y : float or array
        Finite numbers.

    Returns
    -------
    float or float64 array
        In the shape to which both are broadcast. 0 or inf where x**y is outside the range of
        float64. Error below 0.6 ulp, or 1 ulp below the normal numbers. So a result that float64
        holds exactly is exact.

    Examples
    --------
    >>> from jitprop import elementary
    >>> elementary.power(2.0, 0.5)
    1.4142135623730951
    >>> elementary.power([3.0, 10.0], 2)
    array([  9., 100.])
    """
    base, exponent = np.asarray(x, np.float64), np.asarray(y, np.float64)
    shape = np.broadcast_shapes(base.shape, exponent.shape)
    if base.size == exponent.size == 1:  # on floats of Python it takes 5 us instead of 100
        made: Any = _power(base.item(), min(max(exponent.item(), -MOST), MOST))
        return np.full(shape, made) if shape else made
    with np.errstate(over="ignore", under="ignore"):
        made = _power(np.atleast_1d(base), np.clip(np.atleast_1d(exponent), -MOST, MOST))
    return made.reshape(shape)


def _power(x: Any, y: Any) -> Any:
    log_x = _log(x)
    high, low = _product(y, log_x[0])
    low = low + y * log_x[1]
    if isinstance(high, float):
        return _exp(min(max(high, -800.0), 800.0), low if abs(high) < 800.0 else 0.0)
    return _exp(np.clip(high, -800.0, 800.0), np.where(np.abs(high) < 800.0, low, 0.0))


def _circle(x: Any) -> tuple[Any, Any]:
    """cos(pi x) and sin(pi x)."""
    k = (2.0 * x + ROUND) - ROUND
    f = x - 0.5 * k  # exact, and at most 1/4
    v = f * f
    # (cos(pi f) - 1) / f**2 and (sin(pi f) - pi f) / f**3, relative errors in cos 2e-19 and in sin
    # 1e-20.
    cosine = 1.0 + v * _polynomial(
        v, -4.9348022005446793075, 4.0587121264167651714, -1.3352627688538094413,
        0.23533063028399222239, -0.025806887964701876332, 0.0019294938748949410227,
        -0.00010370082971594626682,
    )  # fmt: skip
    sine = f * PI_HI + f * (PI_LO + v * _polynomial(
        v, -5.1677127800499700289, 2.5501640398773448804, -0.59926452932064781792,
        0.082145886597276762667, -0.0073704303122948236893, 0.00046628793261474805964,
        -0.000021742067342478005691,
    ))  # fmt: skip
    # A quarter turn makes (cos, sin) of (-sin, cos), half a turn changes both signs.
    if isinstance(k, float):
        quarter = int(k) & 3
        x, y = (0.0 - sine, cosine) if quarter & 1 else (cosine, sine)
        return (0.0 - x, 0.0 - y) if quarter >= 2 else (x, y)
    quarters = k.astype(np.int64) & 3
    odd = (quarters & 1).astype(bool)
    x, y = np.where(odd, 0.0 - sine, cosine), np.where(odd, cosine, sine)
    half = quarters >= 2
    return np.where(half, 0.0 - x, x), np.where(half, 0.0 - y, y)


@_in_blocks
def cos_pi(x: Any) -> Any:
    """
    Compute cos(pi x).

    Parameters
    ----------
    x : float or array
        Finite numbers, abs(x) up to 2**50.

    Returns
    -------
    float or float64 array
        Exact where x is a multiple of 1/2. Error below 2 ulp.

    Examples
    --------
    >>> from jitprop import elementary
    >>> elementary.cos_pi([0.0, 0.5, 1.0])
    array([ 1.,  0., -1.])
    """
    # On a float of Python it takes 3 us instead of 25.
    return _circle(x.item() if x.size == 1 else x)[0]


def normal(uniform: Numbers) -> Numbers:
    """
    Make numbers of the standard normal distribution from uniform ones.

    Parameters
    ----------
    uniform : (..., 2 m) array
        Independent numbers, uniform in [0, 1), as `numpy.random.Generator.random` draws them.

    Returns
    -------
    (..., 2 m) float64 array
        Independent numbers of mean 0 and variance 1. The largest that 53 random bits give is 8.6.

    Notes
    -----
    From u and v it makes r cos(2 pi v) and r sin(2 pi v) with r = sqrt(-2 log(1 - u)). Unlike
    NumPy's own method it needs no rejection, and no function besides those of this module.

    References
    ----------
    Box and Muller, *A Note on the Generation of Random Normal Deviates*, Annals of Mathematical
    Statistics 29, 1958.

    Examples
    --------
    >>> import numpy as np
    >>> from jitprop import elementary
    >>> drawn = elementary.normal(np.random.default_rng(0).random(10_000))
    >>> bool(abs(drawn.mean()) < 0.02), round(float(drawn.std()), 2)
    (True, 1.0)
    """
    u, v = np.split(uniform, 2, axis=-1)
    made = np.empty(uniform.shape)
    cosines, sines = np.split(made, 2, axis=-1)
    radius = np.sqrt(-2.0 * log(1.0 - u))
    for first in range(0, u.shape[-1], BLOCK):
        block = ..., slice(first, first + BLOCK)
        cosine, sine = _circle(2.0 * v[block])
        cosines[block], sines[block] = radius[block] * cosine, radius[block] * sine
    return made


def total(x: npt.ArrayLike) -> float:
    """
    Compute the sum of all numbers, in an order that depends on their number alone.

    Parameters
    ----------
    x : array
        Its numbers are summed in float64, row after row.

    Returns
    -------
    float

    Notes
    -----
    The order is that of NumPy 2: halves are summed apart, and in the last 128 numbers there are 8
    sums, whatever the processor. Older NumPy cuts an array into pieces of 8192 numbers first.

    Examples
    --------
    >>> from jitprop import elementary
    >>> elementary.total([[1.0, 2.0], [3.0, 4.0]])
    10.0
    """
    return _total(np.ascontiguousarray(x, np.float64).reshape(-1))


def _total(x: Numbers) -> float:
    if len(x) <= BLOCK:
        return float(np.add.reduce(x))
    half = len(x) // 16 * 8
    return _total(x[:half]) + _total(x[half:])


def unit(x: Numbers) -> float:
    """
    Return the largest power of two up to the largest magnitude; 0.5 if all numbers are 0.

    Numbers divided by it are below 2, so that their squares do not overflow. The division is exact.

    Examples
    --------
    >>> import numpy as np
    >>> from jitprop.elementary import unit
    >>> unit(np.array([-5.0, 3.0]))
    4.0
    """
    return math.ldexp(1.0, math.frexp(float(np.abs(x).max()))[1] - 1)


def totals(x: Numbers) -> Numbers:
    """
    Compute the sum of each column, in an order that depends on the number of rows alone.

    Parameters
    ----------
    x : (n, k) float64 array

    Returns
    -------
    (k,) float64 array

    Examples
    --------
    >>> import numpy as np
    >>> from jitprop import elementary
    >>> elementary.totals(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([4., 6.])
    """
    if x.shape[1] == 1:
        return np.array([total(x)])
    made: Numbers = np.ascontiguousarray(x).sum(axis=0)  # row after row
    return made


def mean(x: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> float:
    """
    Compute the mean of all numbers, or their weighted mean, with sums as of `total`.

    Parameters
    ----------
    x : array
        At least one number.
    weights : array of the same shape, optional
        Their sum is not 0.

    Returns
    -------
    float

    Examples
    --------
    >>> from jitprop import elementary
    >>> elementary.mean([1.0, 2.0, 6.0]), elementary.mean([1.0, 2.0], weights=[3.0, 1.0])
    (3.0, 1.25)
    """
    if weights is None:
        return total(x) / np.size(x)
    w = np.asarray(weights, np.float64)
    return total(np.multiply(x, w)) / total(w)


def deviation(x: npt.ArrayLike) -> float:
    """
    Compute the standard deviation of all numbers, with the factor 1/n and sums as of `total`.

    Parameters
    ----------
    x : array
        At least one number.

    Returns
    -------
    float

    Examples
    --------
    >>> from jitprop import elementary
    >>> elementary.deviation([1.0, 3.0])
    1.0
    """
    return math.sqrt(mean(np.square(np.subtract(x, mean(x), dtype=np.float64))))
