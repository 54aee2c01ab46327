"""Targets that the output of a net cannot reach."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from weakref import WeakSet

import numpy as np

from jitprop._types import Array
from jitprop.spec import Spec
from jitprop.warn import warn

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
"""How far outside targets may lie, as a share of the range's end: they may have been scaled."""


class TargetWarning(UserWarning):
    """Targets lie outside the range of the output activation."""


_warned: WeakSet[Any] = WeakSet()
"""The nets of which it was said. A copy is another net."""


def warn_once(net: Any, pieces: Iterable[Array], spec: Spec) -> None:
    """
    Warn of targets that the output cannot reach, once for each net.

    Parameters
    ----------
    net : Trainer or Fleet
    pieces : iterable of (n, n_targets) arrays
        Targets, some rows at a time.
    spec : Spec
    """
    if net in _warned:
        return
    low, high = RANGES.get(str(spec.activations[-1]), (-np.inf, np.inf))
    if spec.loss.target_range != (-np.inf, np.inf) or (low, high) == (-np.inf, np.inf):
        return  # the loss has refused them already, or there are none
    least, most = np.inf, -np.inf
    for piece in pieces:
        least, most = min(least, float(piece.min())), max(most, float(piece.max()))
    if least >= low - ROUNDING and most <= high + ROUNDING:
        return
    upper = f"from {low:g} to {high:g}" if high < np.inf else f"of at least {low:g}"
    _warned.add(net)
    warn(
        f"y has numbers from {least:g} to {most:g}, and the output activation "
        f"{spec.activations[-1]!r} gives numbers {upper}: the net cannot reach all targets. For "
        "regression take output_activation='identity' and scale y to about -1...1; for two classes "
        "take the labels 0 and 1",
        TargetWarning,
    )
