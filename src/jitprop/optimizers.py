"""The optimizers and their settings. What they compute is in `jitprop.reference`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from jitprop import checks


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
    n_slots: ClassVar[int] = 2

    def __post_init__(self) -> None:
        for name in ("beta_1", "beta_2"):
            beta = checks.number(name, getattr(self, name), low=0.0, below=1.0)
            object.__setattr__(self, name, beta)
        object.__setattr__(self, "epsilon", checks.number("epsilon", self.epsilon, above=0.0))


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


Optimizer: TypeAlias = SGD | Adam | AdamW


def resolve(optimizer: object) -> Optimizer:
    """An optimizer from its name or from itself."""
    if isinstance(optimizer, SGD | Adam):
        return optimizer
    named: dict[str, type[Optimizer]] = {"sgd": SGD, "adam": Adam, "adamw": AdamW}
    if isinstance(optimizer, str):
        return named[checks.choice("optimizer", optimizer, tuple(named))]()
    raise TypeError(
        "optimizer must be one of 'sgd', 'adam', 'adamw', or an SGD, Adam or AdamW object; "
        f"got {checks.shown(optimizer)}"
    )
