"""A column of numbers: one feature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from jitprop._types import Array
from jitprop.tabular.encoders import scale
from jitprop.tabular.table import HELD, Column, quoted


@dataclass(frozen=True)
class NumberEncoder:
    """
    A number is its own feature.

    Attributes
    ----------
    name : str
        The column's name.
    """

    kind: ClassVar[str] = "number"
    name: str

    @property
    def features(self) -> list[str]:
        """The names of the features."""
        return [self.name]

    def of(self, column: Column) -> Array:
        """Return the features, (n_rows, 1) float64, nan where a number is missing."""
        return numbers(column)[:, None]

    def scale(self, column: Column) -> tuple[Array, Array]:
        """Return the median and the factor of each feature, from the training rows."""
        median, factor = scale.of_values(numbers(column))
        return np.array([median]), np.array([factor])

    def to_file(self) -> dict[str, Any]:
        """Return the settings as JSON has them: none."""
        return {}


def numbers(column: Column) -> Array:
    """
    Return the numbers of a column, nan where one is missing. Booleans are 0 and 1.

    Raises
    ------
    ValueError
        For a column of another kind, and for infinite numbers.
    """
    if column.kind not in ("number", "boolean"):
        if not column.missing.all():
            raise changed(column, "numbers")
        return np.full(len(column.values), np.nan)
    if np.isinf(column.values).any():
        row = int(np.flatnonzero(np.isinf(column.values))[0])
        raise ValueError(
            f"column {quoted(column.name)} must hold finite numbers; got "
            f"{column.values[row]} in row {row}"
        )
    return column.values


def changed(column: Column, before: str) -> ValueError:
    """An error for a column whose kind is not that of training."""
    return ValueError(
        f"column {quoted(column.name)} held {before} in training and holds {HELD[column.kind]} now"
    )
