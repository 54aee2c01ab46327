"""
How a fleet's members are trained: together in the lanes of vectors, or each by itself.

Both train whole epochs of some members, in place, and change nothing else. Which one it is depends
on the net and its settings alone, never on how many members there are: their bits depend on it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from jitprop import backends, threads
from jitprop._types import Array
from jitprop.backends import Backend
from jitprop.fleet.data import Data, Part
from jitprop.optimizers import SGD, Adam
from jitprop.spec import Spec

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

    def some(self, which: Any, n_updates: int) -> Members:
        """Copies of some of these, so many updates later."""
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
                done = self.backend.train(
                    net, members.params[i], members.slots[i], X, y, weights,
                    None if orders is None else orders[i],
                    own_losses[i], own_rates[i], 0, n_steps, int(members.updates[i]),
                    int(members.keys[i]),
                )  # fmt: skip
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
    ended = [threading.Event() for _ in range(min(n, n_threads))]

    def take() -> int | None:
        with lock:
            return next(numbers, None) if not errors else None

    def worker(end: threading.Event) -> None:
        try:
            while (i := take()) is not None:
                work(i)
        except BaseException as error:
            errors.append(error)
        finally:
            end.set()

    workers = [threading.Thread(target=worker, args=(end,)) for end in ended]
    try:
        for thread in workers:
            thread.start()
        for end in ended:
            end.wait()
    except BaseException as error:
        errors.append(error)
        if halt is not None:
            halt()
        for thread, end in zip(workers, ended, strict=True):
            if thread.ident is not None:
                end.wait()
        raise
    if errors:
        raise errors[0]


def has_lanes(spec: Spec) -> bool:
    """Whether the lanes engine knows all that the spec asks for."""
    asked = spec.clip_norm is not None or spec.penalty > 0 or spec.penalty_loss > 0 or spec.even
    return isinstance(spec.optimizer, SGD | Adam) and not asked


LANES_WEIGHTS, LANES_BATCH = 100, 16
"""Up to which members share a vector: weights of a layer, on average, and samples of a batch.
Measured for widths of 3 to 16 with batches of 4 to 32 (Zen 4): full vectors are faster than the
loop by 4 to 11 in batches of 4, by 2.5 to 5 of 8, by 2 to 3 of 16, by 1.4 to 2.6 of 32, and at 176
weights by 1.6 to 2.3. But a vector takes the same time for one member as for all that it has room
for, and how many there are must not choose, or bits would depend on it: so where full ones gain
less the loop is taken, which is never slower than one over `Trainer`. In vectors one member takes
1.3 times as long as a `Trainer` in batches of 4, 1.7 to 2.2 in those of 8, and 2.1 to 2.8 in those
of 16; two take 0.6 to 0.7, 0.9 to 1.0, and 1.1 to 1.5 of two `Trainer`s' time, four 0.3 to 0.9."""


def small(spec: Spec, n_samples: int) -> bool:
    """Whether members are so small, and their batches, that they had better share vectors."""
    weights = sum(n_in * n_out for n_in, n_out in spec.shapes) / len(spec.shapes)
    return weights <= LANES_WEIGHTS and spec.batch(n_samples) <= LANES_BATCH


def choose(
    backend: Backend, spec: Spec, n_members: int, n_samples: int, n_threads: int | None
) -> Engine:
    """The engine for these nets: the faster one that can."""
    n = threads.available() if n_threads is None else min(n_threads, threads.cores())
    if small(spec, n_samples) and has_lanes(spec) and backend is not backends.load("numpy"):
        from jitprop.fleet.lanes import Lanes  # numba, which may be missing

        return Lanes(spec, n_members, n)
    return Loop(backend, spec, n)
