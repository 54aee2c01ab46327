"""Learning rates: one for all epochs, or one for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from jitprop import checks

LearningRate: TypeAlias = float | Callable[[int], float]


def resolve(value: Any) -> LearningRate:
    """`Trainer`'s ``learning_rate``: a number above 0, or a function of the epoch as it is."""
    if callable(value) and not isinstance(value, type):
        return value  # type: ignore[no-any-return]
    return checks.number("learning_rate", value, above=0.0)


def fill(rates: npt.NDArray[np.float64], learning_rate: LearningRate, start: int) -> None:
    """
    Write the learning rates of the epochs from ``start`` on, counted over all fits.

    Raises
    ------
    TypeError, ValueError
        For a rate that is not a finite number of at least 0; the message names the epoch.
    """
    if not callable(learning_rate):
        rates[:] = learning_rate
        return
    for i in range(len(rates)):
        epoch = start + i
        rates[i] = checks.number(f"learning_rate({epoch})", learning_rate(epoch), low=0.0)
