"""
Where the batches of an epoch come from: arrays at hand, or a stream.

A source trains whole epochs from them. Arrays can be presented again, in the same order, so that
many epochs make one call of a backend, and a fit that diverged finds its way to any epoch before.
A stream passes by once; each of its epochs begins with a copy of the state.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from jitprop.backends import Backend
from jitprop.data import cast, mapped
from jitprop.data.batches import Batches
from jitprop.data.samples import Samples, Steps
from jitprop.interrupts import Interrupts
from jitprop.net.spec import Spec
from jitprop.net.state import State
from jitprop.training.history import Numbers

Indices: TypeAlias = npt.NDArray[np.int64]
Order: TypeAlias = Callable[[int], npt.ArrayLike]

STEP_WORK = 500
"""What a step costs beside its multiply-adds, counted in them."""

CALL_SECONDS = (0.03, 0.1)
"""How long a call of a backend may take: below, the next does twice as much, above, half as much.
A Ctrl-C waits for its end; a call costs up to 0.1 ms."""

ORDER_SIZE = 1 << 20
"""Indices of samples drawn ahead: 8 MB of them."""

MANY_UPDATES = 1 << 20
"""Updates expected of a stream, of which nobody knows: enough for threads to pay, if ever."""


class Reached(NamedTuple):
    """How far training came: ``epoch`` whole epochs, and ``batch`` batches of the next."""

    epoch: int
    batch: int


def train(backend: Backend, net: Any, state: State, steps: Steps, interrupts: Interrupts) -> int:
    """Let a backend train; meanwhile Ctrl-C waits. Returns the first batch not trained."""
    interrupts.halt = partial(backend.halt, net)
    try:
        reached = backend.train(
            net, state.params, state.slots, steps, state.updates, state.dropout_key
        )
    finally:
        interrupts.halt = None
    if reached == backend.HALTED:
        interrupts.check()
    state.updates += reached - steps.start
    return reached


class Source(Protocol):
    """What `Fit` trains from."""

    spec: Spec

    def block(self) -> int:
        """How many epochs `train` may do in a row."""

    def draw(
        self, state: State, first: int, last: int, drawn: Indices | None = None
    ) -> Indices | None:
        """
        The order of presentation in the epochs ``first`` to ``last`` of this fit.

        To see them again, it is given what it returned before, ``drawn``, and brings the random
        state to where it was after that.
        """

    def train(
        self,
        state: State,
        losses: Numbers,
        rates: Numbers,
        order: Indices | None,
        interrupts: Interrupts,
    ) -> Reached:
        """
        Train as many epochs as there are ``losses``, which become theirs.

        It ends before the first batch whose loss is inf or nan.
        """

    def close(self) -> None:
        """Give back what the backend took."""


class Arrays:
    """
    Batches of arrays, in their order or another.

    Parameters
    ----------
    backend : Backend
    spec : Spec
    samples : Samples
    epochs : int
        Of the whole fit.
    order : (epochs, n_samples) int64 array, function of the epoch, or None
    shuffle : bool
        Whether to draw an order where none is given.
    n_threads : int or None
    """

    def __init__(
        self,
        backend: Backend,
        spec: Spec,
        samples: Samples,
        epochs: int,
        order: Indices | Order | None,
        shuffle: bool,
        n_threads: int | None,
    ) -> None:
        self.backend, self.samples, self.order = backend, samples, order
        self.spec = spec
        self.n = len(samples.X)
        self.batch = spec.batch(self.n)
        self.n_batches = -(-self.n // self.batch)
        n_updates = epochs * self.n_batches
        self.net = backend.prepare(spec, self.n, samples.X.dtype, n_threads, n_updates)
        self.shuffle = shuffle and order is None and self.n_batches > 1
        self.divisor = spec.divisor(self.n, samples.weights)
        step_work = 3 * self.batch * spec.n_parameters + STEP_WORK
        self.call_steps = max(1, int(backend.FIRST_CALL / step_work))

    def close(self) -> None:
        """Give back what the backend took."""
        self.backend.close(self.net)

    def block(self) -> int:
        """As many epochs as one call trains; of drawn orders, not more than memory should hold."""
        epochs = max(1, self.call_steps // self.n_batches)
        if self.shuffle or callable(self.order):
            epochs = min(epochs, max(1, ORDER_SIZE // self.n))
        return epochs

    def draw(
        self, state: State, first: int, last: int, drawn: Indices | None = None
    ) -> Indices | None:
        """A shuffle; or what the user gave."""
        if self.shuffle:
            rows = np.arange((last - first) * self.n).reshape(-1, self.n)
            rows -= rows[:, :1].copy()  # in place: it is the largest array of some fits
            return state.rng.permuted(rows, axis=1, out=rows)
        if not callable(self.order):
            return None if self.order is None else self.order[first:last]
        if drawn is not None:  # the user's function may not repeat itself
            return drawn[: last - first]
        rows = np.empty((last - first, self.n), np.int64)
        for i in range(last - first):
            epoch = state.epochs + i
            rows[i] = cast.order(f"order({epoch})", self.order(epoch), (self.n,))
        return rows

    def train(
        self,
        state: State,
        losses: Numbers,
        rates: Numbers,
        order: Indices | None,
        interrupts: Interrupts,
    ) -> Reached:
        """Train in calls of about a tenth of a second."""
        n_steps = len(losses) * self.n_batches
        done = 0
        while done < n_steps:
            stop = min(done + self.call_steps, n_steps)
            began = time.perf_counter()
            if self.samples.in_files:
                steps = self._piece(losses, rates, order, done, stop)
            else:
                steps = Steps(*self.samples.read(), order, losses, rates, done, stop)
            reached = train(self.backend, self.net, state, steps, interrupts)
            self._adapt(time.perf_counter() - began)
            done += reached - steps.start
            if reached < steps.stop:
                break
            if done < n_steps:
                interrupts.check()
        state.epochs += done // self.n_batches
        losses /= self.divisor  # in place: they may be many
        return Reached(*divmod(done, self.n_batches))

    def _piece(
        self, losses: Numbers, rates: Numbers, order: Indices | None, start: int, stop: int
    ) -> Steps:
        """Batches from ``start`` on, of one epoch, read from files in their order."""
        epoch, batch = divmod(start, self.n_batches)
        width = sum(math.prod(a.shape[1:]) for a in self.samples if a is not None)
        most = max(1, mapped.CHUNK // (width * self.batch))
        n = min(stop - start, self.n_batches - batch, most)
        rows = slice(batch * self.batch, min((batch + n) * self.batch, self.n))
        arrays = self.samples.read(rows if order is None else order[epoch, rows])
        one = slice(epoch, epoch + 1)
        return Steps(*arrays, None, losses[one], rates[one], 0, n)

    def _adapt(self, seconds: float) -> None:
        """Make calls longer or shorter; what they compute does not depend on it."""
        if seconds < CALL_SECONDS[0]:
            self.call_steps *= 2
        elif seconds > CALL_SECONDS[1]:
            self.call_steps = max(1, self.call_steps // 2)


class Stream:
    """
    Batches that come one by one, each an update.

    Parameters
    ----------
    backend : Backend
    spec : Spec
        Its batch size does not matter.
    batches : Batches
    make : function
        Makes `Samples` of X, y and weights, or raises.
    n_threads : int or None
    """

    def __init__(
        self,
        backend: Backend,
        spec: Spec,
        batches: Batches,
        make: Callable[[Any, Any, Any], Samples],
        n_threads: int | None,
    ) -> None:
        self.backend, self.batches, self.make = backend, batches, make
        self.spec, self.n_threads = replace(spec, batch_size=None), n_threads
        self.nets: dict[int, tuple[int, Any]] = {}

    def close(self) -> None:
        """Give back what the backend took."""
        for _, net in self.nets.values():
            self.backend.close(net)

    def block(self) -> int:
        """One epoch: it will not come back."""
        return 1

    def draw(
        self, state: State, first: int, last: int, drawn: Indices | None = None
    ) -> Indices | None:
        """No order: samples come as they come."""
        del state, first, last, drawn
        return None

    def train(
        self,
        state: State,
        losses: Numbers,
        rates: Numbers,
        order: Indices | None,
        interrupts: Interrupts,
    ) -> Reached:
        """Train one epoch, a batch a call."""
        del order

        total = 0.0
        for k, made in enumerate(self.batches.each(self.make)):
            interrupts.check()
            X, y, weights = made.unshared(state.params).read()
            total += self.spec.divisor(len(X), weights)
            net, steps = self._net(len(X), X.dtype), Steps(X, y, weights, None, losses, rates, 0, 1)
            if train(self.backend, net, state, steps, interrupts) == 0:
                return Reached(0, k)
        state.epochs += 1
        if self.spec.reduction == "mean":
            losses /= total
        return Reached(1, 0)

    def _net(self, size: int, dtype: np.dtype[Any]) -> Any:
        """
        A net prepared for batches of ``size`` samples.

        Sums may be ordered otherwise in large batches than in small ones, and the bits must not
        depend on what came before: so only sizes of one order share a net.
        """
        most = self.backend.most_alike(self.spec, size, dtype)
        prepared, net = self.nets.get(most, (0, None))
        if size > prepared:
            # Sizes that change again and again are prepared for twice, not each time.
            n = size if net is None else most
            if net is not None:
                self.backend.close(net)
            net = self.backend.prepare(self.spec, n, dtype, self.n_threads, MANY_UPDATES)
            self.nets[most] = n, net
        return net
