"""Callbacks: what is told of each epoch of a fit."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from jitprop import checks
from jitprop.history import VALIDATION

if TYPE_CHECKING:
    from jitprop.trainer import Trainer

HIGHER_IS_BETTER = ("r2", "accuracy")


class Callback:
    """
    Is told when a fit begins, after each of its epochs, and when it ends.

    To be inherited from; each method does nothing here. Where only the second is wanted, a plain
    function with the arguments of `on_epoch_end` will do.

    With a callback, each epoch is a call of the backend of its own. `Trainer.stop` ends the fit
    after the epoch that the callback is told of; what a callback returns is ignored. An exception
    in one comes out of `Trainer.fit`, with the epoch that it was told of in the trainer. What a
    callback changes in the trainer, parameters or ``learning_rate``, holds from the next epoch on.
    Where it has an attribute ``monitor``, a name in ``logs``, a fit that has no such number is
    refused.
    """

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Before the first epoch."""

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: dict[str, float]) -> None:
        """
        After an epoch, with the trainer as it is then.

        ``trainer.stop()`` ends the fit here. The epoch's other callbacks are called all the same.

        Parameters
        ----------
        trainer : Trainer
        epoch : int
            The epoch's number, counted from 0 over all calls of `fit`.
        logs : dict
            The epoch's "loss", "validation_loss" where there are validation data, each metric
            and ``"validation_" + metric``, "learning_rate" and "seconds".
        """

    def on_fit_end(self, trainer: Trainer) -> None:
        """After the last epoch, also of a fit that was stopped; not after an exception."""


OnEpochEnd: TypeAlias = "Callable[[Trainer, int, dict[str, float]], Any]"


class _Function(Callback):
    """A plain function as a callback."""

    def __init__(self, function: OnEpochEnd) -> None:
        self.function = function

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: dict[str, float]) -> None:
        """Call it; what it returns is ignored."""
        self.function(trainer, epoch, logs)


def resolve(callbacks: Any) -> list[Callback]:
    """`Trainer.fit`'s ``callbacks``: one or a list of them, functions made callbacks."""
    if isinstance(callbacks, Callback) or callable(callbacks):
        callbacks = [callbacks]
    if not isinstance(callbacks, Sequence) or isinstance(callbacks, str):
        raise TypeError(
            "callbacks must be a list of Callback objects or functions (trainer, epoch, logs); "
            f"got {checks.shown(callbacks)}"
        )
    made: list[Callback] = []
    for i, callback in enumerate(callbacks):
        if isinstance(callback, type) or not (isinstance(callback, Callback) or callable(callback)):
            raise TypeError(
                f"callbacks[{i}] must be a Callback object or a function (trainer, epoch, logs); "
                f"got {checks.shown(callback)}"
            )
        made.append(callback if isinstance(callback, Callback) else _Function(callback))
    return made


class EarlyStopping(Callback):
    """
    Stop when a number has not got better for some epochs.

    Parameters
    ----------
    monitor : str, default "validation_loss"
        Its name in the ``logs`` of callbacks.
    patience : int, default 10
        Stop after so many epochs in a row, at least 1, without a better one.
    min_delta : float, default 0.0
        An epoch is better whose number is so by more than this, at least 0.
    restore_best : bool, default True
        At the end put the weights and biases of the best epoch back, whether it was stopped or
        not. The optimizer's state, the random state and the count of epochs stay those of the
        last epoch, as in Keras.
    mode : {"auto", "min", "max"}, default "auto"
        Whether lower or higher is better; "auto" is "max" for r2 and accuracy, else "min".

    Attributes
    ----------
    best : float
        The best number so far in the latest fit. nan is never better; a fit in which every number
        was nan keeps its last parameters, and a RuntimeWarning names ``monitor``.
    best_epoch : int or None
        Its epoch, counted from 0 over all calls of `Trainer.fit`.
    stopped : bool
        Whether the latest fit was stopped here.

    Raises
    ------
    TypeError, ValueError
        For anything else, naming the argument; and from `Trainer.fit`, at its start, where no
        number has the name ``monitor``.

    Notes
    -----
    Each fit counts anew.

    References
    ----------
    Prechelt, *Early Stopping - But When?*, in Neural Networks: Tricks of the Trade, 1998: its
    third class of criteria, UP, with a patience.
    """

    def __init__(
        self,
        monitor: str = "validation_loss",
        patience: int = 10,
        min_delta: float = 0.0,
        restore_best: bool = True,
        mode: str = "auto",
    ) -> None:
        if not isinstance(monitor, str):
            raise TypeError(
                f"monitor must be a name such as 'validation_loss'; got {checks.shown(monitor)}"
            )
        self.monitor = monitor
        self.patience = checks.integer("patience", patience, low=1)
        self.min_delta = checks.number("min_delta", min_delta, low=0.0)
        self.restore_best = checks.boolean("restore_best", restore_best)
        self.mode = checks.choice("mode", mode, ("auto", "min", "max"))
        higher = monitor.removeprefix(VALIDATION) in HIGHER_IS_BETTER
        self._sign = 1.0 if self.mode == "max" or (self.mode == "auto" and higher) else -1.0
        self._forget()

    def __repr__(self) -> str:
        return (
            f"EarlyStopping({self.monitor!r}, patience={self.patience}, "
            f"min_delta={self.min_delta:g}, restore_best={self.restore_best}, mode={self.mode!r})"
        )

    @property
    def _worst(self) -> float:
        """What each number is better than: inf, or -inf where higher is better."""
        return -self._sign * np.inf

    def _is_better(self, value: Any, best: Any) -> Any:
        """Whether a number is better than the best one, by more than ``min_delta``; or arrays."""
        return self._sign * (value - best) > self.min_delta

    def _forget(self) -> None:
        self.best = self._worst
        self.best_epoch: int | None = None
        self.stopped = False
        self._waited = 0
        self._parameters: Any = None

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Begin anew."""
        self._forget()

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: dict[str, float]) -> None:
        """Count, and keep the parameters if they are the best."""
        value = logs[self.monitor]
        if self._is_better(value, self.best):
            self.best, self.best_epoch, self._waited = value, epoch, 0
            if self.restore_best:
                self._parameters = trainer.parameters.copy()
            return
        self._waited += 1
        if self._waited >= self.patience:
            self.stopped = True
            trainer.stop()

    def on_fit_end(self, trainer: Trainer) -> None:
        """Put the best parameters back; warn if no epoch had a number to go by."""
        if self.best_epoch is None and self._waited:
            warnings.warn(
                f"EarlyStopping goes by {self.monitor!r}, which was nan or infinite in each epoch: "
                "no epoch is the best, and the parameters are those of the last one",
                RuntimeWarning,
                stacklevel=5,
            )
        if self._parameters is not None:
            trainer.parameters[:] = self._parameters
            self._parameters = None


class Checkpoint(Callback):
    """
    Save the trainer every so many epochs and at the end of the fit, always to the same file.

    Whatever ends the process, the file is whole and the latest one saved; `Trainer.load` goes on
    from it. After `EarlyStopping` in the list of callbacks, what it holds at the end are the best
    parameters, if those are put back.

    Parameters
    ----------
    path : str or path-like
    every : int, default 1
        Save when so many more epochs are done, counted over all calls of `Trainer.fit`.

    Raises
    ------
    TypeError, ValueError
        For anything else, naming the argument.
    FileNotFoundError
        From `Trainer.fit`, at its start, where the folder is missing.
    OSError
        From `Trainer.fit`, as `Trainer.save` does.
    """

    def __init__(self, path: str | os.PathLike[str], every: int = 1) -> None:
        if not isinstance(path, str | os.PathLike):
            raise TypeError(f"path must be a str or path-like; got {checks.shown(path)}")
        self.path = Path(path)
        self.every = checks.integer("every", every, low=1)

    def __repr__(self) -> str:
        return f"Checkpoint({str(self.path)!r}, every={self.every})"

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Look for the folder: better now than after hours."""
        if not self.path.parent.is_dir():
            raise FileNotFoundError(f"no such folder: {str(self.path.parent)!r}")

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: dict[str, float]) -> None:
        """Save, if it is time."""
        if (epoch + 1) % self.every == 0:
            trainer.save(self.path)

    def on_fit_end(self, trainer: Trainer) -> None:
        """Save."""
        trainer.save(self.path)
