"""Split conformal intervals: how far predictions are off on rows held out."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from jitprop import checks

Numbers = npt.NDArray[np.float64]

ROUNDING = 1e-9
"""Products such as 10 * 0.9 may be a little above the integer that is meant."""


def half_width(residuals: Numbers, confidence: float) -> float:
    """
    Return the half width of intervals that hold a new target with this probability.

    Parameters
    ----------
    residuals : (n,) float64 array
        abs(y - prediction) of the rows held out, sorted.
    confidence : float
        Above 0 and below 1.

    Returns
    -------
    float
        The k-th smallest residual, k = ceil((n + 1) confidence).

    Raises
    ------
    ValueError
        If k is above n: then no finite interval has this confidence.

    Notes
    -----
    With rows that are exchangeable, the probability is at least ``confidence`` and at most
    confidence + 1 / (n + 1), whatever the net and the distribution. Here the rows held out have
    also chosen the epoch, so that the residuals are a little too small. With several nets, each
    row's residual is that of the nets that were not trained with it, as in cross-conformal
    prediction.

    References
    ----------
    Vovk, Gammerman and Shafer, *Algorithmic Learning in a Random World*, 2005. Lei et al.,
    *Distribution-Free Predictive Inference for Regression*, JASA 113, 2018, algorithm 2. Vovk,
    *Cross-conformal predictors*, Annals of Mathematics and Artificial Intelligence 74, 2015.
    """
    n = len(residuals)
    share = checks.number("confidence", confidence, above=0.0, below=1.0)
    k = max(1, math.ceil((n + 1) * share - ROUNDING))
    if k > n:
        needed = math.ceil(share / (1.0 - share) - ROUNDING)
        raise ValueError(
            f"confidence {share:g} needs at least {needed} rows held out; this model has {n}"
        )
    return float(residuals[k - 1])


def residuals(y: Numbers, predictions: Numbers) -> Numbers:
    """Return abs(y - prediction), sorted."""
    return np.sort(np.abs(y - predictions))
