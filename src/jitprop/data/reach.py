"""Targets that the output of a net cannot reach."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from jitprop._types import Array
from jitprop.net.custom import CustomLoss
from jitprop.net.spec import Spec

RANGES = {
    "sigmoid": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "relu": (0.0, np.inf),
    "softplus": (0.0, np.inf),
    "exp": (0.0, np.inf),
    "elu": (-1.0, np.inf),
    "gelu": (-0.17, np.inf),
    "silu": (-0.28, np.inf),
}
"""Of the outputs, by the name of the output activation; of those not here it is all numbers."""

ROUNDING = 1e-6
"""How far outside targets may lie, as a share of the largest: they may have been scaled."""


def beyond(pieces: Iterable[Array], spec: Spec) -> str | None:
    """
    Return a warning of targets that the output cannot reach; None where it can.

    Parameters
    ----------
    pieces : iterable of (..., n_targets) arrays
        Targets, some rows at a time, of which some may have none.
    spec : Spec
    """
    low, high = RANGES.get(str(spec.activations[-1]), (-np.inf, np.inf))
    # Other losses refuse such targets themselves; what those of one's own mean nobody knows.
    refused = spec.loss.target_range != (-np.inf, np.inf)
    if refused or isinstance(spec.loss, CustomLoss) or (low, high) == (-np.inf, np.inf):
        return None
    least, most = np.inf, -np.inf
    for piece in pieces:
        if piece.size:
            least, most = min(least, float(piece.min())), max(most, float(piece.max()))
    rounding = ROUNDING * max(1.0, abs(least), abs(most))
    if least >= low - rounding and most <= high + rounding:
        return None
    upper = f"from {low:g} to {high:g}" if high < np.inf else f"of at least {low:g}"
    return (
        f"y has numbers from {least:g} to {most:g}, and the output activation "
        f"{spec.activations[-1]!r} gives numbers {upper}: the net cannot reach all targets. For "
        "regression take output_activation='identity' and scale y to about -1...1; for two classes "
        "take the labels 0 and 1"
    )


def counted(y: Array, weights: Array | None) -> Array:
    """
    Return those targets that have a weight above 0.

    Parameters
    ----------
    y : (n, n_targets) array, or (members, n, n_targets)
    weights : (n,) array, (members, n) array or None
    """
    if weights is None or (counts := weights > 0).all():
        return y
    if counts.ndim < y.ndim - 1:
        return y[:, counts]
    return y[counts if counts.ndim < y.ndim else counts.any(axis=0)]
