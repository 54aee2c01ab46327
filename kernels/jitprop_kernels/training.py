"""The loop over batches and epochs, in which several threads may work together."""

from __future__ import annotations

import numpy as np

from jitprop_kernels import blocks, codes, lanes
from jitprop_kernels._jit import jit
from jitprop_kernels._types import BLOCKS, LANES, Array, Route
from jitprop_kernels.elementary import smaller
from jitprop_kernels.losses import total
from jitprop_kernels.meeting import agree, halted, meet, take
from jitprop_kernels.network import (
    add_gradients,
    all_finite,
    are_refused,
    load_batch,
    loss_of,
    pack_weights,
    padded,
    sum_of_weights,
)
from jitprop_kernels.optimizers import (
    change_of,
    end_of_decay,
    run_below,
    sum_of_squares,
    times,
    update,
)
from jitprop_kernels.plan import BIASES, N_IN, N_OUT, WEIGHTS, Plan
from jitprop_kernels.records import Batch, Part, Run, Samples, Seat, Sink, Update, Work
from jitprop_kernels.scales import begin_scales, update_scaled
from jitprop_kernels.simd import square_root
from jitprop_kernels.sizes import (
    AGREED,
    DEPTH,
    REACH,
    RUNNING,
    SQUARES_PIECE,
    TAKEN,
    TILE,
)

SPAN = 1024
"""Rows of weights that are updated before a look whether to leave, a multiple of TILE: with 8,000
columns and DEPTH samples 40 ms. Deltas are packed again for each: of the work, 1 / SPAN."""


@jit()
def share(n: int, size: int, rank: int, ranks: int) -> tuple[int, int]:
    """Of n things in tiles of ``size``, the range that falls to this thread."""
    tiles = (n + size - 1) // size
    low, high = tiles * rank // ranks * size, tiles * (rank + 1) // ranks * size
    return low if low < n else n, high if high < n else n


@jit()
def batch_of(plan: Plan, samples: Samples, step: int) -> Batch:
    """Number ``step`` of the batches, counted through the epochs."""
    n_samples = samples.X.size // plan.layers[0, N_IN]
    n_batches = (n_samples + plan.batch_size - 1) // plan.batch_size
    epoch = step // n_batches
    first = (step - epoch * n_batches) * plan.batch_size
    size = smaller(plan.batch_size, n_samples - first)
    begin = first + (epoch * n_samples if samples.rows.size > 0 else 0)
    return Batch(epoch, first, begin, size)


@jit()
def always_same(plan: Plan, samples: Samples) -> bool:
    """Whether every step sees the same batch, which then is loaded once."""
    return plan.batch_size * plan.layers[0, N_IN] >= samples.X.size and samples.rows.size == 0


@jit()
def reads_in_place(plan: Plan, samples: Samples) -> bool:
    """Whether products read X itself: in its order, and no sample is replaced by zeros."""
    return samples.rows.size == 0 and not plan.weighted


@jit()
def part_of(plan: Plan, work: Work, batch: Batch, t: int) -> Part:
    """All samples of a batch."""
    samples, in_place = work.samples, reads_in_place(plan, work.samples)
    return Part(
        first=batch.begin,
        position=0,
        skip=0,
        size=batch.size,
        batch_size=batch.size,
        t=t,
        inputs=samples.X if in_place else work.memory,
        at=batch.first * plan.layers[0, N_IN] if in_place else 0,
        memory=work.memory,
    )


@jit()
def portion(part: Part, skip: int, size: int) -> Part:
    """Some of its samples, where they are."""
    return Part(
        first=part.first + skip,
        position=part.position + skip,
        skip=part.skip + skip,
        size=size,
        batch_size=part.batch_size,
        t=part.t,
        inputs=part.inputs,
        at=part.at,
        memory=part.memory,
    )


@jit()
def portion_to_front(plan: Plan, part: Part, skip: int, size: int, in_place: bool) -> Part:
    """Some of its samples, which go to the beginning of the blocks."""
    return Part(
        first=part.first + skip,
        position=part.position + skip,
        skip=0,
        size=size,
        batch_size=part.batch_size,
        t=part.t,
        inputs=part.inputs,
        at=part.at + (skip * plan.layers[0, N_IN] if in_place else 0),
        memory=part.memory,
    )


@jit()
def is_fused(plan: Plan) -> bool:
    """Whether gradient and update are one product: plain SGD, of a gradient as it comes."""
    return plan.optimizer == codes.SGD and plan.clip_norm == 0.0 and plan.scale_rows == 0


@jit()
def decay_of(plan: Plan, weight_sum: float, m: int) -> float:
    """What a batch of m samples adds of W to its gradient."""
    return plan.weight_decay + plan.sklearn.l2 / (weight_sum if plan.weighted else float(m))


@jit()
def penalty_of(plan: Plan, params: Array, factor: float) -> float:
    """``factor`` times the sum of squares of all parameters that decay."""
    if factor == 0.0:  # 0 times inf would be nan
        return 0.0
    squares = 0.0
    for l in range(len(plan.layers)):
        squares += sum_of_squares(params, plan.layers[l, WEIGHTS], end_of_decay(plan, l))
    return factor * squares


@jit()
def objective_penalty(plan: Plan, params: Array, decay: float) -> float:
    """What weight decay adds to the objective. Only Rprop+ asks for it; else 0."""
    return penalty_of(plan, params, 0.5 * decay if plan.optimizer == codes.RPROP_PLUS else 0.0)


@jit()
def objective_before(plan: Plan, work: Work) -> float:
    """
    The objective of the update before, which Rprop+ keeps behind its other slots.

    Other optimizers have inf: nothing rises above it.
    """
    plus = plan.optimizer == codes.RPROP_PLUS
    return np.float64(work.slots[2 * work.params.size]) if plus else np.inf


@jit()
def objective_of(
    plan: Plan, work: Work, loss: float, penalty: float, weight_sum: float, m: int
) -> float:
    """What a batch's summed ``loss`` and the ``penalty`` make, as the slots can hold it."""
    divisor = 1.0
    if plan.mean:
        divisor = weight_sum if plan.weighted else float(m)
    return np.float64(type(work.params[0])(loss / divisor + penalty))


@jit()
def keep_objective(plan: Plan, work: Work, objective: float) -> None:
    """Keep it for the next update, if the optimizer is Rprop+."""
    if plan.optimizer == codes.RPROP_PLUS:
        work.slots[2 * work.params.size] = objective


@jit()
def counted(plan: Plan, loss: float, weight_sum: float, m: int) -> float:
    """As what the summed loss of a batch counts in its epoch's."""
    by_samples = plan.sklearn.batches_by_size and plan.weighted
    return loss * (m / weight_sum) if by_samples else loss


@jit()
def is_wanted(plan: Plan, factor: float) -> bool:
    """Whether the gradient of parameters whose rate has this factor may be used."""
    return factor != 0.0 or plan.clip_norm > 0.0 or plan.scale_rows > 0


@jit()
def sink_of(plan: Plan, run: Run, fused: bool, array: Array, rate: float, decay: float) -> Sink:
    """
    Where the gradient of some layers goes: to the gradients; or, where both are one product, to W.

    Plain SGD: W <- (1 - rate decay) W - rate A^T delta, with no gradient in between.
    """
    if fused:
        of_weights, of_biases = rate * run.factor, rate * run.factor_bias
        kept = 1.0 - of_biases * decay if plan.decay_biases else 1.0
        return Sink(array, 0, -of_weights, 1.0 - of_weights * decay, -of_biases, kept)
    return Sink(array, 0, 1.0, 0.0, 1.0, 0.0)


@jit()
def train_lanes(plan: Plan, work: Work, start: int, stop: int, updates: int) -> int:
    """`train` on the lanes route, where a batch is too little work for two threads."""
    samples, params, memory = work.samples, work.params, work.memory
    losses, rates = work.losses, work.rates
    same, last = always_same(plan, samples), lanes.output_activation(plan)
    fused, gradients = is_fused(plan), work.gradients
    target, by_update = params if fused else gradients, rates.size > losses.size
    step = start
    while step < stop:
        batch = batch_of(plan, samples, step)
        epoch, m = batch.epoch, batch.size
        weight_sum = sum_of_weights(plan, samples, batch.begin, m)
        load_batch(plan, LANES, samples, part_of(plan, work, batch, 0), weight_sum, False)
        width = padded(LANES, memory, m)
        decay = decay_of(plan, weight_sum, m)
        end = stop if same else step + 1
        # Loading is left outside: LLVM computes before a loop what does not change in it.
        for i in range(step, end):
            t = updates + i - start + 1
            lanes.forward(plan, params, memory, last, m, width, t)
            loss = weight_sum * lanes.output(plan, memory, m, width, m)
            if not np.isfinite(loss):
                return i
            penalty = objective_penalty(plan, params, decay)
            objective = objective_of(plan, work, loss, penalty, weight_sum, m)
            rose = objective > objective_before(plan, work)
            keep_objective(plan, work, objective)
            loss += penalty_of(plan, params, plan.sklearn.reported_l2)
            losses[i if same else epoch] += counted(plan, loss, weight_sum, m)
            rate = rates[i if same or by_update else epoch]
            lanes.backward(plan, params, memory, width)
            top = len(plan.layers) - 1
            while top >= 0:
                run = run_below(plan, top)
                sink = sink_of(plan, run, fused, target, rate, decay)
                for l in range(run.first, run.last + 1):
                    if is_wanted(plan, run.factor):
                        lanes.weight_gradient(plan, l, memory, width, sink)
                    if is_wanted(plan, run.factor_bias):
                        lanes.bias_gradient(plan, l, memory, width, sink)
                top = run.first - 1
            if not fused:
                factor = 1.0
                if plan.clip_norm > 0.0:
                    factor = clipping(plan, sum_of_squares(gradients, 0, params.size))
                change = change_of(plan, rate, decay, t, rose)
                update_all(plan, work, times(change, factor), 0, 1)
        step = end
    return stop


@jit(apart=True)
def clipping(plan: Plan, squares: float) -> float:
    """min(1, clip_norm / norm): what a gradient with these squares shall be multiplied by."""
    norm = square_root(squares)
    return 1.0 if norm <= plan.clip_norm else plan.clip_norm / norm  # nan stays


@jit(apart=True)
def shared_clipping(plan: Plan, work: Work, seat: Seat) -> float:
    """`clipping` of the gradient, which is there; threads meet in it, with squares of a share."""
    if plan.clip_norm == 0.0:
        return 1.0
    parts, n_parameters = work.parts, work.params.size
    pieces = (n_parameters + SQUARES_PIECE - 1) // SQUARES_PIECE
    low, high = share(pieces, 1, seat.rank, seat.ranks)
    for piece in range(low, high):
        stop = smaller(n_parameters, (piece + 1) * SQUARES_PIECE)
        parts[plan.squares + piece] = sum_of_squares(work.gradients, piece * SQUARES_PIECE, stop)
    meet(seat.gate, seat.ranks)
    squares = 0.0
    for piece in range(plan.squares, plan.squares + pieces):
        squares += parts[piece]
    return clipping(plan, squares)


@jit()
def update_all(plan: Plan, work: Work, change: Update, rank: int, ranks: int) -> None:
    """Update this thread's share of the parameters, from their gradient."""
    first = 0
    if plan.scale_rows > 0:
        low, high = share(plan.layers[0, N_IN], 1, rank, ranks)
        update_scaled(plan, work, low, high, change)
        first = 1
    for part in range(first, 2 * len(plan.layers)):  # one call of `update`, which is long
        l, of_weights = part // 2, part % 2 == 0
        n_in, n_out = plan.layers[l, N_IN], plan.layers[l, N_OUT]
        start = plan.layers[l, WEIGHTS] if of_weights else plan.layers[l, BIASES]
        low, high = share(n_in * n_out if of_weights else n_out, 1, rank, ranks)
        update(plan, work, start + low, start + high, change, part)


@jit()
def compute_chunks(plan: Plan, work: Work, seat: Seat, batch: Part, weight_sum: float) -> None:
    """
    Chunks of a batch, forward and backward: the loss and gradient of each.

    Each thread takes the next one when it has done one.
    """
    in_place, n_parameters = reads_in_place(plan, work.samples), work.params.size
    gate, m = seat.gate, batch.size
    chunk = take(gate)
    while chunk * plan.chunk < m and not halted(gate):
        low, high = chunk * plan.chunk, smaller(m, (chunk + 1) * plan.chunk)
        loss = 0.0
        for skip in range(low, high, REACH):
            size = smaller(REACH, high - skip)
            part = portion_to_front(plan, batch, skip, size, in_place)
            load_batch(plan, BLOCKS, work.samples, part, weight_sum, in_place)
            loss += loss_of(plan, BLOCKS, work.params, part)
            beta = 0.0 if skip == low else 1.0
            sink = Sink(work.gradients, chunk * n_parameters, 1.0, beta, 1.0, beta)
            add_gradients(plan, BLOCKS, work.params, part, sink)
        work.parts[chunk] = loss
        chunk = take(gate)


@jit()
def update_from_chunks(plan: Plan, work: Work, seat: Seat, chunks: int, change: Update) -> None:
    """Update the parameters. The gradient of the first chunk becomes the sum of them all."""
    gradients, n_parameters = work.gradients, work.params.size
    if seat.rank == 0:
        seat.gate[TAKEN] = 0
    low, high = share(n_parameters, 1, seat.rank, seat.ranks)
    for at in range(n_parameters, chunks * n_parameters, n_parameters):
        for i in range(low, high):
            gradients[i] += gradients[at + i]
    meet(seat.gate, seat.ranks)
    factor = shared_clipping(plan, work, seat)
    update_all(plan, work, times(change, factor), seat.rank, seat.ranks)


@jit()
def compute_samples(
    plan: Plan, work: Work, seat: Seat, batch: Part, weight_sum: float, fresh: bool
) -> None:
    """Forward and backward of this thread's samples of a batch: each tile's loss."""
    n_outputs, memory, gate = plan.layers[len(plan.layers) - 1, N_OUT], work.memory, seat.gate
    low, high = share(batch.size, TILE, seat.rank, seat.ranks)
    for skip in range(low, high, REACH):
        part = portion(batch, skip, smaller(REACH, high - skip))
        if fresh:
            in_place = reads_in_place(plan, work.samples)
            load_batch(plan, BLOCKS, work.samples, part, weight_sum, in_place)
        if halted(gate):
            return
        blocks.forward(plan, work.params, part)
        blocks.output(plan, part)
        if halted(gate):
            return
        blocks.backward(plan, part)
    for skip in range(low, high, TILE):
        size = smaller(TILE, high - skip) * n_outputs
        work.parts[skip // TILE] = total(memory, plan.errors + skip * n_outputs, size)


@jit()
def update_rows(
    plan: Plan,
    work: Work,
    seat: Seat,
    batch: Part,
    change: Update,
    computing: bool,
    updating: bool,
) -> None:
    """
    Of this thread's rows of every matrix, from the deltas of a batch: gradient and update.

    Row by row, while they are in the cache; or the gradient alone, and then the update.
    """
    fused, rank, ranks, gate = is_fused(plan), seat.rank, seat.ranks, seat.gate
    target = work.params if fused else work.gradients
    for l in range(len(plan.layers)):
        n_in, n_out = plan.layers[l, N_IN], plan.layers[l, N_OUT]
        w, b = plan.layers[l, WEIGHTS], plan.layers[l, BIASES]
        run = Run(l, l, plan.factors[2 * l], plan.factors[2 * l + 1])
        first = sink_of(plan, run, fused, target, change.rate, change.decay)
        following = Sink(first.array, first.at, first.alpha, 1.0, first.alpha_bias, 1.0)
        low, high = share(n_in if is_wanted(plan, run.factor) else 0, TILE, rank, ranks)
        for k in range(low, high, SPAN):
            n = smaller(SPAN, high - k)
            for skip in range(0, batch.size if computing else 0, DEPTH):
                if halted(gate):
                    return
                part = portion(batch, skip, smaller(DEPTH, batch.size - skip))
                sink = first if skip == 0 else following
                blocks.weight_gradient(plan, l, k, n, part, sink, rank)
            if updating:
                if l == 0 and plan.scale_rows > 0:
                    update_scaled(plan, work, k, k + n, change)
                elif not fused:
                    update(plan, work, w + k * n_out, w + (k + n) * n_out, change, 2 * l)
                blocks.pack_weights(plan, l, k, n, work.params, work.memory, True)
        # The last rank often has a tile less, while the first adds up the weights' squares.
        of_biases = rank == ranks - 1 and is_wanted(plan, run.factor_bias)
        if computing and of_biases:
            blocks.bias_gradient(plan, l, batch, first)
        if updating and of_biases and not fused:
            update(plan, work, b, b + n_out, change, 2 * l + 1)


@jit()
def train_blocks(plan: Plan, work: Work, seat: Seat, start: int, stop: int, updates: int) -> int:
    """
    `train` on the blocks route.

    A batch's deltas are all kept, for the update to read them; or, where that would be more, the
    gradients of its chunks.
    """
    samples, gate, rank, ranks = work.samples, seat.gate, seat.rank, seat.ranks
    same, weight_sum = always_same(plan, samples), 1.0
    by_update = work.rates.size > work.losses.size
    if rank == 0 and plan.chunk == 0 and start < stop:
        pack_weights(plan, BLOCKS, work.params, work.memory, True)
    meet(gate, ranks)
    for step in range(start, stop):
        batch = batch_of(plan, samples, step)
        m, fresh, t = batch.size, step == start or not same, updates + step - start + 1
        part = part_of(plan, work, batch, t)
        if fresh:
            weight_sum = sum_of_weights(plan, samples, batch.begin, m)
        if plan.chunk > 0:
            pack_weights(plan, BLOCKS, work.params, work.memory, True)  # each rank has its own
            compute_chunks(plan, work, seat, part, weight_sum)
        else:
            compute_samples(plan, work, seat, part, weight_sum, fresh)
        # Before the meeting: behind it, others may be quicker and change what is read here.
        decay = decay_of(plan, weight_sum, m)
        reported = penalty_of(plan, work.params, plan.sklearn.reported_l2 if rank == 0 else 0.0)
        penalty, before = objective_penalty(plan, work.params, decay), objective_before(plan, work)
        agree(gate, rank)
        meet(gate, ranks)
        if gate[AGREED] != 0:
            return step
        size = plan.chunk if plan.chunk > 0 else TILE
        n_parts = (m + size - 1) // size
        loss = 0.0
        for i in range(n_parts):
            loss += work.parts[i]
        loss *= weight_sum
        if not np.isfinite(loss):
            return step
        objective = objective_of(plan, work, loss, penalty, weight_sum, m)
        rose = objective > before
        if rank == 0:
            work.losses[batch.epoch] += counted(plan, loss + reported, weight_sum, m)
            keep_objective(plan, work, objective)
        rate = work.rates[step if by_update else batch.epoch]
        change = change_of(plan, rate, decay, t, rose)
        if plan.chunk > 0:
            update_from_chunks(plan, work, seat, n_parts, change)
        else:
            factor, visits = 1.0, 2 if plan.clip_norm > 0.0 else 1
            for visit in range(visits):
                computing, updating = visit == 0, visit == visits - 1
                update_rows(plan, work, seat, part, times(change, factor), computing, updating)
                if not updating:
                    meet(gate, ranks)
                    factor = shared_clipping(plan, work, seat)
        meet(gate, ranks)
    return stop


@jit(apart=True)
def begin_whole(plan: Plan, work: Work) -> bool:
    """Look at the samples, and copy what is about to change: see `Once`. Whether to go on."""
    params, slots, kept = work.params, work.slots, work.once.kept
    if are_refused(plan, work.samples, 0, work.samples.X.size // plan.layers[0, N_IN]):
        return False
    for i in range(params.size):
        kept[i] = params[i]
    for i in range(slots.size):
        kept[params.size + i] = slots[i]
    work.losses[0] = 0.0
    return True


@jit(apart=True)
def end_whole(work: Work, done: int) -> int:
    """Count the update; or, if its loss or a parameter is inf or nan, undo it and return 0."""
    once, params, slots, kept = work.once, work.params, work.slots, work.once.kept
    if done == 1 and all_finite(params, 0, params.size) and all_finite(slots, 0, slots.size):
        place = once.written[0]
        once.losses[place] = work.losses[0] / once.divisor
        once.rates[place] = work.rates[0]
        once.written[0] = place + 1
        once.counts[0] += 1
        once.counts[1] += 1
        return 1
    for i in range(params.size):
        params[i] = kept[i]
    for i in range(slots.size):
        slots[i] = kept[params.size + i]
    return 0


@jit()
def train(
    plan: Plan, route: Route, work: Work, seat: Seat, start: int, stop: int, updates: int
) -> int:
    """
    Train on batches ``start`` to ``stop``, counted through the epochs.

    Several threads may run it at once on the same arrays, each with its own ``seat``. In every step
    each takes samples of the batch through all layers and back; they meet; each updates some of
    the weights; they meet. No sum depends on who computes it, so neither do the bits.

    Parameters
    ----------
    plan : Plan
    route : Route
    work : Work
        The arrays.
    seat : Seat
        Where another thread writes a number to ``gate[HALT]`` the threads soon leave; if then
        ``gate[LEFT]`` or ``gate[AGREED]`` is not 0, a batch was left half done. The lanes route
        does not listen: its batches are small. ``gate[RUNNING]`` becomes 1.
    start, stop : int
    updates : int
        How many updates came before, for Adam and dropout; ``work.once`` may know better.

    Returns
    -------
    int
        ``stop``; or the first batch whose loss is inf or nan, its update not done. With
        ``work.once`` 1, or 0 if nothing changed.
    """
    seat.gate[RUNNING] = 1
    whole = work.once.kept.size > 0
    if whole and not begin_whole(plan, work):
        return 0
    if plan.scale_rows > 0 and seat.rank == 0:  # threads meet before they read what this changes
        begin_scales(plan, work)
    before = work.once.counts[1] if whole else updates
    if len(route) == 0:
        done = train_lanes(plan, work, start, stop, before)
    else:
        done = train_blocks(plan, work, seat, start, stop, before)
    return end_whole(work, done) if whole else done
