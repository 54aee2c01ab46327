"""
The loop over groups of members, batches and epochs; and `evaluate` and `predict` of groups.

Groups are what threads share. Each thread takes the next when it has done one.
"""

from __future__ import annotations

import numpy as np

from jitprop_kernels import codes, lanes
from jitprop_kernels._jit import jit
from jitprop_kernels._types import Array, Indices
from jitprop_kernels.elementary import power, smaller
from jitprop_kernels.losses import softmax
from jitprop_kernels.meeting import halted, take
from jitprop_kernels.members import backward, descend, forward, n_parameters, output, place
from jitprop_kernels.plan import ACTIVATION, N_IN, N_OUT, OUTPUTS, Plan
from jitprop_kernels.simd import none_of, prefetch_to_write, wide_lanes

POWERS = 64
"""Updates after which Adam's powers of beta are computed anew: in between, each is the one before
times beta, which costs a tenth."""


AHEAD = 4
"""Epochs. Losses of one that follow each other lie in a page of their own, and this new."""


@jit()
def set_group(
    plan: Plan, members: Indices, lane: int, decays: Array, momenta: Array, memory: Array
) -> None:
    """Write weight decay and momentum of a group's members to where `descend` reads them."""
    V = wide_lanes(memory)
    for v in range(V):
        i = place(members, lane + v)
        memory[plan.panels + 2 * V + v] = decays[i]
        memory[plan.panels + 3 * V + v] = momenta[i]


@jit()
def set_rates(
    plan: Plan,
    members: Indices,
    lane: int,
    rates: Array,
    at: int,
    constant: bool,
    updates: Indices,
    n: int,
    due: int,
    powers: Array,
    memory: Array,
) -> int:
    """
    Write each member's rate to where `descend` reads it: for Adam corrected, and plain behind.

    For the n-th update of this call, n = 1, 2, ..., which is update t = ``updates`` + n of each.
    Behind V other numbers ``powers`` keeps beta_1**t and beta_2**t. Returns the n at which they are
    computed anew: t alone decides, so that bits do not depend on where a call begins. Of all other
    optimizers, rates that are ``constant`` are written once.
    """
    V = wide_lanes(memory)
    beta_1, beta_2, _, _ = plan.settings
    if plan.optimizer == codes.ADAM or plan.optimizer == codes.ADAMW:
        if n >= due:
            due = n + POWERS
            for v in range(V):
                t = updates[place(members, lane + v)] + n
                base = (t - 1) // POWERS * POWERS
                p1, p2 = power(beta_1, base), power(beta_2, base)
                for _ in range(base, t):
                    p1, p2 = p1 * beta_1, p2 * beta_2
                powers[V + v], powers[2 * V + v] = p1, p2
                due = smaller(due, n + base + POWERS + 1 - t)
        else:
            for v in range(V):
                powers[V + v] *= beta_1
                powers[2 * V + v] *= beta_2
        for v in range(V):
            correction = np.sqrt(1.0 - powers[2 * V + v]) / (1.0 - powers[V + v])
            rate = rates[at + place(members, lane + v)]
            memory[plan.panels + v] = rate * correction
            memory[plan.panels + V + v] = rate
    elif n == 1 or not constant:
        for v in range(V):
            memory[plan.panels + v] = rates[at + place(members, lane + v)]
    return due


@jit()
def load_group(
    plan: Plan,
    X: Array,
    x_step: int,
    Y: Array,
    y_step: int,
    weights: Array,
    weights_step: int,
    members: Indices,
    lane: int,
    rows: Indices,
    row_step: int,
    first: int,
    m: int,
    memory: Array,
    wholes: Array,
) -> None:
    """
    Copy the inputs, targets and shares of m samples of each of a group's members.

    Member number ``members[i]`` finds its own behind ``x_step`` times that in X; with a step of
    0 all have the same. ``rows`` names each one's samples. Nothing is read from an empty Y.
    """
    V, n_inputs = wide_lanes(memory), plan.layers[0, N_IN]
    for v in range(V):
        number = place(members, lane + v)
        member, whole, order = members[number], 0.0, number * row_step
        if plan.weighted:
            for i in range(first, first + m):
                row = rows[order + i] if rows.size > 0 else i
                whole += weights[member * weights_step + row]
        whole = whole if plan.mean and whole > 0.0 else 1.0
        wholes[v] = whole
        for i in range(m):
            row = first + i
            if rows.size > 0:
                row = rows[order + row]
            at, x = i * V + v, member * x_step + row * n_inputs
            for k in range(n_inputs):
                memory[at + k * m * V] = X[x + k]
            if plan.weighted:
                memory[plan.shares + at] = weights[member * weights_step + row] / whole
            if Y.size > 0:
                for k in range(plan.n_targets):
                    if plan.labels:
                        y = 1.0 if Y[member * y_step + row] == k else 0.0
                    else:
                        y = Y[member * y_step + row * plan.n_targets + k]
                    memory[plan.targets + at + k * m * V] = plan.gain * y + plan.offset


@jit()
def add_losses(plan: Plan, memory: Array, sums: Array, begins: bool) -> None:
    """Add each member's loss of a batch, from `output`, to its epoch's, behind the powers."""
    V = wide_lanes(memory)
    for v in range(V):
        before = 0.0 if begins else sums[3 * V + v]
        sums[3 * V + v] = before + sums[v] * memory[plan.errors + v]


@jit()
def put_losses(
    memory: Array, sums: Array, divisors: Array, members: Indices, lane: int, losses: Array, at: int
) -> None:
    """Write an epoch's losses of a group, and note behind them whether all were finite."""
    V = wide_lanes(memory)
    ahead = at + AHEAD * members.size + lane
    if ahead + V <= losses.size:
        for v in range(0, V, 8):
            prefetch_to_write(losses, ahead + v)
    for v in range(smaller(V, members.size - lane)):
        loss = sums[3 * V + v] / divisors[lane + v]
        losses[at + lane + v] = loss
        sums[4 * V + v] += 0.0 * loss  # nan, once it is inf or nan


@jit(entry=True)
def train_members(
    plan: Plan,
    params: Array,
    slots: Array,
    X: Array,
    x_step: int,
    Y: Array,
    y_step: int,
    weights: Array,
    weights_step: int,
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
    next group when it has done one. There are A members in G groups of V, as many as a wide vector
    has lanes; lanes behind the last member repeat it. A member whose loss is not finite goes on, to
    no harm of the others.

    Parameters
    ----------
    params : (G * P * V,) array
        Changes in place.
    slots : (G * n_slots * P * V,) array
        The optimizer's state; changes in place.
    X, Y, weights : arrays
        Inputs, targets or labels, and weights or nothing, of ``n_samples`` samples; of all members
        together where the step is 0, else of each, so many numbers apart.
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
        Scratch: see `Plan`, with 4 V numbers at its ``panels``; and 5 V numbers of float64.
    gate : (GATE_SIZE,) int64 array of 0
        Where groups are taken. Where another thread writes a number to ``gate[HALT]`` all leave
        soon, and nothing that changes here is of use.
    """
    V = wide_lanes(memory)
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
        lane, due = group * V, 0
        set_group(plan, members, lane, decays, momenta, memory)
        for v in range(V):
            sums[4 * V + v] = 0.0
        for step in range(n_steps):
            if halted(gate):
                return
            epoch = step // n_batches
            first = (step - epoch * n_batches) * plan.batch_size
            m = smaller(plan.batch_size, n_samples - first)
            if step == 0 or not same:
                at = first + (epoch * n_samples if rows.size > 0 else 0)
                load_group(
                    plan,
                    X,
                    x_step,
                    Y,
                    y_step,
                    weights,
                    weights_step,
                    members,
                    lane,
                    rows,
                    row_step,
                    at,
                    m,
                    memory,
                    sums,
                )
            n = step + 1
            forward(
                plan,
                params,
                group * size,
                memory,
                last,
                m,
                members,
                lane,
                dropped,
                keys,
                updates,
                n,
            )
            output(plan, memory, m)
            add_losses(plan, memory, sums, first == 0)
            if first + m == n_samples:
                put_losses(memory, sums, divisors, members, lane, losses, epoch * members.size)
            backward(plan, params, group * size, memory, m)
            at, constant = epoch * rate_step, rate_step == 0
            due = set_rates(plan, members, lane, rates, at, constant, updates, n, due, sums, memory)
            descend(plan, params, slots, group * size, group * slot_size, size, memory, m)
        for v in range(smaller(V, members.size - lane)):
            faults[lane + v] = sums[4 * V + v]
        group = take(gate)


@jit(entry=True)
def predict_members(
    plan: Plan,
    params: Array,
    X: Array,
    x_step: int,
    n_samples: int,
    members: Indices,
    rows: Indices,
    out: Array,
    memory: Array,
    wholes: Array,
    gate: Indices,
) -> None:
    """Outputs of all members into ``out``, (A * n_samples * n_outputs,). ``rows`` is empty."""
    V, L = wide_lanes(memory), len(plan.layers)
    size = n_parameters(plan) * V
    n, z = plan.layers[L - 1, N_OUT], plan.layers[L - 1, OUTPUTS]
    activation = plan.layers[L - 1, ACTIVATION]
    group = take(gate)
    while group < params.size // size:
        for first in range(0, n_samples, plan.batch_size):
            if halted(gate):
                return
            m = smaller(plan.batch_size, n_samples - first)
            load_group(
                plan,
                X,
                x_step,
                none_of(out),
                0,
                none_of(out),
                0,
                members,
                group * V,
                rows,
                0,
                first,
                m,
                memory,
                wholes,
            )
            forward(
                plan,
                params,
                group * size,
                memory,
                activation,
                m,
                members,
                0,
                members,
                members,
                members,
                0,
            )
            if activation == codes.SOFTMAX:
                softmax(memory, z, m * V, n, 1, m * V)
            for v in range(smaller(V, members.size - group * V)):
                at = ((group * V + v) * n_samples + first) * n
                for i in range(m):
                    for j in range(n):
                        out[at + i * n + j] = memory[z + (j * m + i) * V + v]
        group = take(gate)


@jit(entry=True)
def evaluate_members(
    plan: Plan,
    params: Array,
    X: Array,
    x_step: int,
    Y: Array,
    y_step: int,
    weights: Array,
    weights_step: int,
    n_samples: int,
    members: Indices,
    rows: Indices,
    losses: Array,
    memory: Array,
    wholes: Array,
    gate: Indices,
) -> None:
    """Summed loss of each member, all samples, is added to ``losses``, (A,)."""
    V = wide_lanes(memory)
    size, last = n_parameters(plan) * V, lanes.output_activation(plan)
    group = take(gate)
    while group < params.size // size:
        for first in range(0, n_samples, plan.batch_size):
            if halted(gate):
                return
            m = smaller(plan.batch_size, n_samples - first)
            load_group(
                plan,
                X,
                x_step,
                Y,
                y_step,
                weights,
                weights_step,
                members,
                group * V,
                rows,
                0,
                first,
                m,
                memory,
                wholes,
            )
            forward(
                plan,
                params,
                group * size,
                memory,
                last,
                m,
                members,
                0,
                members,
                members,
                members,
                0,
            )
            output(plan, memory, m)
            for v in range(smaller(V, members.size - group * V)):
                losses[group * V + v] += wholes[v] * memory[plan.errors + v]
        group = take(gate)
