"""
Signals during a fit: heard at once, but where a section must be done as a whole, at its end.

Handlers of signals that are functions of Python's run between any two steps of the main thread,
and what they raise comes out there: KeyboardInterrupt on Ctrl-C, or the error of a user's time
limit. So for as long as a fit takes, a `StandIn` takes the place of each of them.
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

# What `signal` wraps: its look for a name of each handler takes 10 us, and a fit needs several.
_get: Callable[[int], Any] = _signal.getsignal
_set: Callable[[int, Any], Any] = _signal.signal

NUMBERS = sorted(_signal.valid_signals())


class Listener:
    """
    Hears all signals that have handlers in Python, and calls these handlers: at once, or later.

    It begins deaf: what it hears waits until `held` is 0. A stand-in that somebody kept, and sets
    again after the end, just calls its handler.

    Attributes
    ----------
    held : int
        How many sections that must not be broken off are open. Above 0, signals wait.
    halt : callable or None
        Tells a backend that trains to come back soon, and returns whether it will. Then Ctrl-C
        waits too. A handler of the user's does not: it may return, and then training goes on.
    taken : list of int
        Numbers of the signals whose handlers it stands in for.
    noted : list of (handler, number)
        Those that wait.
    raised : BaseException or None
        What a handler raised last. A Ctrl-C after KeyboardInterrupt is not heard, so that it does
        not disturb the way back.
    lost : BaseException or None
        The same, where Python let it get lost.
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
        """Take the place of all handlers."""
        global _listener
        try:
            _listener = self
            self.take()
            self.hook, sys.unraisablehook = sys.unraisablehook, self.unraisable
        except BaseException:  # of a handler whose turn had not come
            self.end()
            raise

    def take(self) -> None:
        """Take the place of those handlers that are no stand-ins yet."""
        # All numbers take 4 us in this way, and 8 us in a plain loop.
        for number in compress(NUMBERS, map(callable, map(_get, NUMBERS))):
            handler = _get(number)
            if not (isinstance(handler, StandIn) and handler.listener is self):
                if number not in self.taken:
                    self.taken.append(number)
                _set(number, StandIn(self, handler))

    def end(self) -> None:
        """Put the handlers back, and call those that wait."""
        global _listener
        _listener = self.halt = self.raised = None
        try:
            self._put_back()
        finally:  # the first that is back may raise an error before the last one is
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
        """Take a signal: call its handler, or note it."""
        own = handler is signal.default_int_handler
        if own and isinstance(self.raised, KeyboardInterrupt):
            return
        if not (own and (handler, number) in self.noted):
            self.noted.append((handler, number))
        if not (own and self.halt is not None and self.halt()):
            self.check(frame)

    def check(self, frame: FrameType | None = None) -> None:
        """Call the handlers that wait, unless they still have to."""
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
        """Call all that wait, though one of them raises an error."""
        try:
            self.check()
        finally:
            if self.noted:
                self._check_all()

    def unraisable(self, unraisable: Any) -> None:
        """
        Keep the error of a handler that came where Python lets no error out, to raise it later.

        Such a place is a ``__del__``, or a callback of a weak reference.
        """
        if self.raised is not None and unraisable.exc_value is self.raised:
            self.lost = self.raised
        else:
            self.hook(unraisable)


class StandIn:
    """What is set instead of a handler, as long as its listener listens."""

    def __init__(self, listener: Listener, handler: Any) -> None:
        self.listener, self.handler = listener, handler
        if isinstance(handler, StandIn):  # kept, and set again
            self.handler = handler.handler

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Tell the listener."""
        self.listener.hear(self.handler, number, frame)


_listener: Listener | None = None
"""The one that listens now."""


def take_new() -> None:
    """After a call of the user's: in a section, the handlers that it has set wait as well."""
    if _listener is not None and threading.get_ident() == threading.main_thread().ident:
        _listener.take()


class Interrupts:
    """
    A section of code that no signal breaks off; those that came are heard at the end.

    Inside it, `heard` is a part in which they are heard as usual. So what comes before that part
    and what comes after it, such as taking a lock and giving it back, is done as a whole. Sections
    may be nested.

    That holds for all handlers that were set in Python before the outermost section, Python's own
    and the user's. Each is called once for each signal. Elsewhere than in the main thread no
    handlers run, and a section does nothing.
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
        """The part of the section in which signals are heard."""
        return Heard(self._listener, self._before)

    @property
    def halt(self) -> Callable[[], bool] | None:
        """See `Listener`. To be set while a backend trains."""
        return self._listener.halt

    @halt.setter
    def halt(self, value: Callable[[], bool] | None) -> None:
        self._listener.halt = value

    def arm(self) -> None:
        """Hear the next Ctrl-C though one was raised: whoever got that has not ended the fit."""
        self._listener.raised = None

    def check(self) -> None:
        """Call the handlers of what came meanwhile."""
        self._listener.check()


class Heard:
    """The part of an `Interrupts` in which signals are heard."""

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
        self._listener.halt = None  # what trained inside does so no more


def from_a_handler(error: BaseException) -> bool:
    """
    Whether a handler of a signal raised this error, and not what was called.

    A time limit, for example, is often a handler of SIGALRM that raises TimeoutError, which is an
    OSError. Who expects errors of a call, and goes on, must let those of a handler through.
    """
    codes = {_code(_get(number)) for number in NUMBERS} | {_code(Listener.check)}
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code in codes:
            return True
        traceback = traceback.tb_next
    return False


def _code(handler: Any) -> Any:
    """The code that a call of a handler runs: of a function or method, a partial or an object."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    if callable(handler) and not hasattr(handler, "__code__"):
        handler = type(handler).__call__
    return getattr(handler, "__code__", None)


class Expected:
    """
    A context that goes on after some errors, as `contextlib.suppress`, but not a handler's.

    Parameters
    ----------
    *kinds : types of exceptions
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
    """In a forked child no other thread is left: if one of them was listening, none listens now."""
    if _listener is not None and _listener.thread != threading.get_ident():
        _listener.noted.clear()  # the parent hears them
        _listener.end()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
