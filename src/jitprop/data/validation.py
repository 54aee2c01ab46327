"""Validation samples: those that the user passes, or some held out from the training samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from jitprop import checks

Rows = npt.NDArray[np.int64]


def parts(data: Any) -> tuple[Any, Any, Any]:
    """
    Take `Trainer.fit`'s ``validation_data`` apart: X, y, and sample weights or None.

    Raises
    ------
    TypeError, ValueError
        For anything but (X, y) or (X, y, sample_weight). The arrays are not checked.
    """
    expected = "validation_data must be (X, y) or (X, y, sample_weight)"
    if not isinstance(data, tuple | list):
        raise TypeError(f"{expected}; got {checks.shown(data)}")
    if len(data) not in (2, 3):
        raise ValueError(f"{expected}; got {len(data)} items")
    X, y, *weights = data
    return X, y, weights[0] if weights else None


def check_counted(who: str, training: Any, held_out: Any) -> None:
    """
    Check the weights of both parts of a split; None stands for no weights.

    Raises
    ------
    ValueError
        If all weights of one part are 0. The message begins with ``who``, which made the split.
    """
    for side, weights in (("to train on", training), ("held out", held_out)):
        if weights is not None and not np.any(weights):
            raise ValueError(
                f"{who} must leave samples with a weight above 0 on both sides; all samples {side} "
                "have the weight 0, from sample_weight or from class_weight"
            )


def hold_out(n_samples: int, fraction: Any, seed: int) -> tuple[Rows, Rows]:
    """
    Choose the samples to train on and those to validate with.

    The choice depends only on ``seed``, ``n_samples`` and ``fraction``. So a resumed fit does not
    train on the samples that the fit before it validated with.

    Parameters
    ----------
    n_samples : int
    fraction : float
        The share of samples to validate with, above 0 and below 1.
    seed : int

    Returns
    -------
    training, validation : (n,) int64 arrays
        Indices of samples, in ascending order.

    Raises
    ------
    TypeError, ValueError
        For another ``fraction``, and for one that leaves no sample on one side.
    """
    share = checks.number("validation_fraction", fraction, above=0.0, below=1.0)
    n = round(share * n_samples)
    if not 0 < n < n_samples:
        raise ValueError(
            f"validation_fraction must leave samples on both sides; {share:g} of {n_samples} "
            f"are {n}"
        )
    rows = np.random.default_rng(seed).permutation(n_samples)
    return np.sort(rows[n:]), np.sort(rows[:n])
