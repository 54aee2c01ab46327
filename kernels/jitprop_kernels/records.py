"""
What belongs together is one record, which kernels hand on as one pointer (`_private.handing`).

Python makes `Samples`, `Work` and `Seat` for a call; `Descent` in place of `Work` for a full-batch
method; `Watch`, `Stopping`, `Falling`, `Callee` and `Predicting` for one that is watched; and
`MemberSamples`, `MemberSettings`, `FleetWork` and `Scratch` for one of a fleet. The others are made
on the way.
"""

from __future__ import annotations

from typing import NamedTuple

from jitprop_kernels._types import Array, Indices, Scalar


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


class Once(NamedTuple):
    """
    One update that is done whole or not at all, with all that tells of it.

    Whoever looks on from Python sees the state before it or behind it: no signal and no other
    thread comes between.
    """

    kept: Array
    """Room for a copy of the parameters and slots; empty for any other training."""
    counts: Indices
    """(2,): become 1 more, the epochs and the updates that were done."""
    divisor: float
    """What the batch's summed loss is divided by, for the history."""
    losses: Array
    """float64: the history's losses, where the next one is written;"""
    rates: Array
    """and its learning rates."""
    written: Indices
    """(1,): how many epochs stand in these columns. Becomes 1 more."""


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
    """(epochs,) float64: the learning rate of each; or (epochs * batches,): that of each update."""
    memory: Array
    """Scratch: see `Plan`. With chunks, each thread has its own."""
    gradients: Array
    """(P,) or (chunks * P,): scratch. Nothing for plain SGD without chunks or clipping, which forms
    no gradient."""
    parts: Array
    """(tiles or chunks,) float64: scratch, the loss of each. Behind them, with clipping, stands the
    sum of squares of each `SQUARES_PIECE` of a gradient."""
    once: Once


class Pass(NamedTuple):
    """What `evaluate`, `gradient` and `predict` read and write."""

    params: Array
    """(P,): the net."""
    samples: Samples
    memory: Array
    """Scratch: see `Plan`. Each thread has its own."""
    parts: Array
    """(tiles,) float64: scratch, the loss of each."""
    group: int
    """Tiles whose losses are added up by themselves, and whose weights become shares of their own
    sum. Whoever reads samples from a file passes a group at a time, and gets the same bits."""


class Descent(NamedTuple):
    """
    What a full-batch method of `second_order` reads and writes.

    All threads that run it together share every array but ``memory``.
    """

    params: Array
    """(P,): the net. Changes in place, with each accepted step."""
    slots: Array
    """(n_slots * P,): what the method keeps from one epoch to the next. Changes in place."""
    samples: Samples
    losses: Array
    """(epochs,) float64: becomes the summed loss of the data after each epoch's step."""
    told: Array
    """(epochs * columns,) float64: what the method tells of each epoch."""
    settings: Array
    """float64: the method's settings, in the order that it states."""
    trial: Array
    """(P,): scratch, the parameters that are tried."""
    gradients: Array
    """(P,) or more: scratch in the dtype of the net, as each method states."""
    parts: Array
    """(tiles,) float64: scratch, the loss of each tile of samples."""
    system: Array
    """float64: scratch, as each method states."""
    rows: Array
    """float64: scratch, as each method states."""
    memory: Array
    """Scratch of this thread: see `Plan`."""


class Places(NamedTuple):
    """Where Levenberg-Marquardt keeps what: in ``Descent.system``, if nothing else is said."""

    dual: bool
    """There are fewer rows of R than parameters, and so the equations are those of the rows."""
    n: int
    """How many equations there are."""
    row: int
    """Numbers of a row of the matrix, at least n + 1 and a multiple of 4. The matrix begins at 0;
    behind it stand"""
    pivots: int
    """(n + 1,): see `second_order.cholesky`;"""
    solution: int
    """(row,): of the equations;"""
    diagonal: int
    """(n,): of H, which loses it to the factor;"""
    gradient: int
    """(P,): of the objective;"""
    decays: int
    """(P,): the weight decay of each parameter;"""
    rows: int
    """(P + 1, row), if dual: R transposed, and r;"""
    scaled: int
    """(P, row), if dual: R transposed, each row by the diagonal of what is added to H."""
    inverse: int
    """(n_threads, 4, row), and behind that (n,), if the inverse of the matrix is asked for: see
    `second_order.inverse`."""
    turned: int
    """In ``memory``: room for the inputs and outputs of the widest layer."""


class Point(NamedTuple):
    """A step along a direction, in the line search of `second_order.quasi_newton`."""

    step: float
    """Its length, by that of the direction;"""
    value: float
    """the objective there,"""
    slope: float
    """the derivative of the objective by the step,"""
    loss: float
    """and the summed loss of the data."""


class Seat(NamedTuple):
    """One of the threads that run a kernel together, and where they meet."""

    rank: int
    """This thread's number."""
    ranks: int
    """How many there are."""
    gate: Indices
    """(GATE_SIZE,), zeros at first: see `meeting`."""


class Callee(NamedTuple):
    """An entry with its arguments, for a kernel that calls it: see `entry.Bound.callee`."""

    code: int
    """The address of its machine code."""
    record: Indices
    """The record that it takes, as int64 numbers;"""
    reals: Array
    """and the same memory as float64 numbers."""
    at: int
    """Which of these numbers is the argument that changes from call to call, or the first one."""


class Predicting(NamedTuple):
    """`network.predict` of two nets, which writes where the argument that changes says."""

    training: Callee
    validation: Callee


class Stopping(NamedTuple):
    """When training ends early: `jitprop.EarlyStopping` explains it."""

    patience: int
    """0 for no early stopping. The other fields then have no meaning."""
    of_validation: bool
    """Whether the validation loss is monitored, or else the training loss."""
    classes: Indices
    """(n_samples,): those of the validation samples, if the accuracy of ``Watch.predictions`` is
    monitored instead. Else it is empty."""
    sign: float
    """1 if higher is better, else -1."""
    min_delta: float
    ties_last: bool
    """Whether a number that equals the best one takes its place."""
    first: int
    """The epoch in which the count began, counted over all fits."""
    best: Array
    """(1,) float64: the best number so far; inf or -inf if there is none. Changes."""
    best_epoch: Indices
    """(1,): its epoch, counted over all fits; -1 if there is none. Changes."""
    kept: Array
    """(P,): becomes a copy of the parameters of each best epoch. Empty if nobody wants it."""


class Falling(NamedTuple):
    """When the learning rate falls: `jitprop.ReduceOnPlateau` explains it."""

    patience: int
    """0 for a rate that does not depend on losses. The other fields then have no meaning."""
    of_validation: bool
    factor: float
    min_delta: float
    minimum: float
    rate: Array
    """(1,) float64: the rate of the next epoch. Changes."""
    best: Array
    """(1,) float64: the best loss so far; inf if there is none. Changes."""
    waited: Indices
    """(1,): epochs since then, or since the rate fell. Changes."""


class Watch(NamedTuple):
    """What `train_watched` does after each epoch."""

    params: Array
    slots: Array
    losses: Array
    """(epochs,) float64: as in `Work`;"""
    divisor: float
    """and what the sum of an epoch is divided by."""
    rates: Array
    """As in `Work`. With `Falling` they are (epochs,), and each epoch's rate is written after the
    one before."""
    validation: Array
    """(epochs,) float64: becomes the validation loss after each epoch. Empty for no validation."""
    validation_divisor: float
    validating: int
    """How many threads compute the validation loss; the others wait."""
    predicting: Indices
    """(2,): how many threads predict the training samples, and the validation samples; 0 for none.
    """
    strides: Indices
    """(2,): how many bytes behind the predictions of an epoch those of the next one begin."""
    predictions: Array
    """(epochs * n_samples * n_outputs,): those of the validation samples after each epoch, if
    `Stopping` monitors their accuracy. Else it is empty."""
    n_batches: int
    """Of an epoch."""
    epoch: int
    """The number of the first epoch of these arrays, counted over all fits."""
    stopping: Stopping
    falling: Falling
    ended: Indices
    """(1,): why training ended before ``stop``: `sizes.ENDED_EARLY` or `sizes.ENDED_BY_OVERFLOW`.
    0 if it did not."""
    counted: Indices
    """(1,): becomes 1 more for each epoch whose numbers are written and counted."""


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
    position: int
    """its number in the batch, of which dropout depends;"""
    skip: int
    """and its number in the blocks of ``memory``."""
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
    alpha_bias: float
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
    rose: bool
    """Whether the objective is above that of the update before. Only Rprop+ asks for it."""
    root: float
    """For Adam sqrt(1 - beta_2**t), which corrects the bias;"""
    divisor: float
    """and 1 - beta_1**t. Else 1."""
    epsilon: float
    """What Adam adds to sqrt(v): see `optimizers.corrected_epsilon`. Else 0."""


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


class MemberSamples(NamedTuple):
    """
    The samples of a fleet's members, and the order in which they are presented.

    Those of all members together where a step is 0; else each member has its own, and the step is
    how many numbers lie between one's and the next.
    """

    X: Array
    X_step: int
    Y: Array
    """Targets or labels; empty for predictions."""
    Y_step: int
    weights: Array
    """Empty if samples have no weights."""
    weights_step: int
    stand_ins: Indices
    """(A,): the sample that those of weight 0 are replaced by, of each member; -1 for zeros."""
    n_samples: int
    """Of one member."""
    members: Indices
    """(A,): each one's number in X, Y and weights."""
    rows: Indices
    """(A * epochs * n_samples,): each one's order of presentation, epoch after epoch; empty for
    that of X."""


class MemberSettings(NamedTuple):
    """What differs between a fleet's A members."""

    decays: Array
    """(A,) float64 weight decays;"""
    momenta: Array
    """(A,) and momenta."""
    dropped: Indices
    """(A * hidden layers,): of `dropout.WHOLE` units of each layer, how many are dropped."""
    keys: Indices
    """(A,): for dropout."""
    updates: Indices
    """(A,): how many updates of each came before."""


class FleetWork(NamedTuple):
    """What `train_members` reads and writes, in G groups of V members."""

    params: Array
    """(G * P * V,): the nets. Change in place."""
    slots: Array
    """(G * n_slots * P * V,): the optimizer's state. Changes in place."""
    samples: MemberSamples
    settings: MemberSettings
    losses: Array
    """(epochs * A,) float64: becomes each epoch's loss of each member, the sum over its samples, by
    ``divisors``. Threads write to it as they go, so that the memory, which is new, comes while they
    compute."""
    divisors: Array
    """(A,) float64."""
    faults: Array
    """(A,) float64: becomes nan for members of which a loss was not finite, and 0 for others."""
    rates: Array
    """(epochs * A,) float64 learning rates; or (epochs * batches * A,): those of each update."""
    rate_step: int
    """A; or 0 if ``rates`` is (A,), the same in all epochs."""
    later_params: Array
    """(epochs * G * P * V,): becomes the params after each epoch. Empty if nobody wants them."""
    later_slots: Array
    """(epochs * G * n_slots * P * V,): the same of the slots."""


class Scratch(NamedTuple):
    """The scratch memory of one thread."""

    memory: Array
    """See `Plan`. At its ``panels`` stand 4 V numbers, the settings of a group, and behind them P V
    for gradients."""
    sums: Array
    """(N_SUMS * V,) float64: see `groups`."""


class Group(NamedTuple):
    """V members who share vectors, one to a lane."""

    lane: int
    """The first one's number among the A."""
    params: Array
    """(P * V,)."""
    slots: Array
    """(n_slots * P * V,)."""
    settings: MemberSettings
    memory: Array
    sums: Array


class Block(NamedTuple):
    """Up to `sizes.SAMPLES` samples of a batch, on their way through all layers."""

    begin: int
    """Where in ``rows``, or in X if there are none, the batch begins."""
    first: int
    """The first one's number in the batch."""
    size: int


class Run(NamedTuple):
    """Layers beside one another that are updated in the same way, from the last to the first."""

    last: int
    first: int
    factor: float
    """What the learning rate of their weights is multiplied by;"""
    factor_bias: float
    """and of their biases."""


class GroupUpdate(NamedTuple):
    """How one update changes a group's parameters: a number for each member."""

    rate: Scalar
    """For Adam it carries the correction of the bias."""
    decay: Scalar
    keep: Scalar
    """The momentum; for AdamW what the decay leaves of a parameter."""
    epsilon: Scalar
    """What Adam adds to sqrt(v). It hangs on the member's number of updates."""
    begins: bool
    """The batch begins with this block of samples."""
    ends: bool
    """It ends with it: parameters change now. Else the gradient is kept in ``memory``."""
