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
    WHOLES,
    add_losses,
    load_block,
    put_losses,
    set_group,
    set_rates,
    set_wholes,
)
from jitprop_kernels.losses import softmax
from jitprop_kernels.meeting import halted, take
from jitprop_kernels.members import (
    SAMPLES,
    block_width,
    descend,
    forward,
    n_parameters,
    output,
)
from jitprop_kernels.plan import ACTIVATION, N_IN, N_OUT, OUTPUTS, Plan
from jitprop_kernels.simd import (
    behind,
    size_of,
    widened,
    zeros,
)


@jit(entry=True)
def train_members(
    width: Width,
    plan: Plan,
    params: Array,
    slots: Array,
    X: Array,
    x_step: int,
    Y: Array,
    y_step: int,
    weights: Array,
    weights_step: int,
    stand_ins: Indices,
    n_samples: int,
    members: Indices,
    rows: Indices,
    losses: Array,
    divisors: Array,
    faults: Array,
    rates: Array,
    rate_step: int,
    decays: Array,
    momenta: Array,
    dropped: Indices,
    keys: Indices,
    updates: Indices,
    memory: Array,
    sums: Array,
    gate: Indices,
) -> None:
    """
    Train all members for some epochs.

    Several threads may run it at once, each with its own ``memory`` and ``sums``: each takes the
    next group when it has done one. There are A members in G groups of V, as many as a vector has
    lanes; lanes behind the last member repeat it. A member whose loss is not finite goes on, to
    no harm of the others.

    Parameters
    ----------
    width : Width
        Of vectors. No bit depends on it.
    params : (G * P * V,) array
        Changes in place.
    slots : (G * n_slots * P * V,) array
        The optimizer's state; changes in place.
    X, Y, weights : arrays
        Inputs, targets or labels, and weights or nothing, of ``n_samples`` samples; of all members
        together where the step is 0, else of each, so many numbers apart.
    stand_ins : (A,) int64 array
        See `load_block`.
    members : (A,) int64 array
        Each one's number in X, Y and weights.
    rows : (A * epochs * n_samples,) int64 array
        Each one's order of presentation, epoch after epoch; empty for the order of X.
    losses : (epochs * A,) float64 array
        Becomes each epoch's loss of each member: the sum over its samples, by ``divisors``. Threads
        write to it as they go, so that the memory, which is new, comes while they compute.
    divisors : (A,) float64 array
    faults : (A,) float64 array
        Becomes nan for members of which a loss was not finite, and 0 for the others.
    rates : (epochs * A,) float64 array
        With a ``rate_step`` of 0 instead of A, (A,): the same in all epochs.
    decays, momenta : (A,) float64 arrays
    dropped : (A * hidden layers,) int64 array
        Of `dropout.WHOLE` units of each layer, how many are dropped.
    keys : (A,) int64 array
        For dropout.
    updates : (A,) int64 array
        How many updates of each came before.
    memory, sums : arrays
        Scratch: see `Plan`, with 4 V numbers at its ``panels``, the settings of a group, and behind
        them P V for gradients; and N_SUMS V numbers of float64.
    gate : (GATE_SIZE,) int64 array of 0
        Where groups are taken. Where another thread writes a number to ``gate[HALT]`` all leave
        soon, and nothing that changes here is of use.
    """
    none = zeros(width, memory)
    V = size_of(none)
    size = n_parameters(plan) * V
    n_groups = params.size // size
    slot_size = slots.size // n_groups
    last = lanes.output_activation(plan)
    n_batches = (n_samples + plan.batch_size - 1) // plan.batch_size
    same = n_batches == 1 and rows.size == 0
    row_step = rows.size // members.size
    n_steps = losses.size // members.size * n_batches
    group = take(gate)
    while group < n_groups:
        nets, state = behind(params, group * size), behind(slots, group * slot_size)
        lane = group * V
        set_group(none, plan, members, lane, decays, momenta, divisors, memory, sums)
        for step in range(n_steps):
            if halted(gate):
                return
            n, epoch = step + 1, step // n_batches
            first = (step - epoch * n_batches) * plan.batch_size
            m = smaller(plan.batch_size, n_samples - first)
            begin = first + (epoch * n_samples if rows.size > 0 else 0)
            fresh = step == 0 or not same
            if step == 0 or (plan.weighted and fresh):
                set_wholes(
                    none,
                    plan,
                    weights,
                    weights_step,
                    members,
                    lane,
                    rows,
                    row_step,
                    begin,
                    m,
                    sums,
                )
            at, constant = epoch * rate_step, rate_step == 0
            set_rates(none, plan, members, lane, rates, at, constant, updates, n, memory, sums)
            loss = none
            for block in range(0, m, SAMPLES):
                some, x = smaller(SAMPLES, m - block), block * plan.layers[0, N_IN] * V
                if fresh:
                    load_block(
                        none,
                        plan,
                        X,
                        x_step,
                        Y,
                        y_step,
                        weights,
                        weights_step,
                        stand_ins,
                        members,
                        lane,
                        rows,
                        row_step,
                        begin,
                        block,
                        some,
                        memory,
                        sums,
                    )
                forward(
                    none,
                    plan,
                    nets,
                    memory,
                    x,
                    last,
                    some,
                    block,
                    members,
                    lane,
                    dropped,
                    keys,
                    updates,
                    n,
                )
                loss += output(none, plan, memory, some, block, m)
                descend(none, plan, nets, state, memory, x, some, block == 0, block + some == m)
            add_losses(loss, sums, first == 0)
            if first + m == n_samples:
                put_losses(widened(none), sums, members, lane, losses, epoch * members.size)
        for v in range(smaller(V, members.size - lane)):
            faults[lane + v] = sums[FAULTS * V + v]
        group = take(gate)


@jit()
def load_and_forward(
    none: Scalar,
    plan: Plan,
    params: Array,
    X: Array,
    x_step: int,
    Y: Array,
    y_step: int,
    weights: Array,
    weights_step: int,
    stand_ins: Indices,
    members: Indices,
    lane: int,
    rows: Indices,
    first: int,
    m: int,
    last: int,
    memory: Array,
    sums: Array,
) -> None:
    """`load_block`, of ``rows`` that are empty, and `forward`, in which nothing is dropped."""
    load_block(
        none,
        plan,
        X,
        x_step,
        Y,
        y_step,
        weights,
        weights_step,
        stand_ins,
        members,
        lane,
        rows,
        0,
        first,
        0,
        m,
        memory,
        sums,
    )
    forward(none, plan, params, memory, 0, last, m, 0, members, 0, members, members, members, 0)


@jit(entry=True)
def predict_members(
    width: Width,
    plan: Plan,
    params: Array,
    X: Array,
    x_step: int,
    n_samples: int,
    members: Indices,
    rows: Indices,
    out: Array,
    memory: Array,
    sums: Array,
    gate: Indices,
) -> None:
    """Outputs of all members into ``out``, (A * n_samples * n_outputs,). ``rows`` is empty."""
    none, L = zeros(width, memory), len(plan.layers)
    V = size_of(none)
    size = n_parameters(plan) * V
    n, z = plan.layers[L - 1, N_OUT], plan.layers[L - 1, OUTPUTS]
    activation = plan.layers[L - 1, ACTIVATION]
    group = take(gate)
    while group < params.size // size:
        for first in range(0, n_samples, SAMPLES):
            if halted(gate):
                return
            m = smaller(SAMPLES, n_samples - first)
            units = block_width(none, m)
            load_and_forward(
                none,
                plan,
                behind(params, group * size),
                X,
                x_step,
                behind(out, out.size),
                0,
                behind(out, out.size),
                0,
                members,
                members,
                group * V,
                rows,
                first,
                m,
                activation,
                memory,
                sums,
            )
            if activation == codes.SOFTMAX:
                softmax(memory, z, units, n, 1, units)
            for v in range(smaller(V, members.size - group * V)):
                at = ((group * V + v) * n_samples + first) * n
                for i in range(m):
                    for j in range(n):
                        out[at + i * n + j] = memory[z + j * units + i * V + v]
        group = take(gate)


@jit(entry=True)
def evaluate_members(
    width: Width,
    plan: Plan,
    params: Array,
    X: Array,
    x_step: int,
    Y: Array,
    y_step: int,
    weights: Array,
    weights_step: int,
    stand_ins: Indices,
    n_samples: int,
    members: Indices,
    rows: Indices,
    losses: Array,
    memory: Array,
    sums: Array,
    gate: Indices,
) -> None:
    """Summed loss of each member, all samples, into ``losses``, (A,). ``rows`` is empty."""
    none = zeros(width, memory)
    V = size_of(none)
    size, last = n_parameters(plan) * V, lanes.output_activation(plan)
    group = take(gate)
    while group < params.size // size:
        for v in range(V):
            sums[WHOLES * V + v] = 1.0
        for first in range(0, n_samples, SAMPLES):
            if halted(gate):
                return
            m = smaller(SAMPLES, n_samples - first)
            load_and_forward(
                none,
                plan,
                behind(params, group * size),
                X,
                x_step,
                Y,
                y_step,
                weights,
                weights_step,
                stand_ins,
                members,
                group * V,
                rows,
                first,
                m,
                last,
                memory,
                sums,
            )
            loss = output(none, plan, memory, m, 0, m)
            add_losses(loss, sums, first == 0)
        for v in range(smaller(V, members.size - group * V)):
            losses[group * V + v] = sums[LOSSES * V + v]
        group = take(gate)
