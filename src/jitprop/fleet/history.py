"""What `Fleet.fit` returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FleetHistory:
    """
    The course of one `Fleet.fit`, for K members.

    Attributes
    ----------
    loss : (epochs, K) float64 array
        As `History.loss`, of each member; nan after it was stopped, or diverged.
    validation_loss : (epochs, K) float64 array, or None
        The loss on the validation data after each epoch, if there are any.
    epochs : (K,) int64 array
        Epochs of this call that each member was trained, and kept.
    best_epoch : (K,) int64 array, or None
        With early stopping, the best epoch of this call, counted from 0: the one whose parameters a
        member has, if these are restored. -1 where no number was better than inf. Where
        ``epochs_total`` resumes a fit, it is counted from the first epoch of that.
    diverged : dict of int to int
        Members whose loss or parameters became inf or nan, and the epoch of this call in which
        they did. They keep the end of the last epoch from which a batch had a finite loss, as in
        `DivergenceError`: the one before or the one before that.
    """

    loss: Numbers
    validation_loss: Numbers | None
    epochs: npt.NDArray[np.int64]
    best_epoch: npt.NDArray[np.int64] | None
    diverged: Mapping[int, int]

    def __repr__(self) -> str:
        n, k = self.loss.shape
        failed = f", {len(self.diverged)} diverged" if self.diverged else ""
        return f"FleetHistory({k} members, up to {n} epochs{failed})"
