"""
What training can have left: checks of numbers that a file says, each against the others.

Who alters a file can seal it anew, so none is believed. What no training leaves would be trained
on: a mean square below 0 has no root, and an epoch that is far off never comes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from jitprop._types import Array
from jitprop.net.optimizers import Adam, Optimizer, RMSprop, Rprop

MOST_UPDATES = 2.0**48
"""Of an epoch: at 10 ns each they take a month."""

CHECKSUMS = 2**32
"""How many checksums of parameters there are."""

Numbers = int | npt.NDArray[np.int64]
"""Of one net, or of each member of a fleet."""


def check_counts(epochs: Numbers, updates: Numbers) -> None:
    """Refuse numbers of updates that so many epochs do not have: each has one or more."""
    if np.any((updates < epochs) | (updates > epochs * MOST_UPDATES)):
        raise ValueError("its updates must be at least one for each of its epochs, and not 2**48")


def check_slots(optimizer: Optimizer, slots: Array) -> None:
    """
    Refuse what no update of this optimizer leaves.

    Parameters
    ----------
    optimizer : Optimizer
    slots : (..., n_slots, P) array
        What it keeps of each parameter. Nothing of that size is made.

    Raises
    ------
    ValueError
    """
    limits: dict[int, tuple[float, float]] = {}
    if isinstance(optimizer, Adam):
        limits = {1: (0.0, np.inf)}
    elif isinstance(optimizer, RMSprop):
        limits = {0: (0.0, np.inf)}
    elif isinstance(optimizer, Rprop):
        limits = {0: (0.0, optimizer.step_max), 1: (-1.0, 1.0)}
    for i, (low, high) in limits.items():
        slot = slots[..., i, :]
        if slot.size and (slot.min() < low or slot.max() > slots.dtype.type(high)):
            raise ValueError(
                f"what its optimizer keeps, number {i}, must lie within [{low:g}, {high:g}]; "
                f"got {slot.min():g} to {slot.max():g}"
            )


def check_stopping(
    higher_is_better: bool, numbers: dict[str, Any], epochs: Numbers, with_params: bool
) -> None:
    """
    Refuse what early stopping cannot have found in so many epochs.

    Parameters
    ----------
    higher_is_better : bool
    numbers : dict
        "best", a number, and "best_epoch", "first", "last" and "restored", whole numbers, as
        `jitprop.fleet.stopping.Found` has them: of one net, or arrays of all members.
    epochs : int or array
        That were trained.
    with_params : bool
        Whether it kept the best parameters, or others that these took the place of.

    Raises
    ------
    ValueError
    """
    best, best_epoch, first, last, restored = (
        np.asarray(numbers[name]) for name in ("best", "best_epoch", "first", "last", "restored")
    )
    worst = -np.inf if higher_is_better else np.inf
    none = best_epoch == -1
    good = {
        "first": (first >= 0) & (first <= epochs),
        # A fit that diverges may go back by one epoch, of which callbacks were told.
        "last": (last >= first - 1) & (last <= epochs),
        # Ctrl-C may come between the one and the other; the epoch is then told again.
        "best_epoch": none | ((best_epoch >= first) & (best_epoch <= last + 1)),
        "best": np.where(none, best == worst, (best != worst) & ~np.isnan(best)),
        "restored": (restored == -1)
        | ((restored >= 0) & (restored < CHECKSUMS) & ~none & with_params),
    }
    for name, which in good.items():
        if not which.all():
            i = np.flatnonzero(~which.reshape(-1))[0]
            value = np.asarray(numbers[name]).reshape(-1)[i]
            raise ValueError(
                f"early stopping cannot have {name} {value:g} after "
                f"{np.broadcast_to(epochs, which.shape).reshape(-1)[i]} epochs"
            )
