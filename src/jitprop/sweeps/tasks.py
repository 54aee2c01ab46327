"""Tasks: some members of one fleet, trained and measured wherever the task is sent."""

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
"""X, y and weights, or None: of all members, or one more dimension of them."""

Found: TypeAlias = dict[str, npt.NDArray[Any]]
"""What was measured, by name, of each member."""

LANES = 16
"""Members that fill a vector, in float32."""

TASK_WORK = 2e9
"""Multiply-adds of a task: 0.1 to 1 s, beside which its way to a worker is short."""

TASK_BYTES = 1 << 28
"""Memory that a task may take."""


@dataclass(frozen=True)
class Data:
    """
    What all tasks need: sent once to each worker.

    Attributes
    ----------
    X : (n, n_inputs) array
    y : (n, n_targets) array
    weights : (n,) array or None
    folds : list of (rows to train on, rows held out)
        None, where there are validation data.
    validation : (X, y, weights), or None
    """

    X: Array
    y: Array
    weights: Array | None
    folds: list[Fold]
    validation: Given | None

    def sizes(self) -> list[tuple[int, int]]:
        """How many samples are trained on and held out, in each fold."""
        if self.validation is not None:
            return [(len(self.X), len(self.validation[0]))]
        return [(len(train), len(held_out)) for train, held_out in self.folds]

    def of(self, folds: list[int]) -> tuple[Given, Given]:
        """What members see that belong to these folds, one number for each."""
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
    """Some members of a fleet, and what is wanted of them."""

    settings: list[int]
    folds: list[int]
    """Of each member."""
    shared: Setting
    own: dict[str, Any]
    """Lists with a value for each member."""
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
    """The tasks of a group; what they find does not depend on where it is cut."""
    sizes, made = data.sizes(), []
    n_threads = group.shared.get("n_threads") or threads.available()
    # Members of one fold share their samples; where they are too few, folds go together.
    alone = len(group.which) >= LANES
    for size in dict.fromkeys(sizes):
        equal = [i for i, other in enumerate(sizes) if other == size]
        for folds in [[i] for i in equal] if alone else [equal]:
            members = [(j, i) for j in range(len(group.which)) for i in folds]
            shared = data.validation is not None or len(folds) == 1
            n = _members(spec, *size, group.epochs, shared, n_threads)
            for first in range(0, len(members), n):
                some = members[first : first + n]
                made.append(
                    Task(
                        [group.which[j] for j, _ in some],
                        [i for _, i in some],
                        group.shared,
                        {name: [group.own[j][name] for j, _ in some] for name in group.own[0]},
                        group.epochs,
                        metrics,
                        stopping,
                    )
                )
    return made


def _members(spec: Spec, n: int, n_held_out: int, epochs: int, shared: bool, n_threads: int) -> int:
    """How many members a task gets, each with n samples."""
    work = 3 * spec.n_parameters * n * epochs
    most = max(1, int(TASK_WORK / work))
    if choice.small(spec, n):
        most = max(LANES, most // LANES * LANES)
    width = spec.layer_sizes[0] + spec.n_targets
    numbers = (
        3 * spec.n_parameters * (1 + spec.optimizer.n_slots)
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
        nan where a member diverged.
    """
    k = len(task.settings)
    fleet = Fleet(members=k, **task.shared, **task.own)
    fleet._warned = True  # by the sweep, once for all
    training, held_out = data.of(task.folds)
    X, y, weights = training
    if task.stopping is None:  # then nobody looks after each epoch: many are one call
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
    """Each metric of each member."""
    k = len(fleet)
    found = {VALIDATION + name: np.full(k, np.nan) for name in metrics}
    if metrics:
        prediction = read_only(fleet.predict(held_out[0]))
        data = samples(*held_out, fleet._spec, k, prediction.dtype)
        for i in range(k):
            y = shown(data.y.of(i))
            for name, metric in metrics.items():
                found[VALIDATION + name][i] = as_number(name, metric(y, prediction[i]))
    return found
