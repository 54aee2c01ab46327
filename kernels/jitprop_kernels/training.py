"""The loop over batches and epochs, in which several threads may work together."""

from __future__ import annotations

import numpy as np

from jitprop_kernels import blas, codes
from jitprop_kernels._jit import jit, u
from jitprop_kernels._types import Array, Indices
from jitprop_kernels.meeting import meet
from jitprop_kernels.network import (
    backward,
    bias_gradient,
    forward,
    load,
    load_targets,
    weight_gradient,
)
from jitprop_kernels.optimizers import update
from jitprop_kernels.plan import BIASES, N_IN, N_OUT, WEIGHTS, Plan


@jit()
def descend(
    plan: Plan,
    gemm: int | None,
    params: Array,
    slots: Array,
    X: Array,
    x: int,
    memory: Array,
    m: int,
    t: int,
    rank: int,
    ranks: int,
) -> None:
    """
    Update number t of the parameters, from the deltas of a batch.

    The weights are dealt out in tiles of rows, whose size is the same for any number of threads.
    """
    rate, decay = plan.learning_rate, plan.weight_decay
    # Plain SGD: W <- (1 - rate decay) W - rate A^T delta, with no gradient in between.
    plain = plan.optimizer == codes.SGD
    alpha, keep_weights, keep_biases = (
        (-rate, 1.0 - rate * decay, 1.0) if plain else (1.0, 0.0, 0.0)
    )
    C, c = (params, plan.zero) if plain else (memory, plan.gradient)
    tile = 0
    for l in range(len(plan.layers)):
        n_in, n_out = plan.layers[l, N_IN], plan.layers[l, N_OUT]
        w, b = plan.layers[l, WEIGHTS], plan.layers[l, BIASES]
        step = n_in if gemm is None else blas.TILE
        for k in range(0, n_in, step):
            if tile % ranks == rank:
                rows = min(step, n_in - k)
                weight_gradient(plan, gemm, l, k, rows, alpha, keep_weights, X, x, memory, m, C, c)
                if not plain:
                    start = w + k * n_out
                    update(plan, params, slots, memory, start, start + rows * n_out, decay, t)
            tile += 1
        if tile % ranks == rank:
            bias_gradient(plan, gemm, l, alpha, keep_biases, memory, m, C, c)
            if not plain:
                update(plan, params, slots, memory, b, b + n_out, 0.0, t)
        tile += 1


@jit(entry=True)
def train(
    plan: Plan,
    gemm: int | None,
    params: Array,
    slots: Array,
    X: Array,
    Y: Array,
    rows: Indices,
    losses: Array,
    start: int,
    stop: int,
    updates: int,
    memory: Array,
    parts: Array,
    gate: Indices,
    rank: int,
    ranks: int,
) -> int:
    """
    Train on batches ``start`` to ``stop``, counted through the epochs.

    Several threads may run it at once on the same arrays, each with its ``rank``. In every step
    each takes tiles of the batch through all layers and back; they meet; each updates tiles of
    the weights; they meet. What is computed does not depend on who computes it, so neither do
    the bits.

    Parameters
    ----------
    params, slots : (P,) and (n_slots * P,) arrays
        The net and its optimizer's state; both change in place.
    X : (n_samples * n_inputs,) array
    Y : (n_samples * n_outputs,) array, or (n_samples,) labels
    rows : (epochs * n_samples,) int64 array
        Order of presentation, epoch after epoch; empty for the order of X.
    losses : (epochs,) float64 array
        Each batch's summed loss is added to its epoch's.
    updates : int
        How many updates came before, for Adam.
    memory : array
        Scratch: see `Plan`.
    parts : (tiles,) float64 array
        Scratch: the loss of each tile.
    gate : (GATE_SIZE,) int64 array of 0
        Where the threads meet: see `meet`.
    rank, ranks : int
        This thread's number, and how many there are; 0 and 1 on the lanes route.

    Returns
    -------
    int
        ``stop``; or the first batch whose loss is inf or nan, its update not done.
    """
    n_inputs, n_outputs = plan.layers[0, N_IN], plan.layers[-1, N_OUT]
    n_samples = X.size // n_inputs
    n_batches = (n_samples + plan.batch_size - 1) // plan.batch_size
    same = n_batches == 1 and rows.size == 0  # every step sees the same batch: load it once
    direct = gemm is not None and rows.size == 0  # BLAS reads X itself
    for step in range(start, stop):
        epoch = step // n_batches
        first = (step - epoch * n_batches) * plan.batch_size
        m = min(plan.batch_size, n_samples - first)
        at = first + (epoch * n_samples if rows.size > 0 else 0)
        size = m if gemm is None else blas.TILE
        tiles = (m + size - 1) // size
        source, x = (X, first * n_inputs) if direct else (memory, plan.zero)
        for tile in range(rank, tiles, ranks):
            skip = tile * size
            some = min(size, m - skip)
            if step == start or not same:
                i, t = plan.zero + skip * n_inputs, plan.targets + skip * n_outputs
                if not direct:
                    load(gemm, X, rows, at + skip, some, n_inputs, memory, i)
                load_targets(plan, gemm, Y, rows, at + skip, some, n_outputs, memory, t)
            forward(plan, gemm, params, source, x + skip * n_inputs, memory, skip, some)
            parts[u(tile)] = backward(plan, gemm, params, memory, skip, some, m)
        meet(gate, ranks)
        loss = 0.0
        for tile in range(tiles):
            loss += parts[u(tile)]
        if not np.isfinite(loss):
            return step
        if rank == 0:
            losses[u(epoch)] += loss
        t = updates + step - start + 1
        descend(plan, gemm, params, slots, source, x, memory, m, t, rank, ranks)
        meet(gate, ranks)
    return stop
