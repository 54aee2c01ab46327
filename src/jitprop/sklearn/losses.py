"""Where the loss that scikit-learn tells is not jitprop's."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, xlogy

from jitprop._types import Array
from jitprop.spec import Spec


def constants(spec: Spec, y: Array) -> Array | None:
    """
    What scikit-learn's loss of each sample has beside jitprop's: (n_samples,), or None for nothing.

    Half the Poisson deviance is y log(y / rate) - y + rate, with 0 log 0 = 0; jitprop's loss
    leaves out y log y - y, which no parameter changes.
    """
    if spec.loss.name != "poisson":
        return None
    y = y.astype(np.float64)
    rest: Array = (xlogy(y, y) - y).sum(axis=1)
    return rest


def rounded(softmax: bool, z: Array, y: Array, weights: Array | None) -> float:
    """
    The cross-entropy of probabilities as scikit-learn computes it: rounded, clipped, then log.

    Where a unit saturates it differs from that of z: log(1 - a) has few digits left where a is
    nearly 1.
    """
    if softmax:
        p = np.exp(z - z.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
    else:
        p = expit(z)
    epsilon = np.finfo(p.dtype).eps
    p = np.clip(p, epsilon, 1 - epsilon)
    each = xlogy(y, p) if softmax else xlogy(y, p) + xlogy(1 - y, 1 - p)
    return -float(np.average(each, weights=weights, axis=0).sum())
