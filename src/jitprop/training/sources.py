"""
Sources of batches: arrays in memory or in files, or a stream.

A source trains whole epochs. Arrays can be presented again in the same order. So one call of a
backend can train many epochs, and a fit that diverged can go back to an earlier epoch. The batches
of a stream come only once, so the fit copies the state before each epoch of a stream.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from jitprop.backends import Backend
from jitprop.data import cast, mapped
from jitprop.data.batches import Batches
from jitprop.data.samples import Samples, Steps
from jitprop.data.watched import Predicted, Validation
from jitprop.interrupts import Interrupts
from jitprop.net.second_order import is_second_order, reason
from jitprop.net.spec import Spec
from jitprop.net.state import State
from jitprop.training.history import Numbers
from jitprop.training.nets import Nets

Indices: TypeAlias = npt.NDArray[np.int64]
Order: TypeAlias = Callable[[int], npt.ArrayLike]

STEP_WORK = 500
"""The cost of a step besides its multiply-adds, expressed as a number of multiply-adds."""

CALL_SECONDS = (0.03, 0.1)
"""The time that a call of a backend should take. After a shorter call the next one does twice as
many steps, and after a longer call half as many. Ctrl-C waits for the end of a call, so calls are
short. A call costs up to 0.1 ms, so they are not shorter."""

ORDER_SIZE = 1 << 20
"""So many indices of samples are drawn ahead at most: 8 MB. One epoch may have more."""

MANY_UPDATES = 1 << 20
"""The number of updates that is assumed for a stream, whose real number is not known. It is large,
so that threads are used if the batches are large enough for them."""


class Reached(NamedTuple):
    """
    How far training came: ``epoch`` complete epochs, and ``batch`` batches of the next one.

    ``ended`` says why a second-order method has ended; "" if it has not.
    """

    epoch: int
    batch: int
    ended: str = ""


def train(
    backend: Backend,
    net: Any,
    state: State,
    steps: Steps,
    interrupts: Interrupts,
    watcher: Any = None,
) -> int:
    """
    Train with a backend, or with its watcher. Ctrl-C waits.

    Returns the first batch that was not trained.
    """
    interrupts.halt = partial(backend.halt, net)
    try:
        reached = (watcher or backend).train(
            net, state.params, state.slots, steps, state.updates, state.dropout_key
        )
    finally:
        interrupts.halt = None
    if reached == backend.HALTED:
        interrupts.check()
    state.updates += reached - steps.start
    return reached


class Source(Protocol):
    """What `Fit` needs of a source of batches."""

    spec: Spec

    @property
    def n_batches(self) -> int | None:
        """The number of batches of an epoch; None if it is not known."""

    def block(self) -> int:
        """Return how many epochs one call of `train` may do."""

    def draw(
        self, state: State, first: int, last: int, drawn: Indices | None = None
    ) -> Indices | None:
        """
        Return the order of the samples in the epochs ``first`` to ``last - 1`` of this fit.

        To repeat these epochs, the caller passes the order that an earlier call returned as
        ``drawn``. A shuffle is then drawn again, so that the random state advances as before.
        """

    def watcher(self, validation: Validation | None, predicted: Sequence[Predicted]) -> Any:
        """
        Return an object of the backend that trains many epochs and watches them, for `train`.

        None if it can do only one epoch at a time.
        """

    def train(
        self,
        state: State,
        losses: Numbers,
        rates: Numbers,
        order: Indices | None,
        interrupts: Interrupts,
        watcher: Any = None,
        told: Numbers | None = None,
    ) -> Reached:
        """
        Train ``len(losses)`` epochs, and write their losses to ``losses``.

        ``rates`` are as in `Steps`.

        Training ends before the first batch whose loss is inf or nan; or after the epoch in which
        the watcher ends it; or when a second-order method ends. Such a method writes to ``told``:
        see `Steps`.
        """

    def close(self) -> None:
        """Release what the backend holds."""


class Arrays:
    """
    Batches of arrays, in the order of the samples or in another order.

    Parameters
    ----------
    backend : Backend
    spec : Spec
    samples : Samples
    epochs : int
        The number of epochs of the whole fit.
    order : (epochs, n_samples) int64 array, function of the epoch, or None
    shuffle : bool
        Whether to draw a random order for each epoch if ``order`` is None.
    n_threads : int or None
    nets : Nets
        Where a prepared net may be, and is left for the next fit.
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
        nets: Nets,
    ) -> None:
        self.backend, self.samples, self.order = backend, samples, order
        self.spec = spec
        self.n = len(samples.X)
        self.batch = spec.batch(self.n)
        self.n_batches = -(-self.n // self.batch)
        n_updates = epochs * self.n_batches
        dtype = samples.X.dtype
        self.nets, self.key = nets, ("fit", self.batch, n_updates, dtype)
        net = nets.take(self.key)
        if net is None:
            net = backend.prepare(spec, self.n, dtype, n_threads, n_updates)
        self.net = net
        self.shuffle = shuffle and order is None and self.n_batches > 1
        self.divisor = spec.divisor(self.n, samples.weights)
        self.step_work = spec.work(self.batch) + STEP_WORK
        self.call_steps = max(1, int(backend.FIRST_CALL / self.step_work))

    def close(self) -> None:
        """Release what the backend holds."""
        self.backend.close(self.net)
        if not self.spec.custom_functions:
            self.nets.give_back(self.key, self.net, self.backend.size(self.net))

    def block(self) -> int:
        """Return how many epochs one call trains, or fewer if their orders would be too large."""
        epochs = max(1, self.call_steps // self.n_batches)
        if self.shuffle or callable(self.order):
            epochs = min(epochs, max(1, ORDER_SIZE // self.n))
        return epochs

    def draw(
        self, state: State, first: int, last: int, drawn: Indices | None = None
    ) -> Indices | None:
        """Draw a shuffle, or return the order that the user gave."""
        if self.shuffle:
            rows = np.arange((last - first) * self.n).reshape(-1, self.n)
            rows -= rows[:, :1].copy()  # in place, because this is the largest array of some fits
            return state.rng.permuted(rows, axis=1, out=rows)
        if not callable(self.order):
            return None if self.order is None else self.order[first:last]
        if drawn is not None:  # the user's function may return another order now
            return drawn[: last - first]
        rows = np.empty((last - first, self.n), np.int64)
        for i in range(last - first):
            epoch = state.epochs + i
            rows[i] = cast.order(f"order({epoch})", self.order(epoch), (self.n,))
        return rows

    def watcher(self, validation: Validation | None, predicted: Sequence[Predicted]) -> Any:
        """
        Return a watcher, if the samples are in memory and the order needs no function.

        None for a second-order method: its epochs take long, so each may be a call of its own.
        """
        if self.samples.in_files or callable(self.order) or is_second_order(self.spec.optimizer):
            return None
        made = self.backend.watcher(self.net, self.n_batches, self.divisor, validation, predicted)
        passes = [each.X for each in predicted]
        if validation is not None:
            passes.append(validation.samples[0])
        if made is not None and passes:
            more = sum(map(len, passes)) * self.spec.n_parameters / self.n_batches
            self.call_steps = max(1, int(self.backend.FIRST_CALL / (self.step_work + more)))
        return made

    def train(
        self,
        state: State,
        losses: Numbers,
        rates: Numbers,
        order: Indices | None,
        interrupts: Interrupts,
        watcher: Any = None,
        told: Numbers | None = None,
    ) -> Reached:
        """Train in calls of about a tenth of a second."""
        n_steps = len(losses) * self.n_batches
        done, ended = 0, ""
        while done < n_steps:
            stop = min(done + self.call_steps, n_steps)
            began = time.perf_counter()
            if self.samples.in_files:
                steps = self._piece(losses, rates, order, done, stop, told)
            else:
                steps = Steps(*self.samples.read(), order, losses, rates, done, stop, told)
            reached = train(self.backend, self.net, state, steps, interrupts, watcher)
            self._adapt(time.perf_counter() - began)
            done += reached - steps.start
            ended = reason(self.spec.optimizer, state.slots)
            if reached < steps.stop or ended or (watcher is not None and watcher.ended):
                break
            if done < n_steps:
                interrupts.check()
        state.epochs += done // self.n_batches
        losses /= self.divisor  # in place, because there may be many
        return Reached(*divmod(done, self.n_batches), ended)

    def _piece(
        self,
        losses: Numbers,
        rates: Numbers,
        order: Indices | None,
        start: int,
        stop: int,
        told: Numbers | None,
    ) -> Steps:
        """Read batches of one epoch from files, from batch ``start`` on, in their order."""
        epoch, batch = divmod(start, self.n_batches)
        width = sum(math.prod(a.shape[1:]) for a in self.samples if a is not None)
        most = max(1, mapped.CHUNK // (width * self.batch))
        n = min(stop - start, self.n_batches - batch, most)
        rows = slice(batch * self.batch, min((batch + n) * self.batch, self.n))
        arrays = self.samples.read(rows if order is None else order[epoch, rows])
        one = slice(epoch, epoch + 1)
        told = None if told is None else told[one]
        rates = rates[start : start + n] if len(rates) > len(losses) else rates[one]
        return Steps(*arrays, None, losses[one], rates, 0, n, told)

    def _adapt(self, seconds: float) -> None:
        """Make calls longer or shorter. The results do not depend on it."""
        if seconds < CALL_SECONDS[0]:
            self.call_steps *= 2
        elif seconds > CALL_SECONDS[1]:
            self.call_steps = max(1, self.call_steps // 2)


class Stream:
    """
    Batches that come one by one. Each batch is one update.

    Parameters
    ----------
    backend : Backend
    spec : Spec
        Its batch size is ignored.
    batches : Batches
    make : function
        Makes `Samples` from X, y and weights, or raises an error.
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
        self.n_batches = None  # what one epoch had, the next may not have

    def close(self) -> None:
        """Release what the backend holds."""
        for _, net in self.nets.values():
            self.backend.close(net)

    def block(self) -> int:
        """Return 1, because the batches of an epoch cannot be read again."""
        return 1

    def draw(
        self, state: State, first: int, last: int, drawn: Indices | None = None
    ) -> Indices | None:
        """Return None, because the stream sets the order of the samples."""
        del state, first, last, drawn
        return None

    def watcher(self, validation: Validation | None, predicted: Sequence[Predicted]) -> None:
        """Return None, because the batches of an epoch cannot be read again."""
        del validation, predicted

    def train(
        self,
        state: State,
        losses: Numbers,
        rates: Numbers,
        order: Indices | None,
        interrupts: Interrupts,
        watcher: Any = None,
        told: Numbers | None = None,
    ) -> Reached:
        """Train one epoch, with one call of the backend for each batch."""
        del order, watcher, told

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
        Return a net that is prepared for batches of ``size`` samples.

        A backend may add in another order in large batches than in small ones. The result must not
        depend on earlier batches, bit for bit. So sizes share a net only if the backend adds in the
        same order for them.
        """
        most = self.backend.most_alike(self.spec, size, dtype)
        prepared, net = self.nets.get(most, (0, None))
        if size > prepared:
            # The second net is prepared for all sizes that can share it, so there is no third.
            n = size if net is None else most
            if net is not None:
                self.backend.close(net)
            net = self.backend.prepare(self.spec, n, dtype, self.n_threads, MANY_UPDATES)
            self.nets[most] = n, net
        return net
