"""Samples that a net is trained or evaluated on."""

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
    Return the index of the first sample whose weight is not 0; -1 if there is none.

    Kernels compute with this sample in place of those with weight 0, which might overflow.
    Weights of the shape (n,) give one index, those of the shape (members, n) one for each member.
    """
    counted = weights != 0
    return np.where(counted.any(axis=-1), counted.argmax(axis=-1), -1)


class Steps(NamedTuple):
    """
    Batches that one call of a backend trains on, and their learning rates.

    Attributes
    ----------
    X : (n_samples, n_inputs) array
    y : (n_samples, n_targets) array, or (n_samples,) class labels
    weights : (n_samples,) array or None
    order : (epochs, n_samples) array or None
        The order of the samples in each epoch; None for the order that they have.
    losses : (epochs,) array
        Changed in place: the summed loss of each batch, sum w E, is added to its epoch's. So is the
        L2 penalty that the spec's `SklearnRules` ask for.
    rates : (epochs,) or (epochs * batches,) array
        The learning rate of each epoch, or that of each update.
    start, stop : int
        Train on batches ``start`` to ``stop - 1``, which are counted through all epochs.
    told : (epochs, columns) float64 array or None
        Changed in place: what a second-order method tells of each epoch, as its class says. Its
        ``losses`` are those after the step of each epoch. None if nobody wants to know.
    """

    X: Array
    y: Array
    weights: Array | None
    order: npt.NDArray[np.int64] | None
    losses: npt.NDArray[np.float64]
    rates: npt.NDArray[np.float64]
    start: int
    stop: int
    told: npt.NDArray[np.float64] | None = None


class Samples(NamedTuple):
    """
    Samples that a net is trained or evaluated on, checked and cast.

    Attributes
    ----------
    X : (n_samples, n_inputs) array or `Mapped`
    y : (n_samples, n_targets) array or `Mapped`; or (n_samples,) class labels
    weights : (n_samples,) array or None
    """

    X: Rows
    y: Rows
    weights: Array | None

    @property
    def in_files(self) -> bool:
        """Whether samples must be read from a file before a backend can use them."""
        return isinstance(self.X, Mapped) or isinstance(self.y, Mapped)

    def read(self, rows: slice | npt.NDArray[np.int64] = ALL) -> Arrays:
        """Return X, y and weights of some samples, by default all, as arrays."""
        weights = None if self.weights is None else self.weights[rows]
        return self.X[rows], self.y[rows], weights

    def take(self, rows: npt.NDArray[np.int64]) -> Samples:
        """Return some samples: copies of arrays; what is in a file stays there."""
        weights = None if self.weights is None else self.weights[rows]
        return Samples(mapped.take(self.X, rows), mapped.take(self.y, rows), weights)

    def unshared(self, array: Array) -> Samples:
        """Return samples that share no memory with ``array``, which is about to change."""

        def copied_if_shared(a: Rows) -> Rows:
            shared = isinstance(a, np.ndarray) and np.may_share_memory(a, array)
            return a[:].copy() if shared else a

        weights = self.weights
        if weights is not None and np.may_share_memory(weights, array):
            weights = weights.copy()
        return Samples(copied_if_shared(self.X), copied_if_shared(self.y), weights)
