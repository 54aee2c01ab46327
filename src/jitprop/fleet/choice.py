"""
Which engine trains a fleet: members together in the lanes of vectors, or each by itself.

It depends on the net and its settings alone, never on how many members there are: their bits depend
on it.
"""

from __future__ import annotations

from jitprop import backends
from jitprop.backends import Backend, threads
from jitprop.fleet.engines import Engine, Loop
from jitprop.net.optimizers import SGD, Adam
from jitprop.net.spec import Spec


def has_lanes(spec: Spec) -> bool:
    """Whether the lanes engine knows all that the spec asks for."""
    rules = spec.sklearn
    beyond_lanes = (
        spec.clip_norm is not None or rules.l2 > 0 or rules.reported_l2 > 0 or rules.batches_by_size
    )
    return isinstance(spec.optimizer, SGD | Adam) and not beyond_lanes


LANES_WEIGHTS, LANES_BATCH = 100, 16
"""Up to which members share a vector: weights of a layer, on average, and samples of a batch.
Measured for widths of 3 to 16 with batches of 4 to 32 (Zen 4): full vectors are faster than the
loop by 4 to 11 in batches of 4, by 2.5 to 5 of 8, by 2 to 3 of 16, by 1.4 to 2.6 of 32, and at 176
weights by 1.6 to 2.3. But a vector takes the same time for one member as for all that it has room
for, and how many there are must not choose, or bits would depend on it: so where full ones gain
less the loop is taken, which is never slower than one over `Trainer`. In vectors one member takes
1.3 times as long as a `Trainer` in batches of 4, 1.7 to 2.2 in those of 8, and 2.1 to 2.8 in those
of 16; two take 0.6 to 0.7, 0.9 to 1.0, and 1.1 to 1.5 of two `Trainer`s' time, four 0.3 to 0.9."""


def small(spec: Spec, n_samples: int) -> bool:
    """Whether members are so small, and their batches, that they had better share vectors."""
    weights = sum(n_in * n_out for n_in, n_out in spec.shapes) / len(spec.shapes)
    return weights <= LANES_WEIGHTS and spec.batch(n_samples) <= LANES_BATCH


def choose(
    backend: Backend, spec: Spec, n_members: int, n_samples: int, n_threads: int | None
) -> Engine:
    """The engine for these nets: the faster one that can."""
    n = threads.available() if n_threads is None else min(n_threads, threads.cores())
    if small(spec, n_samples) and has_lanes(spec) and backend is not backends.load("numpy"):
        from jitprop.fleet.lanes import Lanes  # numba, which may be missing

        return Lanes(spec, n_members, n)
    return Loop(backend, spec, n)
