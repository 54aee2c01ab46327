"""A net on given samples, parameters as they are: loss, gradient and predictions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from jitprop._types import Array
from jitprop.backends import Backend
from jitprop.data import mapped
from jitprop.data.mapped import Rows
from jitprop.data.samples import Samples
from jitprop.net.spec import Spec

TILE = 256
"""Samples that a backend takes at a time: little scratch for any number of them."""

PIECE_WORK = 2e8
"""Multiply-adds of a call that goes forward: up to 0.1 s. Between calls Python hears Ctrl-C.
Of units, in all samples of a call, there are no more than `mapped.CHUNK`: the NumPy backend holds
them all, and files may be copied."""


class Evaluation:
    """
    A net prepared for some samples.

    Parameters
    ----------
    backend : Backend
    spec : Spec
    X : (n_samples, n_inputs) array, or rows of a file
        What it is prepared for; as many samples may be handed to its methods.
    """

    def __init__(self, backend: Backend, spec: Spec, X: Rows) -> None:
        self.backend, self.spec = backend, spec
        self.net = backend.prepare(replace(spec, batch_size=TILE), len(X), X.dtype, 1, 1)

    def _pieces(self, n_samples: int) -> list[slice]:
        # Of whole tiles, and of a size that depends on the net alone, as then do the bits.
        size = min(PIECE_WORK / self.spec.n_parameters, mapped.CHUNK / sum(self.spec.layer_sizes))
        size = max(1, int(size) // TILE) * TILE
        return [slice(i, i + size) for i in range(0, n_samples, size)]

    def loss(self, params: Array, samples: Samples) -> float:
        """The loss, samples combined by the spec's reduction."""
        X, y, weights = samples
        loss = 0.0
        for i in self._pieces(len(X)):
            w = None if weights is None else weights[i]
            if w is not None and not w.any():
                continue
            loss += self.backend.evaluate(self.net, params, X[i], y[i], w)
        return loss / self.spec.divisor(len(X), weights)

    def gradient(self, params: Array, samples: Samples, out: Array) -> float:
        """The gradient of the loss into ``out``, (P,); returns the loss."""
        loss = self.backend.gradient(self.net, params, *samples.read(), out)
        return loss / self.spec.divisor(len(samples.X), samples.weights)

    def predict(self, params: Array, X: Rows) -> Array:
        """(n_samples, n_outputs) outputs."""
        out = np.empty((len(X), self.spec.layer_sizes[-1]), X.dtype)
        for i in self._pieces(len(X)):
            self.backend.predict(self.net, params, X[i], out[i])
        return out
