"""
What goes into a group of members, and comes out: settings, rates, samples, losses.

A group's members share vectors, one to a lane (`members`); ``none`` is V zeros, as there.
"""

from __future__ import annotations

import numpy as np

from jitprop_kernels import codes
from jitprop_kernels._jit import jit
from jitprop_kernels._types import Array, Indices, Scalar
from jitprop_kernels.elementary import power, smaller
from jitprop_kernels.members import block_width, place
from jitprop_kernels.plan import N_IN, SMALLEST, Plan
from jitprop_kernels.simd import load_like, prefetch_to_write, size_of, store, sum_apart, widened

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
        sums[WHOLES * V + v] = whole if whole >= SMALLEST else 1.0


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
    stand_ins: Indices,
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
    same. ``rows`` names each one's samples, and ``stand_ins`` of each member the sample that those
    of weight 0 are replaced by, or -1, as in `network.load_batch`. Nothing is read from an empty Y.
    """
    V, width = size_of(none), block_width(none, some)
    n_inputs, n_targets = plan.layers[0, N_IN], plan.n_targets
    a, t = block * n_inputs * V, plan.targets + block * n_targets * V
    for at in range(width):
        i = place(members, lane + at % V)
        member, row = members[i], first + block + smaller(at // V, some - 1)
        if rows.size > 0:
            row = rows[i * row_step + row]
        if plan.weighted:
            weight = weights[member * weights_step + row]
            memory[plan.shares + block * V + at] = weight / sums[WHOLES * V + at % V]
            if weight == 0.0:
                row = stand_ins[i]
        counts, zero = row >= 0, type(memory[0])(0.0)
        x = member * x_step + row * n_inputs
        for k in range(n_inputs):
            memory[a + k * width + at] = X[x + k] if counts else zero
        if Y.size > 0 and plan.labels:
            label = Y[member * y_step + (row if counts else 0)]
            for k in range(n_targets):
                memory[t + k * width + at] = 1.0 if label == k else 0.0
        elif Y.size > 0:
            y = member * y_step + row * n_targets
            for k in range(n_targets):
                memory[t + k * width + at] = Y[y + k] if counts else zero
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
        error = sum_apart(error, load_like(error, sums, LOSSES * V))
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
