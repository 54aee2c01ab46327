"""Targets that the output of a net cannot reach."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from jitprop._types import Array
from jitprop.net.activations import ELU, LeakyReLU, Softplus
from jitprop.net.custom import CustomLoss
from jitprop.net.spec import Spec

RANGES = {
    "sigmoid": (0.0, 1.0),
    "hard_sigmoid": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "relu": (0.0, np.inf),
    "softplus": (0.0, np.inf),
    "exp": (0.0, np.inf),
    "elu": (-1.0, np.inf),
    "selu": (-1.76, np.inf),
    "softsign": (-1.0, 1.0),
    "mish": (-0.31, np.inf),
    "gelu": (-0.17, np.inf),
    "gelu_tanh": (-0.171, np.inf),
    "silu": (-0.28, np.inf),
}
"""
The range of the outputs, by the name of the output activation. Outputs of an activation that is not
here can be any number.
"""

ROUNDING = 1e-6
"""
How far outside the range targets may be, as a share of the largest: scaling them may have rounded.
"""


def range_of(spec: Spec) -> tuple[float, float]:
    """Return the least and the greatest target that the output can reach."""
    # A loss with a range refuses other targets itself. A custom loss may mean anything by them.
    if isinstance(spec.loss, CustomLoss) or spec.loss.target_range != (-np.inf, np.inf):
        return -np.inf, np.inf
    match output := spec.activations[-1]:
        case ELU(alpha=alpha):
            return -alpha, np.inf
        case Softplus() | LeakyReLU(negative_slope=0.0):
            return 0.0, np.inf
    return RANGES.get(str(output), (-np.inf, np.inf))


def warning(targets: Iterable[Array], spec: Spec) -> str | None:
    """
    Return the text of a warning if the output cannot reach all targets; None if it can.

    Parameters
    ----------
    targets : iterable of (..., n_targets) arrays
        All targets, a few rows at a time. Some arrays may be empty.
    spec : Spec
    """
    low, high = range_of(spec)
    if (low, high) == (-np.inf, np.inf):
        return None
    least, most = np.inf, -np.inf
    for some in targets:
        if some.size:
            least, most = min(least, float(some.min())), max(most, float(some.max()))
    rounding = ROUNDING * max(1.0, abs(least), abs(most))
    if least >= low - rounding and most <= high + rounding:
        return None
    outputs = f"from {low:g} to {high:g}" if high < np.inf else f"of at least {low:g}"
    return (
        f"y has numbers from {least:g} to {most:g}, and the output activation "
        f"{spec.activations[-1]!r} gives numbers {outputs}: the net cannot reach all targets. For "
        "regression use output_activation='identity' and scale y to about -1...1; for two classes "
        "use the labels 0 and 1"
    )


def with_weight(y: Array, weights: Array | None) -> Array:
    """
    Return the targets whose weight is above 0.

    Parameters
    ----------
    y : (n, n_targets) array, or (members, n, n_targets)
    weights : (n,) array, (members, n) array or None
        With weights for each member, a sample that is common to all is kept if any member's weight
        is above 0.
    """
    if weights is None or (counts := weights > 0).all():
        return y
    if counts.ndim < y.ndim - 1:
        return y[:, counts]
    return y[counts if counts.ndim < y.ndim else counts.any(axis=0)]
