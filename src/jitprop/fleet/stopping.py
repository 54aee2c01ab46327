"""Early stopping of each member by itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from jitprop import callbacks
from jitprop._types import Array
from jitprop.callbacks import Callback, EarlyStopping
from jitprop.fleet.engines import Indices
from jitprop.fleet.state import FleetState
from jitprop.watching import check_monitors


def told_and_stopping(given: Any, known: list[str]) -> tuple[list[Callback], EarlyStopping | None]:
    """`Fleet.fit`'s ``callbacks``, checked: those that are told of the fleet, and the other one."""
    made = callbacks.resolve(given)
    check_monitors(made, known)
    stopping = [callback for callback in made if isinstance(callback, EarlyStopping)]
    if len(stopping) > 1:
        raise ValueError(f"callbacks may hold one EarlyStopping; got {len(stopping)}")
    told = [callback for callback in made if not isinstance(callback, EarlyStopping)]
    return told, stopping[0] if stopping else None


class Stopping:
    """
    What `EarlyStopping` counts and keeps, for K members.

    Parameters
    ----------
    how : EarlyStopping
        Never changed.
    state : FleetState
        Whose parameters the best ones are, and are put back into.

    Attributes
    ----------
    best_epoch : (K,) int64 array
        -1 where there is none.
    """

    def __init__(self, how: EarlyStopping, state: FleetState) -> None:
        k = len(state.params)
        self.how, self.state = how, state
        self.best = np.full(k, how._worst)
        self.best_epoch = np.full(k, -1)
        self.params = state.params.copy() if how.restore_best else None

    def look(self, epoch: int, members: Indices, values: Array) -> Indices:
        """Those of the members, (A,), that go on after an epoch with these numbers, (A,)."""
        with np.errstate(invalid="ignore"):  # inf - inf, which is not better
            which = self.how._is_better(values, self.best[members])
        better = members[which]
        self.best[better], self.best_epoch[better] = values[which], epoch
        if self.params is not None:
            self.params[better] = self.state.params[better]
        going_on: Indices = members[epoch - self.best_epoch[members] < self.how.patience]
        return going_on

    def restore(self) -> None:
        """Put the parameters of the best epochs back."""
        if self.params is not None:
            better = np.flatnonzero(self.best_epoch >= 0)
            self.state.params[better] = self.params[better]
