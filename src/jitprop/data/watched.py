"""What a backend is told to do after each epoch, where it trains many of them in one call."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from jitprop._types import Array
from jitprop.data.samples import Arrays

Numbers = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


class Validation(NamedTuple):
    """
    Samples whose loss is computed after each epoch.

    Attributes
    ----------
    net : Any
        As the backend's ``prepare_pass`` returns it.
    samples : tuple
        X, y, and weights or None.
    group : int
        As the backend's ``evaluate`` takes it.
    divisor : float
        What the summed loss is divided by.
    """

    net: Any
    samples: Arrays
    group: int
    divisor: float


class Predicted(NamedTuple):
    """
    Samples whose predictions are kept after each epoch, for metrics.

    Attributes
    ----------
    net : Any
        As the backend's ``prepare_pass`` returns it.
    X : (n_samples, n_inputs) array
    """

    net: Any
    X: Array


class Stopping(NamedTuple):
    """
    The rule of `EarlyStopping`, and what it has found so far.

    Attributes
    ----------
    patience : int
    of_validation : bool
        Whether the validation loss is monitored, or else the training loss.
    classes : (n_samples,) array
        The classes of the validation samples, if the accuracy of the last of ``predictions`` is
        monitored instead. Else it is empty.
    sign : float
        1 if higher is better, else -1.
    min_delta : float
    ties_last : bool
        Whether a number that equals the best one takes its place.
    first : int
        The epoch in which the count began. Epochs are counted over all fits.
    best : (1,) float64 array
        The best number; inf or -inf if there is none. Changes.
    best_epoch : (1,) int64 array
        Its epoch; -1 if there is none. Changes.
    kept : (P,) array
        Becomes a copy of the parameters of each best epoch. Empty if nobody wants it.
    """

    patience: int
    of_validation: bool
    classes: Indices
    sign: float
    min_delta: float
    ties_last: bool
    first: int
    best: Numbers
    best_epoch: Indices
    kept: Array


class Falling(NamedTuple):
    """
    The rule of `ReduceOnPlateau`, and its state.

    Attributes
    ----------
    patience : int
    of_validation : bool
        Whether the validation loss is monitored, or else the training loss.
    factor, min_delta, minimum : float
    rate : (1,) float64 array
        The learning rate of the next epoch. Changes.
    best : (1,) float64 array
        The best loss; inf if there is none. Changes.
    waited : (1,) int64 array
        Epochs since then, or since the rate fell. Changes.
    """

    patience: int
    of_validation: bool
    factor: float
    min_delta: float
    minimum: float
    rate: Numbers
    best: Numbers
    waited: Indices


class Watched(NamedTuple):
    """
    What is done after each epoch of a block.

    Attributes
    ----------
    epoch : int
        The number of the block's first epoch, counted over all fits.
    validation_losses : (epochs,) float64 array
        Becomes the validation loss after each epoch. Empty for no validation.
    stopping : Stopping or None
    falling : Falling or None
        With it, the learning rate of each epoch is written after the epoch before.
    predictions : list of (epochs, n_samples, n_outputs) arrays
        Become the predictions after each epoch, of all `Predicted`.
    """

    epoch: int
    validation_losses: Numbers
    stopping: Stopping | None
    falling: Falling | None
    predictions: list[Array]
