"""
Blocks of epochs: some members are trained on copies, and the result is committed as a whole.

The fleet's own arrays change only at the commit. So after an exception, a divergence or Ctrl-C
each member is at the end of an epoch. The start of the previous block is kept too, because a
member that diverges in the first epoch of a block may have to go back to an epoch before it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from jitprop._types import Array
from jitprop.fleet.data import Data
from jitprop.fleet.engines import Engine, Indices, Later, Mask, Members
from jitprop.fleet.settings import MemberSettings
from jitprop.fleet.state import FleetState
from jitprop.net import schedules
from jitprop.net.schedules import EachUpdate
from jitprop.net.second_order import has_ended
from jitprop.net.spec import Spec


@dataclass
class Block:
    """
    Some epochs of A members, with all that is needed to train them again.

    Attributes
    ----------
    first : int
        The number of the first epoch in this fit.
    members : (A,) int64 array
        In ascending order.
    epochs : int
    rates : (epochs, A) or (epochs * batches, A) float64 array
        The learning rates of each epoch, or those of each update.
    random : dict of int to dict
        The state of each member's generator at the start of the block. Without shuffling it is
        empty.
    params : (A, P) array
        The members' parameters at the start of the block. It is set when the block is committed.
    slots : (A, n_slots, P) array
        What the optimizer kept at the start of the block. It is set when the block is committed.
    """

    first: int
    members: Indices
    epochs: int
    rates: Array
    random: dict[int, Any]
    params: Array = field(init=False)
    slots: Array = field(init=False)

    def rates_of(self, start: int, stop: int, rows: Indices) -> Array:
        """Return the rates of some of its epochs, for some of its members."""
        n = len(self.rates) // self.epochs
        return self.rates[start * n : stop * n, rows]


Look: TypeAlias = Callable[[Members, Later, Array, Indices], "tuple[Indices, Mask]"]
"""
Looks at the members of a block after each epoch.

Takes the members, what they are after each epoch, the losses, and for each member the number of
epochs after which all was finite. Returns how many epochs each member keeps, and which were
stopped.
"""


class Trained(NamedTuple):
    """The result of a block's training."""

    block: Block
    members: Members
    """The members after the block."""
    done: Indices
    """(A,): how many of the block's epochs each member keeps. It is -1 for a member that went back
    to one epoch before the block."""
    diverged: Mask
    """(A,): which members diverged."""
    stopped: Mask
    """(A,): which members were stopped, or have ended by themselves."""


class Blocks:
    """
    Trains the blocks of one fit, one after the other.

    Parameters
    ----------
    engine : Engine
    spec : Spec
    state : FleetState
        `commit` changes it in place.
    settings : MemberSettings
        Callbacks may change its learning rates.
    data : Data
    shuffle : bool
        Whether the fleet shuffles its samples.

    Attributes
    ----------
    shuffle : bool
        Whether this fit shuffles them. It does not with full batches.
    n_batches : int
        Batches of an epoch.
    diverged : dict of int to int
        The epoch in which each diverged member diverged.
    current, previous : Block or None
        The block that is being trained, and the last one that was committed.
    """

    def __init__(
        self,
        engine: Engine,
        spec: Spec,
        state: FleetState,
        settings: MemberSettings,
        data: Data,
        shuffle: bool,
    ) -> None:
        self.engine, self.spec, self.state = engine, spec, state
        self.settings, self.data = settings, data
        n = data.n_samples
        self.n_batches = -(-n // spec.batch(n))
        self.shuffle = shuffle and self.n_batches > 1
        self.diverged: dict[int, int] = {}
        self.previous: Block | None = None
        self.current: Block | None = None

    def random(self, members: Indices) -> dict[int, Any]:
        """Return the states of the members' generators, which `train` is about to change."""
        return self.state.random(members) if self.shuffle else {}

    def train(
        self,
        first: int,
        members: Indices,
        losses: Array,
        random: dict[int, Any],
        look: Look | None = None,
    ) -> Trained:
        """
        Train copies of some members from epoch ``first`` on.

        Parameters
        ----------
        first : int
            The number of the first epoch in this fit.
        members : (A,) int64 array
        losses : (epochs, A) float64 array
            The losses are written to it. Its length is the number of epochs.
        random : dict of int to dict
            What `random` returned for these members.
        look : Look or None
            It is called after the training, and before members that diverged go back.
        """
        n_epochs = len(losses)
        rates = self._rates(members, n_epochs)
        block = self.current = Block(first, members, n_epochs, rates, random)
        orders = self._orders(members, n_epochs)
        trained = self.state.members(self.settings, members)
        later = None
        if look is not None and n_epochs > 1:
            params, slots = trained.params, trained.slots
            later = Later(
                np.empty((n_epochs, *params.shape), params.dtype),
                np.empty((n_epochs, *slots.shape), slots.dtype),
            )
        finite = self._run(trained, self.data, orders, losses, block.rates, later)
        diverged = ~(finite & _finite(trained))
        # After its end, a second-order method has no losses.
        ended = has_ended(self.spec.optimizer, trained.slots) & ~diverged
        done = np.where(ended, np.isfinite(losses).sum(axis=0), n_epochs)
        stopped = np.zeros(len(members), np.bool_)
        if look is not None:
            later = later or Later.after(trained)
            whole = np.where(ended, done, _whole_epochs(diverged, losses, later))
            done, stopped = look(trained, later, losses, whole)
            diverged &= ~stopped
            early = np.flatnonzero(stopped & (done < n_epochs))
            self._end_early(block, early, trained, later, done)
        stopped |= ended
        if diverged.any():
            self._go_back(block, diverged, trained, orders, losses, done)
        for i in np.flatnonzero(stopped):
            losses[done[i] :, i] = np.nan
        return Trained(block, trained, done, diverged, stopped)

    def discard(self) -> None:
        """Forget the current block, which will not be committed."""
        if self.current is not None:
            self.state.set_random(self.current.random)
            for member in self.current.members.tolist():
                self.diverged.pop(member, None)
            self.current = None

    def commit(self, trained: Trained) -> None:
        """Write the trained members to the fleet's own arrays."""
        state, (block, after, done, *_) = self.state, trained
        members = block.members
        self.current = self.previous = None  # frees the memory of the previous block
        block.params, block.slots = state.params[members], state.slots[members]
        self.previous = block
        state.params[members], state.slots[members] = after.params, after.slots
        state.epochs[members] += done
        state.updates[members] += done * self.n_batches

    def _orders(self, members: Indices, n_epochs: int) -> Indices | None:
        if not self.shuffle:
            return None
        return self.state.orders(members, n_epochs, self.data.n_samples, self.engine.n_threads)

    def _rates(self, members: Indices, n_epochs: int) -> Array:
        """Return the learning rates of the members: see `Block`."""
        given = self.settings.rates
        if isinstance(given, np.ndarray):
            return np.broadcast_to(given[members], (n_epochs, len(members)))
        n_rates = n_epochs * (self.n_batches if isinstance(given, EachUpdate) else 1)
        rates, epochs = np.empty((n_rates, len(members))), self.state.epochs[members]
        for start in np.unique(epochs):
            scheduled = schedules.of_updates(np.empty(n_epochs), given, int(start), self.n_batches)
            rates[:, epochs == start] = scheduled[:, None]
        return rates

    def _end_early(
        self, block: Block, rows: Indices, trained: Members, later: Later, done: Indices
    ) -> None:
        """Return members that were stopped within the block to the epoch of their end."""
        epochs = done[rows] - 1
        trained.params[rows] = later.params[epochs, rows]
        trained.slots[rows] = later.slots[epochs, rows]
        if self.shuffle and len(rows) > 0:
            self._rewind(block, block.members[rows], done[rows])

    def _go_back(
        self,
        block: Block,
        diverged: Mask,
        trained: Members,
        orders: Indices | None,
        losses: Array,
        done: Indices,
    ) -> None:
        """
        Return diverged members to the epoch at which a `Trainer` would be.

        That is the last end of an epoch after which a batch was trained with a finite loss. It is
        the end before the epoch that failed, or one epoch earlier if the first batch failed. The
        members are trained again, epoch by epoch, and from the previous block where that is needed.
        """
        rows = np.flatnonzero(diverged)  # in the block's arrays
        before = self.state.members(self.settings, block.members[rows])
        earlier: Members | None = None  # one epoch earlier than ``before``
        for epoch in range(len(losses)):
            order = None if orders is None else orders[rows, epoch : epoch + 1]
            rates = block.rates_of(epoch, epoch + 1, rows)
            after, finite = self._epoch(before, self.data, order, rates)
            failed = ~(finite & _finite(after))
            if failed.any():
                which, kept = rows[failed], before.take(failed, 0)
                trained_a_batch = finite[failed]
                if self.n_batches > 1:
                    failed_order = None if order is None else order[failed]
                    trained_a_batch = self._first_batch(kept, failed_order, rates[:1, failed])
                if earlier is None and self.previous is not None:
                    earlier = self._last_but_one(self.previous, before)
                if earlier is not None:
                    kept.params[~trained_a_batch] = earlier.params[failed][~trained_a_batch]
                    kept.slots[~trained_a_batch] = earlier.slots[failed][~trained_a_batch]
                done[which] = epoch if earlier is None else epoch - ~trained_a_batch
                trained.params[which], trained.slots[which] = kept.params, kept.slots
                losses[epoch:, which] = np.nan
                self.diverged.update(dict.fromkeys(kept.numbers.tolist(), block.first + epoch))
                if self.shuffle:
                    self._rewind(block, kept.numbers, done[which])
            if failed.all():
                break
            earlier = before.take(~failed, 0)
            rows, before = rows[~failed], after.take(~failed, self.n_batches)

    def _run(
        self,
        members: Members,
        data: Data,
        orders: Indices | None,
        losses: Array,
        rates: Array,
        later: Later | None = None,
    ) -> Mask:
        """Train members in place. Return whether each one's losses were finite, (A,)."""
        with np.errstate(all="ignore"):
            return self.engine.train(members, data, orders, losses, rates, later)

    def _epoch(
        self, before: Members, data: Data, order: Indices | None, rates: Array
    ) -> tuple[Members, Mask]:
        """Return copies of the members an epoch later, and whether their losses were finite."""
        after = before._replace(params=before.params.copy(), slots=before.slots.copy())
        losses = np.empty((1, len(before.numbers)))
        return after, self._run(after, data, order, losses, rates)

    def _first_batch(self, members: Members, order: Indices | None, rates: Array) -> Mask:
        """Return whether each member's loss on its next batch is finite, (A,)."""
        n, a = self.spec.batch(self.data.n_samples), len(members.numbers)
        rows = np.broadcast_to(np.arange(n), (a, n)) if order is None else order[:, 0, :n]
        data = self.data.take(members.numbers, rows)
        return self._epoch(members._replace(numbers=np.arange(a)), data, None, rates)[1]

    def _last_but_one(self, previous: Block, members: Members) -> Members:
        """Return copies of members as they were one epoch before the end of the previous block."""
        numbers, n = members.numbers, previous.epochs - 1
        rows = np.searchsorted(previous.members, numbers)
        made = members._replace(
            params=previous.params[rows],
            slots=previous.slots[rows],
            updates=members.updates - (n + 1) * self.n_batches,
        )
        if n > 0:
            if self.shuffle:  # `_go_back` rewinds the generators of all members that failed
                self.state.set_random({i: previous.random[i] for i in numbers.tolist()})
            orders = self._orders(numbers, n)
            losses = np.empty((n, len(numbers)))
            self._run(made, self.data, orders, losses, previous.rates_of(0, n, rows))
        return made

    def _rewind(self, block: Block, members: Indices, epochs: Indices) -> None:
        """Set each member's generator to so many epochs after a block's start; -1 is before it."""
        for member, n in zip(members.tolist(), epochs.tolist(), strict=True):
            begin, drawn = block, n
            if n < 0 and self.previous is not None:
                begin, drawn = self.previous, self.previous.epochs + n
            self.state.set_random({member: begin.random[member]})
            self._orders(np.array([member]), drawn)


def _whole_epochs(diverged: Mask, losses: Array, later: Later) -> Indices:
    """Return after how many epochs each member was finite, (A,), if some diverged."""
    whole = np.full(len(diverged), len(losses))
    for i in np.flatnonzero(diverged):
        good = np.isfinite(losses[:, i])
        good &= np.isfinite(later.params[:, i]).all(axis=1)
        good &= np.isfinite(later.slots[:, i]).all(axis=(1, 2))
        whole[i] = len(losses) if good.all() else good.argmin()
    return whole


def _finite(members: Members) -> Mask:
    """Return whether each member's parameters and slots are all finite, (A,)."""
    params, slots = members.params, members.slots
    # The sum of finite numbers is nearly always finite, and it is faster than a test of each.
    with np.errstate(all="ignore"):
        sums = params.sum(axis=1, dtype=np.float64) + slots.sum(axis=(1, 2), dtype=np.float64)
    finite: Mask = np.isfinite(sums)
    doubtful = np.flatnonzero(~finite)
    finite[doubtful] = np.isfinite(params[doubtful]).all(axis=1)
    finite[doubtful] &= np.isfinite(slots[doubtful]).all(axis=(1, 2))
    return finite
