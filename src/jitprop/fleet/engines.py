"""
Engines train the members of a fleet. This module has their protocol, and `Loop`.

An engine trains whole epochs of some members in place, and changes nothing else. `Loop` trains each
member by itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from jitprop import backends
from jitprop._types import Array
from jitprop.backends import Backend
from jitprop.backends.threads import End, NoThreadError, starting_thread
from jitprop.data.samples import Steps
from jitprop.fleet.data import Data, Part
from jitprop.interrupts import Interrupts
from jitprop.net.optimizers import SGD
from jitprop.net.spec import Spec

Indices = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


FIRST_WORK = 1e8
"""Compiled kernels do so many multiply-adds in at most 0.05 s, and in 0.01 s in lanes."""

THREAD_WORK = 5e6
"""The multiply-adds for each thread: about 0.5 ms of work. Starting a thread takes 0.1 ms."""


class Members(NamedTuple):
    """Some members of a fleet, A of them, with all that an engine needs to train them."""

    numbers: Indices
    """(A,): their numbers in the fleet."""
    params: Array
    """(A, P). Training changes them in place."""
    slots: Array
    """(A, n_slots, P). Training changes them in place."""
    updates: Indices
    """(A,): how many updates each member had before."""
    decays: Array
    """(A,): weight decays."""
    momenta: Array
    """(A,): momenta."""
    dropout: Array
    """(A, hidden layers): probabilities of dropping a unit."""
    keys: Indices
    """(A,): the numbers from which dropout computes its masks."""

    def take(self, which: Any, n_updates: int) -> Members:
        """Return copies of some of these members, with ``n_updates`` more updates counted."""
        made = Members(*(part[which] for part in self))
        return made._replace(updates=made.updates + n_updates)


class Engine(Protocol):
    """An object that trains the members of a fleet, evaluates them and predicts with them."""

    first_work: float
    """The multiply-adds of a fit's first block, before the engine's speed has been measured."""
    n_threads: int
    """The largest number of threads that it may use."""

    def train(
        self, members: Members, data: Data, orders: Indices | None, losses: Array, rates: Array
    ) -> Mask:
        """
        Train ``len(losses)`` epochs, and write each member's losses to ``losses``.

        ``losses``, (epochs, A), is C-contiguous. ``orders``, (A, epochs, n), has the order in which
        each epoch presents the samples. With None they keep their own order. ``rates`` is
        (epochs, A). Returns for each member whether all its losses were finite, (A,). If one was
        not, the member's arrays must not be used.
        """

    def evaluate(self, members: Members, data: Data) -> Array:
        """Return each member's loss, summed over the samples: (A,)."""

    def predict(self, members: Members, X: Part, out: Array) -> None:
        """Write each member's outputs to ``out``, (A, n, n_outputs)."""

    def close(self) -> None:
        """Release what the engine holds."""


class Loop:
    """
    An engine that trains each member by itself, as a `Trainer` does. Threads share the members.

    Parameters
    ----------
    backend : Backend
    spec : Spec
        It holds for all members, except for weight decay, momentum and dropout.
    n_threads : int
    """

    def __init__(self, backend: Backend, spec: Spec, n_threads: int) -> None:
        self.backend, self.spec, self.n_threads = backend, spec, n_threads
        self.first_work = 0.0 if backend is backends.load("numpy") else FIRST_WORK
        self._nets: list[tuple[Any, Any]] = []
        self._lock = threading.Lock()

    def _spec(self, members: Members, i: int) -> Spec:
        optimizer = self.spec.optimizer
        if isinstance(optimizer, SGD) and len(members.slots[i]) > 0:
            optimizer = replace(optimizer, momentum=float(members.momenta[i]))
        return replace(
            self.spec,
            weight_decay=float(members.decays[i]),
            optimizer=optimizer,
            dropout=tuple(members.dropout[i].tolist()),
        )

    def train(
        self, members: Members, data: Data, orders: Indices | None, losses: Array, rates: Array
    ) -> Mask:
        """See `Engine`."""
        n_epochs, n = len(losses), data.n_samples
        n_steps = n_epochs * -(-n // self.spec.batch(n))
        own_losses, own_rates = np.zeros((len(members.numbers), n_epochs)), rates.T.copy()

        nets: dict[int, Any] = {}

        def work(i: int) -> None:
            X, y, weights = data.of(members.numbers[i])
            spec = self._spec(members, i)
            net = nets[i] = self._take(spec, n, X.dtype)
            try:
                order = None if orders is None else orders[i]
                steps = Steps(X, y, weights, order, own_losses[i], own_rates[i], 0, n_steps)
                updates, key = int(members.updates[i]), int(members.keys[i])
                done = self.backend.train(
                    net, members.params[i], members.slots[i], steps, updates, key
                )
            finally:
                del nets[i]
                self._give(spec, n, X.dtype, net)
            if done < n_steps:
                own_losses[i, done // (n_steps // n_epochs) :] = np.nan

        def halt() -> None:
            for net in list(nets.values()):
                self.backend.halt(net)

        passes = 3 * n_epochs * n * len(members.numbers)
        run(work, len(members.numbers), self._threads(passes), halt)
        losses[:] = own_losses.T / data.divisors(self.spec, members.numbers)
        return np.asarray(np.isfinite(own_losses).all(axis=1))

    def evaluate(self, members: Members, data: Data) -> Array:
        """See `Engine`."""
        losses, tiled = np.zeros(len(members.numbers)), self._tiled()

        def work(i: int) -> None:
            X, y, weights = data.of(members.numbers[i])
            net = self._take(tiled, len(X), X.dtype, train=False)
            of_one = X, y, weights
            losses[i] = self.backend.evaluate(net, members.params[i], of_one, len(X), False)
            self._give(tiled, len(X), X.dtype, net, train=False)

        run(work, len(losses), self._threads(data.n_samples * len(losses)))
        return losses

    def predict(self, members: Members, X: Part, out: Array) -> None:
        """See `Engine`."""
        tiled = self._tiled()

        def work(i: int) -> None:
            own = X.of(members.numbers[i])
            net = self._take(tiled, len(own), own.dtype, train=False)
            self.backend.predict(net, members.params[i], own, out[i], False)
            self._give(tiled, len(own), own.dtype, net, train=False)

        run(work, len(out), self._threads(out.shape[0] * out.shape[1]))

    def _threads(self, passes: int) -> int:
        """Return how many threads to use if so many samples pass through a net."""
        if self.backend is backends.load("numpy"):
            return 0  # Python handles Ctrl-C there, and the NumPy backend has one thread
        return threads_for(passes * self.spec.n_parameters, self.n_threads)

    def _tiled(self) -> Spec:
        return replace(self.spec, batch_size=256)

    def _take(self, spec: Spec, n: int, dtype: np.dtype[Any], train: bool = True) -> Any:
        """Return a kept net if one fits, else a new one. Preparing one takes 0.1 ms."""
        wanted = _key(spec, n, dtype, train)
        with self._lock:
            for i, (key, _) in enumerate(self._nets):
                if key == wanted:
                    return self._nets.pop(i)[1]
        if train:
            return self.backend.prepare(spec, n, dtype, 1, 1)
        return self.backend.prepare_pass(spec, n, dtype, 1, False)

    def _give(self, spec: Spec, n: int, dtype: np.dtype[Any], net: Any, train: bool = True) -> None:
        """Keep a net for the next call that needs such a net."""
        with self._lock:
            self._nets.append((_key(spec, n, dtype, train), net))
            old = self._nets.pop(0)[1] if len(self._nets) > 2 * self.n_threads + 2 else None
        if old is not None:
            self.backend.close(old)

    def close(self) -> None:
        """Release what the nets hold."""
        while self._nets:
            self.backend.close(self._nets.pop()[1])


def _key(spec: Spec, n: int, dtype: np.dtype[Any], train: bool) -> Any:
    """Return a key. Two nets of one fleet are interchangeable if their keys are equal."""
    momentum = getattr(spec.optimizer, "momentum", None)
    return train, spec.weight_decay, momentum, spec.dropout, spec.batch_size, n, dtype


def threads_for(work: float, n_threads: int) -> int:
    """Return how many threads to start for so many multiply-adds. 0 is the caller's own."""
    return min(n_threads, int(work / THREAD_WORK))


def run(
    work: Callable[[int], None], n: int, n_threads: int, halt: Callable[[], None] | None = None
) -> None:
    """
    Call ``work(0)`` to ``work(n - 1)`` from several threads, and raise the first error.

    With 0 threads, the calling thread does the work. Otherwise it waits for the threads. On Ctrl-C
    it calls ``halt``, and still waits until no thread works any more.
    """
    if n_threads == 0:
        for i in range(n):
            work(i)
        return
    numbers, lock = iter(range(n)), threading.Lock()
    errors: list[BaseException] = []
    # Not `Thread.join`: after Ctrl-C has interrupted it, it takes a running thread for ended.
    ends = [End() for _ in range(min(n, n_threads))]

    def take() -> int | None:
        with lock:
            return next(numbers, None) if not errors else None

    def worker(end: End) -> None:
        try:
            while (i := take()) is not None:
                work(i)
        except BaseException as error:
            errors.append(error)
        finally:
            end.reach()

    started: list[End] = []
    with Interrupts() as interrupts:
        try:
            for end in ends:
                with starting_thread():
                    threading.Thread(target=worker, args=(end,)).start()
                started.append(end)
        except NoThreadError:  # the threads that were started do all the work
            pass
        try:
            with interrupts.heard():
                if not started:
                    worker(ends[0])
                for end in started:
                    end.wait()
        except BaseException as error:
            errors.append(error)
            if halt is not None:
                halt()
            raise
        finally:
            for end in started:
                end.wait()
    if errors:
        raise errors[0]
