"""
The XOR atlas: how often small nets learn XOR, and how soon.

The settings are 2, 3 or 4 hidden units, sigmoid or tanh, and three learning rates. Each setting
trains nets with many seeds at once, by plain full-batch gradient descent. A net has solved XOR if
all four outputs are on the correct side of 1/2. This is checked after 1, 2, 3, ... epochs, later at
intervals of about 10 %. Nets that have solved XOR stop; the others train on.
"""

import argparse
from time import perf_counter
from typing import Any

import numpy as np

from jitprop import Fleet

HIDDEN = 2, 3, 4
ACTIVATIONS = "sigmoid", "tanh"
RATES = 0.5, 2.0, 8.0
X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float64)
y = np.array([0, 1, 1, 0])


def checked_epochs(epochs: int) -> list[int]:
    """Return the epochs after which the nets are checked: 1, 2, 3, ... 15, 16, 18, 20, 22, ..."""
    found = [1]
    while found[-1] < epochs:
        found.append(min(epochs, max(found[-1] + 1, round(found[-1] * 1.1))))
    return found


def solve(fleet: Fleet, epochs: int) -> np.ndarray:
    """Train a fleet; return the epoch in which each member first solved XOR, inf for never."""
    solved_at = np.full(len(fleet), np.inf)
    unsolved = np.arange(len(fleet))
    trained = 0
    for epoch in checked_epochs(epochs):
        fleet.fit(X, y, epoch - trained)
        trained = epoch
        solved = ((fleet.predict(X)[..., 0] > 0.5) == y).all(axis=1)
        solved_at[unsolved[solved]] = epoch
        unsolved = unsolved[~solved]
        if len(unsolved) == 0:
            break
        if solved.any():
            fleet = fleet[~solved]
    return solved_at


def atlas(members: int, epochs: int) -> dict[tuple[str, int, float], np.ndarray]:
    """Return `solve`'s result for each (activation, number of hidden units, learning rate)."""
    found = {}
    for hidden in HIDDEN:
        # Seeds 0 to members - 1. All settings of one width start with the same weights.
        first = Fleet([2, hidden, 1], members=members, seed=0)
        init = [
            [np.concatenate([part] * len(RATES)) for part in parts]
            for parts in (first.weights, first.biases)
        ]
        for activation in ACTIVATIONS:
            fleet = Fleet(
                [2, hidden, 1],
                members=members * len(RATES),
                activation=activation,
                reduction="sum",
                learning_rate=np.repeat(RATES, members),
                init=(init[0], init[1]),
            )
            for rate, epoch in zip(RATES, np.split(solve(fleet, epochs), len(RATES)), strict=True):
                found[activation, hidden, rate] = epoch
    return found


def print_table(found: dict[tuple[str, int, float], np.ndarray]) -> None:
    """Print a row of Markdown for each setting."""
    print("| hidden units | learning rate | solved | epochs, median | epochs, 90 % |")
    print("|---|---|---|---|---|")
    for activation in ACTIVATIONS:
        for hidden in HIDDEN:
            for rate in RATES:
                epoch = found[activation, hidden, rate]
                solved = epoch[np.isfinite(epoch)]
                times = ("-", "-")
                if len(solved):
                    q = np.quantile(solved, [0.5, 0.9], method="inverted_cdf")
                    times = (f"{q[0]:,.0f}", f"{q[1]:,.0f}")
                share = f"{100 * len(solved) / len(epoch):.1f} %"
                print(f"| {hidden} {activation} | {rate:g} | {share} | {times[0]} | {times[1]} |")


def draw(found: dict[tuple[str, int, float], np.ndarray], epochs: int, out: str) -> None:
    """Plot the percentage of nets that have solved XOR over the epochs, for each setting."""
    plt = pyplot()
    figure, axes = plt.subplots(
        len(ACTIVATIONS), len(RATES), figsize=(11, 6), sharex=True, sharey=True,
        layout="constrained", squeeze=False,
    )  # fmt: skip
    styles = zip(HIDDEN, ("#0072B2", "#E69F00", "#009E73"), ("-", "--", ":"), strict=True)
    checked = checked_epochs(epochs)
    for hidden, colour, style in styles:
        for row, activation in zip(axes, ACTIVATIONS, strict=True):
            for ax, rate in zip(row, RATES, strict=True):
                epoch = found[activation, hidden, rate]
                share = np.searchsorted(np.sort(epoch), checked, side="right") / len(epoch)
                ax.step(
                    checked, 100 * share, style, color=colour, where="post", label=f"2-{hidden}-1"
                )
                ax.set_title(f"{activation}, learning rate {rate:g}")
    for ax in axes.ravel():
        ax.set(xscale="log", xlim=(1, epochs), ylim=(0, 101))
        ax.grid(alpha=0.3)
    for ax in axes[-1]:
        ax.set_xlabel("epochs")
    for ax in axes[:, 0]:
        ax.set_ylabel("nets that have solved XOR, %")
    axes[0, 0].legend(loc="upper left")
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
    """Train all nets; print the table, and with --out draw the plot."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--members", type=int, default=10_000, help="seeds per setting")
    parser.add_argument("--epochs", type=int, default=10_000, help="the largest number of epochs")
    parser.add_argument("--out", help="file for a plot: .png or .svg")
    arguments = parser.parse_args()

    start = perf_counter()
    found = atlas(arguments.members, arguments.epochs)
    n = arguments.members * len(found)
    print(f"XOR, {n:,} nets, up to {arguments.epochs:,} epochs: {perf_counter() - start:.0f} s\n")
    print_table(found)
    if arguments.out:
        draw(found, arguments.epochs, arguments.out)


if __name__ == "__main__":
    main()
