"""
The optimizers and their settings. `jitprop.reference` shows how they compute an update.

Each class says how it is used:

- ``name`` is what `Trainer`'s argument ``optimizer`` calls it;
- ``default_rate`` is the learning rate if none is given;
- ``uses_rate`` is when it reads the learning rate: in "every update", in the "first update", or
  "never";
- ``full_batch`` is whether each batch must hold all samples;
- ``n_slots`` is how many numbers it keeps for each parameter between updates;
- ``columns`` are the numbers that it tells of each epoch. Only the methods of
  `jitprop.net.second_order` have any.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from jitprop import checks
from jitprop.hints import hinting_class
from jitprop.net.descent import LBFGS, ScaledConjugateGradient
from jitprop.net.second_order import BayesianRegularization, LevenbergMarquardt


@hinting_class
@dataclass(frozen=True)
class SGD:
    """
    Stochastic gradient descent, with momentum if wanted.

    For a parameter W with the gradient g, each update is

    - without momentum: W <- W - learning_rate g;
    - with momentum: v <- momentum v - learning_rate g, then W <- W + v;
    - with Nesterov's momentum: v as before, then W <- W + momentum v - learning_rate g.

    With ``rate_in_velocity=False`` the learning rate is not part of the velocity v:

    - with momentum: v <- momentum v + g, then W <- W - learning_rate v;
    - with Nesterov's momentum: v as before, then W <- W - learning_rate (g + momentum v).

    With a constant learning rate both forms give the same W. When the rate changes, all of v counts
    with the new rate here, while above each gradient keeps the rate that it came with.

    Parameters
    ----------
    momentum : float, default 0.0
        At least 0, below 1.
    nesterov : bool, default False
        True needs a momentum above 0.
    rate_in_velocity : bool, default True
        True is the form of scikit-learn and Keras, False is the form of PyTorch and optax. Without
        momentum there is no difference.

    Raises
    ------
    TypeError, ValueError
        For any other value, naming the argument.

    References
    ----------
    Sutskever et al., *On the importance of initialization and momentum in deep learning*, ICML
    2013.

    Examples
    --------
    >>> from jitprop import SGD, Trainer
    >>> trainer = Trainer([2, 3, 1], optimizer=SGD(momentum=0.9, nesterov=True))
    >>> trainer.learning_rate
    0.1
    """

    momentum: float = 0.0
    nesterov: bool = False
    rate_in_velocity: bool = True
    name: ClassVar[str] = "sgd"
    default_rate: ClassVar[float] = 0.1
    uses_rate: ClassVar[str] = "every update"
    full_batch: ClassVar[bool] = False
    columns: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        momentum = checks.number("momentum", self.momentum, low=0.0, below=1.0)
        object.__setattr__(self, "momentum", momentum)  # now a float, which kernels need
        for name in ("nesterov", "rate_in_velocity"):
            object.__setattr__(self, name, checks.boolean(name, getattr(self, name)))
        if self.nesterov and self.momentum == 0.0:
            raise ValueError("nesterov=True needs a momentum above 0; got momentum=0.0")

    @property
    def n_slots(self) -> int:
        """The number of values that are kept for each parameter between updates."""
        return 0 if self.momentum == 0.0 else 1


@hinting_class
@dataclass(frozen=True)
class Adam:
    """
    Adam: the running mean of the gradient, divided by the root of its running mean square.

    For a parameter W with the gradient g, update number t = 1, 2, ... is

    - m <- beta_1 m + (1 - beta_1) g;
    - v <- beta_2 v + (1 - beta_2) g**2;
    - m_hat = m / (1 - beta_1**t) and v_hat = v / (1 - beta_2**t), which correct the bias of the
      means towards 0;
    - W <- W - learning_rate m_hat / (sqrt(v_hat) + epsilon).

    With ``epsilon_hat=True``, epsilon is added before the bias of v is corrected:

    - W <- W - learning_rate sqrt(1 - beta_2**t) / (1 - beta_1**t) m / (sqrt(v) + epsilon).

    The two forms differ in the first updates, and where gradients are not much larger than
    epsilon.

    Parameters
    ----------
    beta_1 : float, default 0.9
        At least 0, below 1.
    beta_2 : float, default 0.999
        At least 0, below 1.
    epsilon : float, default 1e-8
        Above 0.
    epsilon_hat : bool, default False
        False is the form of PyTorch, optax and JAX. True is the form of Keras and scikit-learn, and
        so of the estimators in `jitprop.sklearn`. Files that were saved before this argument came
        mean True.

    Raises
    ------
    TypeError, ValueError
        For any other value, naming the argument.

    References
    ----------
    Kingma and Ba, *Adam: A Method for Stochastic Optimization*, arXiv:1412.6980: Algorithm 1, and
    the form with epsilon hat at the end of section 2.

    Examples
    --------
    >>> from jitprop import Adam, Trainer
    >>> trainer = Trainer([2, 3, 1], optimizer=Adam(beta_2=0.99))
    >>> trainer.learning_rate
    0.001
    """

    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    epsilon_hat: bool = False
    name: ClassVar[str] = "adam"
    default_rate: ClassVar[float] = 0.001
    uses_rate: ClassVar[str] = "every update"
    full_batch: ClassVar[bool] = False
    columns: ClassVar[tuple[str, ...]] = ()
    n_slots: ClassVar[int] = 2

    def __post_init__(self) -> None:
        for name in ("beta_1", "beta_2"):
            beta = checks.number(name, getattr(self, name), low=0.0, below=1.0)
            object.__setattr__(self, name, beta)
        object.__setattr__(self, "epsilon", checks.number("epsilon", self.epsilon, above=0.0))
        object.__setattr__(self, "epsilon_hat", checks.boolean("epsilon_hat", self.epsilon_hat))

    def __setstate__(self, state: dict[str, Any]) -> None:
        # An object that was pickled before `epsilon_hat` came had that form.
        self.__dict__.update({"epsilon_hat": True} | state)


@hinting_class
@dataclass(frozen=True)
class AdamW(Adam):
    """
    Adam with decoupled weight decay: W <- (1 - learning_rate weight_decay) W before Adam's step.

    The decay is `Trainer`'s ``weight_decay``. It is not part of the gradient. Biases decay only
    with ``decay_biases=True``. Parameters, defaults and errors are those of `Adam`.

    References
    ----------
    Loshchilov and Hutter, *Decoupled Weight Decay Regularization*, arXiv:1711.05101. The decay is
    multiplied by the learning rate, as in PyTorch.

    Examples
    --------
    >>> from jitprop import AdamW, Trainer
    >>> trainer = Trainer([2, 3, 1], optimizer=AdamW(), weight_decay=0.01)
    """

    name: ClassVar[str] = "adamw"


@hinting_class
@dataclass(frozen=True)
class RMSprop:
    """
    RMSprop: the gradient, divided by the root of its running mean square.

    For a parameter W with the gradient g, each update is

    - v <- rho v + (1 - rho) g**2;
    - u <- momentum u - learning_rate g / (sqrt(v) + epsilon);
    - W <- W + u.

    With ``epsilon_in_root=True`` the divisor is sqrt(v + epsilon). With ``rate_in_velocity=False``
    the learning rate is not part of the velocity u:

    - u <- momentum u + g / (sqrt(v) + epsilon);
    - W <- W - learning_rate u.

    Parameters
    ----------
    rho : float, default 0.9
        At least 0, below 1.
    momentum : float, default 0.0
        At least 0, below 1.
    epsilon : float, default 1e-8
        Above 0.
    epsilon_in_root : bool, default False
        Whether epsilon is added to v and not to sqrt(v). False is the form of PyTorch. True is the
        form of Keras and the default of optax.
    rate_in_velocity : bool, default True
        True is the form of Keras and optax, False is the form of PyTorch. Without momentum there is
        no difference.

    Raises
    ------
    TypeError, ValueError
        For any other value, naming the argument.

    References
    ----------
    Hinton, Srivastava and Swersky, *Neural Networks for Machine Learning*, lecture 6e, 2012.

    Examples
    --------
    >>> from jitprop import RMSprop, Trainer
    >>> trainer = Trainer([2, 3, 1], optimizer=RMSprop(rho=0.95))
    >>> trainer.learning_rate
    0.001
    """

    rho: float = 0.9
    momentum: float = 0.0
    epsilon: float = 1e-8
    epsilon_in_root: bool = False
    rate_in_velocity: bool = True
    name: ClassVar[str] = "rmsprop"
    default_rate: ClassVar[float] = 0.001
    uses_rate: ClassVar[str] = "every update"
    full_batch: ClassVar[bool] = False
    columns: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for name in ("rho", "momentum"):
            value = checks.number(name, getattr(self, name), low=0.0, below=1.0)
            object.__setattr__(self, name, value)
        object.__setattr__(self, "epsilon", checks.number("epsilon", self.epsilon, above=0.0))
        for name in ("epsilon_in_root", "rate_in_velocity"):
            object.__setattr__(self, name, checks.boolean(name, getattr(self, name)))

    @property
    def n_slots(self) -> int:
        """The number of values that are kept for each parameter between updates."""
        return 1 if self.momentum == 0.0 else 2


@hinting_class
@dataclass(frozen=True)
class Rprop:
    """
    Resilient backpropagation, which uses only the signs of the gradient of a full batch.

    Every parameter W has its own step d, which begins as the learning rate. For the gradient g,
    each update is

    - where g has the same sign as before: d <- min(eta_plus d, step_max), then
      W <- W - sign(g) d;
    - where g has the opposite sign: d <- max(eta_minus d, step_min). W stays as it is, and the
      next update leaves d as it is;
    - where g is 0 or was 0: W <- W - sign(g) d.

    With ``backtracking=True``, where g has the opposite sign and the objective has risen since the
    update before, W does not stay: it takes its last change back. The objective is the reduced loss
    of the batch plus 1/2 weight_decay sum W**2. This helps where the first steps are too large.
    With the default learning rate neither form is better in general, so try both.

    Rprop needs ``batch_size=None``, or a batch size that holds all samples. The learning rate must
    be a number, since only the first update uses it.

    Parameters
    ----------
    eta_minus : float, default 0.5
        Above 0, below 1.
    eta_plus : float, default 1.2
        Above 1.
    step_min : float, default 1e-6
        Above 0.
    step_max : float, default 50.0
        At least ``step_min``. The first step, too, is clipped to the range from ``step_min`` to
        ``step_max``.
    backtracking : bool, default False
        False is iRprop-, which looks at signs alone. True is iRprop+, which keeps one more row of
        optimizer state, for the last objective.

    Raises
    ------
    TypeError, ValueError
        For any other value, naming the argument.

    References
    ----------
    Riedmiller and Braun, *A Direct Adaptive Method for Faster Backpropagation Learning: The RPROP
    Algorithm*, ICNN 1993, in the forms iRprop- and iRprop+ of Igel and Hüsken, *Improving the Rprop
    Learning Algorithm*, NC 2000. PyTorch has iRprop-.

    Examples
    --------
    >>> from jitprop import Rprop, Trainer
    >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> trainer = Trainer([2, 8, 1], optimizer=Rprop(), seed=0)
    >>> bool(trainer.fit(X, y, epochs=100).loss[-1] < 1e-6)
    True
    """

    eta_minus: float = 0.5
    eta_plus: float = 1.2
    step_min: float = 1e-6
    step_max: float = 50.0
    backtracking: bool = False
    name: ClassVar[str] = "rprop"
    default_rate: ClassVar[float] = 0.1
    uses_rate: ClassVar[str] = "first update"
    full_batch: ClassVar[bool] = True
    columns: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        eta_minus = checks.number("eta_minus", self.eta_minus, above=0.0, below=1.0)
        eta_plus = checks.number("eta_plus", self.eta_plus, above=1.0)
        step_min = checks.number("step_min", self.step_min, above=0.0)
        step_max = checks.number("step_max", self.step_max, low=step_min)
        object.__setattr__(self, "eta_minus", eta_minus)
        object.__setattr__(self, "eta_plus", eta_plus)
        object.__setattr__(self, "step_min", step_min)
        object.__setattr__(self, "step_max", step_max)
        object.__setattr__(self, "backtracking", checks.boolean("backtracking", self.backtracking))

    @property
    def n_slots(self) -> int:
        """The number of values that are kept for each parameter between updates."""
        return 3 if self.backtracking else 2


FirstOrder: TypeAlias = SGD | Adam | AdamW | RMSprop | Rprop
Optimizer: TypeAlias = (
    FirstOrder | LevenbergMarquardt | BayesianRegularization | ScaledConjugateGradient | LBFGS
)

KNOWN: tuple[type[Optimizer], ...] = (
    SGD,
    Adam,
    AdamW,
    RMSprop,
    Rprop,
    LevenbergMarquardt,
    BayesianRegularization,
    ScaledConjugateGradient,
    LBFGS,
)


def resolve(optimizer: object) -> Optimizer:
    """
    Return the optimizer for a name; an optimizer object stays as it is.

    Raises
    ------
    TypeError, ValueError
        For anything else.
    """
    if isinstance(optimizer, KNOWN):
        return optimizer
    named = {cls.name: cls for cls in KNOWN}
    if isinstance(optimizer, str):
        return named[checks.choice("optimizer", optimizer, tuple(named))]()
    hint = f": write {optimizer.__name__}()" if optimizer in KNOWN else ""
    raise TypeError(
        f"optimizer must be one of {', '.join(map(repr, named))}, or an object of "
        f"{', '.join(cls.__name__ for cls in KNOWN)}; got {checks.shown(optimizer)}{hint}"
    )
