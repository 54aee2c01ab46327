"""One fit of a fleet: it trains epochs in blocks, for the members that are still being trained."""

from __future__ import annotations

import time

import numpy as np

from jitprop import elementary
from jitprop._types import Array
from jitprop.data import cast
from jitprop.fleet.blocks import Blocks
from jitprop.fleet.data import Data
from jitprop.fleet.engines import Engine, Indices, Later, Mask, Members
from jitprop.fleet.history import FleetHistory
from jitprop.fleet.model import FleetModel
from jitprop.fleet.state import FleetState, FleetWhole
from jitprop.fleet.stopping import Seen, Stopping
from jitprop.interrupts import Interrupts
from jitprop.net.schedules import EachUpdate
from jitprop.net.second_order import reasons
from jitprop.training.callback_list import CallbackList
from jitprop.training.history import VALIDATION_LOSS
from jitprop.training.kept import apart
from jitprop.training.progress import Progress
from jitprop.training.running import Running, changing

BLOCK_SECONDS = 0.1
"""How long a block should take. A longer block would lose more epochs on Ctrl-C. In a shorter one
the calls from Python would cost more: outside lanes, each block is a call for every member."""

GROWTH = 16
"""A block has at most so many times the epochs of the previous block."""

WATCHED_BYTES = 1 << 20
"""With validation data or early stopping, a block of several epochs holds the members after each
epoch. That takes at most so many bytes, and as many again in lanes, and again to validate."""

BLOCK_NUMBERS = 1 << 20
"""A block holds at most so many losses, learning rates and sample indices: 8 MB of each."""


class Course:
    """
    One call of `Fleet.fit`, all input checked and cast.

    Parameters
    ----------
    engine : Engine
    model : FleetModel
        Its settings are read. Callbacks may change the learning rates.
    state : FleetState
        Training changes it in place.
    data : Data
    validation : Data or None
    epochs : int, or (K,) ints
        How many epochs each member is trained.
    stopping : Stopping or None
        Stops each member by itself.
    callbacks : CallbackList
        The other callbacks. They get each epoch's number in this call, and its losses.

    Attributes
    ----------
    loss : (epochs, K) float64 array
    validation_loss : (epochs, K) float64 array or None
    done : (K,) int64 array
        Epochs of this call that each member was trained and keeps.
    active : (A,) int64 array
        The members that are still being trained.
    stopped : bool
        Whether `stop` was called.
    """

    def __init__(
        self,
        engine: Engine,
        model: FleetModel,
        state: FleetState,
        data: Data,
        validation: Data | None,
        epochs: int | Indices,
        stopping: Stopping | None,
        callbacks: CallbackList,
    ) -> None:
        self.engine, self.spec, self.state = engine, model.spec, state
        self.settings = model.settings
        self.data, self.validation, self.epochs = data, validation, int(np.max(epochs))
        self.blocks = Blocks(engine, model.spec, state, model.settings, data, model.shuffle)
        self.stopping, self.callbacks = stopping, callbacks
        k = len(state.params)
        self.loss = cast.zeros("epochs", (self.epochs, k), np.float64)  # filled as epochs are done
        self.validation_loss = None
        if validation is not None:
            self.validation_loss = cast.zeros("epochs", (self.epochs, k), np.float64)
        self.limits = np.broadcast_to(np.asarray(epochs, np.int64), (k,))
        self.done = np.zeros(k, np.int64)
        self.active: Indices = np.arange(k)
        self.stopped = False

    def stop(self) -> None:
        """End the fit after the current epoch. Any thread may call it."""
        self.stopped = True

    def run(self, running: Running, interrupts: Interrupts, progress: Progress | None) -> None:
        """Train until all epochs are done or no member is left. Ctrl-C interrupts it."""
        self.running, self.interrupts = running, interrupts
        try:
            if self.stopping is not None:
                with changing():
                    self.stopping.begin()
                self.active = self.stopping.going_on(self.active)
            with interrupts.heard(), running.telling():
                self.callbacks.on_fit_begin()
            self._run(progress)
        finally:
            if self.stopping is not None:
                with changing():
                    self.stopping.restore()

    def _run(self, progress: Progress | None) -> None:
        work = self.spec.work(self.data.n_samples)  # of an epoch of one member
        fewest = max(1, int(self.engine.call_work / work))
        first = 0
        size = max(fewest, int(self.engine.first_work / (work * len(self.state.params))))
        while len(self._unfinished(first)) and not self.stopped:
            left = int(self.limits[self.active].min()) - first
            n_epochs = 1 if self.callbacks else min(size, left, self._most())
            began = time.perf_counter()
            trained = self._block(first, n_epochs)
            seconds = time.perf_counter() - began
            size = max(fewest, int(n_epochs * min(GROWTH, BLOCK_SECONDS / seconds)))
            first += n_epochs
            if self.callbacks and trained:
                with self.interrupts.heard(), self.running.telling():
                    self.callbacks.on_epoch_end(first - 1, self._logs(first - 1))
            if progress is not None and progress.is_due():
                with self.interrupts.heard():
                    self._draw(progress, max(1, self._reached()))
        if progress is not None and first > 0:
            with self.interrupts.heard():
                self._draw(progress, max(1, self._reached()))

    def history(self) -> FleetHistory:
        """Return the history, up to the last epoch of any member."""
        n = self._reached()
        validated = self.validation_loss
        return FleetHistory(
            loss=self.loss[:n],
            validation_loss=None if validated is None else validated[:n],
            epochs=self.done,
            best_epoch=None if self.stopping is None else self.stopping.best_epoch,
            diverged=dict(sorted(self.blocks.diverged.items())),
            ended=reasons(self.spec.optimizer, self.state.slots),
        )

    def last_losses(self, before: Array | None) -> Array:
        """
        Return each member's training loss in the last epoch that it has done, (K,).

        If its best epoch is restored, that is the epoch. A member that has done no epoch in this
        fit has the number of the fit before; or nan if there is none, or if it diverged at once.
        """
        made = np.full(len(self.done), np.nan) if before is None else before.copy()
        made[list(self.blocks.diverged)] = np.nan
        epochs = self.done - 1
        if self.stopping is not None and self.stopping.how.restore_best:
            best = self.stopping.found.best_epoch
            epochs = np.where(best < 0, epochs, best - (self.state.epochs - self.done))
        known = np.flatnonzero(epochs >= 0)
        made[known] = self.loss[epochs[known], known]
        return made

    def _reached(self) -> int:
        """Return how many epochs some member has done, or had done before it diverged."""
        return max(int(self.done.max()), *self.blocks.diverged.values(), 0)

    def _most(self) -> int:
        """Return how many epochs the next block may have."""
        numbers = self.data.n_samples if self.blocks.shuffle else 0
        if isinstance(self.settings.rates, EachUpdate):
            numbers = max(numbers, self.blocks.n_batches)
        elif callable(self.settings.rates) or len(self.active) < len(self.done):
            numbers = max(numbers, 1)
        most = self.epochs
        if numbers > 0:
            most = max(1, BLOCK_NUMBERS // (len(self.active) * numbers))
        if self.validation is not None or self.stopping is not None:
            state = self.state.params[0].nbytes + self.state.slots[0].nbytes
            most = min(most, max(1, WATCHED_BYTES // (len(self.active) * state)))
        if self.stopping is not None:
            # Members that stop within a block were trained too long: at most twice as long.
            most = min(most, max(self.stopping.how.patience, int(self.done.max())))
        return most

    def _block(self, first: int, n_epochs: int) -> bool:
        """
        Train the active members for some epochs, and take stopped members off the list.

        Return False if all of them have ended before the first epoch: then nothing was trained.
        """
        members = self.active
        losses = rows = self.loss[first : first + n_epochs]
        if len(members) < rows.shape[1]:
            losses = np.empty((n_epochs, len(members)))
        with self.interrupts.heard():
            random, kept = self.blocks.random(members), apart(self.callbacks.states())
        self.running.publish(FleetWhole(random, kept))
        try:
            with self.interrupts.heard():
                watched = self.validation is not None or self.stopping is not None
                look = _Look(self) if watched else None
                trained = self.blocks.train(first, members, losses, random, look)
        except BaseException:
            self.blocks.discard()
            raise
        if losses is not rows:
            rows[...] = np.nan
            rows[:, members] = losses
        # Other threads must see all of an epoch, or nothing of it.
        with changing():
            self.blocks.commit(trained)
            self.done[members] += trained.done
            self.active = members[~(trained.diverged | trained.stopped)]
            if look is not None and self.validation_loss is not None:
                rows = self.validation_loss[first : first + n_epochs]
                rows[...] = np.nan
                rows[:, members] = look.validation_loss
            if look is not None and look.seen is not None and self.stopping is not None:
                self.stopping.commit(members, look.seen, look.later.params)
            self.running.publish(FleetWhole({}, kept))
        return bool((trained.done != 0).any() or trained.diverged.any())

    def _draw(self, progress: Progress, epochs: int) -> None:
        """Show how many epochs are done, and the mean losses of the members that did them."""
        logs = {"loss": self.loss[epochs - 1]}
        if self.validation_loss is not None:
            logs[VALIDATION_LOSS] = self.validation_loss[epochs - 1]
        with np.errstate(all="ignore"):
            finite = {name: v[np.isfinite(v)] for name, v in logs.items()}
            means = {name: elementary.mean(v) for name, v in finite.items() if len(v)}
        progress.draw(epochs, means)

    def _logs(self, epoch: int) -> dict[str, Array]:
        """Return copies of one epoch's losses, by name."""
        logs = {"loss": self.loss[epoch].copy()}
        if self.validation_loss is not None:
            logs[VALIDATION_LOSS] = self.validation_loss[epoch].copy()
        return logs

    def _unfinished(self, epochs: int) -> Indices:
        """Take members off the list that have done all their epochs. Return the others."""
        self.active = self.active[self.limits[self.active] > epochs]
        return self.active


class _Look:
    """
    What is measured after each epoch of a block: see `blocks.Look`.

    Attributes
    ----------
    later : Later
        The members after each epoch.
    validation_loss : (epochs, A) float64 array or None
        It is nan after the last epoch that a member keeps.
    seen : Seen or None
        What early stopping says to it.
    """

    later: Later
    validation_loss: Array | None = None
    seen: Seen | None = None

    def __init__(self, course: Course) -> None:
        self.course = course

    def __call__(
        self, members: Members, later: Later, losses: Array, whole: Indices
    ) -> tuple[Indices, Mask]:
        course, self.later, done = self.course, later, whole
        stopped = np.zeros(len(whole), np.bool_)
        if course.validation is not None:
            with np.errstate(all="ignore"):  # of a member that diverged
                found = course.engine.evaluate(later.of(members), course.validation)
            found = found.reshape(losses.shape)
            found /= course.validation.divisors(course.spec, members.numbers)
            self.validation_loss = found
        if course.stopping is not None:
            validated = course.stopping.how.monitor == VALIDATION_LOSS
            values = self.validation_loss if validated else losses
            assert values is not None
            self.seen = course.stopping.look(members.numbers, values, whole)
            done, stopped = self.seen.done, self.seen.stopped
        if self.validation_loss is not None:
            for i in np.flatnonzero(done < len(losses)):
                self.validation_loss[done[i] :, i] = np.nan
        return done, stopped
