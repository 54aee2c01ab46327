"""
Many small nets at once: members of a fleet in the lanes of a vector.

A group is as many nets as a vector has lanes, V: a wide vector or, of few members, a narrow one.
Each of its parameters is one vector, and so is each number of a layer's block, (units, samples,
lanes): what `lanes` does with samples is done here with members. No lane sees another, so a
member's bits depend neither on its place nor on its neighbours, nor on V.

Samples pass in blocks of SAMPLES, all layers forward and back: a unit's numbers of one block are
one vector, four of the group's side by side. A batch's last block is filled up, but for a single
sample. ``zero`` is V zeros throughout: its type says what V is.
"""

from __future__ import annotations

from jitprop_kernels import codes
from jitprop_kernels._jit import jit
from jitprop_kernels._types import Array, Scalar
from jitprop_kernels.activations import activate_by, sigmoid
from jitprop_kernels.dropout import WHOLE, factor, layer_seed
from jitprop_kernels.elementary import smaller
from jitprop_kernels.losses import output_delta, squared_delta
from jitprop_kernels.optimizers import adam_step, momentum_step, run_below, velocity_rates
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
from jitprop_kernels.records import Block, Group, GroupUpdate, Outputs, Run
from jitprop_kernels.simd import (
    fma,
    folded,
    folded_product,
    four_of,
    load_like,
    size_of,
    spread,
    store,
)
from jitprop_kernels.sizes import SAMPLES


@jit()
def block_width(zero: Scalar, block: Block) -> int:
    """How many numbers a unit has in a block, for 1 to SAMPLES samples."""
    return (SAMPLES if block.size > 1 else 1) * size_of(zero)


@jit()
def n_parameters(plan: Plan) -> int:
    """How many parameters a net has: its last bias is the last of them."""
    last = len(plan.layers) - 1
    n: int = plan.layers[last, BIASES] + plan.layers[last, N_OUT]
    return n


@jit()
def inputs_of(zero: Scalar, plan: Plan, block: Block) -> int:
    """Where the inputs of a block stand."""
    n_inputs: int = plan.layers[0, N_IN]
    return block.first * n_inputs * size_of(zero)


@jit()
def member_in(lane: int, n_members: int) -> int:
    """Which of the members is in a lane: the last fills the rest of its group."""
    return smaller(lane, n_members - 1)


@jit(apart=True)
def drop(
    zero: Scalar, plan: Plan, l: int, group: Group, block: Block, width: int, step: int
) -> None:
    """
    As `dropout.drop`, with each member's own share of dropped units, key and updates.

    What fills the block up is like its last sample.
    """
    settings, memory = group.settings, group.memory
    T, V, n, z = type(memory[0]), size_of(zero), plan.layers[l, N_OUT], plan.layers[l, OUTPUTS]
    for v in range(V):
        i = member_in(group.lane + v, settings.keys.size)
        dropped = settings.dropped[i * (len(plan.layers) - 1) + l]
        seed = layer_seed(settings.keys[i], l, settings.updates[i] + step)
        kept = T(1.0 / (1.0 - dropped / WHOLE))
        for s in range(width // V):
            for j in range(n):
                sample = block.first + smaller(s, block.size - 1)
                f = factor(seed, sample * n + j, dropped, kept)
                at = z + j * width + s * V + v
                memory[at] *= f
                memory[plan.slopes + at] *= f


@jit()
def forward_by(
    zero: Scalar, like: Scalar, plan: Plan, group: Group, block: Block, last: int, step: int
) -> None:
    """`forward` by vectors as wide as ``like``."""
    layers, L, V, width = plan.layers, len(plan.layers), size_of(zero), size_of(like)
    params, memory, x = group.params, group.memory, inputs_of(zero, plan, block)
    for l in range(L):
        n_in, n_out = layers[l, N_IN], layers[l, N_OUT]
        w, b, z = layers[l, WEIGHTS] * V, layers[l, BIASES] * V, layers[l, OUTPUTS]
        a = layers[l, INPUTS] if l > 0 else x
        activation = layers[l, ACTIVATION] if l < L - 1 else last
        for j in range(n_out):
            y = spread(like, load_like(zero, params, b + j * V))
            for q in range(n_in):
                weight = spread(like, load_like(zero, params, w + (q * n_out + j) * V))
                y = fma(weight, load_like(like, memory, a + q * width), y)
            if activation == codes.SIGMOID:  # meanwhile the next unit's product begins
                y, slope = sigmoid(y)
                store(memory, plan.slopes + z + j * width, slope)
            store(memory, z + j * width, y)
        if activation != codes.SIGMOID:
            number = plan.numbers[l]
            activate_by(like, activation, number, memory, z, plan.slopes + z, n_out * width)
        if layers[l, DROPPED] > 0 and step > 0:
            drop(zero, plan, l, group, block, width, step)


@jit()
def forward(zero: Scalar, plan: Plan, group: Group, block: Block, last: int, step: int) -> None:
    """
    From the inputs of a block: a and slope of every layer.

    ``last`` is the output layer's activation. ``step`` counts the updates of this call from 1; 0 is
    outside of training: nothing is dropped.
    """
    if block.size > 1:
        forward_by(zero, four_of(zero), plan, group, block, last, step)
    else:
        forward_by(zero, zero, plan, group, block, last, step)


@jit(apart=True)
def other_deltas(plan: Plan, memory: Array, targets: int, width: int, scale: Scalar) -> None:
    """`output_delta` of the losses that `output` leaves to it."""
    last = len(plan.layers) - 1
    z, n = plan.layers[last, OUTPUTS], plan.layers[last, N_OUT]
    outputs = Outputs(z, targets, plan.errors, width, n, 1, width, n * width)
    output_delta(plan, memory, outputs, scale)


@jit()
def output(zero: Scalar, plan: Plan, memory: Array, block: Block, m: int) -> Scalar:
    """
    From the output layer's a and slope, or z where the loss wants it: deltas; returns the losses.

    Of a block of a batch of m samples. What fills it up has deltas of 0. With weights, losses and
    deltas come times the samples' shares.
    """
    first, size = block.first, block.size
    T, V, last, width = type(zero), size_of(zero), len(plan.layers) - 1, block_width(zero, block)
    z, n = plan.layers[last, OUTPUTS], plan.layers[last, N_OUT]
    targets, shares = plan.targets + first * plan.n_targets * V, plan.shares + first * V
    scale = 1.0 / m if plan.mean and not plan.weighted else 1.0
    squared = plan.loss == codes.HALF_SQUARED_ERROR or plan.loss == codes.SQUARED_ERROR
    squared = squared and plan.sklearn.epsilon == 0.0
    if not squared:
        other_deltas(plan, memory, targets, width, type(memory[0])(scale))
    loss, factor = zero, T(0.5 if plan.loss == codes.HALF_SQUARED_ERROR else 1.0)
    for j in range(0, n * width, width):
        for s in range(0, size * V, V):
            i = j + s
            if squared:
                slope = load_like(zero, memory, plan.slopes + z + i)
                target = load_like(zero, memory, targets + i)
                error, delta = squared_delta(
                    load_like(zero, memory, z + i), slope, target, factor, T(scale)
                )
            else:
                error = load_like(zero, memory, plan.errors + i)
                delta = load_like(zero, memory, plan.deltas + z + i)
            if plan.weighted:
                share = load_like(zero, memory, shares + s)
                error, delta = share * error, share * delta
            store(memory, plan.deltas + z + i, delta)
            loss += error
        for s in range(size * V, width, V):
            store(memory, plan.deltas + z + j + s, zero)
    return loss


@jit()
def update(plan: Plan, params: Array, slots: Array, i: int, g: Scalar, change: GroupUpdate) -> None:
    """
    One update of one parameter of a group, ``params[i]``, by its gradient g of the data.

    ``keep`` of the change is the momentum. For Adam the rate carries the correction of the bias;
    for AdamW ``keep`` is what the decay leaves of p.
    """
    rate, decay, keep = change.rate, change.decay, change.keep
    p = load_like(g, params, i)
    if plan.optimizer == codes.SGD:
        store(params, i, fma(-rate, g, fma(-rate * decay, p, p)))
    elif plan.optimizer == codes.MOMENTUM or plan.optimizer == codes.NESTEROV:
        v = load_like(g, slots, i)
        nesterov = plan.optimizer == codes.NESTEROV
        inner, outer = velocity_rates(plan, rate)
        p, v = momentum_step(p, v, fma(decay, p, g), inner, outer, keep, nesterov)
        store(slots, i, v)
        store(params, i, p)
    else:
        size = n_parameters(plan) * size_of(g)
        mean, square = load_like(g, slots, i), load_like(g, slots, size + i)
        g, epsilon = fma(decay, p, g), change.epsilon
        p, mean, square = adam_step(p, mean, square, g, rate, keep, epsilon, plan.settings)
        store(slots, i, mean)
        store(slots, size + i, square)
        store(params, i, p)


@jit()
def add_gradient(
    plan: Plan,
    params: Array,
    slots: Array,
    memory: Array,
    i: int,
    g: Scalar,
    change: GroupUpdate,
) -> None:
    """
    Take the gradient of ``params[i]`` of one block of samples: `update` it if the batch ends here.

    The sum of the blocks before stands in ``memory``, unless the batch begins here.
    """
    if not (change.begins and change.ends):
        at = plan.panels + 4 * size_of(g) + i
        if not change.begins:
            g += load_like(g, memory, at)
        if not change.ends:
            store(memory, at, g)
            return
    update(plan, params, slots, i, g, change)


@jit()
def backward_by(
    zero: Scalar, like: Scalar, plan: Plan, group: Group, block: Block, m: int, run: Run
) -> None:
    """`backward` of some layers by vectors as wide as ``like``."""
    V, width, layers, T = size_of(zero), size_of(like), plan.layers, type(zero)
    params, slots, memory = group.params, group.slots, group.memory
    x, begins, ends = inputs_of(zero, plan, block), block.first == 0, block.first + block.size == m
    # A batch that never ends changes nothing.
    end, end_bias = ends and run.factor != 0.0, ends and run.factor_bias != 0.0
    plain, decay = (
        load_like(zero, memory, plan.panels),
        load_like(zero, memory, plan.panels + 2 * V),
    )
    rate, rate_bias = T(run.factor) * plain, T(run.factor_bias) * plain
    keep = keep_bias = epsilon = load_like(zero, memory, plan.panels + 3 * V)
    if plan.optimizer == codes.ADAM:
        keep = keep_bias = T(1.0)
    elif plan.optimizer == codes.ADAMW:
        uncorrected = T(run.factor) * load_like(zero, memory, plan.panels + V)
        keep, keep_bias = T(1.0) - uncorrected * decay, T(1.0)
        if plan.decay_biases:
            uncorrected = T(run.factor_bias) * load_like(zero, memory, plan.panels + V)
            keep_bias = T(1.0) - uncorrected * decay
        decay = zero
    decay_bias = decay if plan.decay_biases else zero
    of_weights = GroupUpdate(rate, decay, keep, epsilon, begins, end)
    of_biases = GroupUpdate(rate_bias, decay_bias, keep_bias, epsilon, begins, end_bias)
    for l in range(run.last, run.first - 1, -1):
        n_in, n_out, i = layers[l, N_IN], layers[l, N_OUT], layers[l, WEIGHTS] * V
        a, d = layers[l, INPUTS] if l > 0 else x, plan.deltas + layers[l, OUTPUTS]
        for at_a in range(a, a + n_in * width, width):
            unit, back = load_like(like, memory, at_a), spread(like, zero)
            for at_d in range(d, d + n_out * width, width):
                delta = load_like(like, memory, at_d)
                if l > 0:
                    back = fma(spread(like, load_like(zero, params, i)), delta, back)
                g = folded_product(zero, unit, delta)
                add_gradient(plan, params, slots, memory, i, g, of_weights)
                i += V
            if l > 0:
                slope = load_like(like, memory, plan.slopes + at_a)
                store(memory, plan.deltas + at_a, back * slope)
        i = layers[l, BIASES] * V
        for at_d in range(d, d + n_out * width, width):
            g = folded(zero, load_like(like, memory, at_d))
            add_gradient(plan, params, slots, memory, i, g, of_biases)
            i += V


@jit()
def backward(zero: Scalar, plan: Plan, group: Group, block: Block, m: int) -> None:
    """
    From the output layer's deltas of a block: all deltas, and the gradient.

    With the block that ends a batch of m the parameters change, each as soon as nothing else reads
    it. Settings are where `set_rates` and `set_group` put them.
    """
    last = len(plan.layers) - 1
    while last >= 0:
        run = run_below(plan, last)
        if block.size > 1:
            backward_by(zero, four_of(zero), plan, group, block, m, run)
        else:
            backward_by(zero, zero, plan, group, block, m, run)
        last = run.first - 1
