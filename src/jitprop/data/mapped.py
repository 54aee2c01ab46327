"""Files larger than memory: arrays of `numpy.memmap`, read and cast some rows at a time."""

from __future__ import annotations

import math
import mmap
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from jitprop._types import Array

PIECE = 1 << 20
"""Numbers of a large array that are looked at, or cast, at a time: 8 MB of them."""


class Mapped:
    """
    Rows of an array in a file, of another dtype or layout than is wanted, or not all of them.

    It is indexed as an array is, by a slice or by numbers of rows, and then reads and casts those.

    Parameters
    ----------
    array : (n, ...) array
    dtype : dtype
        That of what is read.
    rows : (n_rows,) int64 array, optional
        Which there are, all if None.
    """

    def __init__(
        self, array: Array, dtype: np.dtype[Any], rows: npt.NDArray[np.int64] | None = None
    ) -> None:
        self.array, self.dtype, self.rows = array, dtype, rows
        self.ndim = array.ndim
        self.shape = (len(array) if rows is None else len(rows), *array.shape[1:])

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, key: slice | npt.NDArray[np.int64]) -> Array:
        found = self.array[key if self.rows is None else self.rows[key]]
        with np.errstate(over="ignore"):  # what is infinite then has been refused before
            return np.ascontiguousarray(found, self.dtype)


Rows: TypeAlias = Array | Mapped
"""Samples that may stand in a file."""


def is_mapped(array: Any) -> bool:
    """Whether an array, or what it is a view of, is a file's."""
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap):
            return True
        array = array.base
    return isinstance(array, mmap.mmap)


def cast(array: Array, dtype: np.dtype[Any]) -> Rows:
    """C-contiguous and of that dtype: itself, where it is; a copy, but not of a file."""
    right = array.dtype == dtype and array.flags.c_contiguous
    if not right and is_mapped(array):
        return Mapped(array, dtype)
    return np.ascontiguousarray(array, dtype)


def take(array: Rows, rows: npt.NDArray[np.int64]) -> Rows:
    """Those rows, copied; of a file, to be read when they are wanted."""
    if isinstance(array, Mapped):
        return Mapped(array.array, array.dtype, rows if array.rows is None else array.rows[rows])
    return Mapped(array, array.dtype, rows) if is_mapped(array) else array[rows]


def pieces(array: Rows) -> list[slice]:
    """Slices of some rows each, one after the other, which cover it."""
    n, *shape = array.shape
    step = max(1, PIECE // max(1, math.prod(shape)))
    return [slice(i, min(i + step, n)) for i in range(0, n, step)]
