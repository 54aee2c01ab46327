"""`jitprop.elementary`: the errors that it states, extremes, normal numbers, and schedules."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest

from jitprop import (
    Cosine,
    CosineLog,
    Exponential,
    InverseScaling,
    OneCycle,
    Step,
    elementary,
)
from test_numbers_of_python import SCHEDULES

mpmath.mp.prec = 200  # 60 digits


def spread(low, high, n=2000):
    """Return n numbers between two ends."""
    return low + (high - low) * np.random.default_rng(7).random(n)


def magnitudes(n=2000):
    """Return n numbers above 0 of all magnitudes, those below the normal numbers included."""
    mantissas = 1.0 + np.random.default_rng(8).random(n)
    return np.ldexp(mantissas, np.random.default_rng(9).integers(-1070, 1023, n))


def largest_error(found, exact):
    """Return the largest error in ulp of the exact results rounded to float64."""
    pairs = zip(np.asarray(found).tolist(), exact, strict=True)
    return max(float(abs(mpmath.mpf(a) - b) / mpmath.mpf(math.ulp(float(b)))) for a, b in pairs)


NEAR_1 = np.concatenate([1.0 + spread(-1e-6, 1e-6, 300), spread(0.5, 2.0)])
NEAR_HALF = np.concatenate([0.5 + spread(-1e-7, 1e-7, 300), spread(0.0, 1.0), spread(-9.0, 9.0)])
FUNCTIONS = [
    ("exp", mpmath.exp, spread(-708.0, 709.7), 0.6),
    ("exp", mpmath.exp, spread(-1.0, 1.0), 0.6),
    ("exp", mpmath.exp, spread(-745.0, -708.0), 1.0),
    ("log", mpmath.log, magnitudes(), 1.0),
    ("log", mpmath.log, NEAR_1, 1.0),
    ("cos_pi", mpmath.cospi, NEAR_HALF, 2.0),
]


@pytest.mark.parametrize(("name", "exact", "x", "bound"), FUNCTIONS)
def test_errors_stay_within_the_stated_ulp(name, exact, x, bound):
    found = getattr(elementary, name)(x)
    assert largest_error(found, [exact(mpmath.mpf(v)) for v in x.tolist()]) <= bound


def exact_powers(x, y):
    return [mpmath.mpf(a) ** mpmath.mpf(b) for a, b in zip(x.tolist(), y.tolist(), strict=True)]


def test_powers_stay_within_the_stated_ulp():
    x = np.concatenate([magnitudes(), NEAR_1])
    with np.errstate(divide="ignore"):
        y = spread(-700.0, 700.0, len(x)) / np.log(x)
    y = np.where(np.isfinite(y), y, 1.0)
    assert largest_error(elementary.power(x, y), exact_powers(x, y)) <= 0.6
    tiny = spread(-744.0, -710.0, len(x)) / math.log(0.3)
    below = np.full(len(x), 0.3)
    assert largest_error(elementary.power(below, tiny), exact_powers(below, tiny)) <= 1.0


def test_powers_of_a_million_epochs_lose_no_digits():
    epochs = np.arange(0.0, 1e6, 1009.0)
    exact = [mpmath.mpf(0.9995) ** int(n) for n in epochs]
    assert largest_error(elementary.power(0.9995, epochs), exact) <= 0.6


def test_powers_that_float64_holds_are_exact():
    x = np.arange(1.0, 3000.0)
    np.testing.assert_array_equal(elementary.power(x, 1), x)
    np.testing.assert_array_equal(elementary.power(x, 4), x * x * x * x)
    np.testing.assert_array_equal(elementary.power(x * x, 0.5), x)
    np.testing.assert_array_equal(
        elementary.power(2.0, [-1074, 0, 62, 1023]), [5e-324, 1, 2.0**62, 2.0**1023]
    )


def test_the_measure_sees_an_error_of_one_part_in_2_to_the_51():
    x = spread(-700.0, 700.0, 50)
    exact = [mpmath.exp(mpmath.mpf(v)) for v in x.tolist()]
    assert largest_error(elementary.exp(x) * (1 + 2.0**-51), exact) > 1.5


def test_extremes():
    inf, nan = math.inf, math.nan
    np.testing.assert_array_equal(
        elementary.exp([nan, inf, -inf, 0.0, -0.0, 710.0, -746.0]), [nan, inf, 0, 1, 1, inf, 0]
    )
    np.testing.assert_array_equal(
        elementary.log([nan, inf, -inf, 0.0, -0.0, -1.0, 1.0]), [nan, inf, nan, -inf, -inf, nan, 0]
    )
    np.testing.assert_array_equal(
        elementary.cos_pi(np.arange(-4, 5) / 2), [1, 0, -1, 0, 1, 0, -1, 0, 1]
    )
    one = [1.0, 2.0, 0.5, 1.0 + 2.0**-52, 1.0 - 2.0**-53]
    np.testing.assert_array_equal(elementary.power(one, 1e300), [1, inf, 0, inf, 0])
    np.testing.assert_array_equal(elementary.power(one, -1e300), [1, 0, inf, 0, inf])
    np.testing.assert_array_equal(elementary.power([5e-324, 1.7e308], 0.0), [1, 1])
    assert elementary.power(2.0, 2.0**62) == inf


def test_numbers_and_arrays_of_any_shape_have_the_same_bits():
    x = spread(0.01, 5.0, 3 * elementary.BLOCK)
    for f in (elementary.exp, elementary.log, elementary.cos_pi):
        flat = f(x)
        np.testing.assert_array_equal(f(x.reshape(3, -1)[:, ::2]), flat.reshape(3, -1)[:, ::2])
        assert [f(v) for v in x[:20].tolist()] == flat[:20].tolist()
        assert type(f(2)) is float
        assert f(x[:0]).shape == (0,)
    powers = elementary.power(x, -x[::-1])
    pairs = zip(x[:200].tolist(), (-x[::-1][:200]).tolist(), strict=True)
    assert [elementary.power(a, b) for a, b in pairs] == powers[:200].tolist()
    tiny = elementary.power([5e-324, 0.3, 1e300], [[1.0], [0.1], [-1.0]])
    assert tiny.shape == (3, 3)
    assert elementary.power(np.full((1, 1), 0.3), 0.1).shape == (1, 1)
    assert elementary.power(5e-324, 0.1) == tiny[1, 0]
    assert elementary.power(1e300, -1.0) == tiny[2, 2]


def numpys_sum(x):
    """Return the sum of a list, in the order of NumPy 2: see `elementary.total`."""
    if len(x) > 128:
        half = len(x) // 2 - len(x) // 2 % 8
        return numpys_sum(x[:half]) + numpys_sum(x[half:])
    sums, whole = x[:8], len(x) - len(x) % 8
    if len(x) < 8:
        made, whole = 0.0, 0
    else:
        for i in range(8, whole):
            sums[i % 8] += x[i]
        a, b, c, d, e, f, g, h = sums
        made = ((a + b) + (c + d)) + ((e + f) + (g + h))
    for rest in x[whole:]:
        made += rest
    return made


@pytest.mark.parametrize("n", [0, 1, 7, 8, 100, 129, 4096, 8193, 20_000, 100_003])
def test_sums_have_an_order_of_their_own(n):
    x = spread(-1.0, 1.0, n)
    assert elementary.total(x) == numpys_sum(x.tolist())
    single, even = x.astype(np.float32), np.arange(n) % 2 == 0
    double = single.astype(np.float64)
    assert elementary.total(single) == elementary.total(double)
    if n > 1:
        assert elementary.mean(x) == elementary.total(x) / n
        weighted = elementary.total(even * double) / elementary.total(double)
        assert elementary.mean(even, single) == weighted
        squares = np.square(x - elementary.mean(x))
        assert elementary.deviation(x) == math.sqrt(elementary.total(squares) / n)


def test_sums_do_not_depend_on_the_layout_in_memory():
    x = spread(-1.0, 1.0, 30_000).reshape(10_000, 3)
    assert elementary.total(np.asfortranarray(x)) == elementary.total(x)
    found = elementary.totals(x)
    np.testing.assert_allclose(found, [math.fsum(column) for column in x.T.tolist()], rtol=1e-12)
    np.testing.assert_array_equal(elementary.totals(np.asfortranarray(x)), found)
    assert elementary.totals(x[:, 1:2]).tolist() == [elementary.total(x[:, 1])]


def test_normal_numbers_are_those_of_box_and_muller():
    drawn = np.random.default_rng(3).random((2, 400))
    found = elementary.normal(drawn)
    for u, z in zip(drawn, found, strict=True):
        for i in range(200):
            radius = mpmath.sqrt(-2 * mpmath.log(1 - mpmath.mpf(u[i])))
            cosine, sine = (f(2 * mpmath.mpf(u[200 + i])) for f in (mpmath.cospi, mpmath.sinpi))
            assert abs(z[i] - radius * cosine) < 4e-16 * radius
            assert abs(z[200 + i] - radius * sine) < 4e-16 * radius


def test_normal_numbers_are_normal():
    z = np.sort(elementary.normal(np.random.default_rng(4).random(100_000)))
    shares = np.array([(1 + math.erf(v / math.sqrt(2))) / 2 for v in z.tolist()])
    # Kolmogorov: beyond 1.63 sqrt(1 / n) in one of a hundred samples.
    assert np.abs(shares - (np.arange(len(z)) + 0.5) / len(z)).max() < 1.63 / math.sqrt(len(z))
    largest = elementary.normal(np.array([1 - 2.0**-53, 0.0]))
    np.testing.assert_allclose(largest, [8.5716, 0.0], atol=1e-4)
    assert elementary.normal(np.array([0.0, 0.3])).tolist() == [0.0, 0.0]


def exact_wave(start, end, share):
    return end + (start - end) / 2 * (1 + mpmath.cospi(mpmath.mpf(share)))


def exact_rate(schedule, epoch):
    """Return a rate in 60 digits."""
    match schedule:
        case Step(initial, every, factor):
            return mpmath.mpf(initial) * mpmath.mpf(factor) ** (epoch // every)
        case Exponential(initial, factor):
            return mpmath.mpf(initial) * mpmath.mpf(factor) ** epoch
        case InverseScaling(initial, power):
            return mpmath.mpf(initial) / mpmath.mpf(epoch + 1) ** mpmath.mpf(power)
        case Cosine(peak, epochs, final, warmup):
            if epoch < warmup:
                return mpmath.mpf(peak) * (epoch + 1) / (warmup + 1)
            share = min(mpmath.mpf(epoch - warmup) / (epochs - warmup), 1)
            return exact_wave(mpmath.mpf(peak), mpmath.mpf(final), share)
        case OneCycle(peak, epochs, rise, first, last):
            peak, top = mpmath.mpf(peak), mpmath.mpf(rise) * epochs - 1
            if epoch < top:
                return exact_wave(peak / first, peak, epoch / top)
            share = min((epoch - top) / (epochs - 1 - top), 1)
            return exact_wave(peak, peak / first / last, share)
        case CosineLog(initial, epochs, cycles):
            waves = mpmath.log(1 + (2**cycles - 1) * mpmath.mpf(min(epoch / epochs, 1)), 2)
            return exact_wave(0, mpmath.mpf(initial), 2 * waves)


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_equal_their_formulas_to_a_few_ulp(name):
    schedule = SCHEDULES[name]
    rates, peak = schedule.rates(0, 5000), max(schedule.rates(0, 5000))
    for epoch in range(0, 5000, 7):
        exact = exact_rate(schedule, epoch)
        # A wave adds and subtracts numbers of the size of its peak.
        size = peak if isinstance(schedule, Cosine | CosineLog | OneCycle) else float(exact)
        if isinstance(schedule, CosineLog):  # an error of the angle, which goes up to 8 pi
            size *= 8 * math.pi
        assert abs(rates[epoch] - exact) <= 4 * math.ulp(size), epoch
