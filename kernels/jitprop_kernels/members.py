"""
Many small nets at once: members of a fleet in the lanes of a vector.

A group is as many nets as a vector has lanes, V: a wide vector or, of few members, a narrow one.
Each of its parameters is one vector, and so is each number of a layer's block, (units, samples,
lanes): what `lanes` does with samples is done here with members. No lane sees another, so a
member's bits depend neither on its place nor on its neighbours, nor on V.

Samples pass in blocks of SAMPLES, all layers forward and back: a unit's numbers of one block are
one vector, four of the group's side by side. A batch's last block is filled up, but for a single
sample. ``none`` is V zeros throughout: its type says what V is.
"""

from __future__ import annotations

from jitprop_kernels import codes
from jitprop_kernels._jit import jit
from jitprop_kernels._types import Array, Indices, Scalar
from jitprop_kernels.activations import activate_vectors, sigmoid
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
from jitprop_kernels.records import Outputs
from jitprop_kernels.simd import (
    folded,
    folded_product,
    four_of,
    load_like,
    size_of,
    spread,
    square_root,
    store,
    sum_apart,
)

SAMPLES = 4
"""Of a block: so many sums fit into the registers, beside what they are made of."""


@jit()
def block_width(none: Scalar, some: int) -> int:
    """How many numbers a unit has in a block of ``some`` samples, 1 to SAMPLES."""
    return (SAMPLES if some > 1 else 1) * size_of(none)


@jit()
def n_parameters(plan: Plan) -> int:
    """How many parameters a net has: its last bias is the last of them."""
    last = len(plan.layers) - 1
    n: int = plan.layers[last, BIASES] + plan.layers[last, N_OUT]
    return n


@jit()
def place(members: Indices, lane: int) -> int:
    """Which of the members is in a lane: the last fills the rest of its group."""
    return smaller(lane, members.size - 1)


@jit(apart=True)
def drop(
    none: Scalar,
    plan: Plan,
    l: int,
    memory: Array,
    some: int,
    first: int,
    width: int,
    members: Indices,
    lane: int,
    dropped: Indices,
    keys: Indices,
    updates: Indices,
    step: int,
) -> None:
    """
    As `dropout.drop`, with each member's own share of dropped units, key and updates.

    What fills the block up is like its last sample, of which there are ``some``.
    """
    T, V, n, z = type(memory[0]), size_of(none), plan.layers[l, N_OUT], plan.layers[l, OUTPUTS]
    for v in range(V):
        i = place(members, lane + v)
        share = dropped[i * (len(plan.layers) - 1) + l]
        seed = layer_seed(keys[i], l, updates[i] + step)
        kept = T(1.0 / (1.0 - share / WHOLE))
        for s in range(width // V):
            for j in range(n):
                f = factor(seed, (first + smaller(s, some - 1)) * n + j, share, kept)
                at = z + j * width + s * V + v
                memory[at] *= f
                memory[plan.slopes + at] *= f


@jit()
def forward_by(
    none: Scalar,
    like: Scalar,
    plan: Plan,
    params: Array,
    memory: Array,
    x: int,
    last: int,
    some: int,
    first: int,
    members: Indices,
    lane: int,
    dropped: Indices,
    keys: Indices,
    updates: Indices,
    step: int,
) -> None:
    """`forward` by vectors as wide as ``like``."""
    layers, L, V, width = plan.layers, len(plan.layers), size_of(none), size_of(like)
    for l in range(L):
        n_in, n_out = layers[l, N_IN], layers[l, N_OUT]
        w, b, z = layers[l, WEIGHTS] * V, layers[l, BIASES] * V, layers[l, OUTPUTS]
        a = layers[l, INPUTS] if l > 0 else x
        activation = layers[l, ACTIVATION] if l < L - 1 else last
        for j in range(n_out):
            y = spread(like, load_like(none, params, b + j * V))
            for q in range(n_in):
                weight = spread(like, load_like(none, params, w + (q * n_out + j) * V))
                y += weight * load_like(like, memory, a + q * width)
            if activation == codes.SIGMOID:  # meanwhile the next unit's product begins
                y, slope = sigmoid(y)
                store(memory, plan.slopes + z + j * width, slope)
            store(memory, z + j * width, y)
        if activation != codes.SIGMOID:
            activate_vectors(like, activation, memory, z, plan.slopes + z, n_out * width)
        if layers[l, DROPPED] > 0 and step > 0:
            drop(
                none,
                plan,
                l,
                memory,
                some,
                first,
                width,
                members,
                lane,
                dropped,
                keys,
                updates,
                step,
            )


@jit()
def forward(
    none: Scalar,
    plan: Plan,
    params: Array,
    memory: Array,
    x: int,
    last: int,
    some: int,
    first: int,
    members: Indices,
    lane: int,
    dropped: Indices,
    keys: Indices,
    updates: Indices,
    step: int,
) -> None:
    """
    From inputs at ``memory[x:]``: a and slope of every layer, of a block of ``some`` samples.

    ``last`` is the output layer's activation. The block's first sample has the place ``first`` in
    its batch. ``step`` counts the updates of this call from 1; 0 is outside of training: nothing is
    dropped.
    """
    if some > 1:
        forward_by(
            none,
            four_of(none),
            plan,
            params,
            memory,
            x,
            last,
            some,
            first,
            members,
            lane,
            dropped,
            keys,
            updates,
            step,
        )
    else:
        forward_by(
            none,
            none,
            plan,
            params,
            memory,
            x,
            last,
            some,
            first,
            members,
            lane,
            dropped,
            keys,
            updates,
            step,
        )


@jit(apart=True)
def other_deltas(plan: Plan, memory: Array, targets: int, width: int, scale: Scalar) -> None:
    """`output_delta` of the losses that `output` leaves to it."""
    last = len(plan.layers) - 1
    z, n = plan.layers[last, OUTPUTS], plan.layers[last, N_OUT]
    outputs = Outputs(z, targets, plan.errors, width, n, 1, width, n * width)
    output_delta(plan, memory, outputs, scale)


@jit()
def output(none: Scalar, plan: Plan, memory: Array, some: int, first: int, m: int) -> Scalar:
    """
    From the output layer's a and slope, or z where the loss wants it: deltas; returns the losses.

    Of a block of ``some`` samples, from the place ``first`` on in a batch of m. What fills it up
    has deltas of 0. With weights, losses and deltas come times the samples' shares.
    """
    T, V, last, width = type(none), size_of(none), len(plan.layers) - 1, block_width(none, some)
    z, n = plan.layers[last, OUTPUTS], plan.layers[last, N_OUT]
    targets, shares = plan.targets + first * plan.n_targets * V, plan.shares + first * V
    scale = 1.0 / m if plan.mean and not plan.weighted else 1.0
    squared = plan.loss == codes.HALF_SQUARED_ERROR or plan.loss == codes.SQUARED_ERROR
    squared = squared and plan.sklearn.epsilon == 0.0
    if not squared:
        other_deltas(plan, memory, targets, width, type(memory[0])(scale))
    loss, factor = none, T(0.5 if plan.loss == codes.HALF_SQUARED_ERROR else 1.0)
    for j in range(0, n * width, width):
        for s in range(0, some * V, V):
            i = j + s
            if squared:
                slope = load_like(none, memory, plan.slopes + z + i)
                target = load_like(none, memory, targets + i)
                error, delta = squared_delta(
                    load_like(none, memory, z + i), slope, target, factor, T(scale)
                )
            else:
                error = load_like(none, memory, plan.errors + i)
                delta = load_like(none, memory, plan.deltas + z + i)
            if plan.weighted:
                share = load_like(none, memory, shares + s)
                error, delta = share * error, share * delta
            store(memory, plan.deltas + z + i, delta)
            loss = sum_apart(loss, error)
        for s in range(some * V, width, V):
            store(memory, plan.deltas + z + j + s, none)
    return loss


@jit()
def change(
    plan: Plan,
    params: Array,
    slots: Array,
    i: int,
    g: Scalar,
    rate: Scalar,
    decay: Scalar,
    keep: Scalar,
) -> None:
    """
    One update of one parameter of a group, ``params[i]``, by its gradient g of the data.

    ``keep`` is the momentum. For Adam the rate carries the correction of the bias; for AdamW
    ``keep`` is what the decay leaves of p. The equations are those of `optimizers`.
    """
    T, p = type(g), load_like(g, params, i)
    if plan.optimizer == codes.SGD:
        store(params, i, (p - rate * decay * p) - rate * g)
    elif plan.optimizer == codes.MOMENTUM:
        v = keep * load_like(g, slots, i) - rate * (g + decay * p)
        store(slots, i, v)
        store(params, i, p + v)
    elif plan.optimizer == codes.NESTEROV:
        step = rate * (g + decay * p)
        v = keep * load_like(g, slots, i) - step
        store(slots, i, v)
        store(params, i, p + (keep * v - step))
    else:
        g += decay * p
        beta_1, beta_2, epsilon, _ = plan.settings
        size = n_parameters(plan) * size_of(g)
        b1, b2 = T(beta_1), T(beta_2)
        c1, c2 = T(1.0 - beta_1), T(1.0 - beta_2)
        mean = b1 * load_like(g, slots, i) + c1 * g
        square = b2 * load_like(g, slots, size + i) + c2 * (g * g)
        store(slots, i, mean)
        store(slots, size + i, square)
        root = square_root(square) + T(epsilon)
        store(params, i, keep * p - rate * mean / root)


@jit()
def learn(
    plan: Plan,
    params: Array,
    slots: Array,
    i: int,
    g: Scalar,
    memory: Array,
    begins: bool,
    ends: bool,
    rate: Scalar,
    decay: Scalar,
    keep: Scalar,
) -> None:
    """
    Take the gradient of ``params[i]`` of one block of samples: `change` it if the batch ends here.

    The sum of the blocks before stands in ``memory``, unless the batch begins here.
    """
    if not (begins and ends):
        at = plan.panels + 4 * size_of(g) + i
        if not begins:
            g += load_like(g, memory, at)
        if not ends:
            store(memory, at, g)
            return
    change(plan, params, slots, i, g, rate, decay, keep)


@jit()
def descend_by(
    none: Scalar,
    like: Scalar,
    plan: Plan,
    params: Array,
    slots: Array,
    memory: Array,
    x: int,
    begins: bool,
    ends: bool,
) -> None:
    """`descend` by vectors as wide as ``like``."""
    V, width, layers, one = size_of(none), size_of(like), plan.layers, type(none)(1.0)
    rate, decay = load_like(none, memory, plan.panels), load_like(none, memory, plan.panels + 2 * V)
    keep = keep_bias = load_like(none, memory, plan.panels + 3 * V)
    if plan.optimizer == codes.ADAM:
        keep = keep_bias = one
    elif plan.optimizer == codes.ADAMW:
        keep, keep_bias, decay = one - load_like(none, memory, plan.panels + V) * decay, one, none
    for l in range(len(layers) - 1, -1, -1):
        n_in, n_out, i = layers[l, N_IN], layers[l, N_OUT], layers[l, WEIGHTS] * V
        a, d = layers[l, INPUTS] if l > 0 else x, plan.deltas + layers[l, OUTPUTS]
        for at_a in range(a, a + n_in * width, width):
            unit, back = load_like(like, memory, at_a), spread(like, none)
            for at_d in range(d, d + n_out * width, width):
                delta = load_like(like, memory, at_d)
                if l > 0:
                    back += spread(like, load_like(none, params, i)) * delta
                g = folded_product(none, unit, delta)
                learn(plan, params, slots, i, g, memory, begins, ends, rate, decay, keep)
                i += V
            if l > 0:
                slope = load_like(like, memory, plan.slopes + at_a)
                store(memory, plan.deltas + at_a, back * slope)
        i = layers[l, BIASES] * V
        for at_d in range(d, d + n_out * width, width):
            g = folded(none, load_like(like, memory, at_d))
            learn(plan, params, slots, i, g, memory, begins, ends, rate, none, keep_bias)
            i += V


@jit()
def descend(
    none: Scalar,
    plan: Plan,
    params: Array,
    slots: Array,
    memory: Array,
    x: int,
    some: int,
    begins: bool,
    ends: bool,
) -> None:
    """
    From the output layer's deltas of a block of ``some`` samples: all deltas, and the gradient.

    With the block that ends a batch the parameters change, each as soon as nothing else reads it.
    Settings are where `set_rates` and `set_group` put them.
    """
    if some > 1:
        descend_by(none, four_of(none), plan, params, slots, memory, x, begins, ends)
    else:
        descend_by(none, none, plan, params, slots, memory, x, begins, ends)
