"""
Many small nets at once: members of a fleet in the lanes of a vector.

A group is as many nets as a wide vector has lanes. Each of its parameters is one vector, and so is
each number of a layer's block, (units, samples, lanes): what `lanes` does with samples is done here
with members. No lane sees another, so a member's bits depend neither on its place nor on its
neighbours.
"""

from __future__ import annotations

import numpy as np

from jitprop_kernels import codes, lanes
from jitprop_kernels._jit import jit
from jitprop_kernels._types import Array, Indices, Scalar
from jitprop_kernels.activations import activate
from jitprop_kernels.dropout import WHOLE, factor, layer_seed
from jitprop_kernels.elementary import power
from jitprop_kernels.losses import output_delta, softmax
from jitprop_kernels.meeting import halted, take
from jitprop_kernels.plan import (
    ACTIVATION,
    BIASES,
    DROPPED,
    INPUTS,
    N_IN,
    N_OUT,
    OUTPUTS,
    WEIGHTS,
    Plan,
)
from jitprop_kernels.simd import load_wide, splat_wide, square_root, store, wide_lanes

POWERS = 64
"""Updates after which Adam's powers of beta are computed anew: in between, each is the one before
times beta, which costs a tenth."""


@jit()
def n_parameters(plan: Plan) -> int:
    """How many parameters a net has: its last bias is the last of them."""
    last = len(plan.layers) - 1
    n: int = plan.layers[last, BIASES] + plan.layers[last, N_OUT]
    return n


@jit()
def multiply(
    params: Array,
    w: int,
    row: int,
    step: int,
    b: int,
    rows: int,
    depth: int,
    memory: Array,
    a: int,
    c: int,
    width: int,
) -> None:
    """
    C[r] <- b[r] + sum over q of W[r, q] A[q], for samples side by side in rows of ``width``.

    W[r, q] stands at ``params[w + r * row + q * step]``, b there too; with b < 0 it is 0. A and C
    stand in ``memory``.
    """
    V, none = wide_lanes(memory), splat_wide(type(memory[0])(0.0))
    whole = width // (4 * V) * (4 * V)
    for r in range(0, rows - 1, 2):  # two rows and four samples share their loads
        w0, w1, c0, c1 = w + r * row, w + (r + 1) * row, c + r * width, c + (r + 1) * width
        b0 = load_wide(params, b + r * V) if b >= 0 else none
        b1 = load_wide(params, b + (r + 1) * V) if b >= 0 else none
        for s in range(0, whole, 4 * V):
            x0 = x1 = x2 = x3 = b0
            y0 = y1 = y2 = y3 = b1
            for q in range(depth):
                i = a + q * width + s
                u, v = load_wide(params, w0 + q * step), load_wide(params, w1 + q * step)
                e0, e1 = load_wide(memory, i), load_wide(memory, i + V)
                x0 += u * e0
                x1 += u * e1
                y0 += v * e0
                y1 += v * e1
                e2, e3 = load_wide(memory, i + 2 * V), load_wide(memory, i + 3 * V)
                x2 += u * e2
                x3 += u * e3
                y2 += v * e2
                y3 += v * e3
            store(memory, c0 + s, x0)
            store(memory, c0 + s + V, x1)
            store(memory, c0 + s + 2 * V, x2)
            store(memory, c0 + s + 3 * V, x3)
            store(memory, c1 + s, y0)
            store(memory, c1 + s + V, y1)
            store(memory, c1 + s + 2 * V, y2)
            store(memory, c1 + s + 3 * V, y3)
        for s in range(whole, width, V):
            x0, y0 = b0, b1
            for q in range(depth):
                e0 = load_wide(memory, a + q * width + s)
                x0 += load_wide(params, w0 + q * step) * e0
                y0 += load_wide(params, w1 + q * step) * e0
            store(memory, c0 + s, x0)
            store(memory, c1 + s, y0)
    for r in range(rows // 2 * 2, rows):
        w0, c0 = w + r * row, c + r * width
        b0 = load_wide(params, b + r * V) if b >= 0 else none
        for s in range(0, whole, 4 * V):
            x0 = x1 = x2 = x3 = b0
            for q in range(depth):
                i, u = a + q * width + s, load_wide(params, w0 + q * step)
                x0 += u * load_wide(memory, i)
                x1 += u * load_wide(memory, i + V)
                x2 += u * load_wide(memory, i + 2 * V)
                x3 += u * load_wide(memory, i + 3 * V)
            store(memory, c0 + s, x0)
            store(memory, c0 + s + V, x1)
            store(memory, c0 + s + 2 * V, x2)
            store(memory, c0 + s + 3 * V, x3)
        for s in range(whole, width, V):
            x0 = b0
            for q in range(depth):
                x0 += load_wide(params, w0 + q * step) * load_wide(memory, a + q * width + s)
            store(memory, c0 + s, x0)


@jit()
def place(members: Indices, lane: int) -> int:
    """Which of the members is in a lane: the last fills the rest of its group."""
    return min(lane, members.size - 1)


@jit()
def drop(
    plan: Plan,
    l: int,
    memory: Array,
    z: int,
    m: int,
    members: Indices,
    lane: int,
    dropped: Indices,
    keys: Indices,
    updates: Indices,
    step: int,
) -> None:
    """As `dropout.drop`, with each member's own share of dropped units, key and updates."""
    T, V, n = type(memory[0]), wide_lanes(memory), plan.layers[l, N_OUT]
    for v in range(V):
        i = place(members, lane + v)
        share = dropped[i * (len(plan.layers) - 1) + l]
        seed = layer_seed(keys[i], l, updates[i] + step)
        kept = T(1.0 / (1.0 - share / WHOLE))
        for s in range(m):
            for j in range(n):
                f = factor(seed, s * n + j, share, kept)
                at = z + (j * m + s) * V + v
                memory[at] *= f
                memory[plan.slopes + at] *= f


@jit()
def forward(
    plan: Plan,
    params: Array,
    p: int,
    memory: Array,
    last: int,
    m: int,
    members: Indices,
    lane: int,
    dropped: Indices,
    keys: Indices,
    updates: Indices,
    step: int,
) -> None:
    """
    From inputs at ``memory[0:]``: a and slope of every layer.

    The group's parameters begin at ``params[p]``; ``last`` is the output layer's activation.
    ``step`` counts the updates of this call from 1; 0 is outside of training: nothing is dropped.
    """
    layers, L, V = plan.layers, len(plan.layers), wide_lanes(memory)
    for l in range(L):
        n_in, n_out = layers[l, N_IN], layers[l, N_OUT]
        w, b = p + layers[l, WEIGHTS] * V, p + layers[l, BIASES] * V
        a, z = layers[l, INPUTS], layers[l, OUTPUTS]
        multiply(params, w, V, n_out * V, b, n_out, n_in, memory, a, z, m * V)
        activation = layers[l, ACTIVATION] if l < L - 1 else last
        activate(activation, memory, z, plan.slopes + z, n_out * m * V)
        if plan.layers[l, DROPPED] > 0 and step > 0:
            drop(plan, l, memory, z, m, members, lane, dropped, keys, updates, step)


@jit()
def output(plan: Plan, memory: Array, m: int) -> None:
    """
    From the output layer's a and slope, or z where the loss wants it: delta and loss.

    The first lanes of the errors become each member's loss. With weights, it and the deltas come
    times the samples' shares.
    """
    T, V, last = type(memory[0]), wide_lanes(memory), len(plan.layers) - 1
    z, n, width = plan.layers[last, OUTPUTS], plan.layers[last, N_OUT], m * V
    scale = T(1.0 / m if plan.mean and not plan.weighted else 1.0)
    output_delta(plan, memory, z, plan.targets, plan.errors, width, n, 1, width, n * width, scale)
    loss = splat_wide(T(0.0))
    for j in range(0, n * width, width):
        for s in range(0, width, V):
            e, d = plan.errors + j + s, plan.deltas + z + j + s
            error = load_wide(memory, e)
            if plan.weighted:
                share = load_wide(memory, plan.shares + s)
                error = share * error
                store(memory, d, share * load_wide(memory, d))
            loss += error
    store(memory, plan.errors, loss)


@jit()
def backward(plan: Plan, params: Array, p: int, memory: Array, m: int) -> None:
    """From delta of the output layer: the deltas of all layers before."""
    V, layers = wide_lanes(memory), plan.layers
    for l in range(len(layers) - 1, 0, -1):
        n_in, n_out, w = layers[l, N_IN], layers[l, N_OUT], p + layers[l, WEIGHTS] * V
        a, d = layers[l, INPUTS], plan.deltas + layers[l, OUTPUTS]
        e = plan.deltas + a
        multiply(params, w, n_out * V, V, -1, n_in, n_out, memory, d, e, m * V)
        for i in range(n_in * m * V):
            memory[e + i] *= memory[plan.slopes + a + i]


@jit()
def change(
    plan: Plan,
    params: Array,
    slots: Array,
    size: int,
    i: int,
    at: int,
    g: Scalar,
    rate: Scalar,
    decay: Scalar,
    keep: Scalar,
) -> None:
    """
    One update of one parameter of a group, ``params[i]``, by its gradient g of the data.

    Its slots stand at ``slots[at]`` and ``size`` behind it. ``keep`` is the momentum. For Adam the
    rate carries the correction of the bias; for AdamW ``keep`` is what the decay leaves of p. The
    equations are those of `optimizers`.
    """
    T, p = type(params[0]), load_wide(params, i)
    if plan.optimizer == codes.SGD:
        store(params, i, (p - rate * decay * p) - rate * g)
    elif plan.optimizer == codes.MOMENTUM:
        v = keep * load_wide(slots, at) - rate * (g + decay * p)
        store(slots, at, v)
        store(params, i, p + v)
    elif plan.optimizer == codes.NESTEROV:
        step = rate * (g + decay * p)
        v = keep * load_wide(slots, at) - step
        store(slots, at, v)
        store(params, i, p + (keep * v - step))
    else:
        g += decay * p
        beta_1, beta_2, epsilon, _ = plan.settings
        b1, b2 = splat_wide(T(beta_1)), splat_wide(T(beta_2))
        c1, c2 = splat_wide(T(1.0 - beta_1)), splat_wide(T(1.0 - beta_2))
        mean = b1 * load_wide(slots, at) + c1 * g
        square = b2 * load_wide(slots, at + size) + c2 * (g * g)
        store(slots, at, mean)
        store(slots, at + size, square)
        root = square_root(square) + splat_wide(T(epsilon))
        store(params, i, keep * p - rate * mean / root)


@jit()
def descend(
    plan: Plan,
    params: Array,
    slots: Array,
    p: int,
    q: int,
    size: int,
    memory: Array,
    m: int,
) -> None:
    """
    Gradient and update of all parameters of a group; its slots begin at ``slots[q]``.

    Its settings are where `set_rates` and `set_group` put them.
    """
    T, V, layers = type(memory[0]), wide_lanes(memory), plan.layers
    width, whole = m * V, m // 2 * 2 * V
    rate, decay = load_wide(memory, plan.panels), load_wide(memory, plan.panels + 2 * V)
    keep = keep_bias = load_wide(memory, plan.panels + 3 * V)
    none, one = splat_wide(T(0.0)), splat_wide(T(1.0))
    if plan.optimizer == codes.ADAM:
        keep = keep_bias = one
    elif plan.optimizer == codes.ADAMW:
        keep, keep_bias, decay = one - load_wide(memory, plan.panels + V) * decay, one, none
    for l in range(len(layers)):
        n_in, n_out = layers[l, N_IN], layers[l, N_OUT]
        a, d = layers[l, INPUTS], plan.deltas + layers[l, OUTPUTS]
        i, k = p + layers[l, WEIGHTS] * V, q + layers[l, WEIGHTS] * V
        for at_a in range(a, a + n_in * width, width):
            for e in range(d, d + n_out // 2 * 2 * width, 2 * width):
                x0 = x1 = y0 = y1 = none
                for s in range(0, whole, 2 * V):
                    a0, a1 = load_wide(memory, at_a + s), load_wide(memory, at_a + s + V)
                    x0 += a0 * load_wide(memory, e + s)
                    x1 += a1 * load_wide(memory, e + s + V)
                    y0 += a0 * load_wide(memory, e + width + s)
                    y1 += a1 * load_wide(memory, e + width + s + V)
                for s in range(whole, width, V):
                    a0 = load_wide(memory, at_a + s)
                    x0 += a0 * load_wide(memory, e + s)
                    y0 += a0 * load_wide(memory, e + width + s)
                change(plan, params, slots, size, i, k, x0 + x1, rate, decay, keep)
                change(plan, params, slots, size, i + V, k + V, y0 + y1, rate, decay, keep)
                i, k = i + 2 * V, k + 2 * V
            if n_out % 2 == 1:
                e = d + (n_out - 1) * width
                x0 = x1 = none
                for s in range(0, whole, 2 * V):
                    x0 += load_wide(memory, at_a + s) * load_wide(memory, e + s)
                    x1 += load_wide(memory, at_a + s + V) * load_wide(memory, e + s + V)
                for s in range(whole, width, V):
                    x0 += load_wide(memory, at_a + s) * load_wide(memory, e + s)
                change(plan, params, slots, size, i, k, x0 + x1, rate, decay, keep)
                i, k = i + V, k + V
        i, k = p + layers[l, BIASES] * V, q + layers[l, BIASES] * V
        for e in range(d, d + n_out * width, width):
            x = none
            for s in range(0, width, V):
                x += load_wide(memory, e + s)
            change(plan, params, slots, size, i, k, x, rate, none, keep_bias)
            i, k = i + V, k + V


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
    computed anew: t alone decides, so that bits do not depend on where a call begins.
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
                due = min(due, n + base + POWERS + 1 - t)
        else:
            for v in range(V):
                powers[V + v] *= beta_1
                powers[2 * V + v] *= beta_2
        for v in range(V):
            correction = np.sqrt(1.0 - powers[2 * V + v]) / (1.0 - powers[V + v])
            rate = rates[at + place(members, lane + v)]
            memory[plan.panels + v] = rate * correction
            memory[plan.panels + V + v] = rate
    else:
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
    rates: Array,
    decays: Array,
    momenta: Array,
    dropped: Indices,
    keys: Indices,
    updates: Indices,
    start: int,
    stop: int,
    memory: Array,
    powers: Array,
    gate: Indices,
) -> None:
    """
    Train all members on batches ``start`` to ``stop``, counted through the epochs.

    Several threads may run it at once, each with its own ``memory`` and ``powers``: each takes the
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
        Each batch's summed loss is added to its epoch's.
    rates : (epochs * A,) float64 array
    decays, momenta : (A,) float64 arrays
    dropped : (A * hidden layers,) int64 array
        Of `dropout.WHOLE` units of each layer, how many are dropped.
    keys : (A,) int64 array
        For dropout.
    updates : (A,) int64 array
        How many updates of each came before.
    memory, powers : arrays
        Scratch: see `Plan`, with 4 V numbers at its ``panels``; and 3 V numbers of float64.
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
    group = take(gate)
    while group < n_groups:
        lane, due = group * V, 0
        set_group(plan, members, lane, decays, momenta, memory)
        for step in range(start, stop):
            if halted(gate):
                return
            epoch = step // n_batches
            first = (step - epoch * n_batches) * plan.batch_size
            m = min(plan.batch_size, n_samples - first)
            if step == start or not same:
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
                    powers,
                )
            n = step - start + 1
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
            at = epoch * members.size
            for v in range(min(V, members.size - lane)):
                losses[at + lane + v] += powers[v] * memory[plan.errors + v]
            backward(plan, params, group * size, memory, m)
            due = set_rates(plan, members, lane, rates, at, updates, n, due, powers, memory)
            descend(plan, params, slots, group * size, group * slot_size, size, memory, m)
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
            m = min(plan.batch_size, n_samples - first)
            load_group(
                plan,
                X,
                x_step,
                out[:0],
                0,
                out[:0],
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
            for v in range(min(V, members.size - group * V)):
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
            m = min(plan.batch_size, n_samples - first)
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
            for v in range(min(V, members.size - group * V)):
                losses[group * V + v] += wholes[v] * memory[plan.errors + v]
        group = take(gate)
