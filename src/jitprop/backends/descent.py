"""Nets that are prepared for full-batch methods, which are entries of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import jitprop_kernels as kernels
from jitprop._types import Array
from jitprop.backends import TILE, plans, threads
from jitprop.backends.prepared import (
    LONG,
    NATURAL_ORDER,
    Net,
    aligned_zeros,
    bound_entry,
    can_be_halted,
    fields_and_samples,
)
from jitprop.data.samples import Steps
from jitprop.net.descent import LBFGS, ScaledConjugateGradient
from jitprop.net.second_order import BayesianRegularization, LevenbergMarquardt
from jitprop.net.spec import Spec
from jitprop.net.state import check_trained, check_written
from jitprop_kernels import codes, sizes

ROWS_BYTES = 1 << 19
"""The rows of R of one tile of samples stay in the second cache, with as many samples as that
allows, from 32 to 512."""

FEWEST, MOST = 32, 512

FLOAT64 = np.dtype(np.float64)


CHANGING: tuple[kernels.Path, ...] = tuple(
    (2, name) for name in ("params", "slots", "samples", "losses", "told")
)


class Method(NamedTuple):
    """
    What a full-batch method has besides: see `kernels.Descent`.

    Attributes
    ----------
    entry : kernels.Entry
    before : tuple
        Arguments of the entry between ``work`` and ``seat``.
    settings, trial, system, rows : arrays
    """

    entry: kernels.Entry
    before: tuple[Any, ...]
    settings: Array
    trial: Array
    system: Array
    rows: Array


def prepare(
    spec: Spec, n_samples: int, dtype: np.dtype[Any], n_threads: int | None, n_updates: int
) -> Net:
    """Prepare a net for a full-batch method: see `prepared.prepare`."""
    by_gradients = isinstance(spec.optimizer, ScaledConjugateGradient | LBFGS)
    how = prepare_for_gradients if by_gradients else prepare_for_rows
    return how(spec, n_samples, dtype, n_threads, n_updates)


def prepare_for_gradients(
    spec: Spec, n_samples: int, dtype: np.dtype[Any], n_threads: int | None, n_updates: int
) -> Net:
    """Prepare a net for scaled conjugate gradients or L-BFGS."""
    P, tile, work = spec.n_parameters, min(n_samples, TILE), spec.work(n_samples)
    n_tiles = -(-n_samples // tile)
    ranks = 1 if kernels.INTERPRETED else threads.choose(n_threads, work, n_updates, n_tiles)
    by_lanes = plans.uses_lanes(spec, tile * dtype.itemsize)
    plan, scratch = plans.make(spec, tile, tile, 0, by_lanes, dtype, 1)
    code, settings, n_numbers = _by_gradients(spec.optimizer)
    n_vectors = sizes.DESCENT_VECTORS + (ranks if ranks > 1 else 0)
    return Net(
        spec,
        plan._replace(optimizer=code),
        kernels.LANES if by_lanes else kernels.BLOCKS,
        [aligned_zeros(scratch, dtype) for _ in range(ranks)],
        gradients=aligned_zeros(n_vectors * P, dtype),
        parts=np.zeros(n_tiles),
        team=threads.Team(ranks),
        own=plans.own(spec, dtype),
        gate=np.zeros(kernels.GATE_SIZE, np.int64),
        long=work > LONG and can_be_halted(),
        bound={},
        method=Method(
            kernels.train_by_gradients,
            (),
            np.array(settings, np.float64),
            np.zeros(P, dtype),
            np.zeros(sizes.DESCENT_NUMBERS + n_numbers),
            np.empty(0),
        ),
    )


def _by_gradients(method: Any) -> tuple[int, list[float], int]:
    """Return the method's code, its settings, and how many numbers more it keeps."""
    ending = [method.min_gradient, method.tolerance]
    if isinstance(method, LBFGS):
        settings = [method.c1, method.c2, method.line_steps, *ending]
        return codes.LBFGS, settings, 2 * method.memory
    return codes.CONJUGATE, [method.sigma, method.scale, *ending], 0


def prepare_for_rows(
    spec: Spec, n_samples: int, dtype: np.dtype[Any], n_threads: int | None, n_updates: int
) -> Net:
    """Prepare a net for Levenberg-Marquardt or Bayesian regularization."""
    P, K = spec.n_parameters, spec.layer_sizes[-1]
    lanes = 32 // dtype.itemsize
    bayesian = isinstance(spec.optimizer, BayesianRegularization)
    dual = not bayesian and K * up(n_samples, lanes) < P
    row = up(P + 1, 4)
    most = max(FEWEST, min(MOST, ROWS_BYTES // (8 * row * K) // lanes * lanes))
    tile = n_samples if dual else min(n_samples, most)
    width = up(tile, lanes)
    if dual:
        row = up(K * width + 1, 4)
    n_tiles = -(-n_samples // tile)
    n = K * width if dual else P
    work = spec.work(n_samples)
    n_parts = max(n_tiles, n // 64)
    ranks = 1 if kernels.INTERPRETED else threads.choose(n_threads, work, n_updates, n_parts)
    places, size = places_of(dual, n, row, P, ranks if bayesian else 0)
    by_lanes = plans.uses_lanes(spec, tile * dtype.itemsize)
    plan, scratch = plans.make(spec, tile, tile, 0, by_lanes, dtype, 1)
    turned = up(scratch, 64 // dtype.itemsize)
    scratch = turned + max(map(sum, spec.shapes)) * width
    method = spec.optimizer
    assert isinstance(method, LevenbergMarquardt | BayesianRegularization)
    settings = np.array(
        [
            method.damping,
            method.decrease,
            method.increase,
            method.max_damping,
            method.min_scale,
            method.min_gradient,
            method.tolerance,
        ]
    )
    rows = 0 if dual else ranks * K * row * width
    return Net(
        spec,
        plan._replace(optimizer=codes.BAYESIAN if bayesian else codes.LEVENBERG),
        kernels.LANES if by_lanes else kernels.BLOCKS,
        [aligned_zeros(scratch, dtype) for _ in range(ranks)],
        gradients=np.empty(0, dtype),
        parts=np.zeros(n_tiles),
        team=threads.Team(ranks),
        own=plans.own(spec, dtype),
        gate=np.zeros(kernels.GATE_SIZE, np.int64),
        long=work > LONG and can_be_halted(),
        bound={},
        method=Method(
            kernels.train_by_rows,
            (places._replace(turned=turned), np.empty(0)),
            settings,
            np.zeros(P, dtype),
            aligned_zeros(size, FLOAT64),
            aligned_zeros(rows, FLOAT64),
        ),
    )


def up(n: int, to: int) -> int:
    """Return the next multiple."""
    return -(-n // to) * to


def places_of(dual: bool, n: int, row: int, P: int, inverting: int) -> tuple[kernels.Places, int]:
    """
    Return where the equations and what belongs to them stand, and how much memory they take.

    ``inverting`` is how many threads invert the matrix: 0 if its inverse is not asked for.
    """
    # With the gradient as row P of the normal equations the matrix has more rows than equations.
    begin = (up(n, 4) if dual else row) * row
    sizes = {
        "pivots": up(n + 1, 4),
        "solution": row,
        "diagonal": up(n, 4),
        "gradient": up(P, 4),
        "decays": up(P, 4),
        "rows": (P + 1) * row if dual else 0,
        "scaled": P * row if dual else 0,
        "inverse": inverting * kernels.INVERTED * row + up(n, 4) if inverting else 0,
    }
    places = {}
    for name, size in sizes.items():
        places[name] = begin
        begin += size
    return kernels.Places(dual=dual, n=n, row=row, turned=0, **places), begin


def first_epoch(method: Method) -> int:
    """Return which argument is the first epoch: before it come plan, route, work and seat."""
    return 4 + len(method.before)


def bound_training(
    net: Net, params: Array, slots: Array, steps: Steps
) -> Callable[[int, int], kernels.Bound]:
    """Return what binds the arguments of the method's entry for each thread."""
    X, y, weights, _, losses, _, start, stop, told = steps
    method: Method = net.method
    if told is None:
        told = np.empty((len(losses), len(net.spec.optimizer.columns)))
    check_trained(params, slots, X, y, weights)
    check_written(losses=losses, told=told)
    fields, samples = fields_and_samples(X, y, weights, NATURAL_ORDER)

    def bind(rank: int, ranks: int) -> kernels.Bound:
        work = kernels.Descent(
            params,
            slots.reshape(-1),
            samples,
            losses,
            told.reshape(-1),
            method.settings,
            method.trial,
            net.gradients,
            net.parts,
            method.system,
            method.rows,
            net.memory[rank],
        )
        seat = kernels.Seat(rank, ranks, net.gate)
        args = work, *method.before, seat, start, stop
        epochs = first_epoch(method)
        changing = *CHANGING, (epochs,), (epochs + 1,)
        return bound_entry(net, method.entry, seat, fields, args, changing)

    return bind


def put_epochs(net: Net, call: kernels.Bound, start: int, stop: int) -> None:
    """Tell a bound method other epochs."""
    method: Method = net.method
    epochs = first_epoch(method)
    call.put((epochs,), start)
    call.put((epochs + 1,), stop)
