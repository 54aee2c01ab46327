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
    The losses of one `Fleet.fit`, for K members.

    Attributes
    ----------
    loss : (epochs, K) float64 array
        The loss of each member, as in `History.loss`. It is nan in epochs after a member was
        stopped, ended or diverged.
    validation_loss : (epochs, K) float64 array, or None
        The loss on the validation data after each epoch. None without validation data.
    epochs : (K,) int64 array
        How many epochs of this call each member was trained and keeps.
    best_epoch : (K,) int64 array, or None
        The best epoch of each member, counted from 0 in this call. None without early stopping.
        With ``restore_best`` a member has the parameters of this epoch. It is -1 where no epoch had
        a number better than inf. Where ``epochs_total`` resumes a fit, epochs are counted from the
        first epoch of the resumed fit.
    diverged : dict of int to int
        The members whose loss or parameters became inf or nan, and the epoch of this call in which
        that happened. As with `DivergenceError`, such a member is back at the last end of an epoch
        after which a batch was trained with a finite loss: one or two epochs before.
    ended : tuple of K str
        Why each member's second-order method has ended by itself, as in `History.ended`.
    """

    loss: Numbers
    validation_loss: Numbers | None
    epochs: npt.NDArray[np.int64]
    best_epoch: npt.NDArray[np.int64] | None
    diverged: Mapping[int, int]
    ended: tuple[str, ...] = ()

    def __repr__(self) -> str:
        n, k = self.loss.shape
        failed = f", {len(self.diverged)} diverged" if self.diverged else ""
        n_ended = sum(map(bool, self.ended))
        ended = f", {n_ended} ended" if n_ended else ""
        return f"FleetHistory({k} members, up to {n} epochs{ended}{failed})"
