"""
Compiling where no signal can break it off.

Python runs handlers of signals in the main thread alone, between any two steps. An exception from
one, such as KeyboardInterrupt, may leave numba or LLVM half done: the next call then fails with
"no compiled object yet". So the main thread lets another one compile. An exception that comes
while it waits comes out at once; the compiler goes on to its end, and the next call finds the code.

One thread compiles at a time, and a fork waits for it: in the child it would not go on, and the
locks of numba and LLVM would stay taken.
"""

from __future__ import annotations

import _thread
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from types import BuiltinFunctionType
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

LISTEN = 0.1
"""Seconds: on Windows nothing but the end of a wait lets Ctrl-C through."""


_compiling = threading.RLock()
"""Taken while a thread compiles."""


class Compiler(threading.Thread):
    """A thread that compiles for the main thread. A fork waits for its end."""


def unbroken(function: Callable[P, R]) -> Callable[P, R]:
    """Make a function one that runs alone, and that no signal breaks off: only a wait for it."""

    def alone(*args: P.args, **kwargs: P.kwargs) -> R:
        with _compiling:
            return function(*args, **kwargs)

    @wraps(function)
    def compile_elsewhere(*args: P.args, **kwargs: P.kwargs) -> R:
        # An Event would not do: a handler that raises between two steps of its `wait` can leave
        # its lock taken, and then `set` waits for ever.
        working = threading.Lock()
        working.acquire()
        results: list[R] = []
        errors: list[BaseException] = []

        def work() -> None:
            try:
                results.append(alone(*args, **kwargs))
            except BaseException as error:
                errors.append(error)
            finally:
                working.release()

        if not _has_signals():
            return alone(*args, **kwargs)
        thread = Compiler(target=work, name="jitprop")
        if not _started(thread):
            return alone(*args, **kwargs)
        while not working.acquire(timeout=LISTEN):
            pass
        thread.join()
        if errors:
            raise errors[0]
        return results[0]

    return compile_elsewhere


def _has_signals() -> bool:
    """Whether handlers run in this thread, and another one would be a real thread."""
    in_main = threading.current_thread() is threading.main_thread()
    # gevent and eventlet put functions of their own here.
    return in_main and isinstance(_thread.start_new_thread, BuiltinFunctionType)


def _started(thread: threading.Thread) -> bool:
    """Start it, unless the process may have no more threads, or Python is shutting down."""
    try:
        thread.start()
    except RuntimeError as error:
        # "can't start new thread", or "can't create new thread at interpreter shutdown".
        if "new thread" not in str(error):
            raise
        return False
    return True


def _before_fork() -> None:
    for thread in threading.enumerate():
        # A thread that an exception kept from starting can stay in the list for ever.
        if isinstance(thread, Compiler) and thread.is_alive():
            thread.join()
    _compiling.acquire()


def _in_parent() -> None:
    with suppress(RuntimeError):  # an exception of a signal handler ended the wait
        _compiling.release()


def _in_child() -> None:
    global _compiling
    _compiling = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_in_parent, after_in_child=_in_child)
