"""
From the columns of a table to the inputs of a net.

The columns are learned from the training rows alone. Each is encoded by its kind
(`jitprop.tabular.encoders`), and all features are scaled alike (`jitprop.tabular.encoders.scale`).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypeAlias

import numpy as np

from jitprop._types import Array
from jitprop.tabular.encoders import CategoryEncoder, NumberEncoder, scale
from jitprop.tabular.encoders.categories import count, texts
from jitprop.tabular.encoders.numbers import numbers
from jitprop.tabular.table import Column, Table, quoted

Encoder: TypeAlias = CategoryEncoder | NumberEncoder

ROWS_AT_A_TIME = 1 << 14
"""Rows that are encoded at once, so that the features in float64 take little memory."""


class Columns:
    """
    The columns of a table as inputs of a net, as `learn` makes them.

    Attributes
    ----------
    encoders : tuple of encoders
        One for each column that is used.
    left_out : dict of str to str
        The columns that are not used, and why.
    """

    def __init__(
        self,
        encoders: tuple[Encoder, ...],
        medians: Array,
        factors: Array,
        missing: tuple[bool, ...],
        left_out: dict[str, str],
    ) -> None:
        self.encoders = encoders
        self.medians, self.factors, self.missing = medians, factors, missing
        self.left_out = left_out

    @property
    def n_inputs(self) -> int:
        """The number of inputs."""
        return len(self.medians) + sum(self.missing)

    @property
    def input_names(self) -> list[str]:
        """The name of each input."""
        return [name for names in self._names() for name in names]

    @property
    def blocks(self) -> dict[str, slice]:
        """The inputs of each column that is used."""
        blocks, at = {}, 0
        for encoder, names in zip(self.encoders, self._names(), strict=True):
            blocks[encoder.name] = slice(at, at + len(names))
            at += len(names)
        return blocks

    def _names(self) -> list[list[str]]:
        return [
            [*encoder.features, *[f"{encoder.name} is missing"] * missing]
            for encoder, missing in zip(self.encoders, self.missing, strict=True)
        ]

    def transform(self, table: Table) -> Array:
        """
        Return the inputs of all rows.

        Columns are found by name: their order does not matter, and other columns are ignored. A
        category that was not seen in training has the features of a missing one.

        Parameters
        ----------
        table : Table

        Returns
        -------
        (n_rows, n_inputs) float32 array

        Raises
        ------
        ValueError
            If a column is missing, or holds values of another kind or infinite numbers. The
            message names it.
        """
        absent = [each.name for each in self.encoders if each.name not in table]
        if absent:
            raise ValueError(
                f"column {quoted(absent[0])} is missing"
                + (f", and {len(absent) - 1} more" if absent[1:] else "")
                + ": the table must have all columns of training"
            )
        inputs = np.empty((table.n_rows, self.n_inputs), np.float32)
        for first in range(0, table.n_rows, ROWS_AT_A_TIME):
            rows = slice(first, first + ROWS_AT_A_TIME)
            self._transform(table.rows(rows), inputs[rows])
        return inputs

    def _transform(self, table: Table, inputs: Array) -> None:
        at = feature = 0
        for encoder, missing in zip(self.encoders, self.missing, strict=True):
            x = encoder.of(table[encoder.name])
            n = x.shape[1]
            of = slice(feature, feature + n)
            inputs[:, at : at + n] = scale.scaled(x, self.medians[of], self.factors[of])
            if missing:
                inputs[:, at + n] = np.isnan(x[:, 0])
            at, feature = at + n + missing, feature + n


def learn(
    table: Table,
    rows: Any = None,
    notes: list[str] | None = None,
    *,
    keep: Collection[str] = (),
) -> Columns:
    """
    Learn how to encode the columns of a table.

    Parameters
    ----------
    table : Table
    rows : array of int, optional
        The training rows, from which everything is learned; default all.
    notes : list, optional
        A sentence is appended for each column that is left out.
    keep : names of columns
        Columns to use although they look like ids.

    Returns
    -------
    Columns

    Raises
    ------
    ValueError
        For infinite numbers, and if there is no column to learn from.

    Examples
    --------
    >>> from jitprop.tabular.columns import learn
    >>> from jitprop.tabular.table import table_of
    >>> table = table_of({"size": [1.5, None, 3, 2], "colour": ["red", "blue", None, "green"]})
    >>> columns = learn(table)
    >>> columns.input_names
    ['size', 'size is missing', 'colour=blue', 'colour=green', 'colour=red']
    >>> columns.transform(table).shape
    (4, 5)
    """
    training = table if rows is None else table.rows(rows)
    left_out: dict[str, str] = {}
    encoders: list[Encoder] = []
    scales, missing = [], []
    for column in training:
        reason = _nothing(column)
        if reason:
            left_out[column.name] = reason
            continue
        encoder = _encoder(column)
        encoders.append(encoder)
        scales.append(encoder.scale(column))
        missing.append(isinstance(encoder, NumberEncoder) and bool(column.missing.any()))
    if notes is not None:
        notes += [
            f"column {quoted(name)} is left out: {reason}" for name, reason in left_out.items()
        ]
    if not encoders:
        raise ValueError("the table has no column to learn from")
    medians, factors = (np.concatenate(each) for each in zip(*scales, strict=True))
    return Columns(tuple(encoders), medians, factors, tuple(missing), left_out)


def _encoder(column: Column) -> Encoder:
    if column.kind == "number":
        return NumberEncoder(column.name)
    return CategoryEncoder.learn(column)


def _nothing(column: Column) -> str:
    """Return why nothing can be learned from a column; empty if something can be."""
    gaps = column.missing
    if gaps.all():
        return "it has no values"
    if column.kind == "date":
        return "dates are not encoded yet"
    if column.kind in ("number", "boolean"):
        x = numbers(column)[~gaps]
        different = [f"{x[0]:g}"] if x.min() == x.max() else []
    else:
        different, _ = count(texts(column, False))
    if len(different) == 1 and not gaps.any():
        return f"all its values are {quoted(different[0])}"
    return ""
