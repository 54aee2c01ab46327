"""
The scales of the inputs: the first weights are W = diag(s) V, and training changes V and s.

``params`` always holds W. So passes, files and exports know nothing of the scales, and W can be set
by anybody. Where it is not what s and V make, it has been set: then s is 1 and V is W.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from jitprop._types import Array
from jitprop.net.spec import Spec


def has_been_set(spec: Spec, params: Array, slots: Array) -> npt.NDArray[np.bool_]:
    """Return whether W is not what s and V make: one bool, or one for each member of a fleet."""
    V, s, _ = spec.scaled(slots)
    (n_in, n_out) = spec.shapes[0]
    W = params[..., : n_in * n_out].reshape(V.shape)
    return np.asarray((s[..., np.newaxis] * V != W).any(axis=(-2, -1)))


def scales(spec: Spec, params: Array, slots: Array) -> Array:
    """Return a copy of the scales, (..., n_inputs). They are 1 for a net that has none."""
    if spec.input_scale_rate is None:
        return np.ones((*params.shape[:-1], spec.layer_sizes[0]), params.dtype)
    found = spec.scaled(slots).s.copy()
    found[has_been_set(spec, params, slots)] = 1.0
    return found


def begin(spec: Spec, params: Array, slots: Array) -> None:
    """Begin with s = 1 and V = W where W has been set."""
    if spec.input_scale_rate is not None and has_been_set(spec, params, slots).any():
        V, s, _ = spec.scaled(slots)
        V[...] = params[: V.size].reshape(V.shape)
        s[...] = 1.0
