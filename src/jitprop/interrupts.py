"""Ctrl-C during a fit: heard at once, and raised where the state is whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any


class Interrupts:
    """
    Python's own handling of Ctrl-C, save that it waits while a backend trains.

    In the main thread, where no other handler was set; elsewhere it does nothing, and a handler
    of the user's may raise what it likes where it likes. Between `__enter__` and `__exit__` the
    first Ctrl-C raises KeyboardInterrupt; those after it are not heard, so that they do not
    disturb the way back.

    Attributes
    ----------
    halt : callable or None
        To be set while a backend trains: tells it to come back soon, and returns whether it will.
        Then Ctrl-C waits for `check`.
    """

    def __init__(self) -> None:
        self.halt: Callable[[], bool] | None = None
        self._pending = self._raised = self._installed = False

    def __enter__(self) -> Interrupts:
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._hear)
            self._installed = True
        return self

    def __exit__(self, *exception: object) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _hear(self, number: int, frame: FrameType | None) -> Any:
        if self._raised:
            return
        if self.halt is not None and self.halt():
            self._pending = True
            return
        self._raised = True
        raise KeyboardInterrupt

    def arm(self) -> None:
        """Hear the next one though one was raised: whoever got that has not let it end the fit."""
        self._raised = False

    def check(self) -> None:
        """Raise what was heard meanwhile."""
        if self._pending:
            self._pending, self._raised = False, True
            raise KeyboardInterrupt
