"""Differences between the losses of scikit-learn and of jitprop."""

from __future__ import annotations

import numpy as np

from jitprop import elementary
from jitprop._types import Array
from jitprop.net.spec import Spec


def constants(spec: Spec, y: Array) -> Array | None:
    """
    Return the constant terms of scikit-learn's losses that jitprop leaves out.

    Only the Poisson loss has such terms. scikit-learn's is half the deviance,
    y log(y / rate) - y + rate, with 0 log 0 = 0. jitprop leaves out y log y - y, because no
    parameter changes it.

    Parameters
    ----------
    spec : Spec
    y : (n_samples, n_outputs) array

    Returns
    -------
    (n_samples,) float64 array or None
        The sum of the constant terms of each sample; None if the loss has none.
    """
    if spec.loss.name != "poisson":
        return None
    y = y.astype(np.float64)
    terms: Array = (y * elementary.log(np.where(y == 0, 1, y)) - y).sum(axis=1)
    return terms
