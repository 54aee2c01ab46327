"""
The losses and their settings. What they compute is in `jitprop.functions`.

A sample's loss is the sum over its outputs: a are its outputs, y its targets.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from jitprop import checks
from jitprop._types import Array


class Loss:
    """What all losses have in common."""

    name: ClassVar[str]
    outputs: ClassVar[tuple[str, ...]] = ()
    """The output activations that it goes with; none named: any but softmax."""
    target_range: ClassVar[tuple[float, float]] = (-math.inf, math.inf)

    def check_outputs(self, n_outputs: int) -> None:
        """Raise a ValueError where the loss does not go with so many outputs."""

    def n_targets(self, n_outputs: int) -> int:
        """How many targets a sample has, in a net of so many outputs."""
        return n_outputs

    def smoothing(self, n_outputs: int) -> tuple[float, float]:
        """Gain and offset of the targets: y becomes gain y + offset."""
        del n_outputs
        return 1.0, 0.0

    def sample_weights(self, y: Array) -> Array | None:
        """(n_samples,) weights of samples with these targets, by their class; None for none."""
        del y
        return None


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

    def check_outputs(self, n_outputs: int) -> None:
        """Pairs of them."""
        if n_outputs % 2 == 1:
            raise ValueError(
                "layer_sizes must end in an even number for loss 'gaussian_nll', a mean and a "
                f"log-variance for each target; it ends in {n_outputs}"
            )

    def n_targets(self, n_outputs: int) -> int:
        """Half as many as outputs."""
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
    class_weight : sequence of 2 floats or {0: float, 1: float}, optional
        For one output: the weights w of samples of class 0 and 1, at least 0 and not both 0, in
        training and evaluation; of a y between, y w[1] + (1 - y) w[0]. As of ``sample_weight``,
        which it multiplies, a mean loss is sum w E / sum w.

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
    class_weight: Mapping[int, float] | Sequence[float] | None = None
    name: ClassVar[str] = "binary_cross_entropy"
    outputs: ClassVar[tuple[str, ...]] = ("sigmoid",)
    target_range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __post_init__(self) -> None:
        _check_settings(self)

    def check_outputs(self, n_outputs: int) -> None:
        """One, with class weights."""
        if self.class_weight is None:
            return
        if n_outputs != 1:
            raise ValueError(
                "class_weight of 'binary_cross_entropy' is for one output; layer_sizes ends in "
                f"{n_outputs}: give sample_weight to fit instead"
            )
        _check_number_of_classes(self.class_weight, 2)

    def sample_weights(self, y: Array) -> Array | None:
        """Between the two classes' weights."""
        if self.class_weight is None:
            return None
        of_0, of_1 = np.asarray(self.class_weight, y.dtype)
        weights: Array = (y * of_1 + (1 - y) * of_0)[:, 0]
        return weights

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
    class_weight : sequence of n floats or {0: float, 1: float, ...}, optional
        The weight w of samples of each class, at least 0 and not all 0, in training and
        evaluation; of a row of probabilities, sum y w. As of ``sample_weight``, which it
        multiplies, a mean loss is sum w E / sum w, as in PyTorch.

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
    class_weight: Mapping[int, float] | Sequence[float] | None = None
    name: ClassVar[str] = "cross_entropy"
    outputs: ClassVar[tuple[str, ...]] = ("softmax",)
    target_range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __post_init__(self) -> None:
        _check_settings(self)

    def check_outputs(self, n_outputs: int) -> None:
        """As many as class weights."""
        if self.class_weight is not None:
            _check_number_of_classes(self.class_weight, n_outputs)

    def sample_weights(self, y: Array) -> Array | None:
        """The class's weight, or that expected by the probabilities."""
        if self.class_weight is None:
            return None
        of_classes = np.asarray(self.class_weight, y.dtype)
        return of_classes[y.astype(np.int64)] if y.ndim == 1 else y @ of_classes

    def smoothing(self, n_outputs: int) -> tuple[float, float]:
        """Towards the same for each class."""
        return 1.0 - self.label_smoothing, self.label_smoothing / n_outputs


def _check_settings(loss: BinaryCrossEntropy | CrossEntropy) -> None:
    """Check the cross-entropies' settings; class weights become a tuple, class after class."""
    smoothing = checks.number("label_smoothing", loss.label_smoothing, low=0.0, below=1.0)
    object.__setattr__(loss, "label_smoothing", smoothing)
    given: Any = loss.class_weight
    if given is None:
        return
    if isinstance(given, Mapping):
        if set(given) != set(range(len(given))):
            raise ValueError(
                "class_weight must have a weight for each class, 0, 1, ...; "
                f"got {checks.shown(given)}"
            )
        given = [given[i] for i in range(len(given))]
    if not checks.is_list(given):
        raise TypeError(
            f"class_weight must be a list of floats or a dict of them; got {checks.shown(given)}"
        )
    weights = [checks.number(f"class_weight[{i}]", w, low=0.0) for i, w in enumerate(given)]
    if not any(weights):
        raise ValueError(f"class_weight must have some weight above 0; got {checks.shown(weights)}")
    object.__setattr__(loss, "class_weight", tuple(weights))


def _check_number_of_classes(class_weight: Any, n_classes: int) -> None:
    if len(class_weight) != n_classes:
        raise ValueError(
            f"class_weight must have {n_classes} weights, one for each class; "
            f"got {len(class_weight)}"
        )


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
    if isinstance(loss, Loss) and type(loss) is not Loss:
        return loss
    if isinstance(loss, str):
        return NAMED[checks.choice("loss", loss, tuple(NAMED))]()
    own = isinstance(loss, type) and issubclass(loss, Loss)
    hint = f": write {checks.name_of(loss)}()" if own else ""
    raise TypeError(
        f"loss must be a name, one of {', '.join(NAMED)}, or a Loss object such as "
        f"CrossEntropy(); got {checks.shown(loss)}{hint}"
    )
