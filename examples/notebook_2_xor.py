"""
Notebook 2: a 3-4-1 net learns XOR in 10,000 epochs.

The third input is always 1. The notebook draws its weights after np.random.seed(1). It minimizes
1/2 sum (o - y)^2 over the four samples by gradient descent with a learning rate of 0.1.
"""

import argparse
from collections.abc import Iterable, Sequence

import numpy as np

from jitprop import Trainer

EPOCHS = 10_000

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
        [3, 4, 1],
        loss="half_squared_error",
        reduction="sum",
        learning_rate=0.1,
        init=([W1, W2], [b1, b2]),
        backend=backend,
    )


def main(backend: str) -> None:
    """Train the net and print its errors and outputs beside the notebook's."""
    trainer = xor_trainer(backend)
    # The notebook prints the outputs of its last forward pass, which is before its last update. So
    # one epoch less gives the same outputs.
    history = trainer.fit(X, y, epochs=EPOCHS - 1)
    outputs = trainer.predict(X).ravel()

    # The loss is 1/2 sum (o - y)^2 over the samples; the notebook prints the mean of (o - y)^2.
    errors = (history.loss * 2 / len(X))[::1000]
    rows = [
        (f"mean (o - y)^2, epoch {1000 * i}", error, notebook)
        for i, (error, notebook) in enumerate(zip(errors, NOTEBOOK_ERRORS, strict=True))
    ]
    rows += [
        (f"output for {sample[:2].astype(int)}", output, notebook)
        for sample, output, notebook in zip(X, outputs, NOTEBOOK_OUTPUTS, strict=True)
    ]
    print(f"XOR, 3-4-1, {EPOCHS:,} epochs, backend {backend}")
    beside_notebook(rows)

    np.testing.assert_allclose(errors, NOTEBOOK_ERRORS, rtol=1e-12)
    worst = np.abs(errors / NOTEBOOK_ERRORS - 1).max()
    print(f"The errors agree to {worst:.0e}, relative; 1e-12 is allowed. The last bits may differ,")
    print("for they depend on the order in which numbers are summed.\n")


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


def parsed_backend() -> str:
    """Return the backend that the command line names; numba by default."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backend", choices=["numpy", "numba"], default="numba")
    return str(parser.parse_args().backend)


if __name__ == "__main__":
    main(parsed_backend())
