"""Tasks: each trains and measures some members of a fleet, in whatever process it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from jitprop._types import Array
from jitprop.backends import threads
from jitprop.fleet import Fleet, choice
from jitprop.fleet.data import samples
from jitprop.metrics import Metric
from jitprop.net.spec import Spec
from jitprop.sweeps.folds import Fold
from jitprop.sweeps.settings import Group, Setting
from jitprop.training.callbacks import EarlyStopping
from jitprop.training.history import VALIDATION, VALIDATION_LOSS, Numbers
from jitprop.training.watching import as_number, read_only, shown

Given: TypeAlias = tuple[Array, Array, Array | None]
"""X, y, and weights or None: the same for all members, or with a first dimension for members."""

Found: TypeAlias = dict[str, npt.NDArray[Any]]
"""What was measured, by name, with a number for each member."""

LANES = 16
"""The number of members that fill a vector in float32."""

TASK_WORK = 2e9
"""The multiply-adds of a task: they take 0.1 to 1 s, far longer than sending it to a worker."""

TASK_BYTES = 1 << 28
"""The bytes of memory that a task may take."""


@dataclass(frozen=True)
class Data:
    """
    What all tasks need. It is sent once to each worker.

    Attributes
    ----------
    X : (n, n_inputs) array
    y : (n, n_targets) array
    weights : (n,) array or None
    folds : list of (rows to train on, rows held out)
        Empty if there are validation data.
    validation : (X, y, weights), or None
        Validation data, which take the place of folds.
    """

    X: Array
    y: Array
    weights: Array | None
    folds: list[Fold]
    validation: Given | None

    def sizes(self) -> list[tuple[int, int]]:
        """The numbers of samples that are trained on and held out, for each fold."""
        if self.validation is not None:
            return [(len(self.X), len(self.validation[0]))]
        return [(len(train), len(held_out)) for train, held_out in self.folds]

    def of(self, folds: list[int]) -> tuple[Given, Given]:
        """
        Return the samples that members are trained on, and those that are held out.

        ``folds`` has the number of each member's fold. If all are the same, the samples are common
        to all members; otherwise they have a first dimension for members.
        """
        if self.validation is not None:
            return (self.X, self.y, self.weights), self.validation
        rows = [self.folds[i] for i in ([folds[0]] if len(set(folds)) == 1 else folds)]
        train, held_out = (np.stack(part) for part in zip(*rows, strict=True))
        if len(rows) == 1:
            train, held_out = train[0], held_out[0]
        return self._take(train), self._take(held_out)

    def _take(self, rows: Any) -> Given:
        weights = None if self.weights is None else self.weights[rows]
        return self.X[rows], self.y[rows], weights


class Task(NamedTuple):
    """Some members of a fleet, and what to do with them."""

    settings: list[int]
    """The index of each member's setting."""
    folds: list[int]
    """The index of each member's fold."""
    shared: Setting
    """Arguments of `Fleet` that are the same for all members."""
    varied: dict[str, Any]
    """Arguments of `Fleet` that are lists with a value for each member."""
    epochs: int
    metrics: Mapping[str, Metric]
    stopping: EarlyStopping | None


def cut(
    group: Group,
    spec: Spec,
    data: Data,
    metrics: Mapping[str, Metric],
    stopping: EarlyStopping | None,
) -> list[Task]:
    """Cut a group into tasks. Results do not depend on where it is cut."""
    sizes, made = data.sizes(), []
    n_threads = group.shared.get("n_threads") or threads.available()
    # Members of one fold share their samples. If a fold has too few members to fill a vector, folds
    # are trained together.
    one_fold = len(group.indices) >= LANES
    for size in dict.fromkeys(sizes):
        equal = [i for i, other in enumerate(sizes) if other == size]
        for folds in [[i] for i in equal] if one_fold else [equal]:
            members = [(j, i) for j in range(len(group.indices)) for i in folds]
            shared = data.validation is not None or len(folds) == 1
            n = _members(spec, *size, group.epochs, shared, n_threads)
            for first in range(0, len(members), n):
                some = members[first : first + n]
                made.append(
                    Task(
                        [group.indices[j] for j, _ in some],
                        [i for _, i in some],
                        group.shared,
                        {
                            name: [group.varied[j][name] for j, _ in some]
                            for name in group.varied[0]
                        },
                        group.epochs,
                        metrics,
                        stopping,
                    )
                )
    return made


def _members(spec: Spec, n: int, n_held_out: int, epochs: int, shared: bool, n_threads: int) -> int:
    """Return how many members a task gets, each with n samples to train on."""
    work = spec.work(n) * epochs
    most = max(1, int(TASK_WORK / work))
    if choice.fits_lanes(spec, n):
        most = max(LANES, most // LANES * LANES)
    width = spec.layer_sizes[0] + spec.n_targets
    numbers = (
        3 * spec.n_parameters * (1 + spec.n_slots)
        + (0 if shared else (n + n_held_out) * width)
        + n_held_out * spec.layer_sizes[-1]
        + n
        + epochs
    )
    return max(1, min(most * n_threads, TASK_BYTES // (8 * numbers)))


def run(task: Task, data: Data) -> Found:
    """
    Train the members of a task and measure them.

    Returns
    -------
    dict of (members,) arrays
        What `SweepResult.measured` holds. Numbers of a member that diverged are nan.
    """
    k = len(task.settings)
    fleet = Fleet(members=k, **task.shared, **task.varied)
    fleet._model.warned = True  # `sweep` warns of targets once for all settings
    training, held_out = data.of(task.folds)
    X, y, weights = training
    # Without early stopping nothing is measured after each epoch, so the backend is called once
    # for many epochs.
    if task.stopping is None:
        history = fleet._fit(X, y, task.epochs, weights, None, [])
    else:
        history = fleet._fit(X, y, task.epochs, weights, held_out, [task.stopping])
    epochs = history.epochs.astype(np.float64)
    if history.best_epoch is not None and task.stopping is not None and task.stopping.restore_best:
        epochs = np.where(history.best_epoch >= 0, history.best_epoch + 1.0, epochs)
    found = {
        "training_loss": fleet.evaluate(X, y, sample_weight=weights),
        VALIDATION_LOSS: fleet.evaluate(*held_out[:2], sample_weight=held_out[2]),
        **_measure(fleet, held_out, task.metrics),
        "epochs_trained": epochs,
    }
    diverged = np.isin(np.arange(k), list(history.diverged))
    for numbers in found.values():
        numbers[diverged] = np.nan
    return {**found, "diverged": diverged}


def _measure(fleet: Fleet, held_out: Given, metrics: Mapping[str, Metric]) -> dict[str, Numbers]:
    """Compute each metric for each member."""
    k = len(fleet)
    found = {VALIDATION + name: np.full(k, np.nan) for name in metrics}
    if metrics:
        prediction = read_only(fleet.predict(held_out[0]))
        data = samples(*held_out, fleet._model.spec, k, prediction.dtype)
        for i in range(k):
            y = shown(data.y.of(i))
            for name, metric in metrics.items():
                found[VALIDATION + name][i] = as_number(name, metric(y, prediction[i]))
    return found
