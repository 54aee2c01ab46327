"""The callbacks of one fit: they are called in order, resumed, and asked for their states."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from jitprop.training import kept
from jitprop.training.callbacks import Callback
from jitprop.training.kept import Kept


class CallbackList:
    """
    The callbacks of one fit.

    Parameters
    ----------
    net : Trainer or Fleet
        The callbacks get it as their first argument.
    callbacks : list of Callback
    saved : list of Kept
        The states of the callbacks of the fit that this one resumes. Empty if it resumes none.
    epochs : int, default 0
        How many epochs the net was trained before this fit.
    last_logs : callable or None
        Returns the logs of the last of these epochs. None if they are not known.
    """

    def __init__(
        self,
        net: Any,
        callbacks: Sequence[Callback],
        saved: Sequence[Kept],
        epochs: int = 0,
        last_logs: Callable[[], dict[str, float]] | None = None,
    ) -> None:
        self.net, self.callbacks, self.saved = net, callbacks, list(saved)
        self.epochs, self.last_logs = epochs, last_logs
        self.epochs_seen = [epochs] * len(callbacks)
        self.n_begun = 0

    def __bool__(self) -> bool:
        """Whether there is any callback."""
        return bool(self.callbacks)

    def on_fit_begin(self) -> None:
        """Call each callback's ``on_fit_begin``, and resume those whose states were saved."""
        for callback in self.callbacks:
            self.n_begun += 1
            callback.on_fit_begin(self.net)
        for callback in self.callbacks:
            self._resume(callback)
        kept.encoded(self.states())  # refuses now what could not be saved later

    def _resume(self, callback: Callback) -> None:
        name = type(callback).__qualname__
        saved = next((state for state in self.saved if state.name == name), None)
        if saved is None:
            return
        self.saved = [state for state in self.saved if state is not saved]
        callback.set_state(self.net, saved.state)
        if self.last_logs is not None and saved.told == self.epochs - 1:
            # The fit was saved or interrupted after this epoch, before this callback's turn.
            callback.on_epoch_end(self.net, saved.told, self.last_logs())

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Call each callback's ``on_epoch_end``."""
        for i, callback in enumerate(self.callbacks):
            callback.on_epoch_end(self.net, epoch, logs)
            self.epochs_seen[i] = epoch + 1

    def on_fit_end(self) -> None:
        """Call each callback's ``on_fit_end``."""
        for callback in self.callbacks:
            callback.on_fit_end(self.net)

    def on_fit_error(self, error: BaseException) -> None:
        """Call ``on_fit_error`` of all that began, even if one of them raises an error."""
        with ExitStack() as stack:
            for callback in reversed(self.callbacks[: self.n_begun]):
                stack.callback(callback.on_fit_error, self.net, error)

    def states(self) -> list[Kept]:
        """Return the current states of those callbacks that have any."""
        made = []
        for callback, epochs in zip(self.callbacks, self.epochs_seen, strict=True):
            state = callback.get_state()
            if state is not None:
                made.append(Kept(type(callback).__qualname__, epochs, state))
        return made
