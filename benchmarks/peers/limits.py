"""Measure the processor: its rate in matrix products, and the time of W1's chain."""

import ctypes
import math
import os
import time

import numpy as np
from threadpoolctl import threadpool_limits

from compiler import load
from work import CannotError

N_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
# Seconds. Sharing a shorter update between cores costs about as much as it saves.
WORTH_SHARING = 200e-6


class Machine:
    """The best results so far. Call `measure` repeatedly during a run, for a fair best."""

    def __init__(self):
        self.rates = {}  # (dtype, cores) -> operations a second
        self.chain = math.inf  # seconds

    def measure(self):
        """Measure products for 0.2 s per dtype and number of cores, and the chain for 5 ms."""
        for dtype in (np.float32, np.float64):
            for n_cores in {1, N_CORES}:
                rate = max(gemm_rate(dtype, n_cores) for _ in range(5))
                self.rates[dtype, n_cores] = max(rate, self.rates.get((dtype, n_cores), 0.0))
        try:
            self.chain = min(self.chain, *(chain_time() for _ in range(5)))
        except CannotError:
            self.chain = math.inf  # without a compiler the table shows no limit for W1

    def limit(self, work):
        """
        Return the seconds that one update takes at least; None if unknown.

        It is the number of floating-point operations over the rate of one core, or of all cores if
        sharing pays. W1 is too small for a rate: its limit is the time of the chain in chain.c.
        """
        if work.is_xor:
            return self.chain if self.chain < math.inf else None
        alone = work.flops() / self.rates[work.dtype, 1]
        shared = work.flops() / self.rates[work.dtype, N_CORES]
        return min(alone, shared) if alone > WORTH_SHARING else alone


def gemm_rate(dtype, n_threads, n=1024):
    """Return the floating-point operations per second in one product of (n, n) matrices."""
    a = np.ones((n, n), dtype)
    out = np.empty_like(a)
    with threadpool_limits(n_threads, "blas"):
        began = time.perf_counter()
        np.dot(a, a, out=out)
        return 2 * n**3 / (time.perf_counter() - began)


def chain_time(updates=10_000):
    """Return the seconds of one pass through the chain in chain.c."""
    library = load("chain.c", "-O2", "-march=native", "-ffp-contract=off", "-lm")
    library.chain.restype = ctypes.c_double
    numbers = map(ctypes.c_double, (0.5, 0.25, 1.0))
    began = time.perf_counter()
    library.chain(*numbers, ctypes.c_long(updates))
    return (time.perf_counter() - began) / updates
