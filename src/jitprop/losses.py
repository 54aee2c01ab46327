"""The losses and their settings. What they compute is in `jitprop.reference`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from jitprop import checks


@dataclass(frozen=True)
class Loss:
    """What all losses have in common; a and y are a sample's outputs and targets."""

    name: ClassVar[str]
    output: ClassVar[str | None] = None
    """The one output activation that it goes with; None for any but softmax."""

    def n_targets(self, n_outputs: int) -> int:
        """How many targets a sample has, in a net of so many outputs."""
        return n_outputs


@dataclass(frozen=True)
class HalfSquaredError(Loss):
    """E = 1/2 sum (a - y)**2, the sum being over a sample's outputs."""

    name: ClassVar[str] = "half_squared_error"


@dataclass(frozen=True)
class SquaredError(Loss):
    """E = sum (a - y)**2, the sum, without 1/2, being over a sample's outputs."""

    name: ClassVar[str] = "squared_error"


@dataclass(frozen=True)
class BinaryCrossEntropy(Loss):
    """
    E = -sum [y log a + (1 - y) log(1 - a)], for sigmoid outputs and y from 0 to 1.

    Computed from z, so that no saturated unit gives log(0).
    """

    name: ClassVar[str] = "binary_cross_entropy"
    output: ClassVar[str | None] = "sigmoid"


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """
    E = -sum y log a, for softmax outputs; y is a row of probabilities or a class label.

    Computed from z, so that no saturated unit gives log(0).
    """

    name: ClassVar[str] = "cross_entropy"
    output: ClassVar[str | None] = "softmax"


NAMED: dict[str, type[Loss]] = {
    loss.name: loss for loss in (HalfSquaredError, SquaredError, BinaryCrossEntropy, CrossEntropy)
}


def resolve(loss: object) -> Loss:
    """A loss from its name or from itself."""
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, str):
        return NAMED[checks.choice("loss", loss, tuple(NAMED))]()
    raise TypeError(
        f"loss must be a name, one of {', '.join(NAMED)}, or a Loss object such as "
        f"CrossEntropy(); got {checks.shown(loss)}"
    )
