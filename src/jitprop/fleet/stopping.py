"""Early stopping for fleets, of each member by itself."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np

from jitprop._types import Array
from jitprop.fleet.engines import Indices, Mask
from jitprop.fleet.state import FleetState
from jitprop.training import callbacks
from jitprop.training.callbacks import Callback, EarlyStopping, check_same
from jitprop.training.watching import check_monitors

TOGETHER = 1 << 14
"""So many numbers are copied at a time, so that temporary arrays take little memory."""


def told_and_stopping(given: Any, known: list[str]) -> tuple[list[Callback], EarlyStopping | None]:
    """Check `Fleet.fit`'s ``callbacks``. Separate the `EarlyStopping`, if any, from the others."""
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
    The state of early stopping for K members, from which a fit can be resumed.

    Epochs are those of each member, counted from 0 over all calls of `Fleet.fit`.

    Attributes
    ----------
    monitor : str
        The name of the monitored number.
    higher_is_better : bool
    best : (K,) float64 array
        The best number of each member.
    best_epoch : (K,) int64 array
        The epoch of the best number; -1 if there is none.
    first, last : (K,) int64 arrays
        The first epoch that counts, and the last one whose number was reported.
    params : (K, P) array or None
        The parameters of the best epochs. After these were restored, it has the parameters of the
        last epochs instead. None if the best epochs are not to be restored.
    restored : (K,) int64 array
        Checksums of the best parameters of members for which they were restored; else -1.
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
        """Return a copy of the state of some members."""
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        return Found(
            **{k: v[which].copy() if isinstance(v, np.ndarray) else v for k, v in parts.items()}
        )

    def member(self, i: int) -> dict[str, Any]:
        """Return the state of one member, in the form that `EarlyStopping.get_state` returns."""
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


class Seen(NamedTuple):
    """What early stopping sees in some epochs of A members."""

    best: Array
    """(A,): the best number so far;"""
    best_epoch: Indices
    """(A,): and its epoch, as in `Found`."""
    last: Indices
    """(A,): the last epoch that counts."""
    at: Indices
    """(A,): the best of these epochs, counted from 0, if it is the best one so far; else -1."""
    done: Indices
    """(A,): how many of these epochs count. The last of them stopped the member, if any did."""
    stopped: Mask
    """(A,): which members are stopped."""


class Stopping:
    """
    Early stopping of K members, as `EarlyStopping` does it for one trainer.

    Parameters
    ----------
    how : EarlyStopping
        The settings. It is never changed.
    state : FleetState
        The best parameters are copied from it, and restored to it.
    before : Found or None
        The state at the end of the previous fit, if this fit resumes it.

    Attributes
    ----------
    found : Found
        The state of early stopping in this fit.

    Raises
    ------
    ValueError
        If the previous fit monitored another number, or took the other direction for better.
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
        """
        The best epoch of each member, (K,); -1 if there is none.

        It is counted from the first epoch of this fit, or of the fit that it resumes.
        """
        found = self.found
        return np.where(found.best_epoch < 0, -1, found.best_epoch - found.first)

    def begin(self) -> None:
        """
        Continue from the state of the previous fit, with the parameters of its last epochs.

        If a member's best parameters were restored and have been changed since, it counts anew.
        """
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
        """Return the members that still have patience left."""
        found = self.found
        exhausted = self.how.rule.is_exhausted(found.first, found.best_epoch, found.last)
        going_on: Indices = members[~exhausted[members]]
        return going_on

    def look(self, members: Indices, values: Array, whole: Indices) -> Seen:
        """
        Return what follows from some epochs of some members, before they are committed.

        Parameters
        ----------
        members : (A,) int64 array
        values : (epochs, A) float64 array
            The monitored number after each epoch.
        whole : (A,) int64 array
            How many of the epochs count.
        """
        found, rule, a = self.found, self.how.rule, np.arange(len(members))
        begin, first = self.state.epochs[members], found.first[members]
        best = self._best_so_far(found.best[members], values)
        epochs = np.arange(len(values))[:, None]
        better = best[1:] != best[:-1]
        if rule.ties_last:
            better |= rule.is_tie(values, best[1:])
        at = np.maximum.accumulate(np.where(better, epochs, -1))
        best_epoch = np.where(at < 0, found.best_epoch[members], begin + at)
        exhausted = rule.is_exhausted(first, best_epoch, begin + epochs) & (epochs < whole)
        stopped = exhausted.any(axis=0)
        done = np.where(stopped, exhausted.argmax(axis=0) + 1, whole)
        last, counts = done - 1, done > 0
        return Seen(
            best[done, a],
            np.where(counts, best_epoch[last, a], found.best_epoch[members]),
            begin + last,
            np.where(counts, at[last, a], -1),
            done,
            stopped,
        )

    def _best_so_far(self, best: Array, values: Array) -> Array:
        """Return the best number of each member before the first epoch and after each one."""
        rule = self.how.rule
        if rule.min_delta == 0:
            made = np.concatenate([best[None], values])
            # Unlike numpy.minimum, these never take nan for better.
            better = np.fmax if rule.higher_is_better else np.fmin
            found: Array = better.accumulate(made)
            return found
        made = np.empty((len(values) + 1, len(best)))
        made[0] = best
        with np.errstate(invalid="ignore"):  # inf - inf is nan, which is not better
            for epoch, now in enumerate(values):
                before = made[epoch]
                made[epoch + 1] = np.where(rule.is_better(now, before), now, before)
        return made

    def commit(self, members: Indices, seen: Seen, params: Array) -> None:
        """Take over what `look` returned. ``params``, (epochs, A, P), is after each epoch."""
        found = self.found
        if found.params is not None:
            better = np.flatnonzero(seen.at >= 0)
            for some in _pieces(found.params, better):
                found.params[members[some]] = params[seen.at[some], some]
        found.best[members], found.best_epoch[members] = seen.best, seen.best_epoch
        found.last[members] = np.where(seen.done > 0, seen.last, found.last[members])

    def restore(self) -> None:
        """Swap the parameters of the best epochs and those of the last epochs."""
        found = self.found
        if found.params is not None:
            better = np.flatnonzero((found.best_epoch >= 0) & (found.restored < 0))
            made = checksums(found.params, better)
            swap(self.state.params, found.params, better)
            found.restored[better] = made


def checksums(params: Array, members: Indices) -> Indices:
    """Return a checksum of each member's parameters, which shows whether they changed."""
    return np.array([zlib.crc32(params[i].data) for i in members.tolist()], np.int64)


def swap(a: Array, b: Array, members: Indices) -> None:
    """Swap the rows of some members between two arrays."""
    for some in _pieces(a, members):
        a[some], b[some] = b[some], a[some]


def _pieces(params: Array, members: Indices) -> Iterator[Indices]:
    """Yield the members in pieces: at most `TOGETHER` parameters each, or one member."""
    size = max(1, TOGETHER // params.shape[1])
    return (members[first : first + size] for first in range(0, len(members), size))
