"""
Train the nets of PROBEN1, and print their test errors beside the published ones.

    python benchmarks/results/proben1.py DIR

DIR holds the files ``cancer1.dt`` and so on. The published errors are those of Prechelt, *PROBEN1:
A Set of Neural Network Benchmark Problems and Benchmarking Rules*, TR 21/94, Karlsruhe 1994: nets
without shortcuts, means and standard deviations of 60 runs.

**As in 1994**: the published hidden layers; units z / (1 + |z|), outputs linear except for flare1;
squared error; Rprop on the whole training part, steps of at most 50; initial weights uniform in
[-0.01, 0.01]; at most 3,000 epochs; the test error of the epoch with the smallest validation error.
Different here:

===========  ===========================================  ======================================
What         TR 21/94                                     Here
===========  ===========================================  ======================================
first steps  random in [0.005, 0.02], one for a weight    their mean for all weights
Rprop        of 1993, the smallest step is 0              iRprop- of 2000, the smallest is 1e-6
validation   each fifth epoch                             each epoch
end          validation error 5 % above its smallest      no smaller validation error for 200
             (GL5), or progress below 0.1 per thousand    epochs
===========  ===========================================  ======================================

**As today**: the recipes of ``recipes.py``, with standardised inputs and early stopping. Each run
trains three nets with different weight decays, and keeps the one with the smallest validation loss.
**Together** is the error of the mean of these runs' outputs.

Classification: the largest output wins, and the error is the percentage of wrong test samples.
Approximation: Prechelt's squared error percentage, for outputs that range from 0 to 1.
"""

import argparse
import itertools
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from jitprop import CustomActivation, EarlyStopping, Fleet, Rprop
from recipes import APPROXIMATION, CLASSIFICATION
from results_table import markdown, places, ran, shown

Array = npt.NDArray[np.float64]


PUBLISHED: dict[str, tuple[tuple[int, ...], str, str]] = {  # hidden layers, mean, sd
    "cancer1": ((4, 2), "1.38", "0.49"),
    "card1": ((32,), "14.05", "1.03"),
    "diabetes1": ((32,), "24.10", "1.91"),
    "gene1": ((4, 2), "16.67", "3.75"),
    "glass1": ((16, 8), "32.70", "5.34"),
    "heart1": ((32,), "19.72", "0.96"),
    "heartc1": ((16, 8), "20.82", "1.47"),
    "horse1": ((16, 8), "29.19", "2.62"),
    "soybean1": ((16, 8), "29.40", "2.50"),
    "thyroid1": ((16, 8), "2.38", "0.35"),
    "building1": ((16,), "1.36", "0.63"),
    "flare1": ((32,), "0.54", "0.01"),
    "hearta1": ((32,), "4.55", "0.41"),
    "heartac1": ((2,), "2.47", "0.38"),
}


class Part(NamedTuple):
    X: Array
    y: Array


class Problem(NamedTuple):
    has_classes: bool
    train: Part
    validation: Part
    test: Part


def read(path: Path) -> Problem:
    """Read a file: seven lines ``name=count``, then rows of inputs and outputs, part after part."""
    lines = path.read_text().split("\n")
    header = {name: int(count) for name, _, count in (line.partition("=") for line in lines[:7])}
    inputs = header["bool_in"] + header["real_in"]
    rows = np.array([line.split() for line in lines[7:] if line.strip()], np.float64)
    counts = [header[f"{part}_examples"] for part in ("training", "validation", "test")]
    expected = sum(counts), inputs + header["bool_out"] + header["real_out"]
    if rows.shape != expected:
        raise ValueError(f"{path} must have rows and columns {expected}; got {rows.shape}")
    parts = np.split(rows, np.cumsum(counts)[:2])
    train, validation, test = (Part(part[:, :inputs], part[:, inputs:]) for part in parts)
    # hearta1 and heartac1 call their one real output bool. Classes have an output each.
    return Problem(header["bool_out"] > 1, train, validation, test)


def error(problem: Problem, outputs: Array) -> Array:
    """Return the test error of outputs (..., n, classes or targets), in percent."""
    y = problem.test.y
    if problem.has_classes:
        wrong: Array = outputs.argmax(axis=-1) != y.argmax(axis=-1)
        return np.asarray(100 * wrong.mean(axis=-1))
    return np.asarray(100 * ((outputs - y) ** 2).mean(axis=(-2, -1)))  # for outputs from 0 to 1


def z_over_one_plus_abs(z: float) -> float:
    """Return Prechelt's sigmoid, from -1 to 1."""
    return z / (1 + abs(z))


def its_slope(z: float) -> float:
    """Return the derivative of Prechelt's sigmoid."""
    return 1 / (1 + abs(z)) ** 2


def as_in_1994(problem: Problem, hidden: tuple[int, ...], runs: int, linear: bool) -> Array:
    """Train the published net; return the outputs of each run."""
    sizes = [problem.train.X.shape[1], *hidden, problem.train.y.shape[1]]
    draw = np.random.default_rng(0).uniform
    weights = [draw(-0.01, 0.01, (runs, n, m)) for n, m in itertools.pairwise(sizes)]
    biases = [draw(-0.01, 0.01, (runs, m)) for m in sizes[1:]]
    sigmoid = CustomActivation(z_over_one_plus_abs, its_slope)
    fleet = Fleet(
        sizes,
        members=runs,
        activation=sigmoid,
        output_activation="identity" if linear else sigmoid,
        loss="half_squared_error",
        optimizer=Rprop(eta_plus=1.2, eta_minus=0.5, step_max=50.0),
        learning_rate=0.0125,
        init=(weights, biases),
        seed=0,
    )
    train(fleet, problem, epochs=3000, patience=200)
    return fleet.predict(problem.test.X)


def as_today(problem: Problem, runs: int) -> Array:
    """Train the nets that we advise today; return the outputs of each run."""
    mean, sd = problem.train.X.mean(axis=0), problem.train.X.std(axis=0)
    parts = [Part((X - mean) / np.where(sd > 0, sd, 1), y) for X, y in problem[1:]]
    problem = Problem(problem.has_classes, *parts)
    how = CLASSIFICATION if problem.has_classes else APPROXIMATION
    fleet = Fleet(
        [problem.train.X.shape[1], how.hidden, problem.train.y.shape[1]],
        members=runs * len(how.decays),
        weight_decay=np.tile(how.decays, runs),
        seed=np.repeat(np.arange(runs), len(how.decays)).tolist(),
        **how.settings,
    )
    train(fleet, problem, how.epochs, how.patience)
    losses = fleet.evaluate(*problem.validation).reshape(runs, -1)
    best = losses.argmin(axis=1) + np.arange(0, losses.size, losses.shape[1])
    outputs: Array = fleet[best].predict(problem.test.X)
    return outputs


def train(fleet: Fleet, problem: Problem, epochs: int, patience: int) -> None:
    """Train; each member goes back to its best validation epoch."""
    stop = EarlyStopping(patience=patience)
    fleet.fit(*problem.train, epochs, validation_data=problem.validation, callbacks=stop)


def row(path: Path, runs: int) -> list[str]:
    """Return the table's row of one file."""
    problem, (hidden, mean, sd) = read(path), PUBLISHED[path.stem]
    start = time.perf_counter()
    old = as_in_1994(problem, hidden, runs, linear=path.stem != "flare1")
    middle = time.perf_counter()
    new = as_today(problem, runs)
    end = time.perf_counter()
    digits = places(mean)
    then = [shown(error(problem, old), digits), f"{middle - start:.1f}"]
    together = f"{error(problem, new.mean(axis=0)):.{digits}f}"
    now = [shown(error(problem, new), digits), together, f"{end - middle:.1f}"]
    return [path.stem, "+".join(map(str, hidden)), f"{mean} ({sd})", *then, *now]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.strip().split("\n")[0])
    parser.add_argument("directory", type=Path, metavar="DIR", help="the folder of the .dt files")
    parser.add_argument("--runs", type=int, default=60, help="runs of each problem (60)")
    parser.add_argument("--only", nargs="+", choices=list(PUBLISHED), help="some problems")
    given = parser.parse_args()
    paths = [given.directory / f"{name}.dt" for name in given.only or PUBLISHED]
    if not any(path.exists() for path in paths) or given.runs < 2:
        parser.error(f"--runs must be at least 2, and {given.directory} must hold .dt files")
    start = time.perf_counter()
    rows = [row(path, given.runs) for path in paths if path.exists()]
    heading = ["problem", "hidden", "published", "as in 1994", "s", "as today", "together", "s"]
    print(f"Test error in %, mean (standard deviation) of {given.runs} runs.\n")
    print(markdown(heading, rows))
    print(f"\n{ran(time.perf_counter() - start)}")


if __name__ == "__main__":
    main()
