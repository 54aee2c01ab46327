"""The errors and warnings of jitprop's own. Bad input raises Python's ValueError or TypeError."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jitprop.training.history import History


def see_own(own: Sequence[str], sentence: str) -> str:
    """Return a sentence that names the user's functions as a possible cause; "" without any."""
    return sentence.format(f"where {' or '.join(own)} raises an error or gives nan") if own else ""


class DivergenceError(ArithmeticError):
    """
    Training stopped because the loss, the parameters or the optimizer's state became inf or nan.

    The trainer goes back to the last epoch boundary after which at least one batch still had a
    finite loss. It has the parameters, the optimizer's state and the random state of this boundary.
    So `fit` can go on from there, with a smaller ``learning_rate``. With an `EarlyStopping` that
    restores the best epoch, the parameters are those of the best epoch.

    Attributes
    ----------
    epoch : int
        The first epoch of this `fit` whose loss or update was not finite, counted from 0.
    history : History
        The epochs of this `fit` before that one.
    kept_epochs : int
        How many epochs of this `fit` the trainer keeps.
    """

    def __init__(
        self,
        epoch: int,
        history: History,
        kept_epochs: int,
        learning_rate: float | None,
        own: Sequence[str] = (),
    ) -> None:
        smaller = ""
        if learning_rate is not None:
            smaller = f"a smaller learning_rate (it was {learning_rate:g}), or "
        super().__init__(
            f"training diverged in epoch {epoch} (counted from 0): the loss, the parameters or the "
            "optimizer's state became inf or nan; "
            f"the trainer is back at its state after {kept_epochs} epochs. Try {smaller}"
            f"inputs and targets scaled to about -1...1{see_own(own, '; or see {}')}"
        )
        self.epoch = epoch
        self.history = history
        self.kept_epochs = kept_epochs
        self._learning_rate, self._own = learning_rate, tuple(own)

    def __reduce__(self) -> tuple[Any, ...]:
        """
        Pickle the arguments of the error, not its message.

        Process pools pickle errors to pass them on, and the message alone cannot make the error.
        """
        made_of = self.epoch, self.history, self.kept_epochs, self._learning_rate, self._own
        return type(self), made_of


class CheckpointError(ValueError):
    """
    A file cannot be loaded as a checkpoint.

    For example, jitprop did not write it, it is truncated or altered, or a newer version wrote it.
    The message names the file and says what is wrong with it.
    """


class TargetWarning(UserWarning):
    """
    Targets lie outside the range of the output activation, so the net cannot learn them.

    For example, the values of a sigmoid, the default, lie between 0 and 1. Each net warns once.
    """
