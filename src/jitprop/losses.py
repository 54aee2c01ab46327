"""
The losses and their settings. What they compute is in `jitprop.functions`.

A sample's loss is the sum over its outputs: a are its outputs, y its targets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from jitprop import checks


@dataclass(frozen=True)
class Loss:
    """What all losses have in common."""

    name: ClassVar[str]
    outputs: ClassVar[tuple[str, ...]] = ()
    """The output activations that it goes with; none named: any but softmax."""
    target_range: ClassVar[tuple[float, float]] = (-math.inf, math.inf)

    def n_targets(self, n_outputs: int) -> int:
        """How many targets a sample has, in a net of so many outputs."""
        return n_outputs

    def smoothing(self, n_outputs: int) -> tuple[float, float]:
        """Gain and offset of the targets: y becomes gain y + offset."""
        del n_outputs
        return 1.0, 0.0


@dataclass(frozen=True)
class HalfSquaredError(Loss):
    """E = 1/2 sum (a - y)**2."""

    name: ClassVar[str] = "half_squared_error"


@dataclass(frozen=True)
class SquaredError(Loss):
    """E = sum (a - y)**2, without 1/2."""

    name: ClassVar[str] = "squared_error"


@dataclass(frozen=True)
class AbsoluteError(Loss):
    """E = sum abs(a - y). Where a = y its derivative is taken to be 0."""

    name: ClassVar[str] = "absolute_error"


@dataclass(frozen=True)
class Huber(Loss):
    """
    E = sum of (a - y)**2 / 2 where abs(a - y) <= delta, else delta (abs(a - y) - delta / 2).

    Parameters
    ----------
    delta : float, default 1.0
        Above 0: up to here the loss is a parabola, beyond a line.

    Raises
    ------
    TypeError, ValueError
        For anything else, naming the argument.

    References
    ----------
    Huber, *Robust Estimation of a Location Parameter*, Annals of Mathematical Statistics 35, 1964;
    the factor is that of PyTorch's HuberLoss and Keras' Huber.
    """

    delta: float = 1.0
    name: ClassVar[str] = "huber"

    def __post_init__(self) -> None:
        object.__setattr__(self, "delta", checks.number("delta", self.delta, above=0.0))


@dataclass(frozen=True)
class Quantile(Loss):
    """
    The pinball loss: E = sum of q (y - a) where y > a, else (1 - q) (a - y).

    Its minimum is the q-th quantile of y; with q = 1/2, half the absolute error, the median. Where
    a = y its derivative is taken to be 0.

    Parameters
    ----------
    q : float, default 0.5
        Above 0, below 1.

    Raises
    ------
    TypeError, ValueError
        For anything else, naming the argument.

    References
    ----------
    Koenker and Bassett, *Regression Quantiles*, Econometrica 46, 1978.
    """

    q: float = 0.5
    name: ClassVar[str] = "quantile"

    def __post_init__(self) -> None:
        object.__setattr__(self, "q", checks.number("q", self.q, above=0.0, below=1.0))


@dataclass(frozen=True)
class Poisson(Loss):
    """
    E = sum (rate - y log rate): counts y, at least 0, of which the net tells the rate.

    Computed from z = log rate as exp(z) - y z, in which no log(0) can come up. With
    ``output_activation="exp"`` the outputs are the rates, as in Keras; with "identity" they are
    z, the rates' logarithms, as PyTorch's PoissonNLLLoss has it.

    References
    ----------
    McCullagh and Nelder, *Generalized Linear Models*, 1989, chapter 6. The term log(y!) of the
    likelihood, in which no parameter stands, is left out.
    """

    name: ClassVar[str] = "poisson"
    outputs: ClassVar[tuple[str, ...]] = ("exp", "identity")
    target_range: ClassVar[tuple[float, float]] = (0.0, math.inf)


@dataclass(frozen=True)
class GaussianNLL(Loss):
    """
    E = 1/2 sum [s + (y - mean)**2 exp(-s)]: normal y, of which the net tells mean and variance.

    The net has 2 k identity outputs for k targets: the k means, then the k log-variances s.

    References
    ----------
    Nix and Weigend, *Estimating the mean and variance of the target probability distribution*,
    ICNN 1994. As in PyTorch's GaussianNLLLoss with full=False the constant log(2 pi) / 2 is left
    out; s is the logarithm of the variance, so that no variance needs to be kept above 0.
    """

    name: ClassVar[str] = "gaussian_nll"
    outputs: ClassVar[tuple[str, ...]] = ("identity",)

    def n_targets(self, n_outputs: int) -> int:
        """Half as many as outputs."""
        if n_outputs % 2 == 1:
            raise ValueError(
                "layer_sizes must end in an even number for loss 'gaussian_nll', a mean and a "
                f"log-variance for each target; it ends in {n_outputs}"
            )
        return n_outputs // 2


@dataclass(frozen=True)
class BinaryCrossEntropy(Loss):
    """
    E = -sum [y log a + (1 - y) log(1 - a)], for sigmoid outputs and y from 0 to 1.

    Computed from z, so that no saturated unit gives log(0).

    Parameters
    ----------
    label_smoothing : float, default 0.0
        At least 0, below 1. With it, e, y becomes (1 - e) y + e / 2, in training and evaluation.

    Raises
    ------
    TypeError, ValueError
        For anything else, naming the argument.

    References
    ----------
    Szegedy et al., *Rethinking the Inception Architecture for Computer Vision*, CVPR 2016, section
    7, in Keras' form.
    """

    label_smoothing: float = 0.0
    name: ClassVar[str] = "binary_cross_entropy"
    outputs: ClassVar[tuple[str, ...]] = ("sigmoid",)
    target_range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __post_init__(self) -> None:
        _check_smoothing(self)

    def smoothing(self, n_outputs: int) -> tuple[float, float]:
        """Towards 1/2."""
        del n_outputs
        return 1.0 - self.label_smoothing, self.label_smoothing / 2


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """
    E = -sum y log a, for softmax outputs; y is a row of n probabilities or a class label.

    Computed from z, so that no saturated unit gives log(0).

    Parameters
    ----------
    label_smoothing : float, default 0.0
        At least 0, below 1. With it, e, y becomes (1 - e) y + e / n, in training and evaluation.

    Raises
    ------
    TypeError, ValueError
        For anything else, naming the argument.

    References
    ----------
    Szegedy et al., *Rethinking the Inception Architecture for Computer Vision*, CVPR 2016, section
    7.
    """

    label_smoothing: float = 0.0
    name: ClassVar[str] = "cross_entropy"
    outputs: ClassVar[tuple[str, ...]] = ("softmax",)
    target_range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __post_init__(self) -> None:
        _check_smoothing(self)

    def smoothing(self, n_outputs: int) -> tuple[float, float]:
        """Towards the same for each class."""
        return 1.0 - self.label_smoothing, self.label_smoothing / n_outputs


def _check_smoothing(loss: BinaryCrossEntropy | CrossEntropy) -> None:
    smoothing = checks.number("label_smoothing", loss.label_smoothing, low=0.0, below=1.0)
    object.__setattr__(loss, "label_smoothing", smoothing)


NAMED: dict[str, type[Loss]] = {
    loss.name: loss
    for loss in (
        HalfSquaredError,
        SquaredError,
        AbsoluteError,
        Huber,
        Quantile,
        Poisson,
        GaussianNLL,
        BinaryCrossEntropy,
        CrossEntropy,
    )
}


def resolve(loss: object) -> Loss:
    """A loss from its name or from itself."""
    if isinstance(loss, Loss) and isinstance(loss, tuple(NAMED.values())):
        return loss
    if isinstance(loss, str):
        return NAMED[checks.choice("loss", loss, tuple(NAMED))]()
    raise TypeError(
        f"loss must be a name, one of {', '.join(NAMED)}, or a Loss object such as "
        f"CrossEntropy(); got {checks.shown(loss)}"
    )
