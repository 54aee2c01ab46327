"""
The loop over groups of members, batches and epochs; and `evaluate` and `predict` of groups.

Groups are what threads share. Each thread takes the next when it has done one.
"""

from __future__ import annotations

import numpy as np

from jitprop_kernels import codes, lanes
from jitprop_kernels._jit import jit
from jitprop_kernels._types import Array, Indices, Route, Scalar
from jitprop_kernels.elementary import power, smaller
from jitprop_kernels.losses import softmax
from jitprop_kernels.meeting import halted, take
from jitprop_kernels.members import (
    SAMPLES,
    block_width,
    descend,
    forward,
    n_parameters,
    output,
    place,
)
from jitprop_kernels.plan import ACTIVATION, N_IN, N_OUT, OUTPUTS, Plan
from jitprop_kernels.simd import (
    behind,
    load_like,
    prefetch_to_write,
    size_of,
    store,
    widened,
    zeros,
)

POWERS = 64
"""Updates after which Adam's powers of beta are computed anew: in between, each is the one before
times beta, which costs a tenth."""

WHOLES, POWERS_1, POWERS_2, LOSSES, FAULTS, DIVISORS, N_SUMS = range(7)
"""What ``sums`` holds of a group, V numbers of each: what shares are parts of; for Adam beta_1**t
and beta_2**t; an epoch's loss so far; nan once one was not finite; what losses are divided by."""

AHEAD = 4
"""Epochs whose losses are asked for ahead: each has pages of its own, which are new memory."""


@jit(apart=True)
def set_group(
    none: Scalar,
    plan: Plan,
    members: Indices,
    lane: int,
    decays: Array,
    momenta: Array,
    divisors: Array,
    memory: Array,
    sums: Array,
) -> None:
    """Write what is of a group's members to where `descend` and `put_losses` read it."""
    V = size_of(none)
    for v in range(V):
        i = place(members, lane + v)
        memory[plan.panels + 2 * V + v] = decays[i]
        memory[plan.panels + 3 * V + v] = momenta[i]
        sums[FAULTS * V + v] = 0.0
        sums[DIVISORS * V + v] = divisors[i]


@jit(apart=True)
def set_rates(
    none: Scalar,
    plan: Plan,
    members: Indices,
    lane: int,
    rates: Array,
    at: int,
    constant: bool,
    updates: Indices,
    n: int,
    memory: Array,
    sums: Array,
) -> None:
    """
    Write each member's rate to where `descend` reads it: for Adam corrected, and plain behind.

    For the n-th update of this call, n = 1, 2, ..., which is update t = ``updates`` + n of each. t
    alone decides when powers of beta are computed anew, so that bits do not depend on where a call
    begins. Of all other optimizers, rates that are ``constant`` are written once.
    """
    V = size_of(none)
    beta_1, beta_2, _, _ = plan.settings
    if plan.optimizer == codes.ADAM or plan.optimizer == codes.ADAMW:
        for v in range(V):
            i, p1, p2 = place(members, lane + v), POWERS_1 * V + v, POWERS_2 * V + v
            t = updates[i] + n
            if n == 1 or t % POWERS == 1:
                base = (t - 1) // POWERS * POWERS
                sums[p1], sums[p2] = power(beta_1, base), power(beta_2, base)
                for _ in range(base + 1, t):
                    sums[p1] *= beta_1
                    sums[p2] *= beta_2
            sums[p1] *= beta_1
            sums[p2] *= beta_2
            memory[plan.panels + v] = rates[at + i] * np.sqrt(1.0 - sums[p2]) / (1.0 - sums[p1])
            memory[plan.panels + V + v] = rates[at + i]
    elif n == 1 or not constant:
        for v in range(V):
            memory[plan.panels + v] = rates[at + place(members, lane + v)]


@jit(apart=True)
def set_wholes(
    none: Scalar,
    plan: Plan,
    weights: Array,
    weights_step: int,
    members: Indices,
    lane: int,
    rows: Indices,
    row_step: int,
    first: int,
    m: int,
    memory: Array,
    sums: Array,
) -> None:
    """Write what the shares of a batch are parts of, of each of a group's members: 1 or a sum."""
    V = size_of(none)
    for v in range(V):
        i = place(members, lane + v)
        member, whole = members[i], 0.0
        if plan.weighted and plan.mean:
            for row in range(first, first + m):
                sample = rows[i * row_step + row] if rows.size > 0 else row
                whole += weights[member * weights_step + sample]
        sums[WHOLES * V + v] = whole if whole > 0.0 else 1.0


@jit(apart=True)
def load_block(
    none: Scalar,
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
    block: int,
    some: int,
    memory: Array,
    sums: Array,
) -> None:
    """
    Copy the inputs, targets and shares of one block of samples, of each of a group's members.

    Of ``some`` samples from place ``block`` on in a batch that begins at ``first``. Member number
    ``members[i]`` finds its own behind ``x_step`` times that in X; with a step of 0 all have the
    same. ``rows`` names each one's samples. Nothing is read from an empty Y.
    """
    V, n_inputs, n_targets = size_of(none), plan.layers[0, N_IN], plan.n_targets
    width, a, t = (
        block_width(none, some),
        block * n_inputs * V,
        plan.targets + block * n_targets * V,
    )
    for at in range(width):
        i = place(members, lane + at % V)
        member, row = members[i], first + block + smaller(at // V, some - 1)
        if rows.size > 0:
            row = rows[i * row_step + row]
        x = member * x_step + row * n_inputs
        for k in range(n_inputs):
            memory[a + k * width + at] = X[x + k]
        if plan.weighted:
            share = weights[member * weights_step + row] / sums[WHOLES * V + at % V]
            memory[plan.shares + block * V + at] = share
        if Y.size > 0 and plan.labels:
            label = Y[member * y_step + row]
            for k in range(n_targets):
                memory[t + k * width + at] = 1.0 if label == k else 0.0
        elif Y.size > 0:
            y = member * y_step + row * n_targets
            for k in range(n_targets):
                memory[t + k * width + at] = Y[y + k]
    if Y.size > 0 and plan.gain != 1.0:
        T = type(memory[0])
        for i in range(t, t + n_targets * width):
            memory[i] = T(plan.gain) * memory[i] + T(plan.offset)


@jit()
def add_losses(loss: Scalar, sums: Array, begins: bool) -> None:
    """Add each member's loss of a batch, from `output`, to its epoch's."""
    V, error = size_of(loss), widened(loss)
    error = error * load_like(error, sums, WHOLES * V)
    if not begins:
        error += load_like(error, sums, LOSSES * V)
    store(sums, LOSSES * V, error)


@jit()
def put_losses(
    none: Scalar, sums: Array, members: Indices, lane: int, losses: Array, at: int
) -> None:
    """Write an epoch's losses of a group, and note whether all were finite. ``none`` is V zeros."""
    V, ahead = size_of(none), at + AHEAD * members.size + lane
    if ahead + V <= losses.size:
        prefetch_to_write(losses, ahead)
        prefetch_to_write(losses, ahead + V - 1)
    loss = load_like(none, sums, LOSSES * V) / load_like(none, sums, DIVISORS * V)
    if lane + V <= members.size:
        store(losses, at + lane, loss)
    else:
        for v in range(members.size - lane):
            losses[at + lane + v] = sums[LOSSES * V + v] / sums[DIVISORS * V + v]
    store(sums, FAULTS * V, load_like(none, sums, FAULTS * V) + none * loss)


@jit(entry=True)
def train_members(
    few: Route,
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
    next group when it has done one. There are A members in G groups of V, as many as a vector has
    lanes; lanes behind the last member repeat it. A member whose loss is not finite goes on, to
    no harm of the others.

    Parameters
    ----------
    few : Route
        Which vectors: wide for MANY, narrow for FEW. No bit depends on it.
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
        Scratch: see `Plan`, with 4 V numbers at its ``panels``, the settings of a group, and behind
        them P V for gradients; and N_SUMS V numbers of float64.
    gate : (GATE_SIZE,) int64 array of 0
        Where groups are taken. Where another thread writes a number to ``gate[HALT]`` all leave
        soon, and nothing that changes here is of use.
    """
    none = zeros(few, memory)
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
                    memory,
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
    few: Route,
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
    none, L = zeros(few, memory), len(plan.layers)
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
            width = block_width(none, m)
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
                group * V,
                rows,
                first,
                m,
                activation,
                memory,
                sums,
            )
            if activation == codes.SOFTMAX:
                softmax(memory, z, width, n, 1, width)
            for v in range(smaller(V, members.size - group * V)):
                at = ((group * V + v) * n_samples + first) * n
                for i in range(m):
                    for j in range(n):
                        out[at + i * n + j] = memory[z + j * width + i * V + v]
        group = take(gate)


@jit(entry=True)
def evaluate_members(
    few: Route,
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
    sums: Array,
    gate: Indices,
) -> None:
    """Summed loss of each member, all samples, into ``losses``, (A,). ``rows`` is empty."""
    none = zeros(few, memory)
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
