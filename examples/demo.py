"""
The demo of `make demo` and `jitprop demo`: train XOR and handwritten digits, and show the speed.
It also writes a page on which you see the net learn XOR: xor-lesson.html, in the current folder.

XOR is trained as in a teaching notebook, with the same random numbers. Its errors and outputs are
printed beside the notebook's. The digits are scikit-learn's 1,797 images of 8 x 8 pixels.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from jitprop import Trainer
from jitprop.teaching import lesson

SECONDS = 1.0
XOR_EPOCHS, DIGITS_EPOCHS = 10_000, 30

X = np.array([[0, 0, 1], [1, 0, 1], [0, 1, 1], [1, 1, 1]], dtype=float)
y = np.array([0, 1, 1, 0], dtype=float)

NOTEBOOK_ERRORS = [
    0.38038349310856134,
    0.24997670387612728,
    0.24972913712906816,
    0.24883556540840868,
    0.2430179563469606,
    0.2023128270301176,
    0.1342851241018072,
    0.03423820536202099,
    0.012399204540152104,
    0.006836030803331477,
]
NOTEBOOK_OUTPUTS = [0.07125372, 0.93446125, 0.93473281, 0.06774813]


def xor_trainer(backend: str) -> Trainer:
    """Return the notebook's net, untrained."""
    np.random.seed(1)
    W1, b1 = np.random.rand(3, 4), np.random.rand(4)
    W2, b2 = np.random.rand(4, 1), np.random.rand(1)
    return Trainer(
        [3, 4, 1], reduction="sum", learning_rate=0.1, init=([W1, W2], [b1, b2]), backend=backend
    )


def xor() -> None:
    """Train XOR and print its errors and outputs beside the notebook's."""
    trainer = xor_trainer("numba")
    # The notebook prints the outputs of its last forward pass, which is before its last update. So
    # one epoch less gives the same outputs.
    history = trainer.fit(X, y, epochs=XOR_EPOCHS - 1)
    errors = (history.loss * 2 / len(X))[::1000]  # the notebook prints the mean of (o - y)^2
    outputs = trainer.predict(X).ravel()
    rows = [
        (f"mean (o - y)^2, epoch {1000 * i}", error, notebook)
        for i, (error, notebook) in enumerate(zip(errors, NOTEBOOK_ERRORS, strict=True))
    ]
    rows += [
        (f"output for {sample[:2].astype(int)}", output, notebook)
        for sample, output, notebook in zip(X, outputs, NOTEBOOK_OUTPUTS, strict=True)
    ]
    print(f"XOR, 3-4-1, {XOR_EPOCHS:,} epochs")
    beside_notebook(rows)


def write_lesson() -> None:
    """Write the page on which XOR is learned, and say where."""
    path = Path("xor-lesson.html").resolve()
    try:
        lesson(xor_trainer("auto"), X, y, XOR_EPOCHS, path, title="XOR in 10,000 epochs")
    except OSError as error:
        print(f"The lesson on XOR was not written: {error}\n")
    else:
        print(f"See it learn: open {path} in a browser.\n")


def seconds_per_epoch(backend: str) -> float:
    """Train XOR repeatedly after a warm-up; return the shortest time per epoch."""
    xor_trainer(backend).fit(X, y, epochs=1)
    times: list[float] = []
    while sum(times) < SECONDS:
        trainer = xor_trainer(backend)
        start = perf_counter()
        trainer.fit(X, y, XOR_EPOCHS)
        times.append(perf_counter() - start)
    return min(times) / XOR_EPOCHS


def load_images() -> Any:
    """Return X_train, X_test, y_train and y_test: float32 pixels from 0 to 1, and labels."""
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise SystemExit(
            f"The digits come with scikit-learn: pip install 'jitprop[sklearn]' ({error})"
        ) from error
    pixels, labels = load_digits(return_X_y=True)
    images = (pixels / 16).astype(np.float32)
    return train_test_split(images, labels, test_size=0.25, stratify=labels, random_state=0)


def digits_trainer() -> Trainer:
    """Return the net for the digits, untrained."""
    return Trainer(
        [64, 64, 10],
        activation="relu",
        output_activation="softmax",
        loss="cross_entropy",
        optimizer="adam",
        learning_rate=0.003,
        batch_size=32,
        init="he_uniform",
        seed=0,
    )


def digits() -> None:
    """Train on three quarters of the images; print the time and the accuracy on the others."""
    X_train, X_test, y_train, y_test = load_images()
    digits_trainer().fit(X_train, y_train, epochs=1)  # compiles the kernels or loads the cache
    trainer = digits_trainer()
    start = perf_counter()
    trainer.fit(X_train, y_train, DIGITS_EPOCHS)
    seconds = perf_counter() - start
    accuracy = (trainer.predict(X_test).argmax(axis=1) == y_test).mean()
    print(f"Digits, 64-64-10, {len(X_train):,} images, {DIGITS_EPOCHS} epochs")
    print(f"  training time  {seconds:.3f} s, compiling not counted")
    print(f"  test accuracy  {accuracy:.4f}, on {len(X_test)} images not trained on")


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows of text in aligned columns."""
    lines = [headings, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("  " + "  ".join(cells).rstrip())
    print()


def beside_notebook(rows: Iterable[tuple[str, float, float]]) -> None:
    """Print rows of (quantity, computed, notebook), with the notebook's number of decimals."""
    lines = []
    for quantity, computed, notebook in rows:
        decimals = len(str(notebook).split(".")[1])
        lines.append((quantity, f"{computed: .{decimals}f}", f"{notebook: .{decimals}f}"))
    table(("quantity", " computed", " notebook"), lines)


def main() -> None:
    """Train XOR and the digits, and time XOR on both backends."""
    print("The first run compiles the kernels, which takes some seconds: in float64 for XOR, in")
    print("float32 for the digits. Later runs read them from a cache.")
    print(flush=True)
    start = perf_counter()
    xor()
    print(f"This took {perf_counter() - start:.1f} s, nearly all to compile or read the kernels.\n")
    write_lesson()

    seconds = {backend: seconds_per_epoch(backend) for backend in ("numpy", "numba")}
    print(f"XOR, training time per epoch: the best of the runs of {SECONDS:g} s, after a warm-up")
    table(
        ("backend", "microseconds"),
        [(backend, f"{1e6 * time:.3f}") for backend, time in seconds.items()],
    )
    print(f"numba is {seconds['numpy'] / seconds['numba']:.0f} times as fast as numpy here.\n")

    digits()


if __name__ == "__main__":
    main()
