"""
Scaled conjugate gradients and L-BFGS: methods of full batches that need no more than gradients.

`jitprop.reference_descent` computes them. `jitprop.net.second_order` says what all methods of full
batches have in common.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from jitprop import checks
from jitprop.hints import hinting_class

SMALLEST_SCALE, LARGEST_SCALE = 1e-30, 1e30
"""The range of the scale of conjugate gradients, which float32 can hold."""

LARGEST_COUNT = 2.0**53
"""No net has so many parameters, and so no count of steps is larger."""


@hinting_class
@dataclass(frozen=True)
class ScaledConjugateGradient:
    """
    Scaled conjugate gradients: steps along conjugate directions, without a line search.

    With the gradient g of the objective at the parameters w, the direction p and the scale c, each
    epoch

    - measures the curvature p.T (g(w + s p) - g(w)) / s + c p.T p, with s = sigma / norm(p);
    - takes the step -(p.T g / curvature) p, if the objective falls. If not, c grows, and a shorter
      step is tried;
    - makes c smaller or larger, as the objective fell like that parabola or less;
    - takes -g + beta p as the next direction, with beta = g.T (g - g_before) / -(p.T g_before). At
      the beginning, and after as many steps as there are parameters, the direction is -g.

    The objective is the training loss plus 1/2 weight_decay sum W**2. An epoch computes two
    gradients of all samples, or more if steps are rejected. Memory is some vectors as long as the
    parameters. So it is for nets that are too large for `LevenbergMarquardt`. It takes every loss.

    The method needs ``batch_size=None``, or a batch size that holds all samples. It takes no
    learning rate, no dropout and no ``clip_norm``. Losses in the history are those after each step.
    `History.metrics` also has the columns "gradient_norm", "scale" and "evaluations": the largest
    absolute value of the objective's gradient before the step, c, and how many gradients were
    computed.

    Parameters
    ----------
    sigma : float, default 1e-4
        How far off, as the length of a vector, the second gradient is computed. Above 0, below 1.
    scale : float, default 1e-6
        The first c. At least 1e-30, below 1e30.
    min_gradient : float, default 1e-7
        The method ends when no derivative of the objective is larger, at least 0.
    tolerance : float, default 1e-12
        The method ends after a step that lowers the objective by less than ``tolerance`` times the
        objective, at least 0 and below 1.

    Raises
    ------
    TypeError, ValueError
        For any other value, naming the argument.

    Notes
    -----
    MATLAB's ``trainscg`` is the same method. There ``sigma`` is 5e-5, ``lambda`` is ``scale`` with
    5e-7, and ``min_grad`` is ``min_gradient`` with 1e-6.

    References
    ----------
    Møller, *A Scaled Conjugate Gradient Algorithm for Fast Supervised Learning*, Neural Networks 6,
    1993.

    Examples
    --------
    >>> from jitprop import ScaledConjugateGradient, Trainer
    >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> trainer = Trainer([2, 4, 1], optimizer=ScaledConjugateGradient(), seed=0)
    >>> history = trainer.fit(X, y, epochs=200)
    >>> bool(history.loss[-1] < 1e-6)
    True
    """

    sigma: float = 1e-4
    scale: float = 1e-6
    min_gradient: float = 1e-7
    tolerance: float = 1e-12
    name: ClassVar[str] = "scg"
    default_rate: ClassVar[float] = 1.0
    uses_rate: ClassVar[str] = "never"
    full_batch: ClassVar[bool] = True
    n_slots: ClassVar[int] = 4
    """Rows: why it has ended, the scale of the next step (0 before the first), the steps since the
    direction was -g, and the next direction."""
    columns: ClassVar[tuple[str, ...]] = ("gradient_norm", "scale", "evaluations")
    """What it tells of each epoch, for `History.metrics`."""
    losses: ClassVar[tuple[str, ...] | None] = None
    """The losses that it can minimise: all."""
    most_parameters: ClassVar[int | None] = None
    step: ClassVar[str] = "its part of -(p @ g / curvature) * p for all parameters"
    """The formula of its step, for `Trace`."""

    @property
    def kept(self) -> dict[int, tuple[float, float]]:
        """The least and the greatest number that a row of the slots may hold, for some rows."""
        return {1: (0.0, LARGEST_SCALE), 2: (0.0, LARGEST_COUNT)}

    def __post_init__(self) -> None:
        object.__setattr__(self, "sigma", checks.number("sigma", self.sigma, above=0.0, below=1.0))
        scale = checks.number("scale", self.scale, low=SMALLEST_SCALE, below=LARGEST_SCALE)
        object.__setattr__(self, "scale", scale)
        check_limits(self)

    def work(self, n_samples: int, n_outputs: int, n_parameters: int) -> float:
        """Return the multiply-adds of one step: two gradients."""
        del n_outputs
        return 6.0 * n_samples * n_parameters


@hinting_class
@dataclass(frozen=True)
class LBFGS:
    """
    L-BFGS: quasi-Newton steps from the last changes of the parameters and of the gradient.

    The last ``memory`` pairs of changes s = w - w_before and y = g - g_before stand for H, the
    inverse of the objective's second derivatives. Each epoch goes along -H g, by a length a that
    satisfies the strong Wolfe conditions: with E(a) for the objective there,

    - E(a) <= E(0) + c1 a E'(0),
    - abs(E'(a)) <= c2 abs(E'(0)).

    The objective is the training loss plus 1/2 weight_decay sum W**2. An epoch mostly computes one
    gradient of all samples. Memory is 2 ``memory`` + 5 vectors as long as the parameters. So it is
    for nets that are too large for `LevenbergMarquardt`. It takes every loss.

    The method needs ``batch_size=None``, or a batch size that holds all samples. It takes no
    learning rate, no dropout and no ``clip_norm``. Losses in the history are those after each step.
    `History.metrics` also has the columns "gradient_norm", "step" and "evaluations": the largest
    absolute value of the objective's gradient before the step, a, and how many gradients were
    computed.

    Parameters
    ----------
    memory : int, default 10
        The most pairs, from 1 to 1000.
    c1 : float, default 1e-4
        Above 0, below ``c2``.
    c2 : float, default 0.9
        Below 1.
    line_steps : int, default 20
        The most lengths that are tried along one direction, at least 1.
    min_gradient : float, default 1e-7
        The method ends when no derivative of the objective is larger, at least 0.
    tolerance : float, default 1e-12
        The method ends after a step that lowers the objective by less than ``tolerance`` times the
        objective, at least 0 and below 1.

    Raises
    ------
    TypeError, ValueError
        For any other value, naming the argument.

    Notes
    -----
    The estimators' ``solver="lbfgs"`` is scikit-learn's way, by SciPy, and not this one.

    References
    ----------
    Nocedal and Wright, *Numerical Optimization*, 2nd edition, 2006: algorithms 7.4 and 7.5, and 3.5
    and 3.6 for the line search.

    Examples
    --------
    >>> from jitprop import LBFGS, Trainer
    >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> trainer = Trainer([2, 4, 1], optimizer=LBFGS(), seed=3)
    >>> history = trainer.fit(X, y, epochs=200)
    >>> bool(history.loss[-1] < 1e-6)
    True
    """

    memory: int = 10
    c1: float = 1e-4
    c2: float = 0.9
    line_steps: int = 20
    min_gradient: float = 1e-7
    tolerance: float = 1e-12
    name: ClassVar[str] = "lbfgs"
    default_rate: ClassVar[float] = 1.0
    uses_rate: ClassVar[str] = "never"
    full_batch: ClassVar[bool] = True
    columns: ClassVar[tuple[str, ...]] = ("gradient_norm", "step", "evaluations")
    """What it tells of each epoch, for `History.metrics`."""
    losses: ClassVar[tuple[str, ...] | None] = None
    """The losses that it can minimise: all."""
    most_parameters: ClassVar[int | None] = None
    step: ClassVar[str] = "its part of a * -(H @ g) for all parameters"
    """The formula of its step, for `Trace`."""

    def __post_init__(self) -> None:
        memory = checks.integer("memory", self.memory, low=1, high=1000)
        object.__setattr__(self, "memory", memory)
        object.__setattr__(self, "c2", checks.number("c2", self.c2, above=0.0, below=1.0))
        object.__setattr__(self, "c1", checks.number("c1", self.c1, above=0.0, below=self.c2))
        steps = checks.integer("line_steps", self.line_steps, low=1)
        object.__setattr__(self, "line_steps", steps)
        check_limits(self)

    @property
    def kept(self) -> dict[int, tuple[float, float]]:
        """The least and the greatest number that a row of the slots may hold, for some rows."""
        return {1: (0.0, 2.0 * self.memory)}

    @property
    def n_slots(self) -> int:
        """Rows: why it has ended, how many pairs were kept, and all s and all y."""
        return 2 + 2 * self.memory

    def work(self, n_samples: int, n_outputs: int, n_parameters: int) -> float:
        """Return the multiply-adds of one step: mostly one gradient, and the pairs."""
        del n_outputs
        return float((4 * n_samples + 4 * self.memory) * n_parameters)


def check_limits(method: Any) -> None:
    """Check the settings by which every full-batch method ends."""
    least = checks.number("min_gradient", method.min_gradient, low=0.0)
    object.__setattr__(method, "min_gradient", least)
    tolerance = checks.number("tolerance", method.tolerance, low=0.0, below=1.0)
    object.__setattr__(method, "tolerance", tolerance)
