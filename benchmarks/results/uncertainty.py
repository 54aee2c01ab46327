"""
Predict numbers and how sure they are: UCI sets beside published nets, and the cover of intervals.

    python benchmarks/results/uncertainty.py DIR

DIR holds ``bostonHousing.npz``, ``concrete.npz``, ``energy.npz``, ``power-plant.npz`` and
``wine-quality-red.npz``, each with arrays ``X``, ``y`` and ``test``. A row of `test` says which
rows are the test part of a split; the splits are those of Hernandez-Lobato and Adams (ICML 2015).

Two tables have published numbers, means over the splits in the target's units: root mean squared
errors, and mean negative log-likelihoods with a normal distribution for each sample. They are of
back-propagation and of probabilistic back-propagation (PBP; Hernandez-Lobato and Adams 2015), of
MC dropout (Gal and Ghahramani, ICML 2016) and of deep ensembles of 5 nets (Lakshminarayanan,
Pritzel and Blundell, NIPS 2017). Beside them are `TabularRegressor` and a `Fleet` of 10 nets with
the loss "gaussian_nll". Its mixture's mean and variance are taken as in the paper of deep
ensembles. Its settings are the same for all sets and were chosen on training parts.

The third table is of `TabularRegressor.predict_interval`: how often the targets of the test part
were inside, in %, over random splits of these and of further sets (see `tables_data`).
"""

import argparse
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from jitprop import AdamW, EarlyStopping, Fleet
from jitprop.tabular import TabularRegressor
from results_table import markdown, places, ran

Array = npt.NDArray[np.float64]


class Published(NamedTuple):
    rmse: tuple[str, str, str, str]
    nll: tuple[str, str, str]


PUBLISHED = {
    "bostonHousing": Published(("3.228", "3.01", "2.97", "3.28"), ("2.57", "2.46", "2.41")),
    "concrete": Published(("5.977", "5.67", "5.23", "6.03"), ("3.16", "3.04", "3.06")),
    "energy": Published(("1.185", "1.80", "1.66", "2.09"), ("2.04", "1.99", "1.38")),
    "power-plant": Published(("4.182", "4.12", "4.02", "4.11"), ("2.84", "2.80", "2.79")),
    "wine-quality-red": Published(("0.645", "0.64", "0.62", "0.64"), ("0.97", "0.93", "0.94")),
}
METHODS = "back-propagation", "PBP", "MC dropout", "deep ensembles"

MEMBERS, HELD_OUT = 10, 0.1
SAMPLES = 1_000_000
"""A net sees so many samples at most: power-plant gets fewer epochs than the other sets."""

MORE_SETS = "ames", "car_prices", "College", "Computers", "Sacramento"
"""Besides the UCI sets: ten for the cover of intervals."""


class Part(NamedTuple):
    X: Array
    y: Array


class Split(NamedTuple):
    train: Part
    test: Part


class Likely(NamedTuple):
    """A normal distribution for each sample."""

    mean: Array
    deviation: Array


def read(path: Path) -> list[Split]:
    """Read a set: a split for each row of `test`."""
    with np.load(path) as arrays:
        X, y, test = arrays["X"], arrays["y"].ravel(), arrays["test"]
    return [Split(Part(X[~part], y[~part]), Part(X[part], y[part])) for part in test]


def rmse(y: Array, predicted: Array) -> float:
    """Return the root mean squared error."""
    return float(np.sqrt(np.mean((predicted - y) ** 2)))


def negative_log_likelihood(y: Array, likely: Likely) -> float:
    """Return the mean of -log p(y): 1/2 log(2 pi s**2) + (y - m)**2 / (2 s**2)."""
    variance = likely.deviation**2
    each = np.log(2 * np.pi * variance) / 2 + (y - likely.mean) ** 2 / (2 * variance)
    return float(each.mean())


def ensemble(split: Split, seed: int) -> Likely:
    """Train ten nets, each with another tenth held out for early stopping; mix them."""
    X, y = split.train
    mean, sd = X.mean(axis=0), X.std(axis=0)
    sd[sd == 0] = 1
    middle, spread = y.mean(), y.std()
    inputs, targets = (X - mean) / sd, (y - middle) / spread
    orders = [np.random.default_rng([seed, i]).permutation(len(y)) for i in range(MEMBERS)]
    held, kept = np.split(np.array(orders), [round(HELD_OUT * len(y))], axis=1)
    nets = Fleet(
        [X.shape[1], 50, 50, 2],
        members=MEMBERS,
        activation="relu",
        output_activation="identity",
        loss="gaussian_nll",
        optimizer=AdamW(),
        learning_rate=0.005,
        weight_decay=1e-4,
        dropout=0.1,
        batch_size=32,
        dtype=np.float32,
        seed=MEMBERS * seed,
    )
    nets.fit(
        inputs[kept],
        targets[kept],
        min(400, SAMPLES // len(y)),
        validation_data=(inputs[held], targets[held]),
        callbacks=EarlyStopping(patience=40),
    )
    found = nets.predict_mean_std((split.test.X - mean) / sd)
    m, s = (np.asarray(a, np.float64).ravel() for a in found)
    return Likely(middle + spread * m, spread * s)


def regressor(split: Split, seed: int) -> Array:
    """Return the predictions of `TabularRegressor`, with its defaults but for the epochs."""
    epochs = min(256, SAMPLES // len(split.train.y))
    model = TabularRegressor(epochs=epochs, random_state=seed).fit(*split.train)
    return np.asarray(model.predict(split.test.X), np.float64)


class Row(NamedTuple):
    """One set: a number for each split, and all the seconds."""

    set: str
    rows: int
    rmse: Array
    rmse_of_ensemble: Array
    nll: Array
    seconds: tuple[float, float]


def row(path: Path, count: int) -> Row:
    """Train both for each split."""
    splits = read(path)[:count]
    start = time.perf_counter()
    predicted = [regressor(split, i) for i, split in enumerate(splits)]
    middle = time.perf_counter()
    likely = [ensemble(split, i) for i, split in enumerate(splits)]
    end = time.perf_counter()
    tests = [split.test.y for split in splits]
    first = splits[0]
    return Row(
        path.stem,
        len(first.train.y) + len(first.test.y),
        np.array([rmse(y, p) for y, p in zip(tests, predicted, strict=True)]),
        np.array([rmse(y, one.mean) for y, one in zip(tests, likely, strict=True)]),
        np.array([negative_log_likelihood(y, p) for y, p in zip(tests, likely, strict=True)]),
        (middle - start, end - middle),
    )


def shown(numbers: Array, digits: int) -> str:
    """Return the mean, and its standard error if there is more than one number."""
    mean = f"{numbers.mean():.{digits}f}"
    if len(numbers) == 1:
        return mean
    return f"{mean} ({numbers.std(ddof=1) / len(numbers) ** 0.5:.{digits}f})"


def below(ours: Array, published: Sequence[str], digits: int) -> str:
    """Return whether our mean, rounded as they print theirs, is below all published ones."""
    mean, best = f"{ours.mean():.{digits}f}", min(map(float, published))
    return "no" if float(mean) > best else "yes" if float(mean) < best else "equal"


def compared(rows: Iterable[Row]) -> str:
    """Return the tables of errors and of likelihoods."""
    rows = list(rows)
    errors, likelihoods = [], []
    for one in rows:
        published = PUBLISHED[one.set]
        best = min(published.rmse, key=float)
        digits = places(best)
        ours = [shown(one.rmse, digits), below(one.rmse, published.rmse, digits)]
        ours += [shown(one.rmse_of_ensemble, digits)]
        ours += [below(one.rmse_of_ensemble, published.rmse, digits), f"{one.seconds[0]:.1f}"]
        errors.append([one.set, str(one.rows), *published.rmse, *ours])
        ours = [shown(one.nll, 2), below(one.nll, published.nll[-1:], 2), f"{one.seconds[1]:.1f}"]
        likelihoods.append([one.set, *published.nll, *ours])
    first = markdown(
        ["set", "rows", *METHODS, "TabularRegressor", "below all", "Fleet", "below all", "s"],
        errors,
    )
    heading = ["set", *METHODS[1:], "Fleet", "below deep ensembles", "s"]
    return (
        f"Root mean squared errors, mean (standard error) of {len(rows[0].rmse)} splits:\n\n{first}"
        f"\n\nNegative log-likelihoods:\n\n{markdown(heading, likelihoods)}"
    )


def cover(splits: Sequence[Split], confidences: Sequence[float]) -> Array:
    """Return how often targets are inside, in %: (splits, confidences)."""
    found = []
    for seed, split in enumerate(splits):
        model = TabularRegressor(random_state=seed).fit(*split.train)
        inside = []
        for confidence in confidences:
            low, high = np.asarray(model.predict_interval(split.test.X, confidence=confidence)).T
            inside.append(100 * np.mean((low <= split.test.y) & (split.test.y <= high)))
        found.append(inside)
    return np.array(found)


def covered(
    names: Iterable[str], splits_of: Callable[[str], Sequence[Split]], confidences: Sequence[float]
) -> str:
    """Return the table of the cover of intervals; the last line is of all splits of all sets."""
    lines, all_found = [], []
    for name in names:
        splits = splits_of(name)
        found = cover(splits, confidences)
        all_found.append(found)
        lines.append([name, str(len(splits[0].test.y)), *(shown(c, 1) for c in found.T)])
    lines.append(["all", "", *(shown(c, 1) for c in np.concatenate(all_found).T)])
    heading = ["set", "rows of a test part", *(f"{100 * c:g} % asked" for c in confidences)]
    return markdown(heading, lines)


def random_splits(name: str, folder: Path, count: int) -> list[Split]:
    """Return random splits of a set of `tables_data`, at most 2,000 rows, 75 % for training."""
    import tables_data  # needs pandas and scikit-learn

    table = tables_data.read(tables_data.SETS[name], folder, 2000)
    return [
        Split(Part(*train), Part(*test)) for train, test in tables_data.splits(table, False, count)
    ]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.strip().split("\n")[0])
    parser.add_argument("directory", type=Path, metavar="DIR", help="the folder of the .npz files")
    parser.add_argument("--splits", type=int, default=20, help="of each UCI set (20)")
    parser.add_argument("--cover-splits", type=int, default=20, help="of each set, 0: none (20)")
    parser.add_argument("--only", nargs="+", choices=[*PUBLISHED, *MORE_SETS], help="some sets")
    given = parser.parse_args()
    names = given.only or [*PUBLISHED, *MORE_SETS]
    paths = [given.directory / f"{name}.npz" for name in names if name in PUBLISHED]
    paths = [path for path in paths if path.exists()]
    if not 1 <= given.splits <= 20 or not paths:
        parser.error(f"--splits must be from 1 to 20, and {given.directory} must hold .npz files")
    start = time.perf_counter()
    print(compared(row(path, given.splits) for path in paths))
    print(f"\n{ran(time.perf_counter() - start)}")
    if given.cover_splits:
        start = time.perf_counter()
        known = [name for name in names if name not in PUBLISHED or name in [p.stem for p in paths]]

        def splits_of(name: str) -> list[Split]:
            return random_splits(name, given.directory, given.cover_splits)

        print(
            f"\nTargets inside the intervals in %, mean (standard error) of {given.cover_splits} "
            f"splits:\n\n{covered(known, splits_of, (0.8, 0.9, 0.95))}"
        )
        print(f"\n{ran(time.perf_counter() - start)}")


if __name__ == "__main__":
    main()
