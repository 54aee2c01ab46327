"""
Dropout: units of a hidden layer that have no part in one update.

Which, is the outcome of a counter and not of a stream that someone must read first: so any thread
finds it for any sample, in any order.

Sources: Srivastava et al., *Dropout*, JMLR 15, 2014; SplitMix64: Steele, Lea and Flood, *Fast
Splittable Pseudorandom Number Generators*, OOPSLA 2014, with the constants of its authors' Java.
"""

from __future__ import annotations

import numpy as np

from jitprop_kernels._jit import jit
from jitprop_kernels._types import Array, Scalar
from jitprop_kernels.elementary import smaller
from jitprop_kernels.plan import DROPPED, N_OUT, Plan

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
MIX_2 = np.uint64(0x94D049BB133111EB)

WHOLE = 2.0**53
"""A probability is compared as so many parts, which float64 holds exactly."""


@jit()
def splitmix64(seed: np.uint64, n: int) -> np.uint64:
    """Number n, from 0 on, of the sequence that begins with ``seed``."""
    x = seed + (np.uint64(n) + np.uint64(1)) * GOLDEN
    x = (x ^ (x >> np.uint64(30))) * MIX_1
    x = (x ^ (x >> np.uint64(27))) * MIX_2
    return x ^ (x >> np.uint64(31))


@jit()
def factor(seed: np.uint64, n: int, dropped: int, kept: Scalar) -> Scalar:
    """0 for a unit that is dropped, as ``dropped`` of `WHOLE` are, and else ``kept``."""
    drawn = np.int64(splitmix64(seed, n) >> np.uint64(11))
    return type(kept)(0.0) if drawn < dropped else kept


@jit()
def layer_seed(key: int, l: int, t: int) -> np.uint64:
    """Where the sequence of layer l in update number t begins."""
    return splitmix64(splitmix64(np.uint64(key), t), l)


@jit(apart=True)
def drop(plan: Plan, l: int, memory: Array, z: int, position: int, m: int, t: int) -> None:
    """
    Layer l's a and slope, at ``z`` and behind it, times 0 or 1 / (1 - p), in update number t.

    Of m samples, (m, n_out); the first of them is number ``position`` in its batch.
    """
    seed, dropped, n = (
        layer_seed(plan.dropout_key, l, t),
        plan.layers[l, DROPPED],
        plan.layers[l, N_OUT],
    )
    kept = type(memory[0])(1.0 / (1.0 - dropped / WHOLE))
    slopes = plan.slopes + z
    for i in range(m * n):
        f = factor(seed, position * n + i, dropped, kept)
        memory[z + i] *= f
        memory[slopes + i] *= f


@jit(apart=True)
def drop_lanes(plan: Plan, l: int, memory: Array, z: int, m: int, width: int, t: int) -> None:
    """`drop` for (n_out, width), all samples of a batch. The padding is like the last of them."""
    seed, dropped, n = (
        layer_seed(plan.dropout_key, l, t),
        plan.layers[l, DROPPED],
        plan.layers[l, N_OUT],
    )
    kept = type(memory[0])(1.0 / (1.0 - dropped / WHOLE))
    for j in range(n):
        at = z + j * width
        for i in range(width):
            f = factor(seed, smaller(i, m - 1) * n + j, dropped, kept)
            memory[at + i] *= f
            memory[plan.slopes + at + i] *= f
