"""
A block of epochs of some members: trained as copies, committed when whole.

The fleet's own arrays change when it is committed, so that an exception, a diverged member or
Ctrl-C finds each member at the end of a whole epoch. What the block before began with is kept too:
a member that diverges in the first epoch may have to go back to one before that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from jitprop._types import Array
from jitprop.fleet.data import Data
from jitprop.fleet.engines import Engine, Indices, Mask, Members
from jitprop.fleet.settings import Own
from jitprop.fleet.state import FleetState
from jitprop.net import schedules
from jitprop.net.spec import Spec


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


class Trained(NamedTuple):
    """What came of a block."""

    block: Block
    members: Members
    """As they are after it."""
    done: Indices
    """(A,): the epochs that each has kept; -1 for one that went back to within the block before."""
    bad: Any
    """(A,): whether it diverged."""


class Blocks:
    """
    What trains blocks, one after the other.

    Parameters
    ----------
    engine : Engine
    spec : Spec
    state : FleetState
        Changed in place by `commit`.
    own : Own
        Whose learning rates callbacks may change.
    data : Data
    shuffle : bool

    Attributes
    ----------
    shuffle : bool
        Whether samples are shuffled: full batches are not.
    diverged : dict of int to int
        Members that did, and in which epoch.
    """

    def __init__(
        self, engine: Engine, spec: Spec, state: FleetState, own: Own, data: Data, shuffle: bool
    ) -> None:
        self.engine, self.spec, self.state, self.own, self.data = engine, spec, state, own, data
        n = data.n_samples
        self.n_batches = -(-n // spec.batch(n))
        self.shuffle = shuffle and self.n_batches > 1
        self.diverged: dict[int, int] = {}
        self.last: Block | None = None
        self.begun: Block | None = None

    def random(self, members: Indices) -> dict[int, Any]:
        """The random states of members, which `train` will move on."""
        return self.state.random(members) if self.shuffle else {}

    def train(self, first: int, members: Indices, losses: Array, random: dict[int, Any]) -> Trained:
        """Train copies of some members from epoch ``first`` on, for those of ``losses``."""
        n_epochs = len(losses)
        block = self.begun = Block(first, members, self._rates(members, n_epochs), random)
        orders = self._orders(members, n_epochs)
        trained = self.state.members(self.own, members)
        finite = self._run(trained, self.data, orders, losses, block.rates)
        bad = ~(finite & _finite(trained))
        done = np.full(len(members), n_epochs)
        if bad.any():
            self._go_back(block, bad, trained, orders, losses, done)
        return Trained(block, trained, done, bad)

    def discard(self) -> None:
        """Forget a block that was begun and is not to be committed."""
        if self.begun is not None:
            self.state.set_random(self.begun.random)
            for member in self.begun.members.tolist():
                self.diverged.pop(member, None)
            self.begun = None

    def commit(self, trained: Trained) -> None:
        """Let the members be what they have become."""
        state, (block, after, done, _) = self.state, trained
        members = block.members
        self.begun = self.last = None  # gives its memory back
        block.params, block.slots = state.params[members], state.slots[members]
        self.last = block
        state.params[members], state.slots[members] = after.params, after.slots
        state.epochs[members] += done
        state.updates[members] += done * self.n_batches

    def _orders(self, members: Indices, n_epochs: int) -> Indices | None:
        if not self.shuffle:
            return None
        return self.state.orders(members, n_epochs, self.data.n_samples, self.engine.n_threads)

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

    def _run(
        self, members: Members, data: Data, orders: Indices | None, losses: Array, rates: Array
    ) -> Mask:
        """Train members, who change in place; whether their losses were finite, (A,)."""
        with np.errstate(all="ignore"):
            return self.engine.train(members, data, orders, losses, rates)

    def _epoch(
        self, before: Members, data: Data, order: Indices | None, rates: Array
    ) -> tuple[Members, Any]:
        """The same members an epoch later, and whether their losses were finite, (A,)."""
        after = before._replace(params=before.params.copy(), slots=before.slots.copy())
        losses = np.empty((1, len(before.numbers)))
        return after, self._run(after, data, order, losses, rates)

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
            self._run(made, self.data, orders, np.empty((n, len(numbers))), last.rates[:n, at])
        return made

    def _rewind(self, block: Block, members: Indices, epochs: Indices) -> None:
        """Bring generators to so many epochs after the beginning of a block, or one before it."""
        for member, n in zip(members.tolist(), epochs.tolist(), strict=True):
            begin, drawn = block, n
            if n < 0 and self.last is not None:
                begin, drawn = self.last, len(self.last.rates) + n
            self.state.set_random({member: begin.random[member]})
            self._orders(np.array([member]), drawn)


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
