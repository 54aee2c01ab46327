"""What both backends are told of a net: names and numbers, checked, immutable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from jitprop.optimizers import Optimizer

Activation: TypeAlias = Literal[
    "sigmoid",
    "tanh",
    "relu",
    "leaky_relu",
    "elu",
    "softplus",
    "gelu",
    "silu",
    "identity",
    "softmax",
]
Loss: TypeAlias = Literal[
    "half_squared_error", "squared_error", "binary_cross_entropy", "cross_entropy"
]
Reduction: TypeAlias = Literal["mean", "sum"]

OUTPUT_ACTIVATIONS: tuple[str, ...] = get_args(Activation)
HIDDEN_ACTIVATIONS = tuple(name for name in OUTPUT_ACTIVATIONS if name != "softmax")
LOSSES: tuple[str, ...] = get_args(Loss)
REDUCTIONS: tuple[str, ...] = get_args(Reduction)


@dataclass(frozen=True)
class Spec:
    """
    A net and how to train it.

    The parameters of a net are one flat vector: W[0] row by row, b[0], W[1], b[1], ... so that
    depth and width are numbers, and an optimizer or a checkpoint sees one array.
    """

    layer_sizes: tuple[int, ...]
    activations: tuple[str, ...]
    """One per product: the hidden layers', then the output's."""
    loss: str
    reduction: str
    optimizer: Optimizer
    learning_rate: float
    weight_decay: float
    batch_size: int | None

    @property
    def weights_at(self) -> tuple[int, ...]:
        """Where each W begins in the parameters."""
        return tuple(self._offsets()[0])

    @property
    def biases_at(self) -> tuple[int, ...]:
        """Where each b begins in the parameters."""
        return tuple(self._offsets()[1])

    @property
    def n_parameters(self) -> int:
        """The length P of the vector of parameters."""
        return sum((n_in + 1) * n_out for n_in, n_out in self.shapes)

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """(n_in, n_out) of each W."""
        return list(zip(self.layer_sizes[:-1], self.layer_sizes[1:], strict=True))

    def batch(self, n_samples: int) -> int:
        """Samples in a batch, of ``n_samples``."""
        return n_samples if self.batch_size is None else min(self.batch_size, n_samples)

    def _offsets(self) -> tuple[list[int], list[int]]:
        weights, biases, at = [], [], 0
        for n_in, n_out in self.shapes:
            weights.append(at)
            biases.append(at + n_in * n_out)
            at += (n_in + 1) * n_out
        return weights, biases
