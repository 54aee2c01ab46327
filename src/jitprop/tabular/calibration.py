"""Temperature scaling: probabilities as sure as the net is right on rows held out."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from jitprop import elementary
from jitprop._types import Array

Numbers = npt.NDArray[np.float64]

RANGE = (1 / 16, 16.0)
"""Temperatures are within this range."""

STEPS = 28
"""Steps of the search: the logarithm of the temperature is found up to 1e-5."""


def temperature(logits: Array, codes: npt.NDArray[np.int64], weights: Numbers | None) -> float:
    """
    Find the temperature T with the smallest log-loss of the mean of softmax(z / T).

    Parameters
    ----------
    logits : (n_members, n_rows, n_classes) array
        The outputs z before the softmax, for the rows held out.
    codes : (n_rows,) int64 array
        Their classes.
    weights : (n_rows,) float64 array or None

    Returns
    -------
    float
        Within `RANGE`; 1.0 without rows.

    Notes
    -----
    The targets are not 0 and 1: each row counts as 1 / (n + 2) of a row of each other class too.
    Otherwise T would be 0 where all rows held out are classified rightly.

    References
    ----------
    Guo et al., *On Calibration of Modern Neural Networks*, ICML 2017, section 4.2. The targets:
    Platt, *Probabilistic Outputs for Support Vector Machines*, 1999, section 2.2.
    """
    n, n_classes = logits.shape[1:]
    if n == 0:
        return 1.0
    smoothing = 1.0 / (n + 2)
    targets = np.full((n, n_classes), smoothing / max(1, n_classes - 1))
    targets[np.arange(n), codes] = 1.0 - smoothing
    if weights is not None:
        targets *= weights[:, np.newaxis]
    z = logits.astype(np.float64)
    z -= z.max(axis=2, keepdims=True)

    def loss(log_t: float) -> float:
        raised = elementary.exp(z / elementary.exp(log_t))
        mean = (raised / raised.sum(axis=2, keepdims=True)).mean(axis=0)
        return -elementary.total(targets * elementary.log(np.maximum(mean, 1e-300)))

    low, high = (float(elementary.log(t)) for t in RANGE)
    return float(elementary.exp(lowest(loss, low, high, STEPS)))


def lowest(f: Callable[[float], float], low: float, high: float, steps: int) -> float:
    """
    Find where a function with one minimum is lowest, by golden-section search.

    Reference: Kiefer, *Sequential minimax search for a maximum*, 1953.
    """
    ratio = (math.sqrt(5.0) - 1.0) / 2.0
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = f(left), f(right)
    for _ in range(steps):
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = f(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = f(right)
    return (low + high) / 2.0
