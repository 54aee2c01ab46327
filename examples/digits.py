"""
Handwritten digits: train a 64-64-10 net on scikit-learn's 1,797 images of 8 x 8 pixels.

A quarter of the images is the test set. The test accuracy is 0.976 to 0.982 for the seeds 0 to 9.
"""

import argparse
from time import perf_counter
from typing import Any

import numpy as np

from jitprop import Trainer

EPOCHS = 30


def load() -> Any:
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


def digits_trainer(backend: str, seed: int = 0) -> Trainer:
    """Return the untrained net."""
    return Trainer(
        [64, 64, 10],
        activation="relu",
        output_activation="softmax",
        loss="cross_entropy",
        optimizer="adam",
        learning_rate=0.003,
        batch_size=32,
        init="he_uniform",
        seed=seed,
        backend=backend,
    )


def main(backend: str) -> None:
    """Train the net; print the time and the accuracy."""
    X_train, X_test, y_train, y_test = load()
    # The first fit of a process compiles the kernels or loads them from the cache.
    digits_trainer(backend).fit(X_train, y_train, epochs=1)

    trainer = digits_trainer(backend)
    start = perf_counter()
    trainer.fit(X_train, y_train, EPOCHS)
    seconds = perf_counter() - start
    accuracy = (trainer.predict(X_test).argmax(axis=1) == y_test).mean()
    print(f"Digits, 64-64-10, {len(X_train):,} images, {EPOCHS} epochs, backend {backend}")
    print(f"  training time  {seconds:.3f} s, compiling not counted")
    print(f"  test accuracy  {accuracy:.4f}, on {len(X_test)} images not trained on")


def parsed_backend() -> str:
    """Return the backend that the command line names; numba by default."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backend", choices=["numpy", "numba"], default="numba")
    return str(parser.parse_args().backend)


if __name__ == "__main__":
    main(parsed_backend())
