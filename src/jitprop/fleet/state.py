"""All that training changes in a fleet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from jitprop._types import Array
from jitprop.seeds import streams

Indices = npt.NDArray[np.int64]


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

    def generator(self, member: int) -> np.random.Generator:
        """The generator of one member's shuffles, as a `Trainer` with its seed has it."""
        if member not in self.generators:
            self.generators[member] = np.random.default_rng(streams(self.seeds[member]).shuffle)
        return self.generators[member]

    def orders(self, members: Indices, n_epochs: int, n: int) -> Indices:
        """Draw the order of n samples in the next epochs of some members: (members, epochs, n)."""
        rows = np.empty((len(members), n_epochs, n), np.int64)
        rows[:] = np.arange(n)
        for own, member in zip(rows, members, strict=True):
            self.generator(int(member)).permuted(own, axis=1, out=own)
        return rows

    def random(self, members: Indices) -> dict[int, Any]:
        """The random states of some members."""
        return {int(i): self.generator(int(i)).bit_generator.state for i in members}

    def set_random(self, states: dict[int, Any]) -> None:
        """Go back to them."""
        for member, state in states.items():
            self.generator(member).bit_generator.state = state

    def cast(self, dtype: np.dtype[Any]) -> None:
        """To another dtype."""
        self.params, self.slots = self.params.astype(dtype), self.slots.astype(dtype)
