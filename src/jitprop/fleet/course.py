"""
The course of a fleet's fit: epochs in blocks, of those members that are still being trained.

A block trains copies. The fleet's own arrays change when it is done, so that an exception, a
diverged member or Ctrl-C finds each member at the end of a whole epoch. What the block before began
with is kept too: a member that diverges in its first epoch may have to go back to one before that.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
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

BLOCK_SECONDS = 0.1
"""How long a block is to take: by what the one before took, but of no more than `GROWTH` times its
epochs. Ctrl-C loses one, and each costs a call from Python for every member that is in no lane."""

GROWTH = 16

BLOCK_NUMBERS = 1 << 20
"""Losses, rates and indices of samples that a block may hold: 8 MB of each."""

Told = Callable[[int, dict[str, Array]], bool]


@dataclass
class Block:
    """
    Some epochs of some members, A of them: what it takes to train them again.

    Attributes
    ----------
    first : int
        The first epoch.
    members : (A,) ascending ints
    rates : (epochs, A) array
    random : dict
        States of the members' generators at its beginning, where samples are shuffled.
    params, slots : arrays
        The members' at its beginning, once they have others.
    """

    first: int
    members: Indices
    rates: Array
    random: dict[int, Any]
    params: Array = field(init=False)
    slots: Array = field(init=False)


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
        self.last: Block | None = None

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
            size = max(1, int(n_epochs * min(GROWTH, BLOCK_SECONDS / seconds)))
            first += n_epochs
            if each and self._look(first - 1):
                break
            if progress is not None and progress.is_due():
                self._draw(progress, first)
        if progress is not None:
            self._draw(progress, first)

    def history(self) -> FleetHistory:
        """What was trained, to the last epoch that any member had."""
        n = max(int(self.done.max()), *self.diverged.values(), 0)
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
        block = Block(first, members, self._rates(members, n_epochs), random)
        try:
            orders = self._orders(members, n_epochs)
            trained = self.state.members(self.own, members)
            losses = self.loss[first : first + n_epochs]
            if len(members) < losses.shape[1]:
                losses = np.empty((n_epochs, len(members)))
            with np.errstate(all="ignore"):
                finite = self.engine.train(trained, self.data, orders, losses, block.rates)
            bad = ~(finite & _finite(trained))
            done = np.full(len(members), n_epochs)
            if bad.any():
                self._go_back(block, bad, trained, orders, losses, done)
        except BaseException:
            self.state.set_random(random)
            raise
        interrupts.halt = lambda: True  # Ctrl-C waits
        self._commit(block, trained, losses, done)
        self.active = members[~bad]
        interrupts.halt = None
        interrupts.check()

    def _commit(self, block: Block, trained: Members, losses: Array, done: Indices) -> None:
        state, members = self.state, trained.numbers
        if len(members) < self.loss.shape[1]:
            rows = self.loss[block.first : block.first + len(losses)]
            rows[...] = np.nan
            rows[:, members] = losses
        self.last = None  # gives its memory back
        block.params, block.slots = state.params[members], state.slots[members]
        self.last = block
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

    def _go_back(
        self,
        block: Block,
        bad: Any,
        trained: Members,
        orders: Indices | None,
        losses: Array,
        done: Indices,
    ) -> None:
        """
        Bring members that diverged to where a `Trainer` would be.

        That is the last epoch boundary from which a batch was trained with a finite loss: the one
        before the epoch that failed, or, if its first batch did, the one before that. They are
        trained again, epoch by epoch; from the block before this one, if need be.
        """
        places = np.flatnonzero(bad)
        before = self.state.members(self.own, block.members[places])
        earlier: Members | None = None  # by an epoch
        for epoch in range(len(losses)):
            order = None if orders is None else orders[places, epoch : epoch + 1]
            rates = block.rates[epoch : epoch + 1, places]
            after, finite = self._epoch(before, self.data, order, rates)
            failed = ~(finite & _finite(after))
            if failed.any():
                which, kept = places[failed], before.some(failed, 0)
                begun = finite[failed]
                if self.n_batches > 1:
                    some = None if order is None else order[failed]
                    begun = self._first_batch(kept, some, rates[:, failed])
                if earlier is None and self.last is not None:
                    earlier = self._last_but_one(self.last, before)
                if earlier is not None:
                    kept.params[~begun] = earlier.params[failed][~begun]
                    kept.slots[~begun] = earlier.slots[failed][~begun]
                done[which] = epoch if earlier is None else epoch - ~begun
                trained.params[which], trained.slots[which] = kept.params, kept.slots
                losses[epoch:, which] = np.nan
                self.diverged.update(dict.fromkeys(kept.numbers.tolist(), block.first + epoch))
                if self.shuffle:
                    self._rewind(block, kept.numbers, done[which])
            if failed.all():
                break
            earlier = before.some(~failed, 0)
            places, before = places[~failed], after.some(~failed, self.n_batches)

    def _epoch(
        self, before: Members, data: Data, order: Indices | None, rates: Array
    ) -> tuple[Members, Any]:
        """The same members an epoch later, and whether their losses were finite, (A,)."""
        after = before._replace(params=before.params.copy(), slots=before.slots.copy())
        losses = np.empty((1, len(before.numbers)))
        with np.errstate(all="ignore"):
            finite = self.engine.train(after, data, order, losses, rates)
        return after, finite

    def _first_batch(self, members: Members, order: Indices | None, rates: Array) -> Any:
        """Whether the loss of their next batch is finite, (A,)."""
        n, a = self.spec.batch(self.data.n_samples), len(members.numbers)
        rows = np.broadcast_to(np.arange(n), (a, n)) if order is None else order[:, 0, :n]
        data = self.data.part(members.numbers, rows)
        return self._epoch(members._replace(numbers=np.arange(a)), data, None, rates)[1]

    def _last_but_one(self, last: Block, members: Members) -> Members:
        """Members as they were an epoch before the end of the last block."""
        numbers, n = members.numbers, len(last.rates) - 1
        at = np.searchsorted(last.members, numbers)
        made = members._replace(
            params=last.params[at],
            slots=last.slots[at],
            updates=members.updates - (n + 1) * self.n_batches,
        )
        if n > 0:
            if self.shuffle:  # whoever goes back is rewound in the end
                self.state.set_random({i: last.random[i] for i in numbers.tolist()})
            orders = self._orders(numbers, n)
            with np.errstate(all="ignore"):
                losses = np.empty((n, len(numbers)))
                self.engine.train(made, self.data, orders, losses, last.rates[:n, at])
        return made

    def _rewind(self, block: Block, members: Indices, epochs: Indices) -> None:
        """Bring generators to so many epochs after the beginning of a block, or one before it."""
        for member, n in zip(members.tolist(), epochs.tolist(), strict=True):
            begin, drawn = block, n
            if n < 0 and self.last is not None:
                begin, drawn = self.last, len(self.last.rates) + n
            self.state.set_random({member: begin.random[member]})
            self._orders(np.array([member]), drawn)

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
    params, slots = members.params, members.slots
    with np.errstate(all="ignore"):  # the sum of finite numbers is finite, nearly always
        sums = params.sum(axis=1, dtype=np.float64) + slots.sum(axis=(1, 2), dtype=np.float64)
    finite = np.isfinite(sums)
    doubtful = np.flatnonzero(~finite)
    finite[doubtful] = np.isfinite(params[doubtful]).all(axis=1)
    finite[doubtful] &= np.isfinite(slots[doubtful]).all(axis=(1, 2))
    return finite
