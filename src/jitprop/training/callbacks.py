"""Callbacks: objects that a fit calls after each epoch."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from jitprop import checks
from jitprop._types import Array
from jitprop.checks import quoted
from jitprop.files import atomic, plausible
from jitprop.hints import hinting_class
from jitprop.net.schedules import ReduceOnPlateau, Schedule
from jitprop.training.history import VALIDATION
from jitprop.training.patience import Patience
from jitprop.warn import warn

HIGHER_IS_BETTER = ("r2", "accuracy")


class Callback:
    """
    The base class of callbacks. A fit calls them when it begins, after each epoch and when it ends.

    Derive a class from it and override what you need. The methods of this class do nothing. In
    place of a class with `on_epoch_end` alone, a plain function with the same arguments will do.

    With a callback, each epoch is a separate call of the backend; with `EarlyStopping` alone it
    often need not be. `Trainer.stop` ends the fit after the current epoch. Return values are
    ignored. `Trainer.fit` passes on an exception of a callback, and the trainer keeps the epoch for
    which it was called. Changes of the parameters or of ``learning_rate`` take effect in the next
    epoch. If a callback has an attribute ``monitor``, it must be a name in ``logs``, or the fit is
    refused.

    Examples
    --------
    >>> from jitprop import Callback, Trainer
    >>> class Best(Callback):
    ...     def on_fit_begin(self, trainer):
    ...         self.loss = float("inf")
    ...
    ...     def on_epoch_end(self, trainer, epoch, logs):
    ...         self.loss = min(self.loss, logs["loss"])
    >>> best = Best()
    >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> history = Trainer([2, 3, 1], seed=0).fit(X, y, epochs=10, callbacks=best)
    >>> bool(best.loss == history.loss.min())
    True
    """

    def on_fit_begin(self, trainer: Any) -> None:
        """Do something before the first epoch."""

    def on_epoch_end(self, trainer: Any, epoch: int, logs: dict[str, float]) -> None:
        """
        Do something after an epoch.

        ``trainer.stop()`` ends the fit after this epoch. The other callbacks are still called.

        Parameters
        ----------
        trainer : Trainer or Fleet
        epoch : int
            The epoch's number, counted from 0 over all calls of `fit`.
        logs : dict
            The epoch's "loss", "validation_loss" where there are validation data, each metric
            and ``"validation_" + metric``, "learning_rate" and "seconds".
        """

    def on_fit_end(self, trainer: Any) -> None:
        """Do something after the last epoch, also of a stopped fit, but not after an exception."""

    def on_fit_error(self, trainer: Any, error: BaseException) -> None:
        """
        Do something when an exception ends the fit: Ctrl-C, `DivergenceError` or another error.

        The trainer is as the exception leaves it. `fit` raises the exception afterwards.
        """

    def get_state(self) -> Mapping[str, Any] | None:
        """
        Return what the callback needs to resume the fit. It is called after each saved epoch.

        The state is stored in the files of `Trainer.save` and `Checkpoint`, in pickles and copies
        of the trainer, and in the trainer itself after the fit.

        Returns
        -------
        dict or None
            Keys are str. Values are None, bool, int, float, str, float32 or float64 arrays, and
            lists and dicts of these. Tuples come back as lists. None means that there is no state.
        """
        return None

    def set_state(self, trainer: Any, state: Mapping[str, Any]) -> None:
        """
        Resume from what `get_state` returned, where ``fit(..., epochs_total=n)`` resumes a fit.

        It is called after `on_fit_begin`. Each state goes to the first callback whose class has the
        same name, and several states of one class go to its callbacks in their order. If the
        trainer was saved after an epoch but before this callback's `on_epoch_end`, that is called
        next. If Ctrl-C came during `on_epoch_end`, it is called again.

        Parameters
        ----------
        trainer : Trainer or Fleet
        state : dict
            The arrays in it must not be written to.
        """


OnEpochEnd: TypeAlias = Callable[[Any, int, dict[str, float]], Any]


class _Function(Callback):
    """A plain function as a callback."""

    def __init__(self, function: OnEpochEnd) -> None:
        self.function = function

    def on_epoch_end(self, trainer: Any, epoch: int, logs: dict[str, float]) -> None:
        """Call the function and ignore what it returns."""
        self.function(trainer, epoch, logs)


def resolve(callbacks: Any) -> list[Callback]:
    """
    Check the argument ``callbacks`` of `Trainer.fit` and return a list of callbacks.

    Raises
    ------
    TypeError
    """
    if isinstance(callbacks, Callback | ReduceOnPlateau) or callable(callbacks):
        callbacks = [callbacks]
    if not isinstance(callbacks, Sequence) or isinstance(callbacks, str):
        raise TypeError(
            "callbacks must be a list of Callback objects or functions (trainer, epoch, logs); "
            f"got {checks.shown(callbacks)}"
        )
    made: list[Callback] = []
    for i, callback in enumerate(callbacks):
        schedule = callback is ReduceOnPlateau or isinstance(callback, Schedule | ReduceOnPlateau)
        is_class = isinstance(callback, type)
        if schedule or is_class or not (isinstance(callback, Callback) or callable(callback)):
            hint = f": write {callback.__name__}(...)" if is_class else ""
            if schedule:
                hint = ": it is a schedule, learning_rate=ReduceOnPlateau(...) of the trainer"
            raise TypeError(
                f"callbacks[{i}] must be a Callback object or a function (trainer, epoch, logs); "
                f"got {checks.shown(callback)}{hint}"
            )
        made.append(callback if isinstance(callback, Callback) else _Function(callback))
    return made


@hinting_class
class EarlyStopping(Callback):
    """
    Stop the fit when a monitored number has not improved for some epochs.

    Its state is saved with the trainer. So ``fit(..., epochs_total=n)`` resumes an interrupted or
    saved fit bit for bit, with the same last and the same best epoch.

    Parameters
    ----------
    monitor : str, default "validation_loss"
        The name of the number in the ``logs`` of callbacks.
    patience : int, default 10
        The number of epochs in a row without an improvement, at least 1, after which the fit is
        stopped.
    min_delta : float, default 0.0
        At least 0. An improvement must be larger than this.
    restore_best : bool, default True
        Whether to restore the weights and biases of the best epoch when the fit ends. They are
        restored whether or not the fit was stopped, and also if Ctrl-C, divergence or another
        exception ends it. The optimizer's state, the random state and the count of epochs stay
        those of the last epoch, as in Keras. The parameters of the last epoch are kept too, so that
        the fit can be resumed.
    mode : {"auto", "min", "max"}, default "auto"
        Whether lower or higher numbers are better. "auto" is "max" for r2 and accuracy, else "min".
    ties : {"first", "last"}, default "first"
        Which of the epochs with the same best number is the best epoch. With "last", ``patience``
        counts from the last one. So a number that never changes does not stop the fit. Accuracies
        often have ties, and there the later epoch tends to be better, because the net was trained
        for longer. ``min_delta`` says nothing of ties: a number that falls short of the best one
        by less than that is not equal to it.

    Attributes
    ----------
    best : float
        The best number so far in the latest fit. nan is never an improvement. A fit in which every
        number was nan keeps the parameters of its last epoch, and warns.
    best_epoch : int or None
        The epoch of the best number, counted from 0 over all calls of `Trainer.fit`.
    stopped : bool
        Whether this callback stopped the latest fit.

    Raises
    ------
    TypeError, ValueError
        For a bad argument, which the message names. `Trainer.fit` raises a ValueError at its start
        if ``logs`` have no number named ``monitor``, or if the fit that it resumes monitored
        another number.

    Notes
    -----
    Each fit counts anew, unless ``epochs_total`` resumes one. If the parameters were set before it
    is resumed, it trains them and counts anew too.

    The numba backend applies the rule itself, and trains many epochs in one call, if this is the
    only callback, it monitors "loss", "validation_loss" or "validation_accuracy", and there are no
    metrics of your own.
    The results are the same. During such a fit, the attributes change at the end of each block of
    epochs, up to about a tenth of a second long. Ctrl-C keeps the last whole block.

    References
    ----------
    Prechelt, *Early Stopping - But When?*, in Neural Networks: Tricks of the Trade, 1998: its
    third class of criteria, UP, with a patience. The last of equal epochs: Holzmueller, Grinsztajn
    and Steinwart, *Better by Default*, arXiv:2407.04491.

    Examples
    --------
    >>> import numpy as np
    >>> from jitprop import EarlyStopping, Trainer
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(40, 5)), rng.uniform(size=40)  # nothing to learn
    >>> trainer = Trainer([5, 20, 1], learning_rate=1.0, batch_size=5, seed=0)
    >>> stopping = EarlyStopping(patience=5)
    >>> history = trainer.fit(
    ...     X[:30], y[:30], epochs=1000, validation_data=(X[30:], y[30:]), callbacks=stopping
    ... )
    >>> stopping.stopped, len(history.loss) == stopping.best_epoch + 6
    (True, True)
    >>> trainer.evaluate(X[30:], y[30:]) == stopping.best
    True
    """

    def __init__(
        self,
        monitor: str = "validation_loss",
        patience: int = 10,
        min_delta: float = 0.0,
        restore_best: bool = True,
        mode: str = "auto",
        ties: str = "first",
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
        self.ties = checks.choice("ties", ties, ("first", "last"))
        self._forget()

    def __repr__(self) -> str:
        return (
            f"EarlyStopping({self.monitor!r}, patience={self.patience}, "
            f"min_delta={self.min_delta:g}, restore_best={self.restore_best}, mode={self.mode!r}, "
            f"ties={self.ties!r})"
        )

    @property
    def higher_is_better(self) -> bool:
        """What ``mode`` says; "auto" decides by the name of the number."""
        if self.mode == "auto":
            return self.monitor.removeprefix(VALIDATION) in HIGHER_IS_BETTER
        return self.mode == "max"

    @property
    def rule(self) -> Patience:
        """When to stop, as the attributes say now."""
        last = self.ties == "last"
        return Patience(self.patience, self.min_delta, self.higher_is_better, last)

    def _forget(self, epochs: int = 0) -> None:
        self.best = self.rule.worst
        self.best_epoch: int | None = None
        self.stopped = False
        self._first = epochs
        self._last: int | None = None
        # Those of the best epoch. After these were restored, those of the last epoch.
        self._parameters: Any = None
        self._restored: int | None = None

    @property
    def _is_exhausted(self) -> bool:
        best_epoch = -1 if self.best_epoch is None else self.best_epoch
        return self._last is not None and bool(
            self.rule.is_exhausted(self._first, best_epoch, self._last)
        )

    def on_fit_begin(self, trainer: Any) -> None:
        """Count anew."""
        self._forget(trainer.epochs_trained)

    def on_epoch_end(self, trainer: Any, epoch: int, logs: dict[str, float]) -> None:
        """Count the epoch, and keep its parameters if they are the best."""
        value = logs[self.monitor]
        # A second call for the same epoch, as after Ctrl-C, must change nothing.
        if self.rule.is_better(value, self.best):
            parameters = _frozen(trainer.parameters) if self.restore_best else None
            self._improve(value, epoch, parameters)
        self._count(trainer, epoch)

    def _improve(self, value: float, epoch: int, parameters: Array | None) -> None:
        self._parameters, self.best, self.best_epoch = parameters, value, epoch

    def _count(self, trainer: Any, epoch: int) -> None:
        """Count the epochs up to this one, of which the best is known."""
        self._last = epoch
        if self._is_exhausted:
            self.stopped = True
            trainer.stop()

    def on_fit_end(self, trainer: Any) -> None:
        """Restore the best parameters. Warn if the number was nan or infinite in every epoch."""
        self._restore(trainer)
        if self.best_epoch is None and self._last is not None:
            warn(
                f"EarlyStopping monitors {quoted(self.monitor)}, which was nan or infinite in "
                "every epoch: there is no best epoch, and the parameters are those of the last one"
            )

    def on_fit_error(self, trainer: Any, error: BaseException) -> None:
        """Restore the best parameters, and note it in the error."""
        if self._restore(trainer):
            error.add_note(f"EarlyStopping put the parameters of epoch {self.best_epoch} back")

    def _restore(self, trainer: Any) -> bool:
        """Swap the best parameters and those of the last epoch, once."""
        if self._parameters is None or self._restored is not None:
            return False
        self._swap(trainer, _checksum(self._parameters))
        return True

    def _swap(self, trainer: Any, restored: int | None) -> None:
        parameters = trainer.parameters
        present = _frozen(parameters)
        # One statement without a call, so that Ctrl-C comes before or after it, never inside.
        parameters[:], self._parameters, self._restored = self._parameters, present, restored

    def get_state(self) -> dict[str, Any]:
        """Return the best number and epoch, the first and last epoch, and the parameters."""
        return {
            "monitor": self.monitor,
            "higher_is_better": self.higher_is_better,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "first": self._first,
            "last": self._last,
            "parameters": self._parameters,
            "restored": self._restored,
        }

    def set_state(self, trainer: Any, state: Mapping[str, Any]) -> None:
        """Resume where the fit was saved, with the parameters of its last epoch."""
        check_same(self, state.get("monitor"), state.get("higher_is_better"))
        check_state(state, trainer.parameters.size, trainer.epochs_trained)
        parameters, restored = state["parameters"], state["restored"]
        if restored is not None and restored != _checksum(trainer.parameters):
            return  # the parameters were set since then
        self.best, self.best_epoch = state["best"], state["best_epoch"]
        self._first, self._last = state["first"], state["last"]
        self._parameters = parameters
        if restored is not None and parameters is not None:
            self._swap(trainer, None)
        if not self.restore_best:
            self._parameters = None
        if self._is_exhausted:
            self.stopped = True
            trainer.stop()


STATE = {
    "monitor",
    "higher_is_better",
    "best",
    "best_epoch",
    "first",
    "last",
    "parameters",
    "restored",
}
"""The keys of what `EarlyStopping.get_state` returns."""


def check_state(state: Mapping[str, Any], n_parameters: int, epochs: int) -> None:
    """
    Check a state of `EarlyStopping` for a net with so many parameters and trained epochs.

    Raises
    ------
    TypeError, ValueError
        If no `EarlyStopping` can have this state.
    """
    if lacking := sorted(STATE - set(state)):
        raise ValueError(f"the state of EarlyStopping must have {lacking[0]}")
    parameters, best = state["parameters"], state["best"]
    if parameters is not None and not (
        np.shape(parameters) == (n_parameters,) and np.isfinite(parameters).all()
    ):
        raise ValueError(
            f"the state of EarlyStopping must have {n_parameters} finite parameters; got "
            f"{checks.shown(parameters)}"
        )
    if not isinstance(best, float):
        raise ValueError(f"the state of EarlyStopping must have a best number; got {quoted(best)}")
    first = checks.integer("first", state["first"], low=0, high=checks.MOST)
    numbers = {"best": best, "first": first}
    for name, none in (("best_epoch", -1), ("last", first - 1), ("restored", -1)):
        given = state[name]
        numbers[name] = (
            none if given is None else checks.integer(name, given, low=0, high=checks.MOST)
        )
    higher = checks.boolean("higher_is_better", state["higher_is_better"])
    plausible.check_stopping(higher, numbers, epochs, parameters is not None)


def check_same(stopping: EarlyStopping, monitor: Any, higher_is_better: Any) -> None:
    """
    Check that the fit to be resumed monitored the same number.

    Raises
    ------
    ValueError
    """
    if (monitor, higher_is_better) != (stopping.monitor, stopping.higher_is_better):
        wanted, found = (
            "higher" if higher else "lower"
            for higher in (stopping.higher_is_better, higher_is_better)
        )
        raise ValueError(
            f"EarlyStopping monitors {quoted(stopping.monitor)}, {wanted} being better, and the "
            f"fit to be resumed had {quoted(monitor)}, {found} being better: pass the same, or "
            "epochs instead of epochs_total to count anew"
        )


def _frozen(parameters: Array) -> Array:
    """Return a read-only copy, which need not be copied again."""
    made = parameters.copy()
    made.flags.writeable = False
    return made


def _checksum(parameters: Array) -> int:
    """Return a checksum that tells whether the parameters have changed."""
    return zlib.crc32(parameters.data)


@hinting_class
class Checkpoint(Callback):
    """
    Save the trainer to one file every few epochs and at the end of the fit.

    However the process ends, the file is complete and has the latest saved epoch. Load it with
    `Trainer.load`, and ``fit(..., epochs_total=n)`` resumes the fit and the states of its callbacks
    bit for bit. If `EarlyStopping` restores the best parameters and stands before this callback in
    the list, the last save has the best parameters. If it stands after, the last save has those of
    the last epoch.

    Parameters
    ----------
    path : str or path-like
    every : int, default 1
        Save after each multiple of so many epochs, counted over all calls of `Trainer.fit`.

    Raises
    ------
    TypeError, ValueError
        For a bad argument, which the message names.
    FileNotFoundError
        From `Trainer.fit`, at its start, if the folder does not exist.
    OSError
        From `Trainer.fit`, as from `Trainer.save`. If an existing file may not be replaced, it is
        raised at the start. If the disk is full, the file stays the latest complete one.

    Examples
    --------
    >>> from jitprop import Checkpoint, Trainer
    >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> trainer = Trainer([2, 3, 1], seed=0)
    >>> history = trainer.fit(X, y, epochs=30, callbacks=Checkpoint("net", every=10))
    >>> Trainer.load("net").epochs_trained
    30
    """

    def __init__(self, path: str | os.PathLike[str], every: int = 1) -> None:
        if not isinstance(path, str | os.PathLike):
            raise TypeError(f"path must be a str or path-like; got {checks.shown(path)}")
        self.path = Path(path)
        self.every = checks.integer("every", every, low=1)

    def __repr__(self) -> str:
        return f"Checkpoint({str(self.path)!r}, every={self.every})"

    def on_fit_begin(self, trainer: Any) -> None:
        """Check that the file can be written: better now than after hours."""
        if not self.path.parent.is_dir():
            raise FileNotFoundError(f"no such folder: {str(self.path.parent)!r}")
        atomic.check(self.path)

    def on_epoch_end(self, trainer: Any, epoch: int, logs: dict[str, float]) -> None:
        """Save the trainer if the number of epochs is a multiple of ``every``."""
        if (epoch + 1) % self.every == 0:
            trainer.save(self.path)

    def on_fit_end(self, trainer: Any) -> None:
        """Save the trainer."""
        trainer.save(self.path)
