"""
The scale of a feature, as RealMLP has it: centred at the median, divided by the quartile range.

With the quartiles q25 and q75 of the training rows, a feature x becomes::

    z = (x - median) factor,    factor = 1 / (q75 - q25)
    input = z / sqrt(1 + (z / 3)**2)

If the quartiles are equal, factor is 2 / (max - min); for a constant it is 0. The second line clips
smoothly: all inputs are between -3 and 3, and an outlier does no harm (D. Holzmüller, L. Grinsztajn
and I. Steinwart, *Better by default*, NeurIPS 2024, arXiv 2407.04491, appendix A). A missing value
is the median, so its input is 0.

RealMLP scales the inputs of categories in the same way, after the one-hot encoding. So does this.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from jitprop._types import Array

LARGEST = 1e150
"""Larger numbers count as this one, and no factor is larger: their products stay below inf."""

BEYOND = 1e9
"""From here on the smooth clip of z is 3 to the last bit of a float32."""


def robust(pick: Callable[[int], float], n: int) -> tuple[float, float]:
    """
    Return the median and the factor of a feature.

    Parameters
    ----------
    pick : callable
        Of i: the i-th smallest value.
    n : int
        The number of values; with none the median and the factor are 0.
    """
    if n == 0:
        return 0.0, 0.0
    q25, median, q75 = (_quantile(pick, n, p) for p in (0.25, 0.5, 0.75))
    distance = q75 - q25
    if distance == 0.0:
        distance = 0.5 * (pick(n - 1) - pick(0))
    return median, 0.0 if distance == 0.0 else 1.0 / max(distance, 1.0 / LARGEST)


def of_values(x: Array) -> tuple[float, float]:
    """Return the median and the factor of a feature's values; those that are nan do not count."""
    ordered = np.sort(np.clip(x[~np.isnan(x)], -LARGEST, LARGEST))
    return robust(lambda i: float(ordered[i]), len(ordered))


def of_counts(values: Sequence[float], counts: Sequence[int]) -> tuple[float, float]:
    """Return the same for values in increasing order, each of which occurs ``counts`` times."""
    ends = np.cumsum(counts)
    return robust(
        lambda i: float(values[int(np.searchsorted(ends, i, side="right"))]), int(ends[-1])
    )


def _quantile(pick: Callable[[int], float], n: int, p: float) -> float:
    """Interpolate between two values, as `numpy.quantile` does by default."""
    position = (n - 1) * p
    low = int(position)
    a, b = pick(low), pick(min(low + 1, n - 1))
    return a + (b - a) * (position - low)


def scaled(x: Array, median: Array, factor: Array) -> Array:
    """Return the inputs of features x, (n_rows, n_features) float64: 0 where x is nan."""
    z = (np.clip(x, -LARGEST, LARGEST) - median) * factor
    z = np.clip(z, -BEYOND, BEYOND)
    third = z / 3.0
    made: Array = z / np.sqrt(1.0 + third * third)
    made[np.isnan(made)] = 0.0
    return made
