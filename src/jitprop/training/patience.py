"""The rule of early stopping: for one number, or for arrays with a number of each net."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Patience:
    """
    How long a fit goes on although a number does not improve.

    `jitprop.EarlyStopping` asks it about one net, a fleet about all its members at once. The
    estimators of `jitprop.sklearn` follow scikit-learn's own rule, which counts otherwise.

    Attributes
    ----------
    epochs : int
        Stop after this many epochs in a row without a better one.
    min_delta : float
        A number is better if it improves by more than this.
    higher_is_better : bool
    """

    epochs: int
    min_delta: float
    higher_is_better: bool

    @property
    def worst(self) -> float:
        """The number that any other is better than: inf, or -inf if higher is better."""
        return -np.inf if self.higher_is_better else np.inf

    def is_better(self, value: Any, best: Any) -> Any:
        """Whether a number is better than the best one so far; nan never is."""
        sign = 1.0 if self.higher_is_better else -1.0
        return sign * (value - best) > self.min_delta

    def is_exhausted(self, first: Any, best_epoch: Any, last: Any) -> Any:
        """
        Whether to stop after epoch ``last`` of a fit that began with epoch ``first``.

        ``best_epoch`` is -1 where no epoch is the best.
        """
        better = np.where(np.less(best_epoch, 0), np.subtract(first, 1), best_epoch)
        return np.subtract(last, better) >= self.epochs
