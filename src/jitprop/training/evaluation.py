"""Loss, gradient and predictions of a net on given samples, without an update."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from jitprop._types import Array
from jitprop.backends import TILE, Backend
from jitprop.backends.threads import one_blas_thread
from jitprop.data import cast, mapped
from jitprop.data.mapped import Mapped, Rows
from jitprop.data.samples import Samples
from jitprop.data.watched import Predicted, Validation
from jitprop.interrupts import Interrupts
from jitprop.net.spec import Spec
from jitprop.training.nets import Nets

GROUP_WORK = 2e8
"""
The most multiply-adds of a group of samples whose losses are added up by themselves. A group also
has at most `mapped.CHUNK` numbers, one for each unit and sample, and at least `TILE` samples. The
NumPy backend holds these numbers in memory, and rows of a file are read for one group at a time.
"""


class Evaluation:
    """
    A net prepared for some samples.

    Parameters
    ----------
    backend : Backend
    spec : Spec
    X : (n_samples, n_inputs) array, or rows of a file
        The net is prepared for so many samples of this dtype. The methods take no more samples.
    n_threads : int or None, default None
        The most threads; None uses as many as there is work for. Results do not depend on it.
    backward : bool, default False
        Whether `gradient` will be called.
    """

    def __init__(
        self,
        backend: Backend,
        spec: Spec,
        X: Rows,
        n_threads: int | None = None,
        *,
        backward: bool = False,
    ) -> None:
        self.backend, self.spec = backend, spec
        self.key = _key(X, backward)
        # Groups are whole tiles. Their size depends on the net alone, so that losses are always
        # summed in the same order.
        size = min(GROUP_WORK / spec.n_parameters, mapped.CHUNK / sum(spec.layer_sizes))
        self._group = max(1, int(size) // TILE) * TILE
        at_once = backward or (backend.COMPILED and not isinstance(X, Mapped))
        self._rows = len(X) if at_once else self._group
        tiled, n = replace(spec, batch_size=TILE), min(len(X), self._rows)
        self.net: Any = backend.prepare_pass(tiled, n, X.dtype, n_threads, backward)

    def _pieces(self, n_samples: int) -> list[slice]:
        return [slice(i, i + self._rows) for i in range(0, n_samples, self._rows)]

    def loss(self, params: Array, samples: Samples, look: bool = False) -> float:
        """
        Return the loss: the mean or the sum over the samples, as the spec says.

        With ``look`` nobody has looked yet if X has inf or nan.

        Raises
        ------
        ValueError
            If X has inf or nan.
        """
        X, y, weights = samples
        loss = 0.0
        try:
            for i in self._pieces(len(X)):
                w = None if weights is None else weights[i]
                if w is not None and not w.any():
                    continue
                loss += self.backend.evaluate(self.net, params, (X[i], y[i], w), self._group, look)
        finally:
            self.backend.close(self.net)
        if look and not math.isfinite(loss):
            cast.check_finite("X", X, X)
        return loss / self.spec.divisor(len(X), weights)

    def validation(self, samples: Samples) -> Validation:
        """Return what a backend needs to compute `loss` by itself. No sample may be in a file."""
        divisor = self.spec.divisor(len(samples.X), samples.weights)
        return Validation(self.net, samples.read(), self._group, divisor)

    def predicted(self, X: Array) -> Predicted:
        """Return what a backend needs to do `predict` by itself."""
        return Predicted(self.net, X)

    def gradient(self, params: Array, samples: Samples, out: Array) -> float:
        """Write the gradient of the loss to ``out``, (P,), and return the loss."""
        try:
            loss = self.backend.gradient(self.net, params, *samples.read(), out)
        finally:
            self.backend.close(self.net)
        return loss / self.spec.divisor(len(samples.X), samples.weights)

    def predict(self, params: Array, X: Rows, look: bool = False) -> Array:
        """
        Return the outputs, (n_samples, n_outputs). As for `loss`, X may have inf or nan.

        Raises
        ------
        ValueError
            If X has inf or nan.
        """
        out = np.empty((len(X), self.spec.layer_sizes[-1]), X.dtype)
        try:
            for i in self._pieces(len(X)):
                if not self.backend.predict(self.net, params, X[i], out[i], look):
                    cast.check_finite("X", X, X)
        finally:
            self.backend.close(self.net)
        return out


@contextmanager
def lent(
    nets: Nets,
    backend: Backend,
    spec: Spec,
    X: Rows,
    n_threads: int | None,
    backward: bool = False,
) -> Iterator[Evaluation]:
    """
    Lend an `Evaluation` for some samples: a prepared one, or a new one.

    BLAS has one thread meanwhile if the backend uses it.
    """
    evaluation = taken(nets, backend, spec, X, n_threads, backward)
    if backend.COMPILED:
        yield evaluation
    else:
        with Interrupts() as interrupts, one_blas_thread(), interrupts.heard():
            yield evaluation
    give_back(nets, evaluation)


def taken(
    nets: Nets,
    backend: Backend,
    spec: Spec,
    X: Rows,
    n_threads: int | None,
    backward: bool = False,
) -> Evaluation:
    """Take an `Evaluation` for some samples: a prepared one, or a new one."""
    found: Evaluation | None = nets.take(_key(X, backward))
    return found or Evaluation(backend, spec, X, n_threads, backward=backward)


def give_back(nets: Nets, evaluation: Evaluation) -> None:
    """Keep an `Evaluation` for the next call, unless it has functions of the user's own."""
    if not evaluation.spec.custom_functions:
        nets.give_back(evaluation.key, evaluation, evaluation.backend.size(evaluation.net))


def _key(X: Rows, backward: bool) -> Hashable:
    return "pass", len(X), X.dtype, backward, isinstance(X, Mapped)
