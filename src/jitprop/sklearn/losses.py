"""Where the loss that scikit-learn tells is not jitprop's."""

from __future__ import annotations

import numpy as np
from scipy.special import xlogy

from jitprop._types import Array
from jitprop.net.spec import Spec


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
