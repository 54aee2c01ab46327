"""
Checks of numbers from a file: whether training can have left them.

A file may be altered and sealed again, so no number in it is trusted. Training on from numbers that
no training leaves would fail later: a mean square below 0 has no root, and the epoch at which early
stopping would end may never come.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from jitprop._types import Array
from jitprop.net.optimizers import Adam, RMSprop, Rprop
from jitprop.net.second_order import REASONS, is_second_order
from jitprop.net.spec import Spec

MOST_UPDATES = 2.0**48
"""The most updates of an epoch: at 10 ns each they would take a month."""

CHECKSUMS = 2**32
"""A checksum of parameters is below this number."""

Numbers = int | npt.NDArray[np.int64]
"""A number of one net, or an array with one for each member of a fleet."""


def check_counts(epochs: Numbers, updates: Numbers) -> None:
    """
    Check the number of updates against the number of epochs.

    Raises
    ------
    ValueError
        For less than one update, or more than `MOST_UPDATES`, for each epoch. A net from another
        library may have any number of updates before its first epoch.
    """
    if np.any((updates < epochs) | (updates > np.maximum(epochs, 1) * MOST_UPDATES)):
        raise ValueError("its updates must be from 1 to 2**48 for each of its epochs")


def check_slots(spec: Spec, slots: Array) -> None:
    """
    Check what the optimizer keeps against the range that its updates can leave.

    Parameters
    ----------
    spec : Spec
    slots : (..., n_slots, P) array
        What the optimizer keeps for each parameter. No other array of that size is made.

    Raises
    ------
    ValueError
        For a number outside the range.
    """
    optimizer = spec.optimizer
    limits: dict[int, tuple[float, float]] = {}
    if isinstance(optimizer, Adam):
        limits = {1: (0.0, np.inf)}
    elif isinstance(optimizer, RMSprop):
        limits = {0: (0.0, np.inf)}
    elif isinstance(optimizer, Rprop):
        limits = {0: (0.0, optimizer.step_max), 1: (-1.0, 1.0)}
    elif is_second_order(optimizer):
        limits = {0: (0.0, len(REASONS) - 1.0)} | optimizer.kept
    looked_at = [(i, slots[..., i, :]) for i in limits]
    if spec.input_scale_rate is not None:
        looked_at += [(i, spec.scaled(slots).kept[..., i, :]) for i in limits]
    for i, slot in looked_at:
        low, high = limits[i]
        if slot.size and (slot.min() < low or slot.max() > slots.dtype.type(high)):
            raise ValueError(
                f"slot {i} of its optimizer must be within [{low:g}, {high:g}]; "
                f"got {slot.min():g} to {slot.max():g}"
            )
    if is_second_order(optimizer) and (slots[..., 0, 0] != np.floor(slots[..., 0, 0])).any():
        raise ValueError("slot 0 of its optimizer must begin with a whole number")


def check_stopping(
    higher_is_better: bool, numbers: dict[str, Any], epochs: Numbers, with_params: bool
) -> None:
    """
    Check the state of early stopping against the number of epochs.

    Parameters
    ----------
    higher_is_better : bool
    numbers : dict
        "best", a number, and "best_epoch", "first", "last" and "restored", integers, as in
        `jitprop.fleet.stopping.Found`: of one net, or arrays with one for each member.
    epochs : int or array
        The number of epochs that were trained.
    with_params : bool
        Whether early stopping has kept parameters: the best ones, or those that it replaced by the
        best ones.

    Raises
    ------
    ValueError
        For a state that early stopping cannot have after so many epochs.
    """
    best, best_epoch, first, last, restored = (
        np.asarray(numbers[name]) for name in ("best", "best_epoch", "first", "last", "restored")
    )
    worst = -np.inf if higher_is_better else np.inf
    none = best_epoch == -1
    good = {
        "first": (first >= 0) & (first <= epochs),
        # A fit that diverges may go back by one epoch, after callbacks have seen that epoch.
        "last": (last >= first - 1) & (last <= epochs),
        # Ctrl-C may come after "best_epoch" is set and before "last" is: callbacks then see the
        # epoch again.
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
