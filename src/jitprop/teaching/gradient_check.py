"""Gradients against central differences of the loss: whether backpropagation is right."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from jitprop import checks
from jitprop._types import Array
from jitprop.trainer import Trainer

CUBE_ROOT = float(np.finfo(np.float64).eps ** (1 / 3))
"""6e-6, the step and what differences can tell: see `check_gradients`."""


class GradientCheck(NamedTuple):
    """
    Largest relative difference of gradients and central differences, of each layer.

    Attributes
    ----------
    weights, biases : lists of float
        One for each layer. Some 1e-8 is right; a wrong formula gives 1e-3 to 2.
    """

    weights: list[float]
    biases: list[float]

    @property
    def largest(self) -> float:
        """The largest of all layers."""
        return max(self.weights + self.biases)


def check_gradients(
    trainer: Trainer, X: npt.ArrayLike, y: npt.ArrayLike, *, step: float | None = None
) -> GradientCheck:
    """
    Compare ``trainer.gradients`` with central differences of ``trainer.evaluate``.

    Parameters
    ----------
    trainer : Trainer
        It stays as it is: a copy in float64 is checked, on the same backend, a float32 trainer
        too. Its formulas are what is checked; in float32 differences have three digits.
    X, y
        As in `Trainer.fit`; some samples are enough, as the loss is computed twice for each
        parameter.
    step : float, optional
        Above 0: h below, for every parameter. None is eps**(1/3) max(1, abs(p)) for a parameter p,
        with eps = 2.2e-16, so 6e-6 or more.

    Returns
    -------
    GradientCheck
        Of each layer's weights, and of its biases, max abs(g - d) / max(abs(g), abs(d), floor), the
        maxima being over all of them, with the gradient g, d = (E(p + h) - E(p - h)) / (2 h), and
        floor = eps**(1/3) abs(E).

    Raises
    ------
    TypeError, ValueError
        For bad input.

    Notes
    -----
    A difference has an error of h**2 / 6 times the third derivative, and of eps abs(E) / h by
    rounding; the default step balances them (Press). A layer is measured by its largest derivative,
    not each derivative by itself, for those near 0 are all rounding. So is a whole layer whose
    gradient vanishes, below the floor.

    Where the loss has a kink within h, as at the 0 of relu, the difference is that of neither
    side, and no sign of an error: take other samples, or a smaller step (CS231n).

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
    if not isinstance(trainer, Trainer):
        raise TypeError(f"trainer must be a Trainer; got {checks.shown(trainer)}")
    if step is not None:
        step = checks.number("step", step, above=0.0)
    state = trainer._state
    checked = copy.copy(trainer)
    checked._state = replace(state, params=state.params.astype(np.float64))

    loss, *gradients = checked.gradients(X, y)
    differences = checked._spec.split(_differences(checked, X, y, step))
    floor = CUBE_ROOT * abs(loss)
    return GradientCheck(
        *(
            [_relative(g, d, floor) for g, d in zip(*pair, strict=True)]
            for pair in zip(gradients, differences, strict=True)
        )
    )


def _differences(trainer: Trainer, X: Any, y: Any, step: float | None) -> Array:
    """(E(p + h) - E(p - h)) / (2 h) for each parameter p."""
    params = trainer.parameters
    found = np.empty_like(params)
    for i, p in enumerate(params.tolist()):
        h = CUBE_ROOT * max(1.0, abs(p)) if step is None else step
        above, below = p + h, p - h
        params[i] = above
        loss = trainer.evaluate(X, y)
        params[i] = below
        # Divided by what was added: p + h is rounded.
        found[i] = (loss - trainer.evaluate(X, y)) / (above - below)
        params[i] = p
    return found


def _relative(gradient: Array, difference: Array, floor: float) -> float:
    size = max(np.abs(gradient).max(), np.abs(difference).max(), floor)
    return float(np.abs(gradient - difference).max() / size) if size > 0 else 0.0
