"""
Metrics: what a prediction is worth, by name.

Each is a function of the targets and the predictions of some samples:

- ``y``: (n_samples, n_outputs) array-like, (n_samples,) for one output, or (n_samples,) class
  labels 0, 1, ... where there are several outputs. Accuracy and the log loss take a column of
  labels, (n_samples, 1), too. All finite.
- ``prediction``: (n_samples, n_outputs) array-like, or (n_samples,) for one output. Predictions of
  "gaussian_nll", twice as many columns as there are targets, count by their first half, the means;
  their targets are 2-dimensional.

Lists, data frames and arrays of any real dtype will do, and nothing is written to. A nan in the
predictions makes any metric nan. Any other pair of shapes, and no samples at all, are a ValueError
that names both shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from jitprop import checks
from jitprop._types import Array
from jitprop.checks import quoted
from jitprop.data import cast
from jitprop.training.history import VALIDATION

Metric: TypeAlias = Callable[[Array, Array], float]

TAKEN = ("loss", "learning_rate", "seconds")
"""Names of the other numbers of an epoch."""


class _Pair(NamedTuple):
    """Targets and predictions of the same samples, checked and cast."""

    y: Array
    """(n_samples, n_outputs) float64; or (n_samples,) int64 labels."""
    prediction: Array
    """(n_samples, n_outputs), of the dtype that it came in, if that is a float's."""

    def rows(self) -> tuple[Array, Array]:
        """Both as float64 rows: labels become rows of 0 with one 1."""
        y = np.eye(self.prediction.shape[1])[self.y] if self.y.ndim == 1 else self.y
        return y, self.prediction.astype(np.float64)


def _pair(y: npt.ArrayLike, prediction: npt.ArrayLike, classes: bool) -> _Pair:
    """
    Check and cast what a metric was given.

    ``classes``: the metric is one of classes, so a column of whole numbers holds labels; else the
    predictions may be those of "gaussian_nll".
    """
    targets, outputs = cast.real("y", y), cast.real("prediction", prediction)
    if outputs.dtype.kind != "f":
        outputs = outputs.astype(np.float64)
    column = outputs.reshape(-1, 1) if outputs.ndim == 1 else outputs
    rows = targets.reshape(-1, 1) if targets.ndim == 1 else targets
    if rows.ndim == column.ndim == 2 and len(rows) == len(column) > 0 and rows.shape[1] > 0:
        n, k = column.shape
        targets = cast.finite("y", targets, np.dtype(np.float64))
        if rows.shape[1] == k:
            return _Pair(targets.reshape(n, k), column)
        if k > 1 and (targets.ndim == 1 or (classes and rows.shape[1] == 1)):
            try:
                labels = cast.class_labels(targets.reshape(-1), k)
            except ValueError as error:
                raise ValueError(
                    f"{error}: y of shape {targets.shape} are labels where prediction is of shape "
                    f"{outputs.shape}"
                ) from None
            return _Pair(labels.astype(np.int64), column)
        if not classes and 2 * rows.shape[1] == k:
            return _Pair(targets, column[:, : k // 2])
    raise ValueError(
        "y and prediction must be of the same samples, at least one: both (n_samples, n_outputs), "
        "or (n_samples,) for one output or class labels; "
        f"got y of shape {targets.shape} and prediction of shape {outputs.shape}"
    )


def _beyond_0_to_1(y: Array) -> bool:
    """Whether targets, not labels, are no probabilities."""
    return y.ndim > 1 and bool(y.min() < 0 or y.max() > 1)


def _no_classes(name: str, y: Array) -> ValueError:
    return ValueError(
        f"{name} needs labels, or targets from 0 to 1; these are from {y.min():g} to {y.max():g}. "
        "For regression there are mse, mae and r2"
    )


def mse(y: npt.ArrayLike, prediction: npt.ArrayLike) -> float:
    """
    Mean squared error: the mean of (a - y)**2 over samples and outputs.

    Raises
    ------
    TypeError, ValueError
        For what is not as `jitprop.metrics` says.
    """
    targets, a = _pair(y, prediction, classes=False).rows()
    return float(np.mean((a - targets) ** 2))


def mae(y: npt.ArrayLike, prediction: npt.ArrayLike) -> float:
    """
    Mean absolute error: the mean of abs(a - y) over samples and outputs.

    Raises
    ------
    TypeError, ValueError
        For what is not as `jitprop.metrics` says.
    """
    targets, a = _pair(y, prediction, classes=False).rows()
    return float(np.mean(np.abs(a - targets)))


def r2(y: npt.ArrayLike, prediction: npt.ArrayLike) -> float:
    """
    1 - sum (a - y)**2 / sum (y - mean y)**2 of each output, and their mean.

    An output whose targets are all equal counts 1 if it is met exactly, else 0.

    Raises
    ------
    TypeError, ValueError
        For what is not as `jitprop.metrics` says.
    """
    targets, a = _pair(y, prediction, classes=False).rows()
    residual = ((a - targets) ** 2).sum(axis=0)
    total = ((targets - targets.mean(axis=0)) ** 2).sum(axis=0)
    varies = total > 0
    scores = np.where(residual > 0, 0.0, 1.0)
    scores[varies] = 1 - residual[varies] / total[varies]
    scores[np.isnan(residual)] = np.nan
    return float(scores.mean())


def accuracy(y: npt.ArrayLike, prediction: npt.ArrayLike) -> float:
    """
    Share of the samples whose class is right.

    The class is the largest output's; with one output it is 1 from 0.5 on, else 0.

    Raises
    ------
    TypeError, ValueError
        For what is not as `jitprop.metrics` says; and for targets that are no classes: more than
        two values, and not all from 0 to 1.
    """
    targets, a = _pair(y, prediction, classes=True)
    if _beyond_0_to_1(targets) and np.unique(targets).size > 2:
        raise _no_classes("accuracy", targets)
    if np.isnan(a).any():
        return float("nan")
    if a.shape[1] == 1:
        return float(np.mean((a >= 0.5) == (targets >= 0.5)))
    label = targets if targets.ndim == 1 else targets.argmax(axis=1)
    return float(np.mean(a.argmax(axis=1) == label))


def log_loss(y: npt.ArrayLike, prediction: npt.ArrayLike) -> float:
    """
    Mean of -sum y log a over the samples; with one output, of -y log a - (1 - y) log(1 - a).

    No a counts as nearer to 0 or 1 than the predictions' dtype tells apart at 1.

    Raises
    ------
    TypeError, ValueError
        For what is not as `jitprop.metrics` says; and for targets that are no probabilities, from
        0 to 1, nor labels.
    """
    pair = _pair(y, prediction, classes=True)
    if _beyond_0_to_1(pair.y):
        raise _no_classes("log_loss", pair.y)
    epsilon = np.finfo(pair.prediction.dtype).eps
    targets, a = pair.rows()
    if a.shape[1] == 1:
        targets, a = np.hstack([targets, 1 - targets]), np.hstack([a, 1 - a])
    return float(-(targets * np.log(np.clip(a, epsilon, 1 - epsilon))).sum(axis=1).mean())


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
            raise ValueError(
                f"metrics[{i}] is called {quoted(name)}, a name that another number has"
            )
        made[name] = metric
    return made
