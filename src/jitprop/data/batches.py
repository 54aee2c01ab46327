"""Batches that `Trainer.fit` takes in place of arrays: from a list, a loader or a function."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias, TypeVar

import numpy as np

from jitprop import checks
from jitprop._types import Array

Given: TypeAlias = "Iterable[Any] | Callable[[], Iterable[Any]]"
T = TypeVar("T")

BATCH = "(X, y) or (X, y, sample_weight)"
EXPECTED = f"batches must be an iterable of {BATCH}, or a function that returns one for each epoch"


class Batches:
    """
    The batches of each epoch.

    Parameters
    ----------
    given : iterable or function
        An iterable of batches, each (X, y) or (X, y, sample_weight); or a function that returns
        such an iterable for each epoch.
    epochs : int
        For how many epochs batches are needed.

    Raises
    ------
    TypeError, ValueError
        For anything else, and for an iterator, which gives its batches only once, if ``epochs`` is
        above 1.
    """

    def __init__(self, given: Any, epochs: int) -> None:
        if isinstance(given, str | bytes) or hasattr(given, "__array__"):
            raise TypeError(
                f"y must be an array of real numbers where X is an array; without y, {EXPECTED}"
            )
        if not isinstance(given, Iterable) and not callable(given):
            raise TypeError(f"{EXPECTED}; got {checks.shown(given)}")
        if isinstance(given, Iterator) and epochs > 1:
            raise ValueError(
                "batches are needed again in each epoch, and a generator or iterator is exhausted "
                f"after one; epochs is {epochs}. Pass a list or a loader, or the function that "
                "makes the generator, without calling it"
            )
        self.given, self.epoch = given, 0
        self._begun: Iterator[Any] | None = None

    @staticmethod
    def refuse(**arguments: Any) -> None:
        """Refuse arguments of `Trainer.fit` that have a value for each sample."""
        for name, value in arguments.items():
            if value is not None:
                raise ValueError(f"{name} goes with arrays X and y, not with batches")

    def unshare(self, array: Array) -> None:
        """
        Copy batches that share memory with ``array``, which is about to change.

        Only a list or a tuple of batches is searched. Other iterables make their arrays later.
        """
        if type(self.given) in (list, tuple) and _shares(self.given, array):
            self.given = [
                copy.deepcopy(batch) if _shares(batch, array) else batch for batch in self.given
            ]

    def each(self, make: Callable[[Any, Any, Any], T]) -> Iterator[T]:
        """
        Call ``make(X, y, weights)`` with each batch of the next epoch and yield the results.

        ``weights`` is None for a batch without sample weights.

        Raises
        ------
        TypeError, ValueError
            As ``make`` raises them, for something that is not a batch, and for an epoch without
            any batch. The message names the batch.
        """
        n = 0
        for n, batch in enumerate(self._open(), start=1):
            yield self._made(make, n - 1, batch)
        if n == 0:
            raise self._empty()
        self.epoch += 1

    def first(self, make: Callable[[Any, Any, Any], T]) -> T:
        """Call ``make`` with the first batch of the next epoch; `each` still begins with it."""
        batches = self._open()
        for batch in batches:
            self._begun = itertools.chain([batch], batches)
            return self._made(make, 0, batch)
        raise self._empty()

    def _open(self) -> Iterator[Any]:
        if self._begun is not None:
            begun, self._begun = self._begun, None
            return begun
        given = self.given if isinstance(self.given, Iterable) else self.given()
        if not isinstance(given, Iterable):
            raise TypeError(f"{EXPECTED}; the function returned {checks.shown(given)}")
        return iter(given)

    def _made(self, make: Callable[[Any, Any, Any], T], k: int, batch: Any) -> T:
        try:
            if not isinstance(batch, tuple | list):
                raise TypeError(f"a batch must be {BATCH}; got {checks.shown(batch)}")
            if len(batch) not in (2, 3):
                raise ValueError(f"a batch must be {BATCH}; got {len(batch)} items")
            X, y, *weights = batch
            return make(X, y, weights[0] if weights else None)
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            where = f"in batch {k} of epoch {self.epoch} (both counted from 0)"
            raise kind(f"{where}, {error}") from error

    def _empty(self) -> ValueError:
        return ValueError(
            "batches must give at least one batch in each epoch; there was none in epoch "
            f"{self.epoch} (counted from 0). A generator can be used only once"
        )


def _shares(data: Any, array: Array) -> bool:
    """Whether an array, at any depth of lists and tuples, may share memory with another."""
    if isinstance(data, np.ndarray):
        return np.may_share_memory(data, array)
    if not isinstance(data, list | tuple) or {*map(type, data)} <= {int, float, bool}:
        return False
    return any(_shares(part, array) for part in data)
