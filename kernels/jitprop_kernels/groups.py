"""
What goes into a group of members, and comes out: settings, rates, samples, losses.

A group's members share vectors, one to a lane (`members`); ``zero`` is V zeros, as there.
"""

from __future__ import annotations

from jitprop_kernels import codes
from jitprop_kernels._jit import jit
from jitprop_kernels._types import Array, Scalar
from jitprop_kernels.elementary import power, smaller
from jitprop_kernels.members import block_width, inputs_of, member_in
from jitprop_kernels.optimizers import corrected_epsilon
from jitprop_kernels.plan import N_IN, SMALLEST, Plan
from jitprop_kernels.records import Block, Group, MemberSamples
from jitprop_kernels.simd import load_like, prefetch_to_write, size_of, square_root, store, widened
from jitprop_kernels.sizes import N_SUMS

POWERS = 64
"""Updates after which Adam's powers of beta are computed anew: in between, each is the one before
times beta, which costs a tenth."""

WEIGHTS, POWERS_1, POWERS_2, LOSSES, FAULTS, DIVISORS = range(N_SUMS)
"""
What ``sums`` holds of a group, V numbers of each: what weights are divided by; for Adam beta_1**t
and beta_2**t; an epoch's loss so far; nan once one was not finite; what losses are divided by.
"""

AHEAD = 4
"""Epochs whose losses are asked for ahead: each has pages of its own, which are new memory."""


@jit(apart=True)
def set_group(zero: Scalar, plan: Plan, group: Group, divisors: Array) -> None:
    """Write what is of a group's members to where `backward` and `put_losses` read it."""
    V, settings, memory, sums = size_of(zero), group.settings, group.memory, group.sums
    for v in range(V):
        i = member_in(group.lane + v, divisors.size)
        memory[plan.panels + 2 * V + v] = settings.decays[i]
        memory[plan.panels + 3 * V + v] = settings.momenta[i]
        sums[FAULTS * V + v] = 0.0
        sums[DIVISORS * V + v] = divisors[i]


@jit(apart=True)
def set_rates(
    zero: Scalar, plan: Plan, group: Group, rates: Array, at: int, constant: bool, n: int
) -> None:
    """
    Write each member's rate to where `backward` reads it.

    For Adam the rate is corrected, the plain one stands behind it, and epsilon in the place of the
    momentum.

    For the n-th update of this call, n = 1, 2, ..., which is update t = ``updates`` + n of each. t
    alone decides when powers of beta are computed anew, so that bits do not depend on where a call
    begins. Of all other optimizers, rates that are ``constant`` are written once.
    """
    V, memory, sums, updates = size_of(zero), group.memory, group.sums, group.settings.updates
    beta_1, beta_2, _, _ = plan.settings
    if plan.optimizer == codes.ADAM or plan.optimizer == codes.ADAMW:
        for v in range(V):
            i, p1, p2 = member_in(group.lane + v, updates.size), POWERS_1 * V + v, POWERS_2 * V + v
            t = updates[i] + n
            if n == 1 or t % POWERS == 1:
                base = (t - 1) // POWERS * POWERS
                sums[p1], sums[p2] = power(beta_1, base), power(beta_2, base)
                for _ in range(base + 1, t):
                    sums[p1] *= beta_1
                    sums[p2] *= beta_2
            sums[p1] *= beta_1
            sums[p2] *= beta_2
            root = square_root(1.0 - sums[p2])
            memory[plan.panels + v] = rates[at + i] * root / (1.0 - sums[p1])
            memory[plan.panels + V + v] = rates[at + i]
            memory[plan.panels + 3 * V + v] = corrected_epsilon(plan.settings, root)
    elif n == 1 or not constant:
        for v in range(V):
            memory[plan.panels + v] = rates[at + member_in(group.lane + v, updates.size)]


@jit(apart=True)
def set_weight_sums(
    zero: Scalar, plan: Plan, samples: MemberSamples, group: Group, begin: int, m: int
) -> None:
    """As `network.sum_of_weights`, of a batch of m samples of each of a group's members."""
    members, rows, weights = samples.members, samples.rows, samples.weights
    V, row_step = size_of(zero), rows.size // members.size
    for v in range(V):
        i = member_in(group.lane + v, members.size)
        member, weight_sum = members[i], 0.0
        if plan.weighted and plan.mean:
            for row in range(begin, begin + m):
                sample = rows[i * row_step + row] if rows.size > 0 else row
                weight_sum += weights[member * samples.weights_step + sample]
        group.sums[WEIGHTS * V + v] = weight_sum if weight_sum >= SMALLEST else 1.0


@jit(apart=True)
def load_block(
    zero: Scalar, plan: Plan, samples: MemberSamples, group: Group, block: Block
) -> None:
    """
    Copy the inputs, targets and shares of one block of samples, of each of a group's members.

    Samples of weight 0 are replaced as in `network.load_batch`. Nothing is read from an empty Y.
    """
    X, Y, weights, memory, sums = samples.X, samples.Y, samples.weights, group.memory, group.sums
    members, rows, first, size = samples.members, samples.rows, block.first, block.size
    X_step, Y_step, weights_step = samples.X_step, samples.Y_step, samples.weights_step
    row_step = rows.size // members.size
    V, width = size_of(zero), block_width(zero, block)
    n_inputs, n_targets = plan.layers[0, N_IN], plan.n_targets
    a, t = inputs_of(zero, plan, block), plan.targets + first * n_targets * V
    for at in range(width):
        i = member_in(group.lane + at % V, members.size)
        member, row = members[i], block.begin + first + smaller(at // V, size - 1)
        if rows.size > 0:
            row = rows[i * row_step + row]
        if plan.weighted:
            weight = weights[member * weights_step + row]
            memory[plan.shares + first * V + at] = weight / sums[WEIGHTS * V + at % V]
            if weight == 0.0:
                row = samples.stand_ins[i]
        counts, nothing = row >= 0, type(memory[0])(0.0)
        x = member * X_step + row * n_inputs
        for k in range(n_inputs):
            memory[a + k * width + at] = X[x + k] if counts else nothing
        if Y.size > 0 and plan.labels:
            label = Y[member * Y_step + (row if counts else 0)]
            for k in range(n_targets):
                memory[t + k * width + at] = 1.0 if label == k else 0.0
        elif Y.size > 0:
            y = member * Y_step + row * n_targets
            for k in range(n_targets):
                memory[t + k * width + at] = Y[y + k] if counts else nothing
    if Y.size > 0 and plan.gain != 1.0:
        T = type(memory[0])
        for i in range(t, t + n_targets * width):
            memory[i] = T(plan.gain) * memory[i] + T(plan.offset)


@jit()
def add_losses(loss: Scalar, sums: Array, begins: bool) -> None:
    """Add each member's loss of a batch, from `output`, to its epoch's."""
    V, error = size_of(loss), widened(loss)
    error = error * load_like(error, sums, WEIGHTS * V)
    if not begins:
        error += load_like(error, sums, LOSSES * V)
    store(sums, LOSSES * V, error)


@jit()
def put_losses(
    zero: Scalar, sums: Array, lane: int, n_members: int, losses: Array, epoch: int
) -> None:
    """Write an epoch's losses of a group, and note whether all were finite. ``zero`` is V zeros."""
    at = epoch * n_members
    V, ahead = size_of(zero), at + AHEAD * n_members + lane
    if ahead + V <= losses.size:
        prefetch_to_write(losses, ahead)
        prefetch_to_write(losses, ahead + V - 1)
    loss = load_like(zero, sums, LOSSES * V) / load_like(zero, sums, DIVISORS * V)
    if lane + V <= n_members:
        store(losses, at + lane, loss)
    else:
        for v in range(n_members - lane):
            losses[at + lane + v] = sums[LOSSES * V + v] / sums[DIVISORS * V + v]
    store(sums, FAULTS * V, load_like(zero, sums, FAULTS * V) + zero * loss)
