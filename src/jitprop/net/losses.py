"""
The losses and their settings. `jitprop.functions` computes them.

In each formula, a are the outputs of one sample and y its targets. The sample's loss E is the sum
over its outputs; a batch's loss is the mean or the sum of its samples' losses (``reduction``).
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
    """The base of all losses."""

    name: ClassVar[str]
    """What `Trainer`'s argument ``loss`` calls it."""
    outputs: ClassVar[tuple[str, ...]] = ()
    """The output activations that the loss can be used with; empty for all but softmax."""
    target_range: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
    """The smallest and the largest target that the loss allows."""

    def check_outputs(self, n_outputs: int) -> None:
        """Raise a ValueError if a net with this loss cannot have so many outputs."""

    def n_targets(self, n_outputs: int) -> int:
        """Return the number of targets of a sample, for a net with so many outputs."""
        return n_outputs

    def smoothing(self, n_outputs: int) -> tuple[float, float]:
        """Return a gain and an offset: each target y is replaced by gain y + offset."""
        del n_outputs
        return 1.0, 0.0

    def sample_weights(self, y: Array) -> Array | None:
        """Return the (n_samples,) class weights of samples with these targets; None for none."""
        del y
        return None


@dataclass(frozen=True)
class HalfSquaredError(Loss):
    """
    Half the squared error: E = 1/2 sum (a - y)**2.

    Examples
    --------
    >>> from jitprop import HalfSquaredError, Trainer
    >>> doubles = [[[2.0]]], [[0.0]]
    >>> loss = HalfSquaredError()
    >>> trainer = Trainer([1, 1], init=doubles, output_activation="identity", loss=loss)
    >>> trainer.evaluate([[1.0]], [5.0])  # (2 - 5)**2 / 2
    4.5
    """

    name: ClassVar[str] = "half_squared_error"


@dataclass(frozen=True)
class SquaredError(Loss):
    """
    The squared error, without the factor 1/2: E = sum (a - y)**2.

    Examples
    --------
    >>> from jitprop import SquaredError, Trainer
    >>> doubles = [[[2.0]]], [[0.0]]
    >>> trainer = Trainer([1, 1], init=doubles, output_activation="identity", loss=SquaredError())
    >>> trainer.evaluate([[1.0]], [5.0])  # (2 - 5)**2
    9.0
    """

    name: ClassVar[str] = "squared_error"


@dataclass(frozen=True)
class AbsoluteError(Loss):
    """
    The absolute error: E = sum abs(a - y). Where a = y, its derivative is defined as 0.

    Examples
    --------
    >>> from jitprop import AbsoluteError, Trainer
    >>> doubles = [[[2.0]]], [[0.0]]
    >>> trainer = Trainer([1, 1], init=doubles, output_activation="identity", loss=AbsoluteError())
    >>> trainer.evaluate([[1.0]], [5.0])  # abs(2 - 5)
    3.0
    """

    name: ClassVar[str] = "absolute_error"


@dataclass(frozen=True)
class Huber(Loss):
    """
    The Huber loss: quadratic for small errors, linear for large ones.

    E is the sum of (a - y)**2 / 2 where abs(a - y) <= delta, else of
    delta (abs(a - y) - delta / 2).

    Parameters
    ----------
    delta : float, default 1.0
        The error up to which the loss is quadratic, above 0.

    Raises
    ------
    TypeError, ValueError
        For any other value, naming the argument.

    References
    ----------
    Huber, *Robust Estimation of a Location Parameter*, Annals of Mathematical Statistics 35, 1964.
    The factor is that of PyTorch's HuberLoss and Keras' Huber.

    Examples
    --------
    >>> from jitprop import Huber, Trainer
    >>> doubles = [[[2.0]]], [[0.0]]
    >>> trainer = Trainer([1, 1], init=doubles, output_activation="identity", loss=Huber(0.5))
    >>> trainer.evaluate([[1.0]], [5.0])  # 0.5 (3 - 0.5 / 2)
    1.375
    """

    delta: float = 1.0
    name: ClassVar[str] = "huber"

    def __post_init__(self) -> None:
        object.__setattr__(self, "delta", checks.number("delta", self.delta, above=0.0))


@dataclass(frozen=True)
class Quantile(Loss):
    """
    The pinball loss, with which a net predicts a quantile of y.

    E is the sum of q (y - a) where y > a, else of (1 - q) (a - y). The output that minimises it is
    the q-quantile of y. With q = 1/2 it is half the absolute error, and the output is the median.
    Where a = y, the derivative is defined as 0.

    Parameters
    ----------
    q : float, default 0.5
        Above 0, below 1.

    Raises
    ------
    TypeError, ValueError
        For any other value, naming the argument.

    References
    ----------
    Koenker and Bassett, *Regression Quantiles*, Econometrica 46, 1978.

    Examples
    --------
    >>> from jitprop import Quantile, Trainer
    >>> doubles = [[[2.0]]], [[0.0]]
    >>> trainer = Trainer([1, 1], init=doubles, output_activation="identity", loss=Quantile(0.9))
    >>> trainer.evaluate([[1.0]], [5.0])  # 0.9 (5 - 2)
    2.7
    """

    q: float = 0.5
    name: ClassVar[str] = "quantile"

    def __post_init__(self) -> None:
        object.__setattr__(self, "q", checks.number("q", self.q, above=0.0, below=1.0))


@dataclass(frozen=True)
class Poisson(Loss):
    """
    The loss for counts: the net predicts their rate, and E = sum (rate - y log rate).

    Counts y are at least 0. The loss is computed from z = log(rate) as exp(z) - y z, so log(0)
    never occurs. With ``output_activation="exp"`` the outputs are the rates, as in Keras. With
    "identity" they are z, the logarithms of the rates, as in PyTorch's PoissonNLLLoss.

    References
    ----------
    McCullagh and Nelder, *Generalized Linear Models*, 1989, chapter 6. The term log(y!) of the
    likelihood is left out, since it does not depend on the parameters.

    Examples
    --------
    >>> from jitprop import Poisson, Trainer
    >>> nothing = [[[0.0]]], [[0.0]]
    >>> trainer = Trainer([1, 1], init=nothing, output_activation="exp", loss=Poisson())
    >>> trainer.predict([[1.0]]).tolist()
    [[1.0]]
    >>> trainer.evaluate([[1.0]], [3.0])  # 1 - 3 log(1)
    1.0
    """

    name: ClassVar[str] = "poisson"
    outputs: ClassVar[tuple[str, ...]] = ("exp", "identity")
    target_range: ClassVar[tuple[float, float]] = (0.0, math.inf)


@dataclass(frozen=True)
class GaussianNLL(Loss):
    """
    The loss for normally distributed targets: the net predicts their mean and their variance.

    E = 1/2 sum [s + (y - mean)**2 exp(-s)], with s = log(variance). For k targets the net has 2 k
    outputs with ``output_activation="identity"``: first the k means, then the k log-variances s.

    References
    ----------
    Nix and Weigend, *Estimating the mean and variance of the target probability distribution*,
    ICNN 1994. The constant log(2 pi) / 2 is left out, as in PyTorch's GaussianNLLLoss with
    full=False. An output is the logarithm of the variance, so that any number is allowed.

    Examples
    --------
    >>> from jitprop import GaussianNLL, Trainer
    >>> nothing = [[[0.0, 0.0]]], [[0.0, 0.0]]
    >>> trainer = Trainer([1, 2], init=nothing, output_activation="identity", loss=GaussianNLL())
    >>> trainer.evaluate([[1.0]], [3.0])  # a mean of 0 and a log-variance of 0: (3 - 0)**2 / 2
    4.5
    """

    name: ClassVar[str] = "gaussian_nll"
    outputs: ClassVar[tuple[str, ...]] = ("identity",)

    def check_outputs(self, n_outputs: int) -> None:
        """Refuse an odd number of outputs."""
        if n_outputs % 2 == 1:
            raise ValueError(
                "layer_sizes must end in an even number for loss 'gaussian_nll', a mean and a "
                f"log-variance for each target; it ends in {n_outputs}"
            )

    def n_targets(self, n_outputs: int) -> int:
        """Return half the number of outputs."""
        return n_outputs // 2


@dataclass(frozen=True)
class BinaryCrossEntropy(Loss):
    """
    Binary cross-entropy for sigmoid outputs: E = -sum [y log a + (1 - y) log(1 - a)].

    Targets y are from 0 to 1. The loss is computed from z, so a saturated unit never gives log(0).

    Parameters
    ----------
    label_smoothing : float, default 0.0
        At least 0, below 1. A smoothing of e replaces y by (1 - e) y + e / 2, in training and in
        evaluation.
    class_weight : sequence of 2 floats or {0: float, 1: float}, optional
        For nets with one output: the weights w[0] and w[1] of samples of class 0 and class 1, at
        least 0 and not both 0. A sample with y between 0 and 1 has the weight
        y w[1] + (1 - y) w[0]. Class weights multiply ``sample_weight`` and act like it, in
        training and in evaluation: a mean loss is sum w E / sum w.

    Raises
    ------
    TypeError, ValueError
        For any other value, naming the argument.

    References
    ----------
    Szegedy et al., *Rethinking the Inception Architecture for Computer Vision*, CVPR 2016, section
    7, in the form of Keras.

    Examples
    --------
    >>> from jitprop import BinaryCrossEntropy, Trainer
    >>> loss = BinaryCrossEntropy(class_weight={0: 1, 1: 3})
    >>> trainer = Trainer([1, 1], init=([[[0.0]]], [[1.0986]]), loss=loss)
    >>> trainer.predict([[1.0]]).round(3).tolist()
    [[0.75]]
    >>> round(trainer.evaluate([[1.0], [2.0]], [0, 1]), 3)  # -(log(1 - 0.75) + 3 log(0.75)) / 4
    0.562
    """

    label_smoothing: float = 0.0
    class_weight: Mapping[int, float] | Sequence[float] | None = None
    name: ClassVar[str] = "binary_cross_entropy"
    outputs: ClassVar[tuple[str, ...]] = ("sigmoid",)
    target_range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __post_init__(self) -> None:
        _check_settings(self)

    def check_outputs(self, n_outputs: int) -> None:
        """Refuse class weights with more than one output."""
        if self.class_weight is None:
            return
        if n_outputs != 1:
            raise ValueError(
                "class_weight of 'binary_cross_entropy' is for one output; layer_sizes ends in "
                f"{n_outputs}: pass sample_weight to fit instead"
            )
        _check_number_of_classes(self.class_weight, 2)

    def sample_weights(self, y: Array) -> Array | None:
        """Return y w[1] + (1 - y) w[0] for each sample."""
        if self.class_weight is None:
            return None
        w_0, w_1 = np.asarray(self.class_weight, y.dtype)
        weights: Array = (y * w_1 + (1 - y) * w_0)[:, 0]
        return weights

    def smoothing(self, n_outputs: int) -> tuple[float, float]:
        """Return the gain and the offset that move targets towards 1/2."""
        del n_outputs
        return 1.0 - self.label_smoothing, self.label_smoothing / 2


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """
    Cross-entropy for softmax outputs: E = -sum y log a.

    The targets y of a sample are a row of n probabilities, or a class label. The loss is computed
    from z, so a saturated unit never gives log(0).

    Parameters
    ----------
    label_smoothing : float, default 0.0
        At least 0, below 1. A smoothing of e replaces y by (1 - e) y + e / n, in training and in
        evaluation.
    class_weight : sequence of n floats or {0: float, 1: float, ...}, optional
        The weight of the samples of each class, at least 0 and not all 0. A sample whose targets
        are probabilities has the weight sum y w. Class weights multiply ``sample_weight`` and act
        like it, in training and in evaluation: a mean loss is sum w E / sum w, as in PyTorch.

    Raises
    ------
    TypeError, ValueError
        For any other value, naming the argument.

    References
    ----------
    Szegedy et al., *Rethinking the Inception Architecture for Computer Vision*, CVPR 2016, section
    7.

    Examples
    --------
    >>> from jitprop import CrossEntropy, Trainer
    >>> nothing = [[[0.0, 0.0]]], [[0.0, 0.0]]
    >>> loss = CrossEntropy(label_smoothing=0.1)
    >>> trainer = Trainer([1, 2], init=nothing, output_activation="softmax", loss=loss)
    >>> round(trainer.evaluate([[1.0], [2.0]], [0, 1]), 6)  # log(2): both classes are as likely
    0.693147
    """

    label_smoothing: float = 0.0
    class_weight: Mapping[int, float] | Sequence[float] | None = None
    name: ClassVar[str] = "cross_entropy"
    outputs: ClassVar[tuple[str, ...]] = ("softmax",)
    target_range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __post_init__(self) -> None:
        _check_settings(self)

    def check_outputs(self, n_outputs: int) -> None:
        """Refuse another number of outputs than of class weights."""
        if self.class_weight is not None:
            _check_number_of_classes(self.class_weight, n_outputs)

    def sample_weights(self, y: Array) -> Array | None:
        """Return the weight of each sample's class; for rows of probabilities, sum y w."""
        if self.class_weight is None:
            return None
        w = np.asarray(self.class_weight, y.dtype)
        return w[y.astype(np.int64)] if y.ndim == 1 else (y * w).sum(axis=-1)

    def smoothing(self, n_outputs: int) -> tuple[float, float]:
        """Return the gain and the offset that move targets towards 1 / n_outputs."""
        return 1.0 - self.label_smoothing, self.label_smoothing / n_outputs


def _check_settings(loss: BinaryCrossEntropy | CrossEntropy) -> None:
    """Check the settings of a cross-entropy; class weights become a tuple in the classes' order."""
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
        hint = ": len(y) / (n_classes * np.bincount(y)) is balanced" if given == "balanced" else ""
        raise TypeError(
            "class_weight must be a list of floats or a dict of them, one for each class; "
            f"got {checks.shown(given)}{hint}"
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
    """
    Return the loss for a name; a loss object stays as it is.

    Raises
    ------
    TypeError, ValueError
        For anything else.
    """
    if isinstance(loss, Loss) and type(loss) is not Loss:
        return loss
    if isinstance(loss, str):
        return NAMED[checks.choice("loss", loss, tuple(NAMED))]()
    is_class = isinstance(loss, type) and issubclass(loss, Loss)
    hint = f": write {checks.name_of(loss)}()" if is_class else ""
    raise TypeError(
        f"loss must be a name, one of {', '.join(NAMED)}, or a Loss object such as "
        f"CrossEntropy(); got {checks.shown(loss)}{hint}"
    )
