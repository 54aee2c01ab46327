"""Ctrl-C during a fit: heard at once, and raised where the state is whole."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

# What `signal` wraps: its look for a name of each handler takes 10 us, and a fit needs several.
_get: Callable[[int], Any] = _signal.getsignal
_set: Callable[[int, Any], Any] = _signal.signal


class Listener:
    """
    A handler of SIGINT. It is made deaf: what it hears waits until `held` is 0.

    Attributes
    ----------
    held : int
        How many sections that must not be broken off are open. Above 0, Ctrl-C waits.
    halt : callable or None
        Tells a backend that trains to come back soon, and returns whether it will. Then Ctrl-C
        waits too.
    noted : bool
        Whether one waits.
    raised : bool
        Whether one was raised. Those after it are not heard, so that they do not disturb the way
        back.
    """

    def __init__(self) -> None:
        self.held = 1
        self.halt: Callable[[], bool] | None = None
        self.noted = self.raised = False
        self.thread = threading.get_ident()

    def hear(self, number: int, frame: FrameType | None) -> None:
        """Take a Ctrl-C: raise KeyboardInterrupt, or note it."""
        del number, frame
        if self.raised:
            return
        self.noted = True
        if not (self.halt is not None and self.halt()):
            self.check()

    def check(self) -> None:
        """Raise what was noted, unless it still has to wait."""
        if self.noted and self.held == 0:
            self.noted, self.raised = False, True
            raise KeyboardInterrupt


def _installed() -> Listener | None:
    """The listener that Ctrl-C comes to; None where a handler of somebody else's is set."""
    owner = getattr(_get(signal.SIGINT), "__self__", None)
    return owner if isinstance(owner, Listener) else None


class Interrupts:
    """
    A section of code that Ctrl-C does not break off; it is raised at the end.

    Inside it, `heard` is a part in which Ctrl-C is raised as usual. So what comes before that part
    and what comes after it, such as taking a lock and giving it back, is done as a whole. Sections
    may be nested.

    It works in the main thread, while Python's own handler is set; elsewhere it does nothing. So a
    handler of the user's may raise what it likes where it likes. Setting the handler is one step
    of the interpreter, and the new one begins deaf, so there is no moment in between.
    """

    def __init__(self) -> None:
        self._listener = Listener()
        self._before = 0
        self._outermost = False

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is not threading.main_thread():
            self._listener.held = 0
            return self
        outer = _installed()
        if outer is not None:
            self._listener, self._before = outer, outer.held
            outer.held = self._before + 1
        elif _get(signal.SIGINT) is signal.default_int_handler:
            self._outermost = True
            _set(signal.SIGINT, self._listener.hear)
        else:
            self._listener.held = 0
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        listener = self._listener
        if self._outermost and _installed() is listener:
            _set(signal.SIGINT, signal.default_int_handler)
        listener.held = self._before
        listener.check()

    def heard(self) -> Heard:
        """The part of the section in which Ctrl-C is raised."""
        return Heard(self._listener, self._before)

    @property
    def halt(self) -> Callable[[], bool] | None:
        """See `Listener`. To be set while a backend trains."""
        return self._listener.halt

    @halt.setter
    def halt(self, value: Callable[[], bool] | None) -> None:
        self._listener.halt = value

    def arm(self) -> None:
        """Hear the next one though one was raised: whoever got that has not let it end the fit."""
        self._listener.raised = False

    def check(self) -> None:
        """Raise what was noted meanwhile."""
        self._listener.check()


class Heard:
    """The part of an `Interrupts` in which Ctrl-C is raised."""

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


def from_a_handler(error: BaseException) -> bool:
    """
    Whether a handler of a signal raised this error, and not what was called.

    A time limit, for example, is often a handler of SIGALRM that raises TimeoutError, which is an
    OSError. Who expects errors of a call, and goes on, must let those of a handler through.
    """
    codes = set()
    for number in signal.valid_signals():
        handler = _get(number)
        handler = getattr(handler, "func", handler)  # of functools.partial
        handler = getattr(handler, "__func__", handler)  # of a bound method
        codes.add(getattr(handler, "__code__", None))
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code in codes:
            return True
        traceback = traceback.tb_next
    return False


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
    listener = _installed()
    if listener is not None and listener.thread != threading.get_ident():
        _set(signal.SIGINT, signal.default_int_handler)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
