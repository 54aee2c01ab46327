"""
The course of a fit: epochs in blocks, blocks in calls of a backend.

A backend trains batches, many in one call. Between calls Python hears Ctrl-C. Between blocks,
which are whole epochs, the state is copied: a fit that is interrupted or diverges goes back to
such a copy and, training being deterministic, forward again to the epoch wanted. So safety costs
one copy per tenth of a second and nothing per epoch.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from jitprop import cast, schedules
from jitprop._types import Samples
from jitprop.backends import Backend
from jitprop.errors import DivergenceError
from jitprop.history import Numbers, Record
from jitprop.schedules import LearningRate
from jitprop.spec import Spec
from jitprop.state import Snapshot, State
from jitprop.watching import Watch

Order: TypeAlias = Callable[[int], npt.ArrayLike]

STEP_WORK = 500
"""What a step costs beside its multiply-adds, counted in them."""

CALL_SECONDS = (0.05, 0.2)
"""How long a call of a backend may take: below, the next does twice as much, above, half as much.
Between calls Python hears Ctrl-C; a call costs up to 0.1 ms."""

ORDER_SIZE = 1 << 20
"""Indices of samples drawn ahead: 8 MB of them."""


class Saved(NamedTuple):
    """The beginning of a block: its first epoch, the state then, its order of presentation."""

    first: int
    snapshot: Snapshot
    order: npt.NDArray[np.int64] | None


class Fit:
    """
    One call of `Trainer.fit`, all input checked and cast.

    Parameters
    ----------
    backend : Backend
    spec : Spec
    state : State
        Changed in place.
    samples : Samples
    epochs : int
    order : (epochs, n_samples) int64 array, function of the epoch, or None
    shuffle : bool
        Whether to draw an order where none is given.
    n_threads : int or None
    learning_rate : callable
        Gives the learning rate or schedule; asked before each block.
    watch : Watch
        What to do after each epoch.

    Attributes
    ----------
    record : Record
        The history so far.
    """

    def __init__(
        self,
        backend: Backend,
        spec: Spec,
        state: State,
        samples: Samples,
        epochs: int,
        order: npt.NDArray[np.int64] | Order | None,
        shuffle: bool,
        n_threads: int | None,
        learning_rate: Callable[[], LearningRate],
        watch: Watch,
    ) -> None:
        self.backend, self.spec, self.state = backend, spec, state
        self.X, self.y, self.weights = samples
        self.epochs, self.order = epochs, order
        self.learning_rate, self.watch = learning_rate, watch
        self.record = Record(epochs, watch.names)
        n, dtype = len(self.X), self.X.dtype
        batch = spec.batch(n)
        self.n_batches = -(-n // batch)
        self.net = backend.prepare(spec, n, dtype, n_threads, epochs * self.n_batches)
        self.shuffle = shuffle and order is None and self.n_batches > 1
        step_work = 3 * batch * spec.n_parameters + STEP_WORK
        self.call_steps = max(1, int(backend.FIRST_CALL / step_work))

    def run(self) -> None:
        """Train, and write the history."""
        try:
            self.watch.begin()
            self._run()
            self.watch.end()
        finally:
            self.backend.close(self.net)

    def _run(self) -> None:
        # Two copies: the epoch to go back to may be the last of the block before.
        saved: list[Saved] = []
        last = 0
        while last < self.epochs:
            first, last = last, min(last + self._block(), self.epochs)
            saved = saved[-1:]
            snapshot = self.state.snapshot()
            try:
                error = self._train_block(first, last, snapshot, saved)
            except BaseException:  # Ctrl-C, or an error in a function of the user's
                self.state.restore(snapshot)
                raise
            if error is not None:
                raise error
            self.record.done = last
            if self.watch and self.watch.tell(self.state.epochs - 1, self.record.logs(first)):
                break

    def _train_block(
        self, first: int, last: int, snapshot: Snapshot, saved: list[Saved]
    ) -> DivergenceError | None:
        """Train epochs ``first`` to ``last`` and write down their numbers."""
        record = self.record
        began = time.perf_counter()
        rates, losses = record.learning_rate[first:last], record.loss[first:last]
        schedules.fill(rates, self.learning_rate(), self.state.epochs)
        order = self._draw(first, last)
        saved.append(Saved(first, snapshot, order))
        done = self._train(first, last, losses, order)
        losses /= self.spec.divisor(len(self.X), self.weights)  # in place: they may be many
        whole = done == last * self.n_batches and self.state.is_finite()
        if whole and self.watch:  # of one epoch
            for name, value in self.watch.measure(self.state.params).items():
                record.watched[name][first] = value
        record.seconds[first:last] = (time.perf_counter() - began) / (last - first)
        return None if whole else self._diverged(done, last, saved)

    def _block(self) -> int:
        """How many epochs to train before the state is copied again."""
        if self.watch:
            return 1
        epochs = max(1, self.call_steps // self.n_batches)
        if self.shuffle or callable(self.order):
            epochs = min(epochs, max(1, ORDER_SIZE // len(self.X)))
        return epochs

    def _train(
        self,
        first: int,
        last: int,
        losses: Numbers,
        order: npt.NDArray[np.int64] | None,
    ) -> int:
        """
        Train epochs ``first`` to ``last``, their summed losses into ``losses``.

        Returns the first batch not trained, of all.
        """
        n_steps = (last - first) * self.n_batches
        done = 0
        while done < n_steps:
            stop = min(done + self.call_steps, n_steps)
            began = time.perf_counter()
            reached = self.backend.train(
                self.net,
                self.state.params,
                self.state.slots,
                self.X,
                self.y,
                self.weights,
                order,
                losses,
                self.record.learning_rate[first:last],
                done,
                stop,
                self.state.updates,
            )
            self._adapt(time.perf_counter() - began)
            self.state.updates += reached - done
            done = reached
            if done < stop:
                break
        self.state.epochs += done // self.n_batches
        return first * self.n_batches + done

    def _adapt(self, seconds: float) -> None:
        """Make calls longer or shorter; what they compute does not depend on it."""
        if seconds < CALL_SECONDS[0]:
            self.call_steps *= 2
        elif seconds > CALL_SECONDS[1]:
            self.call_steps = max(1, self.call_steps // 2)

    def _draw(self, first: int, last: int) -> npt.NDArray[np.int64] | None:
        """The order of presentation in the epochs ``first`` to ``last``."""
        n = len(self.X)
        if self.shuffle:
            rows = np.arange((last - first) * n).reshape(-1, n)
            rows -= rows[:, :1].copy()  # in place: it is the largest array of some fits
            return self.state.rng.permuted(rows, axis=1, out=rows)
        if callable(self.order):
            start = self.state.epochs
            rows = np.empty((last - first, n), np.int64)
            for i, epoch in enumerate(range(start, start + last - first)):
                rows[i] = cast.order(f"order({epoch})", self.order(epoch), (n,))
            return rows
        return None if self.order is None else self.order[first:last]

    def _diverged(self, done: int, last: int, saved: list[Saved]) -> DivergenceError:
        """
        Go back to the last epoch boundary from which a batch was trained with a finite loss.

        ``done`` batches had one; if all before epoch ``last`` did, the state overflowed. It may
        have done so long ago, where a saturated unit hides it from the loss: then the last finite
        state is searched for, by halves, since what is inf once does not become finite again.
        """
        kept = max(0, done - 1) // self.n_batches
        epoch = min(done // self.n_batches, last - 1)
        block = next(block for block in reversed(saved) if block.first <= kept)
        self._go_to(kept, block)
        if not self.state.is_finite():
            low, high = block.first, kept
            while high - low > 1:
                middle = (low + high) // 2
                self._go_to(middle, block)
                low, high = (middle, high) if self.state.is_finite() else (low, middle)
            self._go_to(low, block)
            kept = epoch = low
        self.record.done = kept
        rate = float(self.record.learning_rate[kept])
        return DivergenceError(epoch, self.record.history(epoch), kept, rate)

    def _go_to(self, epoch: int, block: Saved) -> None:
        """Bring the state to the beginning of an epoch, from that of a block before it."""
        self.state.restore(block.snapshot)
        if epoch > block.first:
            order = block.order
            if self.shuffle:
                order = self._draw(block.first, epoch)  # for the random state
            elif order is not None:
                order = order[: epoch - block.first]  # the user's function may not repeat itself
            self._train(block.first, epoch, np.zeros(epoch - block.first), order)
