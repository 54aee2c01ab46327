"""
Fits under way: one at a time for each object, and the state that others see during the fit.

During a fit, the state of the object is not whole at every moment. So the fit publishes its last
whole state. Code that saves, copies or pickles the object gets that state, except in the fit's
callbacks. The object itself stores none of this, so files, pickles and copies never hold a lock.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from jitprop.interrupts import Interrupts, take_new

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")

_changing = threading.RLock()

_running: dict[int, Running] = {}

_updating: dict[int, int] = {}
"""The threads that are in a single update of an object, by the object's id. See `updating`."""


class Running:
    """
    The fit of an object, as a context. No other fit of that object can begin inside it.

    Parameters
    ----------
    owner : object
    name : str
        What the error message calls the object.

    Attributes
    ----------
    thread : int
        Identifier of the thread that runs the fit.
    published : object or None
        The last whole state. None if the fit has not changed anything yet.
    live : bool
        Whether the fit's thread is running a callback. A callback sees the object itself, not the
        published state.

    Raises
    ------
    RuntimeError
        On entering, if the object is already in a fit.
    """

    def __init__(self, owner: Any, name: str) -> None:
        self.owner, self.name = owner, name
        self.thread = threading.get_ident()
        self.published: Any = None
        self.live = False

    def __enter__(self) -> Running:
        try:
            # setdefault is atomic, so only one of two threads enters.
            free = not updates_here(self.owner)
            if free and _running.setdefault(id(self.owner), self) is self:
                return self
            raise RuntimeError(
                f"this {self.name} is in a fit already; a callback or another thread may fit a "
                "copy.deepcopy of it"
            )
        except BaseException:
            self._end()
            raise

    def __exit__(self, *exception: object) -> None:
        self._end()

    def _end(self) -> None:
        if _running.get(id(self.owner)) is self:
            del _running[id(self.owner)]

    def publish(self, whole: Any) -> None:
        """Let others see this state. It must never be changed afterwards."""
        with Interrupts(), changing():  # another thread may be copying the object
            self.published = whole

    def telling(self) -> Telling:
        """Return a context for calls of callbacks. They see the object itself."""
        return Telling(self)


class Telling:
    """The context that `Running.telling` returns."""

    def __init__(self, fit: Running) -> None:
        self.fit = fit

    def __enter__(self) -> None:
        self.fit.live = True

    def __exit__(self, *exception: object) -> None:
        self.fit.live = False
        take_new()


def changing() -> AbstractContextManager[object]:
    """
    Return the lock for publishing or reading a state, and for beginning or ending a fit.

    No thread holds it for long.
    """
    return _changing


def of(owner: Any) -> Running:
    """Return the fit that an object is in. Only its own methods call this, inside the fit."""
    return _running[id(owner)]


def published(owner: Any) -> Any:
    """
    Return the last whole state of an object in a fit. None if the object itself is whole.

    The object itself is whole if it is in no fit, or if its fit has not changed anything yet. It
    is also whole for the callbacks of its fit.
    """
    fit = _running.get(id(owner))
    if fit is None or (fit.live and fit.thread == threading.get_ident()):
        return None
    return fit.published


def is_in_a_fit(owner: Any) -> bool:
    """Return whether an object is in a fit, of this thread or another one."""
    return id(owner) in _running


def updating(owner: Any) -> Callable[[], object]:
    """
    Begin a single update, which is no fit; return what ends it. Hold `changing` meanwhile.

    Other threads wait for the lock. A signal handler in this thread does not wait, and must not
    train in the middle of the update. What ends it is C code, so that no exception of a handler
    can come before it is done.
    """
    end = partial(_updating.pop, id(owner), None)
    _updating[id(owner)] = threading.get_ident()
    return end


def updates_here(owner: Any) -> bool:
    """Return whether this thread is in the middle of a single update of an object."""
    return _updating.get(id(owner)) == threading.get_ident()


def published_elsewhere(owner: Any) -> Any:
    """Return the same for other threads. The fit's own thread gets None: it sees the object."""
    fit = _running.get(id(owner))
    return None if fit is None or fit.thread == threading.get_ident() else fit.published


def may_change(owner: Any) -> bool:
    """Return whether another thread may begin to change an object while this thread reads it."""
    fit = _running.get(id(owner))
    in_own_fit = fit is not None and fit.thread == threading.get_ident()
    return threading.active_count() > 1 and not in_own_fit


@contextmanager
def fit_of(owner: Any, name: str) -> Iterator[None]:
    """
    Return the context of a fit. An object can be in only one fit at a time.

    Signals are heard in it. They wait while the beginning or end of the fit is recorded.
    """
    with Interrupts() as interrupts, Running(owner, name), interrupts.heard():
        yield


def one_at_a_time(
    name: str,
) -> Callable[[Callable[Concatenate[S, P], R]], Callable[Concatenate[S, P], R]]:
    """Make a method a fit of its object: see `fit_of`."""

    def decorate(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
        @wraps(method)
        def fit(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
            with fit_of(self, name):
                return method(self, *args, **kwargs)

        return fit

    return decorate


def _before_fork() -> None:
    _changing.acquire()  # no other thread may be in the middle of a change


def _after_fork() -> None:
    _changing.release()


def _forget_in_child() -> None:
    """End the fits of other threads, which a forked child lacks, and restore their objects."""
    global _changing
    _changing = threading.RLock()
    for fit in list(_running.values()):
        if fit.thread != threading.get_ident():
            fit._end()
            if fit.published is not None:
                fit.owner._go_back_to(fit.published)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_forget_in_child
    )
