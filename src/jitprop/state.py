"""All that training changes, in one place: what a checkpoint must hold."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass
class State:
    """
    Parameters, optimizer state, random state and counters of one net.

    Attributes
    ----------
    params : (P,) array
    slots : (n_slots, P) array
        What the optimizer keeps of each parameter.
    rng : numpy.random.Generator
        Of the shuffles.
    epochs, updates : int
        Done so far.
    """

    params: npt.NDArray[Any]
    slots: npt.NDArray[Any]
    rng: np.random.Generator
    epochs: int = 0
    updates: int = 0

    def copy(self) -> State:
        """A copy that shares nothing."""
        return copy.deepcopy(self)

    def restore(self, other: State) -> None:
        """Become the other, in place: views of the parameters stay views."""
        self.params[:] = other.params
        self.slots[:] = other.slots
        self.rng.bit_generator.state = other.rng.bit_generator.state
        self.epochs, self.updates = other.epochs, other.updates

    def cast(self, dtype: np.dtype[Any]) -> None:
        """Change the dtype; nothing happens if it is the same."""
        self.params = self.params.astype(dtype, copy=False)
        self.slots = self.slots.astype(dtype, copy=False)
