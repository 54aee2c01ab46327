"""Activations with a number: objects that stand where the name of an activation stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from jitprop import checks
from jitprop.hints import hinting_class
from jitprop.net.custom import CustomActivation

MOST = 1e30
"""The limit of an activation's number, and of 1 by it: float32 must hold both."""


@hinting_class
@dataclass(frozen=True)
class LeakyReLU:
    """
    The activation a = z where z > 0, else negative_slope z.

    Its slope is 1 where z > 0, else ``negative_slope``. It is that of PyTorch and Keras 3.
    ``LeakyReLU()`` is the same as the name "leaky_relu", under which the net then shows and saves
    it. ``LeakyReLU(0)`` gives the numbers of "relu".

    Parameters
    ----------
    negative_slope : float, default 0.01
        At least 0, below 1e30.

    Raises
    ------
    TypeError, ValueError
        For any other value, naming the argument.

    References
    ----------
    Maas, Hannun and Ng, *Rectifier Nonlinearities Improve Neural Network Acoustic Models*, 2013.

    Examples
    --------
    >>> from jitprop import LeakyReLU, Trainer
    >>> one = [[[1.0]]], [[0.0]]
    >>> trainer = Trainer([1, 1], init=one, output_activation=LeakyReLU(0.25))
    >>> trainer.predict([[3.0], [-2.0]]).tolist()
    [[3.0], [-0.5]]
    """

    negative_slope: float = 0.01
    name: ClassVar[str] = "leaky_relu"

    def __post_init__(self) -> None:
        slope = checks.number("negative_slope", self.negative_slope, low=0.0, below=MOST)
        object.__setattr__(self, "negative_slope", slope)

    @property
    def number(self) -> float:
        """The number that kernels and `jitprop.functions` are told."""
        return self.negative_slope


@hinting_class
@dataclass(frozen=True)
class ELU:
    """
    The activation a = z where z > 0, else alpha (exp(z) - 1).

    Its slope is 1 where z > 0, else alpha exp(z). It is that of PyTorch and Keras 3. ``ELU()`` is
    the same as the name "elu", under which the net then shows and saves it.

    Parameters
    ----------
    alpha : float, default 1.0
        Above 0, below 1e30. For z << 0, a is -alpha.

    Raises
    ------
    TypeError, ValueError
        For any other value, naming the argument.

    References
    ----------
    Clevert, Unterthiner and Hochreiter, *Fast and Accurate Deep Network Learning by Exponential
    Linear Units*, arXiv:1511.07289.

    Examples
    --------
    >>> from jitprop import ELU, Trainer
    >>> one = [[[1.0]]], [[0.0]]
    >>> trainer = Trainer([1, 1], init=one, output_activation=ELU(0.5))
    >>> trainer.predict([[3.0], [-800.0]]).tolist()
    [[3.0], [-0.5]]
    """

    alpha: float = 1.0
    name: ClassVar[str] = "elu"

    def __post_init__(self) -> None:
        alpha = checks.number("alpha", self.alpha, above=0.0, below=MOST)
        object.__setattr__(self, "alpha", alpha)

    @property
    def number(self) -> float:
        """The number that kernels and `jitprop.functions` are told."""
        return self.alpha


@hinting_class
@dataclass(frozen=True)
class Softplus:
    """
    The activation a = log(1 + exp(beta z)) / beta.

    Its slope is sigmoid(beta z). The larger beta is, the nearer it is to "relu". ``Softplus()`` is
    the same as the name "softplus", under which the net then shows and saves it.

    Parameters
    ----------
    beta : float, default 1.0
        At least 1e-30, below 1e30.

    Raises
    ------
    TypeError, ValueError
        For any other value, naming the argument.

    Notes
    -----
    It is that of PyTorch without PyTorch's ``threshold``. Where beta z is above 20, PyTorch returns
    z itself, which is less than a by at most a 1e-10th part. Here the formula holds for every z.

    References
    ----------
    Glorot, Bordes and Bengio, *Deep Sparse Rectifier Neural Networks*, AISTATS 2011, for beta = 1.

    Examples
    --------
    >>> from jitprop import Softplus, Trainer
    >>> one = [[[1.0]]], [[0.0]]
    >>> trainer = Trainer([1, 1], init=one, output_activation=Softplus(beta=2))
    >>> trainer.predict([[0.0]]).round(6).tolist()  # log(2) / 2
    [[0.346574]]
    """

    beta: float = 1.0
    name: ClassVar[str] = "softplus"

    def __post_init__(self) -> None:
        beta = checks.number("beta", self.beta, low=1.0 / MOST, below=MOST)
        object.__setattr__(self, "beta", beta)

    @property
    def number(self) -> float:
        """The number that kernels and `jitprop.functions` are told."""
        return self.beta


Numbered: TypeAlias = LeakyReLU | ELU | Softplus
"""An activation with a number."""

Activation: TypeAlias = str | CustomActivation | Numbered
"""What a net has for each layer."""

NAMED: dict[str, Numbered] = {made.name: made for made in (LeakyReLU(), ELU(), Softplus())}
"""The objects that are the same as a name."""

CLASSES = tuple(type(made) for made in NAMED.values())


def resolve(argument: str, given: Any, known: tuple[str, ...]) -> Activation:
    """
    Check an activation; an object that is the same as a name becomes the name.

    Parameters
    ----------
    argument : str
        What the error calls it.
    given : object
    known : tuple of str
        The names that are allowed here.

    Raises
    ------
    TypeError, ValueError
        For anything else.
    """
    if isinstance(given, CustomActivation):
        return given
    if isinstance(given, Numbered):
        return given.name if given == NAMED[given.name] else given
    if isinstance(given, type) and given in CLASSES:
        raise TypeError(
            f"{argument} must be a name or an object; got the class {given.__name__}: "
            f"write {given.__name__}()"
        )
    if given is not None and not isinstance(given, str):
        objects = ", ".join(cls.__name__ for cls in (*CLASSES, CustomActivation))
        raise TypeError(
            f"{argument} must be a name, one of {', '.join(known)}, or an object of {objects}; "
            f"got {checks.shown(given)}"
        )
    return checks.choice(argument, given, known)


def is_single(given: Any) -> bool:
    """Whether this is one activation for all hidden layers, and not a list of them."""
    return isinstance(given, str | CustomActivation | Numbered)


def name_of(activation: Activation) -> str:
    """Return the name of an activation: that of an object with a number is without the number."""
    return activation if isinstance(activation, str) else activation.name


def number_of(activation: Activation) -> float | None:
    """Return an activation's number; None if it has none."""
    if isinstance(activation, str):
        activation = NAMED.get(activation, activation)
    return activation.number if isinstance(activation, Numbered) else None
