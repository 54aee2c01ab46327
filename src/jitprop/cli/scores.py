"""Scores of a model's predictions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from jitprop import elementary, metrics
from jitprop._types import Array
from jitprop.cli.targets import LARGEST, Classes, Quantity, Target
from jitprop.files import stored

Scores: TypeAlias = Mapping[str, Mapping[str, float]]
"""For each score, its value on each part of the table."""

MEASURES = {
    Classes.task: {"accuracy": (0.0, 1.0), "log loss": (0.0, 1000.0)},
    Quantity.task: {
        "mean absolute error": (0.0, LARGEST),
        "root mean squared error": (0.0, LARGEST),
        "R2": (-LARGEST, 1.0),
    },
}
"""For each task its scores, with the lowest and the highest possible value of each."""

LOSSES = {Classes.task: "log loss", Quantity.task: "root mean squared error"}
"""For each task the score that is compared: the lower, the better."""

TRAINING, VALIDATION, BASELINE = PARTS = "training", "validation", "baseline"

BOOSTING = "boosted trees"
"""The name of one more part, which is not in model files."""


def measure(target: Target, y: npt.NDArray[np.float64], outputs: Array) -> dict[str, float]:
    """
    Return the scores of some rows.

    Parameters
    ----------
    target : Target
    y : (n_rows,) float64 array
        The targets, from `Target.encode`.
    outputs : (n_rows, n_outputs) array
        The net's outputs. Two classes may have one, the probability of the second.

    Returns
    -------
    dict
        The scores as `jitprop.metrics` defines them. Classification has "accuracy" and "log loss".
        Regression has "mean absolute error" and "root mean squared error", in the target's units,
        and "R2".
    """
    if isinstance(target, Classes):
        truth = y.astype(np.intp) if outputs.shape[1] > 1 else y[:, None]
        return {
            "accuracy": metrics.accuracy(truth, outputs),
            "log loss": metrics.log_loss(truth, outputs),
        }
    truth = y[:, None]
    rmse = float(np.sqrt(metrics.mse(truth, outputs)))
    return {
        # Errors of huge targets may overflow float64, and a model file cannot hold inf.
        "mean absolute error": min(metrics.mae(truth, outputs) * target.spread, LARGEST),
        "root mean squared error": min(rmse * target.spread, LARGEST),
        "R2": metrics.r2(truth, outputs),
    }


def from_json(item: Mapping[str, Any], task: str) -> Scores:
    """
    Restore the scores of a task from a model file.

    A model whose training was interrupted before the scores has none.

    Raises
    ------
    ValueError
        If `measure` did not make these.
    """
    limits = MEASURES[task]
    made = {
        measure: {
            part: stored.within(item[measure], part, *limits[measure])
            for part in stored.names(item[measure], PARTS, f"scores of {measure!r}")
        }
        for measure in stored.names(item, limits, "scores")
    }
    parts = {frozenset(row) for row in made.values()}
    if made and (made.keys() != limits.keys() or len(parts) > 1):
        raise ValueError(f"scores must be {', '.join(limits)}, each of the same rows")
    if any({TRAINING, BASELINE} - each for each in parts):
        raise ValueError(f"scores must be of {TRAINING} and {BASELINE}")
    return made


def baseline(target: Target, y: npt.NDArray[np.float64], n_rows: int) -> Array:
    """Return the outputs of a net that predicts the mean of ``y``, or the shares of the classes."""
    if isinstance(target, Classes):
        shares = np.bincount(y.astype(np.intp), minlength=len(target.labels)) / len(y)
        row = shares[1:] if target.n_outputs == 1 else shares
    else:
        row = np.array([elementary.mean(y)])
    return np.tile(row, (n_rows, 1))
