"""
Notebook 3: one step of a 1-1-1 net, in which every quantity is a single number.

The notebook also derives delta = a - y for a sigmoid output with the binary cross-entropy.
"""

import argparse
from collections.abc import Iterable, Sequence

from jitprop import Trainer

x, y = [[0.5]], [[1.0]]
W1, b1, W2, b2 = 0.4, 0.3, 0.7, 0.2


def scalar_trainer(loss: str, backend: str) -> Trainer:
    """Return the notebook's net with the given loss, untrained."""
    return Trainer(
        [1, 1, 1],
        loss=loss,
        learning_rate=0.1,
        init=([[[W1]], [[W2]]], [[b1], [b2]]),
        backend=backend,
    )


def main(backend: str) -> None:
    """Compute the step and print it beside the notebook's; then print the delta of two losses."""
    trainer = scalar_trainer("half_squared_error", backend)
    a2 = trainer.predict(x).item()
    squared = trainer.gradients(x, y)
    trainer.fit(x, y, epochs=1)
    new_W1, new_b1, new_W2, new_b2 = trainer.parameters
    print(f"One step of a 1-1-1 net with the loss 1/2 (y - a2)^2, backend {backend}")
    beside_notebook(
        [
            ("a2", a2, 0.653786),
            ("loss", squared.loss, 0.059932),
            ("W1 after the step", new_W1, 0.4006445672678901),
            ("b1 after the step", new_b1, 0.3012891345357802),
            ("W2 after the step", new_W2, 0.7048779400938787),
            ("b2 after the step", new_b2, 0.20783656031705777),
        ]
    )

    # z2 = a1 W2 + b2, so the derivative by b2 equals the derivative by z2, which is delta.
    crossed = scalar_trainer("binary_cross_entropy", backend).gradients(x, y)
    delta_squared, delta_crossed = squared.biases[-1].item(), crossed.biases[-1].item()
    a2_minus_y = a2 - y[0][0]
    print("delta = d loss / d z2 before the step. The sigmoid's slope, a2 (1 - a2), is a factor of")
    print("the squared error's delta; with the cross-entropy it cancels, which leaves a2 - y:")
    table(
        ("delta with", " value", "formula", " by the formula"),
        [
            (loss, f"{delta: .8f}", formula, f"{value: .8f}")
            for loss, delta, formula, value in (
                (
                    "half_squared_error",
                    delta_squared,
                    "(a2 - y) a2 (1 - a2)",
                    a2_minus_y * a2 * (1 - a2),
                ),
                ("binary_cross_entropy", delta_crossed, "a2 - y", a2_minus_y),
            )
        ],
    )


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
