"""
Notebook 1: one step of backpropagation through a 2-2-1 net, with every number shown.

The step is computed by hand, line by line, and compared with Trainer.
"""

import argparse
from collections.abc import Iterable, Sequence

import numpy as np

from jitprop import Trainer
from jitprop.functions import sigmoid, squared_error

x, t, rate = np.array([[0.5, 0.3]]), np.array([[0.7]]), 0.1
W1, b1 = np.array([[0.2, 0.4], [0.1, 0.3]]), np.array([0.1, 0.2])
W2, b2 = np.array([[0.5], [0.6]]), np.array([0.1])


def main(backend: str) -> None:
    """Compute the step by hand and with Trainer; print both beside the notebook's numbers."""
    # Forward: from the input to the error. The slope of a sigmoid is a (1 - a).
    z1 = x @ W1 + b1
    a1, slope1 = sigmoid(z1)
    z2 = a1 @ W2 + b2
    a2, slope2 = sigmoid(z2)
    E, dE_da2 = squared_error(a2, t)

    # Backward: from the error to the gradients, by the chain rule. delta is dE/dz.
    delta2 = dE_da2 * slope2
    dE_dW2, dE_db2 = a1.T @ delta2, delta2[0]
    dE_da1 = delta2 @ W2.T
    delta1 = dE_da1 * slope1
    dE_dW1, dE_db1 = x.T @ delta1, delta1[0]

    quantities = {
        "z1 = x @ W1 + b1": z1,
        "a1 = sigmoid(z1)": a1,
        "z2 = a1 @ W2 + b2": z2,
        "a2 = sigmoid(z2)": a2,
        "E = (a2 - t)^2": E,
        "dE/da2 = 2 (a2 - t)": dE_da2,
        "delta2 = dE/da2 * a2 (1 - a2)": delta2,
        "dE/dW2 = a1.T @ delta2": dE_dW2,
        "dE/db2 = delta2": dE_db2,
        "dE/da1 = delta2 @ W2.T": dE_da1,
        "delta1 = dE/da1 * a1 (1 - a1)": delta1,
        "dE/dW1 = x.T @ delta1": dE_dW1,
        "dE/db1 = delta1": dE_db1,
    }
    table(
        ("by hand", " value"),
        [(name, " ".join(f"{v: .8f}" for v in array.flat)) for name, array in quantities.items()],
    )

    # Update: a step against the gradient.
    before, gradients = [W1, b1, W2, b2], [dE_dW1, dE_db1, dE_dW2, dE_db2]
    after = [p - rate * g for p, g in zip(before, gradients, strict=True)]
    rows = []
    for name, p, g, q in zip(["W1", "b1", "W2", "b2"], before, gradients, after, strict=True):
        for i in np.ndindex(p.shape):
            rows.append((f"{name}{list(i)}", f"{p[i]: .8f}", f"{g[i]: .8f}", f"{q[i]: .8f}"))
    print(f"Each update: after = before - {rate} * gradient")
    table(("parameter", " before", " gradient", " after"), rows)

    trainer = Trainer([2, 2, 1], loss="squared_error", learning_rate=rate, backend=backend)
    trainer.set_parameters([W1, W2], [b1, b2])
    loss, (dW1, dW2), (db1, db2) = trainer.gradients(x, t)
    figures = [
        ("hidden h", a1, [0.55724785, 0.62010643]),
        ("output y", trainer.predict(x), [0.67932855]),
        ("error E", np.array(loss), [0.00042731]),
        ("dE/dy", dE_da2, [-0.04134291]),
        ("dE/dW2", dW2, [-0.00501868, -0.0055848]),
        ("dE/dh", dE_da1, [-0.0045031, -0.0054037]),
        ("dE/dW1", dW1, [-0.00055551, -0.00063649, -0.0003333, -0.00038189]),
    ]
    print(f"By Trainer with backend {backend}; h, which is a1, dE/dy and dE/dh by hand")
    beside_notebook(
        (name, *pair)
        for name, computed, notebook in figures
        for pair in zip(computed.flat, notebook, strict=True)
    )

    trainer.fit(x, t, epochs=1)
    for comp, by_hand in zip([dW1, db1, dW2, db2], gradients, strict=True):
        np.testing.assert_allclose(comp, by_hand, rtol=1e-12)
    np.testing.assert_allclose(trainer.parameters, np.hstack([p.flat for p in after]), rtol=1e-12)
    print("Trainer's gradients, and its parameters after one epoch, are those by hand to 1e-12.\n")

    errors = {"before the step": loss, "gradient subtracted": trainer.evaluate(x, t)}
    trainer.set_parameters([W1 + rate * dW1, W2 + rate * dW2], [b1 + rate * db1, b2 + rate * db2])
    errors["gradient added"] = trainer.evaluate(x, t)
    print("The notebook's own loop adds the gradient, which is wrong: the gradient points to where")
    print("the error grows, so adding it raises the error, and subtracting it lowers it.")
    table(("step", " error"), [(name, f"{error: .8f}") for name, error in errors.items()])


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
