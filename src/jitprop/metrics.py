"""Metrics: what a prediction is worth, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from jitprop import checks
from jitprop._types import Array
from jitprop.history import VALIDATION

Metric: TypeAlias = Callable[[Array, Array], float]

TAKEN = ("loss", "learning_rate", "seconds")
"""Names of the other numbers of an epoch."""


def _rows(y: Array, prediction: Array) -> tuple[Array, Array]:
    """Targets and predictions as float64 rows: labels become rows of 0 with one 1."""
    if y.ndim == 1:
        y = np.eye(prediction.shape[1])[y]
    # gaussian_nll: behind the means, which are meant here, stand the log-variances.
    return y.astype(np.float64), prediction[:, : y.shape[1]].astype(np.float64)


def _beyond_0_to_1(y: Array) -> bool:
    """Whether targets, not labels, are no probabilities."""
    return y.ndim > 1 and bool(y.min() < 0 or y.max() > 1)


def _no_classes(name: str, y: Array) -> ValueError:
    return ValueError(
        f"{name} needs labels, or targets from 0 to 1; these are from {y.min():g} to {y.max():g}. "
        "For regression there are mse, mae and r2"
    )


def mse(y: Array, prediction: Array) -> float:
    """Mean squared error: the mean of (a - y)**2 over samples and outputs."""
    y, a = _rows(y, prediction)
    return float(np.mean((a - y) ** 2))


def mae(y: Array, prediction: Array) -> float:
    """Mean absolute error: the mean of abs(a - y) over samples and outputs."""
    y, a = _rows(y, prediction)
    return float(np.mean(np.abs(a - y)))


def r2(y: Array, prediction: Array) -> float:
    """
    1 - sum (a - y)**2 / sum (y - mean y)**2 of each output, and their mean.

    An output whose targets are all equal counts 1 if it is met exactly, else 0.
    """
    y, a = _rows(y, prediction)
    residual = ((a - y) ** 2).sum(axis=0)
    total = ((y - y.mean(axis=0)) ** 2).sum(axis=0)
    varies = total > 0
    scores = np.where(residual > 0, 0.0, 1.0)
    scores[varies] = 1 - residual[varies] / total[varies]
    return float(scores.mean())


def accuracy(y: Array, prediction: Array) -> float:
    """
    Share of the samples whose class is right.

    The class is the largest output's; with one output it is 1 from 0.5 on, else 0.

    Raises
    ------
    ValueError
        For targets that are no classes: more than two values, and not all from 0 to 1.
    """
    if _beyond_0_to_1(y) and np.unique(y).size > 2:
        raise _no_classes("accuracy", y)
    if prediction.shape[1] == 1:
        return float(np.mean((prediction >= 0.5) == (y >= 0.5)))
    label = y if y.ndim == 1 else y.argmax(axis=1)
    return float(np.mean(prediction.argmax(axis=1) == label))


def log_loss(y: Array, prediction: Array) -> float:
    """
    Mean of -sum y log a over the samples; with one output, of -y log a - (1 - y) log(1 - a).

    No a counts as nearer to 0 or 1 than the predictions' dtype tells apart at 1.

    Raises
    ------
    ValueError
        For targets that are no probabilities, from 0 to 1, nor labels.
    """
    if _beyond_0_to_1(y):
        raise _no_classes("log_loss", y)
    epsilon = np.finfo(prediction.dtype).eps
    y, a = _rows(y, prediction)
    if prediction.shape[1] == 1:
        y, a = np.hstack([y, 1 - y]), np.hstack([a, 1 - a])
    return float(-(y * np.log(np.clip(a, epsilon, 1 - epsilon))).sum(axis=1).mean())


NAMED: dict[str, Metric] = {
    "mse": mse,
    "mae": mae,
    "r2": r2,
    "accuracy": accuracy,
    "log_loss": log_loss,
}


def resolve(metrics: Any) -> dict[str, Metric]:
    """`Trainer.fit`'s ``metrics``, one or a list of them, by their names."""
    if isinstance(metrics, str) or callable(metrics):
        metrics = [metrics]
    if not isinstance(metrics, Sequence):
        raise TypeError(
            f"metrics must be a list of names or functions (y, prediction); "
            f"got {checks.shown(metrics)}"
        )
    made: dict[str, Metric] = {}
    for i, metric in enumerate(metrics):
        if callable(metric):
            name = checks.name_of(metric)
        else:
            name = checks.choice(f"metrics[{i}]", metric, tuple(NAMED))
            metric = NAMED[name]
        if name in made or name in TAKEN or name.startswith(VALIDATION):
            raise ValueError(f"metrics[{i}] is called {name!r}, a name that another number has")
        made[name] = metric
    return made
