"""
The choice of the engine that trains a fleet.

One engine trains several members together, each in a lane of a vector. The other one trains each
member by itself. The two give different bits, so the choice depends on the net and its settings
alone, and never on the number of members.
"""

from __future__ import annotations

from jitprop import backends
from jitprop.backends import Backend
from jitprop.fleet.engines import Engine, Loop
from jitprop.net.optimizers import SGD, Adam
from jitprop.net.spec import Spec


def has_lanes(spec: Spec) -> bool:
    """Return whether the lanes engine supports all settings of the spec."""
    rules = spec.sklearn
    beyond_lanes = (
        spec.clip_norm is not None
        or spec.input_scale_rate is not None
        or rules.l2 > 0
        or rules.reported_l2 > 0
        or rules.batches_by_size
    )
    return isinstance(spec.optimizer, SGD | Adam) and not beyond_lanes


LANES_WEIGHTS, LANES_BATCH = 100, 16
"""Members share vectors up to this mean number of weights per layer and this batch size.

Measured on Zen 4, for layers 3 to 16 units wide. The second column is the speed of full vectors in
multiples of the loop's speed. The other columns are the time that 1 or 2 members take in vectors,
in multiples of the time of 1 or 2 `Trainer` objects:

==========  ============  ==========  ==========
batch size  full vectors  1 member    2 members
==========  ============  ==========  ==========
4           4 to 11       1.3         0.6 to 0.7
8           2.5 to 5      1.7 to 2.2  0.9 to 1.0
16          2 to 3        2.1 to 2.8  1.1 to 1.5
32          1.4 to 2.6
==========  ============  ==========  ==========

Four members take 0.3 to 0.9 of the time of four `Trainer` objects. With 176 weights, full vectors
are 1.6 to 2.3 times as fast as the loop. A vector takes the same time for one member as for all
that fit into it. Where full vectors gain less, the loop is chosen: it is never slower than a loop
over `Trainer` objects."""


def fits_lanes(spec: Spec, n_samples: int) -> bool:
    """Return whether the net and its batches are so small that members should share vectors."""
    weights = sum(n_in * n_out for n_in, n_out in spec.shapes) / len(spec.shapes)
    return weights <= LANES_WEIGHTS and spec.batch(n_samples) <= LANES_BATCH


def uses_lanes(backend: Backend, spec: Spec, n_samples: int) -> bool:
    """Return whether members share vectors."""
    in_lanes = fits_lanes(spec, n_samples) and has_lanes(spec)
    return in_lanes and backend is not backends.load("numpy")


def choose(
    backend: Backend, spec: Spec, n_members: int, n_samples: int, n_threads: int | None
) -> Engine:
    """Return the faster engine of those that can train these nets."""
    if uses_lanes(backend, spec, n_samples):
        from jitprop.fleet.lanes import Lanes  # it needs numba, which may be missing

        return Lanes(spec, n_members, n_threads)
    return Loop(backend, spec, n_threads)
