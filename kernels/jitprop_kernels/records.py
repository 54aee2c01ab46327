"""
What belongs together and travels as one record, which kernels hand on as one pointer (`_handing`).

Python makes `Samples`, `Work` and `Seat` for a call. The others are made on the way.
"""

from __future__ import annotations

from typing import NamedTuple

from jitprop_kernels._types import Array, Indices


class Samples(NamedTuple):
    """The samples of a call, and the order in which they are presented."""

    X: Array
    """(n_samples * n_inputs,)."""
    Y: Array
    """(n_samples * n_targets,), or (n_samples,) labels."""
    weights: Array
    """(n_samples,); empty if samples have no weights."""
    rows: Indices
    """(epochs * n_samples,): the order of presentation, epoch after epoch; empty for that of X."""


class Work(NamedTuple):
    """What `train` reads and writes."""

    params: Array
    """(P,): the net. Changes in place."""
    slots: Array
    """(n_slots * P,): its optimizer's state. Changes in place."""
    samples: Samples
    losses: Array
    """(epochs,) float64: each batch's loss, summed over its samples, times their weights, is added
    to its epoch's. `SklearnRules` says what else."""
    rates: Array
    """(epochs,) float64: the learning rate of each."""
    memory: Array
    """Scratch: see `Plan`. With chunks, each thread has its own."""
    gradients: Array
    """(P,) or (chunks * P,): scratch. Nothing for plain SGD without chunks or clipping, which forms
    no gradient."""
    parts: Array
    """(tiles or chunks,) float64: scratch, the loss of each. Behind them, with clipping, stands the
    sum of squares of each `SQUARES_PIECE` of a gradient."""


class Seat(NamedTuple):
    """One of the threads that run a kernel together, and where they meet."""

    rank: int
    """This thread's number."""
    ranks: int
    """How many there are."""
    gate: Indices
    """(GATE_SIZE,), zeros at first: see `meeting`."""


class Batch(NamedTuple):
    """A batch of an epoch."""

    epoch: int
    first: int
    """Where the batch begins in its epoch's samples;"""
    begin: int
    """and where in ``rows``. The same number if there are none."""
    size: int


class Part(NamedTuple):
    """Some samples of a batch, on their way through all layers."""

    first: int
    """The first one's number in ``rows``, or in X if there are none;"""
    place: int
    """its place in the batch, of which dropout depends;"""
    skip: int
    """and its place in the blocks of ``memory``."""
    size: int
    batch_size: int
    t: int
    """The number of the update, from 1, for dropout. 0 outside of training: nothing is dropped."""
    inputs: Array
    """Where products read the inputs: X itself, or ``memory``."""
    at: int
    """Where in ``inputs`` those of the blocks' first sample stand."""
    memory: Array


class Sink(NamedTuple):
    """Where a gradient goes: C <- beta C + alpha gradient. C is not read where beta is 0."""

    array: Array
    at: int
    """C is like the parameters and begins here."""
    alpha: float
    beta: float
    """Of weights;"""
    beta_bias: float
    """and of biases."""


class Update(NamedTuple):
    """How one update changes the parameters."""

    rate: float
    """The learning rate."""
    decay: float
    """What times W is added to the gradient."""
    factor: float
    """What the gradient is multiplied by first."""
    t: int
    """The number of this update, from 1."""


class Outputs(NamedTuple):
    """
    Where the numbers of the output layer stand in ``memory``.

    Unit j of sample i stands at ``z + i * sample_stride + j * unit_stride``; so does its target
    behind ``targets``, and its loss behind ``errors``.
    """

    z: int
    targets: int
    errors: int
    m: int
    """Samples."""
    n: int
    """Units."""
    sample_stride: int
    unit_stride: int
    size: int
    """Numbers of the block, padding included."""


class Matrix(NamedTuple):
    """A matrix within an array: A[i, j] stands at ``array[at + i * row + j * column]``."""

    array: Array
    at: int
    row: int
    column: int


class Product(NamedTuple):
    """
    C <- alpha A B + beta D, for C (height, width) and B (depth, width).

    B, C and D have a ``column`` of 1. With a ``row`` of 0, B is packed as by `blocks.pack`.
    """

    height: int
    width: int
    depth: int
    A: Matrix
    B: Matrix
    C: Matrix
    D: Matrix
    alpha: float
    beta: float
    times: bool
    """Each number of D stands in the place of alpha. Then beta is 0."""
    rows_outside: bool
    """Go through C row by row. Column by column reads B once."""
