"""Errors of jitprop's own; bad input gets Python's ValueError or TypeError."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jitprop.training.history import History


def see_own(own: Sequence[str], sentence: str) -> str:
    """Put into a sentence where to look, if functions of the user's own take part in a loss."""
    return sentence.format(f"where {' or '.join(own)} raises an error or gives nan") if own else ""


class DivergenceError(ArithmeticError):
    """
    The loss, the parameters or the optimizer's state became inf or nan; training stopped.

    The trainer keeps the parameters, optimizer state and random state of the last epoch boundary
    from which a batch was still trained with a finite loss, so that `fit` can go on from there,
    with a smaller ``learning_rate``. With an `EarlyStopping` that restores the best epoch, the
    parameters are those of that epoch.

    Attributes
    ----------
    epoch : int
        The first epoch of this `fit`, counted from 0, whose loss or update was not finite.
    history : History
        The epochs before it.
    kept_epochs : int
        How many epochs of this `fit` the trainer keeps.
    """

    def __init__(
        self,
        epoch: int,
        history: History,
        kept_epochs: int,
        learning_rate: float,
        own: Sequence[str] = (),
    ) -> None:
        super().__init__(
            f"training diverged in epoch {epoch} (counted from 0): the loss, the parameters or the "
            "optimizer's state became inf or nan; "
            f"the trainer is back at its state after {kept_epochs} epochs. Try a smaller "
            f"learning_rate (it was {learning_rate:g}), or inputs and targets scaled to about "
            f"-1...1{see_own(own, '; or see {}')}"
        )
        self.epoch = epoch
        self.history = history
        self.kept_epochs = kept_epochs
        self._learning_rate, self._own = learning_rate, tuple(own)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by what it is made of, not by its message: process pools hand errors on."""
        made_of = self.epoch, self.history, self.kept_epochs, self._learning_rate, self._own
        return type(self), made_of


class CheckpointError(ValueError):
    """
    A file is no checkpoint that can be trusted: foreign, truncated, altered, or from the future.

    The message says which file, and what is wrong with it.
    """


class TargetWarning(UserWarning):
    """
    Targets lie outside the range of the output activation: the net cannot learn them.

    A sigmoid, the default, lies between 0 and 1. Each net says so once.
    """
