"""
How a fleet's members are trained: what an engine does, and the one that trains each by itself.

Engines train whole epochs of some members, in place, and change nothing else.
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
"""Multiply-adds that compiled kernels do in 0.05 s at the most, and in 0.01 s in lanes."""

THREAD_WORK = 5e6
"""Multiply-adds for which a thread is started, which takes 0.1 ms: some 0.5 ms of them."""


class Members(NamedTuple):
    """Some members of a fleet, A of them, on their way through some epochs."""

    numbers: Indices
    """(A,): which they are."""
    params: Array
    """(A, P), changed in place."""
    slots: Array
    """(A, n_slots, P), changed in place."""
    updates: Indices
    """(A,): how many updates came before."""
    decays: Array
    """(A,) weight decays;"""
    momenta: Array
    """(A,) and momenta."""
    dropout: Array
    """(A, hidden layers)."""
    keys: Indices
    """(A,): of the units that dropout drops."""

    def take(self, which: Any, n_updates: int) -> Members:
        """Return copies of some of these members, with so many more updates."""
        made = Members(*(part[which] for part in self))
        return made._replace(updates=made.updates + n_updates)


class Engine(Protocol):
    """What trains, evaluates and predicts."""

    first_work: float
    """Multiply-adds after which it had better be asked whether Ctrl-C came."""
    n_threads: int
    """How many it may use at most."""

    def train(
        self, members: Members, data: Data, orders: Indices | None, losses: Array, rates: Array
    ) -> Mask:
        """
        Train the epochs of ``losses``, (epochs, A), C-contiguous, which become each one's loss.

        ``orders`` is (A, epochs, n) or None for the order of the samples, ``rates`` (epochs, A).
        Returns whether all of a member's losses were finite, (A,); after one that was not, its
        numbers are of no use.
        """

    def evaluate(self, members: Members, data: Data) -> Array:
        """Each member's summed loss, (A,)."""

    def predict(self, members: Members, X: Part, out: Array) -> None:
        """Each member's outputs into ``out``, (A, n, n_outputs)."""

    def close(self) -> None:
        """Give back what is held."""


class Loop:
    """
    Each member by itself, as a `Trainer` would do it, several at once in threads.

    Parameters
    ----------
    backend : Backend
    spec : Spec
        Of all members, but for weight decay and momentum.
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
            net = self._take(tiled, len(X), X.dtype)
            losses[i] = self.backend.evaluate(net, members.params[i], X, y, weights)
            self._give(tiled, len(X), X.dtype, net)

        run(work, len(losses), self._threads(data.n_samples * len(losses)))
        return losses

    def predict(self, members: Members, X: Part, out: Array) -> None:
        """See `Engine`."""
        tiled = self._tiled()

        def work(i: int) -> None:
            own = X.of(members.numbers[i])
            net = self._take(tiled, len(own), own.dtype)
            self.backend.predict(net, members.params[i], own, out[i])
            self._give(tiled, len(own), own.dtype, net)

        run(work, len(out), self._threads(out.shape[0] * out.shape[1]))

    def _threads(self, passes: int) -> int:
        """For so many samples through one net each."""
        if self.backend is backends.load("numpy"):
            return 0  # Python itself hears Ctrl-C there, and only one thread may run it
        return threads_for(passes * self.spec.n_parameters, self.n_threads)

    def _tiled(self) -> Spec:
        return replace(self.spec, batch_size=256)

    def _take(self, spec: Spec, n: int, dtype: np.dtype[Any]) -> Any:
        """A net that is ready, if there is one: to prepare one takes 0.1 ms."""
        wanted = _key(spec, n, dtype)
        with self._lock:
            for i, (key, _) in enumerate(self._nets):
                if key == wanted:
                    return self._nets.pop(i)[1]
        return self.backend.prepare(spec, n, dtype, 1, 1)

    def _give(self, spec: Spec, n: int, dtype: np.dtype[Any], net: Any) -> None:
        """Keep a net for the next one that wants such."""
        with self._lock:
            self._nets.append((_key(spec, n, dtype), net))
            old = self._nets.pop(0)[1] if len(self._nets) > 2 * self.n_threads + 2 else None
        if old is not None:
            self.backend.close(old)

    def close(self) -> None:
        """Give back what nets hold."""
        while self._nets:
            self.backend.close(self._nets.pop()[1])


def _key(spec: Spec, n: int, dtype: np.dtype[Any]) -> Any:
    """What makes two nets the same, among those of one fleet."""
    momentum = getattr(spec.optimizer, "momentum", None)
    return spec.weight_decay, momentum, spec.dropout, spec.batch_size, n, dtype


def threads_for(work: float, n_threads: int) -> int:
    """For so many multiply-adds: some, up to ``n_threads``, or 0 for the thread that asks."""
    return min(n_threads, int(work / THREAD_WORK))


def run(
    work: Callable[[int], None], n: int, n_threads: int, halt: Callable[[], None] | None = None
) -> None:
    """
    Call ``work(0)`` to ``work(n - 1)`` from several threads; the first error comes out.

    With 0 threads in this one. Else it hears Ctrl-C meanwhile, calls ``halt`` and waits until
    nobody works any more.
    """
    if n_threads == 0:
        for i in range(n):
            work(i)
        return
    numbers, lock = iter(range(n)), threading.Lock()
    errors: list[BaseException] = []
    # Not `Thread.join`: once Ctrl-C broke it off it holds a thread that still works for ended.
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
        except NoThreadError:  # those that were started do it all
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
