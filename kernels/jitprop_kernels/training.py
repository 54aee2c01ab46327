"""The loop over batches and epochs, in which several threads may work together."""

from __future__ import annotations

import numpy as np

from jitprop_kernels import blocks, codes, lanes
from jitprop_kernels._jit import jit
from jitprop_kernels._types import BLOCKS, LANES, Array, Indices, Route
from jitprop_kernels.elementary import smaller
from jitprop_kernels.losses import total
from jitprop_kernels.meeting import AGREED, RUNNING, TAKEN, agree, halted, meet, take
from jitprop_kernels.network import (
    add_gradients,
    load_batch,
    loss_of,
    padded,
    refresh,
    whole_of,
)
from jitprop_kernels.optimizers import PIECE, sum_of_squares, update
from jitprop_kernels.plan import BIASES, N_IN, N_OUT, WEIGHTS, Plan

SPAN = 1024
"""Rows of weights that are updated before a look whether to leave, a multiple of TILE: with 8,000
columns and DEPTH samples 40 ms. Deltas are packed again for each: of the work, 1 / SPAN."""


@jit()
def share(n: int, size: int, rank: int, ranks: int) -> tuple[int, int]:
    """Of n things in tiles of ``size``, the range that falls to this rank."""
    tiles = (n + size - 1) // size
    low, high = tiles * rank // ranks * size, tiles * (rank + 1) // ranks * size
    return low if low < n else n, high if high < n else n


@jit()
def batch_of(plan: Plan, X: Array, rows: Indices, step: int) -> tuple[int, int, int, int]:
    """Epoch, first sample, size, and first of ``rows`` of a batch, counted through the epochs."""
    n_samples = X.size // plan.layers[0, N_IN]
    n_batches = (n_samples + plan.batch_size - 1) // plan.batch_size
    epoch = step // n_batches
    first = (step - epoch * n_batches) * plan.batch_size
    m = smaller(plan.batch_size, n_samples - first)
    return epoch, first, m, first + (epoch * n_samples if rows.size > 0 else 0)


@jit()
def always_same(plan: Plan, X: Array, rows: Indices) -> bool:
    """Whether every step sees the same batch, which then is loaded once."""
    return plan.batch_size * plan.layers[0, N_IN] >= X.size and rows.size == 0


@jit()
def reads_in_place(plan: Plan, rows: Indices) -> bool:
    """Whether products read X itself: in its order, and no sample is replaced by zeros."""
    return rows.size == 0 and not plan.weighted


@jit()
def is_fused(plan: Plan) -> bool:
    """Whether gradient and update are one product: plain SGD, of a gradient as it comes."""
    return plan.optimizer == codes.SGD and plan.clip_norm == 0.0


@jit()
def decay_of(plan: Plan, whole: float, m: int) -> float:
    """What a batch of m samples adds of W to its gradient; of weights, ``whole`` is the sum."""
    return plan.weight_decay + plan.penalty / (whole if plan.weighted else float(m))


@jit()
def penalty_of(plan: Plan, params: Array) -> float:
    """What the weights add to the summed loss of a batch."""
    if plan.penalty_loss == 0.0:
        return 0.0
    squares = 0.0
    for l in range(len(plan.layers)):
        squares += sum_of_squares(params, plan.layers[l, WEIGHTS], plan.layers[l, BIASES])
    return plan.penalty_loss * squares


@jit()
def counted(plan: Plan, loss: float, whole: float, m: int) -> float:
    """As what the summed loss of a batch counts in its epoch's."""
    return loss * (m / whole) if plan.even and plan.weighted else loss


@jit()
def factors(plan: Plan, rate: float, decay: float) -> tuple[float, float, float]:
    """
    What the product of a layer's gradient is multiplied by, and what W and b it is added to are.

    Plain SGD: W <- (1 - rate decay) W - rate A^T delta, with no gradient in between. All others
    want the gradient itself.
    """
    if is_fused(plan):
        return -rate, 1.0 - rate * decay, 1.0
    return 1.0, 0.0, 0.0


@jit()
def train_lanes(
    plan: Plan,
    params: Array,
    slots: Array,
    X: Array,
    Y: Array,
    weights: Array,
    rows: Indices,
    losses: Array,
    rates: Array,
    start: int,
    stop: int,
    updates: int,
    memory: Array,
    gradients: Array,
) -> int:
    """`train` on the lanes route, where a batch is too little work for two threads."""
    same, last = always_same(plan, X, rows), lanes.output_activation(plan)
    fused = is_fused(plan)
    C = params if fused else gradients
    step = start
    while step < stop:
        epoch, _, m, at = batch_of(plan, X, rows, step)
        whole = whole_of(plan, weights, rows, at, m)
        load_batch(plan, LANES, X, Y, weights, whole, rows, at, m, False, memory, 0)
        width = padded(LANES, memory, m)
        decay = decay_of(plan, whole, m)
        end = stop if same else step + 1
        # Loading is left outside: LLVM computes before a loop what does not change in it.
        for i in range(step, end):
            t = updates + i - start + 1
            lanes.forward(plan, params, memory, last, m, width, t)
            loss = whole * lanes.output(plan, memory, m, width, m)
            if not np.isfinite(loss):
                return i
            loss += penalty_of(plan, params)
            losses[i if same else epoch] += counted(plan, loss, whole, m)
            rate = rates[i if same else epoch]
            alpha, keep, keep_bias = factors(plan, rate, decay)
            lanes.backward(plan, params, memory, width)
            for l in range(len(plan.layers)):
                lanes.weight_gradient(plan, l, alpha, keep, memory, width, C, 0)
                lanes.bias_gradient(plan, l, alpha, keep_bias, memory, width, C, 0)
            if not fused:
                factor = 1.0
                if plan.clip_norm > 0.0:
                    factor = clipping(plan, sum_of_squares(gradients, 0, params.size))
                update_all(plan, params, slots, gradients, rate, decay, factor, t, 0, 1)
        step = end
    return stop


@jit(apart=True)
def clipping(plan: Plan, squares: float) -> float:
    """min(1, clip_norm / norm): what a gradient with these squares shall be multiplied by."""
    norm = np.sqrt(squares)
    return 1.0 if norm <= plan.clip_norm else plan.clip_norm / norm  # nan stays


@jit(apart=True)
def shared_clipping(
    plan: Plan,
    n_parameters: int,
    gradients: Array,
    parts: Array,
    gate: Indices,
    rank: int,
    ranks: int,
) -> float:
    """`clipping` of the gradient, which is there; threads meet in it, with squares of a share."""
    if plan.clip_norm == 0.0:
        return 1.0
    pieces = (n_parameters + PIECE - 1) // PIECE
    low, high = share(pieces, 1, rank, ranks)
    for piece in range(low, high):
        stop = smaller(n_parameters, (piece + 1) * PIECE)
        parts[plan.squares + piece] = sum_of_squares(gradients, piece * PIECE, stop)
    meet(gate, ranks)
    squares = 0.0
    for piece in range(plan.squares, plan.squares + pieces):
        squares += parts[piece]
    return clipping(plan, squares)


@jit()
def update_all(
    plan: Plan,
    params: Array,
    slots: Array,
    gradients: Array,
    rate: float,
    decay: float,
    factor: float,
    t: int,
    rank: int,
    ranks: int,
) -> None:
    """Update number t, of this rank's share of the parameters, from their gradient."""
    for part in range(2 * len(plan.layers)):  # one call of `update`, which is long, for both
        l, of_weights = part // 2, part % 2 == 0
        n_in, n_out = plan.layers[l, N_IN], plan.layers[l, N_OUT]
        start = plan.layers[l, WEIGHTS] if of_weights else plan.layers[l, BIASES]
        low, high = share(n_in * n_out if of_weights else n_out, 1, rank, ranks)
        of_part = decay if of_weights else 0.0
        update(plan, params, slots, gradients, start + low, start + high, rate, of_part, factor, t)


@jit()
def own_chunks(
    plan: Plan,
    params: Array,
    X: Array,
    Y: Array,
    weights: Array,
    whole: float,
    rows: Indices,
    step: int,
    t: int,
    memory: Array,
    gradients: Array,
    parts: Array,
    gate: Indices,
) -> None:
    """
    Chunks of a batch, forward and backward: the loss and gradient of each.

    Each rank takes the next one when it has done one.
    """
    direct = reads_in_place(plan, rows)
    _, first, m, at = batch_of(plan, X, rows, step)
    chunk = take(gate)
    while chunk * plan.chunk < m and not halted(gate):
        low, high = chunk * plan.chunk, smaller(m, (chunk + 1) * plan.chunk)
        loss = 0.0
        for skip in range(low, high, blocks.REACH):
            some = smaller(blocks.REACH, high - skip)
            load_batch(plan, BLOCKS, X, Y, weights, whole, rows, at + skip, some, direct, memory, 0)
            A, a = (X, (first + skip) * plan.layers[0, N_IN]) if direct else (memory, 0)
            loss += loss_of(plan, BLOCKS, params, A, a, memory, some, m, skip, t)
            beta = 0.0 if skip == low else 1.0
            add_gradients(
                plan, BLOCKS, params, beta, A, a, memory, some, gradients, chunk * params.size
            )
        parts[chunk] = loss
        chunk = take(gate)


@jit()
def descend_chunks(
    plan: Plan,
    params: Array,
    slots: Array,
    gradients: Array,
    chunks: int,
    rate: float,
    decay: float,
    t: int,
    parts: Array,
    gate: Indices,
    rank: int,
    ranks: int,
) -> None:
    """Update number t from the gradients of all chunks, of which the first becomes their sum."""
    if rank == 0:
        gate[TAKEN] = 0
    low, high = share(params.size, 1, rank, ranks)
    for at in range(params.size, chunks * params.size, params.size):
        for i in range(low, high):
            gradients[i] += gradients[at + i]
    meet(gate, ranks)
    factor = shared_clipping(plan, params.size, gradients, parts, gate, rank, ranks)
    update_all(plan, params, slots, gradients, rate, decay, factor, t, rank, ranks)


@jit()
def own_samples(
    plan: Plan,
    params: Array,
    X: Array,
    Y: Array,
    weights: Array,
    whole: float,
    rows: Indices,
    step: int,
    fresh: bool,
    t: int,
    memory: Array,
    parts: Array,
    gate: Indices,
    rank: int,
    ranks: int,
) -> None:
    """Forward and backward of the samples of a batch that fall to this rank: each tile's loss."""
    direct = reads_in_place(plan, rows)
    _, first, m, at = batch_of(plan, X, rows, step)
    n_inputs, n_outputs = plan.layers[0, N_IN], plan.layers[len(plan.layers) - 1, N_OUT]
    low, high = share(m, blocks.TILE, rank, ranks)
    for skip in range(low, high, blocks.REACH):
        some = smaller(blocks.REACH, high - skip)
        if fresh:
            load_batch(
                plan, BLOCKS, X, Y, weights, whole, rows, at + skip, some, direct, memory, skip
            )
        A, a = (X, first + skip) if direct else (memory, skip)
        if halted(gate):
            return
        blocks.forward(plan, params, A, a * n_inputs, memory, skip, some, skip, t)
        blocks.output(plan, params, memory, skip, some, m)
        if halted(gate):
            return
        blocks.backward(plan, memory, skip, some)
    for skip in range(low, high, blocks.TILE):
        size = smaller(blocks.TILE, high - skip) * n_outputs
        parts[skip // blocks.TILE] = total(memory, plan.errors + skip * n_outputs, size)


@jit()
def own_weights(
    plan: Plan,
    params: Array,
    slots: Array,
    X: Array,
    x: int,
    memory: Array,
    gradients: Array,
    m: int,
    computing: bool,
    updating: bool,
    rate: float,
    decay: float,
    factor: float,
    t: int,
    gate: Indices,
    rank: int,
    ranks: int,
) -> None:
    """
    Of this rank's rows of every matrix, from the deltas of m samples: gradient and update number t.

    Row by row, while they are in the cache; or the gradient alone, then with ``factor`` the update.
    """
    fused = is_fused(plan)
    alpha, keep, keep_bias = factors(plan, rate, decay)
    C = params if fused else gradients
    for l in range(len(plan.layers)):
        n_in, n_out = plan.layers[l, N_IN], plan.layers[l, N_OUT]
        w, b = plan.layers[l, WEIGHTS], plan.layers[l, BIASES]
        low, high = share(n_in, blocks.TILE, rank, ranks)
        for k in range(low, high, SPAN):
            n = smaller(SPAN, high - k)
            for skip in range(0, m if computing else 0, blocks.DEPTH):
                if halted(gate):
                    return
                some, kept = smaller(blocks.DEPTH, m - skip), keep if skip == 0 else 1.0
                blocks.weight_gradient(
                    plan, l, k, n, alpha, kept, X, x, memory, skip, some, C, 0, rank
                )
            if updating:
                if not fused:
                    start, stop = w + k * n_out, w + (k + n) * n_out
                    update(plan, params, slots, gradients, start, stop, rate, decay, factor, t)
                blocks.refresh(plan, l, k, n, params, memory, True)
        # The last rank often has a tile less, while the first adds up the weights' squares.
        if computing and rank == ranks - 1:
            blocks.bias_gradient(plan, l, alpha, keep_bias, memory, m, C, 0)
        if updating and rank == ranks - 1 and not fused:
            update(plan, params, slots, gradients, b, b + n_out, rate, 0.0, factor, t)


@jit()
def train_blocks(
    plan: Plan,
    params: Array,
    slots: Array,
    X: Array,
    Y: Array,
    weights: Array,
    rows: Indices,
    losses: Array,
    rates: Array,
    start: int,
    stop: int,
    updates: int,
    memory: Array,
    gradients: Array,
    parts: Array,
    gate: Indices,
    rank: int,
    ranks: int,
) -> int:
    """
    `train` on the blocks route.

    A batch's deltas are all kept, for the update to read them; or, where that would be more, the
    gradients of its chunks.
    """
    same, whole = always_same(plan, X, rows), 1.0
    if rank == 0 and plan.chunk == 0 and start < stop:
        refresh(plan, BLOCKS, params, memory, True)
    meet(gate, ranks)
    for step in range(start, stop):
        epoch, first, m, at = batch_of(plan, X, rows, step)
        fresh, t = step == start or not same, updates + step - start + 1
        if fresh:
            whole = whole_of(plan, weights, rows, at, m)
        if plan.chunk > 0:
            refresh(plan, BLOCKS, params, memory, True)  # each rank has its own
            own_chunks(
                plan, params, X, Y, weights, whole, rows, step, t, memory, gradients, parts, gate
            )
        else:
            own_samples(
                plan,
                params,
                X,
                Y,
                weights,
                whole,
                rows,
                step,
                fresh,
                t,
                memory,
                parts,
                gate,
                rank,
                ranks,
            )
        penalty = penalty_of(plan, params) if rank == 0 else 0.0
        agree(gate, rank)
        meet(gate, ranks)
        if gate[AGREED] != 0:
            return step
        size = plan.chunk if plan.chunk > 0 else blocks.TILE
        n_parts = (m + size - 1) // size
        loss = 0.0
        for part in range(n_parts):
            loss += parts[part]
        loss *= whole
        if not np.isfinite(loss):
            return step
        if rank == 0:
            losses[epoch] += counted(plan, loss + penalty, whole, m)
        rate, decay = rates[epoch], decay_of(plan, whole, m)
        if plan.chunk > 0:
            descend_chunks(
                plan, params, slots, gradients, n_parts, rate, decay, t, parts, gate, rank, ranks
            )
        else:
            A, a = (X, first * plan.layers[0, N_IN]) if reads_in_place(plan, rows) else (memory, 0)
            factor, visits = 1.0, 2 if plan.clip_norm > 0.0 else 1
            for visit in range(visits):
                computing, updating = visit == 0, visit == visits - 1
                own_weights(
                    plan,
                    params,
                    slots,
                    A,
                    a,
                    memory,
                    gradients,
                    m,
                    computing,
                    updating,
                    rate,
                    decay,
                    factor,
                    t,
                    gate,
                    rank,
                    ranks,
                )
                if not updating:
                    meet(gate, ranks)
                    factor = shared_clipping(plan, params.size, gradients, parts, gate, rank, ranks)
        meet(gate, ranks)
    return stop


@jit(entry=True)
def train(
    plan: Plan,
    blocked: Route,
    params: Array,
    slots: Array,
    X: Array,
    Y: Array,
    weights: Array,
    rows: Indices,
    losses: Array,
    rates: Array,
    start: int,
    stop: int,
    updates: int,
    memory: Array,
    gradients: Array,
    parts: Array,
    gate: Indices,
    rank: int,
    ranks: int,
) -> int:
    """
    Train on batches ``start`` to ``stop``, counted through the epochs.

    Several threads may run it at once on the same arrays, each with its ``rank``. In every step
    each takes samples of the batch through all layers and back; they meet; each updates some of
    the weights; they meet. No sum depends on who computes it, so neither do the bits.

    Parameters
    ----------
    params, slots : (P,) and (n_slots * P,) arrays
        The net and its optimizer's state; both change in place.
    X : (n_samples * n_inputs,) array
    Y : (n_samples * n_outputs,) array, or (n_samples,) labels
    weights : (n_samples,) array
        Empty if samples have none.
    rows : (epochs * n_samples,) int64 array
        Order of presentation, epoch after epoch; empty for the order of X.
    losses : (epochs,) float64 array
        Each batch's loss, summed over its samples, times their weights, is added to its epoch's;
        the plan says what else: ``penalty_loss``, ``even``.
    rates : (epochs,) float64 array
        The learning rate of each.
    updates : int
        How many updates came before, for Adam and dropout.
    memory : array
        Scratch: see `Plan`. With chunks, each rank has its own.
    gradients : (P,) or (chunks * P,) array
        Scratch; nothing for plain SGD without chunks or clipping, which forms no gradient.
    parts : (tiles or chunks,) float64 array
        Scratch: the loss of each; behind them, with clipping, the sum of squares of each `PIECE` of
        a gradient.
    gate : (GATE_SIZE,) int64 array of 0
        Where the threads meet: see `meet`. Where another thread writes a number to ``gate[HALT]``
        they soon leave; if then ``gate[LEFT]`` or ``gate[AGREED]`` is not 0, a batch was left half
        done. The lanes route does not listen: its batches are small. ``gate[RUNNING]`` becomes 1.
    rank, ranks : int
        This thread's number, and how many there are.

    Returns
    -------
    int
        ``stop``; or the first batch whose loss is inf or nan, its update not done.
    """
    gate[RUNNING] = 1
    if len(blocked) == 0:
        return train_lanes(
            plan,
            params,
            slots,
            X,
            Y,
            weights,
            rows,
            losses,
            rates,
            start,
            stop,
            updates,
            memory,
            gradients,
        )
    else:
        return train_blocks(
            plan,
            params,
            slots,
            X,
            Y,
            weights,
            rows,
            losses,
            rates,
            start,
            stop,
            updates,
            memory,
            gradients,
            parts,
            gate,
            rank,
            ranks,
        )
