"""Nets that are prepared for the kernels: plan, scratch memory, threads and bound entries."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import jitprop_kernels as kernels
from jitprop._types import Array
from jitprop.backends import plans, threads
from jitprop.data.samples import Arrays, Steps, stand_ins
from jitprop.net.spec import Spec
from jitprop.net.state import check_trained, check_written
from jitprop_kernels import codes

LONG = 2e8
"""Multiply-adds of a batch or a pass, 4 ms and more, from which even one thread is not the main
one, which then hears Ctrl-C meanwhile. A hand-over costs 50 us."""

NATURAL_ORDER = np.empty(0, np.int64)

HALTED = -1


class Net(NamedTuple):
    """What this backend wants to be told of a net: for training, or for passes without updates."""

    spec: Spec
    plan: kernels.Plan
    route: kernels.Route
    memory: list[Array]
    """Scratch, for each thread: in training all the same, or with chunks each its own."""
    gradients: Array
    """(P,), (chunks * P,), or nothing. For passes (threads * P,) or nothing."""
    parts: Array
    """The loss of each part of a batch, or of each tile of a pass."""
    team: threads.Team
    own: list[kernels.Loop]
    """The user's own functions, which are there as long as this is."""
    gate: npt.NDArray[np.int64]
    """Where threads meet, and are halted."""
    long: bool
    """A batch or a pass is worth halting; shorter ones may end."""
    bound: dict[Any, kernels.Bound]
    """The entries that were bound to it, with the arrays of the last call."""
    method: Any = None
    """A `descent.Method`, if a full-batch method of `kernels.second_order` trains the net."""


def prepare(
    spec: Spec, n_samples: int, dtype: np.dtype[Any], n_threads: int | None, n_updates: int
) -> Net:
    """The plan, the route, the threads, and scratch for one batch of ``n_samples`` samples."""
    batch = spec.batch(n_samples)
    lanes = plans.uses_lanes(spec, batch * dtype.itemsize)
    # With chunks a batch's deltas need not be kept; but each chunk has a gradient of its own.
    fits = spec.n_parameters <= plans.CHUNK * sum(spec.layer_sizes)
    chunked = not lanes and batch >= 2 * plans.CHUNK and fits
    n_parts = -(-batch // (plans.CHUNK if chunked else batch if lanes else kernels.TILE))
    work = 3 * batch * spec.n_parameters
    n = 1 if kernels.INTERPRETED else threads.choose(n_threads, work, n_updates, n_parts)
    samples = kernels.REACH if chunked else batch
    chunk = plans.CHUNK if chunked else 0
    plan, size = plans.make(spec, batch, samples, chunk, lanes, dtype, n)
    memory = [aligned_zeros(size, dtype) for _ in range(n if chunked else 1)]
    clipped = spec.clip_norm is not None
    fused = plan.optimizer == codes.SGD and not clipped and plan.scale_rows == 0
    n_gradients = n_parts if chunked else 0 if fused else 1
    n_squares = -(-spec.n_parameters // kernels.SQUARES_PIECE) if clipped else 0
    return Net(
        spec,
        plan._replace(squares=n_parts),
        kernels.LANES if lanes else kernels.BLOCKS,
        memory if chunked else memory * n,
        gradients=aligned_zeros(n_gradients * spec.n_parameters, dtype),
        parts=np.zeros(n_parts + n_squares),
        team=threads.Team(n),
        own=plans.own(spec, dtype),
        gate=np.zeros(kernels.GATE_SIZE, np.int64),
        long=work > LONG and not lanes and can_be_halted(),
        bound={},
    )


def prepare_pass(
    spec: Spec, n_samples: int, dtype: np.dtype[Any], n_threads: int | None, backward: bool
) -> Net:
    """The same for passes of up to ``n_samples`` samples, in tiles of the spec's batch size."""
    tile = spec.batch(n_samples)
    n_tiles = -(-n_samples // tile)
    lanes = plans.uses_lanes(spec, tile * dtype.itemsize)
    work = (3 if backward else 1) * n_samples * spec.n_parameters
    n = 1 if kernels.INTERPRETED else threads.choose(n_threads, work, 1, n_tiles)
    plan, size = plans.make(spec, tile, tile, 0, lanes, dtype, 1)
    return Net(
        spec,
        plan,
        kernels.LANES if lanes else kernels.BLOCKS,
        [aligned_zeros(size, dtype) for _ in range(n)],
        gradients=aligned_zeros(n * spec.n_parameters if backward and n > 1 else 0, dtype),
        parts=np.zeros(n_tiles),
        team=threads.Team(n),
        own=plans.own(spec, dtype),
        gate=np.zeros(kernels.GATE_SIZE, np.int64),
        long=work > LONG and can_be_halted(),
        bound={},
    )


def can_be_halted() -> bool:
    """Return whether another thread can work while the main one listens for Ctrl-C."""
    return threads.real() and not kernels.INTERPRETED


def aligned_zeros(size: int, dtype: np.dtype[Any]) -> Array:
    """Memory that begins with a cache line, so that no vector lies across two of them."""
    line = 64
    memory = np.zeros(size + line // dtype.itemsize, dtype)
    start = -memory.ctypes.data % line // dtype.itemsize
    return memory[start : start + size]


def halt(net: Net) -> bool:
    """Let a `train` under way come back soon: see `jitprop.reference.halt`."""
    if net.long:
        net.gate[kernels.HALT] = 1
    # A kernel that has not begun may yet be compiled, for seconds: nothing is changed, so leave.
    return bool(net.gate[kernels.RUNNING]) and not kernels.INTERPRETED


def size(net: Net) -> int:
    """The bytes of memory that a net holds."""
    own = {id(memory): memory.nbytes for memory in net.memory}
    return sum(own.values()) + net.gradients.nbytes + net.parts.nbytes


def close(net: Net) -> None:
    """End the threads that a call started, and forget the arrays that it got."""
    net.team.close()
    net.bound.clear()


def fields_and_samples(
    X: Array, y: Array, weights: Array | None, rows: Array
) -> tuple[dict[str, Any], kernels.Samples]:
    """The fields of the plan that depend on the samples, and the samples."""
    flat_weights, stand_in = np.empty(0, y.dtype), -1
    if weights is not None:
        flat_weights, stand_in = weights, int(stand_ins(weights))
    fields = {"labels": y.ndim == 1, "weighted": weights is not None, "stand_in": stand_in}
    return fields, kernels.Samples(X.reshape(-1), y.reshape(-1), flat_weights, rows)


def bound_entry(
    net: Net,
    entry: kernels.Entry,
    seat: kernels.Seat,
    fields: dict[str, Any],
    args: tuple[Any, ...],
    changing: tuple[kernels.Path, ...],
) -> kernels.Bound:
    """
    Bind an entry to the net's plan with some ``fields``, its route, and further ``args``.

    The net keeps it until `close`. Of a kept one only the fields and what is ``changing`` are
    written: 10 us instead of 50.
    """
    key = entry.name, seat.rank, seat.ranks
    bound = net.bound.get(key)
    if bound is None:
        bound = net.bound[key] = entry.bind(net.plan._replace(**fields), net.route, *args)
        return bound
    for name, value in fields.items():
        bound.put((0, name), value)
    for path in changing:
        value = args[int(path[0]) - 2]
        for field in path[1:]:
            value = getattr(value, str(field))
        bound.put(path, value)
    return bound


CHANGING_IN_TRAIN: tuple[kernels.Path, ...] = (
    *((2, name) for name in ("params", "slots", "samples", "losses", "rates")),
    *((place,) for place in (4, 5, 6)),
)
CHANGING_IN_PASS: tuple[kernels.Path, ...] = ((2, "params"), (2, "samples"), (2, "group"))


def run_bound(net: Net, bind: Callable[[int, int], kernels.Bound]) -> tuple[Any, int, float]:
    """
    Call ``bind(rank, ranks)`` in the threads of the net.

    Returns what rank 0 returns, the number of threads, and how many of them were busy on average.
    All are bound before the first one runs: no thread may compile, and perhaps fail, while others
    wait for it.
    """
    if net.team.n > 1 or net.long:
        n = net.team.size()
        bound = [bind(rank, n) for rank in range(n)]
        began, used = time.perf_counter(), time.process_time()
        try:
            found = net.team.run(n, lambda rank: bound[rank](), lambda: halt(net))
            return found, n, (time.process_time() - used) / (time.perf_counter() - began)
        except threads.NoThreadError:  # the same bits, and Ctrl-C waits for the end
            net.gate[:] = 0
    return bind(0, 1)(), 1, 1.0


def bound_training(
    net: Net, params: Array, slots: Array, steps: Steps, updates: int, dropout_key: int
) -> Callable[[int, int], kernels.Bound]:
    """Return what binds the arguments of a `train` for each thread."""
    X, y, weights, order, losses, rates, start, stop, _ = steps
    check_trained(params, slots, X, y, weights)
    check_written(losses=losses)
    rows = NATURAL_ORDER if order is None else order.reshape(-1)
    fields, samples = fields_and_samples(X, y, weights, rows)
    fields["dropout_key"] = dropout_key
    flat_slots, once = slots.reshape(-1), never(params.dtype)

    def bind(rank: int, ranks: int) -> kernels.Bound:
        arrays = kernels.Work(
            params,
            flat_slots,
            samples,
            losses,
            rates,
            net.memory[rank],
            net.gradients,
            net.parts,
            once,
        )
        seat = kernels.Seat(rank, ranks, net.gate)
        args = arrays, seat, start, stop, updates
        return bound_entry(net, kernels.train, seat, fields, args, CHANGING_IN_TRAIN)

    return bind


def train_bound(net: Net, bind: Callable[[int, int], kernels.Bound], start: int) -> int:
    """Train with what ``bind(rank, ranks)`` returns: see `jitprop.reference.train`."""
    try:
        began = time.perf_counter()
        reached, n, busy = run_bound(net, bind)
        if net.gate[kernels.LEFT] or net.gate[kernels.AGREED]:
            return HALTED
        seconds = time.perf_counter() - began
        net.team.record(n, seconds / max(1, reached - start), busy)
        return int(reached)
    finally:
        net.gate[:] = 0  # behind the call: a word to halt may come before it


def bound_pass(
    net: Net,
    entry: kernels.Entry,
    params: Array,
    samples: Arrays,
    out: tuple[Array, ...],
    how: tuple[int, int],
) -> Callable[[int, int], kernels.Bound]:
    """
    Return what binds the arguments of a pass of all samples for each thread.

    ``how`` is what it looks at, and the number of tiles in a group.
    """
    look, group = how
    fields, given = fields_and_samples(*samples, NATURAL_ORDER)
    fields["look"] = look
    changing = *CHANGING_IN_PASS, *((3,) for _ in out[:1])

    def bind(rank: int, ranks: int) -> kernels.Bound:
        arrays = kernels.Pass(params, given, net.memory[rank], net.parts, group)
        seat = kernels.Seat(rank, ranks, net.gate)
        return bound_entry(net, entry, seat, fields, (arrays, *out, seat), changing)

    return bind


def tiles_in(net: Net, group: int) -> int:
    """Return how many tiles of a pass make a group of so many samples."""
    return max(1, group // int(net.plan.batch_size))


def never(dtype: np.dtype[Any]) -> kernels.Once:
    """What says that training is not `Once`."""
    nothing, columns = np.empty(0, dtype), np.empty(0)
    return kernels.Once(nothing, NATURAL_ORDER, 1.0, columns, columns, NATURAL_ORDER)
