"""The loss of all samples, tile by tile, and how threads leave together."""

from __future__ import annotations

from jitprop_kernels._jit import jit
from jitprop_kernels._types import Array, Route
from jitprop_kernels.elementary import smaller
from jitprop_kernels.meeting import agree, asked, meet
from jitprop_kernels.network import (
    load_batch,
    loss_of,
    pack_weights,
    sum_of_weights,
    tile_of,
    total_loss,
)
from jitprop_kernels.plan import N_IN, Plan
from jitprop_kernels.records import Descent, Part, Pass, Seat
from jitprop_kernels.sizes import AGREED


@jit()
def n_samples_of(plan: Plan, work: Descent) -> int:
    """Count the samples."""
    n: int = work.samples.X.size // plan.layers[0, N_IN]
    return n


@jit()
def n_tiles_of(plan: Plan, work: Descent) -> int:
    """How many tiles the samples make, of the plan's batch size each."""
    return (n_samples_of(plan, work) + plan.batch_size - 1) // plan.batch_size


@jit()
def tile_size(plan: Plan, work: Descent, tile: int) -> int:
    """How many samples a tile has."""
    return smaller(plan.batch_size, n_samples_of(plan, work) - tile * plan.batch_size)


@jit()
def weight_sum_of_all(plan: Plan, work: Descent) -> float:
    """`network.sum_of_weights` of all samples."""
    return sum_of_weights(plan, work.samples, 0, n_samples_of(plan, work))


@jit()
def divisor_of(plan: Plan, work: Descent, weight_sum: float) -> float:
    """What the summed loss is divided by for the reduced one."""
    if not plan.mean:
        return 1.0
    return weight_sum if plan.weighted else float(n_samples_of(plan, work))


@jit()
def left(seat: Seat) -> bool:
    """Meet; tell all threads alike whether they were asked to leave."""
    agree(seat.gate, seat.rank)
    meet(seat.gate, seat.ranks)
    asked: bool = seat.gate[AGREED] != 0
    return asked


@jit()
def pass_of(plan: Plan, work: Descent, params: Array) -> Pass:
    """A pass of all samples in one group, with these parameters."""
    return Pass(params, work.samples, work.memory, work.parts, n_tiles_of(plan, work))


@jit()
def stays(plan: Plan, work: Descent, seat: Seat) -> bool:
    """Whether all samples are one tile, which stays in ``memory`` from pass to pass."""
    return seat.ranks == 1 and n_tiles_of(plan, work) == 1


@jit()
def tile_to_load(plan: Plan, route: Route, work: Descent, tile: int) -> Part:
    """Return the part that a tile of samples makes."""
    first = tile * plan.batch_size
    in_place, n_samples = len(route) > 0 and not plan.weighted, n_samples_of(plan, work)
    m = tile_size(plan, work, tile)
    return tile_of(plan, work.samples.X, first, m, n_samples, in_place, work.memory)


@jit()
def load_tile(plan: Plan, route: Route, work: Descent, tile: int, weight_sum: float) -> Part:
    """Load a tile of samples: see `network.load_batch`."""
    part = tile_to_load(plan, route, work, tile)
    in_place = len(route) > 0 and not plan.weighted
    load_batch(plan, route, work.samples, part, weight_sum, in_place)
    return part


@jit()
def summed_loss(
    plan: Plan, route: Route, work: Descent, params: Array, seat: Seat, weight_sum: float
) -> float:
    """
    Summed loss of all samples with these parameters, the same in all threads.

    Of no use if `left` says behind it that threads were asked to leave. Before the next call all
    threads must have met.
    """
    passed, n_tiles = pass_of(plan, work, params), n_tiles_of(plan, work)
    pack_weights(plan, route, params, work.memory, False)
    for tile in range(seat.rank, n_tiles, seat.ranks):
        if stays(plan, work, seat):
            part = tile_to_load(plan, route, work, tile)
        else:
            part = load_tile(plan, route, work, tile, weight_sum)
        work.parts[tile] = loss_of(plan, route, params, part)
        if asked(seat.gate):
            break
    meet(seat.gate, seat.ranks)
    return total_loss(plan, passed, n_tiles)
