"""The inverse of a loss's curvature, and what follows from it for the outputs: two entries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

import jitprop_kernels as kernels
from jitprop._types import Array
from jitprop.backends import descent, plans, threads
from jitprop.backends.descent import FEWEST, FLOAT64, MOST, ROWS_BYTES, up
from jitprop.backends.prepared import (
    LONG,
    NATURAL_ORDER,
    Net,
    aligned_zeros,
    can_be_halted,
    close,
    fields_and_samples,
    run_bound,
)
from jitprop.data.samples import Arrays
from jitprop.net.losses import HalfSquaredError
from jitprop.net.second_order import BayesianRegularization
from jitprop.net.spec import Spec

FACTORED = 1
"""See `jitprop_kernels.second_order.cholesky`."""

NOTHING = np.empty(0)


def root_of_inverse(
    spec: Spec, params: Array, samples: Arrays, decays: Array, n_threads: int | None
) -> Array | None:
    """Return the root of the inverse of H + decays: see `jitprop.reference.root_of_inverse`."""
    spec = replace(spec, optimizer=BayesianRegularization(), weight_decay=0.0)
    net = descent.prepare(spec, len(samples[0]), params.dtype, n_threads, 1)
    places, P = net.method.before[0], len(params)
    net.method.system[places.decays : places.decays + P] = decays
    out = np.zeros((P, P))
    fields, given = fields_and_samples(*samples, NATURAL_ORDER)
    args = places, out.reshape(-1)
    found = _run(net, kernels.train_by_rows, fields, _work(net, params, given), args, (0, 0))
    return out if found == FACTORED else None


def variances(spec: Spec, params: Array, X: Array, root: Array, n_threads: int | None) -> Array:
    """Return g.T C g of each output: see `jitprop.reference.variances`."""
    P, K, n, dtype = len(params), spec.layer_sizes[-1], len(X), params.dtype
    # With this loss the rows of R are the derivatives of the outputs.
    spec = replace(spec, loss=HalfSquaredError(), reduction="sum")
    lanes = 32 // dtype.itemsize
    most = max(FEWEST, min(MOST, ROWS_BYTES // (16 * P) // lanes * lanes))
    tile = min(n, most)
    width, n_tiles = up(tile, lanes), -(-n // tile)
    work = n * K * P * (P / 2 + 1)
    ranks = 1 if kernels.INTERPRETED else threads.choose(n_threads, work, 1, n_tiles)
    by_lanes = plans.uses_lanes(spec, tile * dtype.itemsize)
    plan, scratch = plans.make(spec, tile, tile, 0, by_lanes, dtype, 1)
    turned = up(scratch, 64 // dtype.itemsize)
    scratch = turned + max(map(sum, spec.shapes)) * width
    net = Net(
        spec,
        plan,
        kernels.LANES if by_lanes else kernels.BLOCKS,
        [aligned_zeros(scratch, dtype) for _ in range(ranks)],
        gradients=np.empty(0, dtype),
        parts=np.zeros(n_tiles),
        team=threads.Team(ranks),
        own=plans.own(spec, dtype),
        gate=np.zeros(kernels.GATE_SIZE, np.int64),
        long=work > LONG and can_be_halted(),
        bound={},
        method=descent.Method(
            kernels.variances,
            (),
            NOTHING,
            np.empty(0, dtype),
            NOTHING,
            aligned_zeros(ranks * (2 * P + 1) * width, FLOAT64),
        ),
    )
    out = np.empty((n, K))
    fields, given = fields_and_samples(X, np.zeros((n, K), dtype), None, NATURAL_ORDER)
    args = turned, np.ascontiguousarray(root).reshape(-1), out.reshape(-1)
    _run(net, kernels.variances, fields, _work(net, params, given), args, ())
    return out


def _work(net: Net, params: Array, samples: kernels.Samples) -> Callable[[int], kernels.Descent]:
    """Return what gives the arrays of a thread to an entry that trains nothing."""
    method: descent.Method = net.method
    slots = np.zeros(0, params.dtype)
    return lambda rank: kernels.Descent(
        params,
        slots,
        samples,
        NOTHING,
        NOTHING,
        method.settings,
        method.trial,
        net.gradients,
        net.parts,
        method.system,
        method.rows,
        net.memory[rank],
    )


def _run(
    net: Net,
    entry: kernels.Entry,
    fields: dict[str, Any],
    work: Callable[[int], kernels.Descent],
    before: tuple[Any, ...],
    behind: tuple[Any, ...],
) -> int:
    """Call an entry in the net's threads, with arguments before and behind the seat."""

    def bind(rank: int, ranks: int) -> kernels.Bound:
        seat = kernels.Seat(rank, ranks, net.gate)
        plan = net.plan._replace(**fields)
        return entry.bind(plan, net.route, work(rank), *before, seat, *behind)

    try:
        found, _, _ = run_bound(net, bind)
        return int(found)
    finally:
        net.gate[:] = 0
        close(net)
