"""Fits that are watched: many epochs in one call of the kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import jitprop_kernels as kernels
from jitprop._types import Array
from jitprop.backends.prepared import (
    LONG,
    NATURAL_ORDER,
    Net,
    bound_pass,
    bound_training,
    tiles_in,
    train_bound,
)
from jitprop.data.samples import Steps
from jitprop.data.watched import Falling, Predicted, Stopping, Validation, Watched
from jitprop.net.state import check_written

VALIDATED_ALONE = 2e7
"""The most multiply-adds of a validation pass, 0.4 ms, in which other threads may be left idle."""


def watcher(
    net: Net,
    n_batches: int,
    divisor: float,
    validation: Validation | None,
    predicted: Sequence[Predicted],
) -> Any:
    """Return a `Watcher`; None where a pass of validation or for metrics is long work."""
    passes = [(each.net, each.X) for each in predicted]
    if validation is not None:
        passes.append((validation.net, validation.samples[0]))
    for passing, X in passes:
        work = net.plan.layers[:, :2].prod(axis=1).sum() * len(X)
        if work > (LONG if passing.team.n <= net.team.n else VALIDATED_ALONE):
            return None
    if predicted and kernels.INTERPRETED:  # which has no machine code to call
        return None
    return Watcher(n_batches, divisor, validation, predicted)


class Watcher:
    """
    Trains many epochs in one call, and does after each what it is told.

    Parameters
    ----------
    n_batches : int
        Of an epoch.
    divisor : float
        What the summed loss of an epoch is divided by.
    validation : Validation or None
    predicted : sequence of Predicted
        The training samples and the validation samples. Empty if there are no metrics.
    """

    def __init__(
        self,
        n_batches: int,
        divisor: float,
        validation: Validation | None,
        predicted: Sequence[Predicted],
    ) -> None:
        self.n_batches, self.divisor, self.validation = n_batches, divisor, validation
        self.predicted = predicted
        self._ended, self._counted = np.zeros(1, np.int64), np.zeros(1, np.int64)

    def begin(self, watched: Watched) -> None:
        """Begin a block, and do what ``watched`` says after each of its epochs."""
        self._watched = watched
        self._ended[0] = self._counted[0] = 0

    @property
    def counted(self) -> int:
        """How many epochs of the block were trained, with finite numbers, and then counted."""
        return int(self._counted[0])

    @property
    def ended(self) -> bool:
        """Whether the block ended with the last epoch that was trained."""
        return bool(self._ended[0])

    @property
    def stopped(self) -> bool:
        """Whether it ended because patience was exhausted, and not because of an overflow."""
        return bool(self._ended[0] == kernels.ENDED_EARLY)

    def train(
        self,
        net: Net,
        params: Array,
        slots: Array,
        steps: Steps,
        updates: int,
        dropout_key: int,
    ) -> int:
        """Train on some batches, as `train` does, or to the end of the epoch in which it ends."""
        watched, validation = self._watched, self.validation
        check_written(rates=steps.rates, validation_losses=watched.validation_losses)
        bind_training = bound_training(net, params, slots, steps, updates, dropout_key)
        flat_slots, scored = slots.reshape(-1), np.empty(0, params.dtype)
        if watched.stopping is not None and watched.stopping.classes.size > 0:
            scored = watched.predictions[-1].reshape(-1)
        held = []  # the arguments of what the kernel calls must live as long as it runs

        def bind(rank: int, ranks: int) -> kernels.Bound:
            training = bind_training(rank, ranks)
            called = training.callee((FIRST_STEP,))
            validating, callee = 0, called
            if validation is not None:
                validating = min(ranks, validation.net.team.n)
                passing = _validating(validation, params, min(rank, validating - 1), validating)
                callee = passing.callee()
                held.append(passing)
            held.append(training)
            predicting, strides, callees = np.zeros(2, np.int64), np.zeros(2, np.int64), []
            first = steps.start // self.n_batches
            for k, (passed, X) in enumerate(self.predicted):
                predictions = watched.predictions[k]
                predicting[k] = most = min(ranks, passed.team.n)
                strides[k] = predictions[0].nbytes
                out = predictions[first].reshape(-1)
                passing = _predicting(passed, X, params, out, min(rank, most - 1), most)
                held.append(passing)
                callees.append(passing.callee((OUT,)))
            watch = kernels.Watch(
                params=params,
                slots=flat_slots,
                losses=steps.losses,
                divisor=float(self.divisor),
                rates=steps.rates,
                validation=watched.validation_losses,
                validation_divisor=1.0 if validation is None else float(validation.divisor),
                validating=validating,
                predicting=predicting,
                strides=strides,
                predictions=scored,
                n_batches=self.n_batches,
                epoch=watched.epoch,
                stopping=_stopping(watched.stopping, params.dtype),
                falling=_falling(watched.falling),
                ended=self._ended,
                counted=self._counted,
            )
            seat = kernels.Seat(rank, ranks, net.gate)
            start, stop = steps.start, steps.stop
            both = kernels.Predicting(*(callees + [called] * 2)[:2])
            args = watch, called, callee, both, seat, start, stop, updates
            return kernels.train_watched.bind(*args)

        try:
            return train_bound(net, bind, steps.start)
        finally:
            if validation is not None:
                validation.net.gate[:] = 0
            for passed, _ in self.predicted:
                passed.gate[:] = 0


FIRST_STEP = 4
"""Which argument of `kernels.train` is the first batch."""

OUT = 3
"""Which argument of `kernels.predict` is where predictions are written."""


def _predicting(
    net: Net, X: Array, params: Array, out: Array, rank: int, ranks: int
) -> kernels.Bound:
    samples, how = (X, np.empty((0, 1), X.dtype), None), (kernels.LOOK_AT_NOTHING, 1)
    return bound_pass(net, kernels.predict, params, samples, (out,), how)(rank, ranks)


def _validating(validation: Validation, params: Array, rank: int, ranks: int) -> kernels.Bound:
    net, how = validation.net, (kernels.LOOK_AT_NOTHING, tiles_in(validation.net, validation.group))
    return bound_pass(net, kernels.evaluate, params, validation.samples, (), how)(rank, ranks)


def _stopping(stopping: Stopping | None, dtype: np.dtype[Any]) -> kernels.Stopping:
    if stopping is not None:
        return kernels.Stopping(*stopping)
    nothing = np.empty(0, dtype)
    return kernels.Stopping(
        0, False, NATURAL_ORDER, 1.0, 0.0, False, 0, np.empty(0), NATURAL_ORDER, nothing
    )


def _falling(falling: Falling | None) -> kernels.Falling:
    if falling is not None:
        return kernels.Falling(*falling)
    nothing = np.empty(0)
    return kernels.Falling(0, False, 1.0, 0.0, 0.0, nothing, nothing, NATURAL_ORDER)
