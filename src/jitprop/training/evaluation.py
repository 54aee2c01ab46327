"""Loss, gradient and predictions of a net on given samples, without an update."""

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
"""A backend takes so many samples at a time, so that it needs little scratch memory."""

PIECE_WORK = 2e8
"""The most multiply-adds of a call that computes outputs or losses. They take up to 0.1 s, and
between calls Python handles Ctrl-C. A call also computes at most `mapped.CHUNK` numbers: one for
each unit and sample. The NumPy backend holds all of these in memory, and rows of a file may be
copied. A call takes at least `TILE` samples, even if that is more."""


class Evaluation:
    """
    A net prepared for some samples.

    Parameters
    ----------
    backend : Backend
    spec : Spec
    X : (n_samples, n_inputs) array, or rows of a file
        The net is prepared for so many samples of this dtype. The methods take no more samples.
    """

    def __init__(self, backend: Backend, spec: Spec, X: Rows) -> None:
        self.backend, self.spec = backend, spec
        self.net = backend.prepare(replace(spec, batch_size=TILE), len(X), X.dtype, 1, 1)

    def _pieces(self, n_samples: int) -> list[slice]:
        # Pieces are whole tiles. Their size depends on the net alone, so that losses are always
        # summed in the same order.
        size = min(PIECE_WORK / self.spec.n_parameters, mapped.CHUNK / sum(self.spec.layer_sizes))
        size = max(1, int(size) // TILE) * TILE
        return [slice(i, i + size) for i in range(0, n_samples, size)]

    def loss(self, params: Array, samples: Samples) -> float:
        """Return the loss: the mean or the sum over the samples, as the spec says."""
        X, y, weights = samples
        loss = 0.0
        for i in self._pieces(len(X)):
            w = None if weights is None else weights[i]
            if w is not None and not w.any():
                continue
            loss += self.backend.evaluate(self.net, params, X[i], y[i], w)
        return loss / self.spec.divisor(len(X), weights)

    def gradient(self, params: Array, samples: Samples, out: Array) -> float:
        """Write the gradient of the loss to ``out``, (P,), and return the loss."""
        loss = self.backend.gradient(self.net, params, *samples.read(), out)
        return loss / self.spec.divisor(len(samples.X), samples.weights)

    def predict(self, params: Array, X: Rows) -> Array:
        """Return the outputs, (n_samples, n_outputs)."""
        out = np.empty((len(X), self.spec.layer_sizes[-1]), X.dtype)
        for i in self._pieces(len(X)):
            self.backend.predict(self.net, params, X[i], out[i])
        return out
