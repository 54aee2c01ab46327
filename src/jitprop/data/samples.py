"""Samples: what a net is trained on or measured by."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from jitprop._types import Array
from jitprop.data import mapped
from jitprop.data.mapped import Mapped, Rows

Arrays: TypeAlias = tuple[Array, Array, Array | None]
ALL = slice(None)


def stand_ins(weights: Array) -> Any:
    """
    Number of the first sample whose weight is not 0; -1 where there is none.

    (n,) weights give one number, (members, n) weights one for each member.
    """
    counted = weights != 0
    return np.where(counted.any(axis=-1), counted.argmax(axis=-1), -1)


class Samples(NamedTuple):
    """
    What a net is trained on or measured by, checked and cast.

    Attributes
    ----------
    X : (n_samples, n_inputs) array, or rows of a file
    y : (n_samples, n_targets) array, or rows of a file; or (n_samples,) class labels
    weights : (n_samples,) array or None
    """

    X: Rows
    y: Rows
    weights: Array | None

    @property
    def in_files(self) -> bool:
        """Whether some must be read before a backend can have them."""
        return isinstance(self.X, Mapped) or isinstance(self.y, Mapped)

    def read(self, rows: slice | npt.NDArray[np.int64] = ALL) -> Arrays:
        """Some of them, as arrays: X, y and weights."""
        weights = None if self.weights is None else self.weights[rows]
        return self.X[rows], self.y[rows], weights

    def take(self, rows: npt.NDArray[np.int64]) -> Samples:
        """A copy of some of them; what is in files stays there."""
        weights = None if self.weights is None else self.weights[rows]
        return Samples(mapped.take(self.X, rows), mapped.take(self.y, rows), weights)

    def apart_from(self, array: Array) -> Samples:
        """Those of its arrays copied that share memory with another, which will change."""

        def own(a: Rows) -> Rows:
            shared = isinstance(a, np.ndarray) and np.may_share_memory(a, array)
            return a[:].copy() if shared else a

        weights = self.weights
        if weights is not None and np.may_share_memory(weights, array):
            weights = weights.copy()
        return Samples(own(self.X), own(self.y), weights)
