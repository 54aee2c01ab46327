"""Threads: how many a fit gets, how they run, and how BLAS is limited to one thread meanwhile."""

from __future__ import annotations

import _thread
import math
import os
import sys
import threading
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import BuiltinFunctionType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from jitprop.interrupts import Expected, Interrupts, from_a_handler

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

T = TypeVar("T")

SHARE = 1_000_000
"""
The least multiply-adds of a batch for each thread: about 20 us of work in float32.

Threads wait for each other at two barriers in each update. Measured on a Zen 4, with two cores that
share no L2 cache, a second thread saves

==================  =================
work of a thread    time saved
==================  =================
SHARE / 2           nothing
2 SHARE             a third
30 SHARE            45 %
==================  =================
"""

TRIAL = 32
"""A disturbed team tries the slower choice, all threads or one, again once in so many calls."""

UNDISTURBED = 0.9
"""The share of processor time that threads which never sleep get, if nothing disturbs them."""

LISTEN = 0.1
"""The seconds between two looks of the waiting main thread whether Ctrl-C was pressed."""

START = 300_000_000
"""
The least multiply-adds of a whole fit for which threads are started. That is about 6 ms of work for
one thread; starting threads takes 1 ms.
"""


@lru_cache(maxsize=1)
def _controller_among(n_modules: int) -> Any:
    from threadpoolctl import ThreadpoolController  # most processes need none: 10 ms

    return ThreadpoolController()


def _controller() -> Any:
    """The controller of all BLAS libraries of the process; a new module may have loaded one."""
    return _controller_among(len(sys.modules))


def real() -> bool:
    """Whether threads can run at once. With gevent and eventlet they take turns in a single one."""
    return isinstance(_thread.start_new_thread, BuiltinFunctionType)


def cores() -> int:
    """
    The number of cores that this process may use.

    These are the cores that it is bound to, or fewer if its container has a quota. It is 1 if
    threads cannot run at once (see `real`).
    """
    if not real():
        return 1
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    bound = len(os.sched_getaffinity(0))
    with Expected(OSError, ValueError):
        # cgroup v2: the quota and the period in microseconds, or "max 100000" without a quota.
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(bound, int(quota) // int(period)))
    return bound


def available() -> int:
    """
    The number of threads that a fit may use by default.

    That is one for each core, or fewer if BLAS is limited to fewer: process pools such as joblib's
    limit the threads of their workers in this way.
    """
    blas: list[int] = [
        pool["num_threads"] for pool in _controller().info() if pool["user_api"] == "blas"
    ]
    return min([cores(), *blas])


def choose(n_threads: int | None, work: float, n_updates: int, parts: int) -> int:
    """
    Return the number of threads for a fit.

    It is never above the number of cores: threads spin while they wait at a barrier, so all of them
    must be running.

    Parameters
    ----------
    n_threads : int or None
        The most that the user allows; with None the number depends on the work.
    work : float
        The multiply-adds of a batch.
    n_updates : int
        The number of batches in the whole fit.
    parts : int
        The number of parts that a batch can be cut into. More threads would have nothing to do.
    """
    if n_threads is None:
        worthwhile = work * n_updates >= START and work >= 2 * SHARE
        n_threads = min(available(), int(work // SHARE)) if worthwhile else 1
    most = min(n_threads, parts)
    return min(most, cores()) if most > 1 else 1  # `cores` reads a file


class NoThreadError(RuntimeError):
    """No more threads can be started."""


class starting_thread:  # noqa: N801
    """
    A context in which only a thread is started. It raises `NoThreadError` if that fails.

    Starting a thread fails if the process may have no more threads. It also fails while Python is
    shutting down, in a thread that outlives the main one and in functions of `atexit`. Python
    raises a RuntimeError in each case, with different messages.
    """

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, RuntimeError) and not from_a_handler(error):
            raise NoThreadError(str(error)) from error


class End:
    """
    The end of some work in another thread. The wait for it may be interrupted at any step.

    That is not so with `threading.Event` and `concurrent.futures.wait`: a signal handler that
    raises an exception between two of their steps can leave their lock taken. Then the thread that
    works waits for ever to say that it has ended.
    """

    def __init__(self) -> None:
        self._reached = False
        self._lock = threading.Lock()
        self._lock.acquire()

    def reach(self) -> None:
        """Say that the work has ended; to be called once."""
        self._reached = True
        self._lock.release()

    def wait(self) -> None:
        """Wait for the end, as often as wanted, in one thread."""
        # On Windows Ctrl-C is only handled when a wait ends.
        while not (self._reached or self._lock.acquire(timeout=LISTEN)):
            pass


class Uninterrupted(threading.Thread):
    """A thread that runs what no signal handler may interrupt. A fork waits for its end."""


def uninterrupted(function: Callable[[], T]) -> T:
    """
    Call a function in a thread where no signal handler can interrupt it; return what it returns.

    Python runs signal handlers only in the main thread. If a handler raises an exception, it is
    raised here at once, while the function runs on to its end. If the current thread is not the
    main one, or no thread can be started, the function is simply called.
    """
    if threading.current_thread() is not threading.main_thread() or not real():
        return function()
    results: list[T] = []
    errors: list[BaseException] = []
    end = End()

    def work() -> None:
        try:
            results.append(function())
        except BaseException as error:
            errors.append(error)
        finally:
            end.reach()

    thread = Uninterrupted(target=work, name="jitprop")
    with Interrupts() as interrupts:
        try:
            with starting_thread():
                thread.start()
        except NoThreadError:
            with interrupts.heard():
                return function()
        with interrupts.heard():
            end.wait()
        thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _wait_for_work() -> None:
    """Wait before a fork: in the child, nothing would finish half-done work such as an import."""
    for thread in threading.enumerate():
        # A thread that an exception kept from starting can stay in the list for ever.
        if isinstance(thread, Uninterrupted) and thread.is_alive():
            thread.join()


class Team:
    """
    Threads that run one function at the same time and wait for each other inside it.

    They live until `close`, so that later calls need not start threads.

    Parameters
    ----------
    n : int
        The largest number of threads.
    """

    def __init__(self, n: int) -> None:
        self.n = n
        self._pool: ThreadPoolExecutor | None = None
        self._seconds = {n: math.inf, 1: 0.0}
        self._calls = 0
        self._disturbed = False

    def size(self) -> int:
        """
        Return how many threads to run next: all, or one if they are disturbed and one is quicker.

        When other processes use the processor, threads that wait for each other can be many times
        slower than one thread.
        """
        self._calls += 1
        if not self._disturbed:
            return self.n
        quicker, slower = sorted((1, self.n), key=self._seconds.__getitem__)
        return slower if self._calls % TRIAL == 0 else quicker

    def record(self, size: int, seconds: float, busy: float) -> None:
        """Record the seconds of an update with ``size`` threads, ``busy`` of them on average."""
        self._seconds[size] = seconds
        if size == self.n and self._calls > 3:  # the first calls include the start of the threads
            self._disturbed = busy < UNDISTURBED * size

    def run(
        self, size: int, function: Callable[[int], T], halt: Callable[[], object] = lambda: None
    ) -> T:
        """
        Call ``function(0)`` to ``function(size - 1)`` at the same time; return the first's result.

        ``halt`` is called if an exception is raised meanwhile, so that all calls end soon.

        Either all calls are made or none: with fewer, the others would wait forever. None is made
        in the main thread, which hears signals meanwhile.

        Raises
        ------
        NoThreadError
            If no more threads can be started. Then nothing was called.
        """
        with starting_thread():  # many processes need none: 5 ms
            from concurrent.futures import ThreadPoolExecutor, wait

        decided = threading.Event()
        go = False

        def decide(verdict: bool) -> None:
            nonlocal go
            if not decided.is_set():  # the first verdict holds
                go = verdict
                decided.set()

        end = End()
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.n, thread_name_prefix="jitprop")

        def wait_and_run(rank: int) -> T:
            decided.wait()
            try:
                return function(rank) if go else cast(T, None)
            finally:
                if rank == 0:
                    end.reach()

        results: list[Future[T]] = []
        with Interrupts() as interrupts:
            try:
                for rank in range(size):
                    with starting_thread():
                        results.append(self._pool.submit(wait_and_run, rank))
                decide(True)
                with interrupts.heard():
                    end.wait()
                return results[0].result()
            except BaseException:  # such as NoThreadError or KeyboardInterrupt
                decide(False)
                halt()
                raise
            finally:
                wait(results)  # after this method no thread may write to the arrays any more

    def close(self) -> None:
        """End the threads. Another call of `run` starts new ones."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown()


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
    A context that limits every BLAS of the process to one thread.

    The limit is the same for the whole process. While several fits run in threads, the first one
    sets it and the last one restores the old limit. Use the context inside an `Interrupts`, so that
    no signal can come between setting the limit and recording that it is set.
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
    """In a forked child, forget fits of the parent's other threads: only this thread exists."""
    global _lock
    _lock = threading.RLock()
    for holder in list(_holders):
        if holder.thread != threading.get_ident():
            _release(holder)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_wait_for_work, after_in_child=_forget_in_child)
