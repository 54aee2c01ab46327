"""
The course of a fleet's fit: epochs in blocks, of those members that are still being trained.

A block trains copies. The fleet's own arrays change when it is done, so that an exception, a
diverged member or Ctrl-C finds each member at the end of a whole epoch.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from jitprop import cast, schedules
from jitprop._types import Array
from jitprop.callbacks import EarlyStopping
from jitprop.fleet.data import Data
from jitprop.fleet.engines import Engine, Indices, Members
from jitprop.fleet.history import FleetHistory
from jitprop.fleet.settings import Own
from jitprop.fleet.state import FleetState
from jitprop.fleet.stopping import Stopping
from jitprop.history import VALIDATION_LOSS
from jitprop.interrupts import Interrupts
from jitprop.progress import Progress
from jitprop.spec import Spec

BLOCK_SECONDS = (0.05, 0.2)
"""How long a block may take: below, the next has twice as many epochs, above, half as many."""

BLOCK_NUMBERS = 1 << 20
"""Losses, rates and indices of samples that a block may hold: 8 MB of each."""

Told = Callable[[int, dict[str, Array]], bool]


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
        Called after each epoch with its number in this call and its losses; True stops all.
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
        n = data.n_samples
        self.n_batches = -(-n // spec.batch(n))
        self.shuffle = shuffle and self.n_batches > 1
        self.stopping = None if stopping is None else Stopping(stopping, state)
        self.told = told
        k = len(state.params)
        self.loss = cast.zeros("epochs", (epochs, k), np.float64)  # filled as epochs are done
        self.validation_loss = None
        if validation is not None:
            self.validation_loss = cast.zeros("epochs", (epochs, k), np.float64)
        self.done = np.zeros(k, np.int64)
        self.diverged: dict[int, int] = {}
        self.active: Indices = np.arange(k)

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
        while first < self.epochs and len(self.active):
            n_epochs = 1 if each else min(size, self.epochs - first, self._most())
            began = time.perf_counter()
            self._block(first, n_epochs, interrupts)
            seconds = time.perf_counter() - began
            if seconds < BLOCK_SECONDS[0]:
                size *= 2
            elif seconds > BLOCK_SECONDS[1]:
                size = max(1, size // 2)
            first += n_epochs
            if each and self._look(first - 1):
                break
            if progress is not None and progress.is_due():
                self._draw(progress, first)
        if progress is not None:
            self._draw(progress, first)

    def history(self) -> FleetHistory:
        """What was trained, to the last epoch that any member had."""
        n = int(self.done.max())
        validated = self.validation_loss
        return FleetHistory(
            loss=self.loss[:n],
            validation_loss=None if validated is None else validated[:n],
            epochs=self.done,
            best_epoch=None if self.stopping is None else self.stopping.best_epoch,
            diverged=dict(sorted(self.diverged.items())),
        )

    def _most(self) -> int:
        """Epochs that a block may have, for what it holds of each epoch and member."""
        numbers = self.data.n_samples if self.shuffle else 0
        if callable(self.own.rates) or len(self.active) < len(self.done):
            numbers = max(numbers, 1)
        return max(1, BLOCK_NUMBERS // (len(self.active) * numbers)) if numbers else self.epochs

    def _block(self, first: int, n_epochs: int, interrupts: Interrupts) -> None:
        """Train the active members for some epochs."""
        members = self.active
        random = self.state.random(members) if self.shuffle else {}
        try:
            rates = self._rates(members, n_epochs)
            orders = self._orders(members, n_epochs)
            trained = self.state.members(self.own, members)
            losses = self.loss[first : first + n_epochs]
            if len(members) < losses.shape[1]:
                losses = np.empty((n_epochs, len(members)))
            with np.errstate(all="ignore"):
                finite = self.engine.train(trained, self.data, orders, losses, rates)
            bad = ~(finite & _finite(trained))
            if bad.any():
                self._keep_finite(first, bad, trained, orders, losses, rates, random)
        except BaseException:
            self.state.set_random(random)
            raise
        done = np.full(len(members), n_epochs)
        done[bad] = [self.diverged[int(i)] - first for i in members[bad]]
        interrupts.halt = lambda: True  # Ctrl-C waits
        self._commit(first, trained, losses, done)
        self.active = members[~bad]
        interrupts.halt = None
        interrupts.check()

    def _commit(self, first: int, trained: Members, losses: Array, done: Indices) -> None:
        state, members = self.state, trained.numbers
        if (done < len(losses)).any():
            losses[np.arange(len(losses))[:, None] >= done] = np.nan
        if len(members) < self.loss.shape[1]:
            rows = self.loss[first : first + len(losses)]
            rows[...] = np.nan
            rows[:, members] = losses
        state.params[members], state.slots[members] = trained.params, trained.slots
        state.epochs[members] += done
        state.updates[members] += done * self.n_batches
        self.done[members] += done

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

    def _orders(self, members: Indices, n_epochs: int) -> Indices | None:
        if not self.shuffle:
            return None
        return self.state.orders(members, n_epochs, self.data.n_samples)

    def _rates(self, members: Indices, n_epochs: int) -> Array:
        """The learning rate of each epoch and member, (epochs, members)."""
        given = self.own.rates
        if isinstance(given, np.ndarray):
            return np.broadcast_to(given[members], (n_epochs, len(members)))
        rates, epochs = np.empty((n_epochs, len(members))), self.state.epochs[members]
        for start in np.unique(epochs):
            own = np.empty(n_epochs)
            schedules.fill(own, given, int(start))
            rates[:, epochs == start] = own[:, None]
        return rates

    def _keep_finite(
        self,
        first: int,
        bad: Any,
        trained: Members,
        orders: Indices | None,
        losses: Array,
        rates: Array,
        random: dict[int, Any],
    ) -> None:
        """Bring the members that diverged to the last epoch before: again, epoch by epoch."""
        places = np.flatnonzero(bad)
        before = self.state.members(self.own, trained.numbers[places])
        for epoch in range(len(losses)):
            after = before._replace(params=before.params.copy(), slots=before.slots.copy())
            own = np.empty((1, len(places)))
            some = None if orders is None else orders[places, epoch : epoch + 1]
            with np.errstate(all="ignore"):
                finite = self.engine.train(
                    after, self.data, some, own, rates[epoch : epoch + 1, places]
                )
            failed = ~(finite & _finite(after))
            trained.params[places[failed]] = before.params[failed]
            trained.slots[places[failed]] = before.slots[failed]
            for member in before.numbers[failed].tolist():
                self.diverged[member] = first + epoch
                if self.shuffle:  # so far its generator has come
                    self.state.set_random({member: random[member]})
                    self._orders(np.array([member]), epoch)
            places, before = places[~failed], after.some(~failed, self.n_batches)
            if not len(places):
                break

    def _look(self, epoch: int) -> bool:
        """Validate, tell, and let members go that are stopped; returns whether all are."""
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
        if self.told is None:
            return False
        return self.told(epoch, {name: values.copy() for name, values in logs.items()})


def _finite(members: Members) -> Any:
    """Whether each member's numbers are all finite, (A,)."""
    return np.isfinite(members.params).all(axis=1) & np.isfinite(members.slots).all(axis=(1, 2))
