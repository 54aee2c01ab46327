"""Validation samples: the user's own, or held out from the training samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from jitprop import checks

Rows = npt.NDArray[np.int64]


def parts(data: Any) -> tuple[Any, Any, Any]:
    """`Trainer.fit`'s ``validation_data`` as X, y, and sample weights or None; not looked at."""
    expected = "validation_data must be (X, y) or (X, y, sample_weight)"
    if not isinstance(data, tuple | list):
        raise TypeError(f"{expected}; got {checks.shown(data)}")
    if len(data) not in (2, 3):
        raise ValueError(f"{expected}; got {len(data)} items")
    X, y, *weights = data
    return X, y, weights[0] if weights else None


def check_counted(who: str, training: Any, held_out: Any) -> None:
    """Refuse sample weights, or None, that are 0 for all samples of one side of a split."""
    for side, weights in (("to train on", training), ("held out", held_out)):
        if weights is not None and not np.any(weights):
            raise ValueError(
                f"{who} must leave samples with a weight above 0 on both sides; all samples {side} "
                "have the weight 0, of sample_weight or of their class"
            )


def hold_out(n_samples: int, fraction: Any, seed: int) -> tuple[Rows, Rows]:
    """
    Numbers of the samples to train on and of those to validate with, each in ascending order.

    The same ``seed`` and ``n_samples`` give the same: a fit that goes on never trains on what
    the one before validated with.
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
