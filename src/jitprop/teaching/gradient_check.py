"""A check of backpropagation: gradients are compared with central differences of the loss."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from jitprop import checks
from jitprop._types import Array
from jitprop.training.model import Model, model_of

if TYPE_CHECKING:
    from jitprop.trainer import Trainer

CUBE_ROOT = 6.055454452393343e-06  # of eps
"""6e-6: the step of the differences, and about their relative error; see `check_gradients`."""


class GradientCheck(NamedTuple):
    """
    The largest relative error of the gradients of each layer.

    Attributes
    ----------
    weights, biases : lists of float
        A number for each layer. About 1e-8 means that the gradients are right; a wrong formula
        gives 1e-3 to 2.
    """

    weights: list[float]
    biases: list[float]

    @property
    def largest(self) -> float:
        """The largest relative error of all layers."""
        return max(self.weights + self.biases)


def check_gradients(
    trainer: Trainer, X: npt.ArrayLike, y: npt.ArrayLike, *, step: float | None = None
) -> GradientCheck:
    """
    Compare ``trainer.gradients`` with central differences of ``trainer.evaluate``.

    Parameters
    ----------
    trainer : Trainer
        It is not changed. The check uses a copy in float64, even for a float32 trainer: it is the
        formulas that are checked, and differences in float32 have only three digits. The backend
        is the trainer's.
    X, y : array-like
        Samples, as in `Trainer.fit`. A few are enough; the loss is computed twice for each
        parameter.
    step : float, optional
        The step h for every parameter, above 0. The default for a parameter p is
        eps**(1/3) max(1, abs(p)) with eps = 2.2e-16, which is 6e-6 or more.

    Returns
    -------
    GradientCheck
        For the weights of each layer, and for its biases, the relative error
        max abs(g - d) / max(max abs(g), max abs(d), floor). Here g are the gradients,
        d = (E(p + h) - E(p - h)) / (2 h) the differences, and floor = eps**(1/3) abs(E).

    Raises
    ------
    TypeError, ValueError
        For bad input.

    Notes
    -----
    A difference has two errors: h**2 / 6 times the third derivative, and eps abs(E) / h from
    rounding. The default step balances them (Press). Errors are relative to the largest derivative
    of a layer, since a derivative near 0 consists of rounding errors alone. If all derivatives of a
    layer are near 0, errors are relative to the floor.

    The loss may have a kink within h of a parameter, as relu has at 0. Then the difference agrees
    with neither side, although the gradient is right: use other samples, or a smaller step
    (CS231n).

    References
    ----------
    Press, Teukolsky, Vetterling and Flannery, *Numerical Recipes*, 3rd edition, 2007, section 5.7.
    Karpathy and others, *CS231n*, "Gradient checks",
    https://cs231n.github.io/neural-networks-3/#gradcheck.

    Examples
    --------
    >>> from jitprop import Trainer, check_gradients
    >>> trainer = Trainer([2, 3, 1], activation="tanh", seed=0)
    >>> check_gradients(trainer, [[0.5, 0.3], [0.1, 0.9]], [0.7, 0.2]).largest < 1e-7
    True
    """
    model = model_of(trainer)
    if step is not None:
        step = checks.number("step", step, above=0.0)
    checked = replace(
        model, state=replace(model.state, params=model.state.params.astype(np.float64))
    )
    loss, gradient = checked.gradient(X, y)
    floor = CUBE_ROOT * abs(loss)
    pairs = zip(
        model.spec.split(gradient),
        model.spec.split(_differences(checked, X, y, step)),
        strict=True,
    )
    return GradientCheck(
        *([_relative(g, d, floor) for g, d in zip(*pair, strict=True)] for pair in pairs)
    )


def _differences(model: Model, X: Any, y: Any, step: float | None) -> Array:
    """(E(p + h) - E(p - h)) / (2 h) for each parameter p."""
    params = model.state.params
    found = np.empty_like(params)
    for i, p in enumerate(params.tolist()):
        h = CUBE_ROOT * max(1.0, abs(p)) if step is None else step
        above, below = p + h, p - h
        params[i] = above
        loss = model.loss(X, y)
        params[i] = below
        # Not 2 h: p + h and p - h are rounded.
        found[i] = (loss - model.loss(X, y)) / (above - below)
        params[i] = p
    return found


def _relative(gradient: Array, difference: Array, floor: float) -> float:
    size = max(np.abs(gradient).max(), np.abs(difference).max(), floor)
    return float(np.abs(gradient - difference).max() / size) if size > 0 else 0.0
