"""
Fit a smooth function with each optimizer, and print which is the fastest for which net and data.

    python benchmarks/results/which_optimizer.py

The target is Friedman's first function of 4 uniform inputs, without noise, standardised. Nets have
tanh units, a linear output and 19 to 19,171 parameters, and there are 100 to 100,000 samples. Every
optimizer begins with the same weights, has one thread and float64, and trains for some seconds. Of
little work, where parameters times samples are at most a million, there are three starts, and each
has a third of the time.

The error of a row is a root mean squared error on the training data: the one wanted, or where
nobody came below it, 1.5 times the smallest, the median of the starts of an optimizer. The row has
the seconds until each optimizer was there, the median of the starts. For Adam, whose losses are of
mini-batches, an error is the mean over an epoch.
"""

import argparse
import contextlib
import signal
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from jitprop import LBFGS, LevenbergMarquardt, Rprop, ScaledConjugateGradient, Trainer
from results_table import markdown, ran

Array = npt.NDArray[np.float64]

NETS = {19: [4, 3, 1], 199: [4, 33, 1], 1881: [4, 40, 40, 1], 19171: [4, 135, 135, 1]}
"""Sizes of the layers, by the number of parameters."""

SAMPLES = 100, 1_000, 10_000, 100_000

ABOVE = 1.5
"""How far above the smallest error is good enough, if all are larger than the one wanted."""

STARTS, LITTLE = 3, 1e6
"""How many starts there are where parameters times samples are at most so many."""

MOST_WORK = 5e10
"""Multiply-adds of a step from which it takes longer than all the time there is."""


class OutOfTimeError(Exception):
    """The time of a fit is over."""


class Way(NamedTuple):
    """
    How a net is trained.

    Attributes
    ----------
    optimizer : str or object
    more : dict
        Further settings of `Trainer`.
    """

    optimizer: Any
    more: dict[str, Any] = {}  # noqa: RUF012


WAYS = {
    "LM": Way(LevenbergMarquardt()),
    "LBFGS": Way(LBFGS()),
    "SCG": Way(ScaledConjugateGradient()),
    "Rprop": Way(Rprop(), {"learning_rate": 0.01}),
    "Rprop+": Way(Rprop(backtracking=True), {"learning_rate": 0.01}),
    "Adam": Way("adam", {"learning_rate": 0.003, "batch_size": 128, "shuffle": True}),
}


class Course(NamedTuple):
    """Seconds since the fit began, and the error on the training data, after each epoch."""

    seconds: Array
    errors: Array


def samples(n: int) -> tuple[Array, Array]:
    """Return n samples of Friedman's function, with the target standardised."""
    X = np.random.default_rng(n).uniform(size=(n, 4))
    y = 10 * np.sin(np.pi * X[:, 0] * X[:, 1]) + 20 * (X[:, 2] - 0.5) ** 2 + 10 * X[:, 3]
    return 2 * X - 1, ((y - y.mean()) / y.std())[:, np.newaxis]


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Interrupt what takes longer, as Ctrl-C would."""

    def leave(*_: object) -> None:
        raise OutOfTimeError

    before = signal.signal(signal.SIGALRM, leave)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except OutOfTimeError:
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def course(
    way: Way, sizes: list[int], data: tuple[Array, Array], error: float, seconds: float, seed: int
) -> Course | None:
    """Train for some seconds, or to the error. None if not even a step can be done."""
    X, y = data
    trainer = Trainer(
        sizes,
        activation="tanh",
        output_activation="identity",
        optimizer=way.optimizer,
        seed=seed,
        n_threads=1,
        dtype="float64",
        **way.more,
    )
    n, size = len(X), trainer.parameters.size
    if way.optimizer == LevenbergMarquardt() and n * size * min(n, size) / 2 > MOST_WORK:
        return None
    with limited(seconds):
        epochs = 8
        while not trainer.history.ended:
            if trainer.fit(X, y, epochs).loss.min(initial=np.inf) < error**2 / 2:
                break
            epochs *= 2
    history = trainer.history
    return Course(np.cumsum(history.seconds), np.sqrt(2 * history.loss))


def least(found: Course | None) -> float:
    """Return the smallest error; inf if there is none."""
    return float(found.errors.min(initial=np.inf)) if found is not None else np.inf


def reached(found: Course | None, error: float) -> float:
    """Return the seconds until the error was reached; inf if it was not."""
    if found is None:
        return np.inf
    there = np.flatnonzero(found.errors <= error)
    return float(found.seconds[there[0]]) if there.size else np.inf


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.strip().split("\n")[0])
    parser.add_argument("--seconds", type=float, default=6.0, help="for a cell (default 6)")
    parser.add_argument("--error", type=float, default=0.01, help="wanted (default 0.01)")
    parser.add_argument("--most", type=int, default=100_000, help="samples, at most")
    options = parser.parse_args()
    for way in WAYS.values():  # the kernels are compiled, or loaded
        for sizes in NETS.values():
            course(way, sizes, samples(300), 0.0, 0.2, 0)
    began, rows = time.perf_counter(), []
    for size, sizes in NETS.items():
        for n in (n for n in SAMPLES if n <= options.most):
            data = samples(n)
            starts = STARTS if size * n <= LITTLE else 1
            found = [
                [
                    course(way, sizes, data, options.error, options.seconds / starts, seed)
                    for seed in range(starts)
                ]
                for way in WAYS.values()
            ]
            smallest = min(float(np.median([*map(least, courses)])) for courses in found)
            error = max(options.error, ABOVE * smallest)
            times = [np.median([reached(c, error) for c in courses]) for courses in found]
            cells = ["-" if np.isinf(t) else f"{t:.2g}" for t in times]
            best = int(np.argmin(times))
            cells[best] = f"**{cells[best]}**"
            rows.append([f"{size:,}", f"{n:,}", f"{error:.2g}", *cells])
            print(rows[-1], flush=True)
    print(markdown(["P", "n", "RMSE", *WAYS], rows))
    print()
    print(ran(time.perf_counter() - began))


if __name__ == "__main__":
    main()
