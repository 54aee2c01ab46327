"""How good a model is: measures of its predictions, in units a person knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from jitprop import metrics
from jitprop._types import Array
from jitprop.cli import stored
from jitprop.cli.targets import LARGEST, Classes, Target

Scores: TypeAlias = Mapping[str, Mapping[str, float]]
"""Of each measure, its value in each part of the table."""

MEASURES = "accuracy", "log loss", "mean absolute error", "root mean squared error", "R2"
TRAINING, VALIDATION, BASELINE = PARTS = "training", "validation", "baseline"


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
    rmse = float(np.sqrt(metrics.mse(truth, outputs)))
    return {
        # Of huge targets an error may be beyond float64, and a model file holds no inf.
        "mean absolute error": min(metrics.mae(truth, outputs) * target.spread, LARGEST),
        "root mean squared error": min(rmse * target.spread, LARGEST),
        "R2": metrics.r2(truth, outputs),
    }


def from_json(item: Mapping[str, Any]) -> Scores:
    """
    Scores from a model file.

    Raises
    ------
    ValueError
        If this is not what `measure` made.
    """
    return {
        measure: {
            part: stored.number(item[measure], part)
            for part in stored.names(item[measure], PARTS, f"scores of {measure!r}")
        }
        for measure in stored.names(item, MEASURES, "scores")
    }


def baseline(target: Target, y: npt.NDArray[np.float64], n_rows: int) -> Array:
    """Outputs of a net that has learned the mean of ``y``, or the share of each class, alone."""
    if isinstance(target, Classes):
        shares = np.bincount(y.astype(np.intp), minlength=len(target.labels)) / len(y)
        row = shares[1:] if target.n_outputs == 1 else shares
    else:
        row = y.mean(keepdims=True)
    return np.tile(row, (n_rows, 1))
