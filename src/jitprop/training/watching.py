"""What follows each epoch of a fit: the validation loss, the metrics and the callbacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from jitprop import checks, hints
from jitprop._types import Array
from jitprop.backends import Backend
from jitprop.checks import quoted
from jitprop.data.mapped import Rows
from jitprop.data.samples import Samples
from jitprop.data.watched import Indices, Predicted, Validation
from jitprop.metrics import NAMED, Metric
from jitprop.training.callback_list import CallbackList
from jitprop.training.callbacks import Callback
from jitprop.training.evaluation import give_back, taken
from jitprop.training.history import VALIDATION, VALIDATION_LOSS
from jitprop.training.kept import Kept
from jitprop.training.model import Model


class Watch:
    """
    The measurements and callbacks of one fit.

    Parameters
    ----------
    trainer : Trainer
    backend : Backend
    model : Model
        The trainer's, whose prepared nets are used.
    training : Samples or None
        None if the training data are a stream, which passes by only once.
    validation : Samples or None
    metrics : dict of functions
        By name. Those whose names begin with "validation_" are computed on the validation data
        alone.
    callbacks : list of Callback
    before : list of Kept
        The callback states of the fit that this one resumes. Empty if it resumes none.

    Attributes
    ----------
    names : list of str
        The numbers that are measured after each epoch.
    told : tuple of str
        The numbers that a second-order method tells of each epoch.
    known : list of str
        All numbers of an epoch.

    Raises
    ------
    ValueError
        If a callback monitors a number that this fit does not have, if there are metrics but no
        samples to measure them on, or if a metric has the name of a number that is told.
    """

    def __init__(
        self,
        trainer: Any,
        backend: Backend,
        model: Model,
        training: Samples | None,
        validation: Samples | None,
        metrics: Mapping[str, Metric],
        callbacks: list[Callback],
        before: Sequence[Kept],
    ) -> None:
        self.trainer, self.metrics = trainer, metrics
        alone = [name for name in metrics if name.startswith(VALIDATION)]
        if alone and validation is None:
            raise ValueError(f"metrics has {quoted(alone[0])}, which needs validation data")
        self.scored = {
            "": {name: metric for name, metric in metrics.items() if name not in alone},
            VALIDATION: {name.removeprefix(VALIDATION): m for name, m in metrics.items()},
        }
        self._n_outputs = model.spec.layer_sizes[-1]
        self._nets, self._backend = model.nets, backend
        self.callbacks = CallbackList(
            trainer, callbacks, before, trainer.epochs_trained, self._last_logs
        )
        prepared = partial(taken, model.nets, backend, model.spec)
        self.measured = [
            (begin, prepared(samples.X, model.n_threads), samples, shown(samples.y))
            for begin, samples in (("", training), (VALIDATION, validation))
            if samples is not None and (self.scored[begin] or begin)
        ]
        if metrics and not self.measured:
            raise ValueError("metrics of a fit from batches need validation_data")
        names = [VALIDATION_LOSS] if validation is not None else []
        self.names = names + [
            begin + name for begin, *_ in self.measured for name in self.scored[begin]
        ]
        self.told = model.spec.optimizer.columns
        if taken_names := [name for name in self.told if name in metrics]:
            raise ValueError(
                f"metrics must not be named {quoted(taken_names[0])}: the optimizer tells a number "
                "of this name"
            )
        self.known = ["loss", *self.names, *self.told, "learning_rate", "seconds"]
        check_monitors(callbacks, self.known)

    def __bool__(self) -> bool:
        """Return whether there is anything to do after each epoch."""
        return bool(self.names or self.callbacks)

    def _last_logs(self) -> dict[str, float]:
        """Return the numbers of the last epoch that was trained before this fit."""
        columns = self.trainer.history.columns
        return {
            name: float(columns[name][-1])
            for name in self.known
            if name in columns and len(columns[name])
        }

    def close(self) -> None:
        """Give the prepared nets back."""
        for _, evaluation, *_ in self.measured:
            self._backend.close(evaluation.net)
            give_back(self._nets, evaluation)

    def validation(self) -> Validation | None:
        """
        Return the validation samples as a backend takes them.

        None if there are none, if they are in a file, or if none of them counts.
        """
        for begin, evaluation, samples, _ in self.measured:
            if begin and not samples.in_files:
                weights = samples.weights
                if weights is None or weights.any():
                    return evaluation.validation(samples)
        return None

    def predicted(self) -> list[Predicted] | None:
        """
        Return the samples that metrics need predictions of.

        None if some are in a file, or if a metric is a function of the user's own.
        """
        if not self.metrics:
            return []
        own = any(NAMED.get(n) is not metric for n, metric in self.scored[VALIDATION].items())
        if own or any(samples.in_files for _, _, samples, _ in self.measured):
            return None
        return [net.predicted(samples.X[:]) for _, net, samples, _ in self.measured]

    def classes(self) -> Indices | None:
        """
        Return the class of each validation sample, (n,), for a backend that counts right ones.

        None if their accuracy is not measured, or if their targets have not one column for each
        output.
        """
        validated = bool(self.measured) and self.measured[-1][0] == VALIDATION
        if not validated or self.scored[VALIDATION].get("accuracy") is not NAMED["accuracy"]:
            return None
        y, k = self.measured[-1][-1], self._n_outputs
        if y.ndim == 1:
            return y if k > 1 else None
        if y.shape[1] != k:
            return None
        made = y.argmax(axis=1) if k > 1 else y[:, 0] >= 0.5  # as `jitprop.metrics.accuracy`
        return made.astype(np.int64)

    def measure(self, params: Array) -> dict[str, float]:
        """Return the validation loss and the metrics for these parameters."""
        found = {}
        for begin, net, samples, y in self.measured:
            if begin:
                found[VALIDATION_LOSS] = net.loss(params, samples)
            if self.scored[begin]:
                found |= self.scores(begin, y, net.predict(params, samples.X))
        return found

    def scores(self, begin: str, y: Array, prediction: Array) -> dict[str, float]:
        """Return the metrics of these predictions, by names that begin with ``begin``."""
        prediction = read_only(prediction)
        with np.errstate(over="ignore", invalid="ignore"):  # the loss reports divergence
            return {
                begin + name: as_number(name, metric(y, prediction))
                for name, metric in self.scored[begin].items()
            }


def check_monitors(callbacks: Sequence[Callback], known: Sequence[str]) -> None:
    """Raise a ValueError if a callback monitors a number that the fit does not have."""
    for callback in callbacks:
        monitor = getattr(callback, "monitor", None)
        if isinstance(monitor, str):
            check_monitor(type(callback).__name__, monitor, known)


def check_monitor(who: str, monitor: str, known: Sequence[str]) -> None:
    """Raise a ValueError if ``monitor`` is not one of the numbers of this fit."""
    if monitor not in known:
        unvalidated = monitor.startswith(VALIDATION) and VALIDATION + "loss" not in known
        needed = "; it needs validation data" if unvalidated else ""
        if meant := hints.word("monitor", monitor):
            needed = f": {meant}"
        raise ValueError(
            f"{who} monitors {quoted(monitor)}, which this fit does not have{needed}; "
            f"it has {', '.join(known)}"
        )


def read_only(array: Array) -> Array:
    """Make the array read-only, so that no metric can change what the next one gets."""
    array.flags.writeable = False
    return array


def shown(y: Rows) -> Array:
    """Return the targets as metrics get them. They are read-only, and labels are ints."""
    return read_only(y[:].astype(np.int64) if y.ndim == 1 else y[:])


def as_number(name: str, value: Any, what: str = "metric") -> float:
    """Return the result of a metric or scorer, a real number or an array of one, as a float."""
    came = checks.shown(value)
    try:
        if isinstance(value, np.ndarray):
            came = f"an array of shape {value.shape}"
            value = value.item()
        if not isinstance(value, str | bytes):  # float() would accept text
            return float(value)
    except (TypeError, ValueError):
        pass
    raise TypeError(f"{what} {quoted(name)} must return a number; got {came}")
