"""How good a model is: measures of its predictions, in units a person knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from jitprop import metrics
from jitprop._types import Array
from jitprop.cli.targets import Classes, Target

Scores: TypeAlias = Mapping[str, Mapping[str, float]]
"""Of each measure, its value in each part of the table."""


def measure(target: Target, y: npt.NDArray[np.float64], outputs: Array) -> dict[str, float]:
    """
    Measures of some rows.

    Parameters
    ----------
    target : Target
    y : (n_rows,) float64 array
        As `Target.encode` makes it.
    outputs : (n_rows, n_outputs) array
        The net's.

    Returns
    -------
    dict
        As `jitprop.metrics` defines them. Classes: "accuracy" and "log loss". A quantity: "mean
        absolute error" and "root mean squared error", in its units, and "R2".
    """
    if isinstance(target, Classes):
        truth = y.astype(np.intp) if target.n_outputs > 1 else y[:, None]
        return {
            "accuracy": metrics.accuracy(truth, outputs),
            "log loss": metrics.log_loss(truth, outputs),
        }
    truth = y[:, None]
    return {
        "mean absolute error": metrics.mae(truth, outputs) * target.spread,
        "root mean squared error": float(np.sqrt(metrics.mse(truth, outputs))) * target.spread,
        "R2": metrics.r2(truth, outputs),
    }


def baseline(target: Target, y: npt.NDArray[np.float64], n_rows: int) -> Array:
    """Outputs of a net that has learned the mean of ``y``, or the share of each class, alone."""
    if isinstance(target, Classes):
        shares = np.bincount(y.astype(np.intp), minlength=len(target.labels)) / len(y)
        row = shares[1:] if target.n_outputs == 1 else shares
    else:
        row = y.mean(keepdims=True)
    return np.tile(row, (n_rows, 1))
