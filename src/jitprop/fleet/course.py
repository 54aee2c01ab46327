"""The course of a fleet's fit: epochs in blocks, of those members that are still being trained."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from jitprop import cast
from jitprop._types import Array
from jitprop.callbacks import EarlyStopping
from jitprop.fleet.blocks import Blocks
from jitprop.fleet.data import Data
from jitprop.fleet.engines import Engine, Indices
from jitprop.fleet.history import FleetHistory
from jitprop.fleet.settings import Own
from jitprop.fleet.state import FleetState
from jitprop.fleet.stopping import Stopping
from jitprop.history import VALIDATION_LOSS
from jitprop.interrupts import Interrupts
from jitprop.progress import Progress
from jitprop.spec import Spec

BLOCK_SECONDS = 0.1
"""How long a block is to take: by what the one before took, but of no more than `GROWTH` times its
epochs. Ctrl-C loses one, and each costs a call from Python for every member that is in no lane."""

GROWTH = 16

BLOCK_NUMBERS = 1 << 20
"""Losses, rates and indices of samples that a block may hold: 8 MB of each."""

Told = Callable[[int, dict[str, Array]], None]


class Course:
    """
    One call of `Fleet.fit`, all input checked and cast.

    Parameters
    ----------
    engine : Engine
    spec : Spec
    state : FleetState
        Changed in place.
    own : Own
        Whose learning rates callbacks may change.
    data : Data
    validation : Data or None
    epochs : int
    shuffle : bool
    stopping : EarlyStopping or None
        By which each member is stopped.
    told : function or None
        Called after each epoch with its number in this call and its losses.

    Attributes
    ----------
    stopped : bool
        Whether the fit was told to end after the epoch under way.
    """

    def __init__(
        self,
        engine: Engine,
        spec: Spec,
        state: FleetState,
        own: Own,
        data: Data,
        validation: Data | None,
        epochs: int,
        shuffle: bool,
        stopping: EarlyStopping | None,
        told: Told | None,
    ) -> None:
        self.engine, self.spec, self.state, self.own = engine, spec, state, own
        self.data, self.validation, self.epochs = data, validation, epochs
        self.blocks = Blocks(engine, spec, state, own, data, shuffle)
        self.stopping = None if stopping is None else Stopping(stopping, state)
        self.told = told
        k = len(state.params)
        self.loss = cast.zeros("epochs", (epochs, k), np.float64)  # filled as epochs are done
        self.validation_loss = None
        if validation is not None:
            self.validation_loss = cast.zeros("epochs", (epochs, k), np.float64)
        self.done = np.zeros(k, np.int64)
        self.active: Indices = np.arange(k)
        self.stopped = False

    def stop(self) -> None:
        """End after the epoch under way; any thread may say so."""
        self.stopped = True

    def run(self, progress: Progress | None) -> None:
        """Train until all epochs are done, or no member is left."""
        try:
            with Interrupts() as interrupts:
                self._run(interrupts, progress)
        finally:
            self.engine.close()
        if self.stopping is not None:
            self.stopping.restore()

    def _run(self, interrupts: Interrupts, progress: Progress | None) -> None:
        each = self.validation is not None or self.stopping is not None or self.told is not None
        work = 3 * self.data.n_samples * self.state.params.size
        first, size = 0, max(1, int(self.engine.first_work / work))
        while first < self.epochs and len(self.active) and not self.stopped:
            n_epochs = 1 if each else min(size, self.epochs - first, self._most())
            began = time.perf_counter()
            self._block(first, n_epochs, interrupts)
            seconds = time.perf_counter() - began
            size = max(1, int(n_epochs * min(GROWTH, BLOCK_SECONDS / seconds)))
            first += n_epochs
            if each:
                self._look(first - 1)
            if progress is not None and progress.is_due():
                self._draw(progress, first)
        if progress is not None and first > 0:
            self._draw(progress, first)

    def history(self) -> FleetHistory:
        """What was trained, to the last epoch that any member had."""
        n = max(int(self.done.max()), *self.blocks.diverged.values(), 0)
        validated = self.validation_loss
        return FleetHistory(
            loss=self.loss[:n],
            validation_loss=None if validated is None else validated[:n],
            epochs=self.done,
            best_epoch=None if self.stopping is None else self.stopping.best_epoch,
            diverged=dict(sorted(self.blocks.diverged.items())),
        )

    def _most(self) -> int:
        """Epochs that a block may have, for what it holds of each epoch and member."""
        numbers = self.data.n_samples if self.blocks.shuffle else 0
        if callable(self.own.rates) or len(self.active) < len(self.done):
            numbers = max(numbers, 1)
        return max(1, BLOCK_NUMBERS // (len(self.active) * numbers)) if numbers else self.epochs

    def _block(self, first: int, n_epochs: int, interrupts: Interrupts) -> None:
        """Train the active members for some epochs."""
        members = self.active
        losses = rows = self.loss[first : first + n_epochs]
        if len(members) < rows.shape[1]:
            losses = np.empty((n_epochs, len(members)))
        trained = self.blocks.train(first, members, losses)
        interrupts.halt = lambda: True  # Ctrl-C waits
        if losses is not rows:
            rows[...] = np.nan
            rows[:, members] = losses
        self.blocks.commit(trained)
        self.done[members] += trained.done
        self.active = members[~trained.bad]
        interrupts.halt = None
        interrupts.check()

    def _draw(self, progress: Progress, epochs: int) -> None:
        """Show how far the fit is, and the mean losses of the members that got there."""
        logs = {"loss": self.loss[epochs - 1]}
        if self.validation_loss is not None:
            logs[VALIDATION_LOSS] = self.validation_loss[epochs - 1]
        with np.errstate(all="ignore"):
            means = {
                name: v[np.isfinite(v)].mean() for name, v in logs.items() if np.isfinite(v).any()
            }
        progress.draw(epochs, means)

    def _look(self, epoch: int) -> None:
        """Validate, let members go that are stopped, and tell."""
        members = self.active
        logs = {"loss": self.loss[epoch]}
        if self.validation is not None and self.validation_loss is not None:
            found = self.engine.evaluate(self.state.members(self.own, members), self.validation)
            row = self.validation_loss[epoch]
            row[:] = np.nan
            row[members] = found / self.validation.divisors(self.spec, members)
            logs[VALIDATION_LOSS] = row
        if self.stopping is not None:
            values = logs[self.stopping.how.monitor][members]
            self.active = self.stopping.look(epoch, members, values)
        if self.told is not None:
            self.told(epoch, {name: values.copy() for name, values in logs.items()})
