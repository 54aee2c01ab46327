"""
The course of a fit. It trains epochs in blocks, and it trains each block in calls of a backend.

A backend trains many batches in one call. Ctrl-C takes effect after a call. A call that would take
long is halted for it.

A block is one or more whole epochs. The fit copies the state before each block. A fit that is
interrupted goes back to the last copy. A fit that diverges goes back to a copy, and trains forward
again from there to the epoch boundary that it needs. It reaches the same state as before, since
training is deterministic. So safety costs one copy per block. Short epochs share blocks of up to
about a tenth of a second, if nothing happens after each epoch, or only what a backend can do by
itself: see `jitprop.training.blocks`. Other threads see the copy of the state during the fit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from jitprop.interrupts import Interrupts
from jitprop.net import schedules
from jitprop.net.schedules import LearningRate, Plateau, ReduceOnPlateau
from jitprop.net.state import Snapshot, State
from jitprop.training.blocks import Blocks
from jitprop.training.errors import DivergenceError
from jitprop.training.history import Numbers, Record
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
    """The states of the fit's callbacks."""


class Saved(NamedTuple):
    """The beginning of a block, with all that is needed to train it again."""

    first: int
    """Its first epoch."""
    snapshot: Snapshot
    """The state before it."""
    order: npt.NDArray[np.int64] | None
    """The order of the samples."""
    rates: Numbers
    """The learning rates of each epoch: (epochs, 1), or (epochs, batches)."""


class Fit:
    """
    One call of `Trainer.fit`. All input is already checked and cast.

    Parameters
    ----------
    source : Source
        Where the batches come from.
    state : State
        The fit changes it in place.
    epochs : int
    learning_rate : callable
        Returns the learning rate or schedule. The fit calls it before each block.
    watch : Watch
        What the fit does after each epoch.

    Attributes
    ----------
    record : Record
        The history so far. Set it before `run`.
    kept : list of Kept, or None
        The callback states at the end of the fit. None before that. It stays None if the fit
        fails and no finished epoch remains.
    stopped : bool
        Whether the fit was told to end after the current block. With callbacks of the user's own,
        a block is one epoch.
    blocks : Blocks
        What is watched within blocks.
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
        self.blocks = Blocks(watch, source)
        self._in_blocks = False

    def stop(self) -> None:
        """End the fit after the current block. Any thread may call this."""
        self.stopped = True

    def run(self, running: Running, interrupts: Interrupts, progress: Progress | None) -> None:
        """Train, and write the history. Ctrl-C is heard where the state is whole or is restored."""
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
            self.watch.close()
            if progress is not None:
                progress.close()

    def _run(self, progress: Progress | None) -> None:
        # Keep two copies: a fit that diverges may go back into the previous block.
        saved: list[Saved] = []
        last = 0
        while last < self.epochs and not self.stopped and not self.record.ended:
            first, last = last, min(last + self._block(), self.epochs)
            saved = saved[-1:]
            self.interrupts.arm()
            snapshot = self.state.snapshot()
            with self.interrupts.heard():
                kept = apart(self.watch.callbacks.states())
            self.running.publish(Whole(snapshot, first, kept))
            try:
                with self.interrupts.heard():
                    last, error = self._train_block(first, last, snapshot, saved)
            except BaseException:  # Ctrl-C, or an error in a user's function
                self.state.restore(snapshot)
                self.record.done = first
                raise
            if self._in_blocks:
                self.blocks.end(self.watch.trainer, snapshot.epochs)
            if error is not None:
                raise error
            self.record.done = last
            if self.watch and not self._in_blocks and last > first:
                if self.watch.callbacks:  # they may be slow; others see this epoch meanwhile
                    self.running.publish(Whole(self.state.snapshot(), last, kept))
                with self.interrupts.heard(), self.running.telling():
                    self.watch.callbacks.on_epoch_end(
                        self.state.epochs - 1, self.record.logs(first)
                    )
            ended = last == self.epochs or self.stopped or self.record.ended
            if progress is not None and last > 0 and (ended or progress.is_due()):
                with self.interrupts.heard():
                    progress.draw(last, self.record.logs(last - 1))

    def _block(self) -> int:
        """Return the number of epochs to train before the state is copied again."""
        rate = self.learning_rate()
        watched = bool(self.watch) or isinstance(rate, ReduceOnPlateau)
        self._in_blocks = watched and self.blocks.serve(rate)
        if self._in_blocks:
            return min(self.source.block(), self.blocks.most)
        return 1 if watched else self.source.block()

    def _train_block(
        self, first: int, last: int, snapshot: Snapshot, saved: list[Saved]
    ) -> tuple[int, DivergenceError | None]:
        """
        Train the epochs from ``first`` up to ``last``, and record their numbers.

        ``last`` itself is not trained. Early stopping may end the block before, and so may a
        second-order method that ends. Return the first epoch that was not trained, and the error if
        training diverged.
        """
        record = self.record
        began = time.perf_counter()
        learning_rate = self.learning_rate()
        if isinstance(learning_rate, ReduceOnPlateau):
            who = "learning_rate, a ReduceOnPlateau,"
            check_monitor(who, learning_rate.monitor, self.watch.known)
        shown, losses = record.learning_rate[first:last], record.loss[first:last]
        rates = schedules.of_updates(
            shown, learning_rate, self.state.epochs, self.source.n_batches, self.state.plateau
        )
        order = self.source.draw(self.state, first, last)
        saved.append(Saved(first, snapshot, order, rates.reshape(last - first, -1)))
        watcher = None
        if self._in_blocks:
            watcher = self.blocks.watcher
            self.blocks.begin(self.state, learning_rate, record, first, last - first)
        told = np.zeros((last - first, len(self.watch.told))) if self.watch.told else None
        reached = self.source.train(
            self.state, losses, rates, order, self.interrupts, watcher, told
        )
        if told is not None:
            for name, column in zip(self.watch.told, told.T, strict=True):
                record.watched[name][first:last] = column
        if reached.ended:
            last, record.ended = first + reached.epoch, reached.ended
        if watcher is not None and watcher.ended:
            last = first + reached.epoch
            if watcher.stopped:  # the random state has advanced to the end of the whole block
                self.state.rng.bit_generator.state = snapshot.random
                self.source.draw(self.state, first, last, order)
        if self._in_blocks:
            self.blocks.measure(record, first)
        whole = reached.epoch == last - first and self.state.is_finite()
        measured = self.watch and not self._in_blocks and last > first
        if whole and measured:  # then the block is one epoch
            for name, value in self.watch.measure(self.state.params).items():
                record.watched[name][first] = value
        if whole and isinstance(learning_rate, ReduceOnPlateau):
            if self._in_blocks:
                self.state.plateau = self.blocks.plateau()
            else:
                self.state.plateau = self._plateau(learning_rate, first, last, snapshot.plateau)
            self._look_at_plateau(learning_rate, first, last, snapshot.plateau)
        record.seconds[first:last] = (time.perf_counter() - began) / max(1, last - first)
        if whole:
            return last, None
        return last, self._diverged(first + reached.epoch, reached.batch, last, saved)

    def _plateau(
        self, schedule: ReduceOnPlateau, first: int, last: int, plateau: Plateau
    ) -> Plateau:
        """Return the schedule's state after some epochs, from the one before and their losses."""
        for epoch in range(first, last):
            plateau = schedule.after(plateau, self.record.logs(epoch)[schedule.monitor])
        return plateau

    def _look_at_plateau(
        self, schedule: ReduceOnPlateau, first: int, last: int, before: Plateau
    ) -> None:
        """Warn when the learning rate first falls, if no monitored number was finite so far."""
        initial = schedule.initial
        if schedule.rate(before) < initial or schedule.rate(self.state.plateau) == initial:
            return
        rates = self.record.learning_rate[first + 1 : last]
        fallen = first + 1 + int(np.argmax(rates < initial)) if (rates < initial).any() else last
        lower, best, _ = self._plateau(schedule, first, fallen, before)
        if best is None:
            warn(
                f"ReduceOnPlateau monitors {schedule.monitor!r}, which was nan or infinite in "
                f"every epoch so far: after {schedule.patience} such epochs the learning rate "
                f"falls from {initial:g} to {lower:g}"
            )

    def _diverged(self, epoch: int, batch: int, last: int, saved: list[Saved]) -> DivergenceError:
        """
        Go back to the last epoch boundary after which a batch was trained with a finite loss.

        All batches before batch ``batch`` of epoch ``epoch`` had a finite loss. If ``epoch`` is
        ``last``, all batches of the block had a finite loss, but the state overflowed.

        The state may have overflowed much earlier, because a saturated unit can hide this from
        the loss. A bisection then finds the last epoch boundary with a finite state. It works
        because a value that is inf once does not become finite again.
        """
        kept = epoch if batch > 0 else max(0, epoch - 1)
        epoch = max(0, min(epoch, last - 1))
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
        spec, rate = self.source.spec, None
        if spec.optimizer.uses_rate != "never":
            # Of several rates in an epoch, the first one may be 0. The largest does the harm.
            rate = float(block.rates[kept - block.first].max())
        own = spec.custom_functions
        return DivergenceError(epoch, self.record.history(epoch), kept, rate, own)

    def _go_to(self, epoch: int, block: Saved) -> None:
        """Bring the state to the beginning of an epoch: restore ``block``, then train forward."""
        self.state.restore(block.snapshot)
        if epoch > block.first:
            order = self.source.draw(self.state, block.first, epoch, block.order)
            rates = block.rates[: epoch - block.first]
            losses = np.zeros(len(rates))
            self.source.train(self.state, losses, rates.reshape(-1), order, self.interrupts)
            learning_rate = self.learning_rate()
            if isinstance(learning_rate, ReduceOnPlateau):
                before = block.snapshot.plateau
                self.state.plateau = self._plateau(learning_rate, block.first, epoch, before)
