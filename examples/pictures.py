"""
Train nets on two moons, handwritten digits and a noisy wave, and plot them in pictures.png.

With --gallery each plot is a separate file in that folder.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt

from jitprop import Trainer, plot

Draw = Callable[[Any], Any]
"""A function that draws into an Axes and returns it."""


def two_moons(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return points near two interleaved half circles, and the half circle of each, 0 or 1."""
    rng = np.random.default_rng(0)
    label = np.arange(n) % 2
    angle, side = rng.uniform(0, np.pi, n), 1 - 2 * label
    circle = np.stack([side * np.cos(angle) + label, side * np.sin(angle) + label / 2], axis=1)
    return circle + rng.normal(0, 0.15, (n, 2)), label


def wave(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return x, and a sine of x with noise."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (n, 1))
    return x, np.sin(4 * x) + rng.normal(0, 0.2, (n, 1))


def digits() -> Any:
    """Return X_train, X_test, y_train and y_test: float32 pixels from 0 to 1, and labels."""
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise SystemExit(
            f"The digits come with scikit-learn: pip install 'jitprop[sklearn]' ({error})"
        ) from error
    pixels, labels = load_digits(return_X_y=True)
    X = (pixels / 16).astype(np.float32)
    return train_test_split(X, labels, test_size=0.25, stratify=labels, random_state=0)


def drawings(backend: str) -> dict[str, tuple[str, Draw]]:
    """Train three nets; return the title and the drawing function of each plot."""
    X, y = two_moons(300)
    moons = Trainer(
        [2, 16, 16, 1], activation="tanh", loss="binary_cross_entropy", optimizer="adam",
        learning_rate=0.01, batch_size=32, seed=0, backend=backend,
    )  # fmt: skip
    history = moons.fit(X, y, epochs=100)

    X_train, X_test, y_train, y_test = digits()
    reader = Trainer(
        [64, 64, 10], activation="relu", output_activation="softmax", loss="cross_entropy",
        optimizer="adam", learning_rate=0.003, batch_size=32, init="he_uniform", seed=0,
        backend=backend,
    )  # fmt: skip
    reader.fit(X_train, y_train, epochs=30)
    read = reader.predict(X_test)

    x, noisy = wave(200)
    curve = Trainer(
        [1, 20, 1], activation="tanh", output_activation="identity", optimizer="adam",
        learning_rate=0.02, seed=0, backend=backend,
    )  # fmt: skip
    curve.fit(x, noisy, epochs=500)
    fitted = curve.predict(x)

    return {
        "loss-curve": ("two moons: loss", lambda ax: plot.loss_curves(history, ax)),
        "decision-boundary": (
            "two moons: the net's answer",
            lambda ax: plot.decision_boundary(moons, X, y, ax),
        ),
        "hidden-weights": (
            "digits: weights of the 64 hidden units",
            lambda ax: plot.weights(reader, 0, ax, image_shape=(8, 8)),
        ),
        "confusion-matrix": (
            "digits: images not trained on",
            lambda ax: plot.confusion_matrix(y_test, read, ax=ax),
        ),
        "output-weights": (
            "digits: weights of the 10 outputs",
            lambda ax: plot.weights(reader, 1, ax),
        ),
        "regression": (
            "a wave with noise",
            lambda ax: plot.predicted_against_true(noisy, fitted, ax),
        ),
    }


def main() -> None:
    """Draw all plots into one figure, or with --gallery each into its own file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backend", choices=["numpy", "numba"], default="numba")
    parser.add_argument("--gallery", type=Path, metavar="FOLDER")
    arguments = parser.parse_args()

    found = drawings(arguments.backend)
    if arguments.gallery is None:
        figure, axes = plt.subplots(2, 3, figsize=(15, 8.5), dpi=100, layout="constrained")
        for ax, (title, draw) in zip(axes.flat, found.values(), strict=True):
            draw(ax).set_title(title)
        figure.savefig("pictures.png")
        print("wrote pictures.png")
        return
    arguments.gallery.mkdir(parents=True, exist_ok=True)
    for name, (title, draw) in found.items():
        figure, ax = plt.subplots(figsize=(5, 4.2), dpi=100, layout="constrained")
        draw(ax).set_title(title)
        figure.savefig(arguments.gallery / f"{name}.png")
        plt.close(figure)
    print(f"wrote {len(found)} pictures to {arguments.gallery}")


if __name__ == "__main__":
    main()
