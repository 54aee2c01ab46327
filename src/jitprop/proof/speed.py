"""How many times as fast as a plain NumPy loop jitprop is, on a few nets."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from jitprop._types import Array
from jitprop.backends.threads import one_blas_thread
from jitprop.trainer import Trainer

ROUNDS = 40
"""Both are timed so many times in turns, for some milliseconds each. The shortest times count."""


class Race(NamedTuple):
    """
    One net of sigmoid units, trained by plain gradient descent on the squared error.

    Attributes
    ----------
    sizes : tuple of int
    batch, n_batches : int
        An epoch has ``n_batches`` batches.
    dtype : str
    epochs, numpy_epochs : int
        How many epochs of jitprop and of NumPy are timed at once: some milliseconds.
    """

    sizes: tuple[int, ...]
    batch: int
    n_batches: int
    dtype: str
    epochs: int
    numpy_epochs: int

    def __str__(self) -> str:
        """Describe the net, such as: 3-4-1, batch 4, float64."""
        return f"{'-'.join(map(str, self.sizes))}, batch {self.batch}, {self.dtype}"


RACES = (
    Race((3, 4, 1), 4, 1, "float64", 40_000, 200),
    Race((64, 32, 10), 32, 50, "float32", 20, 3),
    Race((784, 128, 64, 10), 128, 4, "float32", 4, 3),
)
"""XOR, where Python's overhead counts; a small net; and one whose time is that of its products."""

RATE = 0.1


def numpy_loop(weights: list[Array], biases: list[Array], batches: Any, epochs: int) -> list[float]:
    """
    Train by NumPy, as a textbook has it; change the weights and biases in place.

    Parameters
    ----------
    weights, biases : lists of (n_in, n_out) and (n_out,) arrays
    batches : list of (X, y)
    epochs : int

    Returns
    -------
    list of float
        The mean loss of each epoch.
    """
    losses = []
    n_samples = sum(len(X) for X, _ in batches)
    for _ in range(epochs):
        loss = 0.0
        for X, y in batches:
            a = [X]
            for W, b in zip(weights, biases, strict=True):
                a.append(1 / (1 + np.exp(-(a[-1] @ W + b))))
            error = a[-1] - y
            loss += 0.5 * float((error * error).sum())
            delta = error / len(X)
            for l in reversed(range(len(weights))):
                delta = delta * a[l + 1] * (1 - a[l + 1])
                dW, db = a[l].T @ delta, delta.sum(axis=0)
                if l > 0:
                    delta = delta @ weights[l].T
                weights[l] -= RATE * dW
                biases[l] -= RATE * db
        losses.append(loss / n_samples)
    return losses


def ratios() -> Iterator[tuple[Race, float]]:
    """
    Time jitprop and the loop in turns, on one core, and yield how many times as fast jitprop is.

    Both reach the same losses, which is checked first.

    Raises
    ------
    RuntimeError
        If they do not.
    """
    for race in RACES:
        with one_blas_thread():
            found = _ratio(race)
        yield race, found


def _ratio(race: Race) -> float:
    rng = np.random.default_rng(0)
    n = race.batch * race.n_batches
    X = rng.random((n, race.sizes[0])).astype(race.dtype)
    y: npt.NDArray[Any] = rng.random((n, race.sizes[-1])).astype(race.dtype)
    batches = [(X[i : i + race.batch], y[i : i + race.batch]) for i in range(0, n, race.batch)]

    def trainer() -> Trainer:
        return Trainer(
            race.sizes,
            learning_rate=RATE,
            batch_size=race.batch,
            shuffle=False,
            dtype=race.dtype,
            seed=0,
            backend="numba",
            n_threads=1,
        )

    ours, theirs = trainer(), trainer()
    weights, biases = list(theirs.weights), list(theirs.biases)
    losses = ours.fit(X, y, 3).loss
    if not np.allclose(numpy_loop(weights, biases, batches, 3), losses, rtol=1e-3):
        raise RuntimeError(f"NumPy and jitprop reach other losses with the net {race}")
    fit = _timed(lambda: ours.fit(X, y, race.epochs), race.epochs)
    loop = _timed(
        lambda: numpy_loop(weights, biases, batches, race.numpy_epochs), race.numpy_epochs
    )
    times = [(fit(), loop()) for _ in range(ROUNDS)]
    return min(numpys for _, numpys in times) / min(own for own, _ in times)


def _timed(work: Callable[[], Any], epochs: int) -> Callable[[], float]:
    """Return a function that does the work, and returns the seconds of an epoch."""

    def run() -> float:
        began = time.perf_counter()
        work()
        return (time.perf_counter() - began) / epochs

    return run
