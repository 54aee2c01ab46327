"""Names for what the modules hand each other."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]


class Samples(NamedTuple):
    """
    What a net is trained on or measured by, checked and cast.

    Attributes
    ----------
    X : (n_samples, n_inputs) array
    y : (n_samples, n_targets) array or (n_samples,) class labels
    weights : (n_samples,) array or None
    """

    X: Array
    y: Array
    weights: Array | None

    def take(self, rows: npt.NDArray[np.int64]) -> Samples:
        """A copy of some of them."""
        weights = None if self.weights is None else self.weights[rows]
        return Samples(self.X[rows], self.y[rows], weights)

    def apart_from(self, array: Array) -> Samples:
        """Those of its arrays copied that share memory with another, which will change."""
        copied = [a if a is None or not np.may_share_memory(a, array) else a.copy() for a in self]
        return Samples(*copied)  # type: ignore[arg-type]
