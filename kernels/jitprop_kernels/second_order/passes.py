"""The loss of all samples, tile by tile, and how threads leave together."""

from __future__ import annotations

from jitprop_kernels._jit import jit
from jitprop_kernels._types import Array, Route
from jitprop_kernels.elementary import smaller
from jitprop_kernels.meeting import agree, asked, meet
from jitprop_kernels.network import pack_weights, pass_tile, sum_of_weights, total_loss
from jitprop_kernels.plan import N_IN, Plan
from jitprop_kernels.records import Descent, Pass, Seat
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
        pass_tile(plan, route, passed, seat, tile, weight_sum)
        if asked(seat.gate):
            break
    meet(seat.gate, seat.ranks)
    return total_loss(plan, passed, n_tiles)
