"""Callbacks: what is told of each epoch of a fit."""

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
    Is told when a fit begins, after each of its epochs, and when it ends.

    To be inherited from; each method does nothing here. Where only the second is wanted, a plain
    function with the arguments of `on_epoch_end` will do.

    With a callback, each epoch is a call of the backend of its own. `Trainer.stop` ends the fit
    after the epoch that the callback is told of; what a callback returns is ignored. An exception
    in one comes out of `Trainer.fit`, with the epoch that it was told of in the trainer. What a
    callback changes in the trainer, parameters or ``learning_rate``, holds from the next epoch on.
    Where it has an attribute ``monitor``, a name in ``logs``, a fit that has no such number is
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
        """Before the first epoch."""

    def on_epoch_end(self, trainer: Any, epoch: int, logs: dict[str, float]) -> None:
        """
        After an epoch, with the trainer as it is then.

        ``trainer.stop()`` ends the fit here. The epoch's other callbacks are called all the same.

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
        """After the last epoch, also of a fit that was stopped; not after an exception."""

    def on_fit_error(self, trainer: Any, error: BaseException) -> None:
        """
        When an exception ends the fit: Ctrl-C, `DivergenceError`, an error in a callback.

        The trainer is as the exception leaves it. The exception comes out of `fit` afterwards.
        """

    def get_state(self) -> Mapping[str, Any] | None:
        """
        What the callback needs for a fit to be resumed; called after each epoch that is saved.

        It is in the files of `Trainer.save` and `Checkpoint`, in pickles and copies of the trainer,
        and in the trainer itself when the fit has ended.

        Returns
        -------
        dict or None
            Of str to None, bool, int, float, str, float32 or float64 arrays, and lists and dicts
            of these. Tuples come back as lists. None where there is nothing to keep.
        """
        return None

    def set_state(self, trainer: Any, state: Mapping[str, Any]) -> None:
        """
        Take up what `get_state` returned, where ``fit(..., epochs_total=n)`` resumes a fit.

        Called after `on_fit_begin`, on the first of the callbacks whose class has the name of the
        one that the state is of; with several of one class, in their order. If the trainer was
        saved after an epoch that this callback had not been told of yet, it is told of it next;
        and told of it again, if Ctrl-C came while it was told.

        Parameters
        ----------
        trainer : Trainer or Fleet
        state : dict
            Its arrays are not to be written to.
        """


OnEpochEnd: TypeAlias = Callable[[Any, int, dict[str, float]], Any]


class _Function(Callback):
    """A plain function as a callback."""

    def __init__(self, function: OnEpochEnd) -> None:
        self.function = function

    def on_epoch_end(self, trainer: Any, epoch: int, logs: dict[str, float]) -> None:
        """Call it; what it returns is ignored."""
        self.function(trainer, epoch, logs)


def resolve(callbacks: Any) -> list[Callback]:
    """`Trainer.fit`'s ``callbacks``: one or a list of them, functions made callbacks."""
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
    Stop when a number has not got better for some epochs.

    Its state is saved with the trainer: ``fit(..., epochs_total=n)`` resumes a fit that was
    interrupted or saved, and goes on to the same bits, to the same last and the same best epoch.

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
        not, and also where Ctrl-C, divergence or another exception ends the fit. The optimizer's
        state, the random state and the count of epochs stay those of the last epoch, as in Keras.
        The parameters of the last epoch are kept as well, for a fit that is resumed.
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
        number has the name ``monitor``, or where a fit is resumed whose number had another name.

    Notes
    -----
    Each fit counts anew, unless ``epochs_total`` resumes one. Then parameters that were set
    meanwhile are trained on, and count anew too.

    References
    ----------
    Prechelt, *Early Stopping - But When?*, in Neural Networks: Tricks of the Trade, 1998: its
    third class of criteria, UP, with a patience.

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
        self._forget()

    def __repr__(self) -> str:
        return (
            f"EarlyStopping({self.monitor!r}, patience={self.patience}, "
            f"min_delta={self.min_delta:g}, restore_best={self.restore_best}, mode={self.mode!r})"
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
        return Patience(self.patience, self.min_delta, self.higher_is_better)

    def _forget(self, epochs: int = 0) -> None:
        self.best = self.rule.worst
        self.best_epoch: int | None = None
        self.stopped = False
        self._first = epochs
        self._last: int | None = None
        # Of the best epoch; once these are in the trainer, those that they took the place of.
        self._parameters: Any = None
        self._restored: int | None = None

    @property
    def _is_exhausted(self) -> bool:
        best_epoch = -1 if self.best_epoch is None else self.best_epoch
        return self._last is not None and bool(
            self.rule.is_exhausted(self._first, best_epoch, self._last)
        )

    def on_fit_begin(self, trainer: Any) -> None:
        """Begin anew."""
        self._forget(trainer.epochs_trained)

    def on_epoch_end(self, trainer: Any, epoch: int, logs: dict[str, float]) -> None:
        """Count, and keep the parameters if they are the best."""
        value = logs[self.monitor]
        # Told of an epoch twice, as when Ctrl-C comes in between, it does nothing new.
        if self.rule.is_better(value, self.best):
            parameters = _frozen(trainer.parameters) if self.restore_best else None
            self._parameters, self.best, self.best_epoch = parameters, value, epoch
        self._last = epoch
        if self._is_exhausted:
            self.stopped = True
            trainer.stop()

    def on_fit_end(self, trainer: Any) -> None:
        """Put the best parameters back; warn if no epoch had a number to go by."""
        self._restore(trainer)
        if self.best_epoch is None and self._last is not None:
            warn(
                f"EarlyStopping goes by {quoted(self.monitor)}, which was nan or infinite in each "
                "epoch: no epoch is the best, and the parameters are those of the last one"
            )

    def on_fit_error(self, trainer: Any, error: BaseException) -> None:
        """Put the best parameters back."""
        if self._restore(trainer):
            error.add_note(f"EarlyStopping put the parameters of epoch {self.best_epoch} back")

    def _restore(self, trainer: Any) -> bool:
        """Let the best parameters and those of the last epoch change places, once."""
        if self._parameters is None or self._restored is not None:
            return False
        self._swap(trainer, _checksum(self._parameters))
        return True

    def _swap(self, trainer: Any, restored: int | None) -> None:
        parameters = trainer.parameters
        present = _frozen(parameters)
        # One statement without a call, so that Ctrl-C is heard before or after it.
        parameters[:], self._parameters, self._restored = self._parameters, present, restored

    def get_state(self) -> dict[str, Any]:
        """The best number and epoch, where it counts from, and the parameters."""
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
        """Go on where a fit was saved, with the parameters of its last epoch."""
        check_same(self, state.get("monitor"), state.get("higher_is_better"))
        check_state(state, trainer.parameters.size, trainer.epochs_trained)
        parameters, restored = state["parameters"], state["restored"]
        if restored is not None and restored != _checksum(trainer.parameters):
            return  # they were set since
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
"""What `EarlyStopping.get_state` returns."""


def check_state(state: Mapping[str, Any], n_parameters: int, epochs: int) -> None:
    """
    Refuse a state that no `EarlyStopping` has, of a net with so many parameters and epochs.

    Raises
    ------
    TypeError, ValueError
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
    """Refuse to resume a fit that went by another number."""
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
    """A copy that nobody writes to, so that it need not be copied again."""
    made = parameters.copy()
    made.flags.writeable = False
    return made


def _checksum(parameters: Array) -> int:
    """By which other parameters are told apart."""
    return zlib.crc32(parameters.data)


@hinting_class
class Checkpoint(Callback):
    """
    Save the trainer every so many epochs and at the end of the fit, always to the same file.

    Whatever ends the process, the file is whole and the latest one saved. With the trainer that
    `Trainer.load` makes of it, ``fit(..., epochs_total=n)`` resumes the fit, with the state of its
    callbacks, to the bits of one that never stopped. After `EarlyStopping` in the list of
    callbacks, what it holds at the end are the best parameters, if those are put back; before, they
    are those of the last epoch.

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
        From `Trainer.fit`, as `Trainer.save` does: at its start, where a file that is there may not
        be replaced. After a full disk the file is the latest one that was saved whole.

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
        """Look at the folder, and at what stands there: better now than after hours."""
        if not self.path.parent.is_dir():
            raise FileNotFoundError(f"no such folder: {str(self.path.parent)!r}")
        atomic.check(self.path)

    def on_epoch_end(self, trainer: Any, epoch: int, logs: dict[str, float]) -> None:
        """Save, if it is time."""
        if (epoch + 1) % self.every == 0:
            trainer.save(self.path)

    def on_fit_end(self, trainer: Any) -> None:
        """Save."""
        trainer.save(self.path)
