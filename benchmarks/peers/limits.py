"""What the processor can do: its rate in matrix products, and the length of W1's chain."""

import ctypes
import math
import os
import time

import numpy as np
from threadpoolctl import threadpool_limits

from compiler import load
from work import CannotError

N_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
# Below this, sharing an update between cores costs about what it saves.
WORTH_SHARING = 200e-6


class Machine:
    """The best figures seen so far; `measure` again between other things, for a fair best."""

    def __init__(self):
        self.rates = {}  # (dtype, cores) -> operations a second
        self.chain = math.inf  # seconds

    def measure(self):
        """Some 0.2 s of products for each dtype and number of cores, and 5 ms of the chain."""
        for dtype in (np.float32, np.float64):
            for n_cores in {1, N_CORES}:
                rate = max(gemm_rate(dtype, n_cores) for _ in range(5))
                self.rates[dtype, n_cores] = max(rate, self.rates.get((dtype, n_cores), 0.0))
        try:
            self.chain = min(self.chain, *(chain_time() for _ in range(5)))
        except CannotError:
            self.chain = math.inf  # no compiler: W1 has no limit to show

    def limit(self, work):
        """
        Seconds that one update of this work takes at least.

        Its floating-point operations over the rate of one core, or of all where that is worth it;
        or, of W1, which is too small for a rate, the time of the chain in chain.c. None if unknown.
        """
        if work.is_xor:
            return self.chain if self.chain < math.inf else None
        alone = work.flops() / self.rates[work.dtype, 1]
        shared = work.flops() / self.rates[work.dtype, N_CORES]
        return min(alone, shared) if alone > WORTH_SHARING else alone


def gemm_rate(dtype, n_threads, n=1024):
    """Floating-point operations a second in one product of (n, n) matrices."""
    a = np.ones((n, n), dtype)
    out = np.empty_like(a)
    with threadpool_limits(n_threads, "blas"):
        began = time.perf_counter()
        np.dot(a, a, out=out)
        return 2 * n**3 / (time.perf_counter() - began)


def chain_time(updates=10_000):
    """Seconds of one pass through the chain in chain.c."""
    library = load("chain.c", "-O2", "-march=native", "-ffp-contract=off", "-lm")
    library.chain.restype = ctypes.c_double
    numbers = map(ctypes.c_double, (0.5, 0.25, 1.0))
    began = time.perf_counter()
    library.chain(*numbers, ctypes.c_long(updates))
    return (time.perf_counter() - began) / updates
