"""
Metrics: numbers that say how good predictions are.

Each metric is a function of the targets and the predictions of some samples:

- ``y``: (n_samples, n_outputs) array-like, or (n_samples,) for one output. Where there are several
  outputs it may hold class labels 0, 1, ..., (n_samples,). `accuracy` and `log_loss` also take a
  column of labels, (n_samples, 1). All numbers are finite.
- ``prediction``: (n_samples, n_outputs) array-like, or (n_samples,) for one output. Predictions of
  "gaussian_nll" have twice as many columns as there are targets. Metrics of regression use their
  first half, the means, and need 2-dimensional ``y``.

Lists, data frames and arrays of any real dtype are allowed, and are never changed. If a prediction
is nan, so is every metric. Any other shapes, and no samples at all, raise a ValueError that names
both shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from jitprop import checks, elementary
from jitprop._types import Array
from jitprop.checks import quoted
from jitprop.data import cast
from jitprop.training.history import VALIDATION

Metric: TypeAlias = Callable[[Array, Array], float]

RESERVED = ("loss", "learning_rate", "seconds")
"""The names of other numbers of an epoch, which no metric may have."""


class _Pair(NamedTuple):
    """Targets and predictions of the same samples, checked and cast."""

    y: Array
    """(n_samples, n_outputs) float64; or (n_samples,) int64 labels."""
    prediction: Array
    """(n_samples, n_outputs), in the dtype that was passed if it is a float's, else float64."""

    def rows(self) -> tuple[Array, Array]:
        """Both as float64, (n_samples, n_outputs) each. Labels are one-hot encoded."""
        y = np.eye(self.prediction.shape[1])[self.y] if self.y.ndim == 1 else self.y
        return np.ascontiguousarray(y), np.ascontiguousarray(self.prediction, np.float64)


def _pair(y: npt.ArrayLike, prediction: npt.ArrayLike, classes: bool) -> _Pair:
    """
    Check and cast the arguments of a metric.

    ``classes`` says that the metric is one of classification. Then a column of targets may hold
    labels. Otherwise the predictions may be those of "gaussian_nll".
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
                    f"{error}: y of shape {targets.shape} is taken as labels, because prediction "
                    f"has shape {outputs.shape}"
                ) from None
            return _Pair(labels.astype(np.int64), column)
        if not classes and 2 * rows.shape[1] == k:
            return _Pair(targets, column[:, : k // 2])
    raise ValueError(
        "y and prediction must be for the same samples, at least one: both (n_samples, n_outputs), "
        "or (n_samples,) for one output or class labels; "
        f"got y of shape {targets.shape} and prediction of shape {outputs.shape}"
    )


def _beyond_0_to_1(y: Array) -> bool:
    """Whether some targets cannot be probabilities; labels, which are 1-dimensional, can be."""
    return y.ndim > 1 and bool(y.min() < 0 or y.max() > 1)


def _no_classes(name: str, y: Array) -> ValueError:
    return ValueError(
        f"{name} needs labels, or targets from 0 to 1; these are from {y.min():g} to {y.max():g}. "
        "For regression use mse, mae or r2"
    )


def mse(y: npt.ArrayLike, prediction: npt.ArrayLike) -> float:
    """
    Mean squared error: the mean of (a - y)**2 over samples and outputs.

    Parameters
    ----------
    y, prediction : array-like
        See `jitprop.metrics`.

    Raises
    ------
    TypeError, ValueError
        For other arguments than `jitprop.metrics` describes.

    Examples
    --------
    >>> from jitprop import metrics
    >>> metrics.mse([1.0, 2.0], [1.0, 4.0])
    2.0
    """
    targets, a = _pair(y, prediction, classes=False).rows()
    return elementary.mean(np.square(a - targets))


def mae(y: npt.ArrayLike, prediction: npt.ArrayLike) -> float:
    """
    Mean absolute error: the mean of abs(a - y) over samples and outputs.

    Parameters
    ----------
    y, prediction : array-like
        See `jitprop.metrics`.

    Raises
    ------
    TypeError, ValueError
        For other arguments than `jitprop.metrics` describes.

    Examples
    --------
    >>> from jitprop import metrics
    >>> metrics.mae([1.0, 2.0], [1.0, 4.0])
    1.0
    """
    targets, a = _pair(y, prediction, classes=False).rows()
    return elementary.mean(np.abs(a - targets))


def r2(y: npt.ArrayLike, prediction: npt.ArrayLike) -> float:
    """
    Coefficient of determination: 1 - sum (a - y)**2 / sum (y - mean y)**2, averaged over outputs.

    An output whose targets are all equal scores 1 if all predictions are exact, else 0.

    Parameters
    ----------
    y, prediction : array-like
        See `jitprop.metrics`.

    Raises
    ------
    TypeError, ValueError
        For other arguments than `jitprop.metrics` describes.

    Examples
    --------
    >>> from jitprop import metrics
    >>> metrics.r2([1.0, 2.0, 3.0], [1.0, 2.0, 2.0])
    0.5
    """
    targets, a = _pair(y, prediction, classes=False).rows()
    residual = elementary.totals(np.square(a - targets))
    means = elementary.totals(targets) / len(targets)
    total = elementary.totals(np.square(targets - means))
    varies = total > 0
    scores = np.where(residual > 0, 0.0, 1.0)
    scores[varies] = 1 - residual[varies] / total[varies]
    scores[np.isnan(residual)] = np.nan
    return elementary.mean(scores)


def accuracy(y: npt.ArrayLike, prediction: npt.ArrayLike) -> float:
    """
    Accuracy: the share of the samples whose predicted class is right.

    The predicted class is that of the largest output. With one output it is 1 if the output is at
    least 0.5, else 0.

    Parameters
    ----------
    y, prediction : array-like
        See `jitprop.metrics`.

    Raises
    ------
    TypeError, ValueError
        For other arguments than `jitprop.metrics` describes, and for targets that cannot be
        classes: with more than two values, some of them below 0 or above 1.

    Examples
    --------
    >>> from jitprop import metrics
    >>> metrics.accuracy([0, 2], [[0.8, 0.1, 0.1], [0.1, 0.5, 0.4]])
    0.5
    """
    targets, a = _pair(y, prediction, classes=True)
    if _beyond_0_to_1(targets) and np.unique(targets).size > 2:
        raise _no_classes("accuracy", targets)
    if np.isnan(a).any():
        return float("nan")
    if a.shape[1] == 1:
        return elementary.mean((a >= 0.5) == (targets >= 0.5))
    label = targets if targets.ndim == 1 else targets.argmax(axis=1)
    return elementary.mean(a.argmax(axis=1) == label)


def log_loss(y: npt.ArrayLike, prediction: npt.ArrayLike) -> float:
    """
    Log loss: the mean of -sum y log a over the samples.

    With one output it is the mean of -y log a - (1 - y) log(1 - a). As in scikit-learn, a is first
    clipped to epsilon ... 1 - epsilon, with the epsilon of the predictions' dtype.

    Parameters
    ----------
    y, prediction : array-like
        See `jitprop.metrics`.

    Raises
    ------
    TypeError, ValueError
        For other arguments than `jitprop.metrics` describes, and for targets that are neither
        labels nor from 0 to 1.

    Examples
    --------
    >>> from jitprop import metrics
    >>> round(metrics.log_loss([0, 1], [[1.0, 0.0], [0.5, 0.5]]), 6)  # log(2) / 2
    0.346574
    """
    pair = _pair(y, prediction, classes=True)
    if _beyond_0_to_1(pair.y):
        raise _no_classes("log_loss", pair.y)
    epsilon = np.finfo(pair.prediction.dtype).eps
    targets, a = pair.rows()
    if a.shape[1] == 1:
        targets, a = np.hstack([targets, 1 - targets]), np.hstack([a, 1 - a])
    counted = (targets != 0) | np.isnan(a)
    logs = np.zeros_like(a)
    logs[counted] = elementary.log(np.clip(a[counted], epsilon, 1 - epsilon))
    return -elementary.mean((targets * logs).sum(axis=1))


NAMED: dict[str, Metric] = {
    "mse": mse,
    "mae": mae,
    "r2": r2,
    "accuracy": accuracy,
    "log_loss": log_loss,
}


def resolve(metrics: Any, validation_alone: bool = False) -> dict[str, Metric]:
    """
    Check `Trainer.fit`'s ``metrics``, one or a list of them, and return them by their names.

    With ``validation_alone``, a known name may begin with "validation_". Such a metric is to be
    computed on the validation data alone.

    Raises
    ------
    TypeError, ValueError
        For anything else, and for a name that another metric or number of an epoch has.
    """
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
            alone = validation_alone and isinstance(metric, str) and metric.startswith(VALIDATION)
            known = [VALIDATION * alone + name for name in NAMED]
            name = checks.choice(f"metrics[{i}]", metric, tuple(known))
            metric = NAMED[name.removeprefix(VALIDATION)]
        base = name.removeprefix(VALIDATION)
        own = NAMED.get(base) is not metric and name != base
        if own or name in RESERVED or base in made or VALIDATION + base in made:
            raise ValueError(
                f"metrics[{i}] has the name {quoted(name)}, which another number of an epoch has"
            )
        made[name] = metric
    return made
