"""
Signals during a fit: they are heard at once, or at the end of a section that must not break off.

A signal handler written in Python can run between any two steps of the main thread. Its error is
raised there: KeyboardInterrupt on Ctrl-C, or the error of a user's time limit. This could leave a
change half done. So a `StandIn` replaces each handler for as long as a fit takes.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import functools
import os
import signal
import sys
import threading
from collections.abc import Callable
from itertools import compress
from types import FrameType, TracebackType
from typing import Any

# `signal` wraps these functions. Its search for a name of each handler takes 10 us, and a fit
# makes several calls.
_get: Callable[[int], Any] = _signal.getsignal
_set: Callable[[int, Any], Any] = _signal.signal

NUMBERS = sorted(_signal.valid_signals())


class Listener:
    """
    Hears all signals that have handlers in Python, and calls these handlers at once or later.

    A new listener calls no handlers: signals wait until `held` is 0. Other code may keep a
    stand-in and set it again after the end. Such a stand-in calls its handler at once.

    Attributes
    ----------
    held : int
        Number of open sections that no signal may break off. Signals wait while it is above 0.
    halt : callable or None
        Asks the backend to return soon from training, and returns whether it will. If it will,
        Ctrl-C waits until then. A user's handler does not wait for the backend: the handler may
        return without an error, and then training goes on.
    taken : list of int
        Numbers of the signals whose handlers were replaced.
    noted : list of (handler, number)
        The signals that wait, with their handlers.
    raised : BaseException or None
        The last error that a handler raised. If it is a KeyboardInterrupt, a further Ctrl-C is
        ignored, so that it does not disturb the cleanup.
    lost : BaseException or None
        The same error, if Python could not raise it where the handler ran. See `unraisable`.
    """

    def __init__(self) -> None:
        self.held = 1
        self.halt: Callable[[], bool] | None = None
        self.taken: list[int] = []
        self.noted: list[tuple[Any, int]] = []
        self.raised: BaseException | None = None
        self.lost: BaseException | None = None
        self.thread = threading.get_ident()
        self.hook: Callable[[Any], object] = sys.unraisablehook

    def begin(self) -> None:
        """Replace all handlers by stand-ins."""
        global _listener
        try:
            _listener = self
            self.take()
            self.hook, sys.unraisablehook = sys.unraisablehook, self.unraisable
        except BaseException:  # from a handler that was not replaced yet
            self.end()
            raise

    def take(self) -> None:
        """Replace each handler that is not a stand-in of this listener yet."""
        # This takes 4 us for all numbers. A plain loop takes 8 us.
        for number in compress(NUMBERS, map(callable, map(_get, NUMBERS))):
            handler = _get(number)
            if not (isinstance(handler, StandIn) and handler.listener is self):
                if number not in self.taken:
                    self.taken.append(number)
                _set(number, StandIn(self, handler))

    def end(self) -> None:
        """Put the handlers back, and call those whose signals wait."""
        global _listener
        _listener = self.halt = self.raised = None
        try:
            self._put_back()
        finally:  # a handler put back early may raise before the last one is back
            self.held = 0
            self._put_back()
            self._check_all()

    def _put_back(self) -> None:
        for number in self.taken:
            if isinstance(there := _get(number), StandIn) and there.listener is self:
                _set(number, there.handler)
        if sys.unraisablehook == self.unraisable:
            sys.unraisablehook = self.hook

    def hear(self, handler: Any, number: int, frame: FrameType | None) -> None:
        """Take a signal. Call its handler now, or let it wait."""
        own = handler is signal.default_int_handler
        if own and isinstance(self.raised, KeyboardInterrupt):
            return
        if not (own and (handler, number) in self.noted):
            self.noted.append((handler, number))
        if not (own and self.halt is not None and self.halt()):
            self.check(frame)

    def check(self, frame: FrameType | None = None) -> None:
        """Call the handlers that wait, unless a section still holds them."""
        while self.held == 0 and self.noted:
            handler, number = self.noted.pop(0)
            try:
                handler(number, frame or sys._getframe())
            except BaseException as error:
                if _listener is self:
                    self.raised = error
                raise
        if self.held == 0 and self.lost is not None:
            lost, self.lost = self.lost, None
            raise lost

    def _check_all(self) -> None:
        """Call all handlers that wait, even if one of them raises an error."""
        try:
            self.check()
        finally:
            if self.noted:
                self._check_all()

    def unraisable(self, unraisable: Any) -> None:
        """
        Keep an error of a handler that Python cannot raise where the handler ran.

        This happens in a ``__del__`` or in a callback of a weak reference. `check` raises the
        error later.
        """
        if self.raised is not None and unraisable.exc_value is self.raised:
            self.lost = self.raised
        else:
            self.hook(unraisable)


class StandIn:
    """Replaces the handler of a signal while its listener is active."""

    def __init__(self, listener: Listener, handler: Any) -> None:
        self.listener, self.handler = listener, handler
        if isinstance(handler, StandIn):  # other code kept it and set it again
            self.handler = handler.handler

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Pass the signal to the listener."""
        self.listener.hear(self.handler, number, frame)


_listener: Listener | None = None
"""The active listener of the main thread. None if no section is open there."""


def take_new() -> None:
    """
    Replace the handlers that a user's function has set.

    Inside a section, their signals then wait too. Call this after each call of such a function.
    """
    if _listener is not None and threading.get_ident() == threading.main_thread().ident:
        _listener.take()


class Interrupts:
    """
    A section of code that no signal breaks off. Signals wait until its end.

    Inside the section, `heard` opens a part in which signals are heard as usual. The code before
    and after that part always runs to its end. Such code takes a lock and gives it back, for
    example. Sections may be nested.

    A section holds back all handlers that were set in Python before the outermost section:
    Python's own and the user's. A user's handler is called once for each signal. Several waiting
    Ctrl-C call Python's own handler once. Handlers run only in the main thread, so a section in
    another thread does nothing.
    """

    def __init__(self) -> None:
        self._before = 0
        self._outermost = False

    def __enter__(self) -> Interrupts:
        if threading.get_ident() != threading.main_thread().ident:
            self._listener = Listener()
            self._listener.held = 0
        elif _listener is not None:
            self._listener, self._before = _listener, _listener.held
            self._listener.held = self._before + 1
        else:
            self._listener, self._outermost = Listener(), True
            self._listener.begin()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._outermost:
            self._listener.end()
        else:
            self._listener.held = self._before
            self._listener.check()

    def heard(self) -> Heard:
        """Return a context inside the section in which signals are heard."""
        return Heard(self._listener, self._before)

    @property
    def halt(self) -> Callable[[], bool] | None:
        """See `Listener`. Set it while a backend trains."""
        return self._listener.halt

    @halt.setter
    def halt(self, value: Callable[[], bool] | None) -> None:
        self._listener.halt = value

    def arm(self) -> None:
        """Re-arm after a KeyboardInterrupt that a callback caught: the next Ctrl-C is heard."""
        self._listener.raised = None

    def check(self) -> None:
        """Call the handlers of the signals that wait, unless a section holds them."""
        self._listener.check()


class Heard:
    """A part of an `Interrupts` section in which signals are heard."""

    def __init__(self, listener: Listener, held: int) -> None:
        self._listener, self._inside, self._outside = listener, held, listener.held

    def __enter__(self) -> None:
        try:
            self._listener.held = self._inside
            self._listener.check()
        except BaseException:
            self._listener.held = self._outside
            raise

    def __exit__(self, *exception: object) -> None:
        self._listener.held = self._outside
        self._listener.halt = None  # the training inside has ended


def from_a_handler(error: BaseException) -> bool:
    """
    Return whether a signal handler raised this error, and not the function that was called.

    For example, a time limit is often a handler of SIGALRM that raises TimeoutError, which is an
    OSError. Code that catches the errors of a call must let the errors of a handler through.
    """
    codes = {_code(_get(number)) for number in NUMBERS} | {_code(Listener.check)}
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code in codes:
            return True
        traceback = traceback.tb_next
    return False


def _code(handler: Any) -> Any:
    """Return the code of a handler: a function, a method, a partial or a callable object."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    if callable(handler) and not hasattr(handler, "__code__"):
        handler = type(handler).__call__
    return getattr(handler, "__code__", None)


class Expected:
    """
    A context that suppresses errors as `contextlib.suppress` does, but not a handler's errors.

    Parameters
    ----------
    *kinds : types of exceptions
        The errors to suppress.
    """

    def __init__(self, *kinds: type[BaseException]) -> None:
        self.kinds = kinds

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        return isinstance(error, self.kinds) and not from_a_handler(error)


def _forget_in_child() -> None:
    """End another thread's listener in a forked child, which has only the thread that forked."""
    if _listener is not None and _listener.thread != threading.get_ident():
        _listener.noted.clear()  # the parent process hears these signals
        _listener.end()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
