"""Files larger than memory: `numpy.memmap` arrays, of which a few rows are read at a time."""

from __future__ import annotations

import math
import mmap
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from jitprop._types import Array

CHUNK = 1 << 20
"""So many numbers of a large array are read, checked or cast at a time: 8 MB in float64."""


class Mapped:
    """
    Rows of an array in a file, which are cast when they are read.

    It stands for a file of another dtype or memory layout than needed, or for some rows of a file.
    It is indexed like an array, by a slice or by row numbers. Indexing reads these rows and
    returns them as a C-contiguous array.

    Parameters
    ----------
    array : (n, ...) array
        The memory map.
    dtype : dtype
        The dtype of the arrays that indexing returns.
    rows : (n_rows,) int64 array, optional
        The numbers of the rows that it stands for; None for all.
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
        with np.errstate(over="ignore"):  # an overflow was refused when the data were checked
            return np.ascontiguousarray(found, self.dtype)


Rows: TypeAlias = Array | Mapped
"""Samples, as an array or in a file."""


def is_mapped(array: Any) -> bool:
    """Whether an array, or the array that it is a view of, is a memory map of a file."""
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap):
            return True
        array = array.base
    return isinstance(array, mmap.mmap)


def cast(array: Array, dtype: np.dtype[Any]) -> Rows:
    """
    Return the array C-contiguous and in this dtype.

    It is the array itself if nothing must change, a `Mapped` for a file, and otherwise a copy.
    """
    unchanged = array.dtype == dtype and array.flags.c_contiguous
    if not unchanged and is_mapped(array):
        return Mapped(array, dtype)
    return np.ascontiguousarray(array, dtype)


def take(array: Rows, rows: npt.NDArray[np.int64]) -> Rows:
    """Return some rows: a copy, or for a file a `Mapped`, which reads them when needed."""
    if isinstance(array, Mapped):
        return Mapped(array.array, array.dtype, rows if array.rows is None else array.rows[rows])
    return Mapped(array, array.dtype, rows) if is_mapped(array) else array[rows]


def row_slices(array: Rows) -> list[slice]:
    """Consecutive slices that together cover all rows, of one row or at most `CHUNK` numbers."""
    n, *shape = array.shape
    step = max(1, CHUNK // max(1, math.prod(shape)))
    return [slice(i, min(i + step, n)) for i in range(0, n, step)]
