"""Permutation importances: how much worse a model gets where one column is shuffled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from jitprop import checks, elementary
from jitprop._types import Array
from jitprop.tabular.model import TabularNet
from jitprop.tabular.table import Table

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Importances:
    """
    How much the score falls where the values of one column are shuffled.

    The fields with numbers have the names of scikit-learn's ``permutation_importance``.

    Attributes
    ----------
    names : tuple of str
        The columns.
    importances_mean, importances_std : (n_columns,) float64 arrays
        Mean and standard deviation over the repeats.
    importances : (n_columns, n_repeats) float64 array
    """

    names: tuple[str, ...]
    importances_mean: Numbers
    importances_std: Numbers
    importances: Numbers

    def __str__(self) -> str:
        """List the columns, the most important one first."""
        width = max(map(len, self.names))
        return "\n".join(
            f"{self.names[i]:{width}}  {self.importances_mean[i]:6.3f} "
            f"+/- {self.importances_std[i]:.3f}"
            for i in np.argsort(-self.importances_mean, kind="stable")
        )


def importances(
    net: TabularNet,
    table: Table,
    score: Callable[[Numbers], float],
    n_repeats: Any = 5,
    seed: int = 0,
) -> Importances:
    """
    Shuffle each column in turn, and measure how much the score falls.

    The columns are encoded once. Then the inputs of one column are shuffled, so that each repeat
    takes as long as a prediction.

    Parameters
    ----------
    net : TabularNet
    table : Table
    score : callable
        Of the net's outputs. Higher is better.
    n_repeats : int, default 5
    seed : int
        The shuffles are those of ``permutation_importance(..., random_state=seed)``.

    Returns
    -------
    Importances
        For the columns of the table, in their order. A column that the net leaves out has 0.

    References
    ----------
    Breiman, *Random Forests*, Machine Learning 45, 2001, section 10.
    """
    repeats = checks.integer("n_repeats", n_repeats, low=1)
    X, blocks = net.inputs(table), net.columns.blocks
    measured = np.zeros((len(table.names), repeats))
    measured[[name in blocks for name in table.names]] = falls(
        X,
        [blocks[name] for name in table.names if name in blocks],
        _orders(len(X), repeats, seed),
        lambda X: score(net.outputs(X)),
    )
    mean = measured.mean(axis=1)
    deviation = np.sqrt(np.square(measured - mean[:, np.newaxis]).mean(axis=1))
    return Importances(tuple(table.names), mean, deviation, measured)


def falls(
    X: Array,
    blocks: Sequence[slice],
    orders: Sequence[npt.NDArray[np.int64]],
    score: Callable[[Array], float],
) -> Numbers:
    """
    Measure how much a score falls where some inputs are shuffled.

    Parameters
    ----------
    X : (n_rows, n_inputs) array
        It changes meanwhile. In the end it is as before.
    blocks : sequence of slice
        The inputs that are shuffled together, one block after the other.
    orders : sequence of (n_rows,) int64 arrays
        The order of the rows in each repeat.
    score : callable
        Of X.

    Returns
    -------
    (n_blocks, n_repeats) float64 array
    """
    base, found = score(X), np.empty((len(blocks), len(orders)))
    for i, block in enumerate(blocks):
        kept = X[:, block].copy()
        for r, order in enumerate(orders):
            X[:, block] = kept[order]
            found[i, r] = base - score(X)
        X[:, block] = kept
    return found


def _orders(n: int, repeats: int, seed: int) -> list[npt.NDArray[np.int64]]:
    """Return the order of the rows in each repeat, as scikit-learn draws them for every column."""
    drawn = np.random.RandomState(seed).randint(2**31, dtype=np.int64)
    random = np.random.RandomState(drawn)
    shuffled, order, orders = np.arange(n), np.arange(n), []
    for _ in range(repeats):
        random.shuffle(shuffled)
        order = order[shuffled]
        orders.append(order)
    return orders


def accuracy(codes: Array, outputs: Numbers) -> float:
    """Return the share of rows whose most probable class is theirs."""
    return elementary.mean(outputs.argmax(axis=1) == codes)


def r2(y: Numbers, outputs: Numbers) -> float:
    """Return R**2 of predictions; 0.0 or 1.0 for a constant target, as scikit-learn has it."""
    unit = elementary.unit(y)
    small = y / unit
    errors = elementary.total(np.square(small - outputs / unit))
    total = elementary.total(np.square(small - elementary.mean(small)))
    if total == 0.0:
        return 1.0 if errors == 0.0 else 0.0
    return 1.0 - errors / total
