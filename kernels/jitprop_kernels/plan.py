"""What a kernel knows of a net and its training, and how its scratch memory is laid out."""

from __future__ import annotations

from typing import NamedTuple

from jitprop_kernels._types import Array, Indices, Settings

# Columns of `Plan.layers`.
N_IN, N_OUT, WEIGHTS, BIASES, INPUTS, OUTPUTS, ACTIVATION, PACKED, TRANSPOSED, DROPPED = range(10)


SMALLEST = 2.0**-1022
"""Of the numbers that have an inverse in float64: smaller ones are subnormal, and 1 / x is inf."""


class SklearnRules(NamedTuple):
    """What scikit-learn computes differently. With zeros and False, nothing."""

    l2: float
    """The gradient of a batch gets the term l2 W / s, where s is the sum of its samples' weights,
    or their number if they have none."""
    reported_l2: float
    """The loss of a batch, summed over its samples, gets the term reported_l2 sum W**2."""
    epsilon: float
    """Above 0: losses above ``clipped_above`` are computed from probabilities that were rounded and
    clipped to epsilon ... 1 - epsilon first (`losses.clip_errors`)."""
    clipped_above: float
    batches_by_size: bool
    """In the loss of an epoch a batch has its number of samples as weight, and not the sum of their
    weights."""


class Plan(NamedTuple):
    """
    A net and its training in numbers; there are L layers with weights.

    One type for every net: a new depth, width, loss, optimizer or batch size compiles nothing.
    All scratch is one vector, ``memory``, and the plan says what stands where: each array more that
    is handed from kernel to kernel is more to compile.

    A layer's block of activations is (samples, units) row by row on the blocks route; on the
    lanes route it is (units, samples), samples padded to a multiple of LANES. The inputs' block
    begins at 0.
    """

    layers: Indices
    """(L, 10): n_in, n_out, where W (row by row) and b begin in the parameters, where the blocks of
    inputs and outputs begin in ``memory``, the activation's code or address, where W stands packed
    there, and packed W^T, -1 where it does not; and of 2**53 units, how many are dropped."""
    factors: Array
    """(2 L,) float64: of each layer what the learning rate of W is multiplied by, and then that of
    b. 0 leaves them as they are."""
    numbers: Array
    """(L,) float64: of each layer the number that belongs to its activation, such as the slope of
    leaky_relu below 0. 0 if none does."""
    loss: int
    """Its code, or the address of the user's own."""
    edge: float
    """Of piecewise losses (`losses.piecewise_delta`): how far from 0 the error a - t bends;"""
    below: float
    above: float
    """and how steep they are beyond."""
    n_targets: int
    """Targets of a sample, mostly as many as outputs."""
    gain: float
    """Label smoothing: targets are gain t + offset. 1 for none."""
    offset: float
    mean: bool
    """Divide the batch's gradient by its number of samples, or by the sum of their weights."""
    labels: bool
    """Targets are class numbers, one a sample, instead of a row of n_targets values."""
    weighted: bool
    """Samples have weights."""
    stand_in: int
    """Number of a sample whose weight is not 0, which those of weight 0 are replaced by; -1 where
    there is none. Of a fleet each member has its own instead."""
    look: int
    """Which samples nobody has looked at yet: LOOK_AT_NOTHING where all are right, LOOK_AT_INPUTS,
    or LOOK_AT_ALL, with the targets. A kernel refuses inputs that are inf or nan;"""
    low: float
    """and targets below this,"""
    high: float
    """or above; and labels that are not whole."""
    batch_size: int
    chunk: int
    """Samples of a batch that have a gradient of their own; 0 if the batch has only one."""
    optimizer: int
    weight_decay: float
    decay_biases: bool
    """Biases decay like weights."""
    sklearn: SklearnRules
    clip_norm: float
    """What the norm of a batch's gradient is held to; 0 for no limit."""
    settings: Settings
    rate_in_velocity: bool
    """The learning rate is inside the velocity of a momentum: see `optimizers.velocity_rates`."""
    dropout_key: int
    scale_rows: int
    """The last rows of the slots, so many, belong to the scales of the inputs: see `scales`. 0 if
    there are none."""
    scale_rate: float
    """What the learning rate of the scales is multiplied by."""
    slopes: int
    """The slopes df/dz of a layer stand so far behind its block, which holds z and then a;"""
    deltas: int
    """and the derivatives of the batch's loss with respect to z so far."""
    targets: int
    """Where a block of n_targets for each sample begins;"""
    errors: int
    """and one of the outputs' shape: each output's part of the loss."""
    panels: int
    """Where the first rank packs the deltas of layers whose W is packed, and computes columns
    across (`blocks.columns_across`); in fleets where a group's settings and gradients stand;"""
    panel_size: int
    """so many numbers behind it, the next."""
    squares: int
    """Where in ``parts``, behind the losses, the gradient's sums of squares begin."""
    shares: int
    """Where each sample's share of the batch stands, if samples have weights."""
