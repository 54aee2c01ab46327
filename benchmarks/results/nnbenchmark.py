"""
Fit the functions of NNbenchmark, and print the errors beside those of 60 other algorithms.

    python benchmarks/results/nnbenchmark.py DIR

DIR holds the files ``mDette.csv`` and so on; the last column is the target. Each net has one layer
of tanh units and a linear output. `fit_function` standardises inputs and target, and starts
Levenberg-Marquardt many times. Errors are root mean squared errors on the training data, in the
target's units: these are fits, not predictions.

The other errors are those of Mahdi, Kiener, Dutang and others, *Neural network packages in R*: 60
pairs of a package and an algorithm, 10 starts each. "best of 60" is the smallest error of all
these starts. Beside it are the medians of nlsr (Levenberg-Marquardt) and nnet (BFGS). Numbers are
compared as they are printed there: ours are rounded to the same digits.
"""

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from jitprop import fit_function
from results_table import markdown, places, ran

Array = npt.NDArray[np.float64]
STEPS = 150
"""Accepted steps, at most."""


class Published(NamedTuple):
    hidden: int
    best: str
    nlsr: str
    nnet: str


PUBLISHED = {
    "mDette": Published(5, "0.140", "0.450", "0.474"),
    "mFriedman": Published(5, "0.0045", "0.0061", "0.0120"),
    "uDmod1": Published(6, "0.0410", "0.0433", "0.0865"),
    "uDmod2": Published(5, "0.0405", "0.0427", "0.0615"),
    "uDreyfus2": Published(3, "0.0906", "0.0906", "0.0906"),
    "uGauss1": Published(5, "2.232", "2.613", "2.256"),
    "uGauss3": Published(4, "2.298", "2.819", "3.171"),
    "uNeuroOne": Published(2, "0.2826", "0.283", "0.283"),
}


def read(path: Path) -> tuple[Array, Array]:
    """Read a file: a line of names, then rows of inputs and one target."""
    rows = np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2)
    return rows[:, :-1], rows[:, -1:]


def rmse(y: Array, predicted: Array) -> float:
    """Return the root mean squared error of predictions."""
    return float(np.sqrt(np.mean((predicted - y) ** 2)))


def reaches(ours: float, printed: str) -> bool:
    """Return whether our number, rounded to the printed digits, is at or below the printed one."""
    return float(f"{ours:.{places(printed)}f}") <= float(printed)


def row(path: Path, starts: int) -> list[str]:
    """Return the table's row of one file."""
    (X, y), published = read(path), PUBLISHED[path.stem]
    seconds = float("inf")
    for _ in range(3):  # other work may slow one of them
        start = time.perf_counter()
        fit = fit_function(X, y, hidden=published.hidden, starts=starts, epochs=STEPS, seed=0)
        seconds = min(seconds, time.perf_counter() - start)
    smallest, median = rmse(y, fit.trainer.predict(X)), float(np.median(fit.starts.rmse))
    better = min(published.nlsr, published.nnet, key=float)
    digits = max(map(places, published[1:]))
    return [
        path.stem,
        str(len(y)),
        str(published.hidden),
        published.best,
        f"{smallest:.{digits}f}",
        "yes" if reaches(smallest, published.best) else "no",
        published.nlsr,
        published.nnet,
        f"{median:.{digits}f}",
        "yes" if reaches(median, better) else "no",
        f"{1000 * seconds / starts:.1f}",
    ]


HEADING = [
    "set",
    "rows",
    "hidden",
    "best of 60",
    "min",
    "reached",
    "nlsr median",
    "nnet median",
    "median",
    "reached",
    "ms a start",
]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.strip().split("\n")[0])
    parser.add_argument("directory", type=Path, metavar="DIR", help="the folder of the .csv files")
    parser.add_argument("--starts", type=int, default=64, help="starts of each set (64)")
    parser.add_argument("--only", nargs="+", choices=list(PUBLISHED), help="some sets")
    given = parser.parse_args()
    paths = [given.directory / f"{name}.csv" for name in given.only or PUBLISHED]
    if not any(path.exists() for path in paths) or given.starts < 1:
        parser.error(f"--starts must be at least 1, and {given.directory} must hold .csv files")
    start = time.perf_counter()
    rows = [row(path, given.starts) for path in paths if path.exists()]
    print(f"Root mean squared errors on the training data, {given.starts} starts.\n")
    print(markdown(HEADING, rows))
    print(f"\n{ran(time.perf_counter() - start)}")


if __name__ == "__main__":
    main()
