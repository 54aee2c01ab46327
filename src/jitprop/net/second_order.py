"""
The second-order methods and their settings. `jitprop.reference_second_order` computes them.

They are optimizers of full batches: an epoch is one step, computed from all samples. A method ends
by itself when it can do no more. What it keeps between epochs stands in the optimizer's slots,
(n_slots, P). The number k that it keeps is ``slots[k, 0]``; the other numbers of the row are 0,
unless the method says otherwise. Number 0 is why the method has ended: an index of `REASONS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias, TypeGuard

import numpy as np
import numpy.typing as npt

from jitprop import checks
from jitprop._types import Array
from jitprop.hints import hinting_class
from jitprop.net.descent import LBFGS, ScaledConjugateGradient, check_limits

NOT_ENDED, BY_GRADIENT, BY_STEP, BY_TOLERANCE = range(4)

REASONS = (
    "",
    "the gradient is at most min_gradient",
    "no step was found that lowers the loss",
    "no progress: the loss fell by less than tolerance, relative to itself",
)
"""Why a method has ended, as `History.ended` says it. The first one is of a method that has not."""

LEAST_DAMPING = 1e-20
"""The damping never falls below this number. So float32 can hold it, and it is never 0."""

LEAST_SCALE, MOST_SCALE = 1e-30, 1e30
"""The range of `BayesianRegularization`'s alpha and beta, and the largest scale of a parameter.
float32 can hold them."""

MOST_DAMPING = 1e30
"""The largest ``max_damping``. So float32 can hold the damping after it was raised once more."""


@hinting_class
@dataclass(frozen=True)
class LevenbergMarquardt:
    """
    The Levenberg-Marquardt method, for nets of up to some thousand parameters that fit functions.

    With the residuals r of all samples and outputs, their Jacobian R, the gradient g = R.T r and
    the weight decay d (0 for biases, without ``decay_biases``), each epoch tries steps from

    - (R.T R + damping S + d I) step = -(g + d W)

    until one lowers the objective, which is the training loss and 1/2 d sum W**2. S is diagonal:
    for each parameter the largest number of R.T R's diagonal so far, but at least ``min_scale``.
    The step that lowers the objective is taken. Then the damping is multiplied by
    1 - (2 gain - 1)**3, but at least by ``decrease`` and at most by 2. The gain is the fall of the
    objective, divided by the fall that the equations predicted. A step that does not lower the
    objective is not taken; the damping is multiplied by ``increase``, by twice as much the next
    time, and so on, until a step is taken. A matrix that is not positive definite counts as a step
    that was not taken.

    The damping follows Nielsen's rule, the scales those of MINPACK. That needs half as many steps
    as the rule of MATLAB's ``trainlm``, which divides and multiplies the damping by 10, and more
    starts reach the best minimum: see docs/second-order.md.

    For "half_squared_error" and "squared_error" R.T R is the Gauss-Newton matrix. For
    "binary_cross_entropy", "cross_entropy" and "poisson" it is the generalised one, with the exact
    curvature of the loss. For "huber", large errors have the weight delta / abs(error).

    The method needs ``batch_size=None``, or a batch size that holds all samples. It takes no
    learning rate, no dropout and no ``clip_norm``. Losses in the history are those after each step.
    `History.metrics` also has the columns "damping", "gradient_norm" and "rejected_steps": the
    damping of the step, the largest absolute value of the objective's gradient before it, and how
    many steps were tried before it in vain.

    Parameters
    ----------
    damping : float, default 0.1
        The damping of the first step, from 1e-20 to ``max_damping``.
    decrease : float, default 1/3
        The smallest factor for the damping after a step was taken. Above 0, below 1.
    increase : float, default 2.0
        The factor for the damping after the first step of an epoch that was not taken. Above 1.
    max_damping : float, default 1e10
        The method ends when the damping goes above this number, at most 1e30.
    min_scale : float, default 1.0
        The smallest scale S of a parameter, above 0. R.T R is that of the reduced loss: the mean
        over the samples, unless ``reduction="sum"``. A large number, with a small damping, gives
        all parameters the same damping, as MATLAB's ``trainlm`` does.
    min_gradient : float, default 1e-7
        The method ends when no derivative of the objective is larger, at least 0.
    tolerance : float, default 1e-8
        The method ends after a step that lowers the objective by less than ``tolerance`` times the
        objective, at least 0 and below 1.

    Raises
    ------
    TypeError, ValueError
        For any other value, naming the argument.

    Notes
    -----
    A net of P parameters takes 8 P**2 bytes for the matrix, and at most 20,000 parameters are
    allowed: 3.2 GB. Where samples times outputs are a smaller number N, a system of that size is
    solved, which gives the same step. It takes 8 (N**2 + 2 N P) bytes: less than 8 P**2 if N is at
    most 0.4 P, and up to 24 P**2 if N is nearly P.

    References
    ----------
    Levenberg, *A Method for the Solution of Certain Non-Linear Problems in Least Squares*,
    Quarterly of Applied Mathematics 2, 1944. Marquardt, *An Algorithm for Least-Squares Estimation
    of Nonlinear Parameters*, SIAM Journal 11, 1963. The rule of the damping: Nielsen, *Damping
    Parameter in Marquardt's Method*, IMM-REP-1999-05, Technical University of Denmark, 1999. Nets:
    Hagan and Menhaj, *Training Feedforward Networks with the Marquardt Algorithm*, IEEE
    Transactions on Neural Networks 5, 1994. The generalised matrix: Schraudolph, *Fast Curvature
    Matrix-Vector Products for Second-Order Gradient Descent*, Neural Computation 14, 2002. Huber's
    weights: Holland and Welsch, *Robust Regression Using Iteratively Reweighted Least-Squares*,
    Communications in Statistics 6, 1977.

    Examples
    --------
    >>> from jitprop import LevenbergMarquardt, Trainer
    >>> X = [[0.0], [0.25], [0.5], [0.75], [1.0]]
    >>> y = [0.0, 1.0, 0.0, -1.0, 0.0]
    >>> trainer = Trainer(
    ...     [1, 3, 1], activation="tanh", output_activation="identity", seed=0,
    ...     optimizer=LevenbergMarquardt(),
    ... )
    >>> history = trainer.fit(X, y, epochs=200)
    >>> history.ended
    'the gradient is at most min_gradient'
    >>> bool(history.loss[-1] < 1e-9)
    True
    """

    damping: float = 0.1
    decrease: float = 1 / 3
    increase: float = 2.0
    max_damping: float = 1e10
    min_scale: float = 1.0
    min_gradient: float = 1e-7
    tolerance: float = 1e-8
    name: ClassVar[str] = "lm"
    default_rate: ClassVar[float] = 1.0
    uses_rate: ClassVar[str] = "never"
    full_batch: ClassVar[bool] = True
    n_slots: ClassVar[int] = 3
    """Rows: why it has ended, the damping of the next step (0 before the first), and the largest
    diagonal of R.T R so far, for each parameter."""
    columns: ClassVar[tuple[str, ...]] = ("damping", "gradient_norm", "rejected_steps")
    """What it tells of each epoch, for `History.metrics`."""
    losses: ClassVar[tuple[str, ...]] = (
        "half_squared_error",
        "squared_error",
        "huber",
        "poisson",
        "binary_cross_entropy",
        "cross_entropy",
    )
    """The losses that it can minimise."""
    most_parameters: ClassVar[int] = 20_000
    step: ClassVar[str] = "its part of solve(R.T @ R + damping * S + d * I, -g) for all parameters"
    """The formula of its step, for `Trace`."""

    def __post_init__(self) -> None:
        _check_damped(self)

    @property
    def kept(self) -> dict[int, tuple[float, float]]:
        """The least and the greatest number that a row of the slots may hold, for some rows."""
        return {1: (0.0, self.max_damping)}

    def work(self, n_samples: int, n_outputs: int, n_parameters: int) -> float:
        """Return the multiply-adds of one step: passes back, R.T R and its Cholesky factor."""
        rows = n_samples * n_outputs
        system = min(rows, n_parameters)
        passes = (2 + n_outputs) * n_samples * n_parameters
        return float(passes + rows * n_parameters * system / 2 + system * system * system / 6)


@hinting_class
@dataclass(frozen=True)
class BayesianRegularization:
    """
    Bayesian regularization: Levenberg-Marquardt that finds the weight decay from the data.

    The net's errors are taken for Gaussian noise of the variance 1 / beta, and its parameters for
    Gaussian numbers of the variance 1 / alpha. With

    - E_D = 1/2 sum v (a - y)**2 over the N numbers that are to be predicted (N is samples times
      outputs),
    - E_W = 1/2 sum W**2 over all P weights and biases,

    each epoch takes a step of the Levenberg-Marquardt method that lowers beta E_D + alpha E_W. Then
    it estimates alpha and beta anew, with the Jacobian J of the outputs after the step:

    - A = beta J.T v J + alpha I;
    - gamma = P - alpha trace(inverse of A), the number of effective parameters;
    - alpha = gamma / (2 E_W);
    - beta = (N - gamma) / (2 E_D).

    So it needs no validation data: parameters that the data do not determine stay near 0. The
    logarithm of the evidence, which compares nets of different sizes on the same data, is

        -alpha E_W - beta E_D - 1/2 log det A + P/2 log alpha + N/2 log beta - N/2 log(2 pi).

    The losses are "half_squared_error" and "squared_error". With ``sample_weight`` the v are the
    weights, divided by their mean, so they are precisions; samples of weight 0 do not count.
    Without, v is 1. Standardise the inputs and the targets: one alpha is right for all parameters
    only if they are of one size. `Trainer`'s ``weight_decay`` must be 0, and what
    `LevenbergMarquardt` says of batches, dropout and clipping holds here too.

    `History.metrics` has the columns "damping", "gradient_norm" and "rejected_steps" as with
    `LevenbergMarquardt`, and "effective_parameters", "evidence", "alpha" and "beta". The last two
    are those of the step. The two before are computed with these, after the step.

    Parameters
    ----------
    damping, decrease, increase, max_damping, min_scale : float
        As those of `LevenbergMarquardt`, with the same defaults.
    min_gradient : float, default 1e-7
        The method ends when no derivative of the objective is larger, and alpha / beta has settled:
        its last change was at most sqrt(tolerance), relative to itself. At least 0.
    tolerance : float, default 1e-6
        The method ends after a step that lowers the objective by less than ``tolerance`` times the
        objective, if alpha / beta has settled. At least 0, below 1.

    Raises
    ------
    TypeError, ValueError
        For any other value, naming the argument.

    Notes
    -----
    The first alpha is 0.01 divided by the mean square of the parameters, and the first beta is
    N / (2 E_D). Foresee and Hagan begin with gamma = P, a hundred times as large an alpha. On some
    data that takes every parameter to 0, from where it does not come back. alpha and beta stay from
    1e-30 to 1e30. A further `fit` goes on with the alpha and beta that it finds.

    A net of P parameters takes 8 P**2 bytes, and at most 20,000 parameters are allowed. Each epoch
    inverts a matrix of this size.

    References
    ----------
    MacKay, *A Practical Bayesian Framework for Backpropagation Networks*, Neural Computation 4,
    1992. Foresee and Hagan, *Gauss-Newton Approximation to Bayesian Learning*, ICNN 1997: the
    Gauss-Newton matrix for the Hessian, and biases that decay like weights; MATLAB's ``trainbr``.

    Examples
    --------
    >>> import numpy as np
    >>> from jitprop import BayesianRegularization, Trainer
    >>> rng = np.random.default_rng(0)
    >>> X = np.linspace(-1.0, 1.0, 100)[:, np.newaxis]
    >>> y = np.sin(3.0 * X) + 0.1 * rng.standard_normal((100, 1))
    >>> trainer = Trainer(
    ...     [1, 20, 1], activation="tanh", output_activation="identity", seed=0,
    ...     optimizer=BayesianRegularization(),
    ... )
    >>> history = trainer.fit(X, y, epochs=300)
    >>> trainer.parameters.size, bool(history.metrics["effective_parameters"][-1] < 10)
    (61, True)
    """

    damping: float = 0.1
    decrease: float = 1 / 3
    increase: float = 2.0
    max_damping: float = 1e10
    min_scale: float = 1.0
    min_gradient: float = 1e-7
    tolerance: float = 1e-6
    name: ClassVar[str] = "bayesian"
    default_rate: ClassVar[float] = 1.0
    uses_rate: ClassVar[str] = "never"
    full_batch: ClassVar[bool] = True
    n_slots: ClassVar[int] = 6
    """Rows: those of `LevenbergMarquardt`, then alpha, beta, and how much alpha / beta changed."""
    columns: ClassVar[tuple[str, ...]] = (
        "damping",
        "gradient_norm",
        "rejected_steps",
        "effective_parameters",
        "evidence",
        "alpha",
        "beta",
    )
    """What it tells of each epoch, for `History.metrics`."""
    losses: ClassVar[tuple[str, ...]] = ("half_squared_error", "squared_error")
    """The losses that it can minimise."""
    most_parameters: ClassVar[int] = 20_000
    step: ClassVar[str] = (
        "its part of solve(R.T @ R + damping * S + d * I, -(g + d * W)) for all parameters, "
        "with d = alpha / beta by the loss's factor of E_D"
    )
    """The formula of its step, for `Trace`."""

    def __post_init__(self) -> None:
        _check_damped(self)

    @property
    def kept(self) -> dict[int, tuple[float, float]]:
        """The least and the greatest number that a row of the slots may hold, for some rows."""
        return {
            1: (0.0, self.max_damping),
            2: (0.0, np.inf),
            3: (0.0, MOST_SCALE),
            4: (0.0, MOST_SCALE),
            5: (0.0, 1.0),
        }

    def work(self, n_samples: int, n_outputs: int, n_parameters: int) -> float:
        """Return the multiply-adds of one step: passes back, R.T R, its factor and its inverse."""
        rows, P = n_samples * n_outputs, n_parameters
        return float((2 + n_outputs) * n_samples * P + rows * P * P / 2 + P * P * P / 2)


def _check_damped(method: Any) -> None:
    """Check the settings that the methods with a damping have."""
    most = _number("max_damping", method.max_damping, LEAST_DAMPING, MOST_DAMPING)
    object.__setattr__(method, "max_damping", most)
    object.__setattr__(method, "damping", _number("damping", method.damping, LEAST_DAMPING, most))
    decrease = checks.number("decrease", method.decrease, above=0.0, below=1.0)
    object.__setattr__(method, "decrease", decrease)
    object.__setattr__(method, "increase", checks.number("increase", method.increase, above=1.0))
    scale = checks.number("min_scale", method.min_scale, above=0.0)
    object.__setattr__(method, "min_scale", scale)
    check_limits(method)


def _number(name: str, value: Any, low: float, high: float) -> float:
    """Check a finite number from ``low`` to ``high``."""
    x = checks.number(name, value, low=low)
    if x > high:
        raise ValueError(f"{name} must be a number from {low:g} to {high:g}; got {x!r}")
    return x


Damped: TypeAlias = LevenbergMarquardt | BayesianRegularization
SecondOrder: TypeAlias = Damped | ScaledConjugateGradient | LBFGS


def is_second_order(optimizer: Any) -> TypeGuard[SecondOrder]:
    """Return whether the optimizer is one of this module, which tells of each epoch."""
    return bool(optimizer.columns)


def has_ended(optimizer: Any, slots: Array) -> npt.NDArray[np.bool_]:
    """
    Return whether the method has ended.

    ``slots`` is (..., n_slots, P), and the result has the dimensions before these two. A method of
    first order never ends.
    """
    if not is_second_order(optimizer):
        return np.zeros(slots.shape[:-2], np.bool_)
    return np.asarray(slots[..., 0, 0] != NOT_ENDED)


def reason(optimizer: Any, slots: Array) -> str:
    """Return why the method has ended, from its slots, (n_slots, P); "" if it has not."""
    return REASONS[int(slots[0, 0])] if is_second_order(optimizer) else ""


def reasons(optimizer: Any, slots: Array) -> tuple[str, ...]:
    """Return the same for each member of a fleet, from (K, n_slots, P) slots."""
    if not is_second_order(optimizer):
        return ("",) * len(slots)
    return tuple(REASONS[int(number)] for number in slots[:, 0, 0])
