"""
Many small nets at once: members of a fleet in the lanes of a vector.

A group is as many nets as a wide vector has lanes. Each of its parameters is one vector, and so is
each number of a layer's block, (units, samples, lanes): what `lanes` does with samples is done here
with members. No lane sees another, so a member's bits depend neither on its place nor on its
neighbours.
"""

from __future__ import annotations

from jitprop_kernels import codes
from jitprop_kernels._jit import jit
from jitprop_kernels._types import Array, Indices, Scalar
from jitprop_kernels.activations import activate_vectors
from jitprop_kernels.dropout import WHOLE, factor, layer_seed
from jitprop_kernels.elementary import smaller
from jitprop_kernels.losses import output_delta, squared_delta
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
    f: int,
) -> None:
    """
    C[r] <- b[r] + sum over q of W[r, q] A[q], for samples side by side in rows of ``width``.

    W[r, q] stands at ``params[w + r * row + q * step]``, b there too; with b < 0 it is 0. A and C
    stand in ``memory``. C comes times what is at ``f`` there; with f < 0 times nothing.
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
            if f >= 0:
                i, k = f + r * width + s, f + (r + 1) * width + s
                x0 = x0 * load_wide(memory, i)
                x1 = x1 * load_wide(memory, i + V)
                x2 = x2 * load_wide(memory, i + 2 * V)
                x3 = x3 * load_wide(memory, i + 3 * V)
                y0 = y0 * load_wide(memory, k)
                y1 = y1 * load_wide(memory, k + V)
                y2 = y2 * load_wide(memory, k + 2 * V)
                y3 = y3 * load_wide(memory, k + 3 * V)
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
            if f >= 0:
                x0 = x0 * load_wide(memory, f + r * width + s)
                y0 = y0 * load_wide(memory, f + (r + 1) * width + s)
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
            if f >= 0:
                i = f + r * width + s
                x0 = x0 * load_wide(memory, i)
                x1 = x1 * load_wide(memory, i + V)
                x2 = x2 * load_wide(memory, i + 2 * V)
                x3 = x3 * load_wide(memory, i + 3 * V)
            store(memory, c0 + s, x0)
            store(memory, c0 + s + V, x1)
            store(memory, c0 + s + 2 * V, x2)
            store(memory, c0 + s + 3 * V, x3)
        for s in range(whole, width, V):
            x0 = b0
            for q in range(depth):
                x0 += load_wide(params, w0 + q * step) * load_wide(memory, a + q * width + s)
            if f >= 0:
                x0 = x0 * load_wide(memory, f + r * width + s)
            store(memory, c0 + s, x0)


@jit()
def place(members: Indices, lane: int) -> int:
    """Which of the members is in a lane: the last fills the rest of its group."""
    return smaller(lane, members.size - 1)


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
        multiply(params, w, V, n_out * V, b, n_out, n_in, memory, a, z, m * V, -1)
        activation = layers[l, ACTIVATION] if l < L - 1 else last
        like = splat_wide(type(memory[0])(0.0))
        activate_vectors(like, activation, memory, z, plan.slopes + z, n_out * m * V)
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
    squared = plan.loss == codes.HALF_SQUARED_ERROR or plan.loss == codes.SQUARED_ERROR
    squared = squared and plan.epsilon == 0.0
    if not squared:
        targets, errors = plan.targets, plan.errors
        output_delta(plan, memory, z, targets, errors, width, n, 1, width, n * width, scale)
    loss, scales = splat_wide(T(0.0)), splat_wide(scale)
    factor = splat_wide(T(0.5) if plan.loss == codes.HALF_SQUARED_ERROR else T(1.0))
    for j in range(0, n * width, width):
        for s in range(0, width, V):
            i = j + s
            if squared:
                slope = load_wide(memory, plan.slopes + z + i)
                target = load_wide(memory, plan.targets + i)
                error, delta = squared_delta(
                    load_wide(memory, z + i), slope, target, factor, scales
                )
            else:
                error = load_wide(memory, plan.errors + i)
                delta = load_wide(memory, plan.deltas + z + i)
            if plan.weighted:
                share = load_wide(memory, plan.shares + s)
                error, delta = share * error, share * delta
            store(memory, plan.deltas + z + i, delta)
            loss += error
    store(memory, plan.errors, loss)


@jit()
def backward(plan: Plan, params: Array, p: int, memory: Array, m: int) -> None:
    """From delta of the output layer: the deltas of all layers before."""
    V, layers = wide_lanes(memory), plan.layers
    for l in range(len(layers) - 1, 0, -1):
        n_in, n_out, w = layers[l, N_IN], layers[l, N_OUT], p + layers[l, WEIGHTS] * V
        a, d = layers[l, INPUTS], plan.deltas + layers[l, OUTPUTS]
        e, f = plan.deltas + a, plan.slopes + a
        multiply(params, w, n_out * V, V, -1, n_in, n_out, memory, d, e, m * V, f)


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
