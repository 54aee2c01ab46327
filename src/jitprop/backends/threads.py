"""Threads: how many a fit gets, how they run, and BLAS kept to one in the meantime."""

from __future__ import annotations

import _thread
import math
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import lru_cache
from pathlib import Path
from types import BuiltinFunctionType
from typing import Any, TypeVar

from threadpoolctl import ThreadpoolController

from jitprop.interrupts import Expected, from_a_handler

T = TypeVar("T")

SHARE = 1_000_000
"""Multiply-adds of a batch that each thread gets at the least, about 20 us of work in float32: for
half of that, meeting twice in each update costs what a second thread saves. With twice that it
saves a third of the time, with 30 times that 45 % (Zen 4, two cores that share no L2 cache)."""

TRIAL = 32
"""Calls after which a disturbed team tries again what was the slower: all its threads, or one."""

UNDISTURBED = 0.9
"""Share of their time that the processor has to give to threads which never sleep."""

LISTEN = 0.1
"""Seconds after which the main thread, waiting for the others, looks whether Ctrl-C came."""

START = 300_000_000
"""Multiply-adds of a whole fit for which threads are started: about 6 ms of work for one. Starting
them takes 1 ms."""


@lru_cache(maxsize=1)
def _controller_among(n_modules: int) -> Any:
    return ThreadpoolController()


def _controller() -> Any:
    """All BLAS of the process; looked for again when a module has come, which may bring one."""
    return _controller_among(len(sys.modules))


def real() -> bool:
    """Whether threads are threads: gevent and eventlet make them take turns in a single one."""
    return isinstance(_thread.start_new_thread, BuiltinFunctionType)


def cores() -> int:
    """
    The cores that this process is bound to, or the share of them that its container gets.

    One where threads are no threads.
    """
    if not real():
        return 1
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    bound = len(os.sched_getaffinity(0))
    with Expected(OSError, ValueError):
        # "max 100000", or the quota and the period in microseconds (cgroup v2)
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(bound, int(quota) // int(period)))
    return bound


def available() -> int:
    """
    Threads that a fit may use unasked.

    One a core; or fewer, where BLAS has been told so: process pools such as joblib's limit their
    workers in this way.
    """
    blas: list[int] = [
        pool["num_threads"] for pool in _controller().info() if pool["user_api"] == "blas"
    ]
    return min([cores(), *blas])


def choose(n_threads: int | None, work: float, n_updates: int, parts: int) -> int:
    """
    How many threads a fit gets.

    Parameters
    ----------
    n_threads : int or None
        What the user asks for, at the most; None leaves it to the work. Never more than cores:
        threads that wait for each other by looking must all be running.
    work : float
        Multiply-adds of a batch.
    n_updates : int
        Batches of the whole fit.
    parts : int
        Of a batch: a thread without one would wait for the others.
    """
    if n_threads == 1:
        return 1  # without asking how many cores there are, which reads a file
    if n_threads is None:
        worthwhile = work * n_updates >= START and work >= 2 * SHARE
        n_threads = min(available(), int(work // SHARE)) if worthwhile else 1
    return max(1, min(n_threads, cores(), parts))


class NoThreadError(RuntimeError):
    """No more threads can be started."""


class none_left:  # noqa: N801
    """
    A context in which a thread is started, and nothing else; raises `NoThreadError` if that fails.

    It fails where the process may have no more threads, and while Python is shutting down: in a
    thread that outlives the main one, and in functions of `atexit`. Python has a message of its own
    for each case, and each is a RuntimeError.
    """

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, RuntimeError) and not from_a_handler(error):
            raise NoThreadError(str(error)) from error


_working: set[threading.Event] = set()


def out_of_reach(function: Callable[[], T]) -> T:
    """
    Call a function in a thread where no signal can break it off, and return what it returns.

    Python runs handlers of signals in the main thread alone. An exception from one comes out at
    once; the function goes on to its end. In another thread than the main one, and where no thread
    can be started, the function is simply called.
    """
    if threading.current_thread() is not threading.main_thread() or not real():
        return function()
    made: Future[T] = Future()
    ended = threading.Event()

    def work() -> None:
        try:
            made.set_result(function())
        except BaseException as error:
            made.set_exception(error)
        finally:
            _working.discard(ended)
            ended.set()

    _working.add(ended)
    try:
        with none_left():
            threading.Thread(target=work, name="jitprop").start()
    except NoThreadError:
        _working.discard(ended)
        return function()
    while not ended.wait(LISTEN):  # on Windows only the end of a wait lets Ctrl-C through
        pass
    return made.result()


def _wait_for_work() -> None:
    """Before a fork: in the child nobody would end what is half done, such as an import."""
    for ended in list(_working):
        ended.wait()


def until_the_end(wait: Callable[[], object], ended: Callable[[], bool]) -> None:
    """Wait until all is ended, whatever exceptions come meanwhile; the last one is raised then."""
    late: BaseException | None = None
    while not ended():
        try:
            wait()
        except BaseException as error:
            late = error
    if late is not None:
        raise late


class Team:
    """
    Threads that run one function side by side, waiting for one another inside it.

    They live as long as the team, so that calls which follow each other start none.

    Parameters
    ----------
    n : int
        How many, at the most.
    """

    def __init__(self, n: int) -> None:
        self.n = n
        self._pool = ThreadPoolExecutor(n, thread_name_prefix="jitprop")
        self._seconds = {n: math.inf, 1: 0.0}
        self._calls = 0
        self._disturbed = False

    def size(self) -> int:
        """
        How many threads to run next: all; or one, where they are disturbed and it is the quicker.

        Where other processes want the processor, threads that wait for one another can be many
        times slower than one.
        """
        self._calls += 1
        if not self._disturbed:
            return self.n
        quicker, slower = sorted((1, self.n), key=self._seconds.__getitem__)
        return slower if self._calls % TRIAL == 0 else quicker

    def learn(self, size: int, seconds: float, busy: float) -> None:
        """Take note how long an update took with so many threads, and how many were ``busy``."""
        self._seconds[size] = seconds
        if size == self.n and self._calls > 3:  # the first calls have the threads' start in them
            self._disturbed = busy < UNDISTURBED * size

    def run(
        self, size: int, function: Callable[[int], int], halt: Callable[[], object] = lambda: None
    ) -> int:
        """
        Call ``function(0)`` to ``function(size - 1)`` at once; returns what the first does.

        ``halt`` is called if an exception comes meanwhile, for all to end soon.

        All of them run or none, or one would wait for ever. None runs in the main thread, which
        Ctrl-C could stop on its way there.

        Raises
        ------
        NoThreadError
            Where no more threads can be started. Nothing was called.
        """
        decided = threading.Event()
        go = False

        def decide(verdict: bool) -> None:
            nonlocal go
            if not decided.is_set():  # the first verdict holds
                go = verdict
                decided.set()

        def wait_and_run(rank: int) -> int:
            decided.wait()
            return function(rank) if go else 0

        results: list[Future[int]] = []
        try:
            for rank in range(size):
                with none_left():
                    results.append(self._pool.submit(wait_and_run, rank))
            decide(True)
            while not results[0].done():  # on Windows only the end of a wait lets Ctrl-C through
                wait(results[:1], LISTEN)
            return results[0].result()
        except BaseException:  # no more threads to be had; or Ctrl-C
            decide(False)
            halt()
            raise
        finally:
            # Whatever happens, nobody must write to the arrays any more.
            until_the_end(lambda: wait(results), lambda: all(result.done() for result in results))

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()


_lock = threading.RLock()
_holders: set[OneBlasThread] = set()
_limiter: Any = None


class OneBlasThread:
    """See `one_blas_thread`."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()

    def __enter__(self) -> None:
        try:
            _hold(self)
        except BaseException:
            _release(self)
            raise

    def __exit__(self, *exception: object) -> None:
        _release(self)


def one_blas_thread() -> OneBlasThread:
    """
    Hold every BLAS of the process to one thread, as a context.

    The limit belongs to the process: while several fits run in threads, the first sets it and
    the last puts back what was there. It is to be entered and left inside an `Interrupts`, so that
    no Ctrl-C comes between the limit and the note that it is set.
    """
    return OneBlasThread()


def _hold(holder: OneBlasThread) -> None:
    global _limiter
    with _lock:
        _holders.add(holder)
        if _limiter is None:
            _limiter = _controller().limit(limits=1, user_api="blas")


def _release(holder: OneBlasThread) -> None:
    global _limiter
    with _lock:
        _holders.discard(holder)
        if not _holders and _limiter is not None:
            _limiter.restore_original_limits()
            _limiter = None


def _forget_in_child() -> None:
    """In a forked child no fit runs but one of this thread, whatever ran in the parent's others."""
    global _lock
    _lock = threading.RLock()
    for holder in list(_holders):
        if holder.thread != threading.get_ident():
            _release(holder)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_wait_for_work, after_in_child=_forget_in_child)
