"""Split conformal intervals: how far predictions are off on rows held out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from jitprop import checks, elementary
from jitprop._types import Array
from jitprop.training.callbacks import Callback

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
    confidence + 1 / (n + 1), whatever the net and the distribution. The rows held out also choose
    the epoch, but none chooses that of its own residual: see `ChosenByOthers`. With several nets,
    each row's residual is that of the nets that were not trained with it, as in cross-conformal
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


class ChosenByOthers(Callback):
    """
    Keep the output of the net for each row held out, at the epoch that the other rows choose.

    That epoch has the smallest squared error of all other rows; of equal ones, the last. A row that
    helps to choose the epoch has too small an error there. So its error must come from an epoch
    that it has not helped to choose, as in the jackknife.

    Parameters
    ----------
    X : (n, n_inputs) float32 array
        The rows held out.
    y : (n, 1) array
        Their targets, scaled as the net learns them.
    weights : (n,) float64 array or None

    Attributes
    ----------
    outputs : (n,) float32 array

    References
    ----------
    Barber, Candes, Ramdas and Tibshirani, *Predictive inference with the jackknife+*, Annals of
    Statistics 49, 2021.
    """

    def __init__(self, X: npt.NDArray[np.float32], y: Array, weights: Numbers | None) -> None:
        self.X, self.y = X, y[:, 0]
        self.weights = 1.0 if weights is None else weights
        self.outputs = np.zeros(len(X), np.float32)
        self._smallest = np.full(len(X), np.inf)

    def on_epoch_end(self, trainer: Any, epoch: int, logs: dict[str, float]) -> None:
        """Take over the outputs of rows for which no epoch was better so far."""
        outputs = trainer.predict(self.X)[:, 0]
        error = outputs.astype(np.float64) - self.y
        errors = self.weights * error * error
        of_others = elementary.total(errors) - errors
        better = of_others <= self._smallest
        self._smallest[better] = of_others[better]
        self.outputs[better] = outputs[better]
