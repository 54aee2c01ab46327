"""
The rows of a fit: their order, their weights, and those that are held out.

A fit first puts the rows in an order that depends on what they hold and on the seed alone. So the
rows of a table may come in any order, and the net is the same, bit for bit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from jitprop import checks
from jitprop._types import Array
from jitprop.data.cast import check_total
from jitprop.tabular.table import Column, Table

Rows = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]

FEWEST = 5
"""A fit needs at least so many rows."""

MOST_REPEATS = 4
"""Whole weights become repeated rows if they are so many times as many as the rows at most."""


class Given(NamedTuple):
    """The rows to fit with."""

    table: Table
    y: Array
    """(n,) numbers or classes."""
    weights: Numbers | None

    def take(self, rows: Rows) -> Given:
        """Return some of the rows."""
        weights = None if self.weights is None else self.weights[rows]
        return Given(self.table.rows(rows), self.y[rows], weights)


def counted(name: str, table: Table, y: Array, sample_weight: Any = None) -> Given:
    """
    Check the weights, and leave out rows of weight 0.

    Whole weights are counts: a row of weight 3 becomes three rows, as scikit-learn has it. Only
    where that would make the table more than `MOST_REPEATS` times as long, and for other weights,
    the loss is weighted.

    Raises
    ------
    ValueError
        If the lengths differ, if there are too few rows, or if a weight is bad. ``name`` is that of
        the table.
    """
    n = table.n_rows
    check_lengths(name, n, len(y))
    weights = weights_of(sample_weight, n)
    if weights is None:
        return Given(table, y, None)
    rows = np.flatnonzero(weights > 0.0)
    weights = weights[rows]
    whole = bool((weights == np.floor(weights)).all())
    if whole and weights.sum() <= MOST_REPEATS * n:
        rows, weights = np.repeat(rows, weights.astype(np.int64)), None
    return Given(table.rows(rows), y[rows], weights)


def check_lengths(name: str, n_rows: int, n_targets: int) -> None:
    """Raise a ValueError unless a table has as many rows as targets."""
    if n_rows != n_targets:
        raise ValueError(
            f"{name} and its targets must have as many rows; got {n_rows} and {n_targets}"
        )


def in_order(given: Given, codes: Array, seed: int) -> Rows:
    """Return the order of the rows, where ``codes`` are their targets as numbers."""
    return np.argsort(keys(given.table, codes, seed), kind="stable")


def weights_of(sample_weight: Any, n: int) -> Numbers | None:
    """
    Return the weights of n rows as float64; None without weights.

    Raises
    ------
    ValueError
        Unless they are n finite numbers of at least 0, not all 0.
    """
    if sample_weight is None:
        return None
    if isinstance(sample_weight, int | float):
        sample_weight = np.full(n, sample_weight)
    try:
        weights = np.asarray(sample_weight, np.float64)
    except (TypeError, ValueError):
        raise ValueError(
            f"sample_weight must hold numbers; got {checks.shown(sample_weight)}"
        ) from None
    if weights.shape != (n,):
        raise ValueError(f"sample_weight must have shape ({n},); got shape {weights.shape}")
    if not np.isfinite(weights).all():
        raise ValueError("sample_weight must be finite; got nan or inf")
    if (weights < 0.0).any():
        raise ValueError(f"sample_weight must be at least 0; got {weights.min():g}")
    if not weights.any():
        raise ValueError("sample_weight must not be zero for all rows")
    check_total("sample_weight", weights, np.dtype(np.float64))
    return weights


def keys(table: Table, y: Array, seed: int) -> npt.NDArray[np.uint64]:
    """
    Return a number for each row that depends on what it holds and on the seed alone.

    Of the targets it is their ranks that count, so that their unit does not.
    """
    ranks = np.unique(y, return_inverse=True)[1].astype(np.uint64)
    first = np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]
    made = np.full(table.n_rows, first)
    for bits in (*map(_bits, table), ranks):
        made = _mixed(made + bits)
    return made


def _bits(column: Column) -> npt.NDArray[np.uint64]:
    """Return a number for each value of a column: the same one for equal values."""
    values = column.values
    if column.kind == "date":
        return values.astype(np.int64).view(np.uint64)
    if values.dtype != object:
        return _of_floats(values)
    found = values.tolist()
    numbers = {text: i for i, text in enumerate(sorted({*found} - {None}), start=1)}
    return np.array([numbers.get(text, 0) for text in found], np.uint64)


def _of_floats(values: Array) -> npt.NDArray[np.uint64]:
    """Return the bits of float64 numbers; those of -0.0 are those of 0.0, and all nan are equal."""
    return np.where(np.isnan(values), np.nan, values + 0.0).view(np.uint64)


def _mixed(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Mix the bits of each number, as SplitMix64 does (Steele, Lea and Flood, OOPSLA 2014)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def folds(n: int, fraction: float, codes: Rows | None, most: int) -> list[tuple[Rows, Rows]]:
    """
    Choose the rows to train with and those to hold out, several times.

    The rows must be in the order of `given`, which is random. Each row is held out at most once.

    Parameters
    ----------
    n : int
        The number of rows.
    fraction : float
        The share to hold out, above 0 and below 1.
    codes : (n,) int array or None
        The class of each row: then each class has this share among the rows held out, up to
        rounding. One row of each class is never held out.
    most : int
        The most folds. There are as many as the share allows, and at least one.

    Returns
    -------
    list of (training, held_out)
        Two int64 arrays in ascending order.
    """
    wanted = min(max(1, round(fraction * n)), n - 1)
    order, most_held_out = np.arange(n), n - 1
    if codes is not None:
        # The i-th of the m rows of a class stands at (i + 1/2) / m, so that the first rows of all
        # have the classes in their shares.
        by_class = np.argsort(codes, kind="stable")
        counts = np.bincount(codes)
        place = np.arange(n) - np.repeat(np.cumsum(counts) - counts, counts)
        sizes = np.repeat(counts, counts)
        position = (place + 0.5) / sizes
        position[place == sizes - 1] = 2.0  # the last row of a class is never held out
        order = by_class[np.argsort(position, kind="stable")]
        most_held_out = n - int((counts > 0).sum())
        wanted = min(wanted, most_held_out)
    count = 1 if wanted == 0 else min(most, most_held_out // wanted)
    made = []
    for first in range(0, count * wanted or 1, wanted or 1):
        held_out = order[first : first + wanted]
        training = np.concatenate([order[:first], order[first + wanted :]])
        made.append((np.sort(training), np.sort(held_out)))
    return made
