"""
The course of a fit: epochs in blocks, blocks in calls of a backend.

A backend trains batches, many in one call. Behind each call Ctrl-C is heeded; a call that would
take long is halted. Between blocks, which are whole epochs, the state is copied: a fit that is
interrupted or diverges goes back to such a copy and, training being deterministic, forward again
to the epoch wanted. So safety costs one copy per tenth of a second and nothing per epoch. The copy
is also what other threads see of the trainer meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from jitprop.interrupts import Interrupts
from jitprop.net import schedules
from jitprop.net.schedules import LearningRate, ReduceOnPlateau
from jitprop.net.state import Snapshot, State
from jitprop.training.errors import DivergenceError
from jitprop.training.history import Record
from jitprop.training.kept import Kept, apart
from jitprop.training.progress import Progress
from jitprop.training.running import Running
from jitprop.training.sources import Source
from jitprop.training.watching import Watch, check_monitor
from jitprop.warn import warn


class Whole(NamedTuple):
    """Everything that a fit publishes at the end of an epoch."""

    snapshot: Snapshot
    done: int
    """The number of epochs that this fit has finished."""
    kept: Sequence[Kept]
    """What its callbacks keep from one epoch to the next."""


class Saved(NamedTuple):
    """The beginning of a block: its first epoch, the state then, its order of presentation."""

    first: int
    snapshot: Snapshot
    order: npt.NDArray[np.int64] | None


class Fit:
    """
    One call of `Trainer.fit`, all input checked and cast.

    Parameters
    ----------
    source : Source
        Of the batches.
    state : State
        Changed in place.
    epochs : int
    learning_rate : callable
        Gives the learning rate or schedule; asked before each block.
    watch : Watch
        What to do after each epoch.

    Attributes
    ----------
    record : Record
        The history so far; to be given before `run`.
    kept : list of Kept, or None
        What the callbacks keep, once the fit has ended; None where it was refused.
    stopped : bool
        Whether the fit was told to end after the epoch under way.
    """

    record: Record

    def __init__(
        self,
        source: Source,
        state: State,
        epochs: int,
        learning_rate: Callable[[], LearningRate],
        watch: Watch,
    ) -> None:
        self.source, self.state, self.epochs = source, state, epochs
        self.learning_rate, self.watch = learning_rate, watch
        self.stopped = False
        self.kept: list[Kept] | None = None

    def stop(self) -> None:
        """End after the epoch under way; any thread may say so."""
        self.stopped = True

    def run(self, running: Running, interrupts: Interrupts, progress: Progress | None) -> None:
        """Train, and write the history. Ctrl-C is heard where the state is whole, or made so."""
        self.running, self.interrupts = running, interrupts
        try:
            try:
                with interrupts.heard(), running.telling():
                    self.watch.callbacks.on_fit_begin()
                self._run(progress)
                with interrupts.heard(), running.telling():
                    self.watch.callbacks.on_fit_end()
                self.kept = apart(self.watch.callbacks.states())
            except BaseException as error:
                with interrupts.heard(), running.telling():
                    self.watch.callbacks.on_fit_error(error)
                if self.record.done > 0:
                    self.kept = apart(self.watch.callbacks.states())
                raise
        finally:
            self.source.close()
            if progress is not None:
                progress.close()

    def _run(self, progress: Progress | None) -> None:
        # Two copies: the epoch to go back to may be the last of the block before.
        saved: list[Saved] = []
        last = 0
        while last < self.epochs and not self.stopped:
            first, last = last, min(last + self._block(), self.epochs)
            saved = saved[-1:]
            self.interrupts.arm()
            snapshot = self.state.snapshot()
            with self.interrupts.heard():
                kept = apart(self.watch.callbacks.states())
            self.running.publish(Whole(snapshot, first, kept))
            try:
                with self.interrupts.heard():
                    error = self._train_block(first, last, snapshot, saved)
            except BaseException:  # Ctrl-C, or an error in a function of the user's
                self.state.restore(snapshot)
                self.record.done = first
                raise
            if error is not None:
                raise error
            self.record.done = last
            if self.watch.callbacks:  # others see this epoch too while callbacks take their time
                self.running.publish(Whole(self.state.snapshot(), last, kept))
            with self.interrupts.heard(), self.running.telling():
                if self.watch:
                    self.watch.callbacks.on_epoch_end(
                        self.state.epochs - 1, self.record.logs(first)
                    )
            ended = last == self.epochs or self.stopped
            if progress is not None and (ended or progress.is_due()):
                with self.interrupts.heard():
                    progress.draw(last, self.record.logs(last - 1))

    def _block(self) -> int:
        """How many epochs to train before the state is copied again."""
        one = self.watch or isinstance(self.learning_rate(), ReduceOnPlateau)
        return 1 if one else self.source.block()

    def _train_block(
        self, first: int, last: int, snapshot: Snapshot, saved: list[Saved]
    ) -> DivergenceError | None:
        """Train epochs ``first`` to ``last`` and write down their numbers."""
        record = self.record
        began = time.perf_counter()
        rates, losses = record.learning_rate[first:last], record.loss[first:last]
        learning_rate = self.learning_rate()
        if isinstance(learning_rate, ReduceOnPlateau):
            who = "learning_rate, a ReduceOnPlateau,"
            check_monitor(who, learning_rate.monitor, self.watch.known)
        schedules.fill(rates, learning_rate, self.state.epochs, self.state.plateau)
        order = self.source.draw(self.state, first, last)
        saved.append(Saved(first, snapshot, order))
        reached = self.source.train(self.state, losses, rates, order, self.interrupts)
        whole = reached.epoch == last - first and self.state.is_finite()
        if whole and self.watch:  # of one epoch
            for name, value in self.watch.measure(self.state.params).items():
                record.watched[name][first] = value
        if whole and isinstance(learning_rate, ReduceOnPlateau):  # of one epoch too
            loss = record.logs(first)[learning_rate.monitor]
            self.state.plateau = learning_rate.after(self.state.plateau, loss)
            self._look_at_plateau(learning_rate, float(rates[0]))
        record.seconds[first:last] = (time.perf_counter() - began) / (last - first)
        return None if whole else self._diverged(first + reached.epoch, reached.batch, last, saved)

    def _look_at_plateau(self, schedule: ReduceOnPlateau, rate: float) -> None:
        """Warn where the learning rate falls for the first time, and no number said that it may."""
        lower, best, _ = self.state.plateau
        if best is None and lower is not None and lower < rate == schedule.initial:
            warn(
                f"ReduceOnPlateau monitors {schedule.monitor!r}, which was nan or infinite in "
                f"every epoch so far: after {schedule.patience} such epochs the learning rate "
                f"falls from {rate:g} to {lower:g}"
            )

    def _diverged(self, epoch: int, batch: int, last: int, saved: list[Saved]) -> DivergenceError:
        """
        Go back to the last epoch boundary from which a batch was trained with a finite loss.

        All before this batch of this epoch had one; if they all did before epoch ``last``, the
        state overflowed. It may have done so long ago, where a saturated unit hides it from the
        loss: then the last finite state is searched for, by halves, since what is inf once does
        not become finite again.
        """
        kept = epoch if batch > 0 else max(0, epoch - 1)
        epoch = min(epoch, last - 1)
        block = next(block for block in reversed(saved) if block.first <= kept)
        self._go_to(kept, block)
        if not self.state.is_finite():
            low, high = block.first, kept
            while high - low > 1:
                middle = (low + high) // 2
                self._go_to(middle, block)
                low, high = (middle, high) if self.state.is_finite() else (low, middle)
            self._go_to(low, block)
            kept = epoch = low
        self.record.done = kept
        rate = float(self.record.learning_rate[kept])
        own = self.source.spec.custom_functions
        return DivergenceError(epoch, self.record.history(epoch), kept, rate, own)

    def _go_to(self, epoch: int, block: Saved) -> None:
        """Bring the state to the beginning of an epoch, from that of a block before it."""
        self.state.restore(block.snapshot)
        if epoch > block.first:
            order = self.source.draw(self.state, block.first, epoch, block.order)
            rates = self.record.learning_rate[block.first : epoch]
            losses = np.zeros(len(rates))
            self.source.train(self.state, losses, rates, order, self.interrupts)
