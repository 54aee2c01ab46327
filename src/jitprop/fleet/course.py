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

from jitprop import schedules
from jitprop._types import Array
from jitprop.callbacks import EarlyStopping
from jitprop.fleet.data import Data
from jitprop.fleet.engines import Engine, Indices, Members
from jitprop.fleet.history import FleetHistory
from jitprop.fleet.state import FleetState
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
    rates : (K,) array, or schedule
        Learning rates.
    decays, momenta : (K,) arrays
    dropout : (K, hidden layers) array
    data : Data
    validation : Data or None
    epochs : int
    shuffle : bool
    stopping : EarlyStopping or None
        By which each member is stopped.
    told : function or None
        Called after each epoch with its number in this call and its losses; True stops all.
    progress : Progress or None
        Told of blocks, and of the members' mean losses.
    """

    def __init__(
        self,
        engine: Engine,
        spec: Spec,
        state: FleetState,
        rates: Any,
        decays: Array,
        momenta: Array,
        dropout: Array,
        data: Data,
        validation: Data | None,
        epochs: int,
        shuffle: bool,
        stopping: EarlyStopping | None,
        told: Told | None,
        progress: Progress | None,
    ) -> None:
        self.engine, self.spec, self.state = engine, spec, state
        self.rates, self.decays, self.momenta, self.dropout = rates, decays, momenta, dropout
        self.data, self.validation, self.epochs = data, validation, epochs
        n = data.n_samples
        self.n_batches = -(-n // spec.batch(n))
        self.shuffle = shuffle and self.n_batches > 1
        self.stopping, self.told, self.progress = stopping, told, progress
        k = len(state.params)
        self.loss = np.empty((epochs, k))  # filled as epochs are done
        self.validation_loss = None if validation is None else np.full((epochs, k), np.nan)
        self.done = np.zeros(k, np.int64)
        self.diverged: dict[int, int] = {}
        self.best = np.full(k, np.inf)
        self.best_epoch = np.full(k, -1)
        self.best_params = state.params.copy() if stopping and stopping.restore_best else None
        self.active: Indices = np.arange(k)

    def run(self) -> None:
        """Train until all epochs are done, or no member is left."""
        try:
            with Interrupts() as interrupts:
                self._run(interrupts)
        finally:
            self.engine.close()
        if self.best_params is not None:
            better = np.flatnonzero(self.best_epoch >= 0)
            self.state.params[better] = self.best_params[better]

    def _run(self, interrupts: Interrupts) -> None:
        each = self.validation is not None or self.stopping is not None or self.told is not None
        first, size = 0, 1
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
            if self.progress is not None and self.progress.is_due():
                self._draw(first)
        if self.progress is not None:
            self._draw(first)

    def history(self) -> FleetHistory:
        """What was trained, to the last epoch that any member had."""
        n = int(self.done.max())
        validated = self.validation_loss
        return FleetHistory(
            loss=self.loss[:n],
            validation_loss=None if validated is None else validated[:n],
            epochs=self.done,
            best_epoch=None if self.stopping is None else self.best_epoch,
            diverged=dict(sorted(self.diverged.items())),
        )

    def _most(self) -> int:
        """Epochs that a block may have."""
        numbers = len(self.active) * (self.data.n_samples if self.shuffle else 1)
        return max(1, BLOCK_NUMBERS // numbers)

    def _block(self, first: int, n_epochs: int, interrupts: Interrupts) -> None:
        """Train the active members for some epochs."""
        members = self.active
        random = self.state.random(members) if self.shuffle else {}
        try:
            rates = self._rates(members, n_epochs)
            orders = self._orders(members, n_epochs)
            trained = self._members(members)
            losses = np.zeros((n_epochs, len(members)))
            with np.errstate(all="ignore"):
                self.engine.train(trained, self.data, orders, losses, rates)
            bad = ~(np.isfinite(losses).all(axis=0) & _finite(trained))
            if bad.any():
                self._keep_finite(first, bad, trained, orders, losses, rates, random)
        except BaseException:
            self.state.set_random(random)
            raise
        losses /= self.data.divisors(self.spec, members)
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
        rows = self.loss[first : first + len(losses)]
        if len(members) == rows.shape[1]:
            rows[...] = losses
        else:
            rows[...] = np.nan
            rows[:, members] = losses
        state.params[members], state.slots[members] = trained.params, trained.slots
        state.epochs[members] += done
        state.updates[members] += done * self.n_batches
        self.done[members] += done

    def _draw(self, epochs: int) -> None:
        """Show how far the fit is, and the mean losses of the members that got there."""
        assert self.progress is not None
        logs = {"loss": self.loss[epochs - 1]}
        if self.validation_loss is not None:
            logs["validation_loss"] = self.validation_loss[epochs - 1]
        with np.errstate(all="ignore"):
            means = {
                name: v[np.isfinite(v)].mean() for name, v in logs.items() if np.isfinite(v).any()
            }
        self.progress.draw(epochs, means)

    def _members(self, members: Indices) -> Members:
        """Copies of what training changes."""
        state = self.state
        return Members(
            members,
            state.params[members],
            state.slots[members],
            state.updates[members],
            self.decays[members],
            self.momenta[members],
            self.dropout[members],
            state.keys[members],
        )

    def _orders(self, members: Indices, n_epochs: int) -> Indices | None:
        if not self.shuffle:
            return None
        return self.state.orders(members, n_epochs, self.data.n_samples)

    def _rates(self, members: Indices, n_epochs: int) -> Array:
        """The learning rate of each epoch and member, (epochs, members)."""
        if isinstance(self.rates, np.ndarray):
            return np.broadcast_to(self.rates[members], (n_epochs, len(members)))
        rates, epochs = np.empty((n_epochs, len(members))), self.state.epochs[members]
        for start in np.unique(epochs):
            own = np.empty(n_epochs)
            schedules.fill(own, self.rates, int(start))
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
        before = self._members(trained.numbers[places])
        for epoch in range(len(losses)):
            after = before._replace(params=before.params.copy(), slots=before.slots.copy())
            own = np.zeros((1, len(places)))
            some = None if orders is None else orders[places, epoch : epoch + 1]
            with np.errstate(all="ignore"):
                self.engine.train(after, self.data, some, own, rates[epoch : epoch + 1, places])
            failed = ~(np.isfinite(own[0]) & _finite(after))
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
            found = self.engine.evaluate(self._members(members), self.validation)
            self.validation_loss[epoch, members] = found / self.validation.divisors(
                self.spec, members
            )
            logs["validation_loss"] = self.validation_loss[epoch]
        if self.stopping is not None:
            value = logs[self.stopping.monitor][members]
            better = members[value < self.best[members] - self.stopping.min_delta]
            self.best[better], self.best_epoch[better] = logs[self.stopping.monitor][better], epoch
            if self.best_params is not None:
                self.best_params[better] = self.state.params[better]
            waited = epoch - self.best_epoch[members]
            self.active = members[waited < self.stopping.patience]
        return self.told is not None and self.told(epoch, logs)


def _finite(members: Members) -> Any:
    """Whether each member's numbers are all finite, (A,)."""
    return np.isfinite(members.params).all(axis=1) & np.isfinite(members.slots).all(axis=(1, 2))
