"""Calls on few samples."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

import jitprop_kernels as kernels
from jitprop._types import Array
from jitprop.backends import TILE
from jitprop.backends.prepared import NATURAL_ORDER, prepare, size
from jitprop.net.losses import CrossEntropy
from jitprop.net.spec import Spec
from jitprop.net.state import State

BRIEF = 3e5
"""The most multiply-adds of an update that `Brief` does: some 30 us, for which Python waits."""

HAS_GIL = getattr(sys, "_is_gil_enabled", lambda: True)()
"""Whether only one thread of Python runs at a time. `Brief` relies on it."""


class Brief:
    """
    The calls of a small net on few samples: a kernel's time, and little more.

    Arguments are copied to arrays of its own, so the kernel's record is written once. The kernel
    looks at the samples. What changes does so in one call, during which neither another thread of
    Python nor a signal handler runs: they see the net before it or after it.

    A method returns None or False where it cannot do it, and then nothing has changed. The usual
    way then does it, or says what is wrong.

    Parameters
    ----------
    spec : Spec
        All samples must be one batch. Its loss has no class weights.
    n_samples : int
        At most `TILE`: then a pass has one tile, and adds in the same order as the usual way.
    state : State
    bounds : (float, float)
        The least and the greatest target that need no word. Labels have their own.
    """

    def __init__(
        self, spec: Spec, n_samples: int, state: State, bounds: tuple[float, float]
    ) -> None:
        params, slots, n_targets = state.params, state.slots, spec.n_targets
        self.params, self.slots = params, slots
        self.dtype = dtype = params.dtype
        self.key = n_samples, spec.layer_sizes[0]  # the shape of X
        self.divisor = spec.divisor(n_samples, None)
        labels = isinstance(spec.loss, CrossEntropy)
        self._net = net = prepare(spec, n_samples, dtype, 1, 1)
        low, high = (0, n_targets - 1) if labels else bounds
        largest = float(np.finfo(dtype).max)  # inf is no target
        self._plan = net.plan._replace(
            labels=labels,
            look=kernels.LOOK_AT_ALL,
            low=max(float(low), -largest),
            high=min(float(high), largest),
            dropout_key=state.dropout_key,
        )
        self._X = np.zeros((n_samples, spec.layer_sizes[0]), dtype)
        self._y = np.zeros((n_samples, 1 if labels else n_targets), dtype)
        self._targets = {self._y.shape: self._y}
        if self._y.shape[1] == 1:
            self._targets[n_samples,] = self._y[:, 0]
        self._out = np.zeros((n_samples, spec.layer_sizes[-1]), dtype)
        self._gradient, self._kept = np.empty(0, dtype), np.empty(0, dtype)
        self._cuts = [
            (slice(w, b), shape, slice(b, b + shape[1]))
            for shape, (w, b) in zip(spec.shapes, spec.offsets, strict=True)
        ]
        nothing = np.empty(0, dtype)
        self._samples = kernels.Samples(
            self._X.reshape(-1), self._y.reshape(-1), nothing, NATURAL_ORDER
        )
        self._pass = kernels.Pass(params, self._samples, net.memory[0], net.parts, 1)
        self._seat = kernels.Seat(0, 1, net.gate)
        self._refused = net.gate[kernels.REFUSED :][:1].data
        self._loss, self._rate = np.zeros(1), np.zeros(1)
        self._counts = state.counts
        self._room: tuple[Array, ...] = ()
        self._calls: dict[str, kernels.Bound] = {}
        # Bytes of memory, besides the state's; some calls add to it.
        self.size = size(net) + self._X.nbytes + self._y.nbytes + self._out.nbytes

    def serves(self, state: State) -> bool:
        """Whether it was made for these arrays, which a fit may have replaced."""
        return self.params is state.params and self._counts is state.counts

    def use(self, params: Array) -> None:
        """Compute with this vector from now on, (P,), of the same dtype."""
        if params is not self.params:
            self.params = params
            self._pass = self._pass._replace(params=params)
            for call in self._calls.values():
                call.put((2, "params"), params)

    def predict(self, X: Array) -> Array | None:
        """Return the outputs, (n_samples, n_outputs)."""
        if X.dtype != self.dtype:
            return None
        self._X[...] = X
        call = self._calls.get("predict")
        if call is None:
            plan = self._plan._replace(look=kernels.LOOK_AT_INPUTS)
            call = self._calls["predict"] = kernels.predict.bind(
                plan, self._net.route, self._pass, self._out.reshape(-1), self._seat
            )
        call.briefly()
        return None if self._is_refused() else self._out.copy()

    def evaluate(self, X: Array, y: Any) -> float | None:
        """Return the loss, reduced as the spec says."""
        if not self._takes(X, y):
            return None
        call = self._calls.get("evaluate")
        if call is None:
            call = self._calls["evaluate"] = kernels.evaluate.bind(
                self._plan, self._net.route, self._pass, self._seat
            )
        loss = float(call.briefly())  # of interpreted kernels NumPy's
        return None if self._is_refused() else loss / self.divisor

    def gradient(self, X: Array, y: Any) -> tuple[float, list[Array], list[Array]] | None:
        """Return the loss and its gradients by all weights and all biases."""
        if not self._takes(X, y):
            return None
        call = self._calls.get("gradient")
        if call is None:
            self._gradient = np.zeros_like(self.params)
            self.size += self._gradient.nbytes
            call = self._calls["gradient"] = kernels.gradient.bind(
                self._plan, self._net.route, self._pass, self._gradient, self._X[0, :0], self._seat
            )
        loss = float(call.briefly())
        if self._is_refused():
            return None
        found = self._gradient.copy()
        weights = [found[w].reshape(shape) for w, shape, _ in self._cuts]
        return loss / self.divisor, weights, [found[b] for _, _, b in self._cuts]

    def train(self, X: Array, y: Any, rate: float, room: tuple[Array, ...]) -> bool:
        """
        Do one update; count it and write its loss and rate to the history.

        ``room`` is where: the columns of the losses and of the rates, and how many are written.
        """
        writable = self.params.flags.writeable and self.slots.flags.writeable
        if not writable or not self._takes(X, y):
            return False
        self._rate[0] = rate
        call = self._calls.get("train")
        if call is None:
            call = self._calls["train"] = self._bound_to(room)
        elif any(new is not old for new, old in zip(room, self._room, strict=True)):
            call.put((2, "once"), self._once(room))
        return bool(call.briefly() == 1)

    def _bound_to(self, room: tuple[Array, ...]) -> kernels.Bound:
        net = self._net
        work = kernels.Work(
            self.params,
            self.slots.reshape(-1),
            self._samples,
            self._loss,
            self._rate,
            net.memory[0],
            net.gradients,
            net.parts,
            self._once(room),
        )
        return kernels.train.bind(self._plan, net.route, work, self._seat, 0, 1, 0)

    def _once(self, room: tuple[Array, ...]) -> kernels.Once:
        self._room = room
        if self._kept.size == 0:
            self._kept = np.empty(self.params.size + self.slots.size, self.dtype)
            self.size += self._kept.nbytes
        losses, rates, written = room
        return kernels.Once(self._kept, self._counts, float(self.divisor), losses, rates, written)

    def _takes(self, X: Array, y: Any) -> bool:
        """Copy samples. The shape of X was looked at."""
        if X.dtype != self.dtype or type(y) is not np.ndarray:
            return False
        target = self._targets.get(y.shape)
        if target is None or not (y.dtype == self.dtype or y.dtype.kind in "biu"):
            return False
        self._X[...] = X
        target[...] = y
        return True

    def _is_refused(self) -> bool:
        if self._refused[0]:
            self._refused[0] = 0
            return True
        return False


def brief(spec: Spec, n_samples: int, state: State, bounds: tuple[float, float]) -> Brief | None:
    """Return a `Brief`; None where the work is too long for one, or samples are many batches."""
    work = 3 * n_samples * spec.n_parameters
    whole = 0 < n_samples <= TILE and spec.batch(n_samples) == n_samples
    weighted = getattr(spec.loss, "class_weight", None) is not None
    if work > BRIEF or not whole or weighted or spec.custom_functions or not HAS_GIL:
        return None
    return Brief(spec, n_samples, state, bounds)
