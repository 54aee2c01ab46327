"""The rule of early stopping, for one number or for arrays with one number for each net."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Patience:
    """
    The rule that says when a fit stops because a number no longer improves.

    `jitprop.EarlyStopping` applies it to one net. A fleet applies it to all its members at once.
    The estimators of `jitprop.sklearn` follow scikit-learn's own rule, which counts differently.

    Attributes
    ----------
    epochs : int
        The fit stops after so many epochs in a row without a better number.
    min_delta : float
        A number is better only if it improves by more than this.
    higher_is_better : bool
    ties_last : bool
        Whether a number that equals the best one takes its place. The count of epochs without a
        better number then begins again.
    """

    epochs: int
    min_delta: float
    higher_is_better: bool
    ties_last: bool = False

    @property
    def worst(self) -> float:
        """The worst number: inf, or -inf if higher is better."""
        return -np.inf if self.higher_is_better else np.inf

    def is_better(self, value: Any, best: Any) -> Any:
        """
        Return whether a number takes the place of the best one so far.

        A better one does, and with ``ties_last`` an equal one too. nan never does.
        """
        sign = 1.0 if self.higher_is_better else -1.0
        better = sign * (value - best) > self.min_delta
        return better | self.is_tie(value, best) if self.ties_last else better

    def is_tie(self, value: Any, best: Any) -> Any:
        """Return whether a number equals the best one. Before a fit's first number, none does."""
        return (value == best) & np.isfinite(best)

    def is_exhausted(self, first: Any, best_epoch: Any, last: Any) -> Any:
        """
        Return whether a fit that began with epoch ``first`` must stop after epoch ``last``.

        ``best_epoch`` is -1 if there is no best epoch.
        """
        better = np.where(np.less(best_epoch, 0), np.subtract(first, 1), best_epoch)
        return np.subtract(last, better) >= self.epochs
