"""Early stopping of each member by itself."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from jitprop._types import Array
from jitprop.fleet.engines import Indices
from jitprop.fleet.state import FleetState
from jitprop.training import callbacks
from jitprop.training.callbacks import Callback, EarlyStopping, check_same
from jitprop.training.watching import check_monitors

TOGETHER = 1 << 14
"""Numbers that are copied at a time: what is between takes little memory."""


def told_and_stopping(given: Any, known: list[str]) -> tuple[list[Callback], EarlyStopping | None]:
    """`Fleet.fit`'s ``callbacks``, checked: those that are told of the fleet, and the other one."""
    made = callbacks.resolve(given)
    check_monitors(made, known)
    stopping = [callback for callback in made if isinstance(callback, EarlyStopping)]
    if len(stopping) > 1:
        raise ValueError(f"callbacks may hold one EarlyStopping; got {len(stopping)}")
    told = [callback for callback in made if not isinstance(callback, EarlyStopping)]
    return told, stopping[0] if stopping else None


@dataclass
class Found:
    """
    What early stopping found out about K members: what a fit needs that is resumed.

    Epochs are each member's own, counted from 0 over all calls of `Fleet.fit`.

    Attributes
    ----------
    monitor : str
    higher_is_better : bool
    best : (K,) float64 array
    best_epoch : (K,) int64 array
        -1 where there is none.
    first, last : (K,) int64 arrays
        The first epoch that counts, and the last one that was told.
    params : (K, P) array or None
        Those of the best epochs; once these are in the fleet, those that they took the place of.
    restored : (K,) int64 array
        Checksums of the best parameters that are in the fleet, else -1.
    """

    monitor: str
    higher_is_better: bool
    best: Array
    best_epoch: Indices
    first: Indices
    last: Indices
    params: Array | None
    restored: Indices

    def take(self, which: Any) -> Found:
        """Copies of what was found about some members."""
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        return Found(
            **{k: v[which].copy() if isinstance(v, np.ndarray) else v for k, v in parts.items()}
        )

    def member(self, i: int) -> dict[str, Any]:
        """What `EarlyStopping.get_state` gives for one of them."""
        best_epoch, last, restored = (
            None if number < 0 else int(number)
            for number in (self.best_epoch[i], self.last[i], self.restored[i])
        )
        with_params = self.params is not None and best_epoch is not None
        return {
            "monitor": self.monitor,
            "higher_is_better": self.higher_is_better,
            "best": float(self.best[i]),
            "best_epoch": best_epoch,
            "first": int(self.first[i]),
            "last": None if last is None or last < self.first[i] else last,
            "parameters": self.params[i].copy()
            if with_params and self.params is not None
            else None,
            "restored": restored,
        }


class Stopping:
    """
    What `EarlyStopping` counts and keeps, for K members.

    Parameters
    ----------
    how : EarlyStopping
        Never changed.
    state : FleetState
        Whose parameters the best ones are, and are put back into.
    before : Found or None
        What the fit before found, where this one resumes it.

    Attributes
    ----------
    found : Found

    Raises
    ------
    ValueError
        Where the fit before went by another number.
    """

    def __init__(self, how: EarlyStopping, state: FleetState, before: Found | None) -> None:
        k = len(state.params)
        self.how, self.state = how, state
        self.found = Found(
            how.monitor,
            how.higher_is_better,
            best=np.full(k, how.rule.worst),
            best_epoch=np.full(k, -1),
            first=state.epochs.copy(),
            last=state.epochs - 1,
            params=state.params.copy() if how.restore_best else None,
            restored=np.full(k, -1),
        )
        self.before = before
        if before is not None:
            check_same(how, before.monitor, before.higher_is_better)

    @property
    def best_epoch(self) -> Indices:
        """(K,): counted from the first epoch of this fit or of the one that it resumes; or -1."""
        found = self.found
        return np.where(found.best_epoch < 0, -1, found.best_epoch - found.first)

    def begin(self) -> None:
        """Take up what the fit before found, with the parameters of the last epochs."""
        if self.before is None:
            return
        before, fresh = self.before.take(slice(None)), self.found
        swapped = np.flatnonzero(before.restored >= 0)
        same = swapped[checksums(self.state.params, swapped) == before.restored[swapped]]
        if before.params is not None:
            swap(self.state.params, before.params, same)
        before.restored[same] = -1
        set_since = np.setdiff1d(swapped, same)
        for name in ("best", "best_epoch", "first", "last", "restored"):
            getattr(before, name)[set_since] = getattr(fresh, name)[set_since]
        if not self.how.restore_best:
            before.params = None
        elif before.params is None:
            before.params = self.state.params.copy()
        self.found = before

    def going_on(self, members: Indices) -> Indices:
        """Those of the members whose patience is not exhausted."""
        found = self.found
        exhausted = self.how.rule.is_exhausted(found.first, found.best_epoch, found.last)
        going_on: Indices = members[~exhausted[members]]
        return going_on

    def look(self, members: Indices, values: Array) -> Indices:
        """Those of the members, (A,), that go on after an epoch with these numbers, (A,)."""
        found, epochs = self.found, self.state.epochs[members] - 1
        with np.errstate(invalid="ignore"):  # inf - inf, which is not better
            which = self.how.rule.is_better(values, found.best[members])
        better = members[which]
        if found.params is not None:
            for some in _pieces(found.params, better):
                found.params[some] = self.state.params[some]
        found.best[better], found.best_epoch[better] = values[which], epochs[which]
        found.last[members] = epochs
        return self.going_on(members)

    def restore(self) -> None:
        """Let the parameters of the best epochs and of the last ones change places."""
        found = self.found
        if found.params is not None:
            better = np.flatnonzero((found.best_epoch >= 0) & (found.restored < 0))
            made = checksums(found.params, better)
            swap(self.state.params, found.params, better)
            found.restored[better] = made


def checksums(params: Array, members: Indices) -> Indices:
    """Of the parameters of each of these, by which others are told apart."""
    return np.array([zlib.crc32(params[i].data) for i in members.tolist()], np.int64)


def swap(a: Array, b: Array, members: Indices) -> None:
    """Let the rows of some members change places."""
    for some in _pieces(a, members):
        a[some], b[some] = b[some], a[some]


def _pieces(params: Array, members: Indices) -> Iterator[Indices]:
    """The members, some at a time."""
    size = max(1, TOGETHER // params.shape[1])
    return (members[first : first + size] for first in range(0, len(members), size))
