"""
The loop over groups of members, batches and epochs; and `evaluate` and `predict` of groups.

Groups are what threads share. Each thread takes the next when it has done one.
"""

from __future__ import annotations

from jitprop_kernels import codes, lanes
from jitprop_kernels._jit import jit
from jitprop_kernels._types import Array, Indices, Scalar, Width
from jitprop_kernels.elementary import smaller
from jitprop_kernels.groups import (
    FAULTS,
    LOSSES,
    WEIGHTS,
    add_losses,
    load_block,
    put_losses,
    set_group,
    set_rates,
    set_weight_sums,
)
from jitprop_kernels.losses import softmax
from jitprop_kernels.meeting import halted, take
from jitprop_kernels.members import (
    backward,
    block_width,
    forward,
    n_parameters,
    output,
)
from jitprop_kernels.plan import ACTIVATION, N_OUT, OUTPUTS, Plan
from jitprop_kernels.records import (
    Block,
    FleetWork,
    Group,
    MemberSamples,
    MemberSettings,
    Scratch,
)
from jitprop_kernels.simd import size_of, skipped, widened, zeros
from jitprop_kernels.sizes import SAMPLES


@jit()
def group_of(
    number: int,
    lane: int,
    size: int,
    params: Array,
    slots: Array,
    settings: MemberSettings,
    scratch: Scratch,
) -> Group:
    """Group ``number``, of ``size`` parameters in all, whose first member is in ``lane``."""
    slot_size = slots.size // (params.size // size)
    return Group(
        lane=lane,
        params=skipped(params, number * size),
        slots=skipped(slots, number * slot_size),
        settings=settings,
        memory=scratch.memory,
        sums=scratch.sums,
    )


@jit(apart=True)
def keep(array: Array, all_groups: int, later: Array, epoch: int, number: int, size: int) -> None:
    """Copy ``size`` numbers of group ``number`` to where they stand for an epoch."""
    at = epoch * all_groups + number * size
    for i in range(size):
        later[at + i] = array[i]


@jit()
def train_groups(
    zero: Scalar, plan: Plan, work: FleetWork, scratch: Scratch, gate: Indices
) -> None:
    """`train_members`; ``zero`` is V zeros."""
    samples, sums = work.samples, scratch.sums
    rows, n_samples, n_members = samples.rows, samples.n_samples, samples.members.size
    losses, rate_step = work.losses, work.rate_step
    by_update = work.rates.size > losses.size
    V = size_of(zero)
    size = n_parameters(plan) * V
    n_groups = work.params.size // size
    last = lanes.output_activation(plan)
    n_batches = (n_samples + plan.batch_size - 1) // plan.batch_size
    same = n_batches == 1 and rows.size == 0
    n_steps = losses.size // n_members * n_batches
    number = take(gate)
    while number < n_groups:
        lane = number * V
        group = group_of(number, lane, size, work.params, work.slots, work.settings, scratch)
        set_group(zero, plan, group, work.divisors)
        for step in range(n_steps):
            if halted(gate):
                return
            n, epoch = step + 1, step // n_batches
            first = (step - epoch * n_batches) * plan.batch_size
            m = smaller(plan.batch_size, n_samples - first)
            begin = first + (epoch * n_samples if rows.size > 0 else 0)
            fresh = step == 0 or not same
            if step == 0 or (plan.weighted and fresh):
                set_weight_sums(zero, plan, samples, group, begin, m)
            at, constant = (step if by_update else epoch) * rate_step, rate_step == 0
            set_rates(zero, plan, group, work.rates, at, constant, n)
            loss = zero
            for start in range(0, m, SAMPLES):
                block = Block(begin, start, smaller(SAMPLES, m - start))
                if fresh:
                    load_block(zero, plan, samples, group, block)
                forward(zero, plan, group, block, last, n)
                loss += output(zero, plan, group.memory, block, m)
                backward(zero, plan, group, block, m)
            add_losses(loss, sums, first == 0)
            if first + m == n_samples:
                put_losses(widened(zero), sums, lane, n_members, losses, epoch)
                if work.later_params.size > 0:
                    keep(group.params, work.params.size, work.later_params, epoch, number, size)
                    slots = size * (work.slots.size // work.params.size)
                    keep(group.slots, work.slots.size, work.later_slots, epoch, number, slots)
        for v in range(smaller(V, n_members - lane)):
            work.faults[lane + v] = sums[FAULTS * V + v]
        number = take(gate)


@jit()
def train_members(
    width: Width, plan: Plan, work: FleetWork, scratch: Scratch, gate: Indices
) -> None:
    """
    Train all members for some epochs.

    Several threads may run it at once, each with its own ``scratch``: each takes the next group
    when it has done one. There are A members in G groups of V, as many as a vector has lanes; lanes
    behind the last member repeat it. A member whose loss is not finite goes on, to no harm of the
    others.

    Parameters
    ----------
    width : Width
        Of vectors. No bit depends on it.
    plan : Plan
    work : FleetWork
        The arrays.
    scratch : Scratch
    gate : (GATE_SIZE,) int64 array of 0
        Where groups are taken. Where another thread writes a number to ``gate[HALT]`` all leave
        soon, and nothing that changes here is of use.
    """
    train_groups(zeros(width, scratch.memory), plan, work, scratch, gate)


@jit()
def predict_groups(
    zero: Scalar,
    plan: Plan,
    params: Array,
    samples: MemberSamples,
    settings: MemberSettings,
    out: Array,
    scratch: Scratch,
    gate: Indices,
) -> None:
    """`predict_members`; ``zero`` is V zeros."""
    L, n_samples, memory, V = len(plan.layers), samples.n_samples, scratch.memory, size_of(zero)
    size = n_parameters(plan) * V
    n, z = plan.layers[L - 1, N_OUT], plan.layers[L - 1, OUTPUTS]
    activation = plan.layers[L - 1, ACTIVATION]
    number = take(gate)
    while number < params.size // size:
        lane = number * V
        group = group_of(number, lane, size, params, params, settings, scratch)
        for first in range(0, n_samples, SAMPLES):
            if halted(gate):
                return
            m = smaller(SAMPLES, n_samples - first)
            block = Block(first, 0, m)
            units = block_width(zero, block)
            load_block(zero, plan, samples, group, block)
            forward(zero, plan, group, block, activation, 0)
            if activation == codes.SOFTMAX:
                softmax(memory, z, units, n, 1, units)
            for v in range(smaller(V, samples.members.size - lane)):
                at = ((lane + v) * n_samples + first) * n
                for i in range(m):
                    for j in range(n):
                        out[at + i * n + j] = memory[z + j * units + i * V + v]
        number = take(gate)


@jit()
def predict_members(
    width: Width,
    plan: Plan,
    params: Array,
    samples: MemberSamples,
    settings: MemberSettings,
    out: Array,
    scratch: Scratch,
    gate: Indices,
) -> None:
    """Outputs of all members into ``out``, (A * n_samples * n_outputs,). There are no ``rows``."""
    zero = zeros(width, scratch.memory)
    predict_groups(zero, plan, params, samples, settings, out, scratch, gate)


@jit()
def evaluate_groups(
    zero: Scalar,
    plan: Plan,
    params: Array,
    samples: MemberSamples,
    settings: MemberSettings,
    losses: Array,
    scratch: Scratch,
    gate: Indices,
) -> None:
    """`evaluate_members`; ``zero`` is V zeros."""
    n_samples, sums, V = samples.n_samples, scratch.sums, size_of(zero)
    size, last = n_parameters(plan) * V, lanes.output_activation(plan)
    number = take(gate)
    while number < params.size // size:
        lane = number * V
        group = group_of(number, lane, size, params, params, settings, scratch)
        for v in range(V):
            sums[WEIGHTS * V + v] = 1.0
        for first in range(0, n_samples, SAMPLES):
            if halted(gate):
                return
            m = smaller(SAMPLES, n_samples - first)
            block = Block(first, 0, m)
            load_block(zero, plan, samples, group, block)
            forward(zero, plan, group, block, last, 0)
            loss = output(zero, plan, scratch.memory, block, m)
            add_losses(loss, sums, first == 0)
        for v in range(smaller(V, samples.members.size - lane)):
            losses[lane + v] = sums[LOSSES * V + v]
        number = take(gate)


@jit()
def evaluate_members(
    width: Width,
    plan: Plan,
    params: Array,
    samples: MemberSamples,
    settings: MemberSettings,
    losses: Array,
    scratch: Scratch,
    gate: Indices,
) -> None:
    """Summed loss of each member, all samples, into ``losses``, (A,). There are no ``rows``."""
    zero = zeros(width, scratch.memory)
    evaluate_groups(zero, plan, params, samples, settings, losses, scratch, gate)
