"""Nets of every kind for the tests, with suitable data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from jitprop import SGD, Adam, AdamW, reference
from jitprop.backends import compiled
from jitprop.training import sources

HIDDEN = (
    "sigmoid", "tanh", "relu", "leaky_relu", "elu", "softplus", "gelu", "gelu_tanh", "silu",
    "selu", "mish", "softsign", "hard_sigmoid", "identity",
)  # fmt: skip

# The output activations that each loss allows.
OUTPUTS = {
    "half_squared_error": HIDDEN,
    "squared_error": HIDDEN,
    "absolute_error": HIDDEN,
    "huber": HIDDEN,
    "quantile": HIDDEN,
    "poisson": ("exp", "identity"),
    "gaussian_nll": ("identity",),
    "binary_cross_entropy": ("sigmoid",),
    "cross_entropy": ("softmax",),
}

CORE_LOSSES = ("half_squared_error", "squared_error", "binary_cross_entropy", "cross_entropy")

# Each activation with each core loss, and each other loss with one activation.
KINDS = [
    (activation, loss)
    for i, loss in enumerate(OUTPUTS)
    for activation in (HIDDEN if loss in CORE_LOSSES else HIDDEN[i : i + 1])
]


OPTIMIZERS = {
    "sgd": SGD(),
    "momentum": SGD(momentum=0.9),
    "nesterov": SGD(momentum=0.8, nesterov=True),
    "adam": Adam(),
    "adamw": AdamW(beta_1=0.8, beta_2=0.99, epsilon=1e-6),
}


def in_turns(rows: Iterable[tuple[Any, ...]], columns: Iterable[Any]) -> list[Any]:
    """
    Return test parameters of all combinations, of which few are not marked as long.

    `make test` runs each row with one column: the first row with the first column, the second row
    with the second column, and so on in a circle. A parameter is a row followed by the column.
    """
    columns = list(columns)
    return [
        pytest.param(*row, column, marks=() if i % len(columns) == j else pytest.mark.long)
        for i, row in enumerate(rows)
        for j, column in enumerate(columns)
    ]


def data(sizes: list[int], n: int, loss: str, labels: bool, rng: np.random.Generator) -> Any:
    """Return X and y of n samples for a net of these sizes, in float64."""
    X = rng.normal(size=(n, sizes[0]))
    if loss != "cross_entropy":
        n_targets = sizes[-1] // 2 if loss == "gaussian_nll" else sizes[-1]
        return X, rng.uniform(0.05, 0.95, size=(n, n_targets))
    if labels:
        return X, rng.integers(0, sizes[-1], size=n)
    p = rng.uniform(0.1, 1.0, size=(n, sizes[-1]))
    return X, p / p.sum(axis=1, keepdims=True)


def suited(sizes: list[int], loss: str) -> list[int]:
    """Return the sizes with a number of outputs that the loss allows: 2 or more, or even."""
    n = sizes[-1]
    fewest = {"cross_entropy": max(2, n), "gaussian_nll": n + n % 2}
    return [*sizes[:-1], fewest.get(loss, n)]


def limit_calls(monkeypatch: pytest.MonkeyPatch, work: float) -> None:
    """Limit the multiply-adds of a backend's call; with 1, each call trains one batch."""
    for backend in (reference, compiled):
        monkeypatch.setattr(backend, "FIRST_CALL", work)
    monkeypatch.setattr(sources, "CALL_SECONDS", (0.0, np.inf))  # else calls get longer


def digest(*arrays: Any) -> str:
    """Return the beginning of the SHA-256 of the bits of some arrays of integers or floats."""
    made = hashlib.sha256()
    for array in map(np.ascontiguousarray, arrays):
        wide = np.int64 if array.dtype.kind in "iub" else array.dtype
        made.update(array.astype(np.dtype(wide).newbyteorder("<")).tobytes())
    return made.hexdigest()[:16]
