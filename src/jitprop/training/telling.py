"""Callbacks of one fit: told of what happens, brought to where they were, asked for their state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from jitprop.training import kept
from jitprop.training.callbacks import Callback
from jitprop.training.kept import Kept


class Told:
    """
    The callbacks of one fit.

    Parameters
    ----------
    model : Trainer or Fleet
    callbacks : list of Callback
    before : list of Kept
        What callbacks of the fit before kept, where this one resumes it.
    epochs : int
        How many were trained before.
    last_logs : callable or None
        Gives the logs of the last of these, if they are known.
    """

    def __init__(
        self,
        model: Any,
        callbacks: Sequence[Callback],
        before: Sequence[Kept],
        epochs: int = 0,
        last_logs: Callable[[], dict[str, float]] | None = None,
    ) -> None:
        self.model, self.callbacks, self.before = model, callbacks, list(before)
        self.epochs, self.last_logs = epochs, last_logs
        self.epochs_told = [epochs] * len(callbacks)
        self.begun = 0

    def __bool__(self) -> bool:
        """Whether there is anyone to tell."""
        return bool(self.callbacks)

    def begin(self) -> None:
        """Tell them that the fit begins, and bring them to where they were."""
        for callback in self.callbacks:
            self.begun += 1
            callback.on_fit_begin(self.model)
        for callback in self.callbacks:
            self._resume(callback)
        kept.encoded(self.states())  # what cannot be saved is refused now

    def _resume(self, callback: Callback) -> None:
        name = type(callback).__qualname__
        found = next((state for state in self.before if state.name == name), None)
        if found is None:
            return
        self.before = [state for state in self.before if state is not found]
        callback.set_state(self.model, found.state)
        if self.last_logs is not None and found.told == self.epochs - 1:
            # Saved or interrupted after this epoch, but before this callback's turn.
            callback.on_epoch_end(self.model, found.told, self.last_logs())

    def tell(self, epoch: int, logs: dict[str, Any]) -> None:
        """Tell them of an epoch."""
        for i, callback in enumerate(self.callbacks):
            callback.on_epoch_end(self.model, epoch, logs)
            self.epochs_told[i] = epoch + 1

    def end(self) -> None:
        """Tell them that the fit ends."""
        for callback in self.callbacks:
            callback.on_fit_end(self.model)

    def fail(self, error: BaseException) -> None:
        """Tell all that began of an exception, even if one of them raises another."""
        with ExitStack() as stack:
            for callback in reversed(self.callbacks[: self.begun]):
                stack.callback(callback.on_fit_error, self.model, error)

    def states(self) -> list[Kept]:
        """What they keep, as of now."""
        made = []
        for callback, told in zip(self.callbacks, self.epochs_told, strict=True):
            state = callback.get_state()
            if state is not None:
                made.append(Kept(type(callback).__qualname__, told, state))
        return made
