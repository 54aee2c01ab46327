"""All that training changes in a fleet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from jitprop._types import Array
from jitprop.fleet.engines import Indices, Members, run, threads_for
from jitprop.fleet.settings import Own
from jitprop.net.seeds import generator, words
from jitprop.net.state import cast_params, writable
from jitprop.training.kept import Kept

DRAWN = 100
"""Multiply-adds that take as long as drawing one number of an order, 10 ns."""

LONG = 5000
"""Numbers of one member, 50 us of drawing, from which threads share members: a hand-over of the GIL
takes some us, and with 500 numbers each two threads took a third longer than one."""


class FleetWhole(NamedTuple):
    """
    What a fit publishes while it trains the next epochs of a fleet.

    The parameters need no copy: they change when a block of epochs is done, and at once.
    """

    random: Mapping[int, Any]
    """States of generators that have moved on since."""
    kept: Sequence[Kept]
    """What callbacks kept."""


@dataclass
class FleetState:
    """
    Parameters, optimizer state, random states and counters of K nets.

    Attributes
    ----------
    params : (K, P) array
    slots : (K, n_slots, P) array
        What the optimizer keeps of each parameter.
    seeds : (K,) list of ints
    epochs, updates : (K,) int64 arrays
        Done so far.
    keys : (K,) int64 array
        Of the units that dropout drops, as `State.dropout_key`.
    generators : dict of int to numpy.random.Generator
        Of the shuffles, for members that were shuffled.
    """

    params: Array
    slots: Array
    seeds: list[int]
    epochs: Indices
    updates: Indices
    keys: Indices
    generators: dict[int, np.random.Generator] = field(default_factory=dict)

    def __setstate__(self, state: dict[str, Any]) -> None:
        arrays = {k: writable(v) for k, v in state.items() if isinstance(v, np.ndarray)}
        self.__dict__.update(state | arrays)

    def generator(self, member: int) -> np.random.Generator:
        """The generator of one member's shuffles, as a `Trainer` with its seed has it."""
        if member not in self.generators:
            self._make([member])
        return self.generators[member]

    def _make(self, members: list[int]) -> None:
        """Generators for those that have none."""
        missing = [member for member in members if member not in self.generators]
        if missing:
            made = map(generator, words([self.seeds[i] for i in missing], "shuffle"))
            self.generators.update(zip(missing, made, strict=True))

    def orders(self, members: Indices, n_epochs: int, n: int, n_threads: int) -> Indices:
        """Draw the order of n samples in the next epochs of some members: (members, epochs, n)."""
        rows = np.empty((len(members), n_epochs, n), np.int64)
        rows[:] = np.arange(n)
        generators = [self.generator(member) for member in members.tolist()]

        def draw(i: int) -> None:
            generators[i].permuted(rows[i], axis=1, out=rows[i])

        work = DRAWN * rows.size if n_epochs * n >= LONG else 0
        run(draw, len(rows), threads_for(work, n_threads))
        return rows

    def members(self, own: Own, numbers: Indices | None = None) -> Members:
        """Copies of some members with what they have of their own; without numbers, all as is."""
        which = slice(None) if numbers is None else numbers
        return Members(
            np.arange(len(self.params)) if numbers is None else numbers,
            self.params[which],
            self.slots[which],
            self.updates[which],
            own.decays[which],
            own.momenta[which],
            own.dropout[which],
            self.keys[which],
        )

    def random(self, members: Indices) -> dict[int, Any]:
        """The random states of some members."""
        numbers: list[int] = members.tolist()
        self._make(numbers)
        return {i: self.generators[i].bit_generator.state for i in numbers}

    def set_random(self, states: dict[int, Any]) -> None:
        """Go back to them."""
        for member, state in states.items():
            self.generator(member).bit_generator.state = state

    def cast(self, dtype: np.dtype[Any]) -> FleetState:
        """In this dtype, with arrays that can be written to: itself if all is so already."""
        arrays = self.params, self.slots
        if self.params.dtype == dtype and all(array.flags.writeable for array in arrays):
            return self
        params = cast_params(self.params, dtype)
        return replace(self, params=params, slots=self.slots.astype(dtype))

    def some(self, numbers: Indices) -> FleetState:
        """Copies of some members."""
        made = FleetState(
            params=self.params[numbers],
            slots=self.slots[numbers],
            seeds=[self.seeds[i] for i in numbers],
            epochs=self.epochs[numbers],
            updates=self.updates[numbers],
            keys=self.keys[numbers],
        )
        known = {i: self.generators.get(int(number)) for i, number in enumerate(numbers)}
        made.set_random({i: rng.bit_generator.state for i, rng in known.items() if rng is not None})
        return made
