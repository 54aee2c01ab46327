"""
Engines train the members of a fleet. This module has their protocol, and `Loop`.

An engine trains whole epochs of some members in place, and changes nothing else. `Loop` trains each
member by itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from itertools import groupby
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from jitprop import backends
from jitprop._types import Array
from jitprop.backends import TILE, Backend, threads
from jitprop.backends.threads import End, NoThreadError, starting_thread
from jitprop.data.samples import Steps
from jitprop.fleet.data import Data, Part
from jitprop.interrupts import Interrupts
from jitprop.net.optimizers import SGD
from jitprop.net.second_order import has_ended
from jitprop.net.spec import Spec
from jitprop.training.nets import KEPT_BYTES

Indices = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


FIRST_WORK = 1e8
"""Compiled kernels do so many multiply-adds in at most 0.05 s, and in 0.01 s in lanes."""

CALL_WORK = 2e6
"""About 0.3 ms of work. A call for a member takes 30 us besides, and more while other threads wait
for Python's lock."""

THREAD_WORK = 5e6
"""The multiply-adds for each thread: about 0.5 ms of work. Starting a thread takes 0.1 ms."""


SHARES = 4
"""The shares of a pass of all members for each thread, so that none waits long for the last."""

TRAINING_SHARES = 16
"""The same of a block of epochs, in which some members may take much longer than others."""


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


class Later(NamedTuple):
    """The members after each epoch of a block, which an engine fills in."""

    params: Array
    """(epochs, A, P)."""
    slots: Array
    """(epochs, A, n_slots, P)."""

    @classmethod
    def after(cls, members: Members) -> Later:
        """Return the members after a block of one epoch, not copied."""
        return cls(members.params[None], members.slots[None])

    def of(self, members: Members) -> Members:
        """Return each of the members after each epoch, as members of their own: (epochs * A,)."""
        n, small = len(self.params), (*members[:1], *members[3:])
        numbers, *settings = (np.tile(part, (n, *[1] * (part.ndim - 1))) for part in small)
        size = n * len(members.numbers)
        params = self.params.reshape(size, -1)
        slots = self.slots.reshape(size, *self.slots.shape[2:])
        return Members(numbers, params, slots, *settings)


class Engine(Protocol):
    """An object that trains the members of a fleet, evaluates them and predicts with them."""

    first_work: float
    """The multiply-adds of a fit's first block, before the engine's speed has been measured."""
    call_work: float
    """The least multiply-adds of a member in a block."""
    n_threads: int | None
    """The largest number of threads that it may use; None for as many as the process may use."""

    def train(
        self,
        members: Members,
        data: Data,
        orders: Indices | None,
        losses: Array,
        rates: Array,
        later: Later | None = None,
    ) -> Mask:
        """
        Train ``len(losses)`` epochs, and write each member's losses to ``losses``.

        ``losses``, (epochs, A), is C-contiguous. ``orders``, (A, epochs, n), has the order in which
        each epoch presents the samples. With None they keep their own order. ``rates`` is
        (epochs, A); or (epochs * batches, A), which are those of each update. Returns for each
        member whether all its losses were finite, (A,). If one was not, the member's arrays must
        not be used.

        ``later`` becomes what the members are after each epoch. From the first loss of a member
        on that is not finite, what it has of this member must not be used.

        A second-order method may end before the last epoch, which is no failure. The member's
        losses are nan from there on, and its arrays are those of its last epoch.
        """

    def evaluate(self, members: Members, data: Data) -> Array:
        """Return each member's loss, summed over the samples: (A,)."""

    def predict(self, members: Members, X: Part, out: Array) -> None:
        """Write each member's outputs to ``out``, (A, n, n_outputs)."""

    def size(self) -> int:
        """Return the bytes of memory that the engine holds between its calls."""

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
    n_threads : int or None
        The most threads; None for as many as the process may use.
    """

    def __init__(self, backend: Backend, spec: Spec, n_threads: int | None) -> None:
        self.backend, self.spec, self.n_threads = backend, spec, n_threads
        self.first_work = 0.0 if backend is backends.load("numpy") else FIRST_WORK
        self.call_work = 0.0 if backend is backends.load("numpy") else CALL_WORK
        self._passing = replace(spec, batch_size=TILE)
        self._nets: list[tuple[Any, Any]] = []
        self._most = 1  # threads so far
        self._bytes = 0  # of the nets
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
        self,
        members: Members,
        data: Data,
        orders: Indices | None,
        losses: Array,
        rates: Array,
        later: Later | None = None,
    ) -> Mask:
        """See `Engine`."""
        n_epochs, n, dtype = len(losses), data.n_samples, members.params.dtype
        n_batches = -(-n // self.spec.batch(n))
        n_steps = n_epochs * n_batches
        a, keys = len(members.numbers), self._keys(members, n, dtype)
        own_losses, own_rates = np.zeros((a, n_epochs)), rates.T.copy()
        n_threads = self._threads(n_epochs * self.spec.work(n) * a)
        size = max(1, a // (TRAINING_SHARES * max(1, n_threads)))
        nets: dict[int, Any] = {}
        halted = False

        def train_one(net: Any, i: int) -> None:
            X, y, weights = data.of(members.numbers[i])
            order = None if orders is None else orders[i]
            params, slots, updates = members.params[i], members.slots[i], int(members.updates[i])
            # The caller is told of the parameters after each epoch, or else after the last one.
            stop = n_steps if later is None else n_batches
            steps = Steps(X, y, weights, order, own_losses[i], own_rates[i], 0, stop)
            done = net.train(params, slots, steps, updates, int(members.keys[i]))
            while later is not None and done == stop:
                epoch = stop // n_batches - 1
                later.params[epoch, i], later.slots[epoch, i] = params, slots
                if stop == n_steps or halted or has_ended(self.spec.optimizer, slots):
                    break
                start, stop = stop, stop + n_batches
                done = net.go_on(start, stop, updates + start)
            if done < n_steps:
                own_losses[i, done // n_batches :] = np.nan

        def work(share: int) -> None:
            """Take a net once for neighbours that it serves, and train them one by one."""
            some = range(share * size, min(a, (share + 1) * size))
            for key, group in groupby(some, keys.__getitem__):
                numbers = list(group)
                net = self._take(key) or self._single(self._spec(members, numbers[0]), n, dtype)
                nets[share] = net.net
                try:
                    for i in numbers:
                        if halted:
                            return
                        train_one(net, i)
                finally:
                    del nets[share]
                    self._give(key, net)

        def halt() -> None:
            nonlocal halted
            halted = True
            for net in list(nets.values()):
                self.backend.halt(net)

        run(work, -(-a // size), n_threads, halt)
        losses[:] = own_losses.T / data.divisors(self.spec, members.numbers)
        ended = has_ended(self.spec.optimizer, members.slots)
        return np.asarray(np.isfinite(own_losses).all(axis=1) | ended)

    def evaluate(self, members: Members, data: Data) -> Array:
        """See `Engine`."""
        losses, n = np.zeros(len(members.numbers)), data.n_samples
        parts = (data.X, data.y) if data.weights is None else (data.X, data.y, data.weights)
        shared = None if any(part.per_member for part in parts) else data.of(0)

        def work(net: Any, i: int) -> None:
            samples = shared or data.of(members.numbers[i])
            losses[i] = net.evaluate(members.params[i], samples, n)

        self._pass(work, members, n)
        return losses

    def predict(self, members: Members, X: Part, out: Array) -> None:
        """See `Engine`."""

        def work(net: Any, i: int) -> None:
            net.predict(members.params[i], X.of(members.numbers[i]), out[i])

        self._pass(work, members, out.shape[1])

    def _pass(self, work: Callable[[Any, int], None], members: Members, n: int) -> None:
        """Call ``work`` with a net for passes of n samples and the number of each member."""
        a, dtype = len(members.numbers), members.params.dtype
        n_threads = self._threads(a * n * self.spec.n_parameters)
        size = -(-a // (SHARES * max(1, n_threads)))  # a net is taken once for so many members

        def work_on_some(share: int) -> None:
            net = self._take((n, dtype)) or self._for_passes(n, dtype)
            for i in range(share * size, min(a, (share + 1) * size)):
                work(net, i)
            self._give((n, dtype), net)

        run(work_on_some, -(-a // size), n_threads)

    def _threads(self, work: float) -> int:
        """Return how many threads to use for so many multiply-adds."""
        if self.backend is backends.load("numpy"):
            return 0  # Python handles Ctrl-C there, and the NumPy backend has one thread
        n = threads_for(work, self.n_threads)
        self._most = max(self._most, n)
        return n

    def size(self) -> int:
        """Return the bytes of memory that the nets hold."""
        return self._bytes

    def _keys(self, members: Members, n: int, dtype: np.dtype[Any]) -> list[Any]:
        """Return a key for each member. Where two are equal, one prepared net serves both."""
        settings = np.column_stack([members.decays, members.momenta, members.dropout])
        return [(row.tobytes(), n, dtype) for row in settings]

    def _single(self, spec: Spec, n: int, dtype: np.dtype[Any]) -> Any:
        return self.backend.Single(self.backend.prepare(spec, n, dtype, 1, 1))

    def _for_passes(self, n: int, dtype: np.dtype[Any]) -> Any:
        net = self.backend.prepare_pass(self._passing, n, dtype, 1, False)
        return self.backend.Single(net)

    def _take(self, key: Any) -> Any:
        """Return a kept net, or None. Preparing one takes 0.1 ms."""
        with self._lock:
            for i, (other, net) in enumerate(self._nets):
                if other == key:
                    del self._nets[i]
                    self._bytes -= self.backend.size(net.net)
                    return net
        return None

    def _give(self, key: Any, net: Any) -> None:
        """Keep a net for the next call that needs such a net, without the arrays of the last."""
        net.forget()
        old = []
        with self._lock:
            self._nets.append((key, net))
            self._bytes += self.backend.size(net.net)
            while len(self._nets) > 2 * self._most + 2 and self._bytes > KEPT_BYTES:
                old.append(self._nets.pop(0)[1])
                self._bytes -= self.backend.size(old[-1].net)
        for net in old:
            self.backend.close(net.net)

    def close(self) -> None:
        """Release what the nets hold."""
        while self._nets:
            self.backend.close(self._nets.pop()[1].net)
        self._bytes = 0


def threads_for(work: float, n_threads: int | None) -> int:
    """
    Return how many threads to start for so many multiply-adds. 0 is the caller's own.

    With ``n_threads`` None they are at most as many as a fit may use. That is asked only where
    there is work for two: it takes 0.1 ms.
    """
    n = int(work / THREAD_WORK)
    if n <= 1 or n_threads == 1:
        return min(n, 1)
    return min(n, threads.available() if n_threads is None else min(n_threads, threads.cores()))


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
    todo = [work]  # a thread may end later than this call, and then holds no array of its work
    errors: list[BaseException] = []
    # Not `Thread.join`: after Ctrl-C has interrupted it, it takes a running thread for ended.
    ends = [End() for _ in range(min(n, n_threads))]

    def take() -> int | None:
        with lock:
            return next(numbers, None) if not errors else None

    def worker(end: End) -> None:
        try:
            while (i := take()) is not None:
                todo[0](i)
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
            todo.clear()
    if errors:
        raise errors[0]
