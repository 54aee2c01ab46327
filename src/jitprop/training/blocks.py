"""
Blocks of epochs that a backend trains and watches in one call.

A backend can compute the validation loss, and apply the rules of `EarlyStopping` and
`ReduceOnPlateau`, without coming back to Python after each epoch. For the named metrics it keeps
the predictions of each epoch, and Python computes the metrics after the block. The numbers are the
same as in blocks of one epoch.

What the rules have found is written to the callback and to the state of the net at the end of the
block. So a fit that is interrupted inside a block finds both as they were at its beginning.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jitprop.data.watched import Falling, Indices, Stopping, Watched
from jitprop.net.schedules import LearningRate, Plateau, ReduceOnPlateau, is_known
from jitprop.net.state import State
from jitprop.training.callbacks import EarlyStopping
from jitprop.training.history import VALIDATION, VALIDATION_LOSS, Record
from jitprop.training.sources import Source
from jitprop.training.watching import Watch

LOSSES = "loss", VALIDATION_LOSS
"""The numbers that a backend can always monitor."""

ACCURACY = VALIDATION + "accuracy"
"""A number that it can monitor if it is measured, and by `jitprop.metrics.accuracy`."""


MOST_EPOCHS = 1 << 62
"""In a block without metrics the number of epochs has no limit of its own."""

ROOM = 1 << 20
"""The most numbers of predictions that are kept for metrics: 8 MB."""


class Blocks:
    """
    The blocks of one fit.

    Parameters
    ----------
    watch : Watch
    source : Source

    Attributes
    ----------
    watcher : Any
        What trains the blocks, for `Source.train`. None if each epoch must be a separate call.
    most : int
        The most epochs of a block.
    """

    def __init__(self, watch: Watch, source: Source) -> None:
        self.watch = watch
        callbacks = watch.callbacks.callbacks
        self.stopping = callbacks[0] if callbacks else None
        self.watcher: Any = None
        self.most = MOST_EPOCHS
        predicted, self._classes = watch.predicted(), None
        if predicted is not None and len(callbacks) <= 1:
            validation = watch.validation()
            if VALIDATION_LOSS in watch.names and validation is None:
                return
            self._shapes = [(len(X), source.spec.layer_sizes[-1]) for _, X in predicted]
            if predicted:
                self._classes = watch.classes()
                self.most = ROOM // sum(n * k for n, k in self._shapes)
            if self.most > 0:
                self.watcher = source.watcher(validation, predicted)
        self._stopping: Stopping | None = None
        self._falling: Falling | None = None

    def serve(self, learning_rate: LearningRate) -> bool:
        """Return whether the next epochs can be trained in a block, with this learning rate."""
        monitored = LOSSES if self._classes is None else (*LOSSES, ACCURACY)
        if self.watcher is None:
            return False
        if self.stopping is not None and not is_plain(self.stopping, monitored):
            return False
        if type(learning_rate) is ReduceOnPlateau:
            return learning_rate.monitor in self.watch.known
        return is_known(learning_rate)

    def begin(
        self, state: State, learning_rate: LearningRate, record: Record, first: int, epochs: int
    ) -> None:
        """Prepare the block of so many epochs that begins with epoch ``first`` of the fit."""
        self._stopping = self._falling = None
        validation_losses = record.watched.get(VALIDATION_LOSS, np.empty(0))[first:]
        if isinstance(self.stopping, EarlyStopping):
            self._stopping = rule_of(self.stopping, state, self._classes)
        if isinstance(learning_rate, ReduceOnPlateau):
            self._falling = falling_of(learning_rate, state.plateau)
        # A fit without validation data may have an old column of the history, filled with nan.
        if VALIDATION_LOSS not in self.watch.names:
            validation_losses = np.empty(0)
        dtype = state.params.dtype
        self._predictions = [np.empty((epochs, *shape), dtype) for shape in self._shapes]
        self.watcher.begin(
            Watched(
                state.epochs,
                validation_losses,
                self._stopping,
                self._falling,
                self._predictions,
            )
        )

    def measure(self, record: Record, first: int) -> None:
        """Compute the metrics of the epochs that were counted."""
        if not self._predictions:
            return
        for (begin, _, _, y), made in zip(self.watch.measured, self._predictions, strict=True):
            for i in range(self.watcher.counted):
                for name, value in self.watch.scores(begin, y, made[i]).items():
                    record.watched[name][first + i] = value

    def plateau(self) -> Plateau:
        """Return the state of `ReduceOnPlateau` after the block; empty for other rates."""
        if self._falling is None:
            return ()
        best = float(self._falling.best[0])
        return (
            float(self._falling.rate[0]),
            best if np.isfinite(best) else None,
            int(self._falling.waited[0]),
        )

    def end(self, trainer: Any, before: int) -> None:
        """Let the callback count the block, before which ``before`` epochs had been trained."""
        rule, stopping, counted = self._stopping, self.stopping, self.watcher.counted
        if rule is None or not isinstance(stopping, EarlyStopping) or counted == 0:
            return
        best_epoch = int(rule.best_epoch[0])
        if best_epoch >= before:
            rule.kept.flags.writeable = False
            parameters = rule.kept if stopping.restore_best else None
            stopping._improve(float(rule.best[0]), best_epoch, parameters)
        stopping._count(trainer, before + counted - 1)
        self.watch.callbacks.epochs_seen[0] = before + counted


def is_plain(callback: Any, monitored: Sequence[str]) -> bool:
    """Return whether a backend that can monitor these numbers can do what the callback does."""
    return (
        type(callback) is EarlyStopping
        and callback.monitor in monitored
        and type(callback.patience) is int
        and type(callback.min_delta) is float
        and not any(callable(value) for value in vars(callback).values())
    )


def rule_of(stopping: EarlyStopping, state: State, classes: Indices | None) -> Stopping:
    """Return the rule of an `EarlyStopping`, and what it has found so far."""
    nothing = np.empty(0, np.int64)
    best_epoch = -1 if stopping.best_epoch is None else stopping.best_epoch
    return Stopping(
        patience=stopping.patience,
        of_validation=stopping.monitor == VALIDATION_LOSS,
        classes=classes if stopping.monitor == ACCURACY and classes is not None else nothing,
        sign=1.0 if stopping.higher_is_better else -1.0,
        min_delta=stopping.min_delta,
        ties_last=stopping.ties == "last",
        first=stopping._first,
        best=np.array([stopping.best], np.float64),
        best_epoch=np.array([best_epoch], np.int64),
        kept=np.empty(state.params.size if stopping.restore_best else 0, state.params.dtype),
    )


def falling_of(schedule: ReduceOnPlateau, plateau: Plateau) -> Falling:
    """Return the rule of a `ReduceOnPlateau` in this state."""
    _, best, waited = plateau or (None, None, 0)
    return Falling(
        patience=schedule.patience,
        of_validation=schedule.monitor == VALIDATION_LOSS,
        factor=schedule.factor,
        min_delta=schedule.min_delta,
        minimum=schedule.minimum,
        rate=np.array([schedule.rate(plateau)]),
        best=np.array([np.inf if best is None else best]),
        waited=np.array([waited or 0], np.int64),
    )
