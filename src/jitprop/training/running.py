"""
Fits under way: one at a time for each object, and what others may see of the object meanwhile.

What a fit changes is not whole at every moment. So the fit publishes its last whole state, and who
saves, copies or pickles the object from elsewhere gets that. Nothing of this is kept in the object
itself: files, pickles and copies never hold a lock.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from jitprop.interrupts import Interrupts, take_new

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")

_changing = threading.RLock()

_running: dict[int, Running] = {}


class Running:
    """
    The fit of an object, as a context: in it no other fit of that object can begin.

    Parameters
    ----------
    owner : object
    name : str
        What the message calls it.

    Attributes
    ----------
    thread : int
        Which one the fit is in.
    published : object or None
        The last whole state; None where the fit has not begun to change anything.
    live : bool
        Whether the thread of the fit now runs a callback, which sees the object as it is.

    Raises
    ------
    RuntimeError
        On entering, if the object is in a fit.
    """

    def __init__(self, owner: Any, name: str) -> None:
        self.owner, self.name = owner, name
        self.thread = threading.get_ident()
        self.published: Any = None
        self.live = False

    def __enter__(self) -> Running:
        try:
            # One step of the interpreter, so of two threads one gets in.
            if _running.setdefault(id(self.owner), self) is self:
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
        """Let others see this state; it is never changed afterwards."""
        with Interrupts(), changing():  # wait for who copies the object itself
            self.published = whole

    def telling(self) -> Telling:
        """While callbacks run, which see the object as it is."""
        return Telling(self)


class Telling:
    """See `Running.telling`."""

    def __init__(self, fit: Running) -> None:
        self.fit = fit

    def __enter__(self) -> None:
        self.fit.live = True

    def __exit__(self, *exception: object) -> None:
        self.fit.live = False
        take_new()


def changing() -> AbstractContextManager[object]:
    """Held while a state is published or taken, and while a fit begins or ends. Never for long."""
    return _changing


def of(owner: Any) -> Running:
    """The fit that an object is in: for its own methods, inside the fit."""
    return _running[id(owner)]


def published(owner: Any) -> Any:
    """
    The last whole state of an object in a fit; None where the object itself is whole.

    That is where it is in no fit, where its fit has changed nothing yet, and for its callbacks.
    """
    fit = _running.get(id(owner))
    if fit is None or (fit.live and fit.thread == threading.get_ident()):
        return None
    return fit.published


def published_elsewhere(owner: Any) -> Any:
    """The same for another thread than that of the fit, which sees the object itself."""
    fit = _running.get(id(owner))
    return None if fit is None or fit.thread == threading.get_ident() else fit.published


def may_change(owner: Any) -> bool:
    """Whether another thread may begin to change an object while this one reads it."""
    fit = _running.get(id(owner))
    in_own_fit = fit is not None and fit.thread == threading.get_ident()
    return threading.active_count() > 1 and not in_own_fit


def one_at_a_time(
    name: str,
) -> Callable[[Callable[Concatenate[S, P], R]], Callable[Concatenate[S, P], R]]:
    """
    Make a method a fit of its object, of which there can be one at a time.

    Signals are heard in the method, and not while the fit is written down as begun or ended.
    """

    def decorate(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
        @wraps(method)
        def fit(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
            with Interrupts() as interrupts, Running(self, name), interrupts.heard():
                return method(self, *args, **kwargs)

        return fit

    return decorate


def _before_fork() -> None:
    _changing.acquire()  # no other thread must be in the middle of a change


def _after_fork() -> None:
    _changing.release()


def _forget_in_child() -> None:
    """In a forked child other threads and their fits are gone: put the objects back."""
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
