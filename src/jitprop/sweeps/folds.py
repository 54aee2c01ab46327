"""Folds of cross-validation: the rows that a net is trained on, and those that are held out."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from jitprop import checks
from jitprop._types import Array
from jitprop.data import cast

Rows: TypeAlias = npt.NDArray[np.int64]
Fold: TypeAlias = tuple[Rows, Rows]
"""Rows to train on, and rows held out."""


def folds(cv: Any, X: Array, y: Array, classes: Rows | None) -> list[Fold]:
    """
    Check `sweep`'s ``cv`` and return the folds.

    Parameters
    ----------
    cv : int, splitter or iterable of (rows to train on, rows held out)
    X : (n, n_inputs) array
    y : (n, n_targets) array
    classes : (n,) array or None
        The classes by which folds are stratified if ``cv`` is an int.

    Raises
    ------
    TypeError, ValueError
        For bad input.
    """
    n = len(X)
    if not isinstance(cv, bool) and isinstance(cv, int | np.integer):
        k = checks.integer("cv", cv, low=2)
        if k > n:
            raise ValueError(f"cv must be at most the {n} samples; got {k}")
        return k_folds(n, k, classes)
    if hasattr(cv, "split"):
        cv = cv.split(X, y[:, 0] if y.shape[1] == 1 else y)
    try:
        pairs = [tuple(pair) for pair in cv]
    except TypeError:
        raise TypeError(
            "cv must be an int, a splitter such as scikit-learn's, or an iterable of "
            f"(rows to train on, rows held out); got {checks.shown(cv)}"
        ) from None
    if not pairs:
        raise ValueError("cv must have at least one fold; got none")
    return [_fold(i, pair, n) for i, pair in enumerate(pairs)]


def k_folds(n: int, k: int, classes: Rows | None) -> list[Fold]:
    """
    Deal n rows to k folds, in a random order that depends only on n.

    The sizes of folds differ by at most one row. With ``classes``, so do the numbers of rows of
    each class in them. The rows of a fold are in ascending order.
    """
    order = np.random.default_rng(n).permutation(n)
    if classes is not None:
        order = order[np.argsort(classes[order], kind="stable")]
    fold = np.empty(n, np.int64)
    fold[order] = np.arange(n) % k
    return [(np.flatnonzero(fold != i), np.flatnonzero(fold == i)) for i in range(k)]


def _fold(i: int, pair: tuple[Any, ...], n: int) -> Fold:
    if len(pair) != 2:
        raise ValueError(
            f"cv[{i}] must be (rows to train on, rows held out); got {len(pair)} items"
        )
    train, held_out = (_rows(f"cv[{i}][{j}]", rows, n) for j, rows in enumerate(pair))
    return train, held_out


def _rows(name: str, value: Any, n: int) -> Rows:
    array = cast.read(name, value)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be an array of ints; got dtype {array.dtype}")
    if array.ndim != 1 or len(array) == 0:
        raise ValueError(f"{name} must have shape (rows,), at least one; got shape {array.shape}")
    if array.min() < 0 or array.max() >= n:
        raise ValueError(
            f"{name} must hold rows from 0 to {n - 1}; got {array.min()} to {array.max()}"
        )
    return array.astype(np.int64)
