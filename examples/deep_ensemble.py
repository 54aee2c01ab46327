"""
A deep ensemble: predict the progression of diabetes with error bars, and test the error bars.

Twenty nets are trained at once on scikit-learn's diabetes data (442 patients, 10 features). Each
net predicts a mean and a variance, and stops early by its validation loss. Together the nets are a
mixture of normal distributions. The mixture's mean and standard deviation are the prediction
(Lakshminarayanan, Pritzel and Blundell, NIPS 2017). A quarter of the patients is the test set. On
it the ensemble is compared with a single net and with linear regression, over several random
splits.
"""

import argparse
from time import perf_counter
from typing import Any

import numpy as np

from jitprop import EarlyStopping, Fleet

MEMBERS = 20
Distribution = tuple[np.ndarray, np.ndarray]


def load() -> tuple[np.ndarray, np.ndarray]:
    """Return the features, (442, 10), and the progression after one year, (442,)."""
    try:
        from sklearn.datasets import load_diabetes
    except ImportError as error:
        raise SystemExit(
            f"The data come with scikit-learn: pip install 'jitprop[sklearn]' ({error})"
        ) from error
    X, y = load_diabetes(return_X_y=True)
    return X, y


def linear(X: np.ndarray, y: np.ndarray, X_test: np.ndarray) -> Distribution:
    """Return the means and standard deviations of linear regression; all have one variance."""
    A = np.column_stack([np.ones(len(X)), X])
    coefficients = np.linalg.lstsq(A, y, rcond=None)[0]
    residuals = y - A @ coefficients
    deviation = np.sqrt(residuals @ residuals / (len(A) - A.shape[1]))
    mean = np.column_stack([np.ones(len(X_test)), X_test]) @ coefficients
    return mean, np.full(len(mean), deviation)


def train(X: np.ndarray, y: np.ndarray, members: int, seed: int) -> Fleet:
    """Train an ensemble; the last fifth of the samples is for validation."""
    held_out = len(X) // 5
    fleet = Fleet(
        [X.shape[1], 32, 2],
        members=members,
        activation="tanh",
        output_activation="identity",
        loss="gaussian_nll",
        optimizer="adam",
        learning_rate=0.01,
        weight_decay=0.01,
        batch_size=32,
        seed=seed,
    )
    fleet.fit(
        X[:-held_out],
        y[:-held_out],
        epochs=500,
        validation_data=(X[-held_out:], y[-held_out:]),
        callbacks=EarlyStopping(patience=20),
    )
    return fleet


def scores(y: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Return the RMSE, the negative log-likelihood, and the percentages within 1 and 2 std."""
    z = (y - mean) / deviation
    nll = np.log(deviation) + z**2 / 2 + np.log(2 * np.pi) / 2
    return np.array(
        [
            np.sqrt(((y - mean) ** 2).mean()),
            nll.mean(),
            100 * (np.abs(z) <= 1).mean(),
            100 * (np.abs(z) <= 2).mean(),
        ]
    )


def compare(split: int, members: int) -> tuple[dict[str, np.ndarray], np.ndarray, Distribution]:
    """Return each model's scores on a test set, its targets, and the ensemble's prediction."""
    X, y = load()
    rng = np.random.default_rng(split)
    order = rng.permutation(len(X))
    test, rest = np.split(order, [len(X) // 4])
    # Standardised by the training set. Predictions are scaled back to the target's units.
    centre, scale = X[rest].mean(axis=0), X[rest].std(axis=0)
    shift, unit = y[rest].mean(), y[rest].std()
    X = (X - centre) / scale
    z = (y - shift) / unit

    def scaled_back(mean: np.ndarray, deviation: np.ndarray) -> Distribution:
        return shift + unit * mean.ravel(), unit * deviation.ravel()

    fleet = train(X[rest], z[rest], members, seed=1000 * split)
    singles = [
        scores(y[test], *scaled_back(out[:, 0], np.exp(out[:, 1] / 2)))
        for out in fleet.predict(X[test])
    ]
    ensemble = scaled_back(*fleet.predict_mean_std(X[test]))
    found = {
        "linear regression": scores(y[test], *scaled_back(*linear(X[rest], z[rest], X[test]))),
        "one net, on average": np.mean(singles, axis=0),
        f"ensemble of {members}": scores(y[test], *ensemble),
    }
    return found, y[test], ensemble


def print_table(found: list[dict[str, np.ndarray]]) -> None:
    """Print a row of Markdown for each model: the mean over the splits and its standard error."""
    print("| model | RMSE | negative log-likelihood | within 1 std, % | within 2 std, % |")
    print("|---|---|---|---|---|")
    for model in found[0]:
        values = np.array([one[model] for one in found])
        error = values.std(axis=0, ddof=min(1, len(values) - 1)) / len(values) ** 0.5
        cells = [
            f"{m:.{d}f} ± {e:.{d}f}"
            for m, e, d in zip(values.mean(axis=0), error, (1, 3, 1, 1), strict=True)
        ]
        print(f"| {model} | {' | '.join(cells)} |")
    print("| nominal |  |  | 68.3 | 95.4 |")


def draw(y: np.ndarray, mean: np.ndarray, deviation: np.ndarray, out: str) -> None:
    """Plot predicted against true values, with error bars of one standard deviation."""
    plt = pyplot()
    figure, ax = plt.subplots(figsize=(6, 5.5), layout="constrained")
    within = np.abs(y - mean) <= deviation
    for chosen, colour, mark, label in (
        (within, "#0072B2", "o", "within 1 standard deviation"),
        (~within, "#D55E00", "s", "further away"),
    ):
        ax.errorbar(
            y[chosen], mean[chosen], deviation[chosen], fmt=mark, color=colour, markersize=4,
            elinewidth=0.7, alpha=0.8, label=f"{label}: {chosen.sum()} of {len(y)}",
        )  # fmt: skip
    ends = [min(y.min(), (mean - deviation).min()), max(y.max(), (mean + deviation).max())]
    ax.plot(ends, ends, color="0.4", linewidth=1)
    ax.set(xlabel="true progression", ylabel="predicted, with its standard deviation")
    ax.set_title("diabetes: patients not trained on")
    ax.legend()
    figure.savefig(out, dpi=100)
    print(f"wrote {out}")


def pyplot() -> Any:
    """Return ``matplotlib.pyplot``, or exit with how to install it."""
    try:
        from matplotlib import pyplot as plt
    except ImportError as error:
        raise SystemExit(
            f"--out needs matplotlib: pip install 'jitprop[plot]' ({error})"
        ) from error
    return plt


def main() -> None:
    """Train and compare; print the table, and with --out plot the first split."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--members", type=int, default=MEMBERS, help="nets in the ensemble")
    parser.add_argument("--splits", type=int, default=10, help="number of random splits")
    parser.add_argument("--out", help="file for a plot: .png or .svg")
    arguments = parser.parse_args()

    start = perf_counter()
    results = [compare(split, arguments.members) for split in range(arguments.splits)]
    print(
        f"Diabetes, {arguments.splits} splits, {arguments.members} nets each: "
        f"{perf_counter() - start:.1f} s\n"
    )
    print_table([found for found, _, _ in results])
    if arguments.out:
        _, y, ensemble = results[0]
        draw(y, *ensemble, arguments.out)


if __name__ == "__main__":
    main()
