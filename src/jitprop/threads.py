"""Threads of the matrix products: BLAS is held to a number of them, and put back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController

_lock = threading.Lock()
_running = 0
_limiter = None


@cache
def _controller() -> ThreadpoolController:
    import scipy.linalg.cython_blas  # noqa: F401  its BLAS must be loaded to be found

    return ThreadpoolController()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """
    Hold every BLAS of the process to one thread.

    The limit belongs to the process: while several fits run in threads, the first sets it and
    the last puts back what was there.
    """
    global _running, _limiter
    with _lock:
        if _running == 0:
            _limiter = _controller().limit(limits=1, user_api="blas")
        _running += 1
    try:
        yield
    finally:
        with _lock:
            _running -= 1
            if _running == 0 and _limiter is not None:
                _limiter.restore_original_limits()
