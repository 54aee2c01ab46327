"""What a kernel is told of a net and its training, and how its scratch memory is laid out."""

from __future__ import annotations

from typing import NamedTuple

from jitprop_kernels._types import Indices

# Columns of `Plan.layers`.
N_IN, N_OUT, WEIGHTS, BIASES, INPUTS, OUTPUTS, ACTIVATION = range(7)


class Plan(NamedTuple):
    """
    A net and its training in numbers; there are L layers with weights.

    One type for every net: a new depth, width, loss, optimizer or batch size compiles nothing.
    All scratch is one vector, ``memory``, and the plan says what stands where: each array handed
    from kernel to kernel is seven arguments to LLVM, and five of them doubled the compile time.

    A layer's block of activations is (samples, units) row by row on the BLAS route; on the lanes
    route it is (units, samples), samples padded to a multiple of `lanes.LANES`.
    """

    layers: Indices
    """(L, 7): n_in, n_out, where W (row by row) and b begin in the parameters, where the block of
    inputs and that of outputs begin within z, slopes or deltas, and the activation's code."""
    loss: int
    mean: bool
    """Divide the batch's gradient by its number of samples."""
    labels: bool
    """Targets are class numbers, one a sample, instead of a row of n_out values."""
    batch_size: int
    optimizer: int
    learning_rate: float
    weight_decay: float
    decay_1: float
    """Momentum, or Adam's beta_1."""
    decay_2: float
    """Adam's beta_2."""
    epsilon: float
    zero: int
    """0. As an argument, a literal 0 is a type of its own, and what it calls compiles twice."""
    slopes: int
    """Where in ``memory`` the slopes df/dz begin; before them, from 0, stand z and then a."""
    deltas: int
    """The derivatives of the batch's loss with respect to z."""
    targets: int
    """A block of the outputs' shape."""
    errors: int
    """Another: each output's share of the loss."""
    ones: int
    """A sample's worth of 1 each: sums over samples are products with it."""
    gradient: int
    """(P,) the gradient; nothing for plain SGD, which forms none."""
