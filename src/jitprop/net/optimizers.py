"""The optimizers and their settings. What they compute is in `jitprop.reference`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from jitprop import checks
from jitprop.hints import hinting_class


@hinting_class
@dataclass(frozen=True)
class SGD:
    """
    Stochastic gradient descent, W <- W - learning_rate g.

    With momentum v <- momentum v - learning_rate g and W <- W + v; with Nesterov's
    W <- W + momentum v - learning_rate g, v being the new one.

    Parameters
    ----------
    momentum : float, default 0.0
        At least 0, below 1.
    nesterov : bool, default False
        Needs a momentum above 0.

    Raises
    ------
    TypeError, ValueError
        For anything else, naming the argument.

    References
    ----------
    Sutskever et al., *On the importance of initialization and momentum in deep learning*, ICML
    2013. The form, with the learning rate inside the velocity, is scikit-learn's and Keras'.
    """

    momentum: float = 0.0
    nesterov: bool = False
    name: ClassVar[str] = "sgd"
    default_rate: ClassVar[float] = 0.1

    def __post_init__(self) -> None:
        momentum = checks.number("momentum", self.momentum, low=0.0, below=1.0)
        object.__setattr__(self, "momentum", momentum)  # the float: kernels know no other number
        object.__setattr__(self, "nesterov", checks.boolean("nesterov", self.nesterov))
        if self.nesterov and self.momentum == 0.0:
            raise ValueError("nesterov=True needs a momentum above 0; got momentum=0.0")

    @property
    def n_slots(self) -> int:
        """Numbers kept per parameter between updates."""
        return 0 if self.momentum == 0.0 else 1


@hinting_class
@dataclass(frozen=True)
class Adam:
    """
    Adam: the gradient over the root of its mean square, both as running means.

    m <- beta_1 m + (1 - beta_1) g, v <- beta_2 v + (1 - beta_2) g**2 and
    W <- W - learning_rate sqrt(1 - beta_2**t) / (1 - beta_1**t) m / (sqrt(v) + epsilon) at
    update t = 1, 2, ...

    Parameters
    ----------
    beta_1 : float, default 0.9
    beta_2 : float, default 0.999
        At least 0, below 1.
    epsilon : float, default 1e-8
        Above 0. It stands beside sqrt(v) itself, as in scikit-learn and Keras.

    Raises
    ------
    TypeError, ValueError
        For anything else, naming the argument.

    References
    ----------
    Kingma and Ba, *Adam: A Method for Stochastic Optimization*, arXiv:1412.6980; the order of
    computation at the end of its section 2.
    """

    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    name: ClassVar[str] = "adam"
    default_rate: ClassVar[float] = 0.001
    n_slots: ClassVar[int] = 2

    def __post_init__(self) -> None:
        for name in ("beta_1", "beta_2"):
            beta = checks.number(name, getattr(self, name), low=0.0, below=1.0)
            object.__setattr__(self, name, beta)
        object.__setattr__(self, "epsilon", checks.number("epsilon", self.epsilon, above=0.0))


@hinting_class
@dataclass(frozen=True)
class AdamW(Adam):
    """
    Adam with decoupled weight decay: W <- (1 - learning_rate weight_decay) W before Adam's step.

    `Trainer`'s ``weight_decay`` gives the decay; it stays out of the gradient, and biases have
    none. Parameters and errors are those of `Adam`.

    References
    ----------
    Loshchilov and Hutter, *Decoupled Weight Decay Regularization*, arXiv:1711.05101, in
    PyTorch's form (the decay is multiplied by the learning rate).
    """

    name: ClassVar[str] = "adamw"


@hinting_class
@dataclass(frozen=True)
class RMSprop:
    """
    RMSprop: the gradient over the root of its running mean square.

    v <- rho v + (1 - rho) g**2, u <- momentum u - learning_rate g / (sqrt(v) + epsilon) and
    W <- W + u.

    Parameters
    ----------
    rho : float, default 0.9
    momentum : float, default 0.0
        At least 0, below 1.
    epsilon : float, default 1e-8
        Above 0. It stands beside sqrt(v), as in `Adam` and PyTorch; in Keras, beside v.

    Raises
    ------
    TypeError, ValueError
        For anything else, naming the argument.

    References
    ----------
    Hinton, Srivastava and Swersky, *Neural Networks for Machine Learning*, lecture 6e, 2012.
    """

    rho: float = 0.9
    momentum: float = 0.0
    epsilon: float = 1e-8
    name: ClassVar[str] = "rmsprop"
    default_rate: ClassVar[float] = 0.001

    def __post_init__(self) -> None:
        for name in ("rho", "momentum"):
            value = checks.number(name, getattr(self, name), low=0.0, below=1.0)
            object.__setattr__(self, name, value)
        object.__setattr__(self, "epsilon", checks.number("epsilon", self.epsilon, above=0.0))

    @property
    def n_slots(self) -> int:
        """Numbers kept per parameter between updates."""
        return 1 if self.momentum == 0.0 else 2


@hinting_class
@dataclass(frozen=True)
class Rprop:
    """
    Resilient backpropagation: of the gradient, which must be that of a full batch, the signs alone.

    Every parameter has a step d of its own, the learning rate at first. At each update

    - where g has the sign that it had before, d <- min(eta_plus d, step_max), W <- W - sign(g) d;
    - where it has the other, d <- max(eta_minus d, step_min), W stays, and the next update leaves
      d as it is;
    - where it is or was 0, W <- W - sign(g) d.

    It needs ``batch_size=None``, or one that holds all samples, and as learning rate a number:
    after the first update that has no part in it.

    Parameters
    ----------
    eta_minus : float, default 0.5
        Above 0, below 1.
    eta_plus : float, default 1.2
        Above 1.
    step_min : float, default 1e-6
    step_max : float, default 50.0
        Above 0, and not below ``step_min``. The first step is held between them too.

    Raises
    ------
    TypeError, ValueError
        For anything else, naming the argument.

    References
    ----------
    Riedmiller and Braun, *A Direct Adaptive Method for Faster Backpropagation Learning: The RPROP
    Algorithm*, ICNN 1993; in the form iRprop- of Igel and Hüsken, *Improving the Rprop Learning
    Algorithm*, NC 2000, which is PyTorch's too.
    """

    eta_minus: float = 0.5
    eta_plus: float = 1.2
    step_min: float = 1e-6
    step_max: float = 50.0
    name: ClassVar[str] = "rprop"
    default_rate: ClassVar[float] = 0.1
    n_slots: ClassVar[int] = 2

    def __post_init__(self) -> None:
        eta_minus = checks.number("eta_minus", self.eta_minus, above=0.0, below=1.0)
        eta_plus = checks.number("eta_plus", self.eta_plus, above=1.0)
        step_min = checks.number("step_min", self.step_min, above=0.0)
        step_max = checks.number("step_max", self.step_max, low=step_min)
        object.__setattr__(self, "eta_minus", eta_minus)
        object.__setattr__(self, "eta_plus", eta_plus)
        object.__setattr__(self, "step_min", step_min)
        object.__setattr__(self, "step_max", step_max)


Optimizer: TypeAlias = SGD | Adam | AdamW | RMSprop | Rprop


def resolve(optimizer: object) -> Optimizer:
    """An optimizer from its name or from itself."""
    known: tuple[type[Optimizer], ...] = SGD, Adam, AdamW, RMSprop, Rprop
    if isinstance(optimizer, known):
        return optimizer
    named = {cls.name: cls for cls in known}
    if isinstance(optimizer, str):
        return named[checks.choice("optimizer", optimizer, tuple(named))]()
    hint = f": write {optimizer.__name__}()" if optimizer in known else ""
    raise TypeError(
        f"optimizer must be one of {', '.join(map(repr, named))}, or an object of "
        f"{', '.join(cls.__name__ for cls in known)}; got {checks.shown(optimizer)}{hint}"
    )
