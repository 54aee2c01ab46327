"""
Epochs that are trained and watched: the validation loss, early stopping, and a rate that falls.

The loop here calls `train` and `evaluate` as Python would: by the address of their machine code,
with records that Python has laid out. So their code is compiled once, and `train` knows nothing of
all this.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from llvmlite import ir
from numba import types

from jitprop_kernels._jit import INTERPRETED, jit
from jitprop_kernels._types import Array, Indices
from jitprop_kernels.arrays import pointer
from jitprop_kernels.elementary import smaller
from jitprop_kernels.meeting import meet
from jitprop_kernels.network import all_finite
from jitprop_kernels.records import Callee, Falling, Predicting, Seat, Watch
from jitprop_kernels.simd import compiled
from jitprop_kernels.sizes import AGREED, ENDED_BY_OVERFLOW, ENDED_EARLY, LEFT


def _call(typing: Any, code: Any, record: Any) -> Any:
    def generated(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        at = pointer(context, builder, sig.args[1], args[1], ir.IntType(64)(0))
        kind = ir.FunctionType(ir.VoidType(), [at.type])
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), [at])
        return context.get_dummy_value()

    return types.void(types.int64, record), generated


@compiled(_call)
def call(code: int, record: Any) -> None:
    """Call an entry by the address of its machine code."""
    raise NotImplementedError("interpreted, an entry has no machine code")


@jit()
def train_steps(callee: Callee, start: int, stop: int, updates: int) -> int:
    """Call `training.train` with these last arguments."""
    record, at = callee.record, callee.at
    record[at] = start
    record[at + 1] = stop
    record[at + 2] = updates
    call(callee.code, record)
    reached: int = record[1]
    return reached


@jit()
def loss_found(callee: Callee) -> float:
    """Call `network.evaluate`."""
    call(callee.code, callee.record)
    loss: float = callee.reals[1]
    return loss


@jit()
def predict_next(callee: Callee, stride: int) -> None:
    """Call `network.predict`, and let the next call write behind these predictions."""
    record, at = callee.record, callee.at
    call(callee.code, record)
    record[at] += stride


def _train_steps(callee: Callee, start: int, stop: int, updates: int) -> int:
    bound = cast(Any, callee.code)
    for i, value in enumerate((start, stop, updates)):
        bound.put((callee.at + i,), value)
    return cast(int, bound())


def _loss_found(callee: Callee) -> float:
    return cast(float, cast(Any, callee.code)())


if INTERPRETED:
    train_steps, loss_found = _train_steps, _loss_found


@jit(apart=True)
def accuracy(predictions: Array, first: int, classes: Indices, n_outputs: int) -> float:
    """
    The share of samples whose predicted class is right, as `jitprop.metrics.accuracy` has it.

    Their predictions begin at ``first``. The class is that of the largest output; or, of a single
    output, 1 if it is at least 0.5, else 0. It is nan if a prediction is nan.
    """
    right, at = 0, first
    for i in range(classes.size):
        largest, found = predictions[at], 0
        invalid = largest != largest
        if n_outputs == 1 and largest >= 0.5:
            found = 1
        for j in range(1, n_outputs):
            a = predictions[at + j]
            invalid = invalid or a != a
            if a > largest:
                largest, found = a, j
        if invalid:
            return np.nan
        if found == classes[i]:
            right += 1
        at += n_outputs
    return right / classes.size


@jit(apart=True)
def count_for_stopping(watch: Watch, epoch: int, value: float) -> bool:
    """Count an epoch, and keep its parameters if they are the best; return whether to stop."""
    stopping, params = watch.stopping, watch.params
    best, best_epoch, kept = stopping.best, stopping.best_epoch, stopping.kept
    tie = stopping.ties_last and value == best[0] and np.isfinite(value)
    if tie or stopping.sign * (value - best[0]) > stopping.min_delta:
        best[0] = value
        best_epoch[0] = epoch
        for i in range(kept.size):
            kept[i] = params[i]
    better = best_epoch[0] if best_epoch[0] >= 0 else stopping.first - 1
    return bool(epoch - better >= stopping.patience)


@jit(apart=True)
def count_for_falling(falling: Falling, loss: float, validation_loss: float) -> None:
    """Count an epoch, after which the rate may fall."""
    value = validation_loss if falling.of_validation else loss
    best, waited, rate = falling.best, falling.waited, falling.rate
    if np.isfinite(value) and value < best[0] - falling.min_delta:
        best[0] = value
        waited[0] = 0
        return
    waited[0] += 1
    if waited[0] >= falling.patience:
        lower = rate[0] * falling.factor
        least = rate[0] if rate[0] < falling.minimum else falling.minimum
        rate[0] = lower if lower > least else least
        waited[0] = 0


@jit(apart=True)
def end_epoch(watch: Watch, i: int, summed: float, finite: bool) -> None:
    """Write and count what epoch ``i`` of these arrays has given. One thread does it."""
    ended, counted = watch.ended, watch.counted
    rates, validation = watch.rates, watch.validation
    if not finite:
        ended[0] = ENDED_BY_OVERFLOW
        return
    counted[0] += 1
    loss = watch.losses[i] / watch.divisor
    validation_loss = summed / watch.validation_divisor
    if validation.size > 0:
        validation[i] = validation_loss
    if watch.falling.patience > 0:
        count_for_falling(watch.falling, loss, validation_loss)
        if i + 1 < rates.size:
            rates[i + 1] = watch.falling.rate[0]
    stopping = watch.stopping
    if stopping.patience > 0:
        value = validation_loss if stopping.of_validation else loss
        if stopping.classes.size > 0:
            size = watch.predictions.size // watch.losses.size
            n_outputs = size // stopping.classes.size
            value = accuracy(watch.predictions, i * size, stopping.classes, n_outputs)
        if count_for_stopping(watch, watch.epoch + i, value):
            ended[0] = ENDED_EARLY


@jit()
def train_watched(
    watch: Watch,
    training: Callee,
    validating: Callee,
    predicting: Predicting,
    seat: Seat,
    start: int,
    stop: int,
    updates: int,
) -> int:
    """
    Train as `training.train` does, and do after each epoch what ``watch`` says.

    Parameters
    ----------
    watch : Watch
    training : Callee
        `training.train` for this thread and the same arrays. Its last three arguments change.
    validating : Callee
        `network.evaluate` for this thread, with a gate of its own. Of no use without validation.
    predicting : Predicting
        `network.predict` for this thread. Of no use without metrics.
    seat : Seat
        That of ``training``.
    start, stop, updates : int

    Returns
    -------
    int
        As `training.train`; or, if ``watch.ended`` is not 0, the batch behind the last epoch.
    """
    gate, n_batches, step = seat.gate, watch.n_batches, start
    while step < stop:
        i = step // n_batches
        behind = (i + 1) * n_batches
        end = smaller(stop, behind)
        reached = train_steps(training, step, end, updates + step - start)
        # All threads see the same here: one that is ahead waits at the meeting below.
        if reached < end or gate[LEFT] != 0 or gate[AGREED] != 0:
            return reached
        step = end
        if step == behind:
            finite = all_finite(watch.params, 0, watch.params.size)
            finite = finite and all_finite(watch.slots, 0, watch.slots.size)
            summed = 0.0
            if finite and seat.rank < watch.validating:
                summed = loss_found(validating)
            if finite and seat.rank < watch.predicting[0]:
                predict_next(predicting.training, watch.strides[0])
            if finite and seat.rank < watch.predicting[1]:
                predict_next(predicting.validation, watch.strides[1])
            if watch.predictions.size > 0:  # each thread has written some of them
                meet(gate, seat.ranks)
            if seat.rank == 0:
                end_epoch(watch, i, summed, finite)
            meet(gate, seat.ranks)
            if watch.ended[0] != 0:
                return step
    return stop
