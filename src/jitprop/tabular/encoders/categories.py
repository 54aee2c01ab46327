"""A column of categories or booleans: one-hot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from jitprop._types import Array
from jitprop.checks import shown
from jitprop.files import stored
from jitprop.tabular.encoders import scale
from jitprop.tabular.encoders.numbers import changed
from jitprop.tabular.table import Column

MOST = 100
"""The most categories of a column that have an input."""


@dataclass(frozen=True)
class CategoryEncoder:
    """
    One-hot: a feature for each category, 1 in its rows. Two categories are one feature, -1 or 1.

    A missing value and a category that was not seen in training are 0 in all features.

    Attributes
    ----------
    name : str
        The column's name.
    categories : tuple of str
        Sorted.
    boolean : bool
        Whether the column holds booleans: the categories are "false" and "true".
    """

    kind: ClassVar[str] = "category"
    name: str
    categories: tuple[str, ...]
    boolean: bool = False

    @classmethod
    def learn(cls, column: Column) -> CategoryEncoder:
        """Find the categories of the training rows: the most frequent, if they are too many."""
        different, counts = count(texts(column, column.kind == "boolean"))
        if len(different) > MOST:
            commonest = np.argsort(-counts, kind="stable")[:MOST]
            different = sorted(different[i] for i in commonest)
        return cls(column.name, tuple(different), column.kind == "boolean")

    @property
    def features(self) -> list[str]:
        """The names of the features."""
        if len(self.categories) == 2:
            return [f"{self.name}={self.categories[1]}"]
        return [f"{self.name}={category}" for category in self.categories]

    def codes(self, column: Column) -> Array:
        """Return the number of each row's category; -1 for a missing or unknown one."""
        number: dict[str | None, int] = {text: i for i, text in enumerate(self.categories)}
        values = texts(column, self.boolean)
        return np.fromiter((number.get(text, -1) for text in values), np.intp, len(values))

    @property
    def rows(self) -> Array:
        """The features of each category; in the last row, those of a missing or unknown one."""
        n = len(self.categories)
        if n == 2:
            return np.array([[-1.0], [1.0], [0.0]])
        return np.eye(n + 1, n)

    def of(self, column: Column) -> Array:
        """Return the features, (n_rows, n_features) float64."""
        made: Array = self.rows[self.codes(column)]
        return made

    def scale(self, column: Column) -> tuple[Array, Array]:
        """Return the median and the factor of each feature, from the training rows."""
        codes = self.codes(column)
        counts = np.bincount(codes + 1, minlength=len(self.categories) + 1)
        if len(self.categories) == 2:
            found = [scale.of_counts([-1.0, 0.0, 1.0], counts[[1, 0, 2]].tolist())]
        elif not self.categories:
            return np.zeros(0), np.zeros(0)
        else:
            n = len(codes)
            found = [scale.of_counts([0.0, 1.0], [n - c, c]) for c in counts[1:].tolist()]
        medians, factors = np.array(found).T
        return medians, factors

    def to_file(self) -> dict[str, Any]:
        """Return the settings as JSON has them."""
        return {"categories": list(self.categories), "boolean": self.boolean}

    @classmethod
    def from_file(cls, name: str, item: Mapping[str, Any]) -> CategoryEncoder:
        """Restore an encoder; raise a ValueError for what `to_file` does not write."""
        found, boolean = stored.texts(item, "categories"), stored.flag(item, "boolean")
        if list(found) != sorted({*found}) or len(found) > MOST:
            raise ValueError(f"categories must be sorted and different; got {shown(found)}")
        if boolean and not {*found} <= {"false", "true"}:
            raise ValueError(f"categories must be those of booleans; got {shown(found)}")
        return cls(name, found, boolean)


def texts(column: Column, boolean: bool) -> Array:
    """
    Return the texts of a column, None where one is missing.

    Raises
    ------
    ValueError
        For a column of another kind than in training.
    """
    x = column.values
    if column.kind in ("category", "text") and not boolean:
        return x
    if column.missing.all():
        return np.full(len(x), None, object)
    if not boolean:
        raise changed(column, "text or categories")
    if column.kind not in ("boolean", "number") or not np.isin(x[~np.isnan(x)], (0.0, 1.0)).all():
        raise changed(column, "booleans")
    made = np.full(len(x), None, object)
    made[x == 0.0], made[x == 1.0] = "false", "true"
    return made


def count(values: Array) -> tuple[list[str], Array]:
    """Return the different texts, sorted, and how often each occurs; None is not counted."""
    counts: dict[str, int] = {}
    for value in values:
        if value is not None:
            counts[value] = counts.get(value, 0) + 1
    different = sorted(counts)
    return different, np.array([counts[text] for text in different], np.int64)
