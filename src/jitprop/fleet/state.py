"""The state of a fleet: everything that training changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from jitprop._types import Array
from jitprop.fleet.engines import Indices, Members, run, threads_for
from jitprop.fleet.settings import MemberSettings
from jitprop.net.seeds import generator, words
from jitprop.net.state import cast_params, writable
from jitprop.training.kept import Kept

DRAW_WORK = 100
"""Multiply-adds that take as long as drawing one index of an order, 10 ns."""

MIN_THREADED_DRAWS = 5000
"""Threads share the members from so many indices of one member on, which take 50 us to draw. A
hand-over of the GIL takes some microseconds: with 500 indices for each member, two threads took a
third longer than one."""


class FleetWhole(NamedTuple):
    """
    What a fleet's fit publishes at the end of a block, for other threads.

    The fleet's parameters need no copy. They change only when a block of epochs is committed, all
    at once.
    """

    random: Mapping[int, Any]
    """The states of those generators that have advanced since."""
    kept: Sequence[Kept]
    """The states of the callbacks."""


@dataclass
class FleetState:
    """
    Parameters, optimizer state, random states and counters of K nets.

    Attributes
    ----------
    params : (K, P) array
    slots : (K, n_slots, P) array
        What the optimizer keeps for each parameter, such as its momentum.
    seeds : list of K ints
    epochs, updates : (K,) int64 arrays
        How many were done so far.
    keys : (K,) int64 array
        The numbers from which dropout computes its masks, as `State.dropout_key`.
    generators : dict of int to numpy.random.Generator
        The generators that shuffle the samples. A member has one from its first shuffle on.
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
        """Return the generator that shuffles one member, the same as a `Trainer`'s of its seed."""
        if member not in self.generators:
            self._make_generators([member])
        return self.generators[member]

    def _make_generators(self, members: list[int]) -> None:
        """Make generators for those of the members that have none."""
        missing = [member for member in members if member not in self.generators]
        if missing:
            made = map(generator, words([self.seeds[i] for i in missing], "shuffle"))
            self.generators.update(zip(missing, made, strict=True))

    def orders(self, members: Indices, n_epochs: int, n: int, n_threads: int | None) -> Indices:
        """Draw the order of n samples in the next epochs of some members: (A, epochs, n)."""
        rows = np.empty((len(members), n_epochs, n), np.int64)
        rows[:] = np.arange(n)
        generators = [self.generator(member) for member in members.tolist()]

        def draw(i: int) -> None:
            generators[i].permuted(rows[i], axis=1, out=rows[i])

        work = DRAW_WORK * rows.size if n_epochs * n >= MIN_THREADED_DRAWS else 0
        run(draw, len(rows), threads_for(work, n_threads))
        return rows

    def members(self, settings: MemberSettings, numbers: Indices | None = None) -> Members:
        """Return some members with their settings, as copies; for None all members, not copied."""
        which = slice(None) if numbers is None else numbers
        return Members(
            np.arange(len(self.params)) if numbers is None else numbers,
            self.params[which],
            self.slots[which],
            self.updates[which],
            settings.decays[which],
            settings.momenta[which],
            settings.dropout[which],
            self.keys[which],
        )

    def random(self, members: Indices) -> dict[int, Any]:
        """Return the states of some members' generators, by the members' numbers."""
        numbers: list[int] = members.tolist()
        self._make_generators(numbers)
        return {i: self.generators[i].bit_generator.state for i in numbers}

    def set_random(self, states: dict[int, Any]) -> None:
        """Set generators to states that `random` returned."""
        for member, state in states.items():
            self.generator(member).bit_generator.state = state

    def cast(self, dtype: np.dtype[Any]) -> FleetState:
        """Return the state with writable arrays of this dtype; itself where nothing must change."""
        arrays = self.params, self.slots
        if self.params.dtype == dtype and all(array.flags.writeable for array in arrays):
            return self
        params = cast_params(self.params, dtype)
        return replace(self, params=params, slots=self.slots.astype(dtype))

    def take(self, numbers: Indices) -> FleetState:
        """Return a copy of the state of some members."""
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
